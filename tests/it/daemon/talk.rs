//! What the daemon says: to the service manager, to a machine that reads its log, to a person who asks what comes next.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{Daemon, Home, PATIENCE, wait};

#[test]
fn the_service_manager_hears_of_the_start_each_beat_a_reload_and_the_end() {
    let home = Home::new();
    let blog = home.database("blog", 50);
    home.write_night(&blog);
    let socket = UnixDatagram::bind(home.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = home.command(&["run"]);
    command.env("NOTIFY_SOCKET", home.path("notify"));
    command.env("WATCHDOG_USEC", "600000");
    let daemon = Daemon::start(command, home.path("log"));
    let mut heard = Vec::new();
    let mut hear_until = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let is_wanted = told.lines().any(|line| line.starts_with(wanted));
            heard.extend(told.lines().map(str::to_owned));
            if is_wanted {
                return;
            }
        }
    };
    hear_until("READY=1");
    let ready = Instant::now();
    for _ in 0..6 {
        hear_until("WATCHDOG=1");
    }
    // 200 ms apart, and some more where a status changes; never as rarely as the manager waits.
    assert!(ready.elapsed() < Duration::from_secs(4));
    daemon.signal(Signal::HUP);
    hear_until("RELOADING=1");
    hear_until("READY=1");
    // A change that it notices by itself is a reload, too; and each ends, or systemd would wait for it for ever.
    home.write_night(&(blog + "description = \"a blog\"\n"));
    hear_until("RELOADING=1");
    hear_until("READY=1");
    std::fs::write(home.path("patina.toml"), "[mistake").unwrap();
    hear_until("RELOADING=1");
    hear_until("READY=1");
    hear_until("WATCHDOG=1");
    daemon.signal(Signal::TERM);
    hear_until("STOPPING=1");
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    for start in [
        "MONOTONIC_USEC=",
        "STATUS=at work: nightly; next: ",
        "STATUS=waiting; next: ",
    ] {
        let is_told = heard.iter().any(|line| line.starts_with(start));
        assert!(is_told, "`{start}` is not in {heard:?}");
    }
}

#[test]
fn as_json_each_line_of_the_log_is_one_object_refusals_included() {
    let home = Home::new();
    let blog = home.database("blog", 50);
    home.write_config("nightly = \"* * * * *\"", &blog);
    let mut command = home.command(&["run", "--log-format", "json"]);
    command.env("RUST_LOG", "info");
    let daemon = Daemon::start(command, home.path("log"));
    daemon.wait_for_log("task nightly ended well");
    let refused = home
        .command(&["run", "--log-format", "json"])
        .output()
        .unwrap();
    let refused = String::from_utf8(refused.stderr).unwrap();
    let log = daemon.stop();
    let lines: Vec<Value> = log
        .lines()
        .chain(refused.lines())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let levels: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| line["level"].as_str())
        .collect();
    assert_eq!(levels, BTreeSet::from(["ERROR", "INFO"]));
    let mut ends = lines.iter().filter(|line| line["task"] == "nightly");
    let end = ends.find(|line| line["result"] == "well").unwrap();
    assert!(end["duration_ms"].is_u64() && end["timestamp"].is_string());
}

#[test]
fn next_lists_the_runs_of_each_task_by_time_and_names_the_zone_where_it_is_odd() {
    let home = Home::new();
    let blog = home.database("blog", 50) + "schedule = \"0 */6 * * *\"\n";
    let shop = home.database("shop", 50);
    // In the gap of Berlin's spring, so that a year of nights has one odd one.
    home.write_config("nightly = \"30 2 * * *\"", &(blog + shop.as_str()));
    let config = std::fs::read_to_string(home.path("patina.toml")).unwrap();
    let config = config.replace("[agent]", "[agent]\ntimezone = \"Europe/Berlin\"");
    std::fs::write(home.path("patina.toml"), config).unwrap();
    let said = home
        .command(&["--json", "next", "-n", "400"])
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let runs = said["next_runs"].as_array().unwrap();
    let of = |task: &str| runs.iter().filter(|run| run["task"] == task).count();
    assert_eq!((of("nightly"), of("backup blog")), (400, 400));
    assert!(runs.iter().any(|run| run["database"] == "blog"));
    assert!(runs.is_sorted_by_key(|run| run["in_seconds"].as_i64()));
    let odd: Vec<&Value> = runs.iter().filter(|run| run["note"].is_string()).collect();
    assert!((2..=4).contains(&odd.len()), "{odd:?}");
    assert!(
        odd.iter()
            .all(|run| run["note"].as_str().unwrap().contains("Europe/Berlin"))
    );
    let text = home.command(&["next"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("LOCAL TIME") && text.contains("backup blog"),
        "{text}"
    );
    assert!(text.contains(" in ") && text.contains(" CE"), "{text}");
}

/// A service that says no to listings and never answers anything else.
fn silent_service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4];
            if stream.read_exact(&mut request).is_err() {
                continue;
            }
            if &request == b"GET " {
                let _ = stream.write_all(
                    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                );
                continue;
            }
            held.push(stream);
        }
    });
    format!("http://{address}")
}

/// A daemon whose storage does not answer, in the middle of its night.
fn stuck(home: &Home) -> Daemon {
    let blog = home.database("blog", 50);
    let storage = format!(
        "[[storage]]\nname = \"silent\"\n[storage.s3]\nendpoint = \"{}\"\nbucket = \"b\"\nregion = \"auto\"\n\
         access_key_id = \"literal-key\"\nsecret_access_key = \"literal-secret\"\n",
        silent_service()
    );
    let config = home.config("nightly = \"* * * * *\"", &(storage + blog.as_str()));
    // Another storage that takes the copy would let it count.
    let other = "[[storage]]\nname = \"nas\"\ndirectory = \"store\"\n";
    assert!(config.contains(other), "the configuration moved?");
    let path = home.path("patina.toml");
    std::fs::write(&path, config.replace(other, "")).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, private).unwrap();
    let daemon = home.start();
    wait("a proven spool", || {
        let spool = std::fs::read_dir(home.path("state/spool"));
        spool.is_ok_and(|mut spool| {
            spool.any(|entry| {
                entry.is_ok_and(|entry| entry.path().extension() == Some("ready".as_ref()))
            })
        })
    });
    daemon
}

#[test]
fn what_hangs_is_given_up_in_time_and_a_second_signal_ends_at_once() {
    let home = Home::new();
    let log = stuck(&home).stop();
    assert!(log.contains("given up"), "{log}");
    let jobs = home.jobs();
    assert!(
        jobs.iter().all(|job| job.status.as_str() == "interrupted"),
        "{jobs:?}"
    );
    let home = Home::new();
    let daemon = stuck(&home);
    daemon.signal(Signal::INT);
    daemon.wait_for_log("SIGINT: stopping");
    let second = Instant::now();
    daemon.signal(Signal::INT);
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(second.elapsed() < Duration::from_secs(3), "{log}");
}
