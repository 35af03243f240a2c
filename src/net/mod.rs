//! Builds the clients for all outbound HTTP requests but those to a bucket. Invariant: if only the internet may be
//! reached, connections go only to addresses that were checked.

mod address;

use std::io;
use std::net::SocketAddr;

use reqwest::{ClientBuilder, Url, redirect};

pub use address::{SpecialPurpose, special_purpose};

/// Hosts that a client may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Hosts with a public internet address.
    Internet,
    /// Every host, including private networks and this host: allowed by the configuration.
    Anywhere,
}

/// Reason that no request is sent to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The URL has no host.
    #[error("its address names no host")]
    None,
    /// The host name has no known address.
    #[error("its host name is not known")]
    Unknown,
    /// No address of the host is a public one, and [`Reach::Internet`] was requested; the purpose of the first address.
    #[error("its address {0}")]
    Special(SpecialPurpose),
}

/// Makes ring the TLS provider of the process. Call it first in `main` and in tests; further calls have no effect.
pub fn install_tls() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns a client for hosts that the operator configured: it identifies this program and follows no redirect, which
/// would carry credentials elsewhere.
pub fn client() -> ClientBuilder {
    install_tls();
    ClientBuilder::new()
        .user_agent(concat!("patina/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
}

/// Returns a client for the host of `url` only. The name is resolved once; requests go to the resolved addresses within
/// `reach`, even if the name resolves differently later.
///
/// # Errors
/// If the host is unknown, or has no address within `reach`.
pub async fn client_for(url: &Url, reach: Reach) -> Result<ClientBuilder, HostError> {
    pinned(url, reach, async |host, port| {
        tokio::net::lookup_host((host, port))
            .await
            .map(Iterator::collect)
    })
    .await
}

async fn pinned(
    url: &Url,
    reach: Reach,
    lookup: impl AsyncFnOnce(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<ClientBuilder, HostError> {
    let host = url.host_str().ok_or(HostError::None)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().ok_or(HostError::None)?;
    let found = lookup(host, port).await.map_err(|_| HostError::Unknown)?;
    let first = found.first().ok_or(HostError::Unknown)?;
    let purpose = special_purpose(first.ip());
    let is_within =
        |address: &&SocketAddr| reach == Reach::Anywhere || special_purpose(address.ip()).is_none();
    let usable: Vec<SocketAddr> = found.iter().filter(is_within).copied().collect();
    match purpose {
        Some(purpose) if usable.is_empty() => Err(HostError::Special(purpose)),
        _ => Ok(client().resolve_to_addrs(host, &usable)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Serves one request; returns the address.
    fn server() -> (SocketAddr, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let _ = connection.read(&mut [0; 1024]).unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhere";
            connection.write_all(answer.as_bytes()).unwrap();
        });
        (address, served)
    }

    async fn check(url: &str, reach: Reach, found: &[&str]) -> Result<(), HostError> {
        let url = Url::parse(url).unwrap();
        let found = found.iter().map(|text| text.parse().unwrap()).collect();
        let client = pinned(&url, reach, async |_, _| Ok(found)).await;
        client.map(drop)
    }

    #[tokio::test]
    async fn a_name_that_means_another_address_later_is_asked_where_it_was_checked() {
        let (address, served) = server();
        // No name server knows `.invalid` (RFC 2606): a second lookup would find nothing.
        let url = Url::parse(&format!("http://rebound.invalid:{}/", address.port())).unwrap();
        let client = pinned(&url, Reach::Anywhere, async |host, _| {
            assert_eq!(host, "rebound.invalid");
            Ok(vec![address])
        });
        let client = client.await.unwrap().no_proxy().build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "here");
        served.join().unwrap();
    }

    #[tokio::test]
    async fn private_addresses_are_passed_over_and_a_host_with_no_other_is_refused() {
        let (near, far) = ("10.0.0.1:443", "1.1.1.1:443");
        let url = "https://example.org/";
        for (reach, found, expected) in [
            (
                Reach::Internet,
                vec![near],
                Err(HostError::Special(SpecialPurpose::Private)),
            ),
            (Reach::Internet, vec![near, far], Ok(())),
            (Reach::Internet, vec![far], Ok(())),
            (Reach::Anywhere, vec![near], Ok(())),
            (Reach::Anywhere, vec![], Err(HostError::Unknown)),
        ] {
            assert_eq!(check(url, reach, &found).await, expected, "{found:?}");
        }
        assert_eq!(
            check("mailto:a@example.org", Reach::Anywhere, &[far]).await,
            Err(HostError::None)
        );
        // Of both addresses, only the public one may be connected to.
        let (address, _served) = server();
        let url = Url::parse(&format!("http://mixed.invalid:{}/", address.port())).unwrap();
        let nowhere: SocketAddr = format!("1.1.1.1:{}", address.port()).parse().unwrap();
        let client = pinned(&url, Reach::Internet, async |_, _| {
            Ok(vec![address, nowhere])
        });
        let client = client.await.unwrap().no_proxy();
        let short = std::time::Duration::from_millis(300);
        let client = client.timeout(short).build().unwrap();
        assert!(client.get(url).send().await.is_err());
    }

    #[tokio::test]
    async fn addresses_in_urls_are_checked_like_those_of_names() {
        use SpecialPurpose::{Documentation, LinkLocal, ThisHost};
        for (url, expected) in [
            ("http://127.0.0.1/", Some(ThisHost)),
            ("http://[::1]:8080/", Some(ThisHost)),
            ("http://2130706433/", Some(ThisHost)),
            ("http://0x7f.1/", Some(ThisHost)),
            ("http://017700000001/", Some(ThisHost)),
            ("http://[::ffff:169.254.169.254]/", Some(LinkLocal)),
            ("http://192.0.2.1/", Some(Documentation)),
            ("http://1.1.1.1/", None),
        ] {
            let url = Url::parse(url).unwrap();
            let client = client_for(&url, Reach::Internet).await.map(drop);
            let expected = expected.map_or(Ok(()), |purpose| Err(HostError::Special(purpose)));
            assert_eq!(client, expected, "{url}");
        }
    }
}
