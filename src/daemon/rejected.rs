//! Raises and resolves the alert about a rejected configuration.

use crate::app::startup;
use crate::catalog::{Ended, Event, EventKind, News, Noted, Raised};
use crate::config::AlertLevel;
use crate::engine::state::StateDir;
use crate::wiring::Wiring;

/// Scope of the alert.
const SCOPE: &str = "configuration";

/// Upper bound for the mistakes listed in the alert; `patina check` shows all.
pub(super) const MOST_MISTAKES: usize = 10;

/// Raises the alert that the old configuration stays, with the reason, once for each version of the file.
pub(super) fn tell_rejected(wiring: &Wiring, why: &str) {
    let event = Event {
        kind: EventKind::ConfigRejected,
        severity: AlertLevel::Critical,
        database: None,
        message: format!(
            "the configuration was not taken, the old one stays: {}\nhint: patina check",
            why.replace("\nhint: ", "; ")
        ),
        at: wiring.clock.now(),
    };
    let raised = Raised {
        details: vec![event.message.clone()],
        ..Raised::once(event, SCOPE)
    };
    announce(
        wiring,
        News {
            raised: vec![raised],
            ..News::default()
        },
    );
}

/// Resolves what was reported while the process could not start.
pub(super) fn tell_started(wiring: &Wiring, state: &StateDir) {
    if startup::has_started(state.path()) {
        let noted = Noted {
            kind: EventKind::ConfigRejected,
            severity: AlertLevel::Critical,
            scope: SCOPE.to_owned(),
            at: wiring.clock.now(),
        };
        announce(
            wiring,
            News {
                noted: vec![noted],
                ..News::default()
            },
        );
    }
    tell_accepted(wiring);
}

/// Resolves the alert: the configuration was loaded.
pub(super) fn tell_accepted(wiring: &Wiring) {
    announce(
        wiring,
        News {
            ended: vec![Ended {
                kinds: vec![EventKind::ConfigRejected],
                scope: SCOPE.to_owned(),
                database: None,
                message: "the configuration is valid again and was loaded".to_owned(),
                at: wiring.clock.now(),
            }],
            ..News::default()
        },
    );
}

fn announce(wiring: &Wiring, news: News) {
    if let Err(error) = wiring.catalog.announce(&news) {
        tracing::error!("the alert on the configuration is not written down: {error}");
    }
}
