//! Mirrors `patina.toml` as typed. Invariant: flat structs, so that every position survives.
//!
//! The documentation of each field becomes its description in the JSON Schema of the file (`patina.schema.json`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use super::model::{AlertLevel, MethodWord, OnError, Scope, VerifyMode};
use crate::types::{Compression, Priority};

/// Value with the bytes it was written in.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        Ok(Self {
            span: spanned.span(),
            value: spanned.into_inner(),
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

type Maybe<T> = Option<At<T>>;

/// The configuration of a Patina agent. Durations are text with a unit: `30s`, `5m`, `12h`, `8d`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Patina")]
pub(super) struct RawConfig {
    /// More files to read, relative to this one; `*` stands for any part of a file name. Default: none.
    pub(super) include: Vec<At<String>>,
    /// The agent itself.
    pub(super) agent: RawAgent,
    /// Schedules of the jobs: five-field cron text (minute hour day month weekday) or a macro such as `@daily`.
    pub(super) schedule: RawSchedule,
    /// Settings for the export of databases.
    pub(super) export: RawExport,
    /// Retention of copies.
    pub(super) retention: RawRetention,
    /// Storages for copies; the first is the primary. Default: the directory `./backups`.
    pub(super) storage: Vec<At<RawStorage>>,
    /// The Cloudflare account that D1 databases belong to.
    pub(super) cloudflare: Option<At<RawCloudflare>>,
    /// Databases to back up. A file with a storage and without databases serves only to read copies.
    pub(super) database: Vec<At<RawDatabase>>,
    /// Rhai scripts that decide, react and format.
    pub(super) hooks: RawHooks,
    /// Alerts: sinks and thresholds.
    pub(super) alerts: RawAlerts,
    /// The HTTP API and the dashboard.
    pub(super) http: RawHttp,
}

/// The agent itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAgent {
    /// The installation's name; it stands in dumps, alerts and the dashboard. Default: `patina`.
    pub(super) name: Maybe<String>,
    /// The folder for catalog, spool and lock. Default: `./state`. Takes a restart to change.
    pub(super) state: Maybe<String>,
    /// The IANA time zone that decides what "today" is. Default: `UTC`.
    pub(super) timezone: Maybe<String>,
}

/// Schedules of the jobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSchedule {
    /// Back up every database. Default: `0 3 * * *`.
    pub(super) nightly: Maybe<String>,
    /// Put the week's copies into one archive, then expire old ones. Default: `0 4 * * 0`.
    pub(super) weekly: Maybe<String>,
    /// Compare the inventory with the objects in the storages. Default: `0 5 * * 0`.
    pub(super) reconcile: Maybe<String>,
    /// Read one seventh of all stored bytes again. Default: `30 5 * * *`.
    pub(super) verify: Maybe<String>,
    /// Drill: restore the newest copy of every database from storage alone. Default: `0 6 1 * *`; `never`.
    pub(super) drill: Maybe<String>,
    /// Run a missed job on start if it is not older than this. Default: `12h`; `0s`: never.
    #[schemars(extend("x-duration" = true))]
    pub(super) catch_up: Maybe<String>,
}

/// Settings for the export of databases.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawExport {
    /// Number of databases exported at once, 1 to 64. Default: `3`.
    #[schemars(extend("minimum" = 1, "maximum" = 64))]
    pub(super) concurrency: Maybe<u32>,
    /// The time one database may take, retries and waits for the shared request budget not counted. Default: `30s`.
    #[schemars(extend("x-duration" = true))]
    pub(super) timeout: Maybe<String>,
    /// Further attempts after a lost connection, 0 to 20, with growing pauses. Default: `3`.
    #[schemars(extend("minimum" = 0, "maximum" = 20))]
    pub(super) retries: Maybe<u32>,
    /// Compression of daily files; downloads are always uncompressed. Default: `none`.
    #[schemars(with = "Option<String>", extend("enum" = ["none", "gzip", "zstd"]))]
    pub(super) compression: Maybe<Compression>,
    /// Proof that a copy must pass before it counts: `restore` or only `checksum`. Default: `restore`.
    pub(super) verify: Maybe<VerifyMode>,
}

/// Retention of copies.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRetention {
    /// Days a daily copy is kept, at least 1. Default: `7`.
    #[schemars(extend("minimum" = 1, "maximum" = 3650))]
    pub(super) daily_days: Maybe<u32>,
    /// Weeks a weekly archive is kept, at least 1. Default: `12`.
    #[schemars(extend("minimum" = 1, "maximum" = 1040))]
    pub(super) weekly_weeks: Maybe<u32>,
    /// Verified copies of each database that expiry never touches, at least 1. Default: `2`.
    #[schemars(extend("minimum" = 1, "maximum" = 1000))]
    pub(super) min_copies: Maybe<u32>,
    /// The time between marking a copy and deleting it. Default: `0s`.
    #[schemars(extend("x-duration" = true))]
    pub(super) grace: Maybe<String>,
}

/// Storage for copies: either `directory` or `[storage.s3]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawStorage {
    /// The storage's name in reports and metrics: a-z, 0-9, `_` and `-`. Required.
    pub(super) name: Maybe<String>,
    /// A folder on this host.
    pub(super) directory: Maybe<String>,
    /// A bucket of Cloudflare R2, AWS S3 or another service that speaks S3.
    pub(super) s3: Option<At<RawS3>>,
}

/// A bucket that speaks S3.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawS3 {
    /// The service's URL. Default: AWS S3 of `region`.
    pub(super) endpoint: Maybe<String>,
    /// The bucket's name. Required.
    pub(super) bucket: Maybe<String>,
    /// The bucket's region; R2 wants `auto`. Default: `auto`.
    pub(super) region: Maybe<String>,
    /// Prefix of every key in the bucket. Default: empty.
    pub(super) prefix: Maybe<String>,
    /// The access key: `env:NAME`, `file:/path` or `cred:NAME`. Required.
    pub(super) access_key_id: Maybe<String>,
    /// Its secret: `env:NAME`, `file:/path` or `cred:NAME`. Required.
    pub(super) secret_access_key: Maybe<String>,
}

/// The Cloudflare account that D1 databases belong to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCloudflare {
    /// The account's id, or `env:NAME`. Required.
    pub(super) account_id: Maybe<String>,
    /// An API token that may read D1: `env:NAME`, `file:/path` or `cred:NAME`. Required.
    pub(super) api_token: Maybe<String>,
    /// The API's address. Default: `https://api.cloudflare.com/client/v4`.
    pub(super) api_url: Maybe<String>,
}

/// One database to back up: either `d1` or `sqlite`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDatabase {
    /// The name of its copies: 1 to 64 of a-z, 0-9, `_` and `-`. Required.
    pub(super) name: Maybe<String>,
    /// The UUID of a Cloudflare D1 database.
    pub(super) d1: Maybe<String>,
    /// The path of a SQLite file.
    pub(super) sqlite: Maybe<String>,
    /// D1: `raw` (queries, with evidence) or `export` (Cloudflare's own export, which blocks the database while it
    /// runs, and is refused if it would lose something). Default: `raw`. SQLite file: `auto` (SQL text if that carries
    /// everything, else an image of the file's pages), `sql` or `image`. Default: `auto`.
    pub(super) method: Maybe<MethodWord>,
    /// Its place in export and restore: `critical`, `high` or `normal`. Default: `normal`.
    #[schemars(with = "Option<String>", extend("enum" = ["critical", "high", "normal"]))]
    pub(super) priority: Maybe<Priority>,
    /// Description of its contents, for people. Default: empty.
    pub(super) description: Maybe<String>,
    /// Databases that are restored before this one, whatever its priority. Default: none.
    pub(super) restore_after: Vec<At<String>>,
    /// Reason for its place in the order of restore, for people. Default: empty.
    pub(super) reason: Maybe<String>,
    /// Cron text to follow instead of `nightly`.
    pub(super) schedule: Maybe<String>,
    /// Tables whose schema is kept and whose rows are left out. Default: none.
    pub(super) skip_data: Vec<At<String>>,
    /// A Rhai script whose hooks serve this database only.
    pub(super) script: Maybe<String>,
    /// The time this export may take. Default: that of `[export]`.
    #[schemars(extend("x-duration" = true))]
    pub(super) timeout: Maybe<String>,
    /// Further attempts after a lost connection, 0 to 20. Default: that of `[export]`.
    #[schemars(extend("minimum" = 0, "maximum" = 20))]
    pub(super) retries: Maybe<u32>,
    /// Compression of its daily files. Default: that of `[export]`.
    #[schemars(with = "Option<String>", extend("enum" = ["none", "gzip", "zstd"]))]
    pub(super) compression: Maybe<Compression>,
    /// Proof that its copies must pass. Default: that of `[export]`.
    pub(super) verify: Maybe<VerifyMode>,
    /// Critical alert without a good copy for this long. Default: that of `[alerts]`.
    #[schemars(extend("x-duration" = true))]
    pub(super) stale_after: Maybe<String>,
    /// Warning without a good copy for this long. Default: that of `[alerts]`.
    #[schemars(extend("x-duration" = true))]
    pub(super) warn_after: Maybe<String>,
    /// Alert below this part of the 7-day mean size. Default: that of `[alerts]`.
    pub(super) shrink_below: Maybe<f64>,
    /// Alert above this multiple of the 7-day mean size. Default: that of `[alerts]`.
    pub(super) grow_above: Maybe<f64>,
    /// Alert when a table has less than this part of its rows. Default: that of `[alerts]`.
    pub(super) rows_below: Maybe<f64>,
    /// The same for single tables, by name; `0`: never. Default: `rows_below` for all.
    pub(super) table_rows_below: BTreeMap<String, At<f64>>,
    /// Critical alert after this many failures in a row. Default: that of `[alerts]`.
    #[schemars(extend("minimum" = 1, "maximum" = 1000))]
    pub(super) consecutive_failures: Maybe<u32>,
}

/// Rhai scripts that decide, react and format.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHooks {
    /// Script files; the functions they define determine when they run. Default: none.
    pub(super) scripts: Vec<At<String>>,
    /// The time one hook may take. Default: `10s`.
    #[schemars(extend("x-duration" = true))]
    pub(super) timeout: Maybe<String>,
    /// Hosts that scripts may call. Default: none.
    pub(super) http_allow: Vec<At<String>>,
    /// Programs that scripts may start, by absolute path. Default: none.
    pub(super) exec_allow: Vec<At<String>>,
    /// Environment variables that scripts may read. Default: none.
    pub(super) env_allow: Vec<At<String>>,
    /// Effect of a failing before-hook on the backup: `abort` or `continue`. Default: `abort`.
    pub(super) on_error: Maybe<OnError>,
}

/// Alerts: sinks and thresholds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAlerts {
    /// Send events about successful backups. Default: `false`.
    pub(super) on_success: Maybe<bool>,
    /// Send events about failed backups. Default: `true`.
    pub(super) on_failure: Maybe<bool>,
    /// Critical alert without a good copy for this long. Default: `8d`.
    #[schemars(extend("x-duration" = true))]
    pub(super) stale_after: Maybe<String>,
    /// Warning without a good copy for this long. Default: `26h`.
    #[schemars(extend("x-duration" = true))]
    pub(super) warn_after: Maybe<String>,
    /// Alert when a copy is below this part of the 7-day mean size. Default: `0.5`.
    pub(super) shrink_below: Maybe<f64>,
    /// Alert when a copy is above this multiple of the 7-day mean size. Default: `2.0`.
    pub(super) grow_above: Maybe<f64>,
    /// Alert when a table has less than this part of its rows; `0`: never. Default: `0.5`.
    pub(super) rows_below: Maybe<f64>,
    /// Critical alert after this many failures in a row. Default: `3`.
    #[schemars(extend("minimum" = 1, "maximum" = 1000))]
    pub(super) consecutive_failures: Maybe<u32>,
    /// Keep database names, sizes and error texts on this host. Default: `false`.
    pub(super) redact: Maybe<bool>,
    /// Alert sinks. Default: none, so that alerts appear only in the log and on the dashboard.
    pub(super) sink: Vec<At<RawSink>>,
}

/// Alert sink: exactly one of `discord`, `slack`, `ntfy`, `webhook`, `heartbeat`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSink {
    /// The sink's name in reports: a-z, 0-9, `_` and `-`. Required.
    pub(super) name: Maybe<String>,
    /// A Discord webhook's URL: `env:NAME`, `file:/path` or `cred:NAME`.
    pub(super) discord: Maybe<String>,
    /// A Slack webhook's URL: `env:NAME`, `file:/path` or `cred:NAME`.
    pub(super) slack: Maybe<String>,
    /// An ntfy topic's URL: `env:NAME`, `file:/path` or `cred:NAME`.
    pub(super) ntfy: Maybe<String>,
    /// A URL that takes JSON: `env:NAME`, `file:/path` or `cred:NAME`.
    pub(super) webhook: Maybe<String>,
    /// A healthchecks.io URL to ping: `env:NAME`, `file:/path` or `cred:NAME`.
    pub(super) heartbeat: Maybe<String>,
    /// The script, by file name without `.rhai`, whose `format_alert` writes the message. Default: built in.
    pub(super) format: Maybe<String>,
    /// Send only these events. Default: all.
    pub(super) only: Vec<At<String>>,
    /// Send from this severity on: `info`, `warning` or `critical`. Default: `info`.
    pub(super) min_severity: Maybe<AlertLevel>,
    /// Send only what concerns these databases. Default: all.
    pub(super) databases: Vec<At<String>>,
    /// The key that signs a webhook's body with HMAC-SHA256. Default: unsigned.
    pub(super) secret: Maybe<String>,
    /// Allow an address of a private network. Default: `false`.
    pub(super) allow_private: Maybe<bool>,
}

/// The HTTP API and the dashboard.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHttp {
    /// The address to listen on. Default: `127.0.0.1:8787`. Takes a restart to change.
    pub(super) listen: Maybe<String>,
    /// The address people use, for links in alerts. Default: `http://` and `listen`.
    pub(super) public_url: Maybe<String>,
    /// Proxies trusted to report the client's address: addresses or networks. Default: none.
    pub(super) trusted_proxies: Vec<At<String>>,
    /// The header in which a trusted proxy names the client. Default: `X-Forwarded-For`.
    pub(super) client_ip_header: Maybe<String>,
    /// Further host names of this server, without a port. Default: none besides `listen`, `public_url`, `localhost` and
    /// the address a connection came to.
    pub(super) hosts: Vec<At<String>>,
    /// Clients authenticated by address alone: addresses or networks. Default: none.
    pub(super) allow_ips: Vec<At<String>>,
    /// Endpoints readable without authentication: `dashboard`, `status`, `list`, `jobs`, `events`, `metrics`. Default:
    /// none.
    pub(super) open: Vec<At<String>>,
    /// Warn of a key that is older than this. Default: `90d`.
    pub(super) rotate_after: Maybe<String>,
    /// Accept clients that Cloudflare Access authenticated.
    pub(super) access: Option<At<RawAccess>>,
    /// Keys that clients send as `X-Patina-Key`; `patina key new` prints one. Default: none.
    pub(super) key: Vec<At<RawKey>>,
}

/// Cloudflare Access in front of the API.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAccess {
    /// The team's name, as in `<team>.cloudflareaccess.com`. Required.
    pub(super) team: Maybe<String>,
    /// The application's audience tag. Required.
    pub(super) aud: Maybe<String>,
}

/// One API key, known by its digest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawKey {
    /// The key's id, the middle of `ptk_<id>_<secret>`: a-z, 0-9 and `-`. Required.
    pub(super) id: Maybe<String>,
    /// The SHA-256 of its secret, 64 hexadecimal digits. Required.
    pub(super) sha256: Maybe<String>,
    /// Permissions: `read`, `download`, `trigger`, `metrics`. Required.
    pub(super) scopes: Vec<At<Scope>>,
    /// Day or RFC 3339 time of its creation. Default: when the daemon first saw it.
    pub(super) created: Maybe<String>,
    /// Day or RFC 3339 time from which it is rejected. Default: never.
    pub(super) expires: Maybe<String>,
    /// Addresses or networks it may be used from. Default: any.
    pub(super) allow_ips: Vec<At<String>>,
}
