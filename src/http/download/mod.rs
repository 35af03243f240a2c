//! Serves `GET /download/{date}/{db}`: a copy as plain SQL, or as the image of a SQLite file. Invariant: no byte is
//! sent before the audit row is on disk, and the last bytes are sent only once the whole copy has proved intact.
//!
//! Order: the copy, a download slot, the limits, the audit row and the lease, the first bytes from the storage, the
//! response.

pub(super) mod range;
mod text;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use tokio::sync::OwnedSemaphorePermit;

use self::range::{Asked, Part};
use self::text::{Handed, Text};
use super::answer::Refusal;
use super::auth::Caller;
use super::call::Call;
use super::jobs::{no_database, refuse_unknown};
use super::limits::{DOWNLOADS, Full};
use super::params::{Params, shown};
use super::{Api, HOLDER, audit};
use crate::catalog::{Audit, AuditAction, AuditOutcome, Lease};
use crate::copy::{Found, Way, of_day, ways};
use crate::types::{BackupDate, CopyForm, DatabaseName, Manifest, ObjectKey, PlainFacts, counted};

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const SHA256: HeaderName = HeaderName::from_static("x-patina-sha256");
const KEY: HeaderName = HeaderName::from_static("x-patina-key-of-copy");

const CLASS: HeaderName = HeaderName::from_static("x-patina-class");

/// Validity of a download's lease. No download takes longer, unless its client reads about a byte a minute.
const LEASE: TimeDelta = TimeDelta::hours(12);

pub(super) async fn download(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    Path((date, database)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let params = Params::read(query.as_deref(), &["storage"])?;
    let storage: Option<String> = params.get("storage", "")?;
    let (copy, ways) = find(&api, &call, &date, &database, storage).await?;
    let manifest = copy.manifest().clone();
    let asked = Asked::read(&headers, &etag(&manifest.plain), manifest.plain.size_bytes);
    let Some(asked) = asked else {
        return Ok(unsatisfiable(manifest.plain.size_bytes));
    };
    if method == Method::HEAD {
        audit::note(
            &api,
            &call,
            &caller,
            AuditAction::Head,
            manifest.key.as_str(),
        )
        .await?;
        return Ok(head(&manifest, asked, Body::empty()));
    }
    let grant = Grant {
        call,
        client: caller.name,
        key: manifest.key.clone(),
    };
    let place = api.0.limits.download()?;
    let mut handed = grant.admit(&api, &ways, place, asked.part()).await?;
    let Some(text) = first(&ways, &manifest, asked.part(), &mut handed).await else {
        let message = "no storage gave a right copy; the log has more. Another date may do";
        return Err(Refusal::new(
            StatusCode::BAD_GATEWAY,
            "no_right_copy",
            message,
        ));
    };
    let body = Body::from_stream(handed.stream(text));
    Ok(head(&manifest, asked, body))
}

/// Returns the copy of a day and the ways to read it; at least one.
async fn find(
    api: &Api,
    call: &Call,
    date: &str,
    database: &str,
    storage: Option<String>,
) -> Result<(Found, Vec<Way>), Refusal> {
    let bad_date = |_| {
        let text = shown(date);
        Refusal::bad(format!("`{text}` is not a day: use one such as 2026-11-22"))
    };
    let date: BackupDate = date.parse().map_err(bad_date)?;
    let name: DatabaseName = database.parse().map_err(|_| no_database(call, database))?;
    if let Some(storage) = &storage
        && call.wiring.store(storage).is_none()
    {
        let message = format!("no storage is called `{}`", shown(storage));
        return Err(Refusal::unknown(message));
    }
    let (wiring, wanted, asked) = (call.wiring.clone(), name.clone(), storage.clone());
    let found = api.ask(move |catalog| {
        let Some(copy) = of_day(&wanted, date, catalog)? else {
            return Ok(None);
        };
        let ways = ways(&copy, &wiring, catalog, asked.as_deref())?;
        Ok(Some((copy, ways)))
    });
    match found.await? {
        Some((copy, ways)) if !ways.is_empty() => Ok((copy, ways)),
        Some(_) => Err(Refusal::unknown(match storage {
            Some(storage) => format!("storage `{storage}` does not hold the copy of {date}"),
            None => format!("no configured storage holds the copy of {date}"),
        })),
        None => {
            refuse_unknown(api, call, &name).await?;
            let message = format!("there is no copy of `{name}` of {date}");
            Err(Refusal::unknown(message).with("hint", format!("GET /list?database={name}")))
        }
    }
}

/// Returns the first bytes, from the first storage that provides any. Each failure is logged.
async fn first(ways: &[Way], manifest: &Manifest, part: Part, handed: &mut Handed) -> Option<Text> {
    for way in ways {
        let (storage, key) = (way.store.name().to_owned(), &manifest.key);
        match Text::begin(way.clone(), manifest.clone(), part).await {
            Ok(text) => return Some(text),
            Err(error) => {
                handed.failed(&error);
                tracing::error!(%storage, %key, "a download found a copy that is not right: {error}");
            }
        }
    }
    None
}

/// A download request and what its audit rows need.
#[derive(Clone)]
pub(super) struct Grant {
    call: Call,
    client: String,
    key: ObjectKey,
}

impl Grant {
    fn row(&self, outcome: AuditOutcome, size_bytes: u64) -> Audit {
        let (client, key) = (&self.client, self.key.as_str());
        audit::row(
            &self.call,
            client,
            AuditAction::Download,
            outcome,
            key,
            size_bytes,
        )
    }

    /// Checks the limits, writes the audit row, and takes a lease that keeps expiry off the objects being read. From
    /// then on the end of the download is recorded, too, even if the client leaves before it hears of the grant.
    async fn admit(
        self,
        api: &Api,
        ways: &[Way],
        place: OwnedSemaphorePermit,
        part: Part,
    ) -> Result<Handed, Refusal> {
        let (limits, now) = (&api.0.limits, self.call.wiring.clock.elapsed());
        let share = limits.take(&self.client, self.call.address, now);
        let share = share.map_err(|full| {
            let (most, pause, of) = match full {
                Full::Client(pause) => (DOWNLOADS.per_client, pause, "client"),
                Full::Address(pause) => (DOWNLOADS.per_address, pause, "address"),
            };
            let message = format!("this {of} had its {most} downloads of the hour");
            Refusal::too_many(message, pause).because("download_limit")
        })?;
        let (client, from) = (self.client.clone(), self.call.address);
        let row = self.row(AuditOutcome::Granted, 0);
        let archives = ways.iter().filter_map(|way| way.archive.as_ref());
        let mut keys: Vec<ObjectKey> = archives.map(|archive| archive.key().clone()).collect();
        keys.push(self.key.clone());
        keys.dedup();
        let until = row.at + LEASE;
        let wiring = Arc::clone(&self.call.wiring);
        let admitted = api.write(&wiring, move |catalog| {
            catalog.audit(&row)?;
            let mut handed = Handed::new(self, place, part);
            handed.keep(catalog.lease(&keys, HOLDER, until)?);
            Ok(handed)
        });
        match admitted.await {
            Ok(handed) => {
                api.0.ledger.gave(&client);
                Ok(handed)
            }
            Err(error) => {
                limits.give_back(&client, from, share);
                Err(error.into())
            }
        }
    }

    /// Logs the grant.
    fn tell(&self) {
        let (request, client, address) = (&self.call.id, &self.client, self.call.address);
        let key = &self.key;
        tracing::info!(event = "backup_download", %request, %client, %address, %key,
            "{client} at {address} downloads {key}");
    }

    /// Records how the download ended. If the catalog rejects the row, the row of the grant remains.
    fn end(self, outcome: AuditOutcome, size_bytes: u64, lease: Option<Lease>) {
        let row = self.row(outcome, size_bytes);
        let (catalog, key) = (&self.call.wiring.catalog, &self.key);
        if let Err(error) = catalog.audit(&row) {
            tracing::error!(%key, "the end of a download is not in the audit: {error}");
        }
        if let Some(lease) = lease
            && let Err(error) = catalog.release(lease, row.at)
        {
            tracing::warn!(%key, "a lease ends only at its time: {error}");
        }
    }
}

/// Builds the successful response.
fn head(manifest: &Manifest, asked: Asked, body: Body) -> Response {
    let (plain, part) = (&manifest.plain, asked.part());
    let status = match asked {
        Asked::Whole(_) => StatusCode::OK,
        Asked::Part(_) => StatusCode::PARTIAL_CONTENT,
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    let mut say = |name: HeaderName, value: String| {
        let value = HeaderValue::from_str(&value).expect("names, dates and digits are plain");
        headers.insert(name, value);
    };
    let (database, date) = (&manifest.database, manifest.date);
    let form = manifest.key.form();
    let name = format!(
        "attachment; filename=\"{database}-{date}{}\"",
        form.suffix()
    );
    let kind = match form {
        CopyForm::Sql => "application/sql",
        CopyForm::Image => "application/vnd.sqlite3",
    };
    say(CONTENT_TYPE, kind.to_owned());
    say(CONTENT_DISPOSITION, name);
    say(CONTENT_LENGTH, part.length().to_string());
    say(ACCEPT_RANGES, "bytes".to_owned());
    say(ETAG, etag(plain));
    say(SHA256, plain.sha256.to_string());
    say(KEY, manifest.key.to_string());
    say(CLASS, format!("{:?}", manifest.class));
    // RFC 9530: digest of the whole content, even if only a part is sent.
    let digest = hex::decode(plain.sha256.to_string()).expect("a digest is hexadecimal");
    let digest = STANDARD.encode(digest);
    say(REPR_DIGEST, format!("sha-256=:{digest}:"));
    if let Asked::Part(Part { from, until }) = asked {
        let (last, all) = (until - 1, plain.size_bytes);
        say(CONTENT_RANGE, format!("bytes {from}-{last}/{all}"));
    }
    response
}

fn etag(plain: &PlainFacts) -> String {
    format!("\"{}\"", plain.sha256)
}

fn unsatisfiable(size_bytes: u64) -> Response {
    let message = format!("the copy has {}", counted(size_bytes, "byte"));
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    let mut response = Refusal::new(status, "no_such_range", message).into_response();
    let range = HeaderValue::from_str(&format!("bytes */{size_bytes}"));
    let range = range.expect("digits are plain");
    response.headers_mut().insert(CONTENT_RANGE, range);
    response
}
