//! Writes audit rows for requests. Invariant: the row is on disk before the response is sent.

use super::Api;
use super::answer::Refusal;
use super::auth::Caller;
use super::call::Call;
use crate::catalog::{Audit, AuditAction, AuditOutcome};

/// Builds an audit row for this request, with the current time.
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

/// Records that a client receives information.
///
/// # Errors
/// If the row cannot be written; the information must not be sent then.
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
