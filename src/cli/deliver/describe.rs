//! `describe`: releases and artifacts, one after the other.

use clap::{Args, Subcommand};

use super::super::registry::RegistryArgs;
use super::super::{Context, output};
use super::Subject;
use crate::model::delivery::{Release, Releases};
use crate::model::failure::Result;
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
  consign describe release --service web --id rls-0123456789abcdef0123")]
struct DescribeRelease {
    #[command(flatten)]
    subject: Subject,
    /// Where
    #[arg(long, short = 'e', value_name = "NAME", required_unless_present = "id")]
    env: Option<FileName>,
    /// How many
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=200))]
    count: u32,
    /// This one, with every state that it had
    #[arg(long, value_name = "ID", conflicts_with = "env")]
    id: Option<FileName>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign describe artifact --service web --count 5")]
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
        let mut query = vec![
            ("service", self.subject.service.to_string()),
            ("pushed", "true".to_owned()),
            ("limit", self.count.to_string()),
        ];
        query.extend(self.env.iter().map(|environment| ("environment", environment.to_string())));
        query.extend(self.subject.namespace.iter().map(|namespace| ("namespace", namespace.to_string())));
        let page = server.releases(&query)?;
        if page.releases.is_empty() {
            let environment = self.env.as_ref().map_or("", FileName::as_str);
            return Err(Failure::new(
                Code::ReleaseUnknown,
                format!("no release of service '{}' available in environment '{environment}'", self.subject.service),
            )
            .subject(environment)
            .hint("are you missing a namespace?"));
        }
        let page = Releases { next: None, ..page };
        context.output.result(&page, || page.releases.iter().map(one).collect::<Vec<_>>().join("\n\n"))?;
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
    let page = registry.server(context)?.artifacts(&query)?;
    if page.artifacts.is_empty() {
        let branch = branch.map(|branch| format!(" and branch '{}'", shown(branch))).unwrap_or_default();
        let message = format!("no artifacts available for service '{service}'{branch}");
        return Err(Failure::new(Code::ArtifactUnknown, message).subject(service.as_str()));
    }
    context.output.result(&page, || {
        let mut rows = vec![["DATE", "ARTIFACT", "MESSAGE"].map(str::to_owned).to_vec()];
        rows.extend(page.artifacts.iter().map(|known| {
            let message = known.artifact.source.message.as_deref().and_then(|message| message.lines().next());
            vec![
                known.pushed_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                known.artifact.id.to_string(),
                shown(message.unwrap_or_default()).into_owned(),
            ]
        }));
        output::table(&rows)
    })?;
    Ok(Exit::Done)
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
    let lines: Vec<_> = rows.iter().map(|(name, text)| format!("{name:<14}{}", shown(text))).collect();
    lines.join("\n")
}
