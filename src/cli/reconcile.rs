//! `patina reconcile` and `patina rebuild`: what the storages hold, beside what the catalog knows.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::args::{RebuildArgs, ReconcileArgs};
use super::context::{Context, in_spite_of, tell};
use super::exit::{Exit, Refusal};
use super::table::{Side, Table};
use crate::app;
use crate::catalog::Catalog;
use crate::engine::presence::Presence;
use crate::engine::reconcile::{self, Patience, StorageReport};
use crate::engine::state::StateDir;
use crate::engine::{rebuild, reconcile::SECOND_LOOK};
use crate::types::{ObjectKey, counted, either};

/// Runs `patina reconcile`.
pub(super) async fn run(context: &Context, args: &ReconcileArgs) -> anyhow::Result<Exit> {
    if let Some(storage) = &args.replaced {
        return replaced(context, storage).await;
    }
    let wiring = context.wiring().await?;
    let patience = match args.wait {
        true => Patience::Wait,
        false => Patience::Leave,
    };
    let never = CancellationToken::new();
    let reports = reconcile::run(&wiring, patience, &never).await?;
    let exit = exit(&reports);
    if context.json {
        let document = json!({ "storages": documents(&reports) });
        return Ok(in_spite_of(context.print_json(&document), exit));
    }
    let shown = context.print(table(&reports));
    reports.iter().for_each(details);
    Ok(in_spite_of(shown, exit))
}

/// Runs `patina reconcile --replaced`.
async fn replaced(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let wiring = context.wiring().await?;
    let mut storages = wiring.config.storages().iter();
    let Some(storage) = storages.find(|storage| storage.name == name) else {
        let known: Vec<&str> = wiring.stores.iter().map(|store| store.name()).collect();
        let text = format!(
            "no storage is called `{name}`\nhint: the configuration has {}",
            known.join(", ")
        );
        return Err(Refusal::usage(text).into());
    };
    let lost = match app::presence_in(storage, &wiring.catalog).await? {
        Presence::Lost(lost) => lost,
        Presence::There => {
            let text = format!(
                "storage `{name}` holds objects that it should\nhint: `patina reconcile` says which are missing"
            );
            return Err(Refusal::failed(text).into());
        }
        Presence::New => {
            let text = format!("storage `{name}` is used as it is: nothing is known to lie there");
            return Err(Refusal::failed(text).into());
        }
        Presence::Unknown(error) => return Err(Refusal::failed(error.to_string()).into()),
    };
    let keys = reconcile::replaced(&wiring, &lost)?;
    if context.json {
        context.print_json(&json!({ "storage": name, "missing": keys }))?;
        return Ok(Exit::Ok);
    }
    context.print(format_args!(
        "storage `{name}` is taken as empty; {} missing there from now on\n\
         hint: the next backup uses it again; nothing of these databases expires until `patina ack DB`",
        format_args!(
            "{} {}",
            counted(keys.len(), "object"),
            either(keys.len(), "is", "are")
        )
    ))?;
    Ok(Exit::Ok)
}

/// Runs `patina rebuild`.
pub(super) async fn rebuild(context: &Context, args: &RebuildArgs) -> anyhow::Result<Exit> {
    let config = std::sync::Arc::new(context.load()?.config);
    let state = StateDir::lock(&config.agent().state)?;
    let catalog = Catalog::open(&StateDir::catalog_path(state.path()))?;
    let wiring = app::wiring_to_read(config, catalog).await?;
    let never = CancellationToken::new();
    let mut report = rebuild::run(&wiring, &never).await?;
    if let Some(instance) = &args.instance {
        if !report.instances.contains(instance) {
            let known = report.instances.join(", ");
            let text =
                format!("no copy was written by `{instance}`\nhint: there are copies of {known}");
            return Err(Refusal::usage(text).into());
        }
        wiring.catalog.take_over(instance)?;
        report.instance = wiring.catalog.instance()?;
    }
    let exit = exit(&report.storages);
    if context.json {
        let document = json!({
            "storages": documents(&report.storages),
            "instances": report.instances,
            "instance": report.instance,
        });
        return Ok(in_spite_of(context.print_json(&document), exit));
    }
    let quiet = counted(rebuild::QUIET.num_hours(), "hour");
    let shown = context.print(format_args!(
        "{}\n\nThe catalog knows what the storages hold. Nothing is deleted for {quiet}.\n\
         `patina verify --all` reads every byte; until then no copy counts as verified.",
        table(&report.storages)
    ));
    report.storages.iter().for_each(details);
    if report.instances.iter().any(|id| *id != report.instance) {
        let all = report.instances.join(", ");
        tell(format_args!(
            "warning: copies of other installations were found ({all}); this one is {}, and expires only its own\n\
             hint: with a new state directory, `patina rebuild --instance ID` goes on as one of them",
            report.instance
        ));
    }
    Ok(in_spite_of(shown, exit))
}

fn exit(reports: &[StorageReport]) -> Exit {
    let any = |is: fn(&StorageReport) -> bool| reports.iter().any(is);
    let is_damaged = |report: &StorageReport| {
        !(report.missing.is_empty() && report.changed.is_empty() && report.absent.is_empty())
    };
    match () {
        () if any(is_damaged) => Exit::Damage,
        () if !reports.is_empty() && reports.iter().all(|report| report.error.is_some()) => {
            Exit::Failed
        }
        () if any(|report| report.error.is_some()) => Exit::Partly,
        () => Exit::Ok,
    }
}

fn table(reports: &[StorageReport]) -> Table<7> {
    let mut table = Table::new([
        ("STORAGE", Side::Left),
        ("OBJECTS", Side::Right),
        ("ADOPTED", Side::Right),
        ("MISSING", Side::Right),
        ("CHANGED", Side::Right),
        ("UNTRACKED", Side::Right),
        ("FOREIGN", Side::Right),
    ]);
    for report in reports {
        table.row([
            report.storage.clone(),
            report.listed.to_string(),
            report.adopted.len().to_string(),
            (report.missing.len() + report.absent.len()).to_string(),
            report.changed.len().to_string(),
            report.untracked.len().to_string(),
            report.foreign.to_string(),
        ]);
    }
    table
}

fn details(report: &StorageReport) {
    let storage = &report.storage;
    if let Some(error) = &report.error {
        tell(format_args!(
            "error: {error}\nhint: storage `{storage}` was not compared to its end; run this again when it answers"
        ));
    }
    each("adopted", &report.adopted, storage);
    each(
        "there again, to be read by `patina verify`",
        &report.returned,
        storage,
    );
    each("error: missing", &report.missing, storage);
    each(
        "error: of another length than was stored",
        &report.changed,
        storage,
    );
    each("warning: absent", &report.absent, storage);
    if !report.absent.is_empty() {
        let later = counted(SECOND_LOOK.as_secs() / 60, "minute");
        tell(format_args!(
            "hint: what is still absent at a look {later} later is missing: run this again, or with `--wait`"
        ));
    }
    for (key, why) in &report.untracked {
        tell(format_args!(
            "warning: untracked in {storage}: {key}: {why}"
        ));
    }
}

fn each(what: &str, keys: &[ObjectKey], storage: &str) {
    for key in keys {
        tell(format_args!("{what} in {storage}: {key}"));
    }
}

fn documents(reports: &[StorageReport]) -> Vec<Value> {
    let reports = reports.iter();
    reports
        .map(|report| {
            let untracked = report.untracked.iter();
            json!({
                "storage": report.storage,
                "error": report.error,
                "listed": report.listed,
                "foreign": report.foreign,
                "adopted": report.adopted,
                "returned": report.returned,
                "missing": report.missing,
                "absent": report.absent,
                "changed": report.changed,
                "untracked": untracked
                    .map(|(key, why)| json!({ "key": key, "why": why }))
                    .collect::<Vec<_>>(),
            })
        })
        .collect()
}
