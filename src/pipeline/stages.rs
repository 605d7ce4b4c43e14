//! What each stage does when it runs, and the one line that it says about its result.
//!
//! The deeds themselves stand in the stage's own module; here they are put together with the plan.

use super::build::Built;
use super::package::Packed;
use super::plan::Plan;
use super::publish::Publication;
use super::run::attend;
use super::stage::Stage;
use super::verify::Authenticated;
use super::{Tools, build, guard, notes, package, preflight, publish, remote_verify, smoke, summary, verify};
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::{Bundle, Verified};
use crate::world::files;
use crate::world::process::Program;

type Done<T> = Result<(T, String)>;

pub(crate) fn guard(plan: &Plan, tools: &Tools<'_>) -> Done<()> {
    let guarded = guard::check(&plan.release, &plan.workspace_version, &tools.guard, tools.repository)?;
    Ok(((), format!("{} {} may be released", plan.name, guarded.tag)))
}

pub(crate) fn preflight(plan: &Plan) -> Done<()> {
    let examination = preflight::require(plan)?;
    Ok(((), format!("{} checks passed", examination.checks.len())))
}

pub(crate) fn test(plan: &Plan, tools: &Tools<'_>) -> Done<()> {
    let program = Program::of(&plan.test)
        .ok_or_else(|| Failure::new(Code::ConfigInvalid, "the stage `test` has no command").subject("test.command"))?;
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
    let detail = format!("{}, {:.1} MB", count(packed.packages.len(), "archive"), bytes as f64 / 1e6);
    Ok((packed, detail))
}

pub(crate) fn verify(plan: &Plan, packed: &Packed, tools: &Tools<'_>) -> Done<Option<Verified<Bundle>>> {
    let report = verify::verify(&packed.directory, &tools.requirements, tools.listener)?;
    files::write(&plan.places.releases.join("verify.json"), &crate::model::pretty(&report))?;
    let detail = format!("{} agree; authenticity {}", count(report.files.len(), "file"), report.authenticity);
    Ok((Some(report.accept()?), detail))
}

pub(crate) fn notes(plan: &Plan, tools: &Tools<'_>) -> Done<()> {
    let path = notes::write(plan, tools.repository)?;
    Ok(((), path.strip_prefix(&plan.places.root).unwrap_or(&path).to_string()))
}

pub(crate) fn smoke(plan: &Plan, built: &Built, tools: &Tools<'_>) -> Done<()> {
    let smoked = smoke::smoke(plan, built, tools.listener)?;
    let left_out = match smoked.skipped.as_slice() {
        [] => String::new(),
        skipped => format!(", {} cannot run here", count(skipped.len(), "platform")),
    };
    Ok(((), format!("{} ran{left_out}", count(smoked.commands.len(), "command"))))
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
    let publication = publish::publish(verified, plan, target, tools.listener)?;
    let detail = format!("{} {}", publication.status.as_str(), publication.url);
    Ok((Some(publication), detail))
}

pub(crate) fn remote_verify(plan: &Plan, published: Option<&Publication>, tools: &Tools<'_>) -> Done<()> {
    let base = plan.remote_base_url.clone().or_else(|| published.map(|published| published.url.clone()));
    let base = base.ok_or_else(|| {
        Failure::new(Code::ProviderMissing, "there is no address to fetch the release from")
            .hint("name one with `--base-url`")
    })?;
    let report = remote_verify::remote_verify(&remote_verify::Place::of_plan(plan, &base)?, tools)?;
    Ok(((), format!("{} fetched from {} and verified", count(report.files.len(), "file"), report.base_url)))
}

pub(crate) fn summary(plan: &Plan, tools: &Tools<'_>) -> Done<()> {
    let summary = summary::write(plan, None, tools.step_summary)?;
    Ok(((), format!("{} expected, none missing", count(summary.expected_assets.len(), "asset"))))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
