//! Loads the modules that a script imports. Invariant: only files in the script's own folder are loaded, regardless of
//! names and links.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::explain::raised;
use super::wire::SCRIPT_MAX_BYTES;
use crate::config::read_text;

/// Loads modules from one folder.
pub(super) struct Jail {
    folder: PathBuf,
    /// Modules being loaded, outermost first.
    loading: Arc<Mutex<Vec<String>>>,
}

impl Jail {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            loading: Arc::default(),
        }
    }

    fn load(&self, engine: &Engine, name: &str) -> Result<Module, Refused> {
        let text = self.read(name).map_err(Refused::Name)?;
        let mut ast = engine
            .compile(&text)
            .map_err(|error| Refused::Inside(error.into()))?;
        ast.set_source(
            self.folder
                .join(format!("{name}.rhai"))
                .display()
                .to_string(),
        );
        Module::eval_ast_as_new(Scope::new(), &ast, engine).map_err(Refused::Inside)
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(format!(
                "`{name}` is not a module's name\nhint: write the name of a file beside this one without `.rhai`"
            ));
        }
        let unreadable = |error| format!("module `{name}` cannot be read: {error}");
        let folder = self.folder.canonicalize().map_err(unreadable)?;
        let path = folder.join(format!("{name}.rhai"));
        let path = path.canonicalize().map_err(unreadable)?;
        if path.parent() != Some(&folder) {
            return Err(format!(
                "module `{name}` is a link out of the scripts' folder"
            ));
        }
        let size = path.metadata().map_err(unreadable)?.len();
        if size > SCRIPT_MAX_BYTES as u64 {
            return Err(format!("module `{name}` is too long for a script"));
        }
        read_text(&path).map_err(unreadable)
    }

    fn enter(&self, name: &str) -> Result<(), String> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if loading.iter().any(|known| known == name) {
            return Err(format!(
                "module `{name}` imports itself: {}",
                loading.join(" → ")
            ));
        }
        loading.push(name.to_owned());
        Ok(())
    }
}

enum Refused {
    Name(String),
    Inside(Box<EvalAltResult>),
}

impl ModuleResolver for Jail {
    fn resolve(
        &self,
        engine: &Engine,
        _: Option<&str>,
        name: &str,
        at: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        // For an error that only reports a missing module, the interpreter keeps nothing but the name.
        let inside = |error| Box::new(EvalAltResult::ErrorInModule(name.to_owned(), error, at));
        let refused = |message: String| inside(raised(message));
        self.enter(name).map_err(refused)?;
        let loaded = self.load(engine, name);
        self.loading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        match loaded {
            Ok(module) => Ok(module.into()),
            Err(Refused::Name(message)) => Err(refused(message)),
            Err(Refused::Inside(error)) => Err(inside(error)),
        }
    }
}
