//! Says whether a text that was read to its end is the copy it should be.

use std::path::PathBuf;

use super::error::RestoreError;
use super::origin::Origin;
use crate::dump::{ReadError, Summary};
use crate::engine::drill::{DrillError, Statements};
use crate::types::Manifest;

/// What is known of a copy before it is read.
pub(super) struct Papers {
    /// The commit record that the text must have.
    manifest: Option<Manifest>,
    /// Others that it may have.
    known: Vec<Manifest>,
    /// The file it is read from, where that is no stored copy.
    file: Option<PathBuf>,
}

impl Papers {
    pub(super) fn of(origin: &Origin) -> Self {
        Self {
            manifest: origin.manifest().cloned(),
            known: match origin {
                Origin::Stored { .. } => Vec::new(),
                Origin::File { known, .. } => known.clone(),
            },
            file: match origin {
                Origin::Stored { .. } => None,
                Origin::File { path, .. } => Some(path.clone()),
            },
        }
    }

    /// The commit record, where the copy is an image.
    pub(super) fn image(&self) -> Option<&Manifest> {
        self.manifest
            .as_ref()
            .filter(|manifest| manifest.is_image())
    }

    /// What the text says of itself; `None` of another tool's text in a file.
    pub(super) fn summary(
        &self,
        statements: Statements,
        is_ours: bool,
    ) -> Result<Option<Summary>, RestoreError> {
        match (statements.summary()?, &self.file) {
            (Ok(summary), _) => Ok(Some(summary)),
            (Err(ReadError::NotADump), Some(_)) if !is_ours => Ok(None),
            (Err(error), None) => Err(DrillError::Incomplete(error).into()),
            (Err(error), Some(file)) => Err(RestoreError::File {
                path: file.display().to_string(),
                why: format!("is truncated or not a Patina dump: {error}\nhint: fetch it again"),
            }),
        }
    }

    /// The commit record of this very text.
    pub(super) fn manifest_of(
        &self,
        summary: Option<&Summary>,
    ) -> Result<Option<Manifest>, RestoreError> {
        let is_its =
            |known: &&Manifest| summary.is_some_and(|text| text.sha256 == known.plain.sha256);
        match (&self.manifest, &self.file) {
            (None, _) => Ok(self.known.iter().find(is_its).cloned()),
            (Some(its), _) if is_its(&its) => Ok(Some(its.clone())),
            (Some(its), Some(file)) => Err(RestoreError::File {
                path: file.display().to_string(),
                why: format!("is not the text of `{}`, whose manifest was given", its.key),
            }),
            (Some(its), None) => Err(RestoreError::Dump(DrillError::Spool(format!(
                "`{}` has another SHA-256 than its manifest says",
                its.key
            )))),
        }
    }
}
