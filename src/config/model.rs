//! Defines the validated configuration. Invariant: every value is set; only validation builds a `Config`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network::Network;
use super::problem::Remains;
use super::secret::Secret;
pub use crate::anomaly::Thresholds;
use crate::schedule::Schedule;
use crate::types::{Compression, DatabaseName, Priority, Sha256};

/// Complete, validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub(super) agent: Agent,
    pub(super) jobs: Jobs,
    pub(super) export: Export,
    pub(super) retention: Retention,
    pub(super) storages: Vec<Storage>,
    pub(super) cloudflare: Option<Cloudflare>,
    pub(super) databases: Vec<Database>,
    pub(super) hooks: Hooks,
    pub(super) alerts: Alerts,
    pub(super) http: Http,
    pub(super) inputs: Vec<PathBuf>,
}

impl Config {
    /// Settings of the agent.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Schedules of the jobs.
    pub fn schedule(&self) -> &Jobs {
        &self.jobs
    }

    /// Settings for the export of databases that do not override them.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// Retention of copies.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Storages for copies, the primary first; never empty.
    pub fn storages(&self) -> &[Storage] {
        &self.storages
    }

    /// Storage of this name.
    pub fn storage(&self, name: &str) -> Option<&Storage> {
        self.storages.iter().find(|storage| storage.name == name)
    }

    /// Cloudflare account; always set if a database is D1.
    pub fn cloudflare(&self) -> Option<&Cloudflare> {
        self.cloudflare.as_ref()
    }

    /// Databases, critical before high before normal, in file order within. Empty only if the file serves to read
    /// copies: see [`Loaded::with_databases`](super::Loaded::with_databases).
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// Database of this name.
    pub fn database(&self, name: &DatabaseName) -> Option<&Database> {
        self.databases
            .iter()
            .find(|database| database.name == *name)
    }

    /// Hook scripts and their permissions.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Alert settings.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Part of the configuration that stays known if something else forbids using it.
    pub fn remains(&self) -> Remains {
        Remains {
            agent: self.agent.clone(),
            alerts: self.alerts.clone(),
        }
    }

    /// Settings of the HTTP API.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Every file this was read from: the file itself first, then includes, secrets and scripts.
    pub fn inputs(&self) -> &[PathBuf] {
        &self.inputs
    }
}

/// Settings of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Name of the installation.
    pub name: String,
    /// Folder for catalog, spool and lock. Takes a restart to change.
    pub state: PathBuf,
    /// Time zone that decides which day it is.
    pub timezone: Tz,
}

/// Schedules of the jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Jobs {
    /// Back up the databases without a schedule of their own.
    pub nightly: Schedule,
    /// Archive the week, then expire.
    pub weekly: Schedule,
    /// Compare inventory and storage.
    pub reconcile: Schedule,
    /// Read one seventh of all stored bytes again.
    pub verify: Schedule,
    /// Drill: restore from storage alone; `None`: never scheduled.
    pub drill: Option<Schedule>,
    /// Maximum age of a missed run that is caught up on start; zero means never.
    pub catch_up: Duration,
}

/// Settings for the export of databases.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// Number of databases exported at once, 1 to 64.
    pub concurrency: usize,
    /// Values for a database that does not override them.
    pub defaults: ExportValues,
}

/// Settings for the export of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportValues {
    /// Time limit, without retries and waits for the shared request budget; never zero.
    pub timeout: Duration,
    /// Further attempts after a lost connection, 0 to 20.
    pub retries: u32,
    /// Compression of the daily files.
    pub compression: Compression,
    /// Proof that a copy must pass before it counts.
    pub verify: VerifyMode,
}

/// Proof that a copy must pass before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum VerifyMode {
    /// Restored into a scratch database and compared with the source.
    #[default]
    Restore,
    /// Read back and its digest compared.
    Checksum,
}

/// Retention of copies; all numbers at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days a daily copy is kept.
    pub daily_days: u32,
    /// Weeks a weekly archive is kept.
    pub weekly_weeks: u32,
    /// Verified copies of each database that expiry never touches.
    pub min_copies: u32,
    /// Time between marking a copy and deleting it.
    pub grace: Duration,
}

/// Storage for copies.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Unique name.
    pub name: String,
    /// Kind and settings.
    pub kind: StorageKind,
}

/// Kind of a storage.
#[derive(Debug, Clone, PartialEq)]
pub enum StorageKind {
    /// A folder on this host.
    Directory(PathBuf),
    /// S3 bucket.
    S3(S3),
}

/// S3 bucket and its credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct S3 {
    /// URL of the service, without a slash at the end.
    pub endpoint: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Region; `auto` for R2.
    pub region: String,
    /// Prefix of every key: empty, or ending in a slash.
    pub prefix: String,
    /// Access key.
    pub access_key_id: Secret,
    /// Secret of the access key.
    pub secret_access_key: Secret,
}

/// Cloudflare account that D1 databases belong to.
#[derive(Debug, Clone, PartialEq)]
pub struct Cloudflare {
    /// Account id.
    pub account_id: String,
    /// API token.
    pub api_token: Secret,
    /// Address of the API, without a slash at the end.
    pub api_url: String,
}

/// Database with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Unique name.
    pub name: DatabaseName,
    /// Source.
    pub source: SourceSpec,
    /// Form of the copies of a SQLite file; unused for D1.
    pub form: CopyMethod,
    /// Priority in export and restore.
    pub priority: Priority,
    /// Description for people; may be empty.
    pub description: String,
    /// Other databases that are restored before it; never in a cycle.
    pub restore_after: Vec<DatabaseName>,
    /// Reason for its place in the order of restore, for people; may be empty.
    pub reason: String,
    /// Export settings.
    pub export: ExportValues,
    /// Own schedule; `None`: it belongs to the nightly job.
    pub schedule: Option<Schedule>,
    /// Tables whose rows are left out.
    pub skip_data: Vec<String>,
    /// Script for this database only.
    pub script: Option<PathBuf>,
    /// Alert thresholds.
    pub alerts: Thresholds,
    /// Tables with their own value for [`Thresholds::rows_below`].
    pub table_rows_below: BTreeMap<String, f64>,
}

/// Source of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A Cloudflare D1 database.
    D1 {
        /// Its UUID, lower-case with hyphens.
        id: String,
        /// Reading method.
        method: D1Method,
    },
    /// A SQLite file.
    Sqlite(PathBuf),
}

impl SourceSpec {
    /// Returns `d1` or `sqlite`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::D1 { .. } => "d1",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Returns the UUID or the path, for people.
    pub fn location(&self) -> String {
        match self {
            Self::D1 { id, .. } => id.clone(),
            Self::Sqlite(path) => path.display().to_string(),
        }
    }
}

/// Reading method for a D1 database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum D1Method {
    /// Queries, with evidence that nothing changed meanwhile.
    #[default]
    Raw,
    /// Cloudflare's own export, which blocks the database while it runs; refused if it would lose something.
    Export,
}

/// Form of the copies of a SQLite file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyMethod {
    /// SQL text if that carries everything, else an image.
    #[default]
    Auto,
    /// SQL text; what it cannot carry becomes an exception.
    Sql,
    /// An image: the pages of the file.
    Image,
}

/// Word of `method`, for both kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum MethodWord {
    /// D1, by queries.
    Raw,
    /// D1, by its export.
    Export,
    /// SQLite, as SQL text or an image.
    Auto,
    /// SQLite, as SQL text.
    Sql,
    /// SQLite, as an image.
    Image,
}

/// Hook scripts and their permissions.
#[derive(Debug, Clone, PartialEq)]
pub struct Hooks {
    /// Script files, in the order of the file.
    pub scripts: Vec<PathBuf>,
    /// Time limit of one hook; never zero.
    pub timeout: Duration,
    /// Hosts that scripts may call.
    pub http_allow: Vec<String>,
    /// Programs that scripts may start, as absolute paths.
    pub exec_allow: Vec<PathBuf>,
    /// Environment variables that scripts may read.
    pub env_allow: Vec<String>,
    /// Effect of a failing before-hook.
    pub on_error: OnError,
}

/// Effect of a failing before-hook on the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnError {
    /// The backup does not run.
    #[default]
    Abort,
    /// The backup runs anyway.
    Continue,
}

/// Alert settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerts {
    /// Send events about successful backups.
    pub on_success: bool,
    /// Send events about failed backups.
    pub on_failure: bool,
    /// Thresholds of a database that does not override them.
    pub thresholds: Thresholds,
    /// Keep names, sizes and error texts on this host.
    pub redact: bool,
    /// Alert sinks; may be empty.
    pub sinks: Vec<Sink>,
}

/// Alert sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    /// Unique name.
    pub name: String,
    /// Protocol.
    pub kind: SinkKind,
    /// URL.
    pub url: Secret,
    /// Script whose `format_alert` writes the message; `None`: the built-in format.
    pub format: Option<PathBuf>,
    /// Only these events; empty means all.
    pub only: Vec<String>,
    /// Minimum severity.
    pub min_severity: AlertLevel,
    /// Only events about these databases; empty means all.
    pub databases: Vec<DatabaseName>,
    /// Key that signs a webhook's body; `None`: unsigned.
    pub secret: Option<Secret>,
    /// Addresses of private networks are allowed.
    pub allow_private: bool,
}

/// Protocol of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkKind {
    /// A Discord webhook.
    Discord,
    /// A Slack webhook.
    Slack,
    /// An ntfy topic.
    Ntfy,
    /// JSON to a URL.
    Webhook,
    /// A ping to healthchecks.io or the like.
    Heartbeat,
}

impl SinkKind {
    /// Key that names it in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discord => "discord",
            Self::Slack => "slack",
            Self::Ntfy => "ntfy",
            Self::Webhook => "webhook",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// Severity of an event.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AlertLevel {
    /// Good to know.
    #[default]
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Critical,
}

/// Settings of the HTTP API.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Address to listen on. Takes a restart to change.
    pub listen: SocketAddr,
    /// Address that people use, without a slash at the end.
    pub public_url: String,
    /// Proxies trusted to report the client's address.
    pub trusted_proxies: Vec<Network>,
    /// Header in which they report it.
    pub client_ip_header: String,
    /// Further host names of this server, in lower case and without a port.
    pub hosts: Vec<String>,
    /// Clients authenticated by their address alone.
    pub allow_ips: Vec<Network>,
    /// Endpoints that are readable without authentication.
    pub open: Vec<Opening>,
    /// Age from which a key should be replaced.
    pub rotate_after: Duration,
    /// Cloudflare Access, if it stands in front.
    pub access: Option<Access>,
    /// API keys.
    pub keys: Vec<ApiKey>,
}

impl Http {
    /// True if some way of authentication is configured.
    pub fn has_auth(&self) -> bool {
        self.access.is_some() || !self.keys.is_empty() || !self.allow_ips.is_empty()
    }
}

/// Endpoint that `open` may make public: none that contains a row of a database, explains how to restore one, or
/// changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// `GET /`.
    Dashboard,
    /// `GET /status`.
    Status,
    /// `GET /list`.
    List,
    /// `GET /jobs/{id}`.
    Jobs,
    /// `GET /events`.
    Events,
    /// `GET /metrics`.
    Metrics,
}

impl Opening {
    /// All endpoints.
    pub const ALL: [Self; 6] = [
        Self::Dashboard,
        Self::Status,
        Self::List,
        Self::Jobs,
        Self::Events,
        Self::Metrics,
    ];

    /// Word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dashboard => "dashboard",
            Self::Status => "status",
            Self::List => "list",
            Self::Jobs => "jobs",
            Self::Events => "events",
            Self::Metrics => "metrics",
        }
    }
}

/// Cloudflare Access in front of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Team, as in `<team>.cloudflareaccess.com`.
    pub team: String,
    /// Audience tag of the application.
    pub aud: String,
}

/// API key, known by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Unique id.
    pub id: String,
    /// Digest of its secret.
    pub sha256: Sha256,
    /// Scopes; never empty.
    pub scopes: Vec<Scope>,
    /// Time of its creation; `None`: not recorded.
    pub created: Option<DateTime<Utc>>,
    /// Time from which it is rejected.
    pub expires: Option<DateTime<Utc>>,
    /// Networks it may be used from; empty means any.
    pub allow_ips: Vec<Network>,
}

/// Permission of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Scope {
    /// See status, lists and guides.
    Read,
    /// Fetch copies.
    Download,
    /// Start a job.
    Trigger,
    /// Read metrics.
    Metrics,
}

impl Scope {
    /// Word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Download => "download",
            Self::Trigger => "trigger",
            Self::Metrics => "metrics",
        }
    }
}

/// Configuration with the warnings found while reading it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Configuration.
    pub config: Config,
    /// Findings that do not forbid using it.
    pub warnings: super::Problems,
}

impl Config {
    /// Path of the file this was read from.
    pub fn path(&self) -> &Path {
        self.inputs.first().map_or(Path::new(""), PathBuf::as_path)
    }
}
