//! Builds the arguments of a trial call.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::args::HookRunArgs;
use crate::cli::exit::Refusal;
use crate::config::read_text;
use crate::hook::{HookName, sample};

/// Returns the arguments of the hook: from a file, from sizes, else samples.
pub(super) fn arguments(hook: HookName, args: &HookRunArgs) -> Result<Vec<Value>, Refusal> {
    let mut arguments = samples(hook);
    if hook == HookName::CheckSize {
        if let Some(current) = args.current {
            arguments[0] = sample::size(current);
        }
        if !args.history.is_empty() {
            arguments[1] = args
                .history
                .iter()
                .map(|size| sample::size(*size))
                .collect();
        }
    } else if args.current.is_some() || !args.history.is_empty() {
        let text =
            "`--current` and `--history` are for `check_size`\nhint: give an event with --event";
        return Err(Refusal::usage(text));
    }
    if let Some(path) = &args.event {
        match read(path)? {
            Value::Array(given) if given.len() == hook.arity() => arguments = given,
            Value::Array(given) => {
                let (found, names) = (given.len(), hook.arguments().join(", "));
                let path = path.display();
                let text = format!(
                    "`{path}` has {found} arguments, `{hook}` takes {} ({names})",
                    hook.arity()
                );
                return Err(Refusal::usage(text));
            }
            first => arguments[0] = first,
        }
    }
    Ok(arguments)
}

fn read(path: &Path) -> Result<Value, Refusal> {
    let name = path.display();
    let text = read_text(path);
    let text = text.map_err(|error| Refusal::usage(format!("`{name}` cannot be read: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|error| Refusal::usage(format!("`{name}` is no JSON: {error}")))
}

fn samples(hook: HookName) -> Vec<Value> {
    let mut size = sample::size(1 << 20);
    match hook {
        HookName::BeforeJob => vec![sample::job()],
        HookName::BeforeBackup => vec![sample::database()],
        HookName::AfterBackup => vec![sample::database(), sample::result()],
        HookName::AfterJob => vec![sample::job(), sample::job_result()],
        HookName::CheckSize => {
            size["date"] = "2026-11-23".into();
            vec![sample::size(1 << 20), json!([size])]
        }
        HookName::FilterAlert | HookName::FormatAlert => {
            vec![sample::alert("backup_failed"), sample::sink()]
        }
    }
}

/// Parses a number of bytes in human notation: `2MiB`, `10 KB`, `4096`; units count by 1024.
pub(in crate::cli) fn size(text: &str) -> Result<i64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim().to_ascii_uppercase();
    let factor = match unit.as_str() {
        "" | "B" => 1.0,
        "K" | "KB" | "KIB" => 1024.0,
        "M" | "MB" | "MIB" => 1_048_576.0,
        "G" | "GB" | "GIB" => 1_073_741_824.0,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of size: write 4096, 10KiB, 2MiB or 1GiB"
            ));
        }
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("`{digits}` is no number"))?;
    match number >= 0.0 && number.is_finite() {
        true => Ok((number * factor) as i64),
        false => Err(format!("`{digits}` is no size")),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_size_may_carry_a_unit() {
        assert_eq!(size("2MiB"), Ok(2 << 20));
        assert_eq!(size("1.5 KB"), Ok(1536));
        assert_eq!(size("7"), Ok(7));
        assert!(size("2 miles").is_err() && size("-1").is_err());
    }
}
