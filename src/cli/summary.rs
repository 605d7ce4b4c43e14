//! `summary`: expected against published assets.

use camino::Utf8PathBuf;
use clap::Args;

use super::selection::ReleaseArgs;
use super::{Context, planning};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::pipeline::guard::Guard;
use crate::pipeline::plan::Selection;
use crate::pipeline::summary::{ASSETS_FILE_NAME, RemoteStatus};
use crate::pipeline::{remote_verify, stages};

/// The arguments of `summary`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign summary                          against the list that `publish` left
  consign summary --assets published.txt   against a list of names, one in each line")]
pub struct SummaryArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// The published names, one in each line [default: release-assets.txt of this version]
    #[arg(long, value_name = "FILE")]
    assets: Option<Utf8PathBuf>,
}

impl SummaryArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned = planning::plan(context, &self.release, None, None, &Selection::default())?;
        let (plan, tools) = (&planned.plan, planned.tools(context, Guard::default()));
        let assets = match &self.assets {
            Some(path) => context.path(path),
            None => plan.places.releases.join(ASSETS_FILE_NAME),
        };
        let remote = remote_verify::recorded_status(&plan.places.releases).unwrap_or(RemoteStatus::Unchecked);
        let (summary, _) = stages::summary(plan, &assets, remote, &tools)?;
        context.output.result(&summary, || summary.markdown())?;
        Ok(Exit::Done)
    }
}
