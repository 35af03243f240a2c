//! Makes a task of each sink. Invariant: a sink that hangs delays no other sink.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Daemon;
use crate::engine::deliver::{self, Look};
use crate::task::{Activator, Next, Task};

/// Pause before the catalog is read again after an error.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Time within which events of another process, such as `patina verify`, are noticed.
const OTHERS: Duration = Duration::from_secs(30);

/// Sends the due events to one sink.
struct Delivery {
    name: String,
    /// `None` if there is no sink; events are then recorded as sent to no sink.
    sink: Option<String>,
    daemon: Daemon,
}

impl Task for Delivery {
    fn name(&self) -> &str {
        &self.name
    }

    fn activate(&self, now: DateTime<Utc>) -> Next {
        let catalog = &self.daemon.built().wiring.catalog;
        match deliver::look(catalog, self.sink.as_deref(), now) {
            Ok(Look::At(next)) => Next::Rest(next),
            Ok(Look::Now) => {
                let (sink, daemon) = (self.sink.clone(), self.daemon.clone());
                Next::Work(Box::pin(work(sink, daemon)))
            }
            Err(error) => {
                tracing::error!("task {} does not know what to send: {error}", self.name);
                let again = TimeDelta::from_std(ASK_AGAIN).unwrap_or(TimeDelta::MAX);
                Next::Rest(Some(now + again))
            }
        }
    }
}

async fn work(sink: Option<String>, daemon: Daemon) {
    let built = daemon.built();
    let wiring = &built.wiring;
    let done = match &sink {
        Some(sink) => deliver::to_sink(wiring, sink, &daemon.stop).await,
        None => deliver::route(wiring),
    };
    if let Err(error) = done {
        tracing::error!("alerts are not sent: {error}");
        // The task is activated again immediately after this ends.
        let pause = wiring.clock.sleep(ASK_AGAIN);
        daemon.stop.run_until_cancelled(pause).await;
    }
}

impl Daemon {
    /// Returns one task per sink.
    pub(super) fn deliveries(&self) -> Vec<Arc<dyn Task>> {
        let built = self.built();
        let sinks = &built.wiring.config.alerts().sinks;
        let task = |name: String, sink: Option<String>| -> Arc<dyn Task> {
            let daemon = self.clone();
            Arc::new(Delivery { name, sink, daemon })
        };
        if sinks.is_empty() {
            return vec![task("alerts".to_owned(), None)];
        }
        let names = sinks.iter().map(|sink| sink.name.clone());
        names
            .map(|name| task(format!("alerts to {name}"), Some(name)))
            .collect()
    }

    /// Activates the tasks whenever an event was written, at once if this process wrote it; never returns.
    pub(super) async fn wake_on_events(&self, activator: Activator) {
        let (catalog, clock) = {
            let wiring = &self.built().wiring;
            (wiring.catalog.clone(), Arc::clone(&wiring.clock))
        };
        loop {
            let is_news = tokio::select! {
                () = catalog.told() => true,
                // If it cannot be read, the task reports that.
                () = clock.sleep(OTHERS) => catalog.has_unrouted().unwrap_or(true),
            };
            if is_news {
                activator.activate();
            }
        }
    }
}
