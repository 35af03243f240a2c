//! What every kind of sink must do, whatever it speaks.

use std::time::{Duration, Instant};

use patina::config::{Secret, SecretOrigin};
use patina::notify::{Beat, Delay, Message, NotifyError, SIGNATURE_HEADER};
use ring::hmac;

use super::golden::{event, job, sink};
use super::server::{FINE, Manner, Server};

const KINDS: [&str; 5] = ["discord", "slack", "ntfy", "webhook", "heartbeat"];

/// What stands for the secret part of an address.
const TOKEN: &str = "tOkEn-of-the-address";

const PRIVATE: &str = "allow_private = true";

fn messages() -> [Message; 3] {
    [
        Message::Alert(Box::new(event("`blog`: small"))),
        Message::Alert(Box::new(job(true))),
        Message::Pulse {
            id: "p".to_owned(),
            beat: Beat::Good,
        },
    ]
}

/// What each kind says to this answer of the server.
async fn answers(manner: Manner) -> Vec<(String, NotifyError)> {
    let server = Server::start().await;
    server.behave(manner);
    let mut answers = Vec::new();
    for kind in KINDS {
        let sink = sink(kind, &server.url(TOKEN), PRIVATE);
        for message in messages() {
            let error = sink.send(&message).await.unwrap_err();
            assert!(!error.to_string().contains(TOKEN), "{kind}: {error}");
            assert!(!error.to_string().contains("127.0.0.1"), "{kind}: {error}");
            answers.push((kind.to_owned(), error));
        }
    }
    assert_eq!(answers.len(), 15);
    answers
}

#[tokio::test]
async fn a_message_is_sent_once_and_the_answer_is_given() {
    let server = Server::start().await;
    server.behave(Manner::Status(204, &[], ""));
    for kind in KINDS {
        let sink = sink(kind, &server.url(kind), PRIVATE);
        assert_eq!(sink.name(), kind);
        for message in messages() {
            assert_eq!(sink.send(&message).await.unwrap().status, 204, "{kind}");
        }
        assert_eq!(server.got(kind).len(), messages().len(), "{kind}");
    }
}

#[tokio::test]
async fn a_sink_that_is_broken_or_does_not_let_us_in_holds_everything_up() {
    for status in [500, 502, 401, 403, 410] {
        for (kind, error) in answers(Manner::Status(status, &[], "")).await {
            assert!(error.is_about_the_sink(), "{kind}: {error}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_refused_holds_up_no_other() {
    for (kind, error) in answers(Manner::Status(400, &[], "bad field")).await {
        assert!(!error.is_about_the_sink(), "{kind}");
        assert!(
            error.to_string().ends_with(": bad field"),
            "{kind}: {error}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_repeats_the_address_is_not_repeated() {
    let echo = Manner::Status(403, &[], "Cannot POST /tOkEn-of-the-address today");
    let told: Vec<_> = answers(echo).await;
    assert!(
        told.iter()
            .all(|(_, error)| error.to_string().contains("Cannot POST /… today"))
    );
}

#[tokio::test]
async fn what_a_sink_says_around_its_address_cannot_act_where_it_is_shown() {
    let said = "\u{1b}[2J\u{9b}31m/tOkEn-of-the-address\u{202e}\u{7f}\nERROR forged";
    for (kind, error) in answers(Manner::Status(403, &[], said)).await {
        let text = error.to_string();
        assert!(!text.contains("tOkEn"), "{kind}: {text:?}");
        assert!(
            !text.contains(char::is_control) && !text.contains('\u{202e}'),
            "{kind}: {text:?}"
        );
        assert!(text.contains("\\u{1b}[2J"), "{kind}: {text:?}");
    }
}

#[tokio::test]
async fn retry_after_is_given_on() {
    let manner = Manner::Status(429, &[("retry-after", "17")], "");
    let expected = NotifyError::Limited {
        status: 429,
        after: Some(Delay::For(Duration::from_secs(17))),
    };
    for (kind, error) in answers(manner).await {
        assert_eq!(error, expected, "{kind}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start().await;
    let to: &'static str = elsewhere.url("elsewhere").leak();
    let headers: &'static [(&str, &str)] = vec![("location", to)].leak();
    for (kind, error) in answers(Manner::Status(307, headers, "")).await {
        assert!(error.is_about_the_sink(), "{kind}: {error}");
    }
    assert!(elsewhere.got("").is_empty());
}

#[tokio::test]
async fn a_sink_that_never_answers_is_left_in_time() {
    let server = Server::start().await;
    server.behave(Manner::Hangs);
    let began = Instant::now();
    let sends = KINDS.map(|kind| {
        let sink = sink(kind, &server.url(TOKEN), PRIVATE);
        async move { sink.send(&messages()[0]).await.unwrap_err() }
    });
    for error in futures_util::future::join_all(sends).await {
        assert!(matches!(error, NotifyError::Unreachable(_)), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_private_address_is_refused_unless_it_is_allowed() {
    let server = Server::start().await;
    let port = server.address.port();
    for (host, told) in [
        ("127.0.0.1", "is one of this host\nhint: `allow_private"),
        ("localhost", "is one of this host\nhint: `allow_private"),
        ("[::ffff:127.0.0.1]", "is one of this host\nhint: `allow"),
        (
            "10.0.0.1",
            "lies in a private network\nhint: `allow_private",
        ),
        ("0.0.0.0", "is reserved: no host has it\nhint: correct"),
        ("192.0.2.1", "is reserved for documentation\nhint: correct"),
        ("240.0.0.1", "is reserved: no host has it\nhint: correct"),
    ] {
        for kind in KINDS {
            let url = format!("http://{host}:{port}/{TOKEN}");
            let sink = sink(kind, &url, "");
            let refused = sink.send(&messages()[0]).await.unwrap_err();
            assert!(matches!(refused, NotifyError::Special(_)), "{refused:?}");
            let refused = refused.to_string();
            assert!(refused.contains(told), "{kind} {host}: {refused}");
        }
    }
    assert!(server.got("").is_empty());
}

#[tokio::test]
async fn a_webhook_signs_the_body_it_sends_and_names_the_delivery() {
    let server = Server::start().await;
    server.behave(FINE);
    let more = format!("{PRIVATE}\nsecret = \"hush hush\"");
    let sink = sink("webhook", &server.url("signed"), &more);
    sink.send(&messages()[1]).await.unwrap();
    let got = server.got("signed").remove(0);
    let signature = got.headers[&SIGNATURE_HEADER.to_lowercase()].clone();
    let signature = hex::decode(signature.strip_prefix("sha256=").unwrap()).unwrap();
    let key = Secret::new("hush hush".to_owned(), SecretOrigin::Inline);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    hmac::verify(&key, &got.body, &signature).unwrap();
    let mut changed = got.body.clone();
    changed[3] ^= 1;
    assert!(hmac::verify(&key, &changed, &signature).is_err());
    assert_eq!(got.headers["idempotency-key"], job(true).id);
    assert_eq!(got.headers["x-patina-event"], "backup_failed");
    assert!(!got.all().contains("hush"));
}

#[tokio::test]
async fn a_heartbeat_is_a_get_that_says_nothing_but_how_it_is() {
    let server = Server::start().await;
    let sink = sink("heartbeat", &server.url("ping"), PRIVATE);
    for beat in [Beat::Start, Beat::Good, Beat::Bad, Beat::Nothing] {
        let id = "p".to_owned();
        sink.send(&Message::Pulse { id, beat }).await.unwrap();
    }
    let got = server.got("ping");
    let paths: Vec<&str> = got.iter().map(|got| got.path.as_str()).collect();
    assert_eq!(paths, ["/ping/start", "/ping", "/ping/fail", "/ping/log"]);
    assert!(
        got.iter()
            .all(|got| got.method == "GET" && got.body.is_empty())
    );
}
