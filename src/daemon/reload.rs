//! Reads the configuration again on SIGHUP. Invariant: a file with a mistake changes nothing, and running jobs finish on
//! what they began with.

use std::io;
use std::sync::{Arc, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::systemd::Manager;
use super::{Daemon, rejected};
use crate::app;
use crate::config;
use crate::task::Task;

/// SIGHUP, from now on.
pub(super) struct Hangups(Signal);

impl Hangups {
    pub(super) fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Reloads at each signal; it never returns.
    pub(super) async fn serve(
        mut self,
        daemon: &Daemon,
        replace: mpsc::Sender<Vec<Arc<dyn Task>>>,
    ) {
        while self.0.recv().await.is_some() {
            Manager::reloading();
            if daemon.reload().await {
                // Only a driver that ended takes none, and with it the daemon ends.
                let _ = replace.send(daemon.tasks()).await;
            }
            Manager::ready();
        }
        std::future::pending().await
    }
}

impl Daemon {
    /// Reads the file again and lets jobs that begin from now on work on it; false where it cannot be used.
    async fn reload(&self) -> bool {
        let built = self.built();
        let old = &built.wiring;
        let loaded = match app::load(old.config.path()) {
            Ok(loaded) => loaded,
            Err(problems) => {
                let mistakes = problems.mistakes(rejected::MOST_MISTAKES);
                let problems = problems.short();
                tracing::error!("the configuration is not reloaded, the old one stays: {problems}");
                rejected::tell_rejected(old, &mistakes);
                return false;
            }
        };
        let changes = config::diff(&old.config, &loaded.config);
        let new = match app::rebuilt(Arc::new(loaded.config), old, &self.state).await {
            Ok(new) => new,
            Err(error) => {
                tracing::error!("the configuration is not reloaded, the old one stays: {error}");
                rejected::tell_rejected(old, &error.to_string());
                return false;
            }
        };
        rejected::tell_accepted(&new.wiring);
        *self.built.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        tracing::info!("the configuration is reloaded");
        for change in changes {
            tracing::info!("{change}");
        }
        true
    }
}
