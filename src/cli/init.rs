//! `consign init`: a commented `consign.toml` to start from, and the workflows that make the releases.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde::Serialize;

use super::Context;
use crate::config::{FILE_NAME, Overrides, template};
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure};
use crate::pipeline::workflows::{self, Caller};
use crate::world::files;

/// No file that is compared with what would be written is larger.
const MAX_BYTES: usize = 1 << 20;

/// The arguments of `init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign init                    write consign.toml here, and the workflows into .github/
  consign -C app init             write it into app/
  consign init --only-workflows   write the workflows again, for another consign.toml")]
pub struct InitArgs {
    /// Replace files that are already there
    #[arg(long)]
    force: bool,
    /// Write consign.toml alone
    #[arg(long, conflicts_with = "only_workflows")]
    no_workflows: bool,
    /// Leave consign.toml as it is, and write the workflows that it asks for
    #[arg(long)]
    only_workflows: bool,
}

#[derive(Serialize)]
struct Written {
    #[serde(rename = "type")]
    kind: &'static str,
    path: Utf8PathBuf,
    workflows: Vec<Utf8PathBuf>,
    unchanged: Vec<Utf8PathBuf>,
    next: &'static str,
}

impl InitArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let path = context.path(context.config.as_deref().unwrap_or(FILE_NAME.into()));
        let mut all = Vec::new();
        if !self.only_workflows {
            all.push((path.clone(), template::render().to_owned()));
        }
        if !self.no_workflows {
            all.extend(workflows(context, &path)?);
        }
        // Everything is looked at before anything is written.
        let (unchanged, wanted): (Vec<_>, Vec<_>) = all.into_iter().partition(|(path, content)| is(path, content));
        if let Some((path, _)) = wanted.iter().find(|(path, _)| !self.force && path.symlink_metadata().is_ok()) {
            return Err(taken(path));
        }
        for (path, content) in &wanted {
            files::write(path, content.as_bytes())?;
        }
        let paths = |all: Vec<(Utf8PathBuf, String)>| all.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        let workflows = paths(wanted).into_iter().filter(|other| *other != path).collect();
        let next = "consign config show";
        let written = Written { kind: "consign.init/v1", path, workflows, unchanged: paths(unchanged), next };
        context.output.result(&written, || written.text())?;
        Ok(Exit::Done)
    }
}

impl Written {
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.unchanged.contains(&self.path) {
            text.push_str(&format!("wrote {}\n", self.path));
        }
        text.extend(self.workflows.iter().map(|path| format!("wrote {path}\n")));
        text.extend(self.unchanged.iter().map(|path| format!("unchanged {path}\n")));
        text + &format!("next: {}", self.next)
    }
}

/// What is to be in the workflows of the repository in which the settings are.
fn workflows(context: &Context, settings: &Utf8Path) -> Result<Vec<(Utf8PathBuf, String)>> {
    let request = context.request(&Overrides::default())?;
    let directory = settings.parent().unwrap_or(&context.directory);
    let root = directory.ancestors().find(|place| place.join(".git").exists()).unwrap_or(directory);
    let below = directory.strip_prefix(root).unwrap_or(Utf8Path::new(""));
    let rendered = workflows::render(Caller::Consign, &request, below)?;
    let place = root.join(workflows::DIRECTORY);
    Ok(rendered.into_iter().map(|workflow| (place.join(workflow.name), workflow.content)).collect())
}

/// Whether a file is there already as it should be.
fn is(path: &Utf8Path, content: &str) -> bool {
    path.is_file() && files::read_bounded(path, MAX_BYTES).is_ok_and(|bytes| bytes == content.as_bytes())
}

fn taken(path: &Utf8Path) -> Failure {
    let hint = if path.file_name() == Some(FILE_NAME) {
        "`--force` replaces it, `--only-workflows` leaves it alone; `consign config show` prints what it says"
    } else {
        "`--force` replaces it, `--no-workflows` leaves it alone; it differs from what would be written"
    };
    Failure::new(Code::FileExists, format!("`{path}` exists already")).subject(path.as_str()).hint(hint)
}
