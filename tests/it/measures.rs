//! Databases of unusual measures: more tables than text, rows larger than memory should be, and what grows without end.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use patina::types::Compression;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::dumping::Workshop;
use crate::torture::compare;

/// A blob of this size is more than any row that is written as SQL text.
const LARGE_BYTES: usize = 120_000_000;

/// What any command may take for it, in a build without optimization.
const MOST_MEMORY_BYTES: u64 = 100_000_000;

/// A database, and a configuration that backs it up.
struct Site(TempDir);

impl Site {
    fn new(fill: &str, compression: &str) -> Self {
        Self::with(fill, compression, "")
    }

    /// `more` are keys of the database.
    fn with(fill: &str, compression: &str, more: &str) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        let db = Connection::open(site.path("blog.db")).unwrap();
        db.execute_batch(fill).unwrap();
        let config = format!(
            "[export]\ncompression = \"{compression}\"\n[[storage]]\nname = \"near\"\ndirectory = \"near\"\n\
             [[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\n{more}\n"
        );
        fs::write(site.path("patina.toml"), config).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command with its output into a file; gives its exit code, what it told, and its peak of memory in bytes.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, u64) {
        let (out, told) = (self.path("out"), self.path("told"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_patina"))
            .args(args)
            .current_dir(self.0.path())
            .env_remove("PATINA_CONFIG")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(File::create(out).unwrap())
            .stderr(File::create(&told).unwrap())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut most = 0;
        let ended = loop {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            most = most.max(kb.unwrap_or_default() * 1024);
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        (ended.code(), fs::read_to_string(told).unwrap(), most)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> u64 {
        let (code, told, most) = self.run(args);
        assert_eq!(code, Some(0), "{args:?}: {told}");
        most
    }

    /// The one object of the storage.
    fn object(&self) -> PathBuf {
        let day = fs::read_dir(self.path("near/daily")).unwrap().next();
        let object = fs::read_dir(day.unwrap().unwrap().path()).unwrap().next();
        object.unwrap().unwrap().path()
    }
}

#[test]
fn a_row_of_more_than_sql_text_should_hold_is_kept_as_an_image_in_little_memory() {
    let site = Site::new(
        &format!(
            "CREATE TABLE large(id INTEGER PRIMARY KEY, v BLOB); INSERT INTO large VALUES(1, zeroblob({LARGE_BYTES}));
             CREATE TABLE small(x); INSERT INTO small VALUES('a');"
        ),
        "zstd",
    );
    let backup = site.ok(&["backup"]);
    assert!(site.object().to_string_lossy().ends_with(".sqlite.zst"));
    let shown = Command::new(env!("CARGO_BIN_EXE_patina"))
        .args(["show", "blog"])
        .current_dir(site.0.path())
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("table `large` has a row of more than 32"),
        "{shown}"
    );
    let restore = site.ok(&["restore", "blog", "--to", "back.db"]);
    assert_eq!(
        compare(&site.path("blog.db"), &site.path("back.db")),
        [] as [String; 0]
    );
    let drill = site.ok(&["drill"]);
    for (what, most) in [("backup", backup), ("restore", restore), ("drill", drill)] {
        assert!(most < MOST_MEMORY_BYTES, "{what} took {most} bytes");
    }
    // SQLite itself holds the value once; nothing holds it twice.
    for form in ["table", "csv", "json"] {
        let most = site.ok(&["query", "blog", "SELECT v FROM large", "--as", form]);
        assert!(
            most < MOST_MEMORY_BYTES + LARGE_BYTES as u64 * 3 / 2,
            "{form} took {most} bytes"
        );
        let written = fs::metadata(site.path("out")).unwrap().len();
        match form {
            "table" => assert!(written < 1_000, "{written}"),
            _ => assert!(written > 2 * LARGE_BYTES as u64, "{written}"),
        }
    }
}

#[test]
fn a_row_over_the_limit_of_sql_text_is_refused_where_text_is_insisted_on() {
    let fill = "CREATE TABLE large(v); INSERT INTO large VALUES(zeroblob(150000000)); CREATE TABLE other(x);
         INSERT INTO other VALUES('a');";
    for more in ["method = \"sql\"", "skip_data = [\"other\"]"] {
        let site = Site::with(fill, "zstd", more);
        let (code, told, most) = site.run(&["backup"]);
        assert_ne!(code, Some(0), "{more}: {told}");
        let limit = "table `large` has a row of more than 128 MB";
        assert!(told.contains(limit) && told.contains("hint: "), "{told}");
        assert!(most < MOST_MEMORY_BYTES, "{more} took {most} bytes");
        assert!(!site.path("near/daily").exists());
    }
}

#[test]
fn a_row_of_many_values_that_are_too_large_together_is_kept_as_an_image() {
    let values: Vec<String> = (0..20).map(|_| "zeroblob(3000000)".to_owned()).collect();
    let columns: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    let site = Site::new(
        &format!(
            "CREATE TABLE wide({}); INSERT INTO wide VALUES({});",
            columns.join(","),
            values.join(",")
        ),
        "zstd",
    );
    let most = site.ok(&["backup"]);
    assert!(site.object().to_string_lossy().ends_with(".sqlite.zst"));
    // The row is read once by each of both readers.
    assert!(most < MOST_MEMORY_BYTES + 2 * 60_000_000, "{most}");
}

#[test]
fn a_database_with_more_indexes_than_its_rows_have_text_comes_back() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    let db = Connection::open(&database).unwrap();
    db.execute_batch(
        "PRAGMA page_size=512; PRAGMA synchronous=OFF; BEGIN; CREATE TABLE t(x TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1500)
         INSERT INTO t SELECT printf('%.*c', 400, 'x') || i FROM n;",
    )
    .unwrap();
    for number in 0..60 {
        db.execute_batch(&format!("CREATE INDEX i{number} ON t(x)"))
            .unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    drop(db);
    let source = workshop.source(&database);
    let (partial, dumped) = workshop
        .spool(&source, "a.partial", Compression::None)
        .unwrap();
    drop(dumped.witness);
    let restored = workshop.restore(&partial, "restored.db").unwrap();
    assert_eq!(compare(&database, &restored), [] as [String; 0]);
}

#[test]
fn of_a_few_bytes_that_unpack_without_end_no_more_comes_out_than_the_manifest_says() {
    for compression in ["zstd", "gzip"] {
        let site = Site::new("CREATE TABLE a(x); INSERT INTO a VALUES('y');", compression);
        site.ok(&["backup"]);
        let plain = {
            site.ok(&["cat", "blog"]);
            fs::metadata(site.path("out")).unwrap().len()
        };
        let zeros = vec![0; 1 << 20];
        let mut bomb: Vec<u8> = Vec::new();
        if compression == "zstd" {
            let mut encoder = zstd::Encoder::new(&mut bomb, 3).unwrap();
            (0..300).for_each(|_| encoder.write_all(&zeros).unwrap());
            encoder.finish().unwrap();
        } else {
            let mut encoder = flate2::write::GzEncoder::new(&mut bomb, flate2::Compression::best());
            (0..300).for_each(|_| encoder.write_all(&zeros).unwrap());
            encoder.finish().unwrap();
        }
        fs::write(site.object(), bomb).unwrap();
        for args in [
            &["cat", "blog"][..],
            &["restore", "blog", "--to", "b.db"],
            &["verify", "--all"],
        ] {
            let (code, told, most) = site.run(args);
            assert_ne!(code, Some(0), "{args:?}");
            assert!(most < MOST_MEMORY_BYTES, "{args:?} took {most} bytes");
            let written = fs::metadata(site.path("out")).unwrap().len();
            assert!(
                args[0] != "cat" || written <= plain,
                "{written} of {plain}: {told}"
            );
            let is_told = told.contains("unpacks to more than the");
            assert!(args[0] == "verify" || is_told, "{args:?}: {told}");
        }
    }
}

#[test]
fn cat_of_an_image_to_another_program_says_that_it_is_a_file_to_keep() {
    let site = Site::new(
        &format!("CREATE TABLE t(v); INSERT INTO t VALUES(zeroblob({LARGE_BYTES}));"),
        "zstd",
    );
    site.ok(&["backup"]);
    let (code, told, _) = site.run(&["cat", "blog"]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    let mut child = Command::new(env!("CARGO_BIN_EXE_patina"))
        .args(["cat", "blog"])
        .current_dir(site.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let count = std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let told = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(count > LARGE_BYTES as u64);
    assert!(
        told.starts_with("note: this copy is a database file"),
        "{told}"
    );
    assert!(told.contains("blog.sqlite`"), "{told}");
}
