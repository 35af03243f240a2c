//! Calls hooks of real scripts through real child processes.

mod escape;
mod good;
mod guide;
mod hostile;
mod mistakes;
mod policy;
mod reach;
mod samples;

use std::path::{Path, PathBuf};

use patina::config::Config;
use patina::hook::{HookError, HookName, Hooks, RhaiHooks};
use serde_json::{Value, json};

/// This program, as the daemon would start it.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_patina"))
}

/// A configuration with scripts.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    /// One script `scripts/it.rhai`; `settings` stand in `[hooks]`.
    fn new(script: &str, settings: &str) -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(desk.path("scripts")).unwrap();
        desk.write("scripts/it.rhai", script);
        desk.write(
            "patina.toml",
            &format!(
                "[[database]]\nname = \"orders\"\nsqlite = \"orders.db\"\n\
                 [hooks]\nscripts = [\"scripts/it.rhai\"]\n{settings}\n"
            ),
        );
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn config(&self) -> Config {
        let loaded = Config::load(&self.path("patina.toml"));
        loaded
            .unwrap_or_else(|problems| panic!("{}", problems.short()))
            .config
    }

    fn hooks(&self) -> RhaiHooks {
        self.hooks_by(program())
    }

    fn hooks_by(&self, program: &Path) -> RhaiHooks {
        let hooks = RhaiHooks::new(&self.config(), program);
        hooks.unwrap_or_else(|problems| panic!("{}", problems.short()))
    }

    async fn call(
        &self,
        hook: HookName,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, HookError> {
        self.hooks().call(hook, None, arguments).await
    }
}

/// What `before_job` returns whose body this is.
async fn before_job(body: &str, settings: &str) -> Result<Option<Value>, HookError> {
    let desk = Desk::new(&format!("fn before_job(job) {{ {body} }}"), settings);
    desk.call(HookName::BeforeJob, vec![json!({})]).await
}

/// What a text formed by this expression is.
async fn text_of(expression: &str, settings: &str) -> Result<Option<Value>, HookError> {
    let desk = Desk::new(
        &format!("fn format_alert(alert, sink) {{ {expression} }}"),
        settings,
    );
    desk.call(HookName::FormatAlert, vec![json!({}), json!({})])
        .await
}
