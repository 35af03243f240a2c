//! Shows how a job comes along: bars on a terminal, a few lines elsewhere. Invariant: stdout is never touched.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::context::{Context, tell};
use crate::progress::{Board, Progress, Reading, Stage};
use crate::types::{ByteCount, DatabaseName, counted, share};

/// Between two looks at the counters.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Between two lines about a stage that takes long, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// A bar has so many steps.
const STEPS: u64 = 1000;

/// A rate over less than this is a guess.
const LEAST_FOR_RATE: Duration = Duration::from_millis(500);

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Does `work`, which writes to stderr, while no bar is in its way.
pub(super) fn aside<T>(work: impl FnOnce() -> T) -> T {
    BARS.suspend(work)
}

/// A bar over so many bytes, which follows `progress`; where there is no terminal nobody sees it.
pub(super) struct ByteMeter {
    pub(super) progress: Arc<Progress>,
    end: CancellationToken,
    watcher: Option<JoinHandle<()>>,
}

impl ByteMeter {
    /// Starts to show how much of `total_bytes` is done.
    pub(super) fn start(context: &Context, total_bytes: u64) -> Self {
        let progress = Arc::<Progress>::default();
        let end = CancellationToken::new();
        let is_seen = !context.quiet && io::stderr().is_terminal();
        let watcher = is_seen.then(|| {
            let (progress, end) = (Arc::clone(&progress), end.clone());
            let bar = byte_bar(total_bytes);
            tokio::spawn(async move {
                while !end.is_cancelled() {
                    bar.set_position(progress.read().bytes);
                    tokio::select! {
                        () = end.cancelled() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
                bar.finish_and_clear();
            })
        });
        Self {
            progress,
            end,
            watcher,
        }
    }

    /// Takes the bar away.
    pub(super) async fn stop(self) {
        self.end.cancel();
        if let Some(watcher) = self.watcher {
            // It cannot fail but by a panic, which told itself.
            let _ = watcher.await;
        }
    }
}

fn byte_bar(total_bytes: u64) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(total_bytes));
    let template = "{bar:24} {done} of {all}, {rate}/s, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        // One way to write sizes everywhere; indicatif's own differs.
        bar.set_style(
            style
                .with_key("done", |state: &ProgressState, out: &mut dyn Write| {
                    let _ = write!(out, "{}", ByteCount(state.pos()));
                })
                .with_key("all", |state: &ProgressState, out: &mut dyn Write| {
                    let _ = write!(out, "{}", ByteCount(state.len().unwrap_or_default()));
                })
                .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                    let _ = write!(out, "{}", ByteCount(state.per_sec() as u64));
                }),
        );
    }
    bar
}

/// Watches a board until it is told to end.
pub(super) struct Meter {
    end: CancellationToken,
    watcher: Option<JoinHandle<()>>,
}

impl Meter {
    /// Starts to show `board`, in the way that fits stderr.
    pub(super) fn start(context: &Context, board: Arc<Board>) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let end = CancellationToken::new();
        let is_silent = context.quiet || context.json && !is_terminal;
        let watcher = (!is_silent).then(|| {
            let end = end.clone();
            tokio::spawn(async move {
                let mut view = match is_terminal {
                    true => View::Bars(HashMap::new()),
                    false => View::Lines,
                };
                let mut watch = Watch::default();
                while !end.is_cancelled() {
                    watch.look(&board, &mut view);
                    tokio::select! {
                        () = end.cancelled() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
                watch.look(&board, &mut view);
                view.clear();
            })
        });
        Self { end, watcher }
    }

    /// Shows the last state and stops.
    pub(super) async fn stop(self) {
        self.end.cancel();
        if let Some(watcher) = self.watcher {
            // It cannot fail but by a panic, which told itself.
            let _ = watcher.await;
        }
    }
}

/// What was seen at the last look.
#[derive(Default)]
struct Watch {
    seen: HashMap<DatabaseName, Seen>,
}

struct Seen {
    stage: Stage,
    since: Instant,
    told: Instant,
}

impl Watch {
    fn look(&mut self, board: &Board, view: &mut View) {
        let now = Instant::now();
        for (name, progress) in board.iter() {
            let reading = progress.read();
            let seen = self.seen.entry(name.clone()).or_insert(Seen {
                stage: Stage::Waiting,
                since: now,
                told: now,
            });
            let is_new = seen.stage != reading.stage;
            if is_new {
                seen.stage = reading.stage;
                seen.since = now;
            }
            match view {
                View::Bars(bars) => show_bar(bars, name, &reading, now - seen.since),
                View::Lines if is_new => {
                    seen.told = now;
                    tell(format_args!("{name}: {}", beginning(&reading)));
                }
                View::Lines if in_work(reading.stage) && now - seen.told >= LINE_EVERY => {
                    seen.told = now;
                    tell(format_args!("{name}: {}", text(&reading, now - seen.since)));
                }
                View::Lines => {}
            }
        }
    }
}

enum View {
    Bars(HashMap<DatabaseName, ProgressBar>),
    Lines,
}

impl View {
    fn clear(&mut self) {
        if let Self::Bars(bars) = self {
            bars.values().for_each(ProgressBar::finish_and_clear);
        }
    }
}

fn show_bar(
    bars: &mut HashMap<DatabaseName, ProgressBar>,
    name: &DatabaseName,
    reading: &Reading,
    elapsed: Duration,
) {
    let bar = bars.entry(name.clone()).or_insert_with(|| {
        let bar = BARS.add(ProgressBar::new(STEPS));
        if let Ok(style) = ProgressStyle::with_template("{prefix:24} {bar:20} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_string());
        bar
    });
    let part = reading.fraction().unwrap_or(0.0);
    bar.set_position((part * STEPS as f64) as u64);
    bar.set_message(text(reading, elapsed));
}

fn in_work(stage: Stage) -> bool {
    !matches!(stage, Stage::Waiting | Stage::Ended)
}

/// What begins, and how much of it there is.
fn beginning(reading: &Reading) -> String {
    let word = reading.stage.word();
    match reading.stage {
        Stage::Waiting => word.to_owned(),
        // Whether well or not, the report tells.
        Stage::Ended => format!("ended after {}", counted(reading.rows, "row")),
        Stage::Export if reading.total_rows > 0 => {
            format!("{word} {}", counted(reading.total_rows, "row"))
        }
        Stage::Export => word.to_owned(),
        Stage::Drill | Stage::Store => format!("{word} {}", ByteCount(reading.total_bytes)),
    }
}

/// One reading in words; `elapsed` is the time in this stage.
fn text(reading: &Reading, elapsed: Duration) -> String {
    let bytes = ByteCount(reading.bytes);
    let mut text = match reading.stage {
        Stage::Waiting | Stage::Ended => return beginning(reading),
        Stage::Export if reading.total_rows > 0 => {
            let rows = share(reading.rows, reading.total_rows, "row");
            format!("exporting {rows}, {bytes}")
        }
        Stage::Export if reading.bytes == 0 => beginning(reading),
        Stage::Export => format!("exporting, {bytes}"),
        Stage::Drill | Stage::Store => {
            let (word, total) = (reading.stage.word(), ByteCount(reading.total_bytes));
            format!("{word} {bytes} of {total}")
        }
    };
    if elapsed >= LEAST_FOR_RATE && reading.bytes > 0 {
        let rate = ByteCount((reading.bytes as f64 / elapsed.as_secs_f64()) as u64);
        text.push_str(&format!(", {rate}/s"));
        if let Some(part) = reading.fraction().filter(|part| *part > 0.0) {
            let left = elapsed.as_secs_f64() * (1.0 - part) / part;
            let left = Duration::from_secs(left as u64);
            text.push_str(&format!(", {} left", humantime::format_duration(left)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(stage: Stage) -> Reading {
        Reading {
            stage,
            rows: 1500,
            total_rows: 6000,
            bytes: 3 << 20,
            total_bytes: 4 << 20,
        }
    }

    #[test]
    fn an_export_tells_rows_bytes_rate_and_time_left() {
        let text = |stage, seconds| text(&reading(stage), Duration::from_secs(seconds));
        assert_eq!(
            text(Stage::Export, 3),
            "exporting 1,500 of 6,000 rows, 3.0 MB, 1.0 MB/s, 9s left"
        );
        assert_eq!(
            text(Stage::Drill, 3),
            "proving 3.0 MB of 4.0 MB, 1.0 MB/s, 1s left"
        );
        assert_eq!(
            text(Stage::Export, 0),
            "exporting 1,500 of 6,000 rows, 3.0 MB"
        );
        assert_eq!(text(Stage::Ended, 3), "ended after 1,500 rows");
    }

    #[test]
    fn a_line_tells_what_begins_and_how_much_it_is() {
        let line = |stage| beginning(&reading(stage));
        assert_eq!(line(Stage::Export), "exporting 6,000 rows");
        assert_eq!(line(Stage::Store), "storing 4.0 MB");
        assert_eq!(line(Stage::Ended), "ended after 1,500 rows");
    }
}
