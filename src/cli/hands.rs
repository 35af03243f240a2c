//! Carries out requests of commands in a running daemon. Invariant: it uses the functions and messages of the commands
//! themselves, so that the result does not depend on which process did the work.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::exit::{Exit, Refusal};
use super::shown::Shown;
use super::{backup, drill, reconcile, verify, week};
use crate::daemon::wish::{CarryOut, Means, Outcome, Verb, Wish};
use crate::engine::backup::Request;
use crate::engine::rehearse::{Ask, Knowledge};
use crate::types::Trigger;

/// The commands' own functions.
pub(super) struct Hands;

impl CarryOut for Hands {
    fn carry_out<'a>(&'a self, wish: &'a Wish, means: &'a Means) -> BoxFuture<'a, Outcome> {
        async move {
            match carry_out(wish, means).await {
                Ok(shown) => shown.into_outcome(),
                Err(error) => failed(&error),
            }
        }
        .boxed()
    }
}

async fn carry_out(wish: &Wish, means: &Means) -> anyhow::Result<Shown> {
    let (json, watch, stop) = (wish.json, means.watch.as_ref(), &means.stop);
    let wiring = &means.built.wiring;
    match &wish.verb {
        Verb::Backup { databases, reason } => {
            let request = Request {
                databases: databases.clone(),
                trigger: Trigger::Manual,
                reason: reason.clone(),
            };
            let night = backup::make(wiring, &means.state, &request, watch, stop).await?;
            Ok(backup::shown(json, &night))
        }
        Verb::Archive => week::pack(json, wiring, &means.state, watch, stop).await,
        Verb::Expire => week::let_go(json, &means.built, stop).await,
        Verb::Verify { keys } => verify::read(json, wiring, keys.as_deref(), watch, stop).await,
        Verb::Drill {
            databases,
            storage,
            cold,
        } => {
            let ask = Ask {
                databases: databases.clone(),
                storage: storage.clone(),
                knowledge: Knowledge::of_cold(*cold),
                trigger: Trigger::Manual,
            };
            let place = drill::folder(means.state.path())?;
            drill::restore(json, wiring, &ask, &place, watch, stop).await
        }
        Verb::Reconcile { wait } => reconcile::compare(json, wiring, *wait, stop).await,
    }
}

fn failed(error: &anyhow::Error) -> Outcome {
    let refusal = error.downcast_ref::<Refusal>();
    let exit = refusal.map_or(Exit::Failed, |refusal| refusal.exit);
    Outcome {
        error: Some(format!("{error:#}")),
        exit: exit as u8,
        ..Outcome::default()
    }
}
