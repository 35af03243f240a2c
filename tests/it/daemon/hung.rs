//! A storage that accepts connections and never answers, beside one that works.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use patina::catalog::{JobStatus, ResultStatus};
use rustix::process::Signal;

use super::{Daemon, Home, PATIENCE, entry, wait};

/// What works takes no longer, however long the other is silent.
const AT_ONCE: Duration = Duration::from_secs(30);

/// The configuration of a bucket whose service never says a word.
fn silent_bucket() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            held.push(stream);
        }
    });
    format!(
        "[[storage]]\nname = \"silent\"\n[storage.s3]\nendpoint = \"http://{address}\"\nbucket = \"b\"\n\
         region = \"auto\"\naccess_key_id = \"literal-key\"\nsecret_access_key = \"literal-secret\"\n"
    )
}

/// A night of four databases that was missed, with the silent storage first or last.
fn home(is_first: bool) -> Home {
    let home = Home::new();
    let names = ["a", "b", "c", "d"];
    let databases: String = names.iter().map(|name| home.database(name, 50)).collect();
    home.write_night(&databases);
    let path = home.path("patina.toml");
    let config = fs::read_to_string(&path).unwrap();
    let works = "[[storage]]\nname = \"nas\"";
    let config = match is_first {
        true => config.replacen(works, &format!("{}{works}", silent_bucket()), 1),
        false => config.replacen(
            &entry("a", ""),
            &format!("{}{}", silent_bucket(), entry("a", "")),
            1,
        ),
    };
    assert!(config.contains("silent"));
    fs::write(&path, config).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    home
}

fn ready_within(home: &Home) -> (Daemon, Duration) {
    let path = home.path("notify");
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = home.command(&["run"]);
    command.env("NOTIFY_SOCKET", &path);
    let began = Instant::now();
    let daemon = Daemon::start(command, home.path("log"));
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
            return (daemon, began.elapsed());
        }
    }
}

fn answers(daemon: &Daemon) -> String {
    let log = daemon.log();
    let address = log.split("listening on http://").nth(1).unwrap();
    let address: String = address.chars().take_while(|c| !c.is_whitespace()).collect();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_storage_that_never_answers_delays_neither_the_start_nor_the_copies_in_the_other() {
    for is_first in [true, false] {
        let home = home(is_first);
        let (daemon, after) = ready_within(&home);
        assert!(after < Duration::from_secs(10), "ready after {after:?}");
        assert!(
            answers(&daemon).starts_with("HTTP/1.1 200"),
            "{}",
            daemon.log()
        );
        let began = Instant::now();
        wait("four copies", || {
            ["a", "b", "c", "d"]
                .iter()
                .all(|name| home.copies(name) == 1)
        });
        let took = began.elapsed();
        assert!(took < AT_ONCE, "{took:?}");
        // The process ends as told, and the next one begins as quickly and goes on with what waits.
        let log = daemon.stop();
        assert!(!log.contains("given up"), "{log}");
        let results = home.catalog().unwrap().results(home.jobs()[0].id).unwrap();
        assert!(
            results
                .iter()
                .all(|one| one.status == ResultStatus::Success),
            "{results:?}"
        );
        let (daemon, after) = ready_within(&home);
        assert!(
            after < Duration::from_secs(10),
            "ready again after {after:?}"
        );
        daemon.stop();
    }
}

#[test]
fn a_daemon_begun_over_copies_that_wait_for_a_silent_storage_runs_its_next_night() {
    let home = home(true);
    let daemon = home.start();
    wait("four copies", || {
        ["a", "b", "c", "d"]
            .iter()
            .all(|name| home.copies(name) == 1)
    });
    daemon.signal(Signal::KILL);
    drop(daemon);
    // Each copy is in the storage that works, and would go to the other.
    assert_eq!(home.catalog().unwrap().spooled().unwrap().len(), 4);
    assert_eq!(home.jobs()[0].status, JobStatus::Running);
    let config = fs::read_to_string(home.path("patina.toml")).unwrap();
    fs::write(
        home.path("patina.toml"),
        config + &*entry("e", "schedule = \"* * * * *\"\n"),
    )
    .unwrap();
    home.database("e", 50);
    let began = Instant::now();
    let (daemon, _) = ready_within(&home);
    wait("a copy of the next job", || home.copies("e") >= 1);
    // A minute may have to begin first.
    assert!(
        began.elapsed() < AT_ONCE + Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    daemon.stop();
}
