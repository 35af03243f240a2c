//! Records refused requests and admitted clients, and reports unusual access. Invariant: no request waits for it, and a
//! flood from any number of addresses causes a bounded number of rows, log lines and events.

mod unusual;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Method;
use axum::response::Response;
use tokio::sync::Notify;

use super::Api;
use super::answer::Why;
use super::auth::Caller;
use super::limits::household;
use crate::catalog::{Catalog, CatalogError, Refused};
use crate::clock::Clock;
use crate::config::Config;
use crate::quote::foreign;

/// Time for which records are collected before they are written together.
const PAUSE: Duration = Duration::from_millis(300);

/// Of the requests refused for one reason at one address, the first is written at once, and then the number of further
/// ones at this interval.
const QUIET: Duration = Duration::from_secs(60);

/// Upper bound for the distinct combinations of reason and address; requests from further addresses are counted
/// together.
const MOST_KINDS: usize = 1_000;

/// Upper bound for the clients that wait to be recorded.
const MOST_CLIENTS: usize = 1_000;

/// Upper bound for the log lines of one batch of refusals; one more line counts the rest.
const MOST_LINES: usize = 20;

/// Upper bound for a recorded path, in characters.
const MOST_PATH_CHARS: usize = 200;

/// Number of wrong credentials within [`STORM_WINDOW`], from all addresses together, that counts as a storm.
const STORM: u64 = 200;
const STORM_WINDOW: Duration = Duration::from_secs(300);

/// Access records that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    book: Mutex<Book>,
    has_news: Notify,
}

#[derive(Debug, Default)]
struct Book {
    refused: HashMap<Kind, Entry>,
    came: BTreeSet<(String, IpAddr)>,
    /// Monotonic time when each client was last recorded at an address.
    noted: HashMap<(String, IpAddr), Duration>,
    gave: BTreeSet<String>,
    /// Start of the window in which wrong credentials are counted, and their number.
    storm: (Duration, u64),
}

/// Key of requests that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    /// `None`: all addresses beyond [`MOST_KINDS`].
    household: Option<IpAddr>,
    status: u16,
    word: &'static str,
    client: Option<String>,
}

#[derive(Debug)]
struct Entry {
    /// First of the requests not yet written, with their number.
    waits: Option<Refused>,
    /// Monotonic time when this kind was last written.
    written: Option<Duration>,
}

/// Records that are written together.
#[derive(Debug, Default)]
struct Page {
    refused: Vec<Refused>,
    came: Vec<(String, IpAddr)>,
    gave: BTreeSet<String>,
    /// Number of wrong credentials within the window, if that is a storm.
    storm: Option<u64>,
}

impl Ledger {
    /// Records the response to a request that was refused because of its client, its origin or a limit.
    pub(super) fn answered(
        &self,
        (id, clock): (&str, &dyn Clock),
        from: Option<IpAddr>,
        (method, path): (&Method, &str),
        response: &Response,
    ) {
        let (Some(why), Some(address)) = (response.extensions().get::<Why>(), from) else {
            return;
        };
        let caller = response.extensions().get::<Caller>();
        let client = why.client.clone();
        let client = client.or_else(|| caller.map(|caller| caller.name.clone()));
        let status = response.status().as_u16();
        let mut kind = Kind {
            household: Some(household(address)),
            status,
            word: why.word,
            client: client.clone(),
        };
        let mut book = self.book();
        book.count_storm(status, clock.elapsed());
        let mut address = address.to_canonical();
        if book.refused.len() >= MOST_KINDS && !book.refused.contains_key(&kind) {
            (kind.household, kind.client, address) = (None, None, Ipv6Addr::UNSPECIFIED.into());
        }
        let entry = book.refused.entry(kind).or_insert(Entry {
            waits: None,
            written: None,
        });
        let waits = entry.waits.get_or_insert_with(|| Refused {
            at: clock.now(),
            request: id.to_owned(),
            status,
            why: why.word.to_owned(),
            method: foreign(method.as_str(), 20),
            path: foreign(path, MOST_PATH_CHARS),
            client,
            address,
            times: 0,
        });
        waits.times += 1;
        drop(book);
        self.has_news.notify_one();
    }

    /// Records that a client was admitted. A client known only by its address has no credentials that could be used
    /// elsewhere.
    pub(super) fn came(&self, client: &str, address: IpAddr) {
        if client.starts_with("address:") {
            return;
        }
        let mut book = self.book();
        if book.came.len() < MOST_CLIENTS {
            book.came.insert((client.to_owned(), household(address)));
        }
        drop(book);
        self.has_news.notify_one();
    }

    /// Records that a client received a copy or a guide; the audit holds the details.
    pub(super) fn gave(&self, client: &str) {
        let mut book = self.book();
        if book.gave.len() < MOST_CLIENTS {
            book.gave.insert(client.to_owned());
        }
        drop(book);
        self.has_news.notify_one();
    }

    /// Returns the records to write now, and true if others must wait for their interval.
    fn page(&self, now: Duration, is_last: bool) -> (Page, bool) {
        let mut book = self.book();
        let mut page = Page {
            gave: std::mem::take(&mut book.gave),
            storm: book.storm(now),
            ..Page::default()
        };
        let is_quiet = |at: Option<Duration>| at.is_some_and(|at| now < at + QUIET) && !is_last;
        for entry in book.refused.values_mut() {
            if !is_quiet(entry.written)
                && let Some(refused) = entry.waits.take()
            {
                entry.written = Some(now);
                page.refused.push(refused);
            }
        }
        book.refused
            .retain(|_, entry| entry.waits.is_some() || is_quiet(entry.written));
        page.refused.sort_by_key(|refused| refused.at);
        let came = std::mem::take(&mut book.came);
        book.noted.retain(|_, at| is_quiet(Some(*at)));
        for client in came {
            if book.noted.insert(client.clone(), now).is_none() {
                page.came.push(client);
            }
        }
        let waits = book.refused.values().any(|entry| entry.waits.is_some());
        (page, waits)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn count_storm(&mut self, status: u16, now: Duration) {
        let (since, count) = self.storm;
        self.storm = match now < since + STORM_WINDOW {
            true => (since, count),
            false => (now, 0),
        };
        self.storm.1 += u64::from(status == 401 || status == 429);
    }

    fn storm(&self, now: Duration) -> Option<u64> {
        let (since, count) = self.storm;
        (count >= STORM && now < since + STORM_WINDOW).then_some(count)
    }
}

impl Page {
    fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.came.is_empty() && self.gave.is_empty()
    }
}

/// Writes records as they arrive, until the server stops.
pub(super) async fn keep(api: Api) {
    let stop = api.0.sources.stop.clone();
    let mut waits = false;
    loop {
        let news = async {
            match waits {
                true => {
                    let news = api.0.ledger.has_news.notified();
                    let _ = tokio::time::timeout(QUIET / 60, news).await;
                }
                false => api.0.ledger.has_news.notified().await,
            }
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = news => waits = note(&api, false).await,
        }
    }
}

/// Writes the waiting records. Returns true if others must wait for their interval.
pub(super) async fn note(api: &Api, is_last: bool) -> bool {
    let wiring = (api.0.sources.current)();
    let (page, waits) = api.0.ledger.page(wiring.clock.elapsed(), is_last);
    if page.is_empty() {
        return waits;
    }
    tell(&page.refused);
    let (config, now) = (wiring.config.clone(), wiring.clock.now());
    let written = api.write(&wiring, move |catalog| write(catalog, &page, &config, now));
    if let Err(error) = written.await {
        tracing::error!(
            "who was refused or came stands in the log alone, not in the audit: {error}"
        );
    }
    waits
}

fn write(
    catalog: &Catalog,
    page: &Page,
    config: &Config,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), CatalogError> {
    catalog.note_refused(&page.refused)?;
    let mut found = unusual::refused(&page.refused, page.storm, now);
    for (client, address) in &page.came {
        let visit = catalog.visit(client, &unusual::text(*address), now)?;
        found.extend(unusual::came(client, *address, visit, now));
    }
    for client in &page.gave {
        found.extend(unusual::gave(catalog, client, config, now)?);
    }
    for one in found {
        catalog.tell_access(&one.what, &one.event, one.quiet)?;
    }
    Ok(())
}

/// Logs one line for each refusal, up to [`MOST_LINES`] to keep the log readable.
fn tell(refused: &[Refused]) {
    for one in refused.iter().take(MOST_LINES) {
        let Refused {
            status,
            why,
            method,
            path,
            address,
            times,
            ..
        } = one;
        let client = one.client.as_deref().unwrap_or("an unknown client");
        let client = foreign(client, MOST_PATH_CHARS);
        let request = &one.request;
        tracing::warn!(event = "request_refused", %request, %client, %address, status, why, times,
            "refused with {status} ({why}): {method} {path} by {client} at {address}, {times}×");
    }
    if let Some(rest) = refused.len().checked_sub(MOST_LINES + 1) {
        let rest = rest + 1;
        tracing::warn!("and {rest} more kinds of refused requests; `patina audit list` has them");
    }
}
