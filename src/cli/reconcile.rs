//! `patina reconcile` and `patina rebuild`: compare the content of the storages with the catalog.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::args::{RebuildArgs, ReconcileArgs};
use super::context::{Context, in_spite_of};
use super::exit::{Exit, Refusal};
use super::handover::{Without, offer};
use super::shown::Shown;
use super::table::{Side, Table};
use crate::app;
use crate::daemon::wish::Verb;
use crate::engine::presence::Presence;
use crate::engine::reconcile::{self, Patience, StorageReport};
use crate::engine::state::StateDir;
use crate::engine::{rebuild, reconcile::SECOND_LOOK};
use crate::types::{ObjectKey, counted, either};
use crate::wiring::Wiring;

/// Runs `patina reconcile`.
pub(super) async fn run(context: &Context, args: &ReconcileArgs) -> anyhow::Result<Exit> {
    if let Some(storage) = &args.replaced {
        return replaced(context, storage).await;
    }
    let verb = Verb::Reconcile { wait: args.wait };
    if let Some(exit) = offer(context, verb, Without::Alone).await? {
        return Ok(exit);
    }
    let wiring = context.wiring().await?;
    let never = CancellationToken::new();
    let shown = compare(context.json, &wiring, args.wait, &never).await?;
    Ok(shown.print(context))
}

/// Compares every storage with the catalog; returns the output.
pub(super) async fn compare(
    json: bool,
    wiring: &Wiring,
    wait: bool,
    stop: &CancellationToken,
) -> anyhow::Result<Shown> {
    let patience = match wait {
        true => Patience::Wait,
        false => Patience::Leave,
    };
    let reports = reconcile::run(wiring, patience, stop).await?;
    let exit = exit(&reports);
    if json {
        let document = json!({ "storages": documents(&reports) });
        return Ok(Shown::document(exit, &document));
    }
    let mut shown = Shown::text(exit, table(&reports));
    for report in &reports {
        details(report, &mut shown);
    }
    Ok(shown)
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
    let catalog = app::catalog(&config, &state).await?;
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
        report.instance = wiring.catalog.take_over(instance)?;
        if report.instance != *instance {
            let text = format!(
                "this installation is `{}` and has copies of its own: it cannot go on as `{instance}`\n\
                 hint: set `[agent] state` to an empty folder, and run this again",
                report.instance
            );
            return Err(Refusal::usage(text).into());
        }
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
    let mut shown = Shown::text(
        exit,
        format_args!(
            "{}\n\nThe catalog knows what the storages hold. Nothing is deleted for {quiet}.\n\
         `patina verify --all` reads every byte; until then no copy counts as verified.",
            table(&report.storages)
        ),
    );
    for storage in &report.storages {
        details(storage, &mut shown);
    }
    if report.instances.iter().any(|id| *id != report.instance) {
        let all = report.instances.join(", ");
        shown.line(format_args!(
            "warning: copies of several installations were found ({all}); this one is {}: it names, counts and expires \
             only its own\n\
             hint: `patina rebuild --instance ID` goes on as another of them, where this one has no copies; \
             `patina restore KEY` takes any copy by its key",
            report.instance
        ));
    }
    Ok(shown.print(context))
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

fn details(report: &StorageReport, shown: &mut Shown) {
    let storage = &report.storage;
    if let Some(error) = &report.error {
        shown.line(format_args!(
            "error: {error}\nhint: storage `{storage}` was not compared to its end; run this again when it answers"
        ));
    }
    each("adopted", &report.adopted, storage, shown);
    each(
        "there again, to be read by `patina verify`",
        &report.returned,
        storage,
        shown,
    );
    each("error: missing", &report.missing, storage, shown);
    each(
        "error: of another length than was stored",
        &report.changed,
        storage,
        shown,
    );
    each("warning: absent", &report.absent, storage, shown);
    if !report.absent.is_empty() {
        let later = counted(SECOND_LOOK.as_secs() / 60, "minute");
        shown.line(format_args!(
            "hint: what is still absent at a look {later} later is missing: run this again, or with `--wait`"
        ));
    }
    if report.others > 0 {
        shown.line(format_args!(
            "note: {} {} left alone in {storage}: another installation wrote what lies there\n\
             hint: if this installation lost its state folder, `patina rebuild` takes them in",
            counted(report.others, "object"),
            either(report.others, "is", "are")
        ));
    }
    for (key, why) in &report.untracked {
        shown.line(format_args!(
            "warning: untracked in {storage}: {key}: {why}"
        ));
    }
}

fn each(what: &str, keys: &[ObjectKey], storage: &str, shown: &mut Shown) {
    for key in keys {
        shown.line(format_args!("{what} in {storage}: {key}"));
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
                "others": report.others,
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
