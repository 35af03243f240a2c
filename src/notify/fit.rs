//! Fits the description of an event into a sink's size limit. Invariant: as long as there is room for a name, no name
//! is left out; the reasons are shortened instead, all to the same bound.

use super::text::clean;
use crate::excerpt;

/// Parts of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// The event; empty if the items say everything.
    pub(super) lead: String,
    /// The items concerned, most important first.
    pub(super) items: Vec<Item>,
    /// The remedy.
    pub(super) hint: Option<String>,
}

/// One of several items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// The name and a short description.
    pub(super) head: String,
    /// Separator between head and reason.
    pub(super) joint: &'static str,
    /// The reason, of any length.
    pub(super) reason: String,
}

/// Text rules of a sink.
pub(super) struct Form {
    /// Escapes text. Monotone: longer text never comes out shorter.
    pub(super) escape: fn(&str) -> String,
    /// Measures text as the sink does.
    pub(super) measure: fn(&str) -> usize,
    /// Largest size that the sink accepts.
    pub(super) most: usize,
    /// Text before each item.
    pub(super) bullet: &'static str,
}

/// Shortest useful reason.
const LEAST_REASON: usize = 16;

/// Fraction of the text (one part in this many) that the lead, if there are items, or the hint may take.
const LEAD_PART: usize = 3;
const HINT_PART: usize = 5;

impl Form {
    /// Composes the text of `parts`, escaped and within the sink's limit.
    pub(super) fn text(&self, parts: &Parts) -> String {
        let hint = self.hint(parts.hint.as_deref());
        let most_lead = match parts.items.is_empty() {
            true => self.most - self.size(&hint),
            false => self.most / LEAD_PART,
        };
        let lead = self.cut(&parts.lead, most_lead);
        let mut heads: Vec<String> = Vec::with_capacity(parts.items.len());
        for item in &parts.items {
            let bullet = (self.escape)(self.bullet);
            let head = self.cut(&one_line(&item.head), self.most / LEAD_PART);
            let line_end = if heads.is_empty() && lead.is_empty() {
                ""
            } else {
                "\n"
            };
            heads.push(format!("{line_end}{bullet}{head}"));
        }
        let (shown, hint) = self.shown(self.size(&lead), &heads, hint);
        let used = self.size(&lead)
            + heads[..shown]
                .iter()
                .map(|head| self.size(head))
                .sum::<usize>();
        let room = self.most - used - self.size(&hint);
        let reasons = self.reasons(&parts.items[..shown], room);
        let lines = heads.into_iter().zip(reasons);
        let lines = lines.flat_map(|(head, reason)| [head, reason]);
        [lead].into_iter().chain(lines).chain([hint]).collect()
    }

    fn hint(&self, hint: Option<&str>) -> String {
        let Some(hint) = hint else {
            return String::new();
        };
        self.cut(&format!("\nhint: {hint}"), self.most / HINT_PART)
    }

    /// Returns the number of items that fit, and the text after them.
    fn shown(&self, before: usize, heads: &[String], hint: String) -> (usize, String) {
        let mut sizes = heads.iter().map(|head| self.size(head));
        let all = before + sizes.clone().sum::<usize>();
        if all + self.size(&hint) <= self.most {
            return (heads.len(), hint);
        }
        if all <= self.most {
            return (heads.len(), String::new());
        }
        // The number only loses digits from here on.
        let room = self.most - self.size(&self.more(heads.len()));
        let mut used = before;
        let fitting = sizes.by_ref().take_while(|size| {
            used += size;
            used <= room
        });
        let shown = fitting.count();
        (shown, self.more(heads.len() - shown))
    }

    fn more(&self, count: usize) -> String {
        let text =
            format!("\nand {count} more\nhint: the dashboard and the log of this host name all");
        (self.escape)(&text)
    }

    /// Returns the reasons, shortened so that all fit into `room`: short ones stay complete, and their unused room goes
    /// to the longer ones.
    fn reasons(&self, items: &[Item], room: usize) -> Vec<String> {
        let reasons = items
            .iter()
            .map(|item| (item.joint, one_line(&item.reason)));
        let all: Vec<(&str, String)> = reasons.collect();
        let whole = |(joint, reason): &(&str, String)| match reason.is_empty() {
            true => 0,
            false => self.size(joint) + self.size(&(self.escape)(reason)),
        };
        let sizes: Vec<usize> = all.iter().map(whole).collect();
        let mut sorted = sizes.clone();
        sorted.sort_unstable();
        let (mut left, mut share) = (room, usize::MAX);
        for (at, size) in sorted.iter().enumerate() {
            let equal = left / (sorted.len() - at);
            if *size > equal {
                share = equal;
                break;
            }
            left -= size;
        }
        let cut = |((joint, reason), size): ((&str, String), usize)| match size {
            0 => String::new(),
            size if size > share && share < LEAST_REASON => String::new(),
            size => {
                let most = size.min(share) - self.size(joint);
                format!("{joint}{}", self.cut(&reason, most))
            }
        };
        all.into_iter().zip(sizes).map(cut).collect()
    }

    /// Escapes text and limits its escaped size: cutting escaped text could separate a character from its escape.
    fn cut(&self, text: &str, most: usize) -> String {
        let kept = excerpt::cut(text, most, |text| self.size(&(self.escape)(text)));
        (self.escape)(&kept)
    }

    fn size(&self, text: &str) -> usize {
        (self.measure)(text)
    }
}

/// Removes line ends, which would make one item look like two.
fn one_line(text: &str) -> String {
    clean(text)
        .split('\n')
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::{discord, slack, units};
    use super::*;

    fn forms() -> [Form; 3] {
        let form = |escape, measure: fn(&str) -> usize, most| Form {
            escape,
            measure,
            most,
            bullet: "",
        };
        [
            form(discord, units, 4096),
            form(slack, units, 8000),
            form(clean, str::len, 4096),
        ]
    }

    fn ten(reason: impl Fn(usize) -> String) -> Parts {
        let item = |n| Item {
            head: format!("`m{n:02}`"),
            joint: ": ",
            reason: reason(n),
        };
        Parts {
            lead: "10 of 10 databases failed".to_owned(),
            items: (0..10).map(item).collect(),
            hint: None,
        }
    }

    #[test]
    fn ten_failures_fit_whatever_length_their_reasons_have() {
        for form in forms() {
            for length in [0, 1, 300, 400, 500, 5_000, 50_000] {
                let text = form.text(&ten(|n| format!("{n} is{}", " 長い*".repeat(length))));
                assert!(form.size(&text) <= form.most);
                for n in 0..10 {
                    let name = (form.escape)(&format!("`m{n:02}`: {n} is"));
                    assert!(text.contains(&name), "{name} of {length}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_short_reason_is_left_as_it_is_and_the_long_ones_share_the_rest() {
        let [form, ..] = forms();
        let text = form.text(&ten(|n| match n {
            3 | 7 => "x".repeat(100_000),
            n => format!("reason {n} as it is"),
        }));
        let lengths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lengths[4], lengths[8]);
        assert!(lengths[4] > 1_800, "{lengths:?}");
        assert!(text.contains("reason 9 as it is"));
        assert!(units(&text) > 4090);
    }

    #[test]
    fn of_very_many_as_many_are_named_as_fit_and_the_rest_is_counted() {
        for form in forms() {
            let item = |n| Item {
                head: format!("`database-number-{n:04}`"),
                joint: ": ",
                reason: "r".repeat(500),
            };
            let parts = Parts {
                items: (0..1_000).map(item).collect(),
                ..ten(|_| String::new())
            };
            let text = form.text(&parts);
            assert!(form.size(&text) <= form.most && form.size(&text) > form.most - 60);
            let named = text.matches("database-number-").count();
            assert!(named > 100, "{named}");
            assert!(
                text.contains(&format!("\nand {} more\nhint: ", 1_000 - named)),
                "{text}"
            );
        }
    }

    #[test]
    fn without_items_the_way_out_survives_a_long_text() {
        let [form, ..] = forms();
        let parts = Parts {
            lead: "long ".repeat(5_000),
            hint: Some("look".to_owned()),
            ..Parts::default()
        };
        let text = form.text(&parts);
        assert!(text.ends_with("…\nhint: look") && units(&text) <= 4096);
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_the_sink_takes(
            lead in "\\PC{0,80}",
            items in proptest::collection::vec(("\\PC{0,30}", "\\PC{0,120}"), 0..12),
            hint in proptest::option::of("\\PC{0,90}"),
            most in 150_usize..400,
        ) {
            let items = items.into_iter().map(|(head, reason)| Item { head, joint: ": ", reason }).collect();
            let parts = Parts { lead, items, hint };
            for form in forms() {
                let form = Form { most, ..form };
                prop_assert!(form.size(&form.text(&parts)) <= most);
            }
        }
    }
}
