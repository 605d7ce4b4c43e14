//! `rebuild`: build the recorded source again and compare.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use owo_colors::OwoColorize as _;

use super::selection::ReleaseArgs;
use super::{Context, output};
use crate::config::environment::Environment;
use crate::config::{Overrides, Settings};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit, Platform, pretty};
use crate::pipeline::rebuild::{self, Rebuilt};
use crate::pipeline::remote_verify;
use crate::world::place::located;
use crate::world::{files, scratch};

/// The arguments of `rebuild`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign rebuild --index dist/packages/v1.2.3/index.json --source .
  consign rebuild --index https://example.com/releases/v1.2.3/index.json
  consign rebuild --index release/index.json --source . --report rebuild.json

It builds the source's code: rebuild only what you would build.")]
pub struct RebuildArgs {
    /// The published index.json: a path or an address
    #[arg(long, value_name = "PATH|URL")]
    index: String,
    /// A clone, or an address, to take the recorded commit from [default: the recorded repository]
    #[arg(long, value_name = "DIR|URL")]
    source: Option<String>,
    /// Also write the report to this file
    #[arg(long, value_name = "FILE")]
    report: Option<Utf8PathBuf>,
    /// Keep the directory that it was built in, and say where it is
    #[arg(long)]
    keep: bool,
}

impl RebuildArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let original = remote_verify::fetch_original(&located(&self.index, &context.directory), self.source(context))?;
        let request = ReleaseArgs::default().request(context)?;
        let scratch = scratch::Directory::new("consign-rebuild-")?;
        let workspace = scratch.path().join("source");
        let rebuilt = rebuild::rebuild(&original, &request, &workspace, &own_arguments, context.listener())?;
        if let Some(path) = &self.report {
            files::write(&context.path(path), &pretty(&rebuilt))?;
        }
        let kept = self.keep.then(|| scratch.keep());
        context.output.result(&rebuilt, || describe(&rebuilt, kept.as_deref()))?;
        Ok(if rebuilt.is_identical() { Exit::Done } else { Code::RebuildDiffers.exit() })
    }

    /// A directory is seen from where the user stands; an address stays as it is.
    fn source(&self, context: &Context) -> Option<String> {
        let source = self.source.as_ref()?;
        let path = context.path(Utf8Path::new(source));
        Some(if path.is_dir() { path.to_string() } else { source.clone() })
    }
}

/// What consign.toml of a workspace gives cargo besides, whatever the settings of this place are.
fn own_arguments(workspace: &Utf8Path) -> Result<BTreeMap<Platform, Vec<String>>> {
    let settings = Settings::load(workspace, None, &Environment::default())?;
    let platforms = settings.resolve(&Overrides::default())?.request.platform;
    Ok(platforms.into_iter().map(|(platform, own)| (platform, own.arguments)).collect())
}

fn describe(rebuilt: &Rebuilt, kept: Option<&Utf8Path>) -> String {
    let rows: Vec<_> = rebuilt
        .files
        .iter()
        .map(|file| {
            let word = file.status.as_str();
            let mark = if file.identical { word.green().to_string() } else { word.red().to_string() };
            vec![mark, file.name.clone(), file.parts.join(", ")]
        })
        .collect();
    let causes: String =
        rebuilt.causes.iter().map(|cause| format!("cause: {}: {}\n", cause.kind, shown(&cause.detail))).collect();
    let kept = kept.map(|path| format!("kept: {path}\n")).unwrap_or_default();
    let end = if rebuilt.is_identical() {
        format!("commit {} gives exactly these files", rebuilt.commit)
    } else if rebuilt.files.iter().all(|file| file.rebuilt == Some(file.published)) {
        format!("commit {} gives these files, but not all of them are published as they should be", rebuilt.commit)
    } else {
        format!("commit {} does not give these files", rebuilt.commit)
    };
    format!("{}\n{causes}{kept}{end}", output::table(&rows))
}
