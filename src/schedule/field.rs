//! Represents the five fields as bit sets and formats them for the `cron` crate.

/// One of the five fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Month,
        Self::Weekday,
    ];

    /// Name of the field for people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day of month",
            Self::Month => "month",
            Self::Weekday => "weekday",
        }
    }

    /// Lowest and highest value that a person may write.
    pub(super) fn bounds(self) -> (u32, u32) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 7),
        }
    }

    /// Value of a name: `jan`, `January`, `sun`, in any case.
    pub(super) fn named(self, name: &str) -> Option<u32> {
        let lower = name.to_ascii_lowercase();
        let (names, first): (&[&str], u32) = match self {
            Self::Month => (&MONTHS, 1),
            Self::Weekday => (&WEEKDAYS, 0),
            _ => return None,
        };
        (first..)
            .zip(names)
            .find(|(_, full)| lower == **full || lower == full[..3])
            .map(|(value, _)| value)
    }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// One field: bit `n` is set if value `n` matches. Weekday 7 is stored as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set {
    pub(super) bits: u64,
    /// True if the text begins with `*` or `?`, which Vixie's rules depend on.
    pub(super) star: bool,
}

impl Set {
    pub(super) fn has(self, value: u32) -> bool {
        self.bits >> value & 1 == 1
    }

    fn values(self) -> impl Iterator<Item = u32> {
        (0..60).filter(move |value| self.has(*value))
    }

    /// Field in the crate's syntax, each value shifted by `shift`; `*` if all `count` are set.
    fn canonical(self, count: u32, shift: u32) -> String {
        if self.bits.count_ones() == count {
            return "*".to_owned();
        }
        let values: Vec<String> = self.values().map(|v| (v + shift).to_string()).collect();
        values.join(",")
    }
}

/// Fields of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fields {
    pub(super) minute: Set,
    pub(super) hour: Set,
    pub(super) day: Set,
    pub(super) month: Set,
    pub(super) weekday: Set,
}

impl Fields {
    /// True if either day field may match, instead of both: neither begins with a star.
    pub(super) fn either_day(&self) -> bool {
        !self.day.star && !self.weekday.star
    }

    /// True if real minutes count, not the wall clock: minute or hour begins with a star.
    pub(super) fn follows_real_time(&self) -> bool {
        self.minute.star || self.hour.star
    }

    /// Seven-field texts for the crate (Sunday is 1): one, or two of which the earlier match wins.
    pub(super) fn canonical(&self) -> Vec<String> {
        let minute = self.minute.canonical(60, 0);
        let hour = self.hour.canonical(24, 0);
        let day = self.day.canonical(31, 0);
        let month = self.month.canonical(12, 0);
        let weekday = self.weekday.canonical(7, 1);
        if self.either_day() {
            return vec![
                format!("0 {minute} {hour} {day} {month} * *"),
                format!("0 {minute} {hour} * {month} {weekday} *"),
            ];
        }
        vec![format!("0 {minute} {hour} {day} {month} {weekday} *")]
    }

    /// True if some year has a day that matches: 31 February has none.
    pub(super) fn occurs(&self) -> bool {
        const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let day_exists = (1..)
            .zip(LONGEST)
            .filter(|(month, _)| self.month.has(*month))
            .any(|(_, longest)| (1..=longest).any(|day| self.day.has(day)));
        day_exists || self.either_day()
    }
}
