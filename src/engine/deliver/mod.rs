//! Brings what people should hear of to the sinks. Invariant: no sink delays another or a backup, and an event that was
//! written down is delivered, or given up after [`PATIENCE`].

mod announce;
mod compose;
mod pace;
mod pulse;
mod route;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

pub use self::announce::{said, send_to_all, tell_test, test_alert};
use self::pace::{Pace, pace, retry_at};
use crate::catalog::{Catalog, CatalogError, Due};
use crate::config::{Sink, SinkKind};
use crate::notify::{Digest, Message, Notifier, NotifyError};
use crate::types::{Sha256, counted};
use crate::wiring::Wiring;

/// What a sink did not take within this time it will not take.
pub const PATIENCE: TimeDelta = TimeDelta::hours(72);

/// What was dealt with is kept so long, for people who look.
const KEPT: TimeDelta = TimeDelta::days(90);

/// So many events are sent at once; what is more waits for the next round.
const MOST_AT_ONCE: usize = 200;

/// Whether there is something to do for a sink, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Something is due.
    Now,
    /// Something is due then; `None`: nothing waits.
    At(Option<DateTime<Utc>>),
}

/// Looks whether a sink is to get something, or where `sink` is `None` whether an event waits for its deliveries.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn look(
    catalog: &Catalog,
    sink: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Look, CatalogError> {
    if catalog.has_unrouted()? {
        return Ok(Look::Now);
    }
    let Some(sink) = sink else {
        return Ok(Look::At(None));
    };
    Ok(match catalog.next_due(sink, now)? {
        Some(next) if next <= now => Look::Now,
        next => Look::At(next),
    })
}

/// Gives each new event its deliveries.
///
/// # Errors
/// Where the catalog cannot be read or written.
pub fn route(wiring: &Wiring) -> Result<(), CatalogError> {
    let now = wiring.clock.now();
    loop {
        let posted = wiring.catalog.unrouted()?;
        if posted.is_empty() {
            return Ok(());
        }
        let mut routes = Vec::with_capacity(posted.len());
        for posted in &posted {
            routes.push((posted.number, route::sinks(wiring, posted, now)?));
        }
        wiring.catalog.route(&routes, now)?;
        let sinks = wiring.config.alerts().sinks.iter();
        let sinks: Vec<String> = sinks.map(|sink| sink.name.clone()).collect();
        wiring.catalog.tidy_outbox(&sinks, now - KEPT)?;
    }
}

/// Sends a sink what is due, until nothing is or it takes no more for now.
///
/// # Errors
/// Where the catalog cannot be read or written; what the sink says is no error.
pub async fn to_sink(
    wiring: &Wiring,
    name: &str,
    stop: &CancellationToken,
) -> Result<(), CatalogError> {
    route(wiring)?;
    let sinks = &wiring.config.alerts().sinks;
    let sink = sinks.iter().find(|sink| sink.name == name);
    let notifier = wiring.sinks.iter().find(|sink| sink.name() == name);
    let (Some(sink), Some(notifier)) = (sink, notifier) else {
        return Ok(());
    };
    let delivery = Delivery {
        wiring,
        sink,
        notifier,
    };
    stop.run_until_cancelled(delivery.drain())
        .await
        .unwrap_or(Ok(()))
}

/// Sends every sink what is due, within this time: what a command does that ends soon.
pub async fn to_all(wiring: &Wiring, within: Duration) {
    let stop = CancellationToken::new();
    let sinks = wiring.config.alerts().sinks.iter();
    let all = join_all(sinks.map(|sink| to_sink(wiring, &sink.name, &stop)));
    // The network does not wait for the clock of a test.
    match tokio::time::timeout(within, all).await {
        Ok(ended) => {
            for error in ended.into_iter().filter_map(Result::err) {
                tracing::error!("alerts were not sent: {error}");
            }
        }
        Err(_) => {
            tracing::warn!(
                "some alerts were not sent within {within:?}; the next start sends them"
            );
        }
    }
}

/// What is sent to one sink.
struct Delivery<'a> {
    wiring: &'a Wiring,
    sink: &'a Sink,
    notifier: &'a Arc<dyn Notifier>,
}

/// Whether the next message may be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    GoOn,
    Wait,
}

impl Delivery<'_> {
    async fn drain(&self) -> Result<(), CatalogError> {
        let (catalog, name) = (&self.wiring.catalog, &self.sink.name);
        loop {
            let now = self.wiring.clock.now();
            let given_up = catalog.give_up(name, now - self.patience(), now)?;
            if given_up > 0 && self.sink.kind != SinkKind::Heartbeat {
                let hours = self.patience().num_hours();
                tracing::error!(sink = %name, given_up, "sink {name} did not take {} within {}: given up",
                    counted(given_up, "alert"), counted(hours, "hour"));
            }
            let due = catalog.due(name, now, MOST_AT_ONCE)?;
            if due.is_empty() {
                return Ok(());
            }
            let after = match self.sink.kind {
                SinkKind::Heartbeat => self.beat(&due).await?,
                _ => self.send(due, now).await?,
            };
            if after == After::Wait {
                return Ok(());
            }
        }
    }

    /// A sign of life that is old says nothing true.
    fn patience(&self) -> TimeDelta {
        match self.sink.kind {
            SinkKind::Heartbeat => pulse::PATIENCE,
            _ => PATIENCE,
        }
    }

    async fn send(&self, due: Vec<Due>, now: DateTime<Utc>) -> Result<After, CatalogError> {
        let (catalog, name) = (&self.wiring.catalog, &self.sink.name);
        let mut wanted = Vec::with_capacity(due.len());
        for due in due {
            let alert = compose::alert(self.wiring, self.sink, &due.posted)?;
            match compose::is_wanted(self.wiring, self.sink, &alert).await {
                true => wanted.push((due, alert)),
                false => catalog.pass_over(name, due.posted.number, now)?,
            }
        }
        let sent = catalog.sent(name, pace::WINDOW, now)?;
        // A machine that a script speaks to gets each event by itself.
        let pace = match self.sink.format {
            Some(_) => Pace::Each,
            None => pace(wanted.len(), sent),
        };
        match pace {
            Pace::Wait(until) => {
                catalog.hold(name, until)?;
                Ok(After::Wait)
            }
            Pace::Digest => {
                let numbers: Vec<i64> = wanted.iter().map(|(due, _)| due.posted.number).collect();
                let attempts = wanted.iter().map(|(due, _)| due.attempts).min();
                let alerts: Vec<_> = wanted.into_iter().map(|(_, alert)| alert).collect();
                let ids: Vec<&str> = alerts.iter().map(|alert| alert.id.as_str()).collect();
                let digest = Message::Digest(Digest {
                    id: Sha256::of(ids.join(" ").as_bytes()).to_string(),
                    at: now,
                    agent: self.wiring.config.agent().name.clone(),
                    alerts,
                });
                self.attempt(&numbers, attempts.unwrap_or(0), &digest).await
            }
            Pace::Each => {
                for (due, alert) in wanted {
                    let message = compose::message(self.wiring, self.sink, alert, due.attempts);
                    let message = message.await;
                    let numbers = [due.posted.number];
                    if self.attempt(&numbers, due.attempts, &message).await? == After::Wait {
                        return Ok(After::Wait);
                    }
                }
                Ok(After::GoOn)
            }
        }
    }

    /// Of several beats only the newest says how it is.
    async fn beat(&self, due: &[Due]) -> Result<After, CatalogError> {
        let Some(newest) = due.last() else {
            return Ok(After::GoOn);
        };
        let beat = pulse::beat(self.wiring, self.sink, &newest.posted).await?;
        let message = Message::Pulse {
            id: newest.posted.id.clone(),
            beat,
        };
        let numbers: Vec<i64> = due.iter().map(|due| due.posted.number).collect();
        self.attempt(&numbers, newest.attempts, &message).await
    }

    /// Sends a message once and writes down what came of it.
    async fn attempt(
        &self,
        numbers: &[i64],
        attempts: u32,
        message: &Message,
    ) -> Result<After, CatalogError> {
        let (catalog, name) = (&self.wiring.catalog, &self.sink.name);
        let word = message.word();
        match self.notifier.send(message).await {
            Ok(answer) => {
                let status = answer.status;
                catalog.delivered(name, numbers, message.id(), self.wiring.clock.now())?;
                tracing::info!(sink = %name, alert = word, id = message.id(), status, "sink {name} took {word}");
                Ok(After::GoOn)
            }
            Err(error) => {
                let now = self.wiring.clock.now();
                let until = retry_at(&error, attempts, now);
                let holds_all = error.is_about_the_sink();
                catalog.put_off(name, numbers, until, holds_all, &error.to_string())?;
                self.log(&error, attempts, word, until);
                Ok(match holds_all {
                    true => After::Wait,
                    false => After::GoOn,
                })
            }
        }
    }

    /// Loud at first, then quiet: a sink that is down for days is not an error each hour.
    fn log(&self, error: &NotifyError, attempts: u32, word: &str, until: DateTime<Utc>) {
        let name = &self.sink.name;
        let until = until.format("%Y-%m-%d %H:%M:%S UTC");
        match attempts {
            0 => {
                tracing::warn!(sink = %name, alert = word, "sink {name} did not take {word}, which is tried again at {until}: {error}");
            }
            _ => {
                tracing::debug!(sink = %name, alert = word, attempts, "sink {name} did not take {word} again, which is tried at {until}: {error}");
            }
        }
    }
}
