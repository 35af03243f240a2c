//! Looks for D1 databases of the account that nothing backs up, and tells of each. Invariant: a listing that is not whole
//! tells nothing.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::catalog::{CatalogError, Ended, Event, EventKind, News, Raised};
use crate::config::AlertLevel;
use crate::source::d1::{ApiError, Discovered, Standing, compare};
use crate::wiring::Wiring;

/// A database that stays unprotected is told of again after this.
const REMIND_AFTER: TimeDelta = TimeDelta::days(7);

/// Why the account could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// Cloudflare did not list the databases.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The catalog cannot be written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Tells of every database that no `[[database]]` names, and gives how many there are; 0 without an account.
///
/// # Errors
/// Where the account cannot be listed to its end, or the catalog not be written.
pub async fn run(wiring: &Wiring, stop: &CancellationToken) -> Result<usize, DiscoverError> {
    let Some(account) = &wiring.account else {
        return Ok(0);
    };
    let listed = account.databases(stop).await?;
    let mut found = compare(&wiring.config, &listed);
    found.retain(|database| database.standing == Standing::Unprotected);
    let at = wiring.clock.now();
    for database in &found {
        let id = &database.id;
        let name = database.listed_name.as_deref().unwrap_or(id);
        let message = format!(
            "the account's D1 database `{name}` ({id}) is not backed up: no `[[database]]` names it\n\
             hint: patina discover --add {name}"
        );
        let event = Event {
            kind: EventKind::UnprotectedDatabase,
            severity: AlertLevel::Warning,
            database: None,
            message,
            at,
        };
        let text = event.message.clone();
        let raised = Raised {
            again: Some(REMIND_AFTER),
            ..Raised::once(event, id)
        };
        let news = News {
            raised: vec![raised],
            ..News::default()
        };
        if wiring.catalog.announce(&news)? {
            tracing::warn!(name, id, "{text}");
        }
    }
    wiring.catalog.announce(&News {
        ended: ended(wiring, &found)?,
        ..News::default()
    })?;
    Ok(found.len())
}

/// What was unprotected and is not any more.
fn ended(wiring: &Wiring, found: &[Discovered]) -> Result<Vec<Ended>, CatalogError> {
    let mut conditions = wiring.catalog.conditions()?;
    conditions.retain(|known| {
        known.kind == EventKind::UnprotectedDatabase
            && !found.iter().any(|database| database.id == known.scope)
    });
    let ended = conditions.into_iter().map(|known| Ended {
        kinds: vec![known.kind],
        message: format!(
            "the D1 database {} is backed up now, or is gone",
            known.scope
        ),
        scope: known.scope,
        database: None,
        at: wiring.clock.now(),
    });
    Ok(ended.collect())
}
