//! `smoke`: run the programs that this host can run.

use clap::Args;

use super::selection::ReleaseArgs;
use super::{Context, output, planning};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::pipeline::plan::Selection;
use crate::pipeline::{build, smoke};

/// The arguments of `smoke`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign smoke                    what `consign build` made, with --version and --help
  consign smoke --platform linux-amd64

The commands are those of `[smoke]` in consign.toml; the log is dist/smoke/host.log.")]
pub struct SmokeArgs {
    #[command(flatten)]
    release: ReleaseArgs,
}

impl SmokeArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned = planning::plan(context, &self.release, None, None, &Selection::default())?;
        let built = build::recall(&planned.plan)?;
        let smoked = smoke::smoke(&planned.plan, &built, context.listener())?;
        context.output.result(&smoked, || {
            let rows: Vec<_> = smoked
                .commands
                .iter()
                .map(|command| {
                    vec![
                        command.status.to_owned(),
                        command.platform.to_string(),
                        command.command.clone(),
                        shown(&command.detail).into_owned(),
                    ]
                })
                .collect();
            let skipped: String = smoked
                .skipped
                .iter()
                .map(|platform| format!("skipped: {platform} cannot run on this host\n"))
                .collect();
            format!("{}{skipped}", output::table(&rows))
        })?;
        Ok(Exit::Done)
    }
}
