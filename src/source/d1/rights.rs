//! Finds out what the API token may do. Invariant: nothing is asked that could change anything.

use reqwest::Method;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::answer::Envelope;
use super::client::Client;
use super::error::ApiError;

/// An id that no database has: no version of UUID gives it.
const NO_DATABASE: &str = "00000000-0000-0000-0000-000000000000";

/// What a backup never asks for: the path, with the account's id in the place of `{}`, and what it shows.
const BEYOND: [(&str, &str); 5] = [
    ("/user/tokens?per_page=5", "read the user's API tokens"),
    ("/zones?per_page=5", "read zones"),
    ("/accounts/{}/workers/scripts", "read Workers"),
    ("/accounts/{}/r2/buckets", "read R2 buckets"),
    ("/accounts/{}/storage/kv/namespaces", "read KV namespaces"),
];

impl Client {
    /// Reads a database's metadata and runs a query that touches no table of it.
    ///
    /// # Errors
    /// Those of the API.
    pub async fn try_out(&self, id: &str, stop: &CancellationToken) -> Result<(), ApiError> {
        self.info(id, stop).await?;
        // A cell is text; see `select`.
        self.batch(id, &["SELECT quote(1)".to_owned()], stop)
            .await
            .map(drop)
    }

    /// What the token may do beyond reading D1, as words that follow "it can also". Empty: nothing of what was tried.
    ///
    /// Only some rights can be tried without harm, so an empty answer is no proof. Writing is tried by the first step
    /// of an import, which only asks where to upload to, into a database that cannot exist.
    ///
    /// # Errors
    /// Those of the API where the token cannot even list databases, or no answer came.
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
            // The right is checked before the database is looked for.
            Ok(_) | Err(ApiError::UnknownDatabase(_)) => {
                excess.push("write to D1 (restoring needs that, backups do not)");
            }
            Err(error) => unless_refused(error)?,
        }
        for (path, what) in BEYOND {
            let url = format!("{}{}", self.api_url, path.replace("{}", &self.account_id));
            match self.call_once::<Value>(Method::GET, &url, None).await {
                // An empty list may be all that it may see.
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

/// A refusal says that the token may not; anything else says nothing.
fn unless_refused(error: ApiError) -> Result<(), ApiError> {
    match error.is_retryable() {
        true => Err(error),
        false => Ok(()),
    }
}
