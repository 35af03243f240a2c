//! Parses five-field cron text and macros; every error points into the text.

use super::ScheduleError;
use super::field::{Fields, Kind, Set};

/// Upper bound for the text, longer than a person would write; bounds the work.
const TEXT_BYTES_MAX: usize = 512;

const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Piece of the text with its offset.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    offset: usize,
}

pub(super) fn fields(text: &str) -> Result<Fields, ScheduleError> {
    let words = words(text);
    let whole = Piece { text, offset: 0 };
    let Some(first) = words.first() else {
        return Err(whole.refuse("a schedule is empty").hint(FIVE_FIELDS));
    };
    if text.len() > TEXT_BYTES_MAX {
        return Err(whole.refuse(format!("a schedule is longer than {TEXT_BYTES_MAX} bytes")));
    }
    if first.text.starts_with('@') {
        return expand(*first, words.get(1).copied());
    }
    let fields = five(&words, whole)?;
    if fields.occurs() {
        return Ok(fields);
    }
    let day = words[2];
    let length = words[3].offset + words[3].text.len() - day.offset;
    let dates = Piece {
        text: &text[day.offset..day.offset + length],
        offset: day.offset,
    };
    Err(dates
        .refuse(format!("`{text}` never occurs"))
        .hint("no month it names has such a day"))
}

const FIVE_FIELDS: &str = "write five fields, minute hour day month weekday: `0 3 * * *`";

fn five(words: &[Piece<'_>], whole: Piece<'_>) -> Result<Fields, ScheduleError> {
    if words.len() != 5 {
        let found = words.len();
        let error = whole.refuse(format!("a schedule has five fields, found {found}"));
        return Err(match words {
            [seconds, rest @ ..] if rest.len() == 5 => {
                let rest: Vec<&str> = rest.iter().map(|word| word.text).collect();
                let rest = rest.join(" ");
                seconds
                    .refuse("a schedule has five fields, found 6")
                    .hint(format!("drop the seconds, the first field: `{rest}`"))
            }
            _ => error.hint(FIVE_FIELDS),
        });
    }
    let mut sets = [Set::default(); 5];
    for ((set, kind), word) in sets.iter_mut().zip(Kind::ALL).zip(words) {
        *set = field(*word, kind)?;
    }
    let [minute, hour, day, month, weekday] = sets;
    Ok(Fields {
        minute,
        hour,
        day,
        month,
        weekday,
    })
}

fn expand(name: Piece<'_>, rest: Option<Piece<'_>>) -> Result<Fields, ScheduleError> {
    let lower = name.text.to_ascii_lowercase();
    if lower == "@reboot" {
        return Err(name
            .refuse("`@reboot` is not a time")
            .hint("a missed run is caught up on start: see `catch_up`"));
    }
    if lower == "@every" {
        return Err(name
            .refuse("`@every` is not supported")
            .hint("write the minutes or hours as a step: `*/30 * * * *` or `0 */6 * * *`"));
    }
    let Some((_, text)) = MACROS.iter().find(|(known, _)| *known == lower) else {
        let known: Vec<&str> = MACROS.iter().map(|(known, _)| *known).collect();
        return Err(name
            .refuse(format!("unknown macro `{}`", name.text))
            .hint(format!("use one of {}", known.join(", "))));
    };
    if let Some(rest) = rest {
        return Err(rest
            .refuse(format!("`{}` stands alone", name.text))
            .hint("remove what follows it"));
    }
    five(&words(text), Piece { text, offset: 0 })
}

fn field(word: Piece<'_>, kind: Kind) -> Result<Set, ScheduleError> {
    let mut set = Set {
        bits: 0,
        star: word.text.starts_with(['*', '?']),
    };
    for part in word.split(',') {
        set.bits |= list_item(part, kind)?;
    }
    Ok(set)
}

/// Parses an item of a list: `*`, `?`, `a`, `a-b`, each except the single value with an optional `/step`.
fn list_item(item: Piece<'_>, kind: Kind) -> Result<u64, ScheduleError> {
    let word = kind.word();
    if item.text.is_empty() {
        return Err(item
            .refuse(format!("a value of the {word} field is empty"))
            .hint("remove the extra comma"));
    }
    let (base, step) = match item.text.split_once('/') {
        None => (item, 1),
        Some((base, step)) => {
            let step = item.part(base.len() + 1, step);
            (item.part(0, base), read_step(step, kind)?)
        }
    };
    let has_step = base.text.len() != item.text.len();
    let (low, high) = kind.bounds();
    if base.text == "*" || (base.text == "?" && matches!(kind, Kind::Day | Kind::Weekday)) {
        let high = if kind == Kind::Weekday { 6 } else { high };
        return Ok(steps(low..=high, step));
    }
    if let Some((from, to)) = base.text.split_once('-') {
        let to_piece = base.part(from.len() + 1, to);
        return range(base, base.part(0, from), to_piece, step, kind);
    }
    let from = value(base, kind)?;
    if has_step {
        let high = if kind == Kind::Weekday { 6 } else { high };
        return Err(item
            .refuse(format!("`{}` gives a step without a range", item.text))
            .hint(format!("write `{}-{high}/{step}`", base.text)));
    }
    Ok(1 << fold(from, kind))
}

fn range(
    whole: Piece<'_>,
    from: Piece<'_>,
    to: Piece<'_>,
    step: u32,
    kind: Kind,
) -> Result<u64, ScheduleError> {
    let (first, last) = (value(from, kind)?, value(to, kind)?);
    if first <= last {
        let values = (first..=last).step_by(step as usize);
        return Ok(values.fold(0, |bits, v| bits | 1 << fold(v, kind)));
    }
    if kind == Kind::Weekday {
        // Friday to Monday wraps around the week's end; 7 as a start is Sunday.
        let first = fold(first, kind);
        let last = if last < first { last + 7 } else { last };
        let values = (first..=last).step_by(step as usize);
        return Ok(values.fold(0, |bits, v| bits | 1 << (v % 7)));
    }
    let (low, high) = kind.bounds();
    Err(whole
        .refuse(format!("range `{}` runs backwards", whole.text))
        .hint(format!(
            "write `{}-{high},{low}-{}` or swap the ends",
            from.text, to.text
        )))
}

fn read_step(step: Piece<'_>, kind: Kind) -> Result<u32, ScheduleError> {
    let (low, high) = kind.bounds();
    let longest = high - low;
    let text = step.text;
    number(text)
        .filter(|step| (1..=longest).contains(step))
        .ok_or_else(|| {
            step.refuse(format!("step `{text}` of the {} field", kind.word()))
                .hint(format!("a step is a number from 1 to {longest}"))
        })
}

fn value(piece: Piece<'_>, kind: Kind) -> Result<u32, ScheduleError> {
    let (low, high) = kind.bounds();
    let text = piece.text;
    let value = number(text).or_else(|| kind.named(text));
    value
        .filter(|value| (low..=high).contains(value))
        .ok_or_else(|| {
            let names = match kind {
                Kind::Month => " or a name such as `jan`",
                Kind::Weekday => " or a name such as `mon`",
                _ => "",
            };
            piece
                .refuse(format!("`{text}` is not a {}", kind.word()))
                .hint(format!("use a number from {low} to {high}{names}"))
        })
}

/// Parses a number of one to three digits; signs and blanks are rejected.
fn number(text: &str) -> Option<u32> {
    let plain = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn fold(value: u32, kind: Kind) -> u32 {
    if kind == Kind::Weekday {
        value % 7
    } else {
        value
    }
}

fn steps(values: std::ops::RangeInclusive<u32>, step: u32) -> u64 {
    values
        .step_by(step as usize)
        .fold(0, |bits, value| bits | 1 << value)
}

fn words(text: &str) -> Vec<Piece<'_>> {
    let start = text.as_ptr() as usize;
    text.split_ascii_whitespace()
        .map(|word| Piece {
            text: word,
            offset: word.as_ptr() as usize - start,
        })
        .collect()
}

impl<'a> Piece<'a> {
    fn part(self, at: usize, text: &'a str) -> Self {
        Self {
            text,
            offset: self.offset + at,
        }
    }

    fn split(self, separator: char) -> impl Iterator<Item = Piece<'a>> {
        let mut at = 0;
        self.text.split(separator).map(move |text| {
            let piece = self.part(at, text);
            at += text.len() + separator.len_utf8();
            piece
        })
    }

    fn refuse(self, message: impl Into<String>) -> ScheduleError {
        ScheduleError {
            offset: self.offset,
            length: self.text.len(),
            message: message.into(),
            hint: None,
        }
    }
}

impl ScheduleError {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
