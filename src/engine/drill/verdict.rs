//! Says what a copy's proof is worth: the independent check of source and copy, and the health of the source.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::{DrillError, Trial, open_to_read, scratch_error};
use crate::crosscheck::{CloudError, Difference, Findings, Inventory, compare, message};
use crate::quote::line;
use crate::source::{DumpForm, Testimony, Witness};
use crate::types::{CheckFacts, EvidenceClass, Exception, ExceptionKind, Health};

/// So many differences are named in a message; the rest are counted.
const MOST_NAMED: usize = 5;

/// What a proof is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The class of the copy.
    pub class: EvidenceClass,
    /// What the copy does not carry, each of them seen by the check.
    pub exceptions: Vec<Exception>,
    /// What was compared. `None`: nobody looked at the source a second time.
    pub check: Option<CheckFacts>,
}

impl Verdict {
    /// Of a copy that was not restored.
    pub(in crate::engine) fn unchecked(exceptions: Vec<Exception>) -> Self {
        Self {
            class: EvidenceClass::C,
            exceptions,
            check: None,
        }
    }
}

/// Holds the restored database at `copy` against what the witness saw of the source.
pub(super) fn reach(
    copy: &Path,
    trial: &Trial<'_>,
    witness: Option<Witness>,
) -> Result<Verdict, DrillError> {
    let Some(witness) = witness else {
        // Proof A is what the check confirmed, and nobody asked it.
        let class = match trial.class {
            EvidenceClass::A => EvidenceClass::B,
            class => class,
        };
        return Ok(Verdict {
            class,
            exceptions: trial.exceptions.to_vec(),
            check: None,
        });
    };
    let connection = open_to_read(copy, trial.stop).map_err(scratch_error)?;
    if witness.is_given() {
        return reach_given(&connection, trial, witness.hear(trial.stop)?);
    }
    let unreadable = |error| not_looked_at(CloudError::from(error));
    // SQLite's check of the copy holds its own indexes against its content, as it did in the source.
    let mut copy = Inventory::take_content(&connection).map_err(unreadable)?;
    let Testimony {
        inventory,
        findings,
        ..
    } = witness.hear(trial.stop)?;
    let source = match inventory {
        Some(Ok(source)) => source,
        Some(Err(why)) => {
            let text = format!("the source cannot be held against it: {why}");
            return Err(DrillError::Differs(text));
        }
        None => {
            let text = "the source was not inspected".to_owned();
            return Err(DrillError::Differs(text));
        }
    };
    if source.has_read_own_indexes() {
        copy.read_own_indexes(&connection).map_err(unreadable)?;
    }
    let found = compare(&source, &copy, trial.exceptions);
    let exceptions = confirmed(found, trial, findings.as_ref())?;
    let check = CheckFacts {
        schema_entries: source.schema_entries(),
        tables: source.tables(),
        rows: source.rows(),
        digest: source.digest(),
        health: findings.as_ref().map(|found| found.health.clone()),
    };
    judge(trial, exceptions, check, findings)
}

fn not_looked_at(error: CloudError) -> DrillError {
    let why = match error {
        CloudError::Sqlite(error) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted | ErrorCode::DiskFull) => {
                return scratch_error(error);
            }
            _ => message(&error),
        },
        error => error.to_string(),
    };
    DrillError::Differs(format!("the copy cannot be looked at: {why}"))
}

/// The same of a D1 database, which was asked before.
fn reach_given(
    connection: &Connection,
    trial: &Trial<'_>,
    testimony: Testimony,
) -> Result<Verdict, DrillError> {
    let Some(source) = testimony.cloud else {
        let text = "the source was not inspected".to_owned();
        return Err(DrillError::Differs(text));
    };
    let copy = source.of_copy(connection).map_err(not_looked_at)?;
    let exceptions = confirmed(source.compare(&copy, trial.exceptions), trial, None)?;
    let check = CheckFacts {
        schema_entries: source.schema_entries(),
        tables: source.tables(),
        rows: source.rows(),
        digest: source.digest(),
        health: None,
    };
    judge(trial, exceptions, check, None)
}

/// The exceptions that the check confirms: those that are declared and are differences.
fn confirmed(
    mut found: Vec<Difference>,
    trial: &Trial<'_>,
    findings: Option<&Findings>,
) -> Result<Vec<Exception>, DrillError> {
    // An index that did not fit its content in the source may have been made to fit: that is no copy of it.
    let unfit = findings.into_iter().flat_map(|found| &found.exceptions);
    let unfit: Vec<&Exception> = unfit
        .filter(|exception| exception.kind == ExceptionKind::Index)
        .collect();
    for exception in &unfit {
        let is_declared = trial.exceptions.iter().any(|other| {
            other.object == exception.object && other.kind != ExceptionKind::BreaksSchema
        });
        if !is_declared {
            found.push(Difference {
                object: exception.object.clone(),
                kind: exception.kind,
                is_unneeded: false,
                text: format!("the copy cannot be shown to have the index of {exception}"),
            });
        }
    }
    let is_unused = |difference: &Difference, exception: &Exception| {
        difference.object == exception.object
            && difference.kind == exception.kind
            && difference.is_unneeded
    };
    let exceptions: Vec<Exception> = trial
        .exceptions
        .iter()
        .filter(|exception| {
            unfit.iter().any(|other| other.object == exception.object)
                || !found
                    .iter()
                    .any(|difference| is_unused(difference, exception))
        })
        .cloned()
        .collect();
    // What was declared and is equal all the same is equal.
    found.retain(|difference| {
        !trial
            .exceptions
            .iter()
            .any(|exception| is_unused(difference, exception))
    });
    match found.is_empty() {
        true => Ok(exceptions),
        false => Err(DrillError::Differs(named(&found))),
    }
}

fn named(found: &[Difference]) -> String {
    let texts = found.iter().take(MOST_NAMED);
    let texts = texts.map(|difference| line(&difference.text).into_owned());
    let mut text = texts.collect::<Vec<_>>().join("; ");
    if found.len() > MOST_NAMED {
        text.push_str(&format!("; and {} more", found.len() - MOST_NAMED));
    }
    text
}

/// The class that evidence, exceptions and the health of the source allow.
pub(super) fn judge(
    trial: &Trial<'_>,
    mut exceptions: Vec<Exception>,
    check: CheckFacts,
    findings: Option<Findings>,
) -> Result<Verdict, DrillError> {
    let mut class = trial.class;
    if let Some(Findings {
        health,
        exceptions: unfit,
        ..
    }) = findings
    {
        for exception in unfit {
            if !exceptions
                .iter()
                .any(|known| known.object == exception.object)
            {
                exceptions.push(exception);
            }
        }
        if let Health::Damaged(lines) = health {
            if trial.form == DumpForm::WholeSql {
                return Err(DrillError::SourceDamaged(lines.join("; ")));
            }
            class = EvidenceClass::S;
        }
    }
    if class == EvidenceClass::A && !exceptions.is_empty() {
        class = EvidenceClass::B;
    }
    exceptions.sort();
    Ok(Verdict {
        class,
        exceptions,
        check: Some(check),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::types::SourceEvidence;

    fn difference(object: &str, kind: ExceptionKind, is_unneeded: bool) -> Difference {
        Difference {
            object: object.to_owned(),
            kind,
            is_unneeded,
            text: format!("{object} differs"),
        }
    }

    fn exception(object: &str, kind: ExceptionKind) -> Exception {
        Exception {
            object: object.to_owned(),
            kind,
            reason: "a test".to_owned(),
        }
    }

    /// Runs `test` with a trial that declares `exceptions`.
    fn with_trial<T>(
        exceptions: &[Exception],
        form: DumpForm,
        test: impl FnOnce(&Trial<'_>) -> T,
    ) -> T {
        let evidence = SourceEvidence {
            tables: Vec::new(),
            schema: crate::types::Hasher::default().finish(),
            user_version: 0,
            application_id: 0,
            foreign_key_violations: 0,
        };
        test(&Trial {
            evidence: &evidence,
            class: EvidenceClass::A,
            form,
            exceptions,
            skip_data: &[],
            scratch: Path::new("nowhere"),
            progress: &Arc::default(),
            stop: &CancellationToken::new(),
        })
    }

    fn confirm(found: Vec<Difference>) -> Result<Vec<Exception>, DrillError> {
        let declared = [exception("t", ExceptionKind::Rows)];
        with_trial(&declared, DumpForm::Sql, |trial| {
            confirmed(found, trial, None)
        })
    }

    fn findings(health: Health, exceptions: &[Exception]) -> Findings {
        Findings {
            health,
            exceptions: exceptions.to_vec(),
            is_complete: true,
        }
    }

    fn judged(
        declared: &[Exception],
        form: DumpForm,
        findings: Findings,
    ) -> Result<Verdict, DrillError> {
        let check = CheckFacts {
            schema_entries: 0,
            tables: 0,
            rows: 0,
            digest: crate::types::Hasher::default().finish(),
            health: None,
        };
        with_trial(declared, form, |trial| {
            judge(trial, declared.to_vec(), check, Some(findings))
        })
    }

    #[test]
    fn an_index_that_did_not_fit_its_content_in_the_source_is_an_exception_or_no_copy() {
        use ExceptionKind::{BreaksSchema, Index, Values};
        let unfit = findings(Health::Ok, &[exception("f", Index)]);
        let confirm = |declared: &[Exception], found: Vec<Difference>| {
            with_trial(declared, DumpForm::Sql, |trial| {
                confirmed(found, trial, Some(&unfit))
            })
        };
        let refused = confirm(&[], vec![]).unwrap_err().to_string();
        assert!(
            refused.contains("cannot be shown to have the index"),
            "{refused}"
        );
        for other in [exception("g", Index), exception("f", BreaksSchema)] {
            assert!(
                confirm(std::slice::from_ref(&other), vec![]).is_err(),
                "{other:?}"
            );
        }
        for declared in [exception("f", Index), exception("f", Values)] {
            let confirmed = confirm(std::slice::from_ref(&declared), vec![]).unwrap();
            assert_eq!(confirmed, [declared]);
        }
        // The rebuilt index equals what the index of the source shows; it is named all the same.
        let equal = |object| vec![difference(object, Index, true)];
        let declared = [exception("f", Index), exception("g", Index)];
        assert_eq!(confirm(&declared, equal("f")).unwrap(), declared);
        assert_eq!(confirm(&declared, equal("g")).unwrap(), declared[..1]);
        // Rows that break their schema are no index.
        let breaks = findings(Health::Ok, &[exception("f", BreaksSchema)]);
        let confirmed = with_trial(&[], DumpForm::Sql, |trial| {
            confirmed(vec![], trial, Some(&breaks))
        });
        assert_eq!(confirmed.unwrap(), []);
    }

    #[test]
    fn what_the_check_of_the_source_found_decides_the_class() {
        use ExceptionKind::{BreaksSchema, Rows};
        let healthy = judged(&[], DumpForm::WholeSql, findings(Health::Ok, &[])).unwrap();
        assert_eq!(
            (healthy.class, healthy.exceptions.len()),
            (EvidenceClass::A, 0)
        );
        let breaks = [exception("t", BreaksSchema)];
        let found = || findings(Health::Ok, &breaks);
        let verdict = judged(&[], DumpForm::WholeSql, found()).unwrap();
        assert_eq!(
            (verdict.class, &*verdict.exceptions),
            (EvidenceClass::B, &breaks[..])
        );
        // An object is named once, and another one beside it.
        let known = [exception("t", Rows)];
        let verdict = judged(&known, DumpForm::Sql, found()).unwrap();
        assert_eq!(verdict.exceptions, known);
        let known = [exception("u", Rows)];
        let verdict = judged(&known, DumpForm::Sql, found()).unwrap();
        assert_eq!(verdict.exceptions, [breaks[0].clone(), known[0].clone()]);
        let damaged = || findings(Health::Damaged(vec!["page 7".to_owned()]), &[]);
        let refused = judged(&[], DumpForm::WholeSql, damaged()).unwrap_err();
        assert!(matches!(&refused, DrillError::SourceDamaged(why) if why == "page 7"));
        let suspect = judged(&[], DumpForm::Image, damaged()).unwrap();
        assert_eq!(suspect.class, EvidenceClass::S);
    }

    #[test]
    fn the_first_differences_are_named_and_the_rest_counted() {
        let found = |count: usize| {
            let objects = (0..count).map(|number| format!("t{number}"));
            objects
                .map(|object| difference(&object, ExceptionKind::Rows, false))
                .collect::<Vec<_>>()
        };
        assert_eq!(named(&found(2)), "t0 differs; t1 differs");
        assert!(named(&found(MOST_NAMED)).ends_with("; t4 differs"));
        assert!(named(&found(MOST_NAMED + 2)).ends_with("; t4 differs; and 2 more"));
    }

    #[test]
    fn an_exception_excuses_nothing_but_what_it_names() {
        use ExceptionKind::{Rows, Schema};
        // Declared, and a difference.
        assert_eq!(confirm(vec![]).unwrap().len(), 1);
        // Declared, and none.
        assert_eq!(confirm(vec![difference("t", Rows, true)]).unwrap(), []);
        for undeclared in [
            difference("t", Schema, false),
            difference("t", Rows, false),
            difference("u", Rows, false),
            difference("u", Rows, true),
            difference("t", Schema, true),
        ] {
            assert!(confirm(vec![undeclared.clone()]).is_err(), "{undeclared:?}");
            let both = vec![difference("t", Rows, true), undeclared.clone()];
            assert!(confirm(both).is_err(), "{undeclared:?}");
        }
    }
}
