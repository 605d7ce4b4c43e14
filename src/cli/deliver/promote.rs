//! `promote`: what one environment has goes to the next one.

use clap::Args;

use super::super::Context;
use super::{Subject, Waiting};
use crate::model::delivery::{ReleaseRequest, Selector};
use crate::model::failure::Result;
use crate::model::{Exit, FileName};

/// The arguments of `promote`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign promote --service web --env prod
  consign promote --service web --env prod --from-env staging --wait")]
pub struct PromoteArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where to
    #[arg(long, short = 'e', value_name = "NAME")]
    env: FileName,
    /// Where from [default: the environment before it]
    #[arg(long, value_name = "NAME")]
    from_env: Option<FileName>,
    #[command(flatten)]
    waiting: Waiting,
}

impl PromoteArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let Subject { service, namespace, .. } = self.subject.clone();
        let heading = format!("Promote of service: {service}");
        let request = ReleaseRequest {
            service,
            namespace,
            environments: vec![self.env.clone()],
            what: Selector::Promote { from: self.from_env.clone() },
            override_reason: None,
            person: None,
            dry_run: false,
        };
        self.waiting.make(context, &self.subject.server(context)?, request, |_| heading)
    }
}
