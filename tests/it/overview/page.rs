//! Holds the page to what a worried person looks for, in its order, and to its own strict policy.

use patina::http::page::{CONTENT_SECURITY_POLICY, asset, render};

use super::scene::Scene;

/// Where `parts` begin in `text`, each after the one before.
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("`{part}` is not there, or too early"));
        rest = &rest[at + part.len()..];
    }
}

fn scenes() -> Vec<(&'static str, String)> {
    let (running, _run) = Scene::running();
    vec![
        ("empty", render(&Scene::empty().overview())),
        ("healthy", render(&Scene::healthy().overview())),
        ("failing", render(&Scene::failing().overview())),
        ("running", render(&running.overview())),
    ]
}

#[test]
fn the_page_answers_in_the_order_of_a_worried_persons_questions() {
    let page = render(&Scene::healthy().overview());
    in_order(
        &page,
        &[
            "Everything is safe.",
            "All 4 databases have a copy that was restored and compared",
            "Rehearsed 23 days ago: 4 databases restored from storage and proven, in 3 min 5 s.",
            r#"id="databases""#,
            r#"id="db-groveauth""#,
            "The last 84 days: 9 as daily copies, 75 in weekly archives, 0 without a copy.",
            "Last good copy",
            "8 hours ago",
            "restored, every row and value equal to the source",
            "every byte read back 8 hours ago",
            "<caption>Size and rows of groveauth by week</caption>",
            "/restore-guide/groveauth",
            "No backup is running. The next one begins in 30 min.",
            "Recent jobs",
            "4 of 4 databases",
            "What comes next",
            "Back up now",
            "Storages",
            "Age as armor. Time as protection.",
        ],
    );
    assert_eq!(page.matches("<article").count(), 4);
    assert_eq!(page.matches("<path class=\"").count() - 4 * 4, 4 * 84);
    assert_eq!(page.matches(r#"class="chart""#).count(), 4 * 2);
    assert!(!page.contains("Damage"), "there is none");
}

#[test]
fn trouble_says_what_failed_when_and_why() {
    let page = render(&Scene::failing().overview());
    in_order(
        &page,
        &[
            "own-hour is not safe.",
            "The last good copy of own-hour is 10 days old.",
            r#"class="state warning">late"#,
            "Failed 8 hours ago, 5 times in a row:",
            "cannot open `/srv/data.db`: unable to open database file",
            r#"class="state critical">stale"#,
            "old-shop",
            "no longer configured",
            "Damage",
            "is changed in local",
            r#"class="state critical">failed"#,
            "2 of 4 databases",
            "<strong>scout-db:</strong> cannot open",
        ],
    );
}

#[test]
fn an_empty_agent_says_so_and_offers_the_first_backup() {
    let page = render(&Scene::empty().overview());
    in_order(
        &page,
        &[
            "Nothing is backed up yet.",
            "4 databases wait for their first copy.",
            "Nothing is stored yet.",
            "There is no copy yet that was restored and compared.",
            "None yet.",
            "Back up now",
        ],
    );
    assert!(
        !page.contains("/restore-guide/"),
        "there is nothing to restore"
    );
}

#[test]
fn a_running_job_is_named_so_that_its_progress_can_be_shown() {
    let (scene, run) = Scene::running();
    let page = render(&scene.overview());
    in_order(
        &page,
        &[
            &format!(r#"data-job="{}""#, run.id()),
            "A backup of 3 databases is running.",
            r#"class="state running">running"#,
            "before the upgrade",
            r#"id="trigger" disabled"#,
        ],
    );
}

#[test]
fn nothing_on_the_page_runs_or_styles_inline_and_nothing_is_loaded_from_elsewhere() {
    assert!(CONTENT_SECURITY_POLICY.starts_with("default-src 'self'; "));
    for (scene, page) in scenes() {
        for inline in [
            "<style",
            " style=",
            "javascript:",
            " onclick=",
            " onload=",
            "//",
            "<script>",
        ] {
            let text = page.replace("http://www.w3.org", "");
            assert!(!text.contains(inline), "{scene}: `{inline}`");
        }
        let loaded: Vec<&str> = page
            .split("=\"/assets/")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(loaded.len() >= 3, "{scene}: {loaded:?}");
        for path in loaded {
            let found = asset(&format!("/assets/{path}"));
            assert!(
                found.is_some_and(|asset| asset.body.len() > 100),
                "{scene}: {path}"
            );
        }
    }
    assert_eq!(asset("/assets/000000000000/patina.css"), None);
    assert_eq!(asset("/assets/../Cargo.toml"), None);
}

#[test]
fn a_name_or_error_from_outside_is_text_and_never_markup() {
    let scene = Scene::empty();
    let run = scene.begin_today();
    let time = crate::catalog::at("2026-11-24T03:00:00Z");
    let text = "near \"<script>alert(1)</script>\" & 'x'";
    run.fail_database(&crate::catalog::name("groveauth"), "id", text, time, time)
        .unwrap();
    run.finish(time).unwrap();
    let page = render(&scene.overview());
    assert!(!page.contains("<script>alert"));
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
}
