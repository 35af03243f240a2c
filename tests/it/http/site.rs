//! Pages of other sites: a browser that may come in by its address must not lend that to them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::{ALL, World, from_anywhere, full_key, key_text};

const DOWNLOAD: &str = "/download/2026-11-30/shop";

/// Every path that holds something.
const PATHS: [&str; 9] = [
    "/",
    "/status",
    "/list",
    "/jobs/550e8400-e29b-41d4-a716-446655440000",
    "/events",
    DOWNLOAD,
    "/restore-guide/blog",
    "/runbook",
    "/metrics",
];

/// The status that a request gets whose head is written by hand.
fn raw(world: &World, first: &str, headers: &[&str]) -> u16 {
    let mut stream = TcpStream::connect(world.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut head = format!("{first}\r\n");
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"Connection: close\r\n\r\n").unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    let text = std::str::from_utf8(&start).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_led_here_opens_nothing_to_an_allowed_address() {
    for http in ["allow_ips = [\"127.0.0.1\"]", ""] {
        let world = World::new(http).await;
        for path in PATHS {
            for method in [Method::GET, Method::HEAD] {
                let request = world.request(method.clone(), path);
                let request = request.header("Host", "evil.example:8787");
                // As a browser sends it from the page that the name led to.
                let request = request.header("Sec-Fetch-Site", "same-origin");
                let status = request.send().await.unwrap().status().as_u16();
                let wanted = match path {
                    DOWNLOAD if http.is_empty() => 401,
                    _ => 421,
                };
                assert_eq!(status, wanted, "{method} {path} with `{http}`");
            }
        }
        let trigger = world.request(Method::POST, "/trigger");
        let trigger = trigger.header("Host", "evil.example").body("{}");
        assert_eq!(trigger.send().await.unwrap().status().as_u16(), 421);
        assert!(world.audit().is_empty(), "{:?}", world.audit());
        assert_eq!(world.get("/status").send().await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_names_of_the_server_itself_are_its_names_however_they_are_written() {
    let http = "allow_ips = [\"127.0.0.1\"]\npublic_url = \"https://Patina.Grove.place\"\n\
                hosts = [\"backup.lan\", \"192.168.1.5\"]";
    let world = World::new(http).await;
    let port = world.address.port();
    for (host, wanted) in [
        (format!("127.0.0.1:{port}"), 200),
        ("127.0.0.1".to_owned(), 200),
        ("localhost:1".to_owned(), 200),
        ("LocalHost.".to_owned(), 200),
        (format!("[::1]:{port}"), 200),
        ("patina.grove.place".to_owned(), 200),
        ("PATINA.grove.place:443".to_owned(), 200),
        ("Backup.LAN:8787".to_owned(), 200),
        ("192.168.1.5:8787".to_owned(), 200),
        ("192.168.1.6:8787".to_owned(), 421),
        ("evil.example".to_owned(), 421),
        (format!("localhost.evil.example:{port}"), 421),
        ("evil.example#localhost".to_owned(), 421),
        ("localhost@evil.example".to_owned(), 421),
        ("evil@localhost".to_owned(), 421),
        ("localhost, evil.example".to_owned(), 421),
        ("patina.grove.place.evil.example".to_owned(), 421),
        ("xpatina.grove.place".to_owned(), 421),
        ("0.0.0.0".to_owned(), 421),
        ("[::]".to_owned(), 421),
        ("2130706433".to_owned(), 421),
        ("0x7f.1".to_owned(), 421),
        ("localhost:99999".to_owned(), 421),
        ("localhost:x".to_owned(), 421),
        ("ſocalhost".to_owned(), 421),
        (String::new(), 421),
    ] {
        let found = raw(&world, "GET /status HTTP/1.1", &[&format!("Host: {host}")]);
        assert_eq!(found, wanted, "{host}");
    }
    // None, two, and one in the first line that is another.
    assert_eq!(raw(&world, "GET /status HTTP/1.0", &[]), 421);
    assert_eq!(raw(&world, "GET /status HTTP/1.1", &[]), 421);
    for two in [
        ["Host: localhost", "Host: evil.example"],
        ["Host: localhost", "Host: localhost"],
    ] {
        let found = raw(&world, "GET /status HTTP/1.1", &two);
        assert!(matches!(found, 400 | 421), "{two:?}: {found}");
    }
    for (target, host, wanted) in [
        ("http://localhost/status", "localhost", 200),
        ("http://evil.example/status", "localhost", 421),
        ("http://localhost/status", "evil.example", 421),
        ("http://evil.example/status", "evil.example", 421),
    ] {
        let found = raw(
            &world,
            &format!("GET {target} HTTP/1.1"),
            &[&format!("Host: {host}")],
        );
        assert_eq!(found, wanted, "{target} {host}");
    }
    // A key was meant for this request, whatever the name.
    let key = format!("X-Patina-Key: {}", key_text(ALL.0));
    world.reconfigure(&full_key());
    let found = raw(
        &world,
        "GET /status HTTP/1.1",
        &["Host: evil.example", &key],
    );
    assert_eq!(found, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_reads_nothing_and_a_link_from_one_leads_to_the_dashboard() {
    let world = World::new("allow_ips = [\"127.0.0.1\"]\nopen = [\"status\"]").await;
    let own = format!("http://{}", world.address);
    let visit = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    let frame = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "iframe"),
    ];
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, &str, u16); 12] = [
        (&[("Sec-Fetch-Site", "same-origin")], "/list", 200),
        (&[("Sec-Fetch-Site", "none")], "/list", 200),
        (&[("Sec-Fetch-Site", "cross-site")], "/list", 403),
        (&[("Sec-Fetch-Site", "same-site")], "/list", 403),
        (&[("Sec-Fetch-Site", "cross-site")], "/status", 403),
        (&[("Origin", "http://evil.example")], "/list", 403),
        (&[("Origin", "null")], "/list", 403),
        (&[("Origin", "http://localhost:9")], "/list", 403),
        (&[("Origin", &own)], "/list", 200),
        (&visit, "/", 200),
        // It would spend the downloads of the hour.
        (&visit, DOWNLOAD, 403),
        (&frame, "/", 403),
    ];
    for (headers, path, wanted) in cases {
        let mut request = world.get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let status = request.send().await.unwrap().status().as_u16();
        assert_eq!(status, wanted, "{path} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_host_counts_behind_a_trusted_proxy_alone_and_never_instead_of_the_host() {
    let allowed = "allow_ips = [\"203.0.113.7\"]\npublic_url = \"https://patina.grove.place\"";
    let behind = World::new(&from_anywhere(allowed)).await;
    let client = "X-Forwarded-For: 203.0.113.7";
    for (host, more, wanted) in [
        ("127.0.0.1", "X-Other: x", 200),
        ("127.0.0.1", "X-Forwarded-Host: patina.grove.place", 200),
        ("127.0.0.1", "X-Forwarded-Host: evil.example", 421),
        ("evil.example", "X-Forwarded-Host: patina.grove.place", 421),
        (
            "127.0.0.1",
            "X-Forwarded-Host: evil.example, patina.grove.place",
            421,
        ),
        (
            "127.0.0.1",
            "Forwarded: for=203.0.113.7;host=evil.example",
            421,
        ),
        (
            "127.0.0.1",
            "Forwarded: for=203.0.113.7;Host=\"patina.grove.place\"",
            200,
        ),
    ] {
        let headers = [&format!("Host: {host}"), client, more];
        let found = raw(
            &behind,
            "GET /status HTTP/1.1",
            &headers.map(|text| text as &str),
        );
        assert_eq!(found, wanted, "{host} {more}");
    }
    let direct = World::new("allow_ips = [\"127.0.0.1\"]").await;
    let forwarded = ["Host: localhost", "X-Forwarded-Host: evil.example"];
    assert_eq!(raw(&direct, "GET /status HTTP/1.1", &forwarded), 200);
    let forwarded = ["Host: evil.example", "X-Forwarded-Host: localhost"];
    assert_eq!(raw(&direct, "GET /status HTTP/1.1", &forwarded), 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_key_is_configured_the_answer_says_why_and_open_decides() {
    let world = World::new(&full_key()).await;
    let (status, body) = super::json(world.get("/status")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let hint = body["hint"].as_str().unwrap();
    assert!(
        hint.contains("once a key") && hint.contains("open = [\"status\"]"),
        "{hint}"
    );
    let (_, body) = super::json(world.request(Method::POST, "/trigger")).await;
    let hint = body["hint"].as_str().unwrap();
    assert!(
        hint.contains("scope `trigger`") && !hint.contains("open ="),
        "{hint}"
    );
    world.reconfigure(&format!("open = [\"status\", \"list\"]\n{}", full_key()));
    for (path, wanted) in [
        ("/status", 200),
        ("/list", 200),
        ("/", 401),
        ("/metrics", 401),
        (DOWNLOAD, 401),
        ("/restore-guide/blog", 401),
        ("/runbook", 401),
    ] {
        let status = world.get(path).send().await.unwrap().status().as_u16();
        assert_eq!(status, wanted, "{path}");
    }
    let trigger = world.request(Method::POST, "/trigger").send().await;
    assert_eq!(trigger.unwrap().status().as_u16(), 401);
    // Open to everybody who calls it by its name.
    let rebound = world.get("/status").header("Host", "evil.example");
    assert_eq!(rebound.send().await.unwrap().status().as_u16(), 421);
}
