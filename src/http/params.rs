//! Parses query parameters. Invariant: an unknown or repeated name is refused.

use std::str::FromStr;

use super::answer::Refusal;
use crate::quote;

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Parses a query whose names are among `known`.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in Self::pairs(query.unwrap_or_default()) {
            if !known.contains(&name.as_str()) {
                let known = match known {
                    [] => "none".to_owned(),
                    names => names.join(", "),
                };
                let message = format!("there is no parameter `{}`; known: {known}", shown(&name));
                return Err(Refusal::bad(message));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Refusal::bad(format!("`{name}` is given twice")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Returns the parsed value of a parameter; `None` if it is absent.
    pub(super) fn get<T: FromStr>(&self, name: &str, rule: &str) -> Result<Option<T>, Refusal> {
        let Some((_, text)) = self.0.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        let refused = |_| Refusal::bad(format!("`{name}` cannot be `{}`: {rule}", shown(text)));
        text.parse().map(Some).map_err(refused)
    }

    /// Returns the decoded names and values; invalid UTF-8 is replaced.
    pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            let bytes = urlencoding::decode_binary(text.as_bytes()).into_owned();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(move |part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                (decoded(name), decoded(value))
            })
    }
}

/// Shortens a client's own text for a response, without hidden characters.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let plain = text
        .chars()
        .filter(|character| !quote::is_hidden(*character));
    plain.take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_strange_or_doubled_ones_refused() {
        let known = ["database", "limit"];
        let params = Params::read(Some("database=a%2Db&limit=7&"), &known).unwrap();
        assert_eq!(params.get("database", "").unwrap(), Some("a-b".to_owned()));
        assert_eq!(params.get::<usize>("limit", "").unwrap(), Some(7));
        assert_eq!(params.get::<usize>("after", "").unwrap(), None);
        assert!(params.get::<usize>("database", "").is_err());
        for bad in ["databse=x", "limit=1&limit=1", "=1"] {
            assert!(Params::read(Some(bad), &known).is_err(), "{bad}");
        }
    }
}
