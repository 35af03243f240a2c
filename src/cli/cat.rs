//! `patina cat`: writes the plain SQL of one copy to stdout.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FileType;

use super::address::resolve;
use super::args::CatArgs;
use super::context::{Context, about_stdout, tell};
use super::exit::{Exit, Refusal};
use super::ways::ways_to;
use crate::app;
use crate::copy::{ReadingError, read_copy, read_member};
use crate::progress::Progress;
use crate::types::{counted, either};

/// Runs `patina cat`.
pub(super) async fn run(context: &Context, args: &CatArgs) -> anyhow::Result<Exit> {
    let config = Arc::new(context.load()?.config);
    let catalog = context.catalog(&config)?;
    let copy = resolve(&args.copy, &catalog, &config)?;
    let manifest = copy.manifest();
    let wiring = app::wiring_to_read(config, catalog).await?;
    let ways = ways_to(&copy, &wiring, args.storage.as_deref())?;
    if manifest.is_image() && is_handed_on() {
        tell(format_args!(
            "note: this copy is a database file, not SQL text: `sqlite3` cannot execute it\nhint: keep it, and open it: \
             `patina cat {} > {}.sqlite`",
            manifest.key, manifest.database
        ));
    }
    let (mut troubles, unseen) = (Vec::new(), Arc::<Progress>::default());
    for way in &ways {
        let written = Arc::new(AtomicU64::new(0));
        let (store, sink) = (way.store.as_ref(), to_stdout(Arc::clone(&written)));
        let read = match &way.archive {
            None => read_copy(store, manifest, &unseen, sink).await,
            Some(archive) => {
                let key = &manifest.key;
                read_member(store, &archive.manifest, key, &unseen, sink).await
            }
        };
        let trouble = match read {
            Ok(()) => {
                for trouble in troubles {
                    tell(format_args!("warning: {trouble}"));
                }
                return Ok(Exit::Ok);
            }
            Err(ReadingError::Sink(error)) => return Err(error.into()),
            Err(trouble) => trouble,
        };
        // Text from another storage cannot follow what is written already.
        let written = written.load(Ordering::Relaxed);
        if written > 0 {
            let text = format!(
                "{trouble}\nhint: do not use the {} that {} written; the rest was withheld. \
                 `patina list` shows other copies",
                counted(written, "byte"),
                either(written, "was", "were")
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

/// True if the output goes to a terminal or to another program, not into a file.
fn is_handed_on() -> bool {
    let kind = rustix::fs::fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    io::stdout().is_terminal() || matches!(kind, Ok(FileType::Fifo | FileType::Socket))
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
        // Counted before: a part of the block may have been written on an error.
        written.fetch_add(block.len() as u64, Ordering::Relaxed);
        let mut out = io::stdout().lock();
        let done = out.write_all(block).and_then(|()| out.flush());
        done.map_err(|cause| about_stdout(&cause))
    }
}
