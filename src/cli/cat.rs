//! `patina cat`: the plain SQL of one copy on stdout.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::address::resolve;
use super::args::CatArgs;
use super::context::{Context, about_stdout, tell};
use super::exit::{Exit, Refusal};
use super::names::hint_for;
use crate::app;
use crate::catalog::StoredCopy;
use crate::engine::reading::{ReadingError, read_copy};
use crate::progress::Progress;
use crate::store::Store;

/// Runs `patina cat`.
pub(super) async fn run(context: &Context, args: &CatArgs) -> anyhow::Result<Exit> {
    let config = Arc::new(context.load()?.config);
    let catalog = context.catalog(&config)?;
    let copy = resolve(&args.copy, &catalog, &config)?;
    let wiring = app::wiring_to_read(config, catalog).await?;
    let stores = holders(&copy, wiring.stores, args.storage.as_deref())?;
    let (mut troubles, unseen) = (Vec::new(), Arc::<Progress>::default());
    for store in &stores {
        let written = Arc::new(AtomicU64::new(0));
        let read = read_copy(
            store.as_ref(),
            &copy.manifest,
            &unseen,
            to_stdout(Arc::clone(&written)),
        );
        let trouble = match read.await {
            Ok(()) => {
                for trouble in troubles {
                    tell(format_args!("warning: {trouble}"));
                }
                return Ok(Exit::Ok);
            }
            Err(ReadingError::Sink(error)) => return Err(error.into()),
            Err(trouble) => trouble,
        };
        // Another storage's text cannot follow what is written already.
        let written = written.load(Ordering::Relaxed);
        if written > 0 {
            let text = format!(
                "{trouble}\nhint: do not use the {written} bytes that were written; the rest was withheld. \
                 `patina list` shows other copies"
            );
            return Err(refusal(&[trouble], text).into());
        }
        troubles.push(trouble);
    }
    let texts: Vec<String> = troubles.iter().map(ToString::to_string).collect();
    let text = format!(
        "{}\nhint: nothing was written; `patina list` shows other copies",
        texts.join("\nerror: ")
    );
    Err(refusal(&troubles, text).into())
}

fn refusal(troubles: &[ReadingError], text: String) -> Refusal {
    let is_known_bad = |trouble: &ReadingError| {
        matches!(trouble, ReadingError::Damaged(_) | ReadingError::Missing(_))
    };
    match troubles.iter().any(is_known_bad) {
        true => Refusal::damage(text),
        false => Refusal::failed(text),
    }
}

fn to_stdout(written: Arc<AtomicU64>) -> impl FnMut(&[u8]) -> io::Result<()> + Send + 'static {
    move |block| {
        // Counted before: a part of it may be out.
        written.fetch_add(block.len() as u64, Ordering::Relaxed);
        let mut out = io::stdout().lock();
        let done = out.write_all(block).and_then(|()| out.flush());
        done.map_err(|cause| about_stdout(&cause))
    }
}

/// The configured storages that hold the copy, those without known trouble first; or only the one asked for.
fn holders(
    copy: &StoredCopy,
    stores: Vec<Arc<dyn Store>>,
    asked: Option<&str>,
) -> Result<Vec<Arc<dyn Store>>, Refusal> {
    if let Some(asked) = asked.filter(|asked| stores.iter().all(|store| store.name() != *asked)) {
        let hint = hint_for(asked, stores.iter().map(|store| store.name()));
        let text = format!("no storage is called `{asked}`\nhint: {hint}");
        return Err(Refusal::usage(text));
    }
    let holds = |store: &Arc<dyn Store>| {
        let mut placements = copy.placements.iter();
        placements.any(|placement| placement.storage == store.name())
            && asked.is_none_or(|asked| asked == store.name())
    };
    let mut holders: Vec<_> = stores.into_iter().filter(holds).collect();
    let is_live = |name: &str| copy.live().any(|placement| placement.storage == name);
    holders.sort_by_key(|store| !is_live(store.name()));
    if holders.is_empty() {
        let all: Vec<&str> = copy
            .placements
            .iter()
            .map(|placement| placement.storage.as_str())
            .collect();
        let (key, all) = (copy.key(), all.join(", "));
        let who = asked.map_or("no configured storage holds".to_owned(), |asked| {
            format!("storage `{asked}` does not hold")
        });
        let text = format!("{who} `{key}`\nhint: it lies in {all}");
        return Err(Refusal::failed(text));
    }
    Ok(holders)
}
