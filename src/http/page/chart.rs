//! Draws a small line chart. Invariant: the vertical axis begins at zero, so that half the size looks like half the
//! size.

use std::fmt::Write as _;

use crate::types::BackupDate;

/// Size of the drawing, in its own units.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 56.0;

/// Free space at the edges, so that the line's width and its last dot are not cut.
const MARGIN: f64 = 4.0;

/// A value on a day.
pub(super) type Sample = (BackupDate, u64);

/// Draws the values from `first` to `last` as SVG; empty if there are fewer than two, which make no line.
pub(super) fn draw(samples: &[Sample], first: BackupDate, last: BackupDate) -> String {
    let days = (last.0 - first.0).num_days().max(1) as f64;
    let highest = samples.iter().map(|sample| sample.1).max().unwrap_or(0);
    let Some((end, _)) = samples
        .split_last()
        .filter(|(_, others)| !others.is_empty())
    else {
        return String::new();
    };
    let place = |&(date, value): &Sample| {
        let passed = (date.0 - first.0).num_days() as f64;
        let part = value as f64 / highest.max(1) as f64;
        let x = MARGIN + passed / days * (WIDTH - 2.0 * MARGIN);
        let y = HEIGHT - MARGIN - part * (HEIGHT - 2.0 * MARGIN);
        (x, y)
    };
    let mut line = String::with_capacity(samples.len() * 12);
    for (x, y) in samples.iter().map(place) {
        let letter = if line.is_empty() { 'M' } else { 'L' };
        let _ = write!(line, "{letter}{x:.1} {y:.1}");
    }
    let (left, _) = place(&samples[0]);
    let (right, y) = place(end);
    let base = HEIGHT - MARGIN;
    format!(
        r#"<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true"><path class="area" d="{line}L{right:.1} {base}L{left:.1} {base}Z"/><path class="line" d="{line}"/><circle class="dot" cx="{right:.1}" cy="{y:.1}" r="3"/></svg>"#
    )
}

/// Returns the last sample of each week, oldest first: few enough to be read aloud.
pub(super) fn weekly<T: Copy>(samples: &[(BackupDate, T)]) -> Vec<(BackupDate, T)> {
    let mut weeks: Vec<(BackupDate, T)> = Vec::new();
    for sample in samples {
        match weeks.last_mut() {
            Some(last) if last.0.week() == sample.0.week() => *last = *sample,
            _ => weeks.push(*sample),
        }
    }
    weeks
}
