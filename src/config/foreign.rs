//! Maps words of other files, such as `wrangler.toml` and Patina's specification, to their terms in `patina.toml`.
//! Pure.

/// Hints by word; a word consists of letters and digits only, in lower case.
const WORDS: &[(&str, &str)] = &[
    // wrangler.toml
    (
        "d1databases",
        "write a `[[database]]` with `name` and `d1` for each; `patina add NAME --d1 UUID` does it",
    ),
    (
        "r2buckets",
        "write a `[[storage]]` with `name`, and below it `[storage.s3]` with `endpoint` and `bucket`",
    ),
    (
        "triggers",
        "write `[schedule]`, with a cron text for each of `nightly`, `weekly` and `reconcile`",
    ),
    (
        "crons",
        "write a cron text for each of `nightly`, `weekly` and `reconcile` in `[schedule]`",
    ),
    (
        "cron",
        "write a cron text for each of `nightly`, `weekly` and `reconcile` in `[schedule]`",
    ),
    (
        "vars",
        "each value has a key of its own here; those behind `env:` are read from the environment",
    ),
    (
        "binding",
        "remove it: Patina reads D1 and R2 over their APIs and needs no binding",
    ),
    ("databasename", "write `name` in `[[database]]`"),
    ("databaseid", "write `d1` in `[[database]]`"),
    ("bucketname", "write `bucket` in `[storage.s3]`"),
    ("main", WORKER),
    ("compatibilitydate", WORKER),
    ("compatibilityflags", WORKER),
    // The database registry of the specification and its surroundings.
    ("databases", "write a `[[database]]` for each"),
    (
        "estimatedsize",
        "remove it: every backup measures the size, and `[alerts]` compares it with the mean of 7 days",
    ),
    (
        "backupconfig",
        "its values stand in `[schedule]`, `[retention]`, `[export]` and `[storage.s3]`",
    ),
    ("nightlycron", "write `nightly` in `[schedule]`"),
    ("weeklycron", "write `weekly` in `[schedule]`"),
    ("dailyretentiondays", "write `daily_days` in `[retention]`"),
    ("retentiondays", "write `daily_days` in `[retention]`"),
    ("weeklyretentionweeks", WEEKS),
    ("retentionweeks", WEEKS),
    (
        "exporttimeout",
        "write `timeout` in `[export]` or `[[database]]`, with its unit: `timeout = \"30s\"`",
    ),
    (
        "timeoutms",
        "write `timeout` in `[export]` or `[[database]]`, with its unit: `timeout = \"30s\"`",
    ),
    (
        "batchsize",
        "remove it: rows are read in pieces of a bounded size",
    ),
    (
        "metadatadb",
        "remove it: Patina keeps its own catalog in the folder `state` of `[agent]`",
    ),
    ("backups", "write a `[[storage]]`"),
    ("r2", "write `[storage.s3]` below a `[[storage]]`"),
    // alerts
    (
        "discordwebhookurl",
        "write an `[[alerts.sink]]` with `name` and `discord = \"env:DISCORD_WEBHOOK_URL\"`",
    ),
    (
        "webhookurl",
        "write an `[[alerts.sink]]` with `name` and `discord`, `slack`, `ntfy`, `webhook` or `heartbeat`",
    ),
    ("alertonsuccess", "write `on_success` in `[alerts]`"),
    ("notifyonsuccess", "write `on_success` in `[alerts]`"),
    ("alertonfailure", "write `on_failure` in `[alerts]`"),
    ("notifyonfailure", "write `on_failure` in `[alerts]`"),
    (
        "alertconfig",
        "write `on_success` and `on_failure` in `[alerts]`, and an `[[alerts.sink]]`",
    ),
    (
        "enabled",
        "remove it: what stands here is in force; put `#` before what is not to be",
    ),
    (
        "alertthresholds",
        "write `stale_after`, `shrink_below`, `grow_above` and `consecutive_failures` in `[alerts]`",
    ),
    (
        "stalebackupdays",
        "write `stale_after` in `[alerts]` or `[[database]]`, with its unit: `stale_after = \"8d\"`",
    ),
    (
        "sizedecreasethreshold",
        "write `shrink_below` in `[alerts]` or `[[database]]`",
    ),
    (
        "sizeincreasethreshold",
        "write `grow_above` in `[alerts]` or `[[database]]`",
    ),
    (
        "consecutivefailurelimit",
        "write `consecutive_failures` in `[alerts]` or `[[database]]`",
    ),
    // the API
    ("patinaapikey", KEY),
    ("patinakey", KEY),
    ("xpatinakey", KEY),
    ("apikey", KEY),
    ("cfaccessaud", "write `aud` in `[http.access]`"),
    ("allowedips", "write `allow_ips` in `[http]`"),
    (
        "cfconnectingip",
        "write `client_ip_header = \"CF-Connecting-IP\"` in `[http]`",
    ),
    ("ratelimit", LIMITS),
    ("maxrequests", LIMITS),
    ("windowseconds", LIMITS),
    ("expirationttl", LIMITS),
    ("domain", "write `public_url` in `[http]`"),
    ("publicname", "write `name` in `[agent]`"),
    ("internalname", "write `name` in `[agent]`"),
];

/// Hints that apply in one section only.
const WORDS_OF_SECTIONS: &[(&str, &str, &str)] = &[
    (
        "database",
        "id",
        "write `d1 = \"…\"` for the id of a D1 database",
    ),
    ("cloudflare", "id", "write `account_id`"),
    (
        "storage",
        "id",
        "write `name`; a bucket's is `bucket` in `[storage.s3]`",
    ),
    ("storage.s3", "id", "write `access_key_id`"),
    ("alerts.sink", "id", "write `name`"),
    ("agent", "id", "write `name`"),
    ("http.key", "name", "write `id`"),
    ("d1_databases", "id", "write `d1` in `[[database]]`"),
    (
        "database",
        "r2",
        "write a `[[storage]]`: every copy goes to every storage",
    ),
    (
        "database",
        "enabled",
        "remove it: put `#` before a database that is not to be backed up; its copies stay",
    ),
];

const WEEKS: &str = "write `weekly_weeks` in `[retention]`, a number without quotes";

const WORKER: &str = "remove it: it belongs to a Worker, and Patina is a program of its own";

const KEY: &str = "write a `[[http.key]]`: `patina key new` prints its lines";

const LIMITS: &str =
    "remove it: the limits are fixed, 10 downloads of a client and 30 of an address in any hour";

/// Returns the hint for an unknown key. `None`: it is no word of those files.
pub(super) fn hint(section: &str, key: &str) -> Option<String> {
    let word: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let special = WORDS_OF_SECTIONS
        .iter()
        .find(|(place, known, _)| *place == section && *known == word)
        .map(|(_, _, hint)| *hint);
    let general = || {
        let mut words = WORDS.iter();
        words
            .find(|(known, _)| *known == word)
            .map(|(_, hint)| *hint)
    };
    special.or_else(general).map(str::to_owned)
}
