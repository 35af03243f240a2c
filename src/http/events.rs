//! Serves `GET /events`: live progress as server-sent events.
//!
//! Sends one event of each kind on connecting, if it applies, and on each change:
//! - `progress`: a running job. `{"jobId": …, "databases": [{"database", "stage", "rows", "totalRows", "bytes",
//!   "totalBytes", "fraction"}]}`, at most four times a second;
//! - `job`: a job that ended, as `GET /jobs/{id}` returns it;
//! - `idle`: no job is running. `{}`.
//!
//! Invariant: a slow client delays nothing, and every stream ends with the process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Api;
use super::answer::Refusal;
use super::jobs;
use crate::types::JobId;

/// Interval at which the counters are read: short enough for a progress bar to move smoothly.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Interval of the keep-alive messages: proxies close a connection that is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(api): State<Api>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let place = api.0.limits.stream()?;
    let stop = api.0.sources.stop.clone();
    let batches = stream::unfold(Watch::new(api, place), async |mut watch| {
        let batch = watch.next().await;
        Some((stream::iter(batch), watch))
    });
    let events = batches.flatten().take_until(stop.cancelled_owned()).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// State of one client's stream.
struct Watch {
    api: Api,
    seen: BTreeMap<String, (JobId, Value)>,
    is_idle: Option<bool>,
    ticks: Interval,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    fn new(api: Api, place: OwnedSemaphorePermit) -> Self {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            api,
            seen: BTreeMap::new(),
            is_idle: None,
            ticks,
            _place: place,
        }
    }

    /// Waits for the next tick and returns the events since the last one.
    async fn next(&mut self) -> Vec<Event> {
        self.ticks.tick().await;
        let mut events = Vec::new();
        let boards = self.api.0.sources.live.boards();
        let mut now = BTreeMap::new();
        for board in &boards {
            let id = board.job();
            let progress = json!({ "jobId": id, "databases": jobs::progress(board) });
            if self.seen.get(&id.to_string()).map(|(_, seen)| seen) != Some(&progress) {
                events.extend(event("progress", &progress));
            }
            now.insert(id.to_string(), (id, progress));
        }
        let ended: Vec<JobId> = std::mem::replace(&mut self.seen, now)
            .into_values()
            .map(|(id, _)| id)
            .filter(|id| !self.seen.contains_key(&id.to_string()))
            .collect();
        for id in ended {
            // If the job cannot be read now, clients can still request it.
            if let Ok(Some(job)) = jobs::find(&self.api, id).await {
                events.extend(event("job", &job));
            }
        }
        if self.is_idle.replace(boards.is_empty()) != Some(true) && boards.is_empty() {
            events.extend(event("idle", &json!({})));
        }
        events
    }
}

fn event(kind: &str, data: &Value) -> Option<Event> {
    Event::default().event(kind).json_data(data).ok()
}
