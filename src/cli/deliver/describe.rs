//! `describe`: releases and artifacts, one after the other.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::super::registry::RegistryArgs;
use super::super::{Context, output, usage};
use super::Subject;
use super::status::{because, freshness};
use crate::model::artifact::{Artifact, Person};
use crate::model::delivery::Release;
use crate::model::failure::Result;
use crate::model::found::{PastArtifact, PastRelease, Repository};
use crate::model::registry::Page;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure, FileName};

/// The arguments of `describe`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct DescribeArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The last releases to an environment, or one by its id
    #[command(alias = "releases")]
    Release(DescribeRelease),
    /// The last artifacts of a service
    #[command(alias = "artifacts")]
    Artifact(DescribeArtifact),
    /// The latest artifact of exactly one branch
    LatestArtifact(DescribeLatest),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign describe release --service web --env prod --count 3
  consign describe release --service web --env prod --skip 2         the third last one
  consign describe release --service web --id rls-0123456789abcdef0123

Releases that somebody else has made in the config repository are told of by its history.")]
struct DescribeRelease {
    #[command(flatten)]
    subject: Subject,
    /// Where
    #[arg(long, short = 'e', value_name = "NAME", required_unless_present = "id")]
    env: Option<FileName>,
    /// How many
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=200))]
    count: u32,
    /// Leave out so many of the last
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    skip: u32,
    /// This one, with every state that it had
    #[arg(long, value_name = "ID", conflicts_with = "env")]
    id: Option<FileName>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign describe artifact --service web --count 5

Where the registry has fewer, those follow that a config repository has the record of.")]
struct DescribeArtifact {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The service
    #[arg(long, value_name = "NAME")]
    service: FileName,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    count: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign describe latest-artifact --service web --branch main")]
struct DescribeLatest {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The service
    #[arg(long, value_name = "NAME")]
    service: FileName,
    /// The branch, exactly
    #[arg(long, value_name = "BRANCH", value_parser = super::branch)]
    branch: String,
}

impl DescribeArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.what {
            What::Release(what) => what.run(context),
            What::Artifact(DescribeArtifact { registry, service, count }) => {
                artifacts(context, registry, service, None, *count)
            }
            What::LatestArtifact(DescribeLatest { registry, service, branch }) => {
                artifacts(context, registry, service, Some(branch), 1)
            }
        }
    }
}

impl DescribeRelease {
    fn run(&self, context: &Context) -> Result<Exit> {
        let server = self.subject.server(context)?;
        if let Some(id) = &self.id {
            let release = server.release(id.as_str())?;
            context.output.result(&release, || one(&release))?;
            return Ok(Exit::Done);
        }
        let Some(environment) = &self.env else { return Err(usage("--env or --id is required")) };
        let mut query = vec![
            ("environment", environment.to_string()),
            ("skip", self.skip.to_string()),
            ("limit", self.count.to_string()),
        ];
        query.extend(self.subject.namespace.iter().map(|namespace| ("namespace", namespace.to_string())));
        let past = server.past(&self.subject.service, &query)?;
        if past.releases.is_empty() {
            let unknown = Failure::new(
                Code::ReleaseUnknown,
                format!("no release of service '{}' available in environment '{environment}'", self.subject.service),
            )
            .subject(environment.as_str())
            .hint(if self.skip > 0 {
                "there are fewer: leave out `--skip`"
            } else {
                "are you missing a namespace?"
            });
            return Err(because(unknown, past.repositories));
        }
        context.output.result(&past, || {
            let releases = past.releases.iter().map(|release| match &release.release {
                Some(own) => one(own),
                None => foreign(release),
            });
            releases.collect::<Vec<_>>().join("\n\n") + &troubles(&past.repositories)
        })?;
        Ok(Exit::Done)
    }
}

fn artifacts(
    context: &Context,
    registry: &RegistryArgs,
    service: &FileName,
    branch: Option<&String>,
    count: u32,
) -> Result<Exit> {
    let mut query = vec![("service", service.to_string()), ("limit", count.to_string())];
    query.extend(branch.iter().map(|branch| ("branch", (*branch).clone())));
    let server = registry.server(context)?;
    let page = server.artifacts(&query)?;
    // What the registry has not, a config repository may have the record of.
    let past = if page.artifacts.len() < count as usize {
        query.retain(|(name, _)| *name != "service");
        Some(server.past_artifacts(service, &query)?)
    } else {
        None
    };
    let known: BTreeSet<_> = page.artifacts.iter().map(|known| known.artifact.id.clone()).collect();
    let mut elsewhere: Vec<_> = past.iter().flat_map(|past| past.artifacts.clone()).collect();
    elsewhere.retain(|past| !known.contains(&past.record.id));
    elsewhere.truncate((count as usize).saturating_sub(known.len()));
    if page.artifacts.is_empty() && elsewhere.is_empty() {
        let branch = branch.map(|branch| format!(" and branch '{}'", shown(branch))).unwrap_or_default();
        let message = format!("no artifacts available for service '{service}'{branch}");
        let unknown = Failure::new(Code::ArtifactUnknown, message).subject(service.as_str());
        return Err(because(unknown, past.map(|past| past.repositories).unwrap_or_default()));
    }
    let described = Described { page: &page, elsewhere: &elsewhere };
    context.output.result(&described, || {
        let mut rows = vec![["DATE", "ARTIFACT", "MESSAGE", ""].map(str::to_owned).to_vec()];
        rows.extend(page.artifacts.iter().map(|known| row(known.pushed_at, &known.artifact, "")));
        rows.extend(elsewhere.iter().map(|past| {
            let at = past.record.ci.end.unwrap_or(past.released_at);
            row(at, &past.record, "not in the registry")
        }));
        let troubles = past.as_ref().map(|past| troubles(&past.repositories)).unwrap_or_default();
        output::table(&rows) + &troubles
    })?;
    Ok(Exit::Done)
}

/// What a script reads.
#[derive(serde::Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    page: &'a Page,
    /// Those that only config repositories know.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    elsewhere: &'a [PastArtifact],
}

fn row(at: Timestamp, artifact: &Artifact, note: &str) -> Vec<String> {
    let message = artifact.source.message.as_deref().and_then(|message| message.lines().next());
    vec![
        at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        artifact.id.to_string(),
        shown(message.unwrap_or_default()).into_owned(),
        note.to_owned(),
    ]
}

/// Why not everything may be told.
fn troubles(repositories: &[Repository]) -> String {
    let troubled: Vec<_> = repositories.iter().filter(|repository| repository.trouble.is_some()).cloned().collect();
    freshness(&troubled)
}

/// A release that this server has not made.
fn foreign(release: &PastRelease) -> String {
    let person = |person: &Person| format!("{} <{}>", person.name, person.email).trim_start().to_owned();
    let mut rows = vec![
        ("Release", "not by this server".to_owned()),
        ("Artifact", release.artifact.clone()),
        ("Environment", release.environment.clone()),
    ];
    rows.extend(release.namespace.clone().map(|namespace| ("Namespace", namespace)));
    rows.push(("Intent", release.intent.to_string()));
    rows.push(("Released by", person(&release.released_by)));
    rows.push(("Released at", release.released_at.to_string()));
    rows.extend(release.commit.clone().map(|commit| ("Commit", commit)));
    if let Some(record) = &release.record {
        rows.extend(record.ci.end.map(|end| ("Built at", end.to_string())));
        rows.extend(record.source.author.as_ref().map(|author| ("Written by", person(author))));
        rows.extend(record.source.url.clone().map(|url| ("Source", url)));
        let message = record.source.message.as_deref().and_then(|message| message.lines().next());
        rows.extend(message.map(|message| ("Message", message.to_owned())));
    }
    aligned(&rows)
}

fn aligned(rows: &[(&str, String)]) -> String {
    let lines: Vec<_> = rows.iter().map(|(name, text)| format!("{name:<14}{}", shown(text))).collect();
    lines.join("\n")
}

/// One release, a line for each thing that there is to say.
fn one(release: &Release) -> String {
    let order = &release.order;
    let mut rows = vec![
        ("Release", order.id.clone()),
        ("Artifact", order.artifact.to_string()),
        ("Environment", order.environment.to_string()),
        ("Namespace", order.namespace.to_string()),
        ("State", release.state.to_string()),
        ("Intent", order.intent.to_string()),
        ("Released by", format!("{} <{}> ({})", order.actor.name, order.actor.email, order.actor.subject)),
        ("Requested at", order.requested_at.to_string()),
    ];
    rows.extend(release.pushed_at.map(|at| ("Released at", at.to_string())));
    rows.extend(release.commit.clone().map(|commit| ("Commit", commit)));
    rows.extend(order.previous.as_ref().map(|previous| ("Instead of", previous.to_string())));
    rows.extend(release.reason.clone().map(|reason| ("Reason", reason)));
    rows.extend(order.override_reason.clone().map(|reason| ("Freeze passed", reason)));
    rows.extend(release.decision.as_ref().map(|decision| ("Policies", decision.policy_digest.to_string())));
    rows.extend(release.steps.iter().map(|step| {
        let note = step.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
        ("Step", format!("{} {}{note}", step.at, step.state))
    }));
    aligned(&rows)
}
