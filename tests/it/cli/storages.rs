//! A storage as `patina check --online` sees it, beside a real backup into it: the check fails where the backup does, and
//! passes where it does. And storages that lost everything at once: an empty mount point, another's disk, an emptied bucket.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use patina::catalog::CopyFilter;
use patina::copy::ReadingError;
use patina::engine::reconcile::{self, Patience};
use patina::engine::state::StateDir;
use patina::engine::verify::{self, Scope};
use patina::engine::{backup, expire, pack};
use patina::progress::Board;
use patina::retention::Guards;
use patina::types::Trigger;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{Place, Ran};
use crate::s3::proxy::{Fault, Op, Plan, Proxy, Request, Rules};
use crate::s3::server::{
    ACCESS_KEY_ID, BUCKET, READER_KEY_ID, READER_SECRET, SECRET_ACCESS_KEY, Server,
};

/// A place with one database and this storage.
fn place(storage: &str) -> Place {
    let place = Place::with(&["blog"], "");
    let config = format!(
        "{}[agent]\nname = \"one\"\n{storage}",
        place.read("patina.toml")
    );
    place.write_private("patina.toml", &config);
    place
}

fn bucket(endpoint: &str, name: &str, prefix: &str, (id, secret): (&str, &str)) -> String {
    format!(
        "[[storage]]\nname = \"b2\"\n[storage.s3]\nendpoint = \"{endpoint}\"\nbucket = \"{name}\"\nprefix = \"{prefix}\"\n\
         access_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n"
    )
}

fn folder(name: &str) -> String {
    format!("[[storage]]\nname = \"usb\"\ndirectory = \"{name}\"\n")
}

/// How the check of the storage ends, and what it says.
#[track_caller]
fn check(place: &Place) -> (String, String) {
    let ran = place.run(&["--json", "check", "--online"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    let trials = document["online"].as_array().unwrap();
    let found = trials.iter().find(|trial| trial["subject"] == "storage");
    let text = |key: &str| found.unwrap()[key].as_str().unwrap_or_default().to_owned();
    (text("result"), text("message"))
}

/// Services that refuse what they are asked by a header.
struct Without {
    header: &'static str,
    status: u16,
    code: &'static str,
}

impl Rules for Without {
    fn before(&self, request: &Request) -> Option<Fault> {
        let is_asked = request.header(self.header).is_some();
        is_asked.then(|| Fault::refuse(self.status, self.code))
    }
}

/// A service, whether backups work with it, and what the check says of it.
struct Service {
    name: &'static str,
    rules: fn() -> Arc<dyn Rules>,
    keys: (&'static str, &'static str),
    bucket: &'static str,
    works: bool,
    says: &'static str,
}

fn planned(plan: impl FnOnce(&Plan)) -> Arc<dyn Rules> {
    let planned = Plan::default();
    plan(&planned);
    Arc::new(planned)
}

const OWNER: (&str, &str) = (ACCESS_KEY_ID, SECRET_ACCESS_KEY);

fn service(
    name: &'static str,
    works: bool,
    says: &'static str,
    rules: fn() -> Arc<dyn Rules>,
) -> Service {
    Service {
        name,
        rules,
        keys: OWNER,
        bucket: BUCKET,
        works,
        says,
    }
}

fn services() -> Vec<Service> {
    let untouched = || planned(|_| {});
    vec![
        service("complete", true, "", untouched),
        service("501", true, "has no conditional writes", || {
            Arc::new(Without {
                header: "if-none-match",
                status: 501,
                code: "NotImplemented",
            })
        }),
        // The second write of the taken probe is let through.
        service("ignores", true, "has no conditional writes", || {
            planned(|plan| {
                let status = 200;
                let body = String::new();
                plan.break_at(Op::Put, [2], &Fault::Instead { status, body });
            })
        }),
        service("400", false, "cannot write a probe: ", || {
            Arc::new(Without {
                header: "if-none-match",
                status: 400,
                code: "InvalidArgument",
            })
        }),
        service(
            "no-delete",
            true,
            "copies are stored, and none can expire\nhint: ",
            || planned(|plan| plan.always(Op::Delete, Fault::refuse(403, "AccessDenied"))),
        ),
        service(
            "no-list",
            true,
            "`reconcile` and `rebuild` cannot work\nhint: ",
            || {
                planned(|plan| {
                    plan.always(Op::List, Fault::refuse(403, "AccessDenied"));
                    plan.always(Op::Uploads, Fault::refuse(403, "AccessDenied"));
                })
            },
        ),
        service(
            "no-parts",
            true,
            "copies of more than 16 MB cannot be stored",
            || planned(|plan| plan.always(Op::Begin, Fault::refuse(501, "NotImplemented"))),
        ),
        service(
            "no-write",
            false,
            "cannot write a probe: the service denies it",
            || planned(|plan| plan.always(Op::Put, Fault::refuse(403, "AccessDenied"))),
        ),
        service(
            "no-read",
            false,
            "cannot read its probe back: the service denies it",
            || planned(|plan| plan.always(Op::Get, Fault::refuse(403, "AccessDenied"))),
        ),
        service("full", false, "no space left", || {
            planned(|plan| plan.always(Op::Put, Fault::refuse(507, "InsufficientStorage")))
        }),
        Service {
            keys: (READER_KEY_ID, READER_SECRET),
            ..service("read-only", false, "cannot write a probe: ", untouched)
        },
        Service {
            keys: (ACCESS_KEY_ID, "wrong"),
            ..service(
                "wrong-secret",
                false,
                "the secret access key is wrong",
                untouched,
            )
        },
        Service {
            bucket: "no-such-bucket",
            ..service(
                "no-bucket",
                false,
                "there is no bucket `no-such-bucket`",
                untouched,
            )
        },
    ]
}

#[test]
fn a_bucket_passes_the_check_where_a_backup_into_it_works_and_fails_where_it_does_not() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let services = services();
    assert!(services.len() > 12);
    for service in services {
        let proxy = |rules| runtime.block_on(Proxy::start(server.port(), rules));
        let place_at = |proxy: &Proxy| {
            place(&bucket(
                &proxy.endpoint,
                service.bucket,
                service.name,
                service.keys,
            ))
        };
        // Each sees the service as it is at first.
        let (first, second) = (proxy((service.rules)()), proxy((service.rules)()));
        let (result, message) = check(&place_at(&first));
        assert_eq!(
            result != "failed",
            service.works,
            "{}: {message}",
            service.name
        );
        assert!(
            message.contains(service.says),
            "{}: {message}",
            service.name
        );
        assert_eq!(message.is_empty(), service.says.is_empty(), "{message}");
        let ran: Ran = place_at(&second).run(&["backup"]);
        assert_eq!(
            ran.code == Some(0),
            service.works,
            "{}: {ran:?}",
            service.name
        );
    }
    let client = server.client();
    let listed = runtime
        .block_on(client.list_objects_v2().bucket(BUCKET).send())
        .unwrap();
    let names = listed.contents().iter().filter_map(|object| object.key());
    let probes = names.filter(|name| name.contains("probe") && !name.starts_with("no-delete/"));
    assert_eq!(probes.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// What is wrong with a directory, made by `sh` in it with a private mount table, and what the check then says.
const DIRECTORIES: [(&str, &str, bool, &str); 5] = [
    ("plain", "true", true, ""),
    (
        "read-only",
        "mount -t tmpfs -o ro tmpfs .",
        false,
        "permission denied",
    ),
    (
        "full",
        "mount -t tmpfs -o size=64k tmpfs . && cd . && ! cat /dev/zero > \"$PWD/filling\" 2>/dev/null",
        false,
        "no space left",
    ),
    (
        "unwritable",
        "mount -t tmpfs tmpfs . && mkdir \"$PWD/daily\" && mount -t tmpfs -o ro tmpfs \"$PWD/daily\"",
        false,
        "permission denied",
    ),
    (
        "no-folder",
        "mount -t tmpfs tmpfs . && : > \"$PWD/daily\"",
        false,
        "Not a directory",
    ),
];

#[test]
fn a_directory_passes_the_check_where_a_backup_into_it_works_and_fails_where_it_does_not() {
    let program = env!("CARGO_BIN_EXE_patina");
    for (name, make, works, says) in DIRECTORIES {
        for command in ["check --online", "backup"] {
            let place = place(&folder("mnt"));
            fs::create_dir(place.path("mnt")).unwrap();
            let script =
                format!("(cd mnt && {make}) || exit 77; exec \"{program}\" --json {command}");
            let output = Command::new("unshare")
                .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
                .current_dir(place.path(""))
                .output();
            let Ok(output) = output else {
                return println!("not run: `unshare` is not installed");
            };
            let complained = String::from_utf8_lossy(&output.stderr);
            if output.status.code() == Some(77) || complained.contains("unshare failed") {
                return println!("not run: this system lets nobody mount: {complained}");
            }
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                output.status.success(),
                works,
                "{name}, {command}: {said}{complained}"
            );
            assert!(said.contains(says), "{name}, {command}: {said}{complained}");
            if command != "backup" && works {
                assert_eq!(
                    place.files("mnt"),
                    Vec::<std::path::PathBuf>::new(),
                    "{name}"
                );
                assert_eq!(
                    fs::read_dir(place.path("mnt")).unwrap().count(),
                    0,
                    "{name}"
                );
            }
        }
    }
}

/// The copies below a folder.
fn copies(place: &Place, below: &str) -> usize {
    let is_copy = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "sql");
    place.files(below).iter().filter(is_copy).count()
}

fn move_away(place: &Place, to: &str) {
    fs::rename(place.path("mnt"), place.path(to)).unwrap();
}

#[test]
fn a_directory_that_lost_everything_is_taken_for_an_empty_mount_point_by_every_command() {
    let place = place(&folder("mnt"));
    // The first use of an empty directory just works.
    fs::create_dir(place.path("mnt")).unwrap();
    place.ok(&["backup"]);
    place.ok(&["check", "--online"]);
    move_away(&place, "away");
    fs::create_dir(place.path("mnt")).unwrap();
    let words = "the object that it should hold is not there; is its disk mounted? is it the right bucket?\nhint: mount the disk";
    place.ends(3, &["check", "--online"]).complains(words);
    place
        .ends(1, &["backup"])
        .complains(
            "error: database `blog`: no storage holds the copy: storage `usb`: cannot create ",
        )
        .complains(words);
    place.ends(1, &["reconcile"]).complains(words);
    let ran = place.run(&["expire"]);
    assert!(!ran.out.contains("deleted blog"), "{ran:?}");
    place.run(&["archive"]);
    assert_eq!(
        fs::read_dir(place.path("mnt")).unwrap().count(),
        0,
        "it was written to"
    );
    assert_eq!(copies(&place, "away"), 1);
    // Mounted again, all is as it was.
    fs::remove_dir(place.path("mnt")).unwrap();
    fs::rename(place.path("away"), place.path("mnt")).unwrap();
    place.ok(&["backup"]);
    place.ok(&["reconcile"]);
    assert_eq!(copies(&place, "mnt"), 2);
}

/// A daemon that a machine starts before it mounts the disk.
#[test]
fn a_storage_that_was_not_mounted_at_the_start_is_used_once_it_is() {
    let place = place(&folder("mnt"));
    let key = super::first_key(&place.json(&["backup"])).parse().unwrap();
    move_away(&place, "away");
    fs::create_dir(place.path("mnt")).unwrap();
    let config = patina::config::Config::load(&place.path("patina.toml"));
    let config = Arc::new(
        config
            .unwrap_or_else(|_| panic!("it was right before"))
            .config,
    );
    let state = StateDir::lock(&config.agent().state).unwrap();
    Runtime::new().unwrap().block_on(async {
        let wiring = patina::app::wiring(config, &state).await.unwrap();
        let store = &wiring.stores[0];
        let error = store.stat(&key).await.unwrap_err().to_string();
        assert!(error.contains("is its disk mounted?"), "{error}");
        fs::remove_dir(place.path("mnt")).unwrap();
        store.stat(&key).await.unwrap_err();
        fs::rename(place.path("away"), place.path("mnt")).unwrap();
        assert!(store.stat(&key).await.unwrap().is_some());
    });
}

#[test]
fn what_is_left_of_a_directory_that_was_emptied_by_hand_does_not_make_it_the_storage() {
    let place = place(&folder("mnt"));
    place.ok(&["backup"]);
    // What `rm -r mnt/*` leaves.
    for below in ["daily", "manifests"] {
        fs::remove_dir_all(place.path("mnt").join(below)).unwrap();
    }
    place.ends(1, &["backup"]).complains("is its disk mounted?");
    assert_eq!(copies(&place, "mnt"), 0);
}

#[test]
fn a_copy_that_is_gone_while_its_manifest_is_there_is_damage_and_no_missing_disk() {
    let place = place(&folder("mnt"));
    place.ok(&["backup"]);
    fs::remove_dir_all(place.path("mnt/daily")).unwrap();
    place.ends(4, &["reconcile"]).complains("absent in usb");
    place.ok(&["backup"]);
}

#[test]
fn the_disk_of_another_installation_is_not_written_to_although_it_holds_the_same_keys() {
    let other = place(&folder("mnt"));
    rusqlite::Connection::open(other.path("blog.db"))
        .unwrap()
        .execute_batch("INSERT INTO notes(text) VALUES('another row')")
        .unwrap();
    other.ok(&["backup"]);
    let place = place(&folder("mnt"));
    place.ok(&["backup"]);
    move_away(&place, "away");
    copy(&other.path("mnt"), &place.path("mnt"));
    let before = place.all_files("mnt");
    place.ends(1, &["backup"]).complains("is its disk mounted?");
    place
        .ends(3, &["check", "--online"])
        .complains("is its disk mounted?");
    assert_eq!(place.all_files("mnt"), before);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(copied.success());
}

#[test]
fn copies_go_to_the_other_storages_while_one_is_not_mounted() {
    let both = format!(
        "{}[[storage]]\nname = \"disk\"\ndirectory = \"disk\"\n",
        folder("mnt")
    );
    let place = place(&both);
    place.ok(&["backup"]);
    move_away(&place, "away");
    fs::create_dir(place.path("mnt")).unwrap();
    place
        .ok(&["backup"])
        .complains("warning: blog: not in every storage: storage `usb`: cannot create ");
    assert_eq!((copies(&place, "mnt"), copies(&place, "disk")), (0, 2));
}

#[test]
fn a_directory_of_an_earlier_version_has_no_mark_and_works() {
    let place = place(&folder("mnt"));
    place.ok(&["backup"]);
    let is_mark = |path: &std::path::PathBuf| path.to_string_lossy().contains(".patina-storage-");
    let marks: Vec<_> = place.all_files("mnt").into_iter().filter(is_mark).collect();
    assert_eq!(marks.len(), 1, "{:?}", place.files("mnt"));
    fs::remove_file(&marks[0]).unwrap();
    place.ok(&["check", "--online"]);
    let report = place.json(&["reconcile"]);
    assert_eq!(report["storages"][0]["foreign"], 0);
    place.ok(&["backup"]);
    assert!(marks[0].exists());
    let report = place.json(&["reconcile"]);
    assert_eq!(
        report["storages"][0]["foreign"], 0,
        "the mark is no foreign name"
    );
}

#[test]
fn a_disk_that_was_replaced_for_good_is_used_again_once_somebody_says_so() {
    let place = place(&folder("mnt"));
    place.ok(&["backup"]);
    place
        .ends(1, &["reconcile", "--replaced", "usb"])
        .complains("holds objects that it should");
    place
        .ends(2, &["reconcile", "--replaced", "nas"])
        .complains("no storage is called `nas`");
    fs::remove_dir_all(place.path("mnt")).unwrap();
    fs::create_dir(place.path("mnt")).unwrap();
    place
        .ends(1, &["backup"])
        .complains("`patina reconcile --replaced usb`");
    place
        .ok(&["reconcile", "--replaced", "usb"])
        .says("storage `usb` is taken as empty; 1 object is missing there from now on");
    // What it held is noted as missing, not forgotten.
    let list = place.run(&["list"]);
    assert!(list.out.contains("missing"), "{list:?}");
    place.ok(&["backup"]);
    assert_eq!(copies(&place, "mnt"), 1);
    place.ends(1, &["reconcile", "--replaced", "usb"]);
}

#[test]
fn a_lost_state_beside_a_full_storage_is_told_by_the_check() {
    let place = place(&folder("mnt"));
    place.ok(&["backup"]);
    fs::remove_dir_all(place.path("state")).unwrap();
    let (result, message) = check(&place);
    assert_eq!(result, "failed", "{message}");
    assert!(
        message.contains("belongs to another installation"),
        "{message}"
    );
    assert!(message.contains("`patina rebuild`"), "{message}");
    // As the backup does.
    place.ends(1, &["backup"]).complains("`patina rebuild`");
    place.ok(&["rebuild"]);
    assert_eq!(check(&place).0, "ok");
    place.ok(&["backup"]);
}

/// The names of all objects in the bucket.
fn all_names(runtime: &Runtime, server: &Server) -> Vec<String> {
    let listed = runtime.block_on(server.client().list_objects_v2().bucket(BUCKET).send());
    let listed = listed.unwrap();
    let names = listed.contents().iter().filter_map(|one| one.key());
    names.map(str::to_owned).collect()
}

/// Removes all that the bucket holds behind Patina's back.
fn empty(runtime: &Runtime, server: &Server) {
    let names = all_names(runtime, server);
    assert!(names.len() >= 2, "{names:?}");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    runtime.block_on(server.lose(&names));
}

#[test]
fn a_bucket_that_was_emptied_is_refused_by_every_command_until_a_person_says_that_it_is_empty() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let place = place(&bucket(&server.endpoint(), BUCKET, "p", OWNER));
    let key = super::first_key(&place.json(&["backup"]));
    let names = all_names(&runtime, &server);
    let expected = [
        "p/claims/00000001.json".to_owned(),
        format!("p/{key}"),
        format!("p/manifests/{key}.json"),
    ];
    assert_eq!(names, expected);
    assert_eq!(check(&place).0, "ok");
    empty(&runtime, &server);
    let words =
        "the object that it should hold is not there; is its disk mounted? is it the right bucket?";
    let way_out = "`patina reconcile --replaced b2`";
    let (result, message) = check(&place);
    assert_eq!(result, "failed", "{message}");
    assert!(
        message.contains(words) && message.contains(way_out),
        "{message}"
    );
    for (code, args) in [
        (1, &["backup"][..]),
        (1, &["reconcile"]),
        (1, &["reconcile", "--wait"]),
    ] {
        place.ends(code, args).complains(words).complains(way_out);
    }
    for args in [&["verify", "--all"][..], &["expire"], &["archive"]] {
        place.run(args);
    }
    let list = place.run(&["list"]);
    assert!(!list.out.contains("missing"), "{list:?}");
    assert_eq!(all_names(&runtime, &server), Vec::<String>::new());
    place
        .ok(&["reconcile", "--replaced", "b2"])
        .says("storage `b2` is taken as empty; 1 object is missing there from now on");
    let list = place.run(&["list"]);
    assert!(list.out.contains("missing"), "{list:?}");
    place.ok(&["backup"]);
    place.ok(&["backup"]);
}

/// Runs every job that works with storages in one process that was there before the storage lost everything.
fn nothing_is_concluded(place: &Place, lose: impl FnOnce()) {
    let config = patina::config::Config::load(&place.path("patina.toml"));
    let config = config.unwrap_or_else(|_| panic!("it was right before"));
    let config = Arc::new(config.config);
    let state = StateDir::lock(&config.agent().state).unwrap();
    let runtime = Runtime::new().unwrap();
    let built = runtime
        .block_on(patina::app::build(config, &state))
        .unwrap();
    let (wiring, stop) = (&built.wiring, CancellationToken::new());
    let read = async || {
        let targets = verify::select(wiring, Scope::All).unwrap();
        verify::run(wiring, targets, &Arc::default(), &stop)
            .await
            .unwrap()
    };
    let before = runtime.block_on(read());
    assert!(before.iter().all(|finding| finding.found.is_ok()));
    lose();
    runtime.block_on(async {
        let findings = read().await;
        assert!(!findings.is_empty());
        for finding in findings {
            let is_unread = matches!(&finding.found, Err(ReadingError::Unread(why)) if why.contains("should hold"));
            assert!(is_unread, "{finding:?}");
        }
        let reports = reconcile::run(wiring, Patience::Leave, &stop).await.unwrap();
        for report in reports {
            assert!(report.error.as_ref().is_some_and(|why| why.contains("should hold")), "{report:?}");
            assert!(report.missing.is_empty() && report.absent.is_empty());
        }
        let report = expire::run(wiring, &built.pruners, Guards::all(), &stop).await;
        assert!(report.unwrap().deleted.is_empty());
        let copies = wiring.catalog.copies(&CopyFilter::default()).unwrap();
        assert_eq!(copies.iter().map(|copy| copy.live().count()).sum::<usize>(), 1);
        let request = backup::Request {
            databases: Vec::new(),
            trigger: Trigger::Manual,
            reason: None,
        };
        let board = Board::new(wiring.databases.iter().map(|one| &one.config.name));
        let report = backup::run(wiring, &state, &request, &board, &stop).await.unwrap();
        assert_eq!((report.job.successful, report.job.failed), (0, 1), "{report:?}");
        assert!(report.warnings.iter().any(|text| text.contains("should hold")));
    });
}

#[test]
fn a_bucket_that_is_emptied_under_a_running_process_changes_nothing_that_is_known() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let place = place(&bucket(&server.endpoint(), BUCKET, "p", OWNER));
    place.ok(&["backup"]);
    nothing_is_concluded(&place, || empty(&runtime, &server));
    assert_eq!(all_names(&runtime, &server), Vec::<String>::new());
}

#[test]
fn a_directory_that_is_emptied_under_a_running_process_changes_nothing_that_is_known() {
    let place = place(&folder("mnt"));
    place.ok(&["backup"]);
    nothing_is_concluded(&place, || {
        for below in ["daily", "manifests", "claims"] {
            fs::remove_dir_all(place.path("mnt").join(below)).unwrap();
        }
    });
    assert_eq!(copies(&place, "mnt"), 0);
}

#[test]
fn a_disk_that_is_taken_away_under_a_running_process_changes_nothing_that_is_known() {
    for leaves_mount_point in [true, false] {
        let place = place(&folder("mnt"));
        place.ok(&["backup"]);
        let config = patina::config::Config::load(&place.path("patina.toml"));
        let config = config.unwrap_or_else(|_| panic!("it was right before"));
        let config = Arc::new(config.config);
        let state = StateDir::lock(&config.agent().state).unwrap();
        Runtime::new().unwrap().block_on(async {
            let built = patina::app::build(config, &state).await.unwrap();
            let (wiring, stop) = (&built.wiring, CancellationToken::new());
            move_away(&place, "away");
            if leaves_mount_point {
                fs::create_dir(place.path("mnt")).unwrap();
            }
            let read = async || {
                let targets = verify::select(wiring, Scope::All).unwrap();
                verify::run(wiring, targets, &Arc::default(), &stop)
                    .await
                    .unwrap()
            };
            for finding in read().await {
                assert!(
                    matches!(finding.found, Err(ReadingError::Unread(_))),
                    "{finding:?}"
                );
            }
            for report in reconcile::run(wiring, Patience::Leave, &stop)
                .await
                .unwrap()
            {
                assert!(report.error.is_some(), "{report:?}");
                assert!(
                    report.missing.is_empty() && report.absent.is_empty(),
                    "{report:?}"
                );
            }
            let report = expire::run(wiring, &built.pruners, Guards::all(), &stop).await;
            assert!(report.unwrap().deleted.is_empty());
            let _ = pack::run(wiring, &state, &Arc::default(), &stop).await;
            let copies = wiring.catalog.copies(&CopyFilter::default()).unwrap();
            assert_eq!(copies.len(), 1);
            assert_eq!(copies[0].live().count(), 1);
            if leaves_mount_point {
                assert_eq!(fs::read_dir(place.path("mnt")).unwrap().count(), 0);
                fs::remove_dir(place.path("mnt")).unwrap();
            }
            assert!(!place.path("mnt").exists());
            fs::rename(place.path("away"), place.path("mnt")).unwrap();
            assert!(read().await.iter().all(|finding| finding.found.is_ok()));
        });
    }
}
