//! `hold` and `resume`: automation suspended in one environment, and let go on.

use clap::Args;

use super::super::Context;
use super::Subject;
use super::status::describe;
use crate::model::failure::Result;
use crate::model::management::HoldSet;
use crate::model::{Exit, FileName};

/// The arguments of `hold`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign hold --service web --env prod --reason 'looking into an outage'

People go on releasing; what policies release by themselves passes it by.")]
pub struct HoldArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where
    #[arg(long, short = 'e', value_name = "NAME")]
    env: FileName,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// The arguments of `resume`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign resume --service web --env prod")]
pub struct ResumeArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where
    #[arg(long, short = 'e', value_name = "NAME")]
    env: FileName,
}

impl HoldArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let Subject { service, namespace, .. } = self.subject.clone();
        let hold = HoldSet { namespace, reason: self.reason.clone() };
        let status = self.subject.server(context)?.hold(&service, &self.env, &hold)?;
        context.output.result(&status, || describe(&status))?;
        Ok(Exit::Done)
    }
}

impl ResumeArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let Subject { service, namespace, .. } = &self.subject;
        let resumed = self.subject.server(context)?.resume(service, &self.env, namespace.as_ref())?;
        context.output.result(&resumed, || {
            let word = if resumed.was_held { "automation goes on" } else { "nothing was held" };
            format!("{service} in {}: {word}", self.env)
        })?;
        Ok(Exit::Done)
    }
}
