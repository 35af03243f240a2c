//! Says what a configuration means. Invariant: every question is answered; only validation builds a `Config`.

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

/// A whole configuration, validated.
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
    /// The agent itself.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// When jobs run.
    pub fn schedule(&self) -> &Jobs {
        &self.jobs
    }

    /// How databases are exported, where a database does not say otherwise.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// How long copies are kept.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Where copies are stored, the primary first; never empty.
    pub fn storages(&self) -> &[Storage] {
        &self.storages
    }

    /// The storage of this name.
    pub fn storage(&self, name: &str) -> Option<&Storage> {
        self.storages.iter().find(|storage| storage.name == name)
    }

    /// The Cloudflare account; always there if a database is D1.
    pub fn cloudflare(&self) -> Option<&Cloudflare> {
        self.cloudflare.as_ref()
    }

    /// The databases, critical before high before normal, in file order within. Empty only where the file
    /// serves to read copies: see [`Loaded::with_databases`](super::Loaded::with_databases).
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// The database of this name.
    pub fn database(&self, name: &DatabaseName) -> Option<&Database> {
        self.databases
            .iter()
            .find(|database| database.name == *name)
    }

    /// The scripts and what they may do.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// What is told to whom.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// What is known of it where something else forbids using it.
    pub fn remains(&self) -> Remains {
        Remains {
            agent: self.agent.clone(),
            alerts: self.alerts.clone(),
        }
    }

    /// The HTTP API.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Every file this was read from: the file itself first, then includes, secrets and scripts.
    pub fn inputs(&self) -> &[PathBuf] {
        &self.inputs
    }
}

/// The agent itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// The installation's name.
    pub name: String,
    /// The folder for catalog, spool and lock. Takes a restart to change.
    pub state: PathBuf,
    /// What decides which day it is.
    pub timezone: Tz,
}

/// When jobs run.
#[derive(Debug, Clone, PartialEq)]
pub struct Jobs {
    /// Back up the databases without a schedule of their own.
    pub nightly: Schedule,
    /// Pack the week, then expire.
    pub weekly: Schedule,
    /// Compare inventory and storage.
    pub reconcile: Schedule,
    /// Read one seventh of all stored bytes again.
    pub verify: Schedule,
    /// Rehearse the worst day; `None`: never by itself.
    pub drill: Option<Schedule>,
    /// How old a missed run may be to be made good on start; zero means never.
    pub catch_up: Duration,
}

/// How databases are exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// How many at once, 1 to 64.
    pub concurrency: usize,
    /// The values for a database that does not say otherwise.
    pub defaults: ExportValues,
}

/// How one database is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportValues {
    /// The time it may take, retries and waits for the shared request budget not counted; never zero.
    pub timeout: Duration,
    /// Further attempts after a lost connection, 0 to 20.
    pub retries: u32,
    /// Compression of the daily files.
    pub compression: Compression,
    /// What a copy must pass before it counts.
    pub verify: VerifyMode,
}

/// What a copy must pass before it counts.
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

/// How long copies are kept; all numbers at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Days a daily copy is kept.
    pub daily_days: u32,
    /// Weeks a weekly archive is kept.
    pub weekly_weeks: u32,
    /// Verified copies of each database that expiry never touches.
    pub min_copies: u32,
    /// The time between marking a copy and deleting it.
    pub grace: Duration,
}

/// One place where copies are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Its name, unique.
    pub name: String,
    /// What it is.
    pub kind: StorageKind,
}

/// What a storage is.
#[derive(Debug, Clone, PartialEq)]
pub enum StorageKind {
    /// A folder on this host.
    Directory(PathBuf),
    /// A bucket.
    S3(S3),
}

/// A bucket that speaks S3.
#[derive(Debug, Clone, PartialEq)]
pub struct S3 {
    /// The service's URL, without a slash at the end.
    pub endpoint: String,
    /// The bucket's name.
    pub bucket: String,
    /// The region; `auto` for R2.
    pub region: String,
    /// What every key begins with: empty, or ending in a slash.
    pub prefix: String,
    /// The access key.
    pub access_key_id: Secret,
    /// Its secret.
    pub secret_access_key: Secret,
}

/// The Cloudflare account that D1 databases belong to.
#[derive(Debug, Clone, PartialEq)]
pub struct Cloudflare {
    /// The account's id.
    pub account_id: String,
    /// The API token.
    pub api_token: Secret,
    /// The API's address, without a slash at the end.
    pub api_url: String,
}

/// One database, with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Its name, unique.
    pub name: DatabaseName,
    /// Where it is.
    pub source: SourceSpec,
    /// What a copy of a SQLite file is made of; of no meaning for D1.
    pub form: CopyMethod,
    /// Its place in export and restore.
    pub priority: Priority,
    /// What it holds, for people; may be empty.
    pub description: String,
    /// Those of the other databases that are restored before it; never in a circle.
    pub restore_after: Vec<DatabaseName>,
    /// Why it has its place in the order of restore, for people; may be empty.
    pub reason: String,
    /// How it is exported.
    pub export: ExportValues,
    /// A schedule of its own; `None` means it belongs to the nightly job.
    pub schedule: Option<Schedule>,
    /// Tables whose rows are left out.
    pub skip_data: Vec<String>,
    /// A script that serves this database only.
    pub script: Option<PathBuf>,
    /// When to worry about it.
    pub alerts: Thresholds,
    /// Tables for which another part of their rows counts than [`Thresholds::rows_below`].
    pub table_rows_below: BTreeMap<String, f64>,
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A Cloudflare D1 database.
    D1 {
        /// Its UUID, lower-case with hyphens.
        id: String,
        /// How it is read.
        method: D1Method,
    },
    /// A SQLite file.
    Sqlite(PathBuf),
}

impl SourceSpec {
    /// `d1` or `sqlite`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::D1 { .. } => "d1",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// The UUID or the path, for people.
    pub fn location(&self) -> String {
        match self {
            Self::D1 { id, .. } => id.clone(),
            Self::Sqlite(path) => path.display().to_string(),
        }
    }
}

/// How a D1 database is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum D1Method {
    /// By queries, with evidence that nothing changed meanwhile.
    #[default]
    Raw,
    /// By Cloudflare's own export, which blocks the database while it runs; refused where it would lose something.
    Export,
}

/// What a copy of a SQLite file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyMethod {
    /// SQL text where that carries everything, else an image.
    #[default]
    Auto,
    /// SQL text; what it cannot carry becomes an exception.
    Sql,
    /// An image: the pages of the file.
    Image,
}

/// The word of `method`, for both kinds of source.
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

/// The scripts and what they may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Hooks {
    /// Script files, in the order of the file.
    pub scripts: Vec<PathBuf>,
    /// The time one hook may take; never zero.
    pub timeout: Duration,
    /// Hosts they may call.
    pub http_allow: Vec<String>,
    /// Programs they may start, absolute paths.
    pub exec_allow: Vec<PathBuf>,
    /// Variables they may read.
    pub env_allow: Vec<String>,
    /// What a failing before-hook does.
    pub on_error: OnError,
}

/// What a failing before-hook does to the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnError {
    /// The backup does not run.
    #[default]
    Abort,
    /// The backup runs all the same.
    Continue,
}

/// What is told to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerts {
    /// Tell about backups that went well.
    pub on_success: bool,
    /// Tell about backups that failed.
    pub on_failure: bool,
    /// The thresholds of a database that has none of its own.
    pub thresholds: Thresholds,
    /// No name, size or error text leaves this host.
    pub redact: bool,
    /// Where alerts go; may be empty.
    pub sinks: Vec<Sink>,
}

/// One receiver of alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    /// Its name, unique.
    pub name: String,
    /// What it speaks.
    pub kind: SinkKind,
    /// Its URL.
    pub url: Secret,
    /// The script whose `format_alert` writes the message; `None` means the built-in form.
    pub format: Option<PathBuf>,
    /// Only these events; empty means all.
    pub only: Vec<String>,
    /// From this severity on.
    pub min_severity: AlertLevel,
    /// Only what concerns these databases; empty means all.
    pub databases: Vec<DatabaseName>,
    /// The key that signs a webhook's body; `None` means unsigned.
    pub secret: Option<Secret>,
    /// Addresses of private networks are allowed.
    pub allow_private: bool,
}

/// What a sink speaks.
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
    /// The key that names it in the file.
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

/// How grave an event is.
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

/// The HTTP API.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// The address to listen on. Takes a restart to change.
    pub listen: SocketAddr,
    /// The address people use, without a slash at the end.
    pub public_url: String,
    /// Proxies whose word on the client's address is believed.
    pub trusted_proxies: Vec<Network>,
    /// The header in which they give it.
    pub client_ip_header: String,
    /// Further names that clients may call this server by, in lower case and without a port.
    pub hosts: Vec<String>,
    /// Clients let in by address alone.
    pub allow_ips: Vec<Network>,
    /// What everybody may read.
    pub open: Vec<Opening>,
    /// A key that is older is to be replaced.
    pub rotate_after: Duration,
    /// Cloudflare Access, where it stands in front.
    pub access: Option<Access>,
    /// API keys.
    pub keys: Vec<ApiKey>,
}

impl Http {
    /// True where some way of letting clients in is configured.
    pub fn has_auth(&self) -> bool {
        self.access.is_some() || !self.keys.is_empty() || !self.allow_ips.is_empty()
    }
}

/// What `open` may give to everybody: nothing that holds a row of a database, tells how to restore one, or does anything.
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
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Dashboard,
        Self::Status,
        Self::List,
        Self::Jobs,
        Self::Events,
        Self::Metrics,
    ];

    /// The word in the file.
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
    /// The team, as in `<team>.cloudflareaccess.com`.
    pub team: String,
    /// The application's audience tag.
    pub aud: String,
}

/// One API key, known by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id, unique.
    pub id: String,
    /// The digest of its secret.
    pub sha256: Sha256,
    /// What it may do; never empty.
    pub scopes: Vec<Scope>,
    /// The moment it was made; `None`: nobody wrote it down.
    pub created: Option<DateTime<Utc>>,
    /// The moment from which it is refused.
    pub expires: Option<DateTime<Utc>>,
    /// Where it may be used from; empty means anywhere.
    pub allow_ips: Vec<Network>,
}

/// What an API key may do.
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
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Download => "download",
            Self::Trigger => "trigger",
            Self::Metrics => "metrics",
        }
    }
}

/// A configuration and what was noticed while reading it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Findings that do not forbid using it.
    pub warnings: super::Problems,
}

impl Config {
    /// The file this was read from.
    pub fn path(&self) -> &Path {
        self.inputs.first().map_or(Path::new(""), PathBuf::as_path)
    }
}
