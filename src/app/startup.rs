//! Sends an alert to the sinks if Patina does not start. Invariant: it needs no catalog, and of the configuration only
//! valid sinks; a service that restarts repeatedly reports the same failure once a day.

use std::path::Path;
use std::time::Duration;

use super::stamp::Stamp;
use super::{notifiers, system_clock};
use crate::config::{Agent, AlertLevel, Alerts, Config, Problems, Severity, SinkKind};
use crate::engine::deliver::send_to_all;
use crate::notify::{Alert, Beat, Message};
use crate::types::EventKind;

/// Pause before the second attempt for a sink that did not accept the alert.
const SECOND_TRY: Duration = Duration::from_secs(2);

/// Upper bound for the mistakes listed in the alert; `patina check` shows all.
const MOST_MISTAKES: usize = 10;

/// Alerts that a configuration cannot be used, through those of its sinks that are valid.
pub async fn tell_rejected(problems: &Problems) {
    let Some(remains) = problems.remains() else {
        tracing::info!("no sink is known, so no alert is sent");
        return;
    };
    let mistakes = problems.mistakes(MOST_MISTAKES);
    let why = format!("the configuration cannot be used: {mistakes}\nhint: patina check");
    // If there are errors in `alerts`, `redact` may be the setting that was not understood.
    let mut errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error);
    let has_own = errors.any(|error| {
        let path = error.path.as_deref();
        path.is_none_or(|path| path.starts_with("alerts"))
    });
    tell(&remains.agent, &remains.alerts, &why, has_own).await;
}

/// Alerts that Patina could not work although its configuration is valid.
pub async fn tell_not_started(config: &Config, why: &str) {
    let why = format!("patina cannot work: {why}");
    tell(config.agent(), config.alerts(), &why, false).await;
}

/// Returns true if an alert was sent that Patina does not start, and was not resolved since; from now on it counts as
/// resolved.
pub fn has_started(state: &Path) -> bool {
    Stamp::of(state).remove()
}

async fn tell(agent: &Agent, alerts: &Alerts, why: &str, hides: bool) {
    let clock = system_clock();
    let now = clock.now();
    if alerts.sinks.is_empty() || !Stamp::of(&agent.state).is_new(why, now) {
        return;
    }
    let (message, hint) = match why.split_once("\nhint: ") {
        Some((message, hint)) => (message, Some(hint.to_owned())),
        None => (why, None),
    };
    let alert = Alert {
        id: uuid::Uuid::new_v4().to_string(),
        kind: EventKind::ConfigRejected,
        severity: AlertLevel::Critical,
        at: now,
        agent: agent.name.clone(),
        url: None,
        database: None,
        message: message.to_owned(),
        hint,
        resolves: None,
        job: None,
    };
    let alert = match alerts.redact || hides {
        true => alert.redacted(),
        false => alert,
    };
    let wanting = alerts.sinks.iter().filter(|sink| {
        let kind = EventKind::ConfigRejected.as_str();
        sink.only.is_empty() || sink.only.iter().any(|only| only == kind)
    });
    let (beats, others): (Vec<_>, Vec<_>) = wanting
        .cloned()
        .partition(|sink| sink.kind == SinkKind::Heartbeat);
    let pulse = Message::Pulse {
        id: alert.id.clone(),
        beat: Beat::Bad,
    };
    let (mut beats, mut others) = (notifiers(&beats), notifiers(&others));
    let message = Message::Alert(Box::new(alert));
    for is_last in [false, true] {
        let mut answers = send_to_all(&others, &message).await;
        answers.extend(send_to_all(&beats, &pulse).await);
        answers.retain(|(_, answer)| answer.is_err());
        if answers.is_empty() {
            return;
        }
        if is_last {
            for (sink, answer) in answers {
                let error = answer.err().map(|error| error.to_string());
                let error = error.unwrap_or_default();
                tracing::error!(%sink, "sink {sink} did not take the alert that patina does not start: {error}");
            }
            return;
        }
        let failed = |name: &str| answers.iter().any(|(failed, _)| failed == name);
        others.retain(|sink| failed(sink.name()));
        beats.retain(|sink| failed(sink.name()));
        clock.sleep(SECOND_TRY).await;
    }
}
