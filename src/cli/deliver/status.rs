//! `status`: what a service has where, or every service.

use clap::Args;

use super::super::registry::RegistryArgs;
use super::super::{Context, output};
use crate::client::Server;
use crate::model::delivery::{Place, Release, State, Status};
use crate::model::failure::Result;
use crate::model::found::{Difference, Found, Repository, Statuses};
use crate::model::text::shown;
use crate::model::{Exit, Failure, FileName};

/// The arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign status                                   every service that you may see
  consign status --service web
  consign status --service web --format json

What stands in a config repository is told too where this server has not brought it there, with what is different:
elsewhere (somebody else released it), replaced (somebody else released another artifact since), edited (somebody else
changed its files since), removed. The last lines say how fresh that is.")]
pub struct StatusArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The service; without it, all of them
    #[arg(long, value_name = "NAME")]
    service: Option<FileName>,
    /// In this namespace only
    #[arg(long, short = 'n', value_name = "NAME", requires = "service")]
    namespace: Option<FileName>,
}

impl StatusArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let server = self.registry.server(context)?;
        if let Some(service) = &self.service {
            let status = server.status(service, self.namespace.as_ref())?;
            context.output.result(&status, || describe(&status))?;
        } else {
            let statuses = every(&server)?;
            context.output.result(&statuses, || describe_every(&statuses))?;
        }
        Ok(Exit::Done)
    }
}

/// All pages as one.
fn every(server: &Server) -> Result<Statuses> {
    let mut all = server.statuses(&[])?;
    while let Some(next) = all.next.take() {
        let page = server.statuses(&[("after", next.to_string())])?;
        all.services.extend(page.services);
        (all.next, all.repositories) = (page.next, page.repositories);
    }
    Ok(all)
}

pub(super) fn describe(status: &Status) -> String {
    let freshness = freshness(&status.repositories);
    if status.places.is_empty() {
        let nowhere = format!("Service {} is in no environment.\nAre you setting the right namespace?", status.service);
        return nowhere + &freshness;
    }
    let mut rows = vec![heading()];
    rows.extend(status.places.iter().flat_map(lines));
    format!("Status for service {}\n{}{freshness}", status.service, output::table(&rows))
}

fn describe_every(statuses: &Statuses) -> String {
    let freshness = freshness(&statuses.repositories);
    if statuses.services.is_empty() {
        return format!("No service that you may see is in any environment.{freshness}");
    }
    let with = |service: &str, row: Vec<String>| [vec![service.to_owned()], row].concat();
    let mut rows = vec![with("SERVICE", heading())];
    for status in &statuses.services {
        rows.extend(status.places.iter().flat_map(lines).map(|row| with(status.service.as_str(), row)));
    }
    output::table(&rows) + &freshness
}

fn heading() -> Vec<String> {
    ["ENVIRONMENT", "NAMESPACE", "ARTIFACT", "STATE", "SINCE", "BY", ""].map(str::to_owned).to_vec()
}

/// What there is to say of a place: what stands there first.
fn lines(place: &Place) -> Vec<Vec<String>> {
    let mut rows: Vec<_> = place.found.iter().map(|found| foreign(place, found)).collect();
    rows.extend(place.live.iter().chain(&place.waiting).map(|release| row(place, release)));
    if rows.is_empty() {
        let (environment, namespace) = (place.environment.to_string(), place.namespace.to_string());
        rows.push(vec![environment, namespace, "-".into(), "-".into(), "-".into(), "-".into(), held(place)]);
    }
    rows
}

/// What stands in a place that this server has not brought there.
fn foreign(place: &Place, found: &Found) -> Vec<String> {
    let Found { difference, artifact, commit, at, by, intent, .. } = found;
    let commit: String = commit.as_deref().unwrap_or_default().chars().take(10).collect();
    let why = match difference {
        Difference::Elsewhere => "not released by this server".to_owned(),
        Difference::Replaced => "released since, not by this server".to_owned(),
        Difference::Edited => "its files were changed since, not by this server".to_owned(),
        Difference::Removed => "removed since, not by this server".to_owned(),
    };
    let intent = intent.as_ref().map(|intent| format!(", {intent}")).unwrap_or_default();
    let commit = if commit.is_empty() { commit } else { format!(", commit {commit}") };
    let hold = if place.live.is_none() && place.hold.is_some() { format!("; {}", held(place)) } else { String::new() };
    vec![
        place.environment.to_string(),
        place.namespace.to_string(),
        artifact.as_deref().map_or_else(|| "-".to_owned(), |artifact| shown(artifact).into_owned()),
        difference.as_str().to_owned(),
        at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
        by.as_ref().map_or_else(|| "-".to_owned(), |by| shown(called(&by.name, &by.email)).into_owned()),
        shown(&format!("{why}{intent}{commit}{hold}")).into_owned(),
    ]
}

/// Somebody's name; the address, where there is no name.
pub(super) fn called<'a>(name: &'a str, email: &'a str) -> &'a str {
    if name.is_empty() { email } else { name }
}

/// What is not known to be there may be in what could not be read.
pub(super) fn because(failure: Failure, repositories: Vec<Repository>) -> Failure {
    let trouble = repositories.into_iter().find_map(|repository| repository.trouble);
    trouble.into_iter().fold(failure, |failure, trouble| failure.because(shown(&trouble).into_owned()))
}

/// How fresh what was read is, a line for each repository.
pub(super) fn freshness(repositories: &[Repository]) -> String {
    let lines = repositories.iter().map(|Repository { deployer, commit, fetched_at, trouble }| {
        let commit: String = commit.as_deref().unwrap_or("no commit").chars().take(10).collect();
        let read = fetched_at.map_or_else(
            || format!("at {commit}, as it was when this server last read it"),
            |at| format!("at {commit}, read {}", at.strftime("%Y-%m-%d %H:%M:%S")),
        );
        let trouble =
            trouble.as_deref().map(|why| format!("; what came later is not known: {why}")).unwrap_or_default();
        shown(&format!("Repository of {deployer}: {read}{trouble}")).into_owned()
    });
    let lines: Vec<_> = lines.map(|line| format!("\n{line}")).collect();
    lines.concat()
}

fn row(place: &Place, release: &Release) -> Vec<String> {
    let at = release.pushed_at.unwrap_or(release.order.requested_at);
    let reason = release.reason.as_deref().map(|reason| shown(reason).into_owned());
    let more = match release.state {
        State::Failed => {
            [reason.unwrap_or_default(), held(place)].into_iter().filter(|text| !text.is_empty()).collect()
        }
        state if state.is_live() => vec![held(place)],
        _ => vec![reason.unwrap_or_default()],
    };
    vec![
        place.environment.to_string(),
        place.namespace.to_string(),
        release.order.artifact.to_string(),
        release.state.to_string(),
        at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        shown(&release.order.actor.name).into_owned(),
        more.join("; "),
    ]
}

fn held(place: &Place) -> String {
    place.hold.as_ref().map(|hold| format!("held: {}", shown(&hold.reason))).unwrap_or_default()
}
