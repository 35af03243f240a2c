//! Names, values and manifests that try to be commands, lines, colours or pages: through every command.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Place, Ran};

/// No control, no end of a line or paragraph, no direction, nothing without a width; an emoji's joiner is none.
fn is_hidden(c: char) -> bool {
    let code = u32::from(c);
    let directions = [0x61c, 0x200e, 0x200f, 0xfeff, 0xad, 0x200b];
    c.is_control()
        || directions.contains(&code)
        || (0x2028..=0x202e).contains(&code)
        || (0x2060..=0x206f).contains(&code)
        || (0xe0000..=0xe007f).contains(&code)
}

/// Names that a database may have for a table.
pub(crate) fn names() -> Vec<String> {
    let short = [
        "a\nhint: forged",
        "b\r\nerror: forged",
        "c\n```\n# forged\n```sh\ntouch pwned\n```",
        "d\n\n# forged",
        "`touch pwned`",
        "$(touch pwned)",
        "'; touch pwned; '",
        "\"; touch pwned; \"",
        "a'b\"c`d",
        "; touch pwned",
        "&& touch pwned",
        "| touch pwned",
        "> pwned",
        "${IFS}touch${IFS}pwned",
        "$HOME",
        "~root",
        "a\\nb\\u001b",
        "!!",
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\",
        "\u{1b}P+q\u{1b}\\",
        "\u{1b}c",
        "\u{9b}31m",
        "\u{90}q\u{9c}",
        "\u{85}next",
        "\u{7f}del",
        "\u{8}\u{8}\u{8}back",
        "\u{7}bell",
        "\ttab",
        "\u{b}vt",
        "\u{c}ff",
        "\r",
        "\n",
        " ",
        "\u{202e}rtl",
        "\u{2066}iso\u{2069}",
        "\u{200e}lrm\u{200f}",
        "\u{61c}alm",
        "\u{2028}ls",
        "\u{2029}ps",
        "\u{feff}bom",
        "\u{200b}zw",
        "\u{ad}shy",
        "\u{e0041}tag",
        "-rf",
        "--to",
        "--help",
        "-x;touch pwned",
        "| x |",
        "a|b||c",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "&lt;&amp;",
        "[x](javascript:alert(1))",
        "![x](http://x)",
        "# x",
        "- x",
        "> x",
        "***",
        "___",
        "~~~",
        "```",
        "````sh",
        "END",
        "%n%s%x",
        "{x} {} {{",
        "日本語",
        "עברית",
        "👩‍👩‍👧",
        ".shell touch pwned",
        ".quit",
        "NULL",
        "a--b",
        "/*",
        "x = 1",
    ];
    let mut names: Vec<String> = short.iter().map(|name| (*name).to_owned()).collect();
    names.push(format!("e{}", "\u{301}".repeat(300)));
    names.push("x".repeat(70_000));
    names.push("語".repeat(20_000));
    names.push("\u{1b}".repeat(300));
    names
}

/// A database with a table, a column, an index and values of each name.
fn hostile_database(path: &Path) {
    let db = Connection::open(path).unwrap();
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    db.execute_batch("BEGIN; CREATE TABLE names(id INTEGER PRIMARY KEY, name TEXT)")
        .unwrap();
    for name in names() {
        let (table, index) = (quoted(&name), quoted(&format!("i{name}")));
        db.execute_batch(&format!(
            "CREATE TABLE {table}(id INTEGER PRIMARY KEY, {index}); CREATE INDEX {index} ON {table}({index});"
        ))
        .unwrap();
        let insert = format!("INSERT INTO {table} VALUES(1, ?1)");
        db.execute(&insert, [&name]).unwrap();
        db.execute("INSERT INTO names(name) VALUES(?1)", [&name])
            .unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
}

/// Holds what a person sees against the rules: nothing hidden, and no line that a name began.
#[track_caller]
pub(crate) fn assert_harmless(what: &str, text: &str) {
    let hidden = text
        .char_indices()
        .find(|(_, c)| *c != '\n' && is_hidden(*c));
    if let Some((at, c)) = hidden {
        let start = text[..at]
            .char_indices()
            .rev()
            .nth(80)
            .map_or(0, |(at, _)| at);
        panic!("{what}: {c:?} after {:?}", &text[start..at]);
    }
    for line in text.lines() {
        let line = line.trim_start();
        for forged in [
            "hint: forged",
            "error: forged",
            "# forged",
            "| forged",
            "- forged",
            "> forged",
        ] {
            assert!(!line.starts_with(forged), "{what}: {line}");
        }
    }
}

#[track_caller]
fn assert_ran_harmlessly(what: &str, ran: &Ran) {
    assert_ne!(ran.code, Some(70), "{what}: {ran:?}");
    assert_ne!(ran.code, Some(101), "{what}: {ran:?}");
    assert_harmless(what, &ran.out);
    assert_harmless(what, &ran.err);
    for line in ran.err.lines() {
        // Events of the log begin with their level, or are JSON.
        let line = line.trim_start();
        let known = [
            "INFO ",
            "WARN ",
            "ERROR ",
            "{\"",
            "error: ",
            "hint: ",
            "warning: ",
            "note: ",
            "  ",
            "exception: ",
            "For more information",
        ];
        let is_known = line.is_empty() || known.iter().any(|start| line.starts_with(start));
        assert!(
            is_known || line.contains("hostile") || line.contains("blog"),
            "{what}: {line}"
        );
    }
}

/// Runs every command of a page with programs that do nothing; whatever else is run leaves `pwned` behind.
fn follow(place: &Place, page: &str) -> usize {
    let (stubs, desk) = (place.path("stubs"), place.path("desk"));
    for folder in [&stubs, &desk] {
        std::fs::create_dir_all(folder).unwrap();
    }
    for program in ["patina", "sqlite3", "wrangler", "curl", "rclone"] {
        let stub = stubs.join(program);
        std::fs::write(&stub, "#!/bin/sh\nexit 0\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&stub, mode).unwrap();
    }
    let mut count = 0;
    let mut fence: Option<String> = None;
    let mut command = String::new();
    for line in page.lines() {
        match &fence {
            None if line.starts_with("```") => {
                assert!(line.ends_with("`sh"), "{line}");
                fence = Some(line.trim_end_matches("sh").to_owned());
                command.clear();
            }
            Some(end) if line == end => {
                let path = format!("{}:/usr/bin:/bin", stubs.display());
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", &command])
                    .current_dir(&desk)
                    .env("PATH", path);
                shell.output().unwrap();
                count += 1;
                fence = None;
            }
            Some(_) => {
                command.push_str(line);
                command.push('\n');
            }
            None => {}
        }
    }
    assert_eq!(fence, None, "a block does not end");
    for folder in [&desk, &place.path(".")] {
        let found = std::fs::read_dir(folder).unwrap();
        for entry in found {
            let name = entry.unwrap().file_name();
            assert!(!name.to_string_lossy().starts_with("pwned"), "{name:?}");
        }
    }
    count
}

const STORAGE: &str = "[[storage]]\nname = \"near\"\ndirectory = \"near\"\n";

/// A place whose database lies in a folder of a hostile name.
fn hostile_place() -> Place {
    let place = Place::new();
    let folder = "we\u{1b}[31mird\n$(touch pwned)`touch pwned`\u{202e}'\" -x";
    std::fs::create_dir(place.path(folder)).unwrap();
    hostile_database(&place.path(folder).join("a.db"));
    let path = serde_json::to_string(&format!("{folder}/a.db")).unwrap();
    place.write(
        "patina.toml",
        &format!(
            "{STORAGE}[[database]]\nname = \"hostile\"\nsqlite = {path}\ndescription = \"<b>\\n# forged\\n```\\u001b[2J\"\n"
        ),
    );
    place
}

#[test]
fn hostile_names_are_shown_by_every_command_and_obeyed_by_none() {
    assert!(names().len() >= 60);
    let place = hostile_place();
    let listed = "SELECT name, sql FROM sqlite_schema";
    let restored = ["restore", "hostile", "--to", "back.db"];
    let queried = |form| ["query", "hostile", listed, "--as", form, "--limit", "0"];
    let commands: [&[&str]; 24] = [
        &["check"],
        &["backup"],
        &["-v", "backup"],
        &["--log-format", "json", "-v", "backup"],
        &["list"],
        &["show", "hostile"],
        &["guide", "hostile"],
        &["runbook"],
        &queried("table"),
        &queried("json"),
        &[
            "query",
            "hostile",
            "SELECT * FROM \"no\u{1b}[2J\nhint: forged\"",
        ],
        &["query", "hostile", "SELECT \"\u{1b}[2J\nhint: forged"],
        &["diff", "hostile@latest~1", "hostile"],
        &["verify"],
        &["drill"],
        &["plan"],
        &["config", "show"],
        &[&restored[..], &["--dry-run"]].concat(),
        &restored,
        &[
            "restore",
            "hostile",
            "--table",
            "no\u{1b}[2J\nhint: forged",
            "--to",
            "x.db",
        ],
        &["show", "no\u{1b}[2J\nhint: forged"],
        &["list", "\u{9b}31m\nhint: forged"],
        &["archive"],
        &["reconcile"],
    ];
    for (number, args) in commands.iter().enumerate() {
        if args[0] == "diff" {
            // Something that differs in every table.
            for entry in std::fs::read_dir(place.path(".")).unwrap() {
                let path = entry.unwrap().path().join("a.db");
                if path.exists() {
                    let db = Connection::open(path).unwrap();
                    for name in names() {
                        let table = name.replace('"', "\"\"");
                        db.execute(&format!("INSERT INTO \"{table}\" VALUES(2, ?1)"), [&name])
                            .unwrap();
                    }
                }
            }
            place.ok(&["backup"]);
        }
        for json in [false, true] {
            let args = if json {
                [&["--json"], *args].concat()
            } else {
                args.to_vec()
            };
            let short: Vec<String> = args
                .iter()
                .map(|arg| arg.chars().take(40).collect())
                .collect();
            let what = format!("{number} {short:?}");
            // What a first run made, a second one finds.
            let _ = std::fs::remove_file(place.path("back.db"));
            let ran = place.run(&args);
            if args.ends_with(&["config", "show"]) {
                // TOML: a text of several lines of the person's own stays that.
                assert_harmless(&what, &ran.out.replace("# forged", ""));
                continue;
            }
            assert_ran_harmlessly(&what, &ran);
        }
    }
    for page in [["guide", "hostile"].as_slice(), &["runbook"]] {
        let commands = follow(&place, &place.ok(page).out);
        assert!(commands > 5, "{commands}");
    }
    let shown = place.json(&["show", "hostile"]).to_string();
    for name in names() {
        let name = json!(name).to_string();
        assert!(shown.contains(&name), "{name}");
    }
}

#[test]
fn values_of_a_query_come_out_whole_as_csv_and_json_and_harmless_as_a_table() {
    let place = hostile_place();
    place.ok(&["backup"]);
    let document = place.json(&["query", "hostile", "SELECT name FROM names ORDER BY id"]);
    let csv = place
        .ok(&[
            "query",
            "hostile",
            "SELECT name FROM names ORDER BY id",
            "--as",
            "csv",
        ])
        .out;
    let mut rest = csv.as_str();
    for (number, name) in names().iter().enumerate() {
        assert_eq!(document["rows"][number][0], json!(name));
        let quoted = format!("\"{}\"\r\n", name.replace('"', "\"\""));
        let at = rest.find(&quoted).unwrap_or_else(|| panic!("{name:?}"));
        rest = &rest[at + quoted.len()..];
    }
    assert_eq!(rest, "");
    let table = place
        .ok(&["query", "hostile", "SELECT name FROM names ORDER BY id"])
        .out;
    assert_harmless("query", &table);
    assert_eq!(table.lines().count(), names().len() + 1);
}

#[test]
fn a_manifest_of_somebody_else_puts_no_command_into_a_guide() {
    let place = hostile_place();
    place.ok(&["backup"]);
    let hostile = "\"\nEND\ntouch pwned\ncat <<'END'\n```\n# forged\n$(touch pwned)`touch pwned`\u{1b}[2J\u{202e}|<script>\0";
    for kind in ["d1", "sqlite", hostile] {
        for file in place.all_files("near/manifests") {
            let text = std::fs::read_to_string(&file).unwrap();
            let mut manifest: Value = serde_json::from_str(&text).unwrap();
            manifest["source"]["kind"] = json!(kind);
            for field in ["id", "bookmark", "method", "method_reason"] {
                manifest["source"][field] = json!(hostile);
            }
            for field in [
                "zone",
                "started_at",
                "sqlite_version",
                "patina_version",
                "instance",
            ] {
                manifest[field] = json!(hostile);
            }
            manifest["warnings"] = json!(names());
            manifest["exceptions"] =
                json!([{ "object": hostile, "kind": "missing", "reason": hostile }]);
            manifest["evidence"]["tables"][0]["name"] = json!(hostile);
            manifest["evidence"]["tables"][1]["omitted"] = json!(hostile);
            std::fs::write(&file, manifest.to_string()).unwrap();
        }
        // Another host, which knows the storage alone.
        let other = Place::new();
        other.write("patina.toml", STORAGE);
        let near = other.path("near");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(place.path("near"))
            .arg(&near)
            .status();
        assert!(copied.unwrap().success());
        for args in [
            &["rebuild"][..],
            &["list"],
            &["show", "hostile"],
            &["guide", "hostile"],
            &["runbook"],
            &["verify", "--all"],
            &["restore", "hostile", "--to", "back.db"],
            &["cat", "hostile"],
        ] {
            for json in [false, true] {
                let args = if json {
                    [&["--json"], args].concat()
                } else {
                    args.to_vec()
                };
                let ran = other.run(&args);
                if args.last() == Some(&"hostile") && args.contains(&"cat") {
                    assert_harmless("cat", &ran.err);
                    continue;
                }
                assert_ran_harmlessly(&format!("{args:?}"), &ran);
            }
        }
        let listed = other.json(&["list"])["copies"].as_array().unwrap().len();
        assert_eq!(listed, 1, "the manifest was not taken");
        for page in [["guide", "hostile"].as_slice(), &["runbook"]] {
            follow(&other, &other.ok(page).out);
        }
    }
}

/// What the API answers to a GET with a key; its status must be 200.
fn get(port: u16, path: &str, accept: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {accept}\r\nX-Patina-Key: ptk_me_{SECRET}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    body.replace("\r\n", "\n")
}

/// What stands behind the key's id.
const SECRET: &str = "a-secret-of-forty-three-letters-and-digits-1";

#[test]
fn the_api_the_dashboard_and_the_log_show_hostile_names_harmlessly() {
    let place = hostile_place();
    place.ok(&["backup"]);
    let port = crate::guide::free_port();
    let more = format!(
        "[schedule]\ncatch_up = \"0s\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[[http.key]]\nid = \"me\"\nsha256 = \"{}\"\n\
         scopes = [\"read\", \"metrics\"]\n",
        patina::http::key_digest(SECRET)
    );
    let config = place.read("patina.toml");
    place.write("patina.toml", &format!("{more}{config}"));
    let log = std::fs::File::create(place.path("log")).unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_patina"))
        .arg("run")
        .current_dir(place.path("."))
        .env_remove("PATINA_CONFIG")
        .env_remove("RUST_LOG")
        .stderr(log)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{}",
            place.read("log")
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    for (path, accept) in [
        ("/", "text/html"),
        ("/", "application/json"),
        ("/status", "application/json"),
        ("/list", "application/json"),
        ("/restore-guide/hostile", "application/json"),
        ("/restore-guide/hostile", "text/markdown"),
        ("/runbook", "application/json"),
        ("/runbook", "text/markdown"),
        ("/metrics", "*/*"),
        ("/openapi.json", "*/*"),
    ] {
        let body = get(port, path, accept);
        assert!(!body.is_empty());
        // A page's lines are no lines of ours.
        let body = match accept {
            "text/html" => body.replace("# forged", ""),
            _ => body,
        };
        assert_harmless(path, &body);
        if accept == "text/html" {
            assert!(!body.contains("<script>alert") && !body.contains("<img src=x"));
        }
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let log = place.read("log");
    assert_harmless("log", &log);
    for line in log.lines() {
        assert!(
            ["INFO", "WARN", "ERROR"]
                .iter()
                .any(|level| line.contains(level)),
            "{line}"
        );
    }
}
