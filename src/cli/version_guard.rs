//! `version-guard`: whether a version may be released from here.

use clap::Args;

use super::planning::{self, GuardArgs};
use super::selection::ReleaseArgs;
use super::{Context, output};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::pipeline::guard;
use crate::pipeline::plan::Selection;

/// The arguments of `version-guard`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign version-guard v1.2.3
  consign version-guard v1.2.3 --require-v-prefix --require-tag
  consign version-guard \"$GITHUB_REF_NAME\" --require-ref-match --require-branch main")]
pub struct VersionGuardArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    guard: GuardArgs,
}

impl VersionGuardArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned = planning::plan(context, &self.release, None, None, &Selection::default())?;
        let guarded = guard::check(
            &planned.plan.release,
            &planned.plan.workspace_version,
            &self.guard.guard(context),
            planned.around.repository.as_ref(),
        )?;
        context.output.result(&guarded, || {
            let rows: Vec<_> = guarded
                .checks
                .iter()
                .map(|check| vec![check.status.as_str().to_owned(), check.check.to_owned(), check.detail.clone()])
                .collect();
            format!("{}release version validated: {}", output::table(&rows), guarded.tag)
        })?;
        Ok(Exit::Done)
    }
}
