//! Tells of a configuration that was not taken, and of its end.

use crate::app::startup;
use crate::catalog::{Ended, Event, EventKind, News, Noted, Raised};
use crate::config::AlertLevel;
use crate::engine::state::StateDir;
use crate::wiring::Wiring;

/// What a rejected configuration is about.
const SCOPE: &str = "configuration";

/// A longer list of mistakes is for `patina check`.
pub(super) const MOST_MISTAKES: usize = 10;

/// The old configuration stays, and people hear why: once for each version of the file.
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

/// The process works: what was told when it could not is over.
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

/// The configuration was taken: what was rejected before is over.
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
