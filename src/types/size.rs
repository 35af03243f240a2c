//! Formats byte counts and numbers for people.

use std::fmt;

/// Number of bytes. `Display` rounds for people (`212 KB`), as the specification's API does: 1 KB is 1,024 bytes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1023.95 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = usize::from(value < 9.95 || unit > 0 && value < 99.95);
        f.pad(&format!("{value:.digits$} {}", UNITS[unit]))
    }
}

/// Formats a whole number with a comma between groups of three digits: `1,234`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number with its unit in singular or plural: `1 table`, `1,234 tables`, `2 daily copies`. Every message
/// with a count uses it.
pub fn counted(count: impl TryInto<u64>, unit: &str) -> String {
    match whole(count) {
        1 => format!("1 {unit}"),
        count => format!("{} {}", grouped(count), plural(unit)),
    }
}

/// Formats a part of a total: `1 of 1 database`, `2 of 6 databases`.
pub fn share(part: impl TryInto<u64>, all: impl TryInto<u64>, unit: &str) -> String {
    format!("{} of {}", grouped(whole(part)), counted(all, unit))
}

/// Returns `one` for a count of 1, else `many`: `either(1, "is", "are")`.
pub fn either<'a>(count: impl TryInto<u64>, one: &'a str, many: &'a str) -> &'a str {
    match whole(count) {
        1 => one,
        _ => many,
    }
}

/// Converts a count; one beyond `u64` becomes `u64::MAX`.
fn whole(count: impl TryInto<u64>) -> u64 {
    count.try_into().unwrap_or(u64::MAX)
}

/// Plural of a unit, by the rules of the words that are used here.
fn plural(unit: &str) -> String {
    let consonant_before_y = unit
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    match consonant_before_y {
        Some(stem) => format!("{stem}ies"),
        None if unit.ends_with('s') || unit.ends_with('x') || unit.ends_with("ch") => {
            format!("{unit}es")
        }
        None => format!("{unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_words_agree_with_what_they_count() {
        assert_eq!(counted(1_usize, "daily copy"), "1 daily copy");
        assert_eq!(counted(2_u32, "daily copy"), "2 daily copies");
        assert_eq!(counted(0, "day"), "0 days");
        assert_eq!(counted(1_200, "index"), "1,200 indexes");
        assert_eq!(counted(2, "entry"), "2 entries");
        assert_eq!(counted(3, "switch"), "3 switches");
        assert_eq!(share(1, 1, "database"), "1 of 1 database");
        assert_eq!(share(0, 6, "database"), "0 of 6 databases");
        let verbs = [0, 1, 2].map(|count| either(count, "is", "are"));
        assert_eq!(verbs, ["are", "is", "are"]);
    }

    #[test]
    fn one_thing_is_not_things() {
        let counts = [0, 1, 2, 1_234].map(|count| counted(count, "table"));
        assert_eq!(counts, ["0 tables", "1 table", "2 tables", "1,234 tables"]);
    }

    #[test]
    fn sizes_read_as_the_spec_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            (212 * 1024, "212 KB"),
            (2_202_010, "2.1 MB"),
            (26_424_115, "25.2 MB"),
            (1 << 30, "1.0 GB"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1234, "1,234"),
            (212_992, "212,992"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
