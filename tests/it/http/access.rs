//! Cloudflare Access: one good token, and every bad one there is.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RsaEncoding};
use serde_json::{Value, json};

use super::World;

const TEAM: &str = "team = \"grove\"\naud = \"aud-of-patina\"\n";

/// Two keys that were made for these tests and open nothing.
fn key(name: &str) -> KeyPair {
    KeyPair::from_pkcs8(match name {
        "one" => include_bytes!("keys/one.pk8").as_slice(),
        _ => include_bytes!("keys/two.pk8").as_slice(),
    })
    .unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwk(kid: &str, pair: &KeyPair) -> Value {
    let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
    json!({ "kid": kid, "kty": "RSA", "alg": "RS256", "use": "sig", "n": b64(public.n), "e": b64(public.e) })
}

/// Serves a key set and counts how often it is asked for; `None`: it fails.
struct Team {
    url: String,
    answer: Arc<Mutex<Option<Value>>>,
    asked: Arc<Mutex<u32>>,
}

impl Team {
    fn new(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(Some(keys)));
        let asked = Arc::new(Mutex::new(0));
        let (shown, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines();
                let first = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                assert_eq!(first, "GET /cdn-cgi/access/certs HTTP/1.1");
                *counted.lock().unwrap() += 1;
                let body = shown.lock().unwrap().clone();
                let (status, body) = match body {
                    Some(body) => ("200 OK", body.to_string()),
                    None => ("503 Away", String::new()),
                };
                let length = body.len();
                let head = "Connection: close\r\nContent-Type: application/json";
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            }
        });
        Self { url, answer, asked }
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

async fn world(team: &Team) -> World {
    let http = format!("trusted_proxies = [\"127.0.0.1\"]\n[http.access]\n{TEAM}");
    World::empty(&http, "", Some(team.url.clone())).await
}

fn header() -> Value {
    json!({ "alg": "RS256", "kid": "k1", "typ": "JWT" })
}

/// As Access writes them, at the moment the world's clock shows.
fn claims() -> Value {
    let now: chrono::DateTime<chrono::Utc> = "2026-11-30T03:00:00Z".parse().unwrap();
    let now = now.timestamp();
    json!({
        "iss": "https://grove.cloudflareaccess.com",
        "aud": ["aud-of-patina"],
        "email": "ada@grove.place",
        "sub": "0f5f",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
    })
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

fn later(claims: Value, name: &str, seconds: i64) -> Value {
    let moment = claims[name].as_i64().unwrap() + seconds;
    with(claims, name, moment)
}

fn signed(header: &Value, claims: &Value, name: &str, how: &'static dyn RsaEncoding) -> String {
    let text = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let pair = key(name);
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(how, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .unwrap();
    format!("{text}.{}", b64(signature))
}

fn token(header: &Value, claims: &Value) -> String {
    signed(header, claims, "one", &RSA_PKCS1_SHA256)
}

async fn ask(world: &World, from: &str, token: &str) -> u16 {
    let request = world.get("/status").header("X-Forwarded-For", from);
    let request = request.header("Cf-Access-Jwt-Assertion", token);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_team_for_this_application_lets_its_user_in() {
    let team = Team::new(json!({ "keys": [jwk("k1", &key("one"))] }));
    let world = world(&team).await;
    world.night().await;
    let good = token(&header(), &claims());
    assert_eq!(ask(&world, "192.0.2.1", &good).await, 200);
    let one_aud = token(&header(), &with(claims(), "aud", "aud-of-patina"));
    assert_eq!(ask(&world, "192.0.2.1", &one_aud).await, 200);
    let download = world.get("/download/2026-11-30/shop");
    let download = download.header("Cf-Access-Jwt-Assertion", good);
    let body = download.send().await.unwrap().bytes().await.unwrap();
    assert!(body.starts_with(b"--"));
    let rows = world.audit_of(2).await;
    assert_eq!(rows[0].audit.client, "access:ada@grove.place");
    assert_eq!(team.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_user_is_no_news_and_each_further_one_is_told_once() {
    let team = Team::new(json!({ "keys": [jwk("k1", &key("one"))] }));
    let world = world(&team).await;
    let told = || {
        let events = world.catalog().events(100).unwrap();
        let unusual = events
            .into_iter()
            .filter(|event| event.kind == patina::catalog::EventKind::UnusualAccess);
        unusual.map(|event| event.message).collect::<Vec<_>>()
    };
    let token_of = |user: &str| token(&header(), &with(claims(), "email", user));
    let (ada, eve) = (token_of("ada@grove.place"), token_of("eve@grove.place"));
    // A user has no address of its own: another one is no news.
    for (addresses, from) in [(1, "192.0.2.1"), (2, "192.0.2.2")] {
        assert_eq!(ask(&world, from, &ada).await, 200);
        super::eventually("the user", || {
            let used = world.catalog().last_use("access:ada@grove.place").unwrap();
            used.is_some_and(|used| used.addresses == addresses)
        })
        .await;
    }
    assert_eq!(told(), Vec::<String>::new());
    for from in ["192.0.2.3", "192.0.2.4"] {
        assert_eq!(ask(&world, from, &eve).await, 200);
    }
    super::eventually("an event", || !told().is_empty()).await;
    super::eventually("both visits", || {
        let used = world.catalog().last_use("access:eve@grove.place").unwrap();
        used.is_some_and(|used| used.addresses == 2)
    })
    .await;
    let told = told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("`access:eve@grove.place` came in for the first time, from 192.0.2."),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bad_token_lets_anybody_in() {
    let team = Team::new(json!({ "keys": [jwk("k1", &key("one"))] }));
    let world = world(&team).await;
    let (good, head) = (claims(), header());
    let public = PublicKeyComponents::<Vec<u8>>::from(key("one").public());
    let none = format!(
        "{}.{}.",
        b64(json!({ "alg": "none", "kid": "k1" }).to_string()),
        b64(good.to_string())
    );
    let hs256 = {
        let head = json!({ "alg": "HS256", "kid": "k1" });
        let text = format!("{}.{}", b64(head.to_string()), b64(good.to_string()));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &public.n);
        format!("{text}.{}", b64(hmac::sign(&secret, text.as_bytes())))
    };
    let rs384 = json!({ "alg": "RS384", "kid": "k1" });
    let own_key = json!({ "alg": "RS256", "jwk": jwk("k1", &key("two")), "kid": "k1" });
    let whole = token(&head, &good);
    let (text, signature) = whole.rsplit_once('.').unwrap();
    let (start, _) = text.split_once('.').unwrap();
    let other_claims = b64(with(good.clone(), "email", "eve@grove.place").to_string());
    let bad: [(&str, String); 25] = [
        ("alg none", none),
        ("HS256 with the public key", hs256),
        (
            "RS384 with the right key",
            signed(&rs384, &good, "one", &RSA_PKCS1_SHA384),
        ),
        (
            "another key under a known id",
            signed(&head, &good, "two", &RSA_PKCS1_SHA256),
        ),
        (
            "a key of its own",
            signed(&own_key, &good, "two", &RSA_PKCS1_SHA256),
        ),
        (
            "an unknown kid",
            token(&with(head.clone(), "kid", "k9"), &good),
        ),
        ("no kid", token(&without(head.clone(), "kid"), &good)),
        (
            "wrong aud",
            token(&head, &with(good.clone(), "aud", json!(["other"]))),
        ),
        ("no aud", token(&head, &without(good.clone(), "aud"))),
        (
            "wrong iss",
            token(
                &head,
                &with(good.clone(), "iss", "https://evil.cloudflareaccess.com"),
            ),
        ),
        (
            "an iss with a slash",
            token(
                &head,
                &with(good.clone(), "iss", "https://grove.cloudflareaccess.com/"),
            ),
        ),
        (
            "several iss",
            token(
                &head,
                &with(
                    good.clone(),
                    "iss",
                    json!(["https://grove.cloudflareaccess.com", "x"]),
                ),
            ),
        ),
        ("no iss", token(&head, &without(good.clone(), "iss"))),
        (
            "expired",
            token(&head, &later(good.clone(), "exp", -3600 - 30)),
        ),
        (
            "exp as text",
            token(&head, &with(good.clone(), "exp", "9999999999")),
        ),
        (
            "exp as null",
            token(&head, &with(good.clone(), "exp", Value::Null)),
        ),
        ("no exp", token(&head, &without(good.clone(), "exp"))),
        (
            "not yet valid",
            token(&head, &later(good.clone(), "nbf", 60 + 31)),
        ),
        ("nbf as text", token(&head, &with(good.clone(), "nbf", "1"))),
        ("no nbf", token(&head, &without(good.clone(), "nbf"))),
        (
            "issued tomorrow",
            token(&head, &later(good.clone(), "iat", 86_400)),
        ),
        ("no iat", token(&head, &without(good.clone(), "iat"))),
        (
            "changed claims",
            format!("{start}.{other_claims}.{signature}"),
        ),
        ("no signature", format!("{text}.")),
        ("half a token", whole[..whole.len() / 2].to_owned()),
    ];
    for (number, (what, token)) in bad.iter().enumerate() {
        let from = format!("192.0.2.{number}");
        assert_eq!(ask(&world, &from, token).await, 401, "{what}");
    }
    // Within the half minute that two clocks may differ by.
    for near in [
        later(good.clone(), "exp", -3600 - 29),
        later(good.clone(), "nbf", 89),
    ] {
        assert_eq!(ask(&world, "198.51.100.1", &token(&head, &near)).await, 200);
    }
    assert_eq!(ask(&world, "198.51.100.1", &whole).await, 200);
    let twice = world
        .get("/status")
        .header("Cf-Access-Jwt-Assertion", &whole);
    let twice = twice.header("Cf-Access-Jwt-Assertion", &whole);
    assert_eq!(twice.send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_rarely_kept_a_day_and_then_nobody_is_let_in() {
    let one = jwk("k1", &key("one"));
    let team = Team::new(json!({ "keys": [one] }));
    let world = world(&team).await;
    let advance = |seconds| world.clock.0.advance(Duration::from_secs(seconds));
    // Valid for a week, so that only the age of the keys decides.
    let week = later(claims(), "exp", 7 * 86_400);
    let first = token(&header(), &week);
    let second = signed(
        &with(header(), "kid", "k2"),
        &week,
        "two",
        &RSA_PKCS1_SHA256,
    );
    let get = async |token: &str| ask(&world, "192.0.2.1", token).await;
    assert_eq!((get(&first).await, team.asked()), (200, 1));
    // The team takes a second key: it is fetched when it first appears, yet not more than once a minute.
    *team.answer.lock().unwrap() = Some(json!({ "keys": [one, jwk("k2", &key("two"))] }));
    for _ in 0..5 {
        assert_eq!((get(&second).await, team.asked()), (401, 1));
    }
    advance(61);
    assert_eq!((get(&second).await, team.asked()), (200, 2));
    assert_eq!((get(&first).await, team.asked()), (200, 2));
    // After an hour they are fetched again; while that fails the last ones count, for a day.
    *team.answer.lock().unwrap() = None;
    advance(3601);
    assert_eq!((get(&first).await, team.asked()), (200, 3));
    assert_eq!((get(&first).await, team.asked()), (200, 3));
    advance(22 * 3600);
    assert_eq!((get(&second).await, team.asked()), (200, 4));
    advance(3600);
    assert_eq!((get(&first).await, team.asked()), (401, 5));
    *team.answer.lock().unwrap() = Some(json!({ "keys": [one] }));
    advance(61);
    assert_eq!((get(&first).await, team.asked()), (200, 6));
}
