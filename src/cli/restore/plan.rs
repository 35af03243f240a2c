//! Shows what a restore would do, without doing it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{What, overwrite};
use crate::cli::args::RestoreArgs;
use crate::cli::context::{Context, printable};
use crate::cli::exit::{Exit, Refusal};
use crate::engine::restore::{Origin, Overwrite, RestoreError, Target};
use crate::types::{ByteCount, Exception, Manifest, counted};

/// Shows the plan of one copy.
pub(super) fn show(context: &Context, args: &RestoreArgs, what: &What) -> anyhow::Result<Exit> {
    let step = Step::of(what, &args.to, args).map_err(|error| what.told(error))?;
    print(context, args, &[step])
}

/// Shows the plan of every database.
pub(super) fn show_all(
    context: &Context,
    args: &RestoreArgs,
    whats: &[(What, PathBuf)],
) -> anyhow::Result<Exit> {
    let steps = whats
        .iter()
        .map(|(what, target)| Step::of(what, target, args).map_err(|error| what.told(error)));
    let steps = steps.collect::<anyhow::Result<Vec<_>>>()?;
    print(context, args, &steps)
}

/// One planned restore.
struct Step {
    copy: String,
    from: String,
    text_bytes: Option<u64>,
    rows: Option<u64>,
    target: String,
    /// Treatment of an existing target.
    action: &'static str,
    is_refused: bool,
    is_image: bool,
    /// The copy's proof; `None` if nothing is known about it.
    proof: Option<String>,
    exceptions: Vec<Exception>,
}

impl Step {
    fn of(what: &What, target: &Path, args: &RestoreArgs) -> Result<Self, RestoreError> {
        let claimed = Target::claim(target)?;
        let is_refused = claimed.is_taken() && overwrite(args) == Overwrite::Never;
        let action = match (claimed.is_taken(), args.tables.is_empty()) {
            (false, _) => "new database",
            (true, true) if is_refused => "is there already: needs `--replace`",
            (true, true) => "replaced, after a safety copy beside it",
            (true, false) => "tables are put into it, after a safety copy beside it",
        };
        let manifest = what.origin.manifest();
        Ok(Self {
            copy: what.name.clone(),
            from: from(&what.origin),
            text_bytes: what.origin.text_bytes(),
            rows: manifest.map(|manifest| manifest.evidence.total_rows()),
            target: target.display().to_string(),
            action,
            is_refused: is_refused && args.tables.is_empty(),
            is_image: manifest.is_some_and(Manifest::is_image),
            proof: manifest.map(Manifest::proof),
            exceptions: manifest.map_or_else(Vec::new, |manifest| manifest.exceptions.clone()),
        })
    }

    fn document(&self) -> Value {
        json!({
            "copy": self.copy,
            "from": self.from,
            "text_bytes": self.text_bytes,
            "rows": self.rows,
            "target": self.target,
            "action": self.action,
            "form": if self.is_image { "image" } else { "sql" },
            "proof": self.proof,
            "exceptions": self.exceptions,
        })
    }

    fn text(&self, tables: &[String]) -> String {
        let size = self.text_bytes.map_or(String::new(), |bytes| {
            let what = if self.is_image { "an image" } else { "SQL" };
            format!(", {} of {what}", ByteCount(bytes))
        });
        let rows = self
            .rows
            .map_or(String::new(), |rows| format!(", {}", counted(rows, "row")));
        let only = match tables {
            [] => "all tables".to_owned(),
            some => format!("only {}", some.join(", ")),
        };
        let mut text = format!("copy    {}{size}{rows}\n", self.copy);
        if let Some(proof) = &self.proof {
            text += &format!("proof   {proof}\n");
        }
        for exception in &self.exceptions {
            text += &format!("        exception: {}\n", printable(&exception.to_string()));
        }
        text += &format!(
            "from    {}\ntables  {only}\ntarget  {}: {}",
            self.from, self.target, self.action
        );
        text
    }
}

fn from(origin: &Origin) -> String {
    match origin {
        Origin::File { path, .. } => path.display().to_string(),
        Origin::Stored { ways, .. } => {
            let ways = ways.iter().map(|way| match &way.archive {
                None => format!("storage {}", way.store.name()),
                Some(archive) => format!("{} in storage {}", archive.key(), way.store.name()),
            });
            ways.collect::<Vec<_>>().join(", else ")
        }
    }
}

fn print(context: &Context, args: &RestoreArgs, steps: &[Step]) -> anyhow::Result<Exit> {
    match context.json {
        true => {
            let steps: Vec<Value> = steps.iter().map(Step::document).collect();
            context.print_json(&json!({ "plan": steps }))?;
        }
        false => {
            let texts: Vec<String> = steps.iter().map(|step| step.text(&args.tables)).collect();
            context.print(format_args!(
                "{}\n\nnothing was changed",
                texts.join("\n\n")
            ))?;
        }
    }
    match steps.iter().find(|step| step.is_refused) {
        None => Ok(Exit::Ok),
        Some(step) => {
            let text = format!("`{}` is there already\nhint: `--replace`", step.target);
            Err(Refusal::failed(text).into())
        }
    }
}
