//! Serves `GET /restore-guide/{db}` and `GET /runbook`: restore instructions as JSON or Markdown. Invariant: each read
//! is in the audit before the response is sent.

use axum::extract::{Extension, Path, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap, VARY};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::answer::{Json, Refusal};
use super::auth::Caller;
use super::call::Call;
use super::dashboard::prefers;
use super::jobs::no_database;
use super::{Api, audit};
use crate::catalog::AuditAction;
use crate::guide::{Guide, Runbook};
use crate::types::DatabaseName;

/// Subject of the runbook's audit rows.
const RUNBOOK: &str = "runbook";

pub(super) async fn guide(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    Path(database): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let unknown = || no_database(&call, &database);
    let name: DatabaseName = database.parse().map_err(|_| unknown())?;
    let (wiring, wanted) = (call.wiring.clone(), name.clone());
    let read = api.ask(move |catalog| Guide::read(&wiring.config, catalog, &wanted, None));
    let guide = read.await?.ok_or_else(unknown)?;
    audit::note(
        &api,
        &call,
        &caller,
        AuditAction::RestoreGuide,
        name.as_str(),
    )
    .await?;
    Ok(answer(&headers, || guide.document(), || guide.markdown()))
}

pub(super) async fn runbook(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (wiring, now) = (call.wiring.clone(), call.wiring.clock.now());
    let read = api.ask(move |catalog| Runbook::read(&wiring.config, catalog, now));
    let runbook = read.await?;
    audit::note(&api, &call, &caller, AuditAction::RestoreGuide, RUNBOOK).await?;
    Ok(answer(
        &headers,
        || runbook.document(),
        || runbook.markdown(),
    ))
}

/// Returns Markdown to clients that prefer it (as plain text to browsers), and the JSON document to all others.
fn answer(
    headers: &HeaderMap,
    document: impl Fn() -> Value,
    markdown: impl Fn() -> String,
) -> Response {
    let vary = [(VARY, "Accept")];
    let content_type = match () {
        () if prefers(headers, "text/markdown") => "text/markdown; charset=utf-8",
        () if prefers(headers, "text/html") => "text/plain; charset=utf-8",
        () => return (vary, Json(document())).into_response(),
    };
    (vary, [(CONTENT_TYPE, content_type)], markdown()).into_response()
}
