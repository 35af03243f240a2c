//! Provides `http_get` and `http_post`. Invariant: a request goes only to a listed host, and to a private address only
//! if it is listed as such.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use reqwest::{Client, Method, Url, redirect};
use rhai::{Dynamic, Engine, EvalAltResult, Map};

use super::log::line;
use super::raised;
use crate::hook::limits::STRING_BYTES;
use crate::hook::wire::{Effects, LogLevel, Reach as Rights};
use crate::net::{self, HostError, Reach};

/// Upper bound for a response: far more than a service returns for a message, and as much as a script's value may hold.
const ANSWER_MAX_BYTES: usize = STRING_BYTES;

const REDIRECTS_MAX: usize = 3;

type Answered = Result<Map, Box<EvalAltResult>>;

pub(super) fn register(engine: &mut Engine, rights: &Rights, deadline: Instant) {
    let door = Arc::new(Door {
        effects: rights.effects,
        allowed: rights
            .http_allow
            .iter()
            .map(|entry| Allowed::read(entry))
            .collect(),
        deadline,
    });
    let of = |door: &Arc<Door>| Arc::clone(door);
    let at = of(&door);
    engine.register_fn("http_get", move |url: &str| {
        at.ask(Method::GET, url, None, &Map::new())
    });
    let at = of(&door);
    engine.register_fn("http_get", move |url: &str, headers: Map| {
        at.ask(Method::GET, url, None, &headers)
    });
    let at = of(&door);
    engine.register_fn("http_post", move |url: &str, body: Dynamic| {
        at.ask(Method::POST, url, Some(body), &Map::new())
    });
    engine.register_fn(
        "http_post",
        move |url: &str, body: Dynamic, headers: Map| {
            door.ask(Method::POST, url, Some(body), &headers)
        },
    );
}

/// One entry of `http_allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    scheme: String,
    host: String,
    port: u16,
    /// `Anywhere` if the entry is an IP address or has a scheme, which allows private addresses.
    reach: Reach,
}

impl Allowed {
    fn read(entry: &str) -> Self {
        let has_scheme = entry.contains("://");
        let text = if has_scheme {
            entry.to_owned()
        } else {
            format!("https://{entry}")
        };
        let url = Url::parse(&text).ok();
        let host = url
            .as_ref()
            .and_then(Url::host_str)
            .unwrap_or_default()
            .to_owned();
        let is_private_meant = has_scheme || bare(&host).parse::<IpAddr>().is_ok();
        Self {
            scheme: url.as_ref().map_or("https", Url::scheme).to_owned(),
            port: url
                .as_ref()
                .and_then(Url::port_or_known_default)
                .unwrap_or(443),
            reach: match is_private_meant {
                true => Reach::Anywhere,
                false => Reach::Internet,
            },
            host,
        }
    }

    fn is_of(&self, url: &Url) -> bool {
        url.scheme() == self.scheme
            && url.host_str() == Some(self.host.as_str())
            && url.port_or_known_default() == Some(self.port)
    }
}

struct Door {
    effects: Effects,
    allowed: Vec<Allowed>,
    deadline: Instant,
}

impl Door {
    fn ask(&self, method: Method, url: &str, body: Option<Dynamic>, headers: &Map) -> Answered {
        let url = Url::parse(url).map_err(|error| raised(format!("`{url}` is no URL: {error}")))?;
        let allowed = self.allowed(&url)?;
        let body = body.map(|body| Body::of(&body)).transpose()?;
        if self.effects == Effects::Recorded {
            let text = body.as_ref().map_or("", |body| body.text.as_str());
            line(
                LogLevel::Recorded,
                format!("{method} {url} {text}").trim_end(),
            );
            return Ok(answer(200, String::new()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime =
            runtime.map_err(|error| raised(format!("no request can be made: {error}")))?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let asked = runtime.block_on(async {
            tokio::time::timeout(left, send(allowed, method, url, body, headers)).await
        });
        // A pending name lookup is abandoned; the process ends soon.
        runtime.shutdown_background();
        asked
            .unwrap_or_else(|_| Err("the host did not answer in the time the hook has".to_owned()))
            .map_err(raised)
    }

    fn allowed(&self, url: &Url) -> Result<Allowed, Box<EvalAltResult>> {
        if let Some(allowed) = self.allowed.iter().find(|allowed| allowed.is_of(url)) {
            return Ok(allowed.clone());
        }
        let host = url.host_str().unwrap_or_default();
        let entry = match (url.scheme(), url.port()) {
            ("https", None) => host.to_owned(),
            ("https", Some(port)) => format!("{host}:{port}"),
            _ => url.origin().ascii_serialization(),
        };
        Err(raised(format!(
            "the host `{entry}` may not be called\nhint: add \"{entry}\" to `[hooks] http_allow`"
        )))
    }
}

struct Body {
    text: String,
    is_json: bool,
}

impl Body {
    fn of(value: &Dynamic) -> Result<Self, Box<EvalAltResult>> {
        if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
            let (text, is_json) = (text.to_string(), false);
            return Ok(Self { text, is_json });
        }
        let text = serde_json::to_string(value);
        let text = text.map_err(|error| raised(format!("the body is no JSON: {error}")))?;
        Ok(Self {
            text,
            is_json: true,
        })
    }
}

async fn send(
    allowed: Allowed,
    method: Method,
    url: Url,
    body: Option<Body>,
    headers: &Map,
) -> Result<Map, String> {
    let mut request = client(allowed, &url).await?.request(method, url);
    if let Some(body) = body {
        if body.is_json {
            request = request.header("content-type", "application/json");
        }
        request = request.body(body.text);
    }
    for (name, value) in headers {
        request = request.header(name.as_str(), value.to_string());
    }
    let mut response = request.send().await.map_err(|error| told(&error))?;
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| told(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_MAX_BYTES {
            return Err(too_long());
        }
    }
    // Replacing invalid UTF-8 makes the text longer.
    match String::from_utf8_lossy(&bytes) {
        text if text.len() > ANSWER_MAX_BYTES => Err(too_long()),
        text => Ok(answer(status, text.into_owned())),
    }
}

fn too_long() -> String {
    let most = ANSWER_MAX_BYTES >> 20;
    format!(
        "the answer is longer than {most} MiB\nhint: ask for less, where the host can be asked for less"
    )
}

async fn client(allowed: Allowed, url: &Url) -> Result<Client, String> {
    let host = url.host_str().unwrap_or_default();
    let client = net::client_for(url, allowed.reach).await;
    let client = client.map_err(|error| match error {
        HostError::Special(_) => {
            format!("`{host}`: {error}\nhint: list it with its scheme: \"https://{host}\"")
        }
        HostError::None | HostError::Unknown => format!("`{host}`: {error}"),
    })?;
    let stays = allowed.clone();
    let redirect = redirect::Policy::custom(move |attempt| {
        if !stays.is_of(attempt.url()) {
            let host = attempt.url().origin().ascii_serialization();
            return attempt.error(format!(
                "it redirects to another host, `{host}`, and is not followed\n\
                 hint: name that one in the script and in `[hooks] http_allow`, if it is meant"
            ));
        }
        match attempt.previous().len() > REDIRECTS_MAX {
            true => attempt.error("it redirects too often"),
            false => attempt.follow(),
        }
    });
    client
        .no_proxy()
        .redirect(redirect)
        .build()
        .map_err(|error| format!("no request can be made: {}", told(&error)))
}

fn answer(status: u16, body: String) -> Map {
    let mut map = Map::new();
    map.insert("status".into(), i64::from(status).into());
    map.insert("body".into(), body.into());
    map
}

/// Returns the innermost cause, which says what happened.
fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_for_one_scheme_host_and_port() {
        let url = |text| Url::parse(text).unwrap();
        let plain = Allowed::read("example.org");
        assert!(plain.is_of(&url("https://example.org/x")));
        assert!(!plain.is_of(&url("http://example.org/x")));
        assert!(!plain.is_of(&url("https://example.org:8443/x")));
        assert!(!plain.is_of(&url("https://a.example.org/")));
        assert!(!plain.is_of(&url("https://example.org.evil.net/")));
        assert_eq!(plain.reach, Reach::Internet);
        let own = Allowed::read("http://127.0.0.1:8080");
        assert!(own.is_of(&url("http://127.0.0.1:8080/y")));
        assert_eq!(own.reach, Reach::Anywhere);
    }
}
