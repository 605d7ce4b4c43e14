//! `release`: an artifact, or the latest of a branch, into environments.

use clap::Args;

use super::super::{Context, usage};
use super::{Subject, Waiting, branch};
use crate::model::delivery::{ReleaseRequest, Selector};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Exit, FileName};
use crate::world::git::Repository;

/// The arguments of `release`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign release --service web --env dev --branch main
  consign release --service web --env dev,prod --artifact main-0123456789-1a2b3c4d --wait
  consign release --service web --env dev --current-branch

Each environment is a release of its own; any that is refused or fails makes the exit code tell.")]
pub struct ReleaseArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where to (repeatable, or with commas)
    #[arg(long, short = 'e', value_name = "NAME", required = true, value_delimiter = ',')]
    env: Vec<String>,
    /// The latest artifact of exactly this branch
    #[arg(long, short = 'b', value_name = "BRANCH", group = "what", required = true, value_parser = branch)]
    branch: Option<String>,
    /// This artifact
    #[arg(long, value_name = "ID", group = "what", required = true)]
    artifact: Option<FileName>,
    /// The latest artifact of the branch that is checked out here
    #[arg(long, short = 'c', group = "what", required = true)]
    current_branch: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl ReleaseArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let environments = names(&self.env)?;
        let service = self.subject.service.clone();
        let branch = match (&self.branch, self.current_branch) {
            (Some(branch), _) => Some(branch.clone()),
            (None, true) => Some(checked_out(context)?),
            (None, false) => None,
        };
        let (what, heading) = match (branch, &self.artifact) {
            (Some(branch), _) => {
                let heading = format!("Release of service {service} using branch {}", shown(&branch));
                (Selector::Branch { branch }, heading)
            }
            (None, Some(id)) => (Selector::Artifact { id: id.clone() }, format!("Release of service: {service}")),
            (None, None) => return Err(usage("--branch, --current-branch or --artifact is required")),
        };
        let namespace = self.subject.namespace.clone();
        let request = ReleaseRequest {
            service,
            namespace,
            environments,
            what,
            override_reason: None,
            person: None,
            dry_run: false,
        };
        self.waiting.make(context, &self.subject.server(context)?, request, |_| heading)
    }
}

/// The names of environments: at least one, and none that is empty.
pub(super) fn names(texts: &[String]) -> Result<Vec<FileName>> {
    if texts.iter().all(|text| text.trim().is_empty()) {
        return Err(usage("--env must contain at least one value"));
    }
    let mut names: Vec<FileName> = Vec::new();
    for text in texts {
        let name = text.trim().parse();
        let name = name.map_err(|error| usage(format!("{text:?} is no name of an environment")).because(error))?;
        if names.contains(&name) {
            return Err(usage(format!("--env names `{name}` twice")));
        }
        names.push(name);
    }
    Ok(names)
}

fn checked_out(context: &Context) -> Result<String> {
    let repository = Repository::discover(&context.directory)?;
    let branch = repository.map(|repository| repository.branch()).transpose()?.flatten();
    branch.ok_or_else(|| usage("Could not determine current branch. Specify --branch or --artifact explicitly"))
}
