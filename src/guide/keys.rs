//! Instructions for a leaked API key. Pure text, independent of the configuration.

/// Last section of the runbook.
pub(super) const LEAKED: &str = "## A key has leaked\n\n\
    1. Make another one: `patina key new NAME --scope read,download`. Paste its entry into `patina.toml` and remove the \
       entry of the leaked one; the daemon takes it as soon as the file is saved, and refuses the old key from then on.\n\
    2. Give the new key to every client that had the old one.\n\
    3. Look at who used it: `patina key list` has its last use, `patina audit list -n 1000` every download, guide and \
       refusal with its address, `patina audit verify` whether the record is whole.\n\
    4. Where copies were fetched that should not have been: whatever secrets they hold (sessions, tokens, password \
       hashes) is known to somebody else. Replace those secrets in the databases, and consider keys of the storage and \
       encrypting the copies anew.\n\n\
    Keys are replaced every 90 days also where none has leaked: `patina key list` and `patina check` name those that are \
    due. Add the new one beside the old one, move the clients, and remove the old one when nobody uses it.\n";
