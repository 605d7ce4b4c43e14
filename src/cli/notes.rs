//! `notes`: the release notes of a bundle.

use clap::Args;
use serde::Serialize;

use super::selection::ReleaseArgs;
use super::{Context, planning};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::pipeline::guard::Guard;
use crate::pipeline::notes::FILE_NAME;
use crate::pipeline::plan::Selection;
use crate::pipeline::run::Run;
use crate::pipeline::stages;
use crate::world::files;

/// The arguments of `notes`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign notes                    render them from the bundle and the commits since the last tag
  consign notes v1.2.3 > NOTES.md")]
pub struct NotesArgs {
    #[command(flatten)]
    release: ReleaseArgs,
}

#[derive(Serialize)]
struct NotesDocument {
    #[serde(rename = "type")]
    kind: &'static str,
    tag: String,
    path: String,
    markdown: String,
}

impl NotesArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned = planning::plan(context, &self.release, None, None, &Selection::default())?;
        let (plan, tools) = (&planned.plan, planned.tools(context, Guard::default()));
        let mut run = Run::alone(plan, tools.listener, tools.now)?;
        run.stage(Stage::Notes, || stages::notes(plan, &tools), || Ok(()))?;
        run.end()?;
        let path = plan.places.releases.join(FILE_NAME);
        let markdown = String::from_utf8_lossy(&files::read_bounded(&path, 16 << 20)?).into_owned();
        let document =
            NotesDocument { kind: "consign.notes/v1", tag: plan.release.tag.clone(), path: path.to_string(), markdown };
        context.output.result(&document, || document.markdown.clone())?;
        Ok(Exit::Done)
    }
}
