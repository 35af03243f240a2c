//! `patina discover` against the real D1 engine: what is listed, added and refused.

use super::{Place, Ran};
use crate::d1::engine::{ACCOUNT, Engine, TOKEN};
use crate::d1::proxy::{Fate, Proxy};

/// What `[cloudflare]` says of an account at `url`.
pub(super) fn account(url: &str, account: &str, token: &str) -> String {
    format!(
        "[cloudflare]\naccount_id = \"{account}\"\napi_token = \"{token}\"\napi_url = \"{url}\"\n"
    )
}

fn config(url: &str, id: &str) -> String {
    let account = account(url, ACCOUNT, TOKEN);
    format!("# mine\n{account}\n[[database]] # the first\nname = \"auth\"\nd1 = \"{id}\"\n")
}

#[test]
fn unprotected_databases_are_told_and_added_under_valid_free_names() {
    let engine = Engine::start();
    let id = engine.create("groveauth");
    let other = engine.create("Auth");
    engine.create("My Shop");
    let place = Place::new();
    place.write_private("patina.toml", &config(&engine.url(), &id));
    let ran = place.ends(3, &["discover", "--check"]);
    ran.says("of 3 D1 databases in the account, 1 protected and 2 not");
    ran.complains("no backup is made of 2 of them\nhint: `patina discover --add`");
    assert!(!format!("{ran:?}").contains(TOKEN), "{ran:?}");
    let before = place.read("patina.toml");
    let ran = place.ends(2, &["discover", "--add", "My Shopp"]);
    ran.complains(
        "no D1 database called `My Shopp`; nothing was added\nhint: did you mean `My Shop`?",
    );
    assert_eq!(place.read("patina.toml"), before);
    place.ends(3, &["discover", "--check", "--add", "My Shop"]);
    place
        .ok(&["discover", "--check", "--add"])
        .complains("added `auth-");
    let after = place.read("patina.toml");
    assert!(after.starts_with(&before), "{after}");
    let marked = format!("name = \"auth-{}\"\nd1 = \"{other}\"", &other[..8]);
    assert!(
        after.contains("name = \"my-shop\"") && after.contains(&marked),
        "{after}"
    );
    // A second time there is nothing to add.
    let found = place.json(&["discover", "--check", "--add"]);
    assert_eq!(found["added"].as_array().unwrap().len(), 0);
    assert_eq!(found["databases"].as_array().unwrap().len(), 3);
    assert_eq!(place.read("patina.toml"), after);
}

#[test]
fn a_database_that_the_account_does_not_have_is_absent() {
    let engine = Engine::start();
    let place = Place::new();
    let id = "45eae4c7-8ae7-4078-9218-8e1677a4360f";
    place.write_private("patina.toml", &config(&engine.url(), id));
    let ran = place.ok(&["discover", "--check"]);
    ran.says("absent").complains(
        "does not have the D1 database of `auth`\nhint: correct its `d1`, or `patina remove auth`",
    );
    let found = place.json(&["discover"]);
    assert_eq!(found["databases"][0]["standing"], "absent");
}

#[test]
fn a_file_without_a_database_gets_its_first_ones_from_the_account() {
    let engine = Engine::start();
    engine.create("groveauth");
    let place = Place::new();
    let account = account(&engine.url(), ACCOUNT, TOKEN);
    place.write_private("patina.toml", &account);
    place.ok(&["discover", "--add"]);
    assert!(place.read("patina.toml").starts_with(&account));
    place.ok(&["check"]).says("groveauth");
}

#[test]
fn an_account_that_cannot_be_listed_is_told_with_the_way_out() {
    let engine = Engine::start();
    let id = engine.create("one");
    let refused = |account: &str, code, text: &str| {
        let place = Place::new();
        let database = format!("[[database]]\nname = \"one\"\nd1 = \"{id}\"\n");
        place.write_private("patina.toml", &format!("{account}{database}"));
        let before = place.read("patina.toml");
        let ran: Ran = place.ends(code, &["discover", "--add"]);
        ran.complains(text);
        assert_eq!(place.read("patina.toml"), before);
        assert!(!format!("{ran:?}").contains("secret-token"), "{ran:?}");
    };
    let url = engine.url();
    let wrong = "Cloudflare does not accept the API token: Authentication error\nhint: ";
    refused(&account(&url, ACCOUNT, "secret-token"), 1, wrong);
    let closed = "the account is unknown or closed to this API token";
    refused(&account(&url, &"f".repeat(32), TOKEN), 1, closed);
    let proxy = Proxy::start(engine.port, |_| {
        Fate::refuse(403, 10000, "Authentication error")
    });
    let missing =
        "the API token may not do this: Authentication error\nhint: it needs the permission";
    refused(&account(&proxy.url(), ACCOUNT, TOKEN), 1, missing);
    let place = Place::with(&["blog"], "");
    place
        .ends(2, &["discover"])
        .complains("names no Cloudflare account")
        .complains("hint: add a `[cloudflare]` section");
}
