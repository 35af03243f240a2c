//! `GET /list`: what can be downloaded, the newest day first.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::Api;
use super::answer::Refusal;
use super::call::Call;
use super::jobs::refuse_unknown;
use super::kept::Kept;
use super::params::Params;
use crate::catalog::{Counts, Listed, Page, PageFilter};
use crate::types::{BackupDate, ByteCount, DatabaseName};

/// What a page holds where nobody says, and at most.
const USUAL_LIMIT: usize = 20;
const MOST_LIMIT: usize = 1000;

/// The counts of an unchanged catalog, by its changes, database and day.
pub(super) type KeptCounts = Kept<(i64, Option<DatabaseName>, Option<BackupDate>), Counts>;

pub(super) async fn list(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refusal> {
    let params = Params::read(query.as_deref(), &["database", "date", "limit", "after"])?;
    let limit = params.get("limit", "use a number from 1 to 1000")?;
    let limit: usize = limit.unwrap_or(USUAL_LIMIT);
    if !(1..=MOST_LIMIT).contains(&limit) {
        return Err(Refusal::bad("`limit` is a number from 1 to 1000"));
    }
    let filter = PageFilter {
        database: params.get("database", "it is not a database's name")?,
        date: params.get("date", "use a day, such as 2026-11-22")?,
        after: params.get("after", "use the `next` of the page before")?,
        limit,
    };
    let database = filter.database.clone();
    let page = page(&api, filter).await?;
    if let Some(name) = database.filter(|_| page.counts.filtered == 0) {
        refuse_unknown(&api, &call, &name).await?;
    }
    let next = page.copies.last().filter(|_| page.copies.len() == limit);
    Ok(Json(json!({
        "backups": page.copies.iter().map(document).collect::<Vec<_>>(),
        "total": page.counts.total,
        "filtered": page.counts.filtered,
        "next": next.map(|copy| &copy.key),
    })))
}

async fn page(api: &Api, filter: PageFilter) -> Result<Page, Refusal> {
    let shared = api.clone();
    let asked = api.ask(move |catalog| {
        let key = (catalog.changes()?, filter.database.clone(), filter.date);
        let kept = &shared.0.counts;
        let page = catalog.page(&filter, kept.get(&key))?;
        let changes = key.0;
        kept.put(key, page.counts, |known| known.0 == changes);
        Ok(page)
    });
    Ok(asked.await?)
}

fn document(copy: &Listed) -> Value {
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
    })
}

/// `2026-11-22T03:00:45Z`.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
