//! Notes who was refused and who came, and tells what is not usual. Invariant: no request waits for it, and a flood, from
//! however many addresses, costs a bounded number of rows, log lines and events.

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

/// What comes within this time is written down in one transaction.
const PAUSE: Duration = Duration::from_millis(300);

/// Of requests that are refused for one reason at one address, the first is written down at once, and then how many
/// more there were, so often.
const QUIET: Duration = Duration::from_secs(60);

/// So many reasons and addresses are told apart at once; what comes from further addresses is counted together.
const MOST_KINDS: usize = 1_000;

/// So many clients wait at once to be noted.
const MOST_CLIENTS: usize = 1_000;

/// So many lines of one transaction's refusals go to the log; the rest is one line more.
const MOST_LINES: usize = 20;

/// A path is kept to so many characters.
const MOST_PATH_CHARS: usize = 200;

/// So many wrong credentials, from whatever addresses, within [`STORM_WINDOW`] are a storm.
const STORM: u64 = 200;
const STORM_WINDOW: Duration = Duration::from_secs(300);

/// What waits to be written down.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    book: Mutex<Book>,
    has_news: Notify,
}

#[derive(Debug, Default)]
struct Book {
    refused: HashMap<Kind, Entry>,
    came: BTreeSet<(String, IpAddr)>,
    /// When each client was last noted at an address.
    noted: HashMap<(String, IpAddr), Duration>,
    gave: BTreeSet<String>,
    /// Since when wrong credentials are counted, and how many there were.
    storm: (Duration, u64),
}

/// Requests that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    /// `None`: all addresses for which there was no room.
    household: Option<IpAddr>,
    status: u16,
    word: &'static str,
    client: Option<String>,
}

#[derive(Debug)]
struct Entry {
    /// The first one of those not written down yet, and how many they are.
    waits: Option<Refused>,
    /// When its kind was last written down.
    written: Option<Duration>,
}

/// What is written down together.
#[derive(Debug, Default)]
struct Page {
    refused: Vec<Refused>,
    came: Vec<(String, IpAddr)>,
    gave: BTreeSet<String>,
    /// How many wrong credentials came within the window, where that is a storm.
    storm: Option<u64>,
}

impl Ledger {
    /// Notes how a request was answered, where it was refused for who or whence it was.
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

    /// Notes that a client was let in. Who has nothing but an address has nothing that could be used elsewhere.
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

    /// Notes that a client was given a copy or a guide, which stands in the audit.
    pub(super) fn gave(&self, client: &str) {
        let mut book = self.book();
        if book.gave.len() < MOST_CLIENTS {
            book.gave.insert(client.to_owned());
        }
        drop(book);
        self.has_news.notify_one();
    }

    /// What is to be written down now, and whether something waits for its time.
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

/// Writes down what comes, until the server is told to end.
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

/// Writes down what waits. True: something waits for its time.
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

/// One line each, as far as a log stays readable.
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
