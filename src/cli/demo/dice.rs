//! Generates the demo's random data. Invariant: the same seed gives the same data.

/// A small generator (SplitMix64, Steele et al. 2014): good enough for plausible data.
pub(super) struct Dice(u64);

const WORDS: [&str; 40] = [
    "autumn", "grove", "lantern", "moss", "river", "copper", "fern", "harbour", "quiet", "ember",
    "willow", "signal", "orchard", "paper", "stone", "thread", "morning", "garden", "window",
    "winter", "acorn", "bridge", "cedar", "drift", "echo", "field", "glade", "hollow", "island",
    "juniper", "kettle", "ledger", "meadow", "north", "olive", "pebble", "quill", "root",
    "shelter", "timber",
];

const EMOJI: [&str; 8] = ["🍂", "🌲", "🦊", "☕", "📚", "✨", "🌧️", "👩‍💻"];

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to `bound` − 1.
    pub(super) fn below(&mut self, bound: u64) -> i64 {
        i64::try_from(self.next() % bound.max(1)).unwrap_or(0)
    }

    /// Returns true about once in `times`.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Returns a fraction from 0 up to 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns one of several values.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.next() % from.len().max(1) as u64;
        from[usize::try_from(at).unwrap_or(0)]
    }

    /// Returns an everyday word.
    pub(super) fn word(&mut self) -> &'static str {
        self.pick(&WORDS)
    }

    /// Returns an emoji.
    pub(super) fn emoji(&mut self) -> &'static str {
        self.pick(&EMOJI)
    }

    /// Returns words with a full stop, now and then with an emoji or an apostrophe.
    pub(super) fn sentence(&mut self, words: usize) -> String {
        let mut text: Vec<String> = (0..words).map(|_| self.word().to_owned()).collect();
        if self.one_in(5) {
            text.push(self.emoji().to_owned());
        }
        if self.one_in(6) {
            text.push("it's".to_owned());
        }
        let text = text.join(" ");
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).chain(['.']).collect()
    }

    /// Returns this number of hexadecimal digits.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.next()));
        }
        text.truncate(digits);
        text
    }

    /// Returns this number of bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Returns a second of the year before the demo's day, 2026-11-22, as Unix time.
    pub(super) fn moment(&mut self) -> i64 {
        const DEMO_DAY: i64 = 1_795_305_600;
        DEMO_DAY - self.below(365 * 86_400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_deals_the_same() {
        let deal = |seed| {
            let mut dice = Dice::new(seed);
            (dice.sentence(9), dice.hex(33), dice.bytes(5), dice.moment())
        };
        assert_eq!(deal(7), deal(7));
        assert_ne!(deal(7), deal(8));
        assert_eq!(deal(7).1.len(), 33);
    }
}
