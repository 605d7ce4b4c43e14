//! `approve` and `reject`: a vote on an artifact in an environment.

use clap::Args;

use super::super::Context;
use super::Subject;
use crate::model::failure::Result;
use crate::model::management::ApprovalGiven;
use crate::model::{Exit, FileName};

/// The arguments of `approve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign approve --service web --env prod --artifact main-0123456789-1a2b3c4d

What is approved is the digest that the artifact has now, and nothing else. Nobody approves what they asked for.")]
pub struct ApproveArgs {
    #[command(flatten)]
    vote: VoteArgs,
}

/// The arguments of `reject`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign reject --service web --env prod --artifact main-0123456789-1a2b3c4d --comment 'the migration is missing'")]
pub struct RejectArgs {
    #[command(flatten)]
    vote: VoteArgs,
}

/// What is voted on. Its name is also the id of a group.
#[derive(Clone, Debug, Args)]
struct VoteArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where
    #[arg(long, short = 'e', value_name = "NAME")]
    env: FileName,
    /// The artifact
    #[arg(long, value_name = "ID")]
    artifact: FileName,
    /// What else there is to say
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl ApproveArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        self.vote.cast(context, true)
    }
}

impl RejectArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        self.vote.cast(context, false)
    }
}

impl VoteArgs {
    fn cast(&self, context: &Context, approve: bool) -> Result<Exit> {
        let given = ApprovalGiven {
            environment: self.env.clone(),
            artifact: self.artifact.clone(),
            approve,
            comment: self.comment.clone(),
        };
        self.subject.server(context)?.approve(&self.subject.service, &given)?;
        context.output.result(&given, || {
            let word = if approve { "approved" } else { "rejected" };
            format!("{} in {}: {word}", self.artifact, self.env)
        })?;
        Ok(Exit::Done)
    }
}
