//! Draws the last twelve weeks as a strip of days that age from copper to verdigris.

use std::fmt::Write as _;

use crate::catalog::Holding;
use crate::overview::Day;
use crate::types::counted;

/// Width of a day with the gap after it, width of the gap between weeks, and height, in units of the drawing.
const DAY: usize = 8;
const WEEK_GAP: usize = 4;
const HEIGHT: usize = 28;

/// Draws the strip as SVG.
pub(super) fn draw(days: &[Day]) -> String {
    let mut svg = String::with_capacity(days.len() * 100);
    let width = left_of(days.len()) - WEEK_GAP;
    let _ = write!(
        svg,
        r#"<svg class="strip" viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{}">"#,
        summary(days)
    );
    for (index, day) in days.iter().enumerate() {
        let age_weeks = (days.len() - 1 - index) / 7;
        let (word, text) = words(day.holding);
        let (x, date) = (left_of(index), day.date);
        let _ = write!(svg, r#"<path class="{word} w{age_weeks}" d=""#);
        for (top, height) in parts(day.holding) {
            let _ = write!(svg, "M{x} {top}h6v{height}h-6z");
        }
        let _ = write!(svg, r#""><title>{date}: {text}</title></path>"#);
    }
    svg.push_str("</svg>");
    svg
}

/// Tops and heights of a day's bars: full height, shorter inside an archive, broken in two, or a thin line.
fn parts(holding: Option<Holding>) -> impl Iterator<Item = (usize, usize)> {
    let (one, other) = match holding {
        Some(Holding::Daily) => ((0, HEIGHT), None),
        Some(Holding::Archived | Holding::Unproven) => ((5, HEIGHT - 10), None),
        Some(Holding::Damaged | Holding::Suspect) => ((0, 10), Some((HEIGHT - 10, 10))),
        None => ((HEIGHT / 2 - 1, 2), None),
    };
    std::iter::once(one).chain(other)
}

/// Left edge of a day; a gap follows every seven days.
fn left_of(index: usize) -> usize {
    index * DAY + index / 7 * WEEK_GAP
}

/// Describes the strip in text, for screen readers.
fn summary(days: &[Day]) -> String {
    let count = |holding| days.iter().filter(|day| day.holding == holding).count();
    let mut text = format!(
        "The last {}: {} as daily copies, {} in weekly archives, {} without a copy",
        counted(days.len(), "day"),
        count(Some(Holding::Daily)),
        count(Some(Holding::Archived)),
        count(None),
    );
    for (holding, what) in [
        (Holding::Damaged, "damaged"),
        (Holding::Suspect, "suspect"),
        (Holding::Unproven, "not proven"),
    ] {
        match count(Some(holding)) {
            0 => {}
            found => drop(write!(text, ", {found} {what}")),
        }
    }
    text.push('.');
    text
}

fn words(holding: Option<Holding>) -> (&'static str, &'static str) {
    match holding {
        Some(Holding::Daily) => ("daily", "daily copy"),
        Some(Holding::Archived) => ("archived", "in a weekly archive"),
        Some(Holding::Unproven) => ("unproven", "a copy that is not proven"),
        Some(Holding::Damaged) => ("damaged", "damaged"),
        Some(Holding::Suspect) => ("damaged", "a suspect copy of a damaged source"),
        None => ("none", "no copy"),
    }
}
