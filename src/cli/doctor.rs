//! `doctor`: what is missing for a release, and the command that mends it.

use clap::Args;
use owo_colors::OwoColorize as _;

use super::selection::{PublishArgs, ReleaseArgs};
use super::{Context, output, planning};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::pipeline::plan::Selection;
use crate::pipeline::preflight::{self, Examination};
use crate::pipeline::request::Mode;

/// The arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign doctor
  consign doctor --platform linux-arm64,windows-amd64-gnu
  consign doctor --mode release          also the rules of a real release
  consign doctor --provider github --target owner/tool")]
pub struct DoctorArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Look at what a rehearsal needs, or at what the release needs
    #[arg(long, value_name = "MODE", default_value = "validate", value_parser = super::selection::mode_values())]
    mode: Mode,
    #[command(flatten)]
    publish: PublishArgs,
}

impl DoctorArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned =
            planning::plan(context, &self.release, Some(&self.publish), Some(self.mode), &Selection::default())?;
        // A rehearsal needs no place to publish to, and none is asked unless it is named.
        let is_meant = self.mode == Mode::Release || self.publish.provider.is_some();
        let place = planned.plan.publish.as_ref().filter(|_| is_meant).map(|publish| &publish.place);
        let examination = preflight::examine(&planned.plan, place);
        context.output.result(&examination, || describe(&examination))?;
        let first_wrong = examination.checks.iter().find_map(|check| check.code);
        Ok(first_wrong.map_or(Exit::Done, super::super::model::code::Code::exit))
    }
}

fn describe(examination: &Examination) -> String {
    let mut rows = Vec::new();
    for check in &examination.checks {
        let mark = if check.ok { "ok".green().to_string() } else { "missing".red().to_string() };
        rows.push(vec![mark, check.name.clone(), shown(&check.found).into_owned()]);
        if let Some(hint) = &check.hint {
            rows.push(vec![String::new(), String::new(), format!("{} {}", "hint:".cyan(), shown(hint))]);
        }
    }
    let end = if examination.ready { "Ready for a release." } else { "Not ready." };
    format!("{}\n{end}", output::table(&rows))
}
