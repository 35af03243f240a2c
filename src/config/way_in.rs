//! Says where the API is, for whoever prints a command that asks it. Invariant: an address that leads nowhere is not told.

use std::net::IpAddr;

use super::model::Http;

/// Where the API is, as far as the configuration says it; the addresses are without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayIn {
    /// Wherever a client is.
    Anywhere(String),
    /// Only from the host that the daemon runs on.
    ThisHost(String),
    /// `listen` leaves the port to the system; the daemon's log says which it took.
    Unknown,
}

impl Http {
    /// The API's address as a person types it, and from where it leads there: an address of this host alone leads nobody
    /// else to it, and a port that the system chooses is known to nobody before the daemon runs.
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
