//! Checking, writing and editing the configuration; what other programs read.

use std::os::unix::fs::PermissionsExt;

use super::Place;

const MISTAKES: &str = "[agent]\nnme = \"x\"\n[retention]\ndaily_days = 0\n\
                        [[database]]\nname = \"A\"\nsqlite = \"a.db\"\n";

#[test]
fn every_command_tells_all_mistakes_of_the_configuration_with_their_places() {
    let place = Place::new();
    place.write("patina.toml", MISTAKES);
    for args in [
        &["check"][..],
        &["backup"],
        &["list"],
        &["verify"],
        &["config", "show"],
    ] {
        place
            .ends(2, args)
            .complains("patina.toml:2:1: unknown key `nme`\nhint: did you mean `name`?")
            .complains("patina.toml:4:14: ")
            .complains("patina.toml:6:8: ")
            .complains("error: the configuration has 3 mistakes");
    }
    let ran = place.ends(2, &["check", "--format", "pretty"]);
    ran.complains("─[patina.toml:4:14]");
    let ran = place.ends(2, &["check", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["problems"].as_array().unwrap().len(), 3);
    assert_eq!(told["problems"][1]["line"], 4);
}

#[test]
fn a_missing_configuration_says_how_to_write_one() {
    let place = Place::new();
    place
        .ends(2, &["backup"])
        .complains("hint: write a new one: `patina init`");
    place
        .ends(2, &["--config", "x/y.toml", "check"])
        .complains("x/y.toml:1:1: cannot read the file");
}

#[test]
fn check_says_what_the_file_means() {
    let place = Place::with(&["a", "b"], "");
    place
        .ok(&["check"])
        .says("databases, in the order of export")
        .says("next runs")
        .says("(primary)");
    let told = place.json(&["check"]);
    assert_eq!(told["databases"][1]["name"], "b");
    assert_eq!(told["next_runs"][0]["schedule"], "0 3 * * *");
}

#[test]
fn config_show_prints_a_file_that_means_the_same_and_no_secret() {
    let place = Place::with(
        &["a"],
        "[[alerts.sink]]\nname = \"ops\"\nslack = \"https://hooks.slack.com/s3cr3t\"\n",
    );
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(place.path("patina.toml"), private).unwrap();
    let ran = place.ok(&["config", "show"]);
    ran.says("slack = \"inline\"")
        .says("nightly = \"0 3 * * *\"");
    assert!(!ran.out.contains("s3cr3t"));
    let told = place.json(&["config", "show"]);
    assert_eq!(told["database"][0]["timeout"], "30s");
    assert!(!told.to_string().contains("s3cr3t"));

    let place = Place::with(&["a"], "");
    let shown = place.ok(&["config", "show"]).out;
    place.write("shown.toml", &shown);
    let again = place.ok(&["--config", "shown.toml", "config", "show"]).out;
    assert_eq!(again, shown);
}

#[test]
fn init_writes_a_file_that_works_and_never_overwrites_one() {
    let place = Place::new();
    super::small_database(&place.path("my.db"), 3);
    place
        .ok(&["init", "--sqlite", "blog=my.db"])
        .says("wrote patina.toml; next: patina check");
    place.ok(&["check"]).says("blog");
    place.ok(&["backup"]).says("1 of 1 database backed up");
    let text = place.read("patina.toml");
    place
        .ends(2, &["init"])
        .complains("patina.toml exists already and was left as it is");
    assert_eq!(place.read("patina.toml"), text);
    place
        .ok(&["init", "other.toml"])
        .says("patina --config other.toml add NAME --sqlite PATH");
    place.ends(2, &["init", "third.toml", "--sqlite", "blog"]);
    assert!(!place.path("third.toml").exists());
}

#[test]
fn a_configuration_elsewhere_names_the_same_files() {
    let place = Place::new();
    super::small_database(&place.path("my.db"), 3);
    std::fs::create_dir(place.path("etc")).unwrap();
    let config = ["--config", "etc/patina.toml"];
    place.ok(&["init", "etc/patina.toml", "--sqlite", "one=my.db"]);
    place.ok(&[&config[..], &["add", "two", "--sqlite", "my.db"]].concat());
    let ran = place.ok(&[&config[..], &["backup"]].concat());
    ran.says("2 of 2 databases backed up");
}

#[test]
fn add_and_remove_keep_comments_mode_and_links() {
    let place = Place::with(&["a"], "\n# the end\n");
    let text = format!("# mine\n{}", place.read("patina.toml"));
    place.write("patina.toml", &text);
    std::fs::rename(place.path("patina.toml"), place.path("real.toml")).unwrap();
    std::os::unix::fs::symlink("real.toml", place.path("patina.toml")).unwrap();
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(place.path("real.toml"), mode(0o640)).unwrap();

    place
        .ok(&["add", "new", "--sqlite", "new.db"])
        .says("added `new`")
        .complains("warning: new.db does not exist yet");
    let added = place.read("real.toml");
    assert!(added.contains("# mine") && added.contains("# the end"));
    assert!(added.contains("name = \"new\"\nsqlite = \"new.db\""));
    let facts = std::fs::metadata(place.path("real.toml")).unwrap();
    assert_eq!(facts.permissions().mode() & 0o777, 0o640);
    let link = std::fs::symlink_metadata(place.path("patina.toml")).unwrap();
    assert!(link.is_symlink());

    place
        .ends(2, &["add", "new", "--sqlite", "new.db"])
        .complains("is in the file already");
    place
        .ends(2, &["remove", "neww"])
        .complains("did you mean `new`?");
    place.ok(&["remove", "new"]);
    assert_eq!(place.read("real.toml"), text);
    // What would not load is not written.
    place
        .ends(2, &["remove", "a"])
        .complains("was left as it is");
    place.ends(2, &["add", "d", "--d1", "not-a-uuid"]);
    assert_eq!(place.read("real.toml"), text);
}

#[test]
fn the_schema_completions_and_manual_pages_are_printed() {
    let place = Place::new();
    let schema = place.ok(&["config", "schema"]).out;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["title"], "patina.toml");
    for shell in ["bash", "zsh", "fish"] {
        place.ok(&["completions", shell]).says("verify");
    }
    place
        .ok(&["man"])
        .says(".TH patina 1")
        .says("Exit codes: 0 done");
    place.ok(&["man", "--dir", "man"]);
    assert!(place.read("man/patina-backup.1").contains("reason"));
    assert!(place.files("man").len() >= 14);
}

#[test]
fn wrong_arguments_end_with_2() {
    let place = Place::new();
    for args in [
        &["frobnicate"][..],
        &["backup", "No Name"],
        &["list", "--date", "tomorrow"],
        &["add", "x"],
        &["verify", "a", "--all"],
    ] {
        place.ends(2, args).complains("error: ");
    }
    place.ok(&["--help"]).says("Exit codes: 0 done");
    place.ok(&["--version"]).says("patina 0.");
}

#[test]
fn check_warns_of_a_database_file_that_is_not_here_at_its_line_and_finds_one_that_is_alike() {
    let place = Place::with(&["blog", "shop"], "");
    let config = std::fs::read_to_string(place.path("patina.toml")).unwrap();
    assert!(place.ok(&["check"]).err.is_empty());
    let misspelt = config.replace("blog.db", "blgo.db");
    assert_ne!(misspelt, config);
    place.write("patina.toml", &misspelt);
    let line = misspelt.lines().position(|line| line.contains("blgo.db"));
    let line = line.unwrap() + 1;
    let ran = place.ok(&["check"]);
    ran.complains(&format!(
        "patina.toml:{line}:10: warning: the file of `blog` is not on this machine: `"
    ))
    .complains("hint: did you mean `blog.db`? Else run `patina check --online` on the machine");
    assert!(!ran.err.contains("`shop`"), "{ran:?}");
    let told = place.json(&["check"]);
    assert_eq!(told["problems"].as_array().unwrap().len(), 1);
    assert_eq!(told["problems"][0]["severity"], "warning");
    assert_eq!(told["problems"][0]["line"], line);
    // Opening it says more, and is an error.
    let ran = place.ends(3, &["check", "--online"]);
    ran.complains("error: database `blog`");
    assert!(!ran.err.contains("is not on this machine"), "{ran:?}");
    // Of a folder that is not there nothing is alike.
    place.write("patina.toml", &config.replace("blog.db", "nowhere/blog.db"));
    place
        .ok(&["check"])
        .complains("hint: correct the path, or run");
}

#[test]
fn a_configuration_that_is_no_file_or_far_too_long_is_not_edited_and_is_named() {
    let place = Place::with(&["blog"], "");
    let long = std::fs::File::create(place.path("long.toml")).unwrap();
    long.set_len(9 << 20).unwrap();
    for (file, why) in [
        ("long.toml", "it is longer than 8.0 MB"),
        ("/dev/zero", "it is a device, not a regular file"),
        (".", "it is a folder, not a regular file"),
    ] {
        let told = format!("cannot read {file}: {why}\nhint: name the configuration");
        place
            .ends(2, &["--config", file, "add", "b", "--sqlite", "b.db"])
            .complains(&told);
        place
            .ends(2, &["--config", file, "remove", "blog"])
            .complains(&told);
        place
            .ends(2, &["--config", file, "discover"])
            .complains(&format!("{file}:1:1: cannot read the file: {why}"));
    }
}
