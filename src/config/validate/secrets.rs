//! Resolves `env:NAME`, `file:/path` and `cred:NAME`.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Checker;
use crate::config::expand::is_name;
use crate::config::raw::At;
use crate::config::secret::{Secret, SecretOrigin};

/// Permission bits that let the group or others access a file.
const READABLE_BY_OTHERS: u32 = 0o077;

impl Checker<'_> {
    /// Resolves a secret and its origin; `None` if that fails, which is reported.
    pub(super) fn secret(&mut self, key: &str, raw: &At<String>) -> Option<Secret> {
        let (value, origin) = self.resolve(key, raw)?;
        if origin == SecretOrigin::Inline {
            self.inline(key, &raw.span, &raw.value);
        }
        Some(Secret::new(value, origin))
    }

    /// Resolves a value that may be given as a reference but is no secret, such as an account id.
    pub(super) fn reference(&mut self, key: &str, raw: &At<String>) -> Option<String> {
        self.resolve(key, raw).map(|(value, _)| value)
    }

    fn resolve(&mut self, key: &str, raw: &At<String>) -> Option<(String, SecretOrigin)> {
        let text = raw.value.as_str();
        let (kind, rest) = text.split_once(':').unwrap_or(("", text));
        let (value, origin) = match kind {
            "env" => (
                self.variable(rest, &raw.span)?,
                SecretOrigin::Env(rest.into()),
            ),
            "file" => {
                let path = At {
                    value: rest.to_owned(),
                    span: raw.span.clone(),
                };
                let path = self.path(&path);
                let value = self.file(&path, text, &raw.span)?;
                (value, SecretOrigin::File(path.display().to_string()))
            }
            "cred" => (
                self.credential(rest, text, &raw.span)?,
                SecretOrigin::Cred(rest.into()),
            ),
            _ => (text.to_owned(), SecretOrigin::Inline),
        };
        let blank = match origin {
            SecretOrigin::Inline => format!("`{key}` is empty"),
            _ => format!("`{key}` is empty: `{text}` holds nothing"),
        };
        if value.trim().is_empty() {
            self.error(&raw.span, blank)
                .hint("write `env:NAME`, `file:/path` or `cred:NAME`");
            return None;
        }
        Some((value, origin))
    }

    fn variable(&mut self, name: &str, span: &Range<usize>) -> Option<String> {
        if !is_name(name) {
            self.error(span, format!("`env:{name}` names no variable"))
                .hint("write `env:` and a name of letters, digits and `_`");
            return None;
        }
        let value = self.env.var(name);
        if value.is_none() {
            self.error(span, format!("environment variable `{name}` is not set"))
                .hint(format!("set `{name}` before starting patina"));
        }
        value
    }

    fn credential(&mut self, name: &str, text: &str, span: &Range<usize>) -> Option<String> {
        let plain = !name.is_empty() && !name.contains(['/', '\0']) && name != ".." && name != ".";
        if !plain {
            self.error(span, format!("`{text}` names no credential"))
                .hint("write `cred:` and the name given to `LoadCredential=`");
            return None;
        }
        let Some(folder) = self.env.var("CREDENTIALS_DIRECTORY") else {
            self.error(span, format!("`{text}` needs `$CREDENTIALS_DIRECTORY`"))
                .hint(format!(
                    "start patina by systemd with `LoadCredential={name}:/path`"
                ));
            return None;
        };
        let path = PathBuf::from(folder).join(name);
        self.file(&path, text, span)
    }

    fn file(&mut self, path: &Path, text: &str, span: &Range<usize>) -> Option<String> {
        self.inputs.push(path.to_owned());
        match self.env.read(path) {
            Ok(value) => {
                let value = value.strip_suffix('\n').unwrap_or(&value);
                Some(value.strip_suffix('\r').unwrap_or(value).to_owned())
            }
            Err(error) => {
                self.error(span, format!("cannot read the secret `{text}`: {error}"))
                    .hint(format!("looked for `{}`", path.display()));
                None
            }
        }
    }

    /// Reports a secret in the file itself: a warning, or an error if others can access the file.
    fn inline(&mut self, key: &str, span: &Range<usize>, text: &str) {
        let (_, file) = self.sources.file_at(span.start);
        let (name, mode) = (file.name.clone(), self.env.mode(&file.path));
        if text.contains("${") {
            self.error(
                span,
                format!("`{key}` is a secret: `${{…}}` is not replaced in it"),
            )
            .hint("write `env:NAME`");
            return;
        }
        let reference = format!("write `{key} = \"env:NAME\"`, `file:/path` or `cred:NAME`");
        match mode {
            Some(mode) if mode & READABLE_BY_OTHERS != 0 => {
                let message = format!("`{key}` is a secret, and others can read this file");
                self.error(span, message)
                    .hint(format!("run `chmod 600 {name}`, or {reference}"));
            }
            _ => {
                let message = format!("`{key}` is a secret in plain text");
                self.findings.warning(span.clone(), message).hint(reference);
            }
        }
    }
}
