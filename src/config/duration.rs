//! Formats durations as a person types them.

use std::time::Duration;

/// Formats a duration in its largest whole unit: `8d`, `26h`, `90s`, `1500ms`.
pub fn duration_text(duration: Duration) -> String {
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    units
        .iter()
        .find(|(_, size)| millis.is_multiple_of(*size))
        .map_or(format!("{millis}ms"), |(unit, size)| {
            format!("{}{unit}", millis / size)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit() {
        for (millis, text) in [
            (0, "0s"),
            (1500, "1500ms"),
            (90_000, "90s"),
            (93_600_000, "26h"),
            (691_200_000, "8d"),
        ] {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
    }
}
