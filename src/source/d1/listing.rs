//! Lists the databases of an account. Invariant: an incomplete list is an error, never a short list.

use std::collections::HashSet;

use reqwest::Method;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::answer::Envelope;
use super::client::{Client, result_of};
use super::error::ApiError;
use crate::types::counted;

/// Number of databases per page; the API's own default.
pub(super) const PER_PAGE: usize = 1_000;

/// Upper bound for the number of pages: an account has at most 50,000 databases, so with more pages the API repeats
/// itself.
const MOST_PAGES: usize = 100;

/// A database in the account's listing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ListedDatabase {
    /// Its id.
    pub uuid: String,
    /// Its name.
    pub name: String,
}

impl Client {
    /// Returns all databases of the account, sorted by name.
    ///
    /// Pages are read until the account's own count is reached, or, if the API gives none, until an empty page.
    ///
    /// # Errors
    /// Those of the API. [`ApiError::Malformed`] if a page is too short, a database is listed twice, or the pages do
    /// not end.
    pub async fn databases(
        &self,
        stop: &CancellationToken,
    ) -> Result<Vec<ListedDatabase>, ApiError> {
        let mut databases: Vec<ListedDatabase> = Vec::new();
        let mut seen = HashSet::new();
        for page in 1..=MOST_PAGES {
            let query = format!("?page={page}&per_page={}", self.per_page);
            let url = self.database_url(&query);
            let envelope: Envelope<Vec<ListedDatabase>> =
                self.call(Method::GET, &url, None, stop).await?;
            let total = envelope.result_info.and_then(|info| info.total_count);
            let listed = result_of(envelope.result)?;
            let on_page = listed.len();
            for database in listed {
                if !seen.insert(database.uuid.to_ascii_lowercase()) {
                    return Err(odd(format!(
                        "page {page} of the list names a database again"
                    )));
                }
                databases.push(database);
            }
            if is_whole(databases.len(), on_page, self.per_page, total)? {
                databases.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(databases);
            }
        }
        Err(odd(format!(
            "the list of databases has more than {MOST_PAGES} pages"
        )))
    }
}

/// True if `found` databases are all, after a page of `on_page`.
fn is_whole(
    found: usize,
    on_page: usize,
    per_page: usize,
    total: Option<u64>,
) -> Result<bool, ApiError> {
    let Some(total) = total else {
        return Ok(on_page == 0);
    };
    if found as u64 == total {
        return Ok(true);
    }
    if found as u64 > total || on_page < per_page {
        return Err(odd(format!(
            "the account has {} but lists {found}",
            counted(total, "database")
        )));
    }
    Ok(false)
}

fn odd(text: String) -> ApiError {
    ApiError::Malformed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_whole_only_where_the_accounts_own_count_is_reached() {
        assert_eq!(is_whole(0, 0, 10, Some(0)), Ok(true));
        assert_eq!(is_whole(10, 10, 10, Some(10)), Ok(true));
        assert_eq!(is_whole(10, 10, 10, Some(11)), Ok(false));
        assert_eq!(is_whole(9, 9, 10, None), Ok(false));
        assert_eq!(is_whole(9, 0, 10, None), Ok(true));
        for (found, on_page) in [(9, 9), (12, 2), (10, 0)] {
            assert!(is_whole(found, on_page, 10, Some(11)).is_err(), "{found}");
        }
    }
}
