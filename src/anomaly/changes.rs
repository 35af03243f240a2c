//! Compares a copy with the one before it, so that a difference is reported once, not every night.

use crate::types::{Exception, ExceptionKind, Manifest};

/// Differences of a copy from the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Form of the copy with its reason, if the previous copy had another form or another reason.
    pub form: Option<String>,
    /// True if there is a previous copy, and it had another form or another reason.
    pub is_switch: bool,
    /// Exceptions that the previous copy did not have.
    pub new_exceptions: Vec<Exception>,
    /// Number of exceptions that the previous copy also had.
    pub known_exceptions: usize,
}

/// Differences of `current` from `previous`, the copy before it, if any. Missing rows of tables that `skip_data` names
/// are left out, because they are intended.
pub fn changes(current: &Manifest, previous: Option<&Manifest>, skip_data: &[String]) -> Changes {
    let known = previous.map_or(&[][..], |previous| &previous.exceptions);
    let is_known = |exception: &&Exception| known.iter().any(|other| is_same(other, exception));
    let is_wanted = |exception: &&Exception| {
        let mut skipped = skip_data.iter();
        exception.kind == ExceptionKind::Rows
            && skipped.any(|name| name.eq_ignore_ascii_case(&exception.object))
    };
    let told = current.exceptions.iter().filter(|one| !is_wanted(one));
    let (old, new): (Vec<&Exception>, Vec<&Exception>) = told.partition(is_known);
    let form = form_change(current, previous);
    Changes {
        is_switch: form.is_some() && previous.is_some(),
        form,
        new_exceptions: new.into_iter().cloned().collect(),
        known_exceptions: old.len(),
    }
}

/// Description of the form, if it differs from the previous one; a first copy as SQL text is expected and gives none.
fn form_change(current: &Manifest, previous: Option<&Manifest>) -> Option<String> {
    let why = current.source.method_reason.as_deref();
    let text = match (current.is_image(), why) {
        (true, Some(why)) => format!("the copy is an image: {why}"),
        (true, None) => "the copy is an image".to_owned(),
        (false, _) => "the copy is SQL text again".to_owned(),
    };
    let is_as_before = match previous {
        None => !current.is_image(),
        Some(previous) => {
            let before = previous.source.method_reason.as_deref();
            let same_reason = gist(before.unwrap_or("")) == gist(why.unwrap_or(""));
            previous.is_image() == current.is_image() && (same_reason || !current.is_image())
        }
    };
    (!is_as_before).then_some(text)
}

fn is_same(one: &Exception, other: &Exception) -> bool {
    (&one.object, one.kind) == (&other.object, other.kind)
        && gist(&one.reason) == gist(&other.reason)
}

/// Words of a text without those that may change every night: counts, row numbers, file names with a job's id.
fn gist(text: &str) -> Vec<&str> {
    let words = text.split_whitespace();
    words
        .filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(reason: &str) -> Exception {
        Exception {
            object: "notes".to_owned(),
            kind: ExceptionKind::Rows,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn a_reason_with_other_numbers_and_files_is_the_same_reason() {
        let one = exception("12 rows break a CHECK, see /spool/3f2a-91.scratch");
        let other = exception("13 rows break a CHECK, see /spool/77b1-04.scratch");
        assert!(is_same(&one, &other));
        assert!(!is_same(
            &one,
            &exception("12 rows break a UNIQUE, see /spool/3f2a-91.scratch")
        ));
        let values = Exception {
            kind: ExceptionKind::Values,
            ..one.clone()
        };
        assert!(!is_same(&one, &values));
    }
}
