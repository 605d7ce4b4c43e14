//! What each stage does when it runs, and the one line that it says about its result.
//!
//! The deeds themselves stand in the stage's own module; here they are put together with the plan.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8Path;

use super::build::Built;
use super::docker_smoke::matrix::Matrix;
use super::package::Packed;
use super::plan::Plan;
use super::publish::Publication;
use super::register::Registration;
use super::request::{Containers, Mode};
use super::run::attend;
use super::summary::{RemoteStatus, Summary};
use super::{
    Tools, build, docker_smoke, guard, notes, package, preflight, publish, register, remote_verify, sign, smoke,
    summary, verify,
};
use crate::model::failure::Result;
use crate::model::index;
use crate::model::stage::Stage;
use crate::model::{Code, Failure};
use crate::provider::{ProviderKind, Status};
use crate::trust::bundle::Bundle;
use crate::trust::{Verified, documents};
use crate::world::files;
use crate::world::git::Repository;
use crate::world::process::Program;

type Done<T> = Result<(T, String)>;

pub(crate) fn guard(plan: &Plan, tools: &Tools<'_>) -> Done<()> {
    let guarded = guard::check(&plan.release, &plan.workspace_version, &tools.guard, tools.repository)?;
    if plan.mode == Mode::Release {
        guard::refuse_another_commit(&plan.release, tools.repository)?;
    }
    Ok(((), format!("{} {} may be released", plan.name, guarded.tag)))
}

pub(crate) fn preflight(plan: &Plan, tools: &Tools<'_>) -> Done<()> {
    let examination = preflight::require(plan)?;
    preflight::require_key(plan, &tools.requirements)?;
    if let Some(containers) = &plan.smoke.containers {
        docker_smoke::look(&containers.matrix, &containers.addresses)?;
    }
    Ok(((), format!("{} checks passed", examination.checks.len())))
}

pub(crate) fn test(plan: &Plan, tools: &Tools<'_>) -> Done<()> {
    let program = Program::of(&plan.test)
        .ok_or_else(|| Failure::new(Code::ConfigInvalid, "the stage `test` has no command").subject("test.command"))?;
    let program = build::with_less(program);
    attend(plan, program, Stage::Test, Code::TestsFailed, "the workspace's tests", tools.listener)?;
    Ok(((), plan.test.join(" ")))
}

pub(crate) fn build(plan: &Plan, tools: &Tools<'_>) -> Done<Built> {
    let built = build::build(plan, tools.listener)?;
    let programs: usize = built.platforms.iter().map(|platform| platform.metadata.binaries.len()).sum();
    let detail = format!("{} for {}", count(programs, "program"), count(built.platforms.len(), "platform"));
    Ok((built, detail))
}

pub(crate) fn package(plan: &Plan, built: &Built, tools: &Tools<'_>) -> Done<Packed> {
    let packed = package::package(plan, built, tools.listener)?;
    let bytes: u64 = packed.packages.iter().map(|package| package.size_bytes).sum();
    let detail = format!("{}, {} kB", count(packed.packages.len(), "archive"), bytes.div_ceil(1000));
    Ok((packed, detail))
}

pub(crate) fn sign(plan: &Plan, packed: &Packed, tools: &Tools<'_>) -> Done<()> {
    let hand = sign::Hand { signers: tools.signers, minisign: plan.interop.minisign };
    let signed = sign::sign(&packed.directory, Some(&plan.release), hand, tools.listener)?;
    let (made, kept) = signed.keys.iter().fold((0, 0), |(made, kept), key| (made + key.made, kept + key.kept));
    let keys = count(signed.keys.len(), "key");
    Ok(((), format!("{} by {keys}, {kept} of them kept", count(made + kept, "signature"))))
}

pub(crate) fn verify(plan: &Plan, packed: &Packed, tools: &Tools<'_>) -> Done<Option<Verified<Bundle>>> {
    let report = verify::verify(&packed.directory, Some(&plan.release), &tools.requirements, tools.listener)?;
    files::write(&plan.places.releases.join("verify.json"), &crate::model::pretty(&report))?;
    let detail = format!("{} agree; authenticity {}", count(report.files.len(), "file"), report.authenticity);
    Ok((Some(report.accept()?), detail))
}

pub(crate) fn notes(plan: &Plan, tools: &Tools<'_>) -> Done<()> {
    package::recall(plan)?;
    let bytes = files::read_bounded(&plan.places.bundle.join(index::FILE_NAME), index::MAX_BYTES)?;
    let index = documents::read_index(&bytes).map_err(|problem| {
        Failure::new(Code::DocumentInvalid, "failed to read the bundle's index")
            .subject(index::FILE_NAME)
            .because(problem)
    })?;
    let listed = files::list(&plan.places.bundle)?;
    let previous_tag = tools.repository.map(|repository| repository.previous_tag(&plan.release)).transpose()?.flatten();
    let input = notes::NotesInput {
        commits: match tools.repository {
            Some(repository) => repository.commits(previous_tag.as_deref(), None)?,
            None => Vec::new(),
        },
        history_is_cut_off: tools.repository.map(Repository::is_shallow).transpose()?.unwrap_or_default(),
        signature_count: listed.iter().filter(|(name, _)| name.rsplit('.').next() == Some("sig")).count(),
        previous_tag,
        index,
    };
    let template =
        plan.notes_template.as_ref().map(|path| files::read_bounded(path, MAX_TEMPLATE_BYTES)).transpose()?;
    let template = template.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
    let text = notes::render(&input, template.as_deref())?;
    let path = plan.places.releases.join(notes::FILE_NAME);
    files::write(&path, text.as_bytes())?;
    Ok(((), path.strip_prefix(&plan.places.root).unwrap_or(&path).to_string()))
}

/// How long to wait, again and again, for what was just published to be there for everybody.
const PROPAGATION_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// The largest template that is read, in bytes.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

pub(crate) fn smoke(plan: &Plan, built: &Built, verified: Option<&Verified<Bundle>>, tools: &Tools<'_>) -> Done<()> {
    let on_host = if plan.smoke.on_host { Some(smoke_on_host(plan, built, tools)?) } else { None };
    let in_containers = match &plan.smoke.containers {
        Some(containers) => Some(smoke_in_containers(plan, containers, verified, tools)?),
        None => None,
    };
    let details: Vec<_> = on_host.into_iter().chain(in_containers).collect();
    Ok(((), if details.is_empty() { "nothing is chosen".to_owned() } else { details.join("; ") }))
}

fn smoke_in_containers(
    plan: &Plan,
    containers: &Containers,
    verified: Option<&Verified<Bundle>>,
    tools: &Tools<'_>,
) -> Result<String> {
    if verified.is_none() {
        return Err(Failure::new(
            Code::StageRequired,
            "only a bundle that has just been verified is tried in containers",
        )
        .subject("smoke")
        .hint("leave `--skip verify` out, or choose `--smoke host`"));
    }
    let options = docker_smoke::Options {
        addresses: &containers.addresses,
        directory: &plan.places.dist.join("docker-smoke"),
        bundle: Some(&plan.places.bundle),
        published: None,
        jobs: None,
        listener: tools.listener,
    };
    run_in_containers(&containers.matrix, &options)
}

/// The same on what was published: from where everybody finds it, or on what was fetched from there.
fn smoke_published(plan: &Plan, copy: Option<&remote_verify::Copied>, tools: &Tools<'_>) -> Result<Option<String>> {
    let (Some((matrix, containers)), Some(copy)) = (plan.smoke_on_published(), copy) else { return Ok(None) };
    let options = docker_smoke::Options {
        addresses: &containers.addresses,
        directory: &plan.places.dist.join("docker-smoke-published"),
        bundle: Some(&copy.directory),
        published: copy.url.as_deref(),
        jobs: None,
        listener: tools.listener,
    };
    run_in_containers(matrix, &options).map(Some)
}

fn run_in_containers(matrix: &Matrix, options: &docker_smoke::Options<'_>) -> Result<String> {
    let report = docker_smoke::run(matrix, options)?;
    docker_smoke::require(&report, options.directory)?;
    let left_out = match report.skipped.len() {
        0 => String::new(),
        skipped => format!(", {skipped} left out"),
    };
    Ok(format!("{} passed in containers{left_out}", count(report.passed, "service")))
}

fn smoke_on_host(plan: &Plan, built: &Built, tools: &Tools<'_>) -> Result<String> {
    let smoked = smoke::smoke(plan, built, tools.listener)?;
    let refused = smoked.commands.iter().filter(|command| command.status == "warned").count();
    let refused = if refused == 0 { String::new() } else { format!(", {refused} of them refused by the program") };
    let left_out = match smoked.skipped.as_slice() {
        [] => String::new(),
        skipped => format!(", {} cannot run here", count(skipped.len(), "platform")),
    };
    Ok(format!("{} ran{refused}{left_out}", count(smoked.commands.len(), "command")))
}

pub(crate) fn publish(
    plan: &Plan,
    verified: Option<&Verified<Bundle>>,
    tools: &Tools<'_>,
) -> Done<Option<Publication>> {
    let (Some(target), Some(verified)) = (&plan.publish, verified) else {
        return Err(Failure::new(Code::StageRequired, "only a bundle that has just been verified is published")
            .subject("publish")
            .hint("run `release-pipeline --mode release` without `--skip verify`"));
    };
    let publishing =
        publish::Publishing { requirements: &tools.requirements, signers: tools.catalog_signers, now: (tools.now)() };
    let publication = publish::publish(verified, plan, target, publishing, tools.listener)?;
    let listed = publication
        .catalog
        .as_ref()
        .map_or_else(String::new, |outcome| format!(", catalog {}", outcome.status.as_str()));
    let detail = format!("{} {}{listed}", publication.status.as_str(), publication.url);
    Ok((Some(publication), detail))
}

pub(crate) fn remote_verify(plan: &Plan, published: Option<&Publication>, tools: &Tools<'_>) -> Done<RemoteStatus> {
    let place = match (&plan.remote_base_url, published, &plan.publish) {
        (Some(base), _, _) => remote_verify::Published::of_plan(plan, base)?,
        (None, Some(_), Some(publish)) => remote_verify::Published::of_target(&publish.place, &plan.release)?
            .reporting_to(plan.places.releases.clone()),
        (None, _, _) => {
            return Err(Failure::new(Code::ProviderMissing, "there is no address to fetch the release from")
                .hint("name one with `--base-url`"));
        }
    };
    // GitHub takes a moment until what it has just published can be fetched by everybody.
    let is_fresh = published
        .is_some_and(|published| published.status == Status::Published && published.provider == ProviderKind::Github);
    let mut pauses = if is_fresh { PROPAGATION_PAUSES.iter() } else { [].iter() };
    let report = loop {
        match remote_verify::remote_verify(&place, tools) {
            Err(failure) if failure.code() == Code::RemoteNotFound => match pauses.next() {
                Some(pause) => std::thread::sleep(*pause),
                None => return Err(failure),
            },
            verified => break verified?,
        }
    };
    let again = smoke_published(plan, report.copy.as_ref(), tools)?;
    let again = again.map_or_else(String::new, |again| format!("; {again}"));
    Ok((
        RemoteStatus::Passed,
        format!("{} fetched from {} and verified{again}", count(report.files.len(), "file"), report.base_url),
    ))
}

pub(crate) fn summary(plan: &Plan, assets: &Utf8Path, remote: RemoteStatus, tools: &Tools<'_>) -> Done<Summary> {
    let url = plan.places.releases.join(publish::URL_FILE_NAME);
    let url = if url.is_file() { Some(files::read_bounded(&url, MAX_TEMPLATE_BYTES)?) } else { None };
    let url = url.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let summary = summary::summarise(&summary::SummaryInput {
        release: &plan.release,
        release_url: url.as_deref(),
        archive_count: plan.platforms.len(),
        remote_verify_status: remote,
        expected: expected_assets(plan)?,
        published: summary::read_assets(assets)?,
    });
    summary::write(&summary, &plan.places.releases, tools.step_summary)?;
    let detail = format!("{} expected, none missing", count(summary.expected_assets.len(), "asset"));
    Ok((summary, detail))
}

/// What the plan makes, and whatever evidence lies beside it. A file that was lost here is expected
/// all the same.
fn expected_assets(plan: &Plan) -> Result<Vec<String>> {
    let planned = plan.files.iter().map(ToString::to_string);
    let found = files::list(&plan.places.bundle)?.into_iter().map(|(name, _)| name);
    Ok(planned.chain(found).collect::<BTreeSet<_>>().into_iter().collect())
}

pub(crate) fn summarise(plan: &Plan, remote: RemoteStatus, tools: &Tools<'_>) -> Done<()> {
    let assets = plan.places.releases.join(summary::ASSETS_FILE_NAME);
    summary(plan, &assets, remote, tools).map(|(_, detail)| ((), detail))
}

pub(crate) fn register(
    plan: &Plan,
    verified: Option<&Verified<Bundle>>,
    tools: &Tools<'_>,
) -> Done<Option<Registration>> {
    let (Some(registry), Some(server), Some(verified)) = (&plan.register, tools.registry, verified) else {
        return Err(Failure::new(Code::StageRequired, "only a bundle that has just been verified is registered")
            .subject("register")
            .hint("run it without `--skip verify`, and name the registry with `--register URL`"));
    };
    let registration = register::register(verified, plan, registry, server, (tools.now)())?;
    let detail = registration.detail();
    Ok((Some(registration), detail))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
