//! Writes the first `patina.toml`. Invariant: it loads without a finding as soon as it names a database.

use std::fmt::Write as _;

use super::edit::{EditError, add_database};
use super::model::SourceSpec;
use crate::types::DatabaseName;

/// Example for a file without a database.
const EXAMPLE: &str = "
#[[database]]
#name   = \"blog\"
#sqlite = \"/srv/blog/blog.db\"      # or d1 = \"<uuid>\"
";

/// Account section for a file with a D1 database.
const CLOUDFLARE: &str = "
[cloudflare]                        # the token needs D1 read
account_id = \"env:CLOUDFLARE_ACCOUNT_ID\"
api_token  = \"env:CLOUDFLARE_API_TOKEN\"
";

/// Returns a small commented file for the agent `name` with these databases; paths are written as given.
pub fn template(name: &str, databases: &[(DatabaseName, SourceSpec)]) -> Result<String, EditError> {
    let quoted = toml_edit::Value::from(name);
    let quoted = quoted.to_string();
    let mut text = format!(
        "\
# Patina: backups that count only after they were restored and compared.
# Every other key has a safe default. `patina check` says what this file means.

[agent]
name     = {}
timezone = \"UTC\"                    # decides what \"today\" is

[schedule]
nightly = \"0 3 * * *\"               # minute hour day month weekday

[retention]
daily_days   = 7
weekly_weeks = 12

[[storage]]                         # where copies go; add another for a second place
name      = \"local\"
directory = \"./backups\"
",
        quoted.trim()
    );
    let any_d1 = databases
        .iter()
        .any(|(_, source)| matches!(source, SourceSpec::D1 { .. }));
    if any_d1 {
        text.push_str(CLOUDFLARE);
    }
    let _ = writeln!(
        text,
        "\n# One [[database]] for each; or: patina add NAME --sqlite PATH | --d1 UUID"
    );
    if databases.is_empty() {
        text.push_str(EXAMPLE.trim_start());
    }
    for (name, source) in databases {
        text = add_database(&text, name, source)?;
    }
    Ok(text)
}
