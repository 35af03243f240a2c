//! Checks everything that a configuration names. Invariant: each check ends in time, changes nothing permanently, and
//! shows no secret.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use rustix::fs::Access;
use tokio_util::sync::CancellationToken;

use super::claim::{self, Own, Place};
use super::{AppError, absent_folder, known, reach, system_clock};
use crate::catalog::Item;
use crate::clock::Clock;
use crate::config::{Config, Database, SourceSpec, Storage, StorageKind};
use crate::engine::presence::{self, Known, Presence};
use crate::excerpt;
use crate::net::install_tls;
use crate::source::{SqliteSource, d1};
use crate::store::{
    DirStore, Operation, S3Patience, S3Store, Store, StoreError, StoreErrorKind, Tried,
};
use crate::types::counted;

/// Timeout of one check. A service that needs longer for a few bytes is not usable for backups either.
const LIMIT: Duration = Duration::from_secs(30);

/// Timeout of one step of a bucket's check; there are three.
const STEP_LIMIT: Duration = Duration::from_secs(9);

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of concurrent checks; an account may have thousands of databases.
const AT_ONCE: usize = 16;

const PATIENCE: S3Patience = S3Patience {
    connect: Duration::from_secs(5),
    attempt: Duration::from_secs(8),
    idle: Duration::from_secs(8),
    attempts: 3,
    resumes: 1,
    first_delay: Duration::from_millis(300),
};

/// Subject of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A database's source.
    Database,
    /// A storage.
    Storage,
    /// An alert sink.
    Sink,
    /// The Cloudflare API token.
    Token,
}

impl Subject {
    /// Name of the subject in output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Storage => "storage",
            Self::Sink => "sink",
            Self::Token => "token",
        }
    }
}

/// Result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Good,
    /// It works, with this remark.
    Remark(String),
    /// It does not work; the text contains a hint.
    Failed(String),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Its subject.
    pub subject: Subject,
    /// Its name in the configuration.
    pub name: String,
    /// Description of the attempt.
    pub tried: &'static str,
    /// Its result.
    pub outcome: Outcome,
    /// Its duration.
    pub took: Duration,
}

/// Checks every source, storage and sink of `config` and the API token, several at a time; the results are in the order
/// of the file.
///
/// # Errors
/// If the catalog or the D1 client cannot be used.
pub async fn try_all(config: &Config) -> Result<Vec<Trial>, AppError> {
    install_tls();
    let clock = system_clock();
    let catalog = known(config)?;
    let account = config.cloudflare();
    let client = account.map(|account| d1::Client::new(account, Arc::clone(&clock)));
    let client = client.transpose()?;
    let client = client.map(|client| Arc::new(client.with_request_timeout(REQUEST_TIMEOUT)));
    let known = catalog.as_ref().map(Known::of).transpose()?;
    let mut trials: Vec<BoxFuture<'_, Trial>> = Vec::new();
    for database in config.databases() {
        trials.push(of_database(database, client.clone(), &clock));
    }
    if let Some(client) = client {
        let work = async move { token(&client).await }.boxed();
        let tried = "listing databases, and what it should not be able to do";
        trials.push(timed(Subject::Token, "cloudflare", tried, work, &clock));
    }
    for storage in config.storages() {
        let known = known.as_ref().map(|known| known.in_storage(&storage.name));
        let known = known.unwrap_or_default();
        let own = match &catalog {
            Some(catalog) => Own::of(catalog, &storage.name)?,
            None => Own::nobody(&config.agent().name),
        };
        let work = of_storage(storage, own, Arc::clone(&clock), known).boxed();
        let tried = match absent_folder(storage) {
            Some(_) => "looking for the directory",
            None => "storing, reading back, storing again and removing a probe",
        };
        trials.push(timed(Subject::Storage, &storage.name, tried, work, &clock));
    }
    for sink in &config.alerts().sinks {
        let work = reach::reach(sink).boxed();
        let tried = "connecting, without an alert";
        trials.push(timed(Subject::Sink, &sink.name, tried, work, &clock));
    }
    // Checks finish in any order; the results are sorted in the order of the file.
    let numbered = trials.into_iter().enumerate();
    let numbered = numbered.map(|(number, trial)| async move { (number, trial.await) });
    let trials = stream::iter(Vec::from_iter(numbered)).buffer_unordered(AT_ONCE);
    let mut trials: Vec<(usize, Trial)> = trials.collect().await;
    trials.sort_by_key(|(number, _)| *number);
    Ok(trials.into_iter().map(|(_, trial)| trial).collect())
}

fn timed<'a>(
    subject: Subject,
    name: &'a str,
    tried: &'static str,
    work: BoxFuture<'a, Outcome>,
    clock: &Arc<dyn Clock>,
) -> BoxFuture<'a, Trial> {
    let clock = Arc::clone(clock);
    async move {
        let started = clock.elapsed();
        let outcome = tokio::time::timeout(LIMIT, work).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let seconds = LIMIT.as_secs();
            Outcome::Failed(format!("it did not answer within {seconds} s"))
        });
        Trial {
            subject,
            name: name.to_owned(),
            tried,
            outcome,
            took: clock.elapsed().saturating_sub(started),
        }
    }
    .boxed()
}

fn of_database<'a>(
    database: &'a Database,
    client: Option<Arc<d1::Client>>,
    clock: &Arc<dyn Clock>,
) -> BoxFuture<'a, Trial> {
    let name = database.name.as_str();
    match &database.source {
        SourceSpec::Sqlite(path) => {
            let source = SqliteSource::new(path.clone(), std::env::temp_dir());
            let work = async move {
                let opened = tokio::task::spawn_blocking(move || source.try_out()).await;
                match opened {
                    Ok(opened) => told(opened),
                    Err(error) => Outcome::Failed(error.to_string()),
                }
            };
            timed(
                Subject::Database,
                name,
                "opening it read-only",
                work.boxed(),
                clock,
            )
        }
        SourceSpec::D1 { id, .. } => {
            let client = client.expect("validate refuses a D1 database without [cloudflare]");
            let work = async move { told(client.try_out(id, &CancellationToken::new()).await) };
            timed(
                Subject::Database,
                name,
                "reading its metadata, running a query",
                work.boxed(),
                clock,
            )
        }
    }
}

fn told<E: std::fmt::Display>(result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::Good,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

async fn token(client: &d1::Client) -> Outcome {
    match client.excess(&CancellationToken::new()).await {
        Ok(excess) if excess.is_empty() => Outcome::Good,
        Ok(excess) => Outcome::Remark(format!(
            "the API token can also {}\nhint: backups need Account > D1 > Read alone; a narrower token does less harm \
             where it leaks",
            excess.join(", ")
        )),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

async fn of_storage(
    storage: &Storage,
    own: Own,
    clock: Arc<dyn Clock>,
    known: Vec<&Item>,
) -> Outcome {
    if let Some(error) = absent_folder(storage) {
        return match &storage.kind {
            StorageKind::Directory(folder) if known.is_empty() => not_yet(folder),
            _ => Outcome::Failed(error.to_string()),
        };
    }
    let tried = match &storage.kind {
        StorageKind::Directory(folder) => {
            in_folder(storage, folder.clone(), &own, clock, &known).await
        }
        StorageKind::S3(settings) => {
            match S3Store::connect_with(&storage.name, settings, &own.instance, clock, PATIENCE) {
                Ok(store) => in_bucket(&store, &own, &known).await,
                Err(error) => Err(error),
            }
        }
    };
    match tried {
        Ok(remarks) if remarks.is_empty() => Outcome::Good,
        Ok(remarks) => Outcome::Remark(excerpt::joined(&remarks)),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Fails if a backup would fail; otherwise returns remarks.
async fn in_folder(
    storage: &Storage,
    folder: std::path::PathBuf,
    own: &Own,
    clock: Arc<dyn Clock>,
    known: &[&Item],
) -> Result<Vec<String>, StoreError> {
    let (name, instance) = (storage.name.clone(), own.instance.clone());
    let opened = tokio::task::spawn_blocking(move || DirStore::open(&name, &folder, &instance));
    let store = opened.await.expect("opening a folder does not panic")?;
    let held = holding(&store, own, known).await;
    held.refuse(&store)?;
    let tried = store.try_out(clock.now()).await?;
    Ok(remarks(store.name(), tried, held))
}

async fn in_bucket(store: &S3Store, own: &Own, known: &[&Item]) -> Result<Vec<String>, StoreError> {
    let held = holding(store, own, known);
    let (tried, held) = tokio::join!(store.try_out(STEP_LIMIT), held);
    let tried = tried?;
    held.refuse(store)?;
    Ok(remarks(store.name(), tried, held))
}

/// Content of a storage, compared with the catalog.
#[derive(Default)]
struct Holding {
    /// Number of objects that the catalog does not have; 0 if it has any of them, or if they cannot be listed.
    unknown: usize,
    /// The reason that a backup would store nothing there.
    refusal: Option<StoreErrorKind>,
}

impl Holding {
    /// Fails as a backup would.
    fn refuse(&self, store: &dyn Store) -> Result<(), StoreError> {
        let refused = |kind: &StoreErrorKind| {
            StoreError::new(store.name(), Operation::Prepare, None, kind.clone())
        };
        self.refusal.as_ref().map(refused).map_or(Ok(()), Err)
    }
}

async fn holding(store: &dyn Store, own: &Own, known: &[&Item]) -> Holding {
    let looked = async {
        let mut holding = Holding::default();
        match presence::look(store, known).await {
            Presence::Lost(lost) => {
                holding.refusal = Some(lost.refusal());
                return holding;
            }
            Presence::New => {
                let listing = store.list().await;
                holding.unknown = listing.map_or(0, |listing| listing.objects.len());
            }
            Presence::There | Presence::Unknown(_) => {}
        }
        if let Ok(Place::Taken(owner)) = claim::find(store, own).await {
            holding.refusal = Some(owner.refusal());
        }
        holding
    };
    // A storage that hangs is reported by the check itself.
    let looked = tokio::time::timeout(STEP_LIMIT, looked).await;
    looked.unwrap_or_default()
}

fn remarks(name: &str, tried: Tried, held: Holding) -> Vec<String> {
    let mut remarks = Vec::new();
    if held.unknown > 0 {
        remarks.push(format!(
            "storage `{name}` holds {} that this installation does not know\n\
             hint: after a loss of the state, `patina rebuild` finds them; else look at them: each installation needs a \
             place of its own",
            counted(held.unknown as u64, "object")
        ));
    }
    if !tried.refuses_taken {
        remarks.push(format!(
            "storage `{name}` has no conditional writes: a key is looked at before it is written\n\
             hint: let no two agents write into one prefix of it"
        ));
    }
    let missing = [
        (tried.unparted, "copies of more than 16 MB cannot be stored"),
        (tried.unremoved, "copies are stored, and none can expire"),
        (
            tried.unlisted,
            "copies are stored, and `reconcile` and `rebuild` cannot work",
        ),
    ];
    for (error, consequence) in missing {
        let Some(error) = error.map(|error| error.to_string()) else {
            continue;
        };
        let (message, hint) = excerpt::split_hint(&error);
        let hint = hint.map(|hint| format!("\nhint: {hint}"));
        remarks.push(format!(
            "{message}; {consequence}{}",
            hint.unwrap_or_default()
        ));
    }
    remarks
}

/// Result for a folder that the first backup will create.
fn not_yet(folder: &Path) -> Outcome {
    if folder.exists() {
        let place = folder.display();
        let text =
            format!("`{place}` is not a directory\nhint: correct this storage's `directory`");
        return Outcome::Failed(text);
    }
    let above = folder.ancestors().skip(1).find(|above| above.exists());
    let above = above.filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    match rustix::fs::access(above, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Outcome::Remark(format!(
            "the directory `{}` is not there yet; the first backup makes it",
            folder.display()
        )),
        Err(error) => Outcome::Failed(format!(
            "the directory `{}` is not there and cannot be made: {error}\n\
             hint: make it, and let the user who runs patina write it",
            folder.display()
        )),
    }
}
