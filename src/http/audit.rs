//! Writes down what a request is given. Invariant: it is on disk before the answer leaves.

use super::Api;
use super::answer::Refusal;
use super::auth::Caller;
use super::call::Call;
use crate::catalog::{Audit, AuditAction, AuditOutcome};

/// A row about this request, of now.
pub(super) fn row(
    call: &Call,
    client: &str,
    action: AuditAction,
    outcome: AuditOutcome,
    subject: &str,
    size_bytes: u64,
) -> Audit {
    Audit {
        at: call.wiring.clock.now(),
        request: call.id.clone(),
        action,
        outcome,
        client: client.to_owned(),
        address: call.address,
        subject: subject.to_owned(),
        size_bytes,
    }
}

/// Notes that a client is told something; where that is not to be had on disk, it must not be told.
pub(super) async fn note(
    api: &Api,
    call: &Call,
    caller: &Caller,
    action: AuditAction,
    subject: &str,
) -> Result<(), Refusal> {
    let row = row(
        call,
        &caller.name,
        action,
        AuditOutcome::Complete,
        subject,
        0,
    );
    let written = api.write(&call.wiring, move |catalog| catalog.audit(&row));
    written.await?;
    api.0.ledger.gave(&caller.name);
    Ok(())
}
