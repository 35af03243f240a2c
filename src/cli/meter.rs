//! Shows the progress of a job: bars on a terminal, a few lines elsewhere. Invariant: stdout is never used.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::context::{Context, tell};
use crate::daemon::wish::Watched;
use crate::progress::{Board, Progress, Reading, Stage};
use crate::types::{ByteCount, DatabaseName, counted, grouped, share};

/// Interval of reading the counters.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Interval between two summary lines without a terminal, while a person may still be watching.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// Interval between two summary lines of a long job.
const LATER_LINE_EVERY: Duration = Duration::from_secs(30);

/// Time after which a job counts as long.
const LONG: Duration = Duration::from_secs(60);

/// Number of running databases named in a line.
const MOST_NAMED: usize = 3;

/// Number of steps of a bar.
const STEPS: u64 = 1000;

/// Shortest time for computing a rate.
const LEAST_FOR_RATE: Duration = Duration::from_millis(500);

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Runs `work`, which writes to stderr, while the bars are hidden.
pub(super) fn aside<T>(work: impl FnOnce() -> T) -> T {
    BARS.suspend(work)
}

/// A bar over a number of bytes, which follows `progress`; without a terminal it is not shown.
pub(super) struct ByteMeter {
    pub(super) progress: Arc<Progress>,
    end: CancellationToken,
    watcher: Option<JoinHandle<()>>,
}

impl ByteMeter {
    /// Starts to show progress towards `total_bytes`.
    pub(super) fn start(context: &Context, total_bytes: u64) -> Self {
        Self::follow(context, Arc::default(), total_bytes)
    }

    /// Starts to show progress that is counted elsewhere.
    fn follow(context: &Context, progress: Arc<Progress>, total_bytes: u64) -> Self {
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

    /// Removes the bar.
    pub(super) async fn stop(self) {
        self.end.cancel();
        if let Some(watcher) = self.watcher {
            // This fails only after a panic, which was reported.
            let _ = watcher.await;
        }
    }
}

/// Shows the counters of work that is done elsewhere: in this process or in the daemon.
pub(super) struct Screen {
    context: Context,
    shown: Mutex<Vec<Either>>,
}

enum Either {
    Board(Meter),
    Bytes(ByteMeter),
}

impl Screen {
    /// Creates a screen that shows nothing yet.
    pub(super) fn new(context: &Context) -> Self {
        Self {
            context: context.with_config(context.config.clone()),
            shown: Mutex::default(),
        }
    }

    /// Starts to show these counters.
    pub(super) fn show(&self, watched: Watched) {
        let new = match watched {
            Watched::Board(board) => Either::Board(Meter::start(&self.context, board)),
            Watched::Bytes(progress, total_bytes) => {
                Either::Bytes(ByteMeter::follow(&self.context, progress, total_bytes))
            }
        };
        self.with(|shown| shown.push(new));
    }

    /// Shows the last state and stops.
    pub(super) async fn stop(&self) {
        for meter in self.with(std::mem::take) {
            match meter {
                Either::Board(meter) => meter.stop().await,
                Either::Bytes(meter) => meter.stop().await,
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Either>) -> T) -> T {
        work(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn byte_bar(total_bytes: u64) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(total_bytes));
    let template = "{bar:24} {done} of {all}, {rate}/s, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        // Sizes have one format everywhere; that of indicatif differs.
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

/// Watches a board until it is stopped.
pub(super) struct Meter {
    end: CancellationToken,
    watcher: Option<JoinHandle<()>>,
}

impl Meter {
    /// Starts to show `board`, in the way that suits stderr.
    pub(super) fn start(context: &Context, board: Arc<Board>) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let end = CancellationToken::new();
        let is_silent = context.quiet || context.json && !is_terminal;
        let watcher = (!is_silent).then(|| {
            let end = end.clone();
            tokio::spawn(async move {
                let mut view = match is_terminal {
                    true => View::Bars(Bars::default()),
                    false => View::Lines(Lines::new(Instant::now())),
                };
                while !end.is_cancelled() {
                    view.look(&board);
                    tokio::select! {
                        () = end.cancelled() => {}
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
                view.end(&board);
            })
        });
        Self { end, watcher }
    }

    /// Shows the last state and stops.
    pub(super) async fn stop(self) {
        self.end.cancel();
        if let Some(watcher) = self.watcher {
            // This fails only after a panic, which was reported.
            let _ = watcher.await;
        }
    }
}

enum View {
    Bars(Bars),
    Lines(Lines),
}

impl View {
    fn look(&mut self, board: &Board) {
        match self {
            Self::Bars(bars) => bars.look(board),
            Self::Lines(lines) => {
                if let Some(line) = lines.due(board, Instant::now()) {
                    tell(line);
                }
            }
        }
    }

    fn end(&mut self, board: &Board) {
        if let Self::Bars(bars) = self {
            bars.look(board);
            bars.shown.values().for_each(ProgressBar::finish_and_clear);
        }
    }
}

/// A bar for each database.
#[derive(Default)]
struct Bars {
    shown: HashMap<DatabaseName, ProgressBar>,
    stages: HashMap<DatabaseName, (Stage, Instant)>,
}

impl Bars {
    fn look(&mut self, board: &Board) {
        let now = Instant::now();
        for (name, progress) in board.iter() {
            let reading = progress.read();
            let seen = self.stages.entry(name.clone());
            let (stage, since) = seen.or_insert((Stage::Waiting, now));
            if *stage != reading.stage {
                (*stage, *since) = (reading.stage, now);
            }
            show_bar(&mut self.shown, name, &reading, now - *since);
        }
    }
}

/// Summary lines about all databases at intervals: separate lines of thousands would hide what needs attention.
struct Lines {
    began: Instant,
    told_at: Instant,
    told: String,
}

impl Lines {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            told_at: now,
            told: String::new(),
        }
    }

    /// Returns the line that is due; `None` if it is too early, or nothing changed.
    fn due(&mut self, board: &Board, now: Instant) -> Option<String> {
        let every = match now - self.began < LONG {
            true => LINE_EVERY,
            false => LATER_LINE_EVERY,
        };
        if now - self.told_at < every {
            return None;
        }
        let line = sum(board);
        if line == self.told {
            return None;
        }
        (self.told_at, self.told) = (now, line.clone());
        Some(line)
    }
}

/// Returns the state of all databases of a job, in one line.
fn sum(board: &Board) -> String {
    let readings: Vec<(&DatabaseName, Reading)> = board
        .iter()
        .map(|(name, progress)| (name, progress.read()))
        .collect();
    let count = |stage| {
        let of_stage = readings
            .iter()
            .filter(|(_, reading)| reading.stage == stage);
        of_stage.count()
    };
    let (ended, waiting) = (count(Stage::Ended), count(Stage::Waiting));
    let at_work = readings
        .iter()
        .filter(|(_, reading)| in_work(reading.stage));
    let named = at_work
        .take(MOST_NAMED)
        .map(|(name, reading)| format!("{name}: {}", text(reading, Duration::ZERO)));
    let named = named.collect::<Vec<_>>().join("; ");
    let working = readings.len() - ended - waiting;
    let more = match working.saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!("; {more} more"),
    };
    let working = match working {
        0 => String::new(),
        _ => format!(", {working} at work ({named}{more})"),
    };
    format!(
        "{} of {} done{working}",
        grouped(ended as u64),
        counted(readings.len() as u64, "database")
    )
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

/// Describes the stage that begins, and its size.
fn beginning(reading: &Reading) -> String {
    let word = reading.stage.word();
    match reading.stage {
        Stage::Waiting => word.to_owned(),
        // The report shows if it succeeded.
        Stage::Ended => format!("ended after {}", counted(reading.rows, "row")),
        Stage::Export if reading.total_rows > 0 => {
            format!("{word} {}", counted(reading.total_rows, "row"))
        }
        Stage::Export => word.to_owned(),
        Stage::Drill | Stage::Store => format!("{word} {}", ByteCount(reading.total_bytes)),
    }
}

/// Formats one reading; `elapsed` is the time in this stage.
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
    fn without_a_terminal_two_thousand_databases_are_one_line_from_time_to_time() {
        let names: Vec<DatabaseName> = (0..2000)
            .map(|number| format!("db-{number}").parse().unwrap())
            .collect();
        let board = Board::new(&names);
        for (number, (_, progress)) in board.iter().enumerate() {
            match number {
                0..1200 => progress.enter(Stage::Ended, 0),
                1200..1204 => progress.enter(Stage::Store, 1 << 20),
                _ => {}
            }
        }
        let began = Instant::now();
        let mut lines = Lines::new(began);
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(lines.due(&board, after(1)), None);
        assert_eq!(
            lines.due(&board, after(5)).unwrap(),
            "1,200 of 2,000 databases done, 4 at work (db-1200: storing 0 B of 1.0 MB; db-1201: storing 0 B of 1.0 MB; \
             db-1202: storing 0 B of 1.0 MB; 1 more)"
        );
        // No line is due, since nothing changed.
        assert_eq!(lines.due(&board, after(30)), None);
        board.of(&names[1204]).enter(Stage::Ended, 0);
        assert!(lines.due(&board, after(31)).is_some());
        board.of(&names[1205]).enter(Stage::Ended, 0);
        assert_eq!(lines.due(&board, after(60)), None);
        assert!(lines.due(&board, after(61)).is_some());
    }

    #[test]
    fn a_line_tells_what_begins_and_how_much_it_is() {
        let line = |stage| beginning(&reading(stage));
        assert_eq!(line(Stage::Export), "exporting 6,000 rows");
        assert_eq!(line(Stage::Store), "storing 4.0 MB");
        assert_eq!(line(Stage::Ended), "ended after 1,500 rows");
    }
}
