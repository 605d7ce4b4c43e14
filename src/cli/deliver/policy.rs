//! `policy`: the rules that hold for a service.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::super::registry::RegistryArgs;
use super::super::{Context, output, usage};
use crate::client::Server;
use crate::model::failure::Result;
use crate::model::management::{PolicyList, PolicyTest, PolicyTested, Standing};
use crate::model::policy::{
    AutoRelease, Block, BranchMatch, BranchRestriction, Document, Global, MAX_BYTES, Policy, PolicySet,
};
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure, FileName};
use crate::world::files;

/// The arguments of `policy`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The policies that hold: the server's own first
    List(ListArgs),
    /// Put a policy in its place
    Apply(ApplyArgs),
    /// Take policies away
    Delete(DeleteArgs),
    /// What other policies would have answered to the releases that there were
    Test(TestArgs),
}

/// Whose. Its name is also the id of a group.
#[derive(Clone, Debug, Args)]
struct Whose {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The service
    #[arg(long, value_name = "NAME")]
    service: FileName,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign policy list --service web")]
struct ListArgs {
    #[command(flatten)]
    whose: Whose,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
struct ApplyArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// What is pushed from a branch is released by itself
    AutoRelease(AutoReleaseArgs),
    /// Only branches that match may be released
    BranchRestriction(BranchRestrictionArgs),
    /// Stop an artifact where its stage has not seen it come out well
    Block(BlockArgs),
    /// Policies of any kind, from a file
    File(FileArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign policy apply auto-release --service web --branch main --env dev")]
struct AutoReleaseArgs {
    #[command(flatten)]
    whose: Whose,
    /// The branch, exactly
    #[arg(long, short = 'b', value_name = "BRANCH", value_parser = super::branch)]
    branch: String,
    /// Where to
    #[arg(long, short = 'e', value_name = "NAME")]
    env: FileName,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign policy apply branch-restriction --service web --branch-regex 'main|release/.*' --env prod")]
struct BranchRestrictionArgs {
    #[command(flatten)]
    whose: Whose,
    /// The regular expression, which has to match the whole name
    #[arg(long, value_name = "REGEX")]
    branch_regex: String,
    /// Let it match anywhere in the name
    #[arg(long)]
    contains: bool,
    /// Where to
    #[arg(long, short = 'e', value_name = "NAME")]
    env: FileName,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign policy apply block --service web --artifact main-0123456789-1a2b3c4d --reason 'it leaks memory'

`consign policy delete` takes it away again.")]
struct BlockArgs {
    #[command(flatten)]
    whose: Whose,
    /// The artifact
    #[arg(long, value_name = "ID")]
    artifact: FileName,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign policy apply file --service web freeze.json

The file has one policy, or a document of the type `consign.policies/v1`.")]
struct FileArgs {
    #[command(flatten)]
    whose: Whose,
    /// The file
    #[arg(value_name = "FILE")]
    path: Utf8PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign policy delete --service web branch-restriction-prod")]
struct DeleteArgs {
    #[command(flatten)]
    whose: Whose,
    /// Which
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign policy test --service web proposed.json --since 2026-01-01T00:00:00Z

Nothing is changed. Every release that was asked for is judged again, at its own time, by the policies that there are and
by those of the file; votes and what is live are taken as they are now.")]
struct TestArgs {
    #[command(flatten)]
    whose: Whose,
    /// The policies that the service would have of its own
    #[arg(value_name = "FILE")]
    path: Utf8PathBuf,
    /// Releases that were asked for at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<jiff::Timestamp>,
}

/// Policies that were put in their places.
#[derive(Serialize)]
struct Placed {
    service: FileName,
    applied: Vec<crate::model::management::Applied>,
}

impl PolicyArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            Verb::List(ListArgs { whose }) => {
                let list = whose.server(context)?.policies(&whose.service)?;
                context.output.result(&list, || describe(&list))?;
            }
            Verb::Apply(ApplyArgs { kind }) => kind.apply(context)?,
            Verb::Delete(DeleteArgs { whose, ids }) => {
                let deleted = whose.server(context)?.delete_policies(&whose.service, ids)?;
                context.output.result(&deleted, || format!("Deleted {} policies", deleted.count))?;
            }
            Verb::Test(TestArgs { whose, path, since }) => {
                let policies = Document::new(read(context, path)?);
                let test = PolicyTest { policies, since: *since };
                let tested = whose.server(context)?.test_policies(&whose.service, &test)?;
                context.output.result(&tested, || differences(&tested))?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Whose {
    fn server(&self, context: &Context) -> Result<Server> {
        self.registry.server(context)
    }
}

impl Kind {
    fn apply(&self, context: &Context) -> Result<()> {
        let (whose, policies) = match self {
            Self::AutoRelease(AutoReleaseArgs { whose, branch, env }) => {
                let policy = AutoRelease { branch: branch.clone(), environment: env.clone() };
                (whose, vec![Policy::AutoRelease(policy)])
            }
            Self::BranchRestriction(BranchRestrictionArgs { whose, branch_regex, contains, env }) => {
                let matching = if *contains { BranchMatch::Contains } else { BranchMatch::Anchored };
                let policy = BranchRestriction { environment: env.clone(), branch: branch_regex.clone(), matching };
                (whose, vec![Policy::BranchRestriction(policy)])
            }
            Self::Block(BlockArgs { whose, artifact, reason }) => {
                let policy = Block { artifact: artifact.clone(), reason: reason.clone() };
                (whose, vec![Policy::Block(policy)])
            }
            Self::File(FileArgs { whose, path }) => (whose, read(context, path)?),
        };
        let server = whose.server(context)?;
        rehearse(server.policies(&whose.service)?, &policies)?;
        let mut applied = Vec::new();
        for policy in &policies {
            let done = server.apply_policy(&whose.service, policy).map_err(|failure| half_done(failure, &applied))?;
            applied.push(done);
            for note in without_effect(&server, policy) {
                context.output.note(&note);
            }
        }
        let placed = Placed { service: whose.service.clone(), applied };
        context.output.result(&placed, || {
            let lines = placed.applied.iter().map(|applied| {
                let word = if applied.changed { "Applied" } else { "Unchanged:" };
                format!("[✓] {word} policy '{}' to service '{}'", shown(&applied.id), placed.service)
            });
            lines.collect::<Vec<_>>().join("\n")
        })
    }
}

/// One policy, or a document of several.
fn read(context: &Context, path: &Utf8PathBuf) -> Result<Vec<Policy>> {
    let bytes = files::read_bounded(&context.path(path), MAX_BYTES)?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| usage(format!("`{path}` is not JSON")).subject(path.as_str()).because(error))?;
    if value.get("policies").is_some() {
        return Ok(Document::read(&bytes).map_err(|failure| failure.subject(path.as_str()))?.policies);
    }
    // From the bytes once more: of two equal keys a value keeps the last one, and says nothing.
    let policy: Policy = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(Code::PolicyInvalid, format!("the policy in `{path}` cannot be read"))
            .subject(path.as_str())
            .because(error)
            .hint("a policy has a `kind` and what belongs to it, and nothing else")
    })?;
    policy.check()?;
    Ok(vec![policy])
}

/// Finds what would be refused before anything is changed: of several policies all are put in their places, or none.
fn rehearse(there: PolicyList, policies: &[Policy]) -> Result<()> {
    if policies.is_empty() {
        return Err(usage("there are no policies to apply"));
    }
    let (local, global): (Vec<_>, Vec<_>) = there.policies.into_iter().partition(|standing| standing.id.is_some());
    let plain = |standing: Vec<Standing>| standing.into_iter().map(|standing| standing.policy).collect();
    let mut set = PolicySet::stored(there.service, Global::new(plain(global))?, plain(local));
    let mut ids = Vec::new();
    for policy in policies {
        ids.push(set.apply(policy.clone())?);
    }
    // One that takes the place of another one of the same file is a mistake, whichever was meant.
    let is_there = |id: &String| set.local().iter().any(|policy| policy.id() == *id);
    let twice = ids.iter().enumerate().find(|(number, id)| !is_there(id) || ids[..*number].contains(id));
    twice.map_or(Ok(()), |(_, id)| {
        let message = format!("two of the policies are about the same: `{}`", shown(id));
        Err(Failure::new(Code::PolicyConflict, message).subject(id.as_str()).hint("keep one of them"))
    })
}

/// A failure after some policies were put in their places, which somebody else's change can bring about.
fn half_done(failure: Failure, applied: &[crate::model::management::Applied]) -> Failure {
    if applied.is_empty() {
        return failure;
    }
    let ids: Vec<_> = applied.iter().map(|applied| format!("`{}`", shown(&applied.id))).collect();
    Failure::new(failure.code(), format!("only {} could be applied", ids.join(", ")))
        .because(failure)
        .hint("`consign policy list` shows what holds; apply the file again")
}

/// Why a policy may be without an effect. Nobody is refused it for that: what it is about may come yet.
fn without_effect(server: &Server, policy: &Policy) -> Vec<String> {
    let mut notes = Vec::new();
    if let Policy::DeployTrigger(trigger) = policy {
        notes.extend(trigger.never().map(|why| format!("note: `{}` never fires: {why}", shown(&policy.id()))));
    }
    let known = server.environments().map(|known| known.environments).unwrap_or_default();
    let value = serde_json::to_value(policy).unwrap_or_default();
    let named = ["environment", "environments", "upstream"].into_iter().filter_map(|field| value.get(field));
    let names = named.flat_map(|named| named.as_array().cloned().unwrap_or_else(|| vec![named.clone()]));
    let unknown = names.filter_map(|name| name.as_str().map(str::to_owned));
    let unknown = unknown.filter(|name| !known.is_empty() && known.iter().all(|known| known.name.as_str() != name));
    notes.extend(unknown.map(|name| format!("note: the server manages no environment `{}`", shown(&name))));
    notes
}

fn describe(list: &PolicyList) -> String {
    if list.policies.is_empty() {
        return format!("No policies exist for service {}", list.service);
    }
    let mut rows = vec![["KIND", "WHAT IT SAYS", "ID"].map(str::to_owned).to_vec()];
    for standing in &list.policies {
        let value = serde_json::to_value(&standing.policy).unwrap_or_default();
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let fields = value.as_object().into_iter().flatten().filter(|(name, _)| *name != "kind");
        let said: Vec<_> = fields.map(|(name, value)| format!("{name} {}", plain(value))).collect();
        let id = standing.id.clone().unwrap_or_else(|| "(the server's)".to_owned());
        rows.push(vec![kind, shown(&said.join(", ")).into_owned(), shown(&id).into_owned()]);
    }
    format!("Policies for service {}\n{}", list.service, output::table(&rows))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn differences(tested: &PolicyTested) -> String {
    let mut lines: Vec<_> = tested
        .changed
        .iter()
        .map(|replayed| {
            let word = |decision: &crate::model::policy::Decision| {
                serde_json::to_value(decision.outcome).ok().and_then(|word| word.as_str().map(str::to_owned))
            };
            format!(
                "{} {} to {} at {}: {} -> {}",
                shown(&replayed.release),
                replayed.artifact,
                replayed.environment,
                replayed.requested_at,
                word(&replayed.before).unwrap_or_default(),
                word(&replayed.after).unwrap_or_default()
            )
        })
        .collect();
    lines.push(format!("{} of {} releases would have been answered otherwise", tested.changed.len(), tested.releases));
    lines.join("\n")
}
