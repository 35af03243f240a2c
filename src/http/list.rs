//! Serves `GET /list`: the copies available for download, newest day first.

use axum::extract::{Extension, RawQuery, State};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::Api;
use super::answer::{Json, Refusal};
use super::call::Call;
use super::jobs::refuse_unknown;
use super::kept::Kept;
use super::params::Params;
use crate::catalog::{Catalog, CatalogError, Listed, PageFilter, STATES, StateFilter};
use crate::types::{BackupDate, ByteCount, DatabaseName, KeyKind, ObjectKey};

/// Default and maximum number of copies on a page.
const USUAL_LIMIT: usize = 20;
const MOST_LIMIT: usize = 1000;

/// Filter of a count: the states, and the database and day if given.
type Counted = (StateFilter, Option<DatabaseName>, Option<BackupDate>);

/// Number of copies per filter, cached until the catalog changes.
#[derive(Default)]
pub(super) struct Counts(Kept<(i64, Counted), u64>);

/// One page of copies. `total` counts all copies in the requested states, `filtered` those that match the whole filter.
struct Page {
    copies: Vec<Listed>,
    total: u64,
    filtered: u64,
}

pub(super) async fn list(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refusal> {
    let known = ["database", "date", "state", "limit", "after"];
    let params = Params::read(query.as_deref(), &known)?;
    let limit = params.get("limit", "use a number from 1 to 1000")?;
    let limit: usize = limit.unwrap_or(USUAL_LIMIT);
    if !(1..=MOST_LIMIT).contains(&limit) {
        return Err(Refusal::bad("`limit` is a number from 1 to 1000"));
    }
    let filter = PageFilter {
        database: params.get("database", "it is not a database's name")?,
        date: params.get("date", "use a day, such as 2026-11-22")?,
        after: after(&params)?,
        states: params.get("state", STATES)?.unwrap_or_default(),
        limit,
    };
    let database = filter.database.clone();
    let page = page(&api, filter).await?;
    if let Some(name) = database.filter(|_| page.filtered == 0) {
        refuse_unknown(&api, &call, &name).await?;
    }
    let next = page.copies.last().filter(|_| page.copies.len() == limit);
    Ok(Json(json!({
        "backups": page.copies.iter().map(document).collect::<Vec<_>>(),
        "total": page.total,
        "filtered": page.filtered,
        "next": next.map(|copy| &copy.key),
    })))
}

/// Parses the last copy of the previous page. Only a copy's key can be a `next`.
fn after(params: &Params) -> Result<Option<ObjectKey>, Refusal> {
    const RULE: &str = "use the `next` of the page before";
    let key: Option<ObjectKey> = params.get("after", RULE)?;
    match key.as_ref().map(ObjectKey::kind) {
        None | Some(KeyKind::Daily { .. }) => Ok(key),
        Some(_) => Err(Refusal::bad(format!("`after` is no copy's key: {RULE}"))),
    }
}

async fn page(api: &Api, filter: PageFilter) -> Result<Page, Refusal> {
    let shared = api.clone();
    let asked = api.ask(move |catalog| {
        let (total, filtered) = shared.0.counts.of(catalog, &filter)?;
        Ok(Page {
            copies: catalog.page(&filter)?,
            total,
            filtered,
        })
    });
    Ok(asked.await?)
}

impl Counts {
    /// Returns the number of all copies in these states, and of those that match the filter.
    fn of(&self, catalog: &Catalog, filter: &PageFilter) -> Result<(u64, u64), CatalogError> {
        let changes = catalog.changes()?;
        let count = |filter: &PageFilter| {
            let counted = (filter.states, filter.database.clone(), filter.date);
            let is_current = |known: &(i64, Counted)| known.0 == changes;
            self.0
                .get_or((changes, counted), is_current, || catalog.count(filter))
        };
        let total = count(&PageFilter {
            states: filter.states,
            ..PageFilter::default()
        })?;
        Ok((total, count(filter)?))
    }
}

fn document(copy: &Listed) -> Value {
    let proof = copy.proof.as_ref();
    json!({
        "database": copy.database,
        "date": copy.date,
        "r2Key": copy.key,
        "size": ByteCount(copy.size_bytes).to_string(),
        "sizeBytes": copy.size_bytes,
        "tables": copy.table_count,
        "rows": copy.row_count,
        "createdAt": moment(copy.created_at),
        "expiresAt": moment(copy.expires_at),
        "archive": copy.archive,
        "state": copy.state.as_str(),
        "form": copy.key.form().as_str(),
        "formReason": proof.and_then(|proof| proof.method_reason.as_deref()),
        "evidence": proof.map(|proof| proof.class),
        "proof": proof.map(|proof| proof.class.proof(proof.is_checked)),
        "counts": proof.is_some_and(|proof| proof.class.counts()),
        "exceptions": proof.map_or(&[][..], |proof| &proof.exceptions),
    })
}

/// Formats a time as `2026-11-22T03:00:45Z`.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
