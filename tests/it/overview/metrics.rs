//! Holds the metrics to their promise: every series before the first run, no label from outside, and no dashboard or
//! alert that names a series which is not there.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use patina::http::metrics::{CONTENT_TYPE, Vitals, render};
use serde_json::Value;

use super::scene::Scene;

fn text(scene: &Scene, vitals: &Vitals) -> String {
    render(&scene.overview(), &scene.config, vitals)
}

/// What stands before the value, labels in any order made one.
fn series(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let series: BTreeSet<_> = samples
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    assert!(
        series.len() >= 50,
        "{} series: the metrics moved?",
        series.len()
    );
    series
}

fn names(text: &str) -> BTreeSet<&str> {
    let series = series(text).into_iter();
    series
        .map(|series| series.split('{').next().unwrap())
        .collect()
}

fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
        .parse()
        .unwrap()
}

#[test]
fn the_five_promised_names_tell_what_the_catalog_knows() {
    let metrics = text(&Scene::failing(), &Vitals::default());
    assert_eq!(value(&metrics, "backup_databases_count"), 4.0);
    assert_eq!(value(&metrics, "backup_failures_24h"), 2.0);
    assert_eq!(value(&metrics, "backup_last_duration_ms"), 21_000.0);
    assert!(value(&metrics, "backup_total_size_bytes") > 1e7);
    // The last night without a failure was ten nights ago.
    let success = value(&metrics, "backup_last_success_timestamp");
    assert_eq!(
        success,
        crate::catalog::at("2026-11-14T03:00:21Z").timestamp() as f64
    );
}

#[test]
fn the_last_rehearsal_is_told_whole_and_by_database() {
    let well = text(&Scene::healthy(), &Vitals::default());
    let ended = crate::catalog::at("2026-11-01T06:03:05Z").timestamp() as f64;
    assert_eq!(value(&well, "backup_drill_last_timestamp"), ended);
    assert_eq!(value(&well, "backup_drill_last_duration_seconds"), 185.0);
    assert_eq!(value(&well, "backup_drill_last_successful"), 1.0);
    let badly = text(&Scene::failing(), &Vitals::default());
    assert_eq!(value(&badly, "backup_drill_last_successful"), 0.0);
    let of = |database: &str| {
        value(
            &badly,
            &format!("backup_last_drilled_timestamp{{database=\"{database}\"}}"),
        )
    };
    let began = |text: &str| crate::catalog::at(text).timestamp() as f64;
    // The one that did not come back last is as old as the last time it did.
    assert_eq!(of("groveauth"), began("2026-10-01T06:00:00Z"));
    assert_eq!(of("scout-db"), began("2026-11-22T06:00:00Z"));
}

#[test]
fn every_series_is_there_before_the_first_run() {
    let before = text(&Scene::empty(), &Vitals::default());
    let after = text(&Scene::healthy(), &Vitals::default());
    assert_eq!(series(&before), series(&after));
    for never in [
        "last_success_timestamp",
        r#"last_good_timestamp{database="groveauth"}"#,
    ] {
        assert_eq!(value(&before, &format!("backup_{never}")), 0.0);
    }
}

#[test]
fn a_database_or_storage_that_left_the_configuration_has_no_series() {
    let scene = Scene::failing();
    assert!(
        scene
            .overview()
            .databases
            .iter()
            .any(|one| one.name.as_str() == "old-shop")
    );
    assert!(!text(&scene, &Vitals::default()).contains("old-shop"));
}

#[test]
fn what_the_process_knows_of_itself_is_told() {
    let vitals = Vitals {
        is_config_current: false,
        config_loaded_at: Some(crate::catalog::at("2026-11-24T03:00:00Z")),
        outbox_depth: 3,
        hook_failures: 2,
        hook_seconds: 1.5,
    };
    let metrics = text(&Scene::empty(), &vitals);
    for (name, expected) in [
        ("config_last_reload_successful", 0.0),
        ("config_last_reload_timestamp", 1_795_489_200.0),
        ("alert_outbox_depth", 3.0),
        ("hook_failures_total", 2.0),
        ("hook_duration_seconds_total", 1.5),
    ] {
        assert_eq!(
            value(&metrics, &format!("backup_{name}")),
            expected,
            "{name}"
        );
    }
}

#[test]
fn the_text_is_open_metrics_and_promtool_minds_only_the_promised_names() {
    let metrics = text(&Scene::failing(), &Vitals::default());
    assert!(CONTENT_TYPE.starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(metrics.ends_with("# EOF\n"));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scripts/test-deps.sh installs promtool");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let told = told.concat();
    let told: Vec<&str> = told
        .lines()
        .filter(|line| !line.is_empty())
        // The text is OpenMetrics, whose counters are declared without `_total`; promtool reads the older format.
        .filter(|line| !(line.contains("_total") && line.contains("no help text")))
        .collect();
    let promised = ["backup_last_duration_ms ", "backup_databases_count "];
    let is_promised = |line: &&str| promised.iter().any(|name| line.starts_with(name));
    assert!(told.iter().all(is_promised), "{told:#?}");
}

#[test]
fn every_alert_rule_is_right_and_names_only_series_that_exist() {
    let rules = Path::new("scripts/monitoring/alerts.yml");
    let output = Command::new("promtool")
        .args(["check", "rules"])
        .arg(rules)
        .output();
    let output = output.expect("scripts/test-deps.sh installs promtool");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("16 rules found"), "{told}");
    let rules = fs::read_to_string(rules).unwrap();
    only_known(&[rules]);
}

#[test]
fn every_panel_of_the_grafana_dashboard_names_only_series_that_exist() {
    let dashboard = fs::read_to_string("scripts/monitoring/grafana.json").unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            queries.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(queries.len() >= 15, "the dashboard moved?");
    only_known(&queries);
}

fn only_known(texts: &[String]) {
    let metrics = text(&Scene::empty(), &Vitals::default());
    let known = names(&metrics);
    let mut found = 0;
    for word in texts
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with("backup_"))
    {
        assert!(
            known.contains(word),
            "`{word}` is no series; there are {known:#?}"
        );
        found += 1;
    }
    assert!(found >= 12, "only {found} names: the files moved?");
}
