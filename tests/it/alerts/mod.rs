//! Sends real alerts to a real HTTP server on loopback, which keeps every byte it gets.

mod contract;
mod delivery;
mod fitting;
mod golden;
mod hostile;
mod process;
mod rules;
mod scripts;
pub(crate) mod server;
mod world;
