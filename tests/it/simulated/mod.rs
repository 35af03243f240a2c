//! Runs the real tasks of the daemon in simulated time: a night takes milliseconds, a year some seconds, and what waits for
//! an hour waits exactly that.

mod home;
mod late;
mod law;
mod time;
mod year;
