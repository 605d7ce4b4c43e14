//! `artifact list` and `artifact show`.

use clap::Args;
use jiff::Timestamp;

use super::super::registry::RegistryArgs;
use super::super::{Context, output};
use super::chain::describe;
use super::first_line;
use crate::client::Server;
use crate::model::artifact::Event;
use crate::model::failure::Result;
use crate::model::registry::{Page, Shown};
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure, FileName};

/// The arguments of `artifact list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact list --service web --branch main
  consign artifact list --sha 0123456789abcdef0123456789abcdef01234567 --format json
  consign artifact list --since 2026-01-01T00:00:00Z --limit 100")]
pub(super) struct ListArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Of this service
    #[arg(long, value_name = "NAME")]
    service: Option<FileName>,
    /// Of exactly this branch
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// Made by this event
    #[arg(long, value_name = "push|pr|tag")]
    event: Option<Event>,
    /// Of this commit (repeatable)
    #[arg(long, value_name = "SHA")]
    sha: Vec<String>,
    /// Pushed at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Pushed before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Go on where a page has ended, with what it says to go on with
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// The arguments of `artifact show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact show main-0123456789-1a2b3c4d
  consign artifact show main-0123456789-1a2b3c4d --service web --format json")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    which: Which,
}

/// Which artifact. Its name is also the id of a group.
#[derive(Clone, Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The artifact's id
    #[arg(value_name = "ID")]
    pub(super) id: FileName,
    /// Of which service [default: the only one that has the id]
    #[arg(long, value_name = "NAME")]
    service: Option<FileName>,
}

impl ListArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.service.iter().map(|service| ("service", service.to_string())));
        query.extend(self.branch.iter().map(|branch| ("branch", branch.clone())));
        query.extend(self.event.iter().map(|event| ("event", event.as_str().to_owned())));
        query.extend(self.sha.iter().map(|sha| ("sha", sha.clone())));
        query.extend(self.since.iter().map(|time| ("since", time.to_string())));
        query.extend(self.until.iter().map(|time| ("until", time.to_string())));
        query.extend(self.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        let page = self.registry.server(context)?.artifacts(&query)?;
        context.output.result(&page, || table(&page))?;
        Ok(Exit::Done)
    }
}

impl ShowArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let known = self.which.find(&self.which.server(context)?)?;
        context.output.result(&known, || describe(&known))?;
        Ok(Exit::Done)
    }
}

impl Which {
    pub(super) fn server(&self, context: &Context) -> Result<Server> {
        self.registry.server(context)
    }

    /// The artifact, whose service need not be named where only one has the id.
    pub(super) fn find(&self, server: &Server) -> Result<Shown> {
        if let Some(service) = &self.service {
            return server.artifact(service, &self.id);
        }
        let page = server.artifacts(&[("id", self.id.to_string()), ("limit", "2".to_owned())])?;
        match page.artifacts.as_slice() {
            // The list leaves the summary out.
            [one] => server.artifact(&one.artifact.service, &self.id),
            [] => Err(Failure::new(Code::ArtifactUnknown, format!("there is no artifact `{}`", self.id))
                .subject(self.id.as_str())
                .hint("`consign artifact list` shows those that you may see")),
            several => {
                let services: Vec<_> = several.iter().map(|known| known.artifact.service.to_string()).collect();
                Err(Failure::new(
                    Code::Usage,
                    format!("several services have an artifact `{}`: {}", self.id, services.join(", ")),
                )
                .subject(self.id.as_str())
                .hint("add `--service NAME`"))
            }
        }
    }
}

fn table(page: &Page) -> String {
    if page.artifacts.is_empty() {
        return "no artifacts".to_owned();
    }
    let heading = ["ID", "SERVICE", "BRANCH", "COMMIT", "PUSHED", "BUNDLE", "OUTCOME", "MESSAGE"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for known in &page.artifacts {
        let source = &known.artifact.source;
        let outcome = known.outcome.as_ref().map_or("-", |ended| ended.outcome.as_str());
        let message: String = source.message.as_deref().map(first_line).unwrap_or_default().chars().take(50).collect();
        rows.push(vec![
            known.artifact.id.to_string(),
            known.artifact.service.to_string(),
            source.branch.as_deref().map_or_else(|| "-".to_owned(), |branch| shown(branch).into_owned()),
            source.sha.chars().take(10).collect(),
            known.pushed_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            shown(&known.verdict).into_owned(),
            outcome.to_owned(),
            message,
        ]);
    }
    let mut text = output::table(&rows);
    if let Some(next) = &page.next {
        text.push_str(&format!("there are more: --cursor {}\n", shown(next)));
    }
    text
}
