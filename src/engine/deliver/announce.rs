//! Sends one message to every sink at once, past the outbox: to try the sinks, and where there is no catalog to write
//! an event to.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use crate::catalog::{CatalogError, Event};
use crate::config::AlertLevel;
use crate::notify::{Alert, Answer, Message, Notifier, NotifyError};
use crate::types::EventKind;
use crate::wiring::Wiring;

/// What each sink answered to a message that all were sent at once, in their order.
pub async fn send_to_all(
    sinks: &[Arc<dyn Notifier>],
    message: &Message,
) -> Vec<(String, Result<Answer, NotifyError>)> {
    join_all(sinks.iter().map(|sink| async {
        let answer = sink.send(message).await;
        (sink.name().to_owned(), answer)
    }))
    .await
}

/// The answer of a sink in a person's words.
pub fn said(answer: &Result<Answer, NotifyError>) -> String {
    match answer {
        Ok(answer) => format!("took it, status {}", answer.status),
        Err(error) => error.to_string(),
    }
}

/// An alert that only asks whether alerts arrive.
pub fn test_alert(agent: &str, at: DateTime<Utc>) -> Alert {
    Alert {
        id: uuid::Uuid::new_v4().to_string(),
        kind: EventKind::Test,
        severity: AlertLevel::Info,
        at,
        agent: agent.to_owned(),
        url: None,
        database: None,
        message: TEST_MESSAGE.to_owned(),
        hint: None,
        resolves: None,
        job: None,
    }
}

/// Sends every sink the same by way of the outbox.
///
/// # Errors
/// Where the catalog cannot be written.
pub fn tell_test(wiring: &Wiring) -> Result<(), CatalogError> {
    wiring.catalog.tell(&[Event {
        kind: EventKind::Test,
        severity: AlertLevel::Info,
        database: None,
        message: TEST_MESSAGE.to_owned(),
        at: wiring.clock.now(),
    }])
}

/// What a test says; it holds nothing to redact.
const TEST_MESSAGE: &str = "this is a test: alerts of this installation arrive here";
