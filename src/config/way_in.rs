//! Derives the address of the API, for printed commands that call it. Invariant: an address that leads nowhere is not
//! returned.

use std::net::IpAddr;

use super::model::Http;

/// Address of the API, as far as the configuration determines it; without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayIn {
    /// Reachable from any client.
    Anywhere(String),
    /// Reachable only from the host that the daemon runs on.
    ThisHost(String),
    /// `listen` leaves the port to the system; the daemon's log names the port it got.
    Unknown,
}

impl Http {
    /// Returns the API's address as a person types it, and its reach: an address of this host leads no other host to
    /// it, and a port that the system chooses is unknown before the daemon runs.
    pub fn way_in(&self) -> WayIn {
        let is_default = self.public_url == format!("http://{}", self.listen);
        let (ip, port) = (self.listen.ip(), self.listen.port());
        match (is_default, port) {
            (false, _) => WayIn::Anywhere(self.public_url.clone()),
            (true, 0) => WayIn::Unknown,
            (true, _) if ip.is_unspecified() => WayIn::ThisHost(match ip {
                IpAddr::V4(_) => format!("http://127.0.0.1:{port}"),
                IpAddr::V6(_) => format!("http://[::1]:{port}"),
            }),
            (true, _) if ip.to_canonical().is_loopback() => {
                WayIn::ThisHost(self.public_url.clone())
            }
            (true, _) => WayIn::Anywhere(self.public_url.clone()),
        }
    }
}
