//! Finds out the permissions of the API token. Invariant: no request is made that could change anything.

use reqwest::Method;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::answer::Envelope;
use super::client::Client;
use super::error::ApiError;

/// An id that no database has: no version of UUID produces it.
const NO_DATABASE: &str = "00000000-0000-0000-0000-000000000000";

/// Resources that a backup never needs: the path, with `{}` for the account's id, and the permission that access shows.
const BEYOND: [(&str, &str); 5] = [
    ("/user/tokens?per_page=5", "read the user's API tokens"),
    ("/zones?per_page=5", "read zones"),
    ("/accounts/{}/workers/scripts", "read Workers"),
    ("/accounts/{}/r2/buckets", "read R2 buckets"),
    ("/accounts/{}/storage/kv/namespaces", "read KV namespaces"),
];

impl Client {
    /// Reads a database's metadata and runs a query that touches none of its tables.
    ///
    /// # Errors
    /// Those of the API.
    pub async fn try_out(&self, id: &str, stop: &CancellationToken) -> Result<(), ApiError> {
        self.info(id, stop).await?;
        // Every cell must be text; see `select`.
        self.batch(id, &["SELECT quote(1)".to_owned()], stop)
            .await
            .map(drop)
    }

    /// Returns what the token may do beyond reading D1, in words that follow "it can also". Empty if none of the
    /// attempts succeeded.
    ///
    /// Only some permissions can be tried without harm, so an empty result is no proof. Writing is tried by the first
    /// step of an import, which only requests an upload link, into a database that cannot exist.
    ///
    /// # Errors
    /// Those of the API if the token cannot even list databases, or no response came.
    pub async fn excess(&self, stop: &CancellationToken) -> Result<Vec<&'static str>, ApiError> {
        let list = self.database_url("?page=1&per_page=10");
        let _: Envelope<Value> = self.call(Method::GET, &list, None, stop).await?;
        let mut excess = Vec::new();
        let import = self.database_url(&format!("/{NO_DATABASE}/import"));
        let body = serde_json::json!({ "action": "init", "etag": "0".repeat(32) }).to_string();
        match self
            .call_once::<Value>(Method::POST, &import, Some(body))
            .await
        {
            // The permission is checked before the database is looked up.
            Ok(_) | Err(ApiError::UnknownDatabase(_)) => {
                excess.push("write to D1 (restoring needs that, backups do not)");
            }
            Err(error) => unless_refused(error)?,
        }
        for (path, what) in BEYOND {
            let url = format!("{}{}", self.api_url, path.replace("{}", &self.account_id));
            match self.call_once::<Value>(Method::GET, &url, None).await {
                // An empty list may mean that access is limited to nothing.
                Ok(answer) if shows_something(answer.result.as_ref()) => excess.push(what),
                Ok(_) => {}
                Err(error) => unless_refused(error)?,
            }
        }
        Ok(excess)
    }
}

fn shows_something(result: Option<&Value>) -> bool {
    match result {
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => map
            .values()
            .any(|value| value.as_array().is_some_and(|list| !list.is_empty())),
        _ => false,
    }
}

/// Treats a refusal as a missing permission; returns any passing error.
fn unless_refused(error: ApiError) -> Result<(), ApiError> {
    match error.is_retryable() {
        true => Err(error),
        false => Ok(()),
    }
}
