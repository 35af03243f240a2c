//! Represents days and ISO weeks.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::Refused;

/// Calendar day in the agent's time zone, written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackupDate(pub NaiveDate);

impl BackupDate {
    /// Returns the day `days` before this one.
    pub fn minus_days(self, days: u64) -> Self {
        Self(
            self.0
                .checked_sub_days(Days::new(days))
                .unwrap_or(NaiveDate::MIN),
        )
    }

    /// Returns the day `days` after this one.
    pub fn plus_days(self, days: u64) -> Self {
        Self(
            self.0
                .checked_add_days(Days::new(days))
                .unwrap_or(NaiveDate::MAX),
        )
    }

    /// Returns the day of the week.
    pub fn weekday(self) -> Weekday {
        self.0.weekday()
    }

    /// Returns the ISO week of this day.
    pub fn week(self) -> IsoWeek {
        let week = self.0.iso_week();
        IsoWeek {
            year: week.year(),
            week: week.week(),
        }
    }
}

impl fmt::Display for BackupDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.format("%Y-%m-%d").to_string())
    }
}

impl FromStr for BackupDate {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        day(text.as_bytes()).map(Self).ok_or_else(|| Refused {
            what: "date",
            value: text.to_owned(),
            rule: "write a day of the calendar as YYYY-MM-DD",
        })
    }
}

/// Parses exactly ten bytes; without general date parsing, because an inventory has hundreds of thousands of dates.
fn day(text: &[u8]) -> Option<NaiveDate> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return None;
    };
    let year = i32::try_from(decimal(&[y1, y2, y3, y4])?).ok()?;
    NaiveDate::from_ymd_opt(year, decimal(&[m1, m2])?, decimal(&[d1, d2])?)
}

/// Parses a few digits; `None` if one is no digit.
pub(super) fn decimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}

super::text_serde!(BackupDate);

/// ISO 8601 week, written `GGGG-Www`: Sunday 2027-01-03 lies in `2026-W53`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IsoWeek {
    year: i32,
    week: u32,
}

impl IsoWeek {
    /// Returns the Monday of the week.
    pub fn first_day(self) -> BackupDate {
        self.day(Weekday::Mon)
    }

    /// Returns the Sunday of the week.
    pub fn last_day(self) -> BackupDate {
        self.day(Weekday::Sun)
    }

    fn day(self, weekday: Weekday) -> BackupDate {
        // Only the last representable week lacks days.
        BackupDate(
            NaiveDate::from_isoywd_opt(self.year, self.week, weekday).unwrap_or(NaiveDate::MAX),
        )
    }
}

impl fmt::Display for IsoWeek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04}-W{:02}", self.year, self.week))
    }
}

impl FromStr for IsoWeek {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let refused = || Refused {
            what: "ISO week",
            value: text.to_owned(),
            rule: "write a week as 2026-W53",
        };
        let (year, week) = text.split_once("-W").ok_or_else(refused)?;
        let parsed = Self {
            year: year.parse().map_err(|_| refused())?,
            week: week.parse().map_err(|_| refused())?,
        };
        let exists = NaiveDate::from_isoywd_opt(parsed.year, parsed.week, Weekday::Mon).is_some();
        if exists && parsed.to_string() == text {
            return Ok(parsed);
        }
        Err(refused())
    }
}

super::text_serde!(IsoWeek);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sunday_of_2027_lies_in_week_53_of_2026() {
        let day: BackupDate = "2027-01-03".parse().unwrap();
        assert_eq!(day.week().to_string(), "2026-W53");
        assert_eq!("2026-W53".parse::<IsoWeek>().unwrap(), day.week());
        assert!("2027-W53".parse::<IsoWeek>().is_err());
    }

    #[test]
    fn a_week_runs_from_monday_to_sunday_across_the_year() {
        let week: IsoWeek = "2026-W53".parse().unwrap();
        assert_eq!(week.first_day().to_string(), "2026-12-28");
        assert_eq!(week.last_day().to_string(), "2027-01-03");
        let mut day = week.first_day().minus_days(800);
        for _ in 0..1600 {
            let week = day.week();
            assert_eq!(week.first_day().plus_days(6), week.last_day());
            assert!(week.first_day() <= day && day <= week.last_day(), "{day}");
            assert_eq!(week.last_day().weekday(), Weekday::Sun);
            day = day.plus_days(1);
        }
    }

    #[test]
    fn only_the_canonical_form_of_a_day_is_read() {
        for bad in [
            "2026-2-3",
            "2026-02-30",
            "20260203",
            "+2026-02-03",
            " 2026-02-03",
            "",
        ] {
            assert!(bad.parse::<BackupDate>().is_err(), "{bad:?}");
        }
    }
}
