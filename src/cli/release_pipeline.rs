//! `release-pipeline`: the whole story, as a rehearsal or as the release.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::anchor::AnchorArgs;
use super::planning::{self, GuardArgs};
use super::selection::{PublishArgs, ReleaseArgs, mode_values};
use super::signing::SigningArgs;
use super::{Context, docker_smoke, output};
use crate::model::Exit;
use crate::model::events::Outcome;
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::text::shown;
use crate::pipeline::plan::{Plan, Selection};
use crate::pipeline::request::{Mode, SmokePlace};
use crate::pipeline::run::Journal;
use crate::pipeline::{Tools, package};

/// The arguments of `release-pipeline`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign release-pipeline                              rehearse: everything but publishing
  consign release-pipeline --dry-run                    print the plan
  consign release-pipeline --skip test --skip smoke
  consign release-pipeline --from package               go on with what was built
  consign release-pipeline --smoke host,docker          try the packages in containers too
  consign release-pipeline v1.2.3 --mode release --key release.pem --provider directory --target /srv/releases \\
    --register https://registry.example.com

With docker, the services of docker/smoke.toml that are labelled `published` run once more on what was
published, in the stage remote-verify.

Stages: guard, preflight, test, build, package, sign, verify, notes, smoke, publish, remote-verify, summary, register.")]
pub struct ReleasePipelineArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Rehearse (validate), or release
    #[arg(long, value_name = "MODE", default_value = "validate", value_parser = mode_values())]
    mode: Mode,
    /// Start at this stage, with what earlier runs left in dist/
    #[arg(long, value_name = "STAGE", value_parser = stages())]
    from: Option<Stage>,
    /// Leave a stage out (repeatable, or separated by commas)
    #[arg(long, value_name = "STAGE", value_delimiter = ',', value_parser = stages())]
    skip: Vec<Stage>,
    /// Where the stage smoke runs something: host, docker (separated by commas) [default: host]
    #[arg(long, value_name = "PLACE", value_delimiter = ',', value_parser = smoke_places())]
    smoke: Vec<SmokePlace>,
    /// Start from this image, or tar file, in the place of a base of docker/smoke.toml (repeatable)
    #[arg(long = "base", value_name = "BASE=IMAGE|FILE")]
    bases: Vec<String>,
    /// Print the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    publish: PublishArgs,
    /// Make what was published an artifact of this registry
    #[arg(long, value_name = "URL", help_heading = "Publishing options")]
    register: Option<String>,
    #[command(flatten)]
    guard: GuardArgs,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    anchor: AnchorArgs,
}

impl ReleasePipelineArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let skip = self.skip.iter().copied().collect();
        let selection = Selection {
            from: self.from,
            skip,
            signs: self.signing.is_given(context),
            smoke: (!self.smoke.is_empty()).then(|| self.smoke.clone()),
            smoke_bases: docker_smoke::bases(&self.bases)?,
            register: self.register.clone(),
        };
        let planned = planning::plan(context, &self.release, Some(&self.publish), Some(self.mode), &selection)?;
        if self.dry_run {
            super::plan::print(context, &planned.plan)?;
            return Ok(Exit::Done);
        }
        let signers = self.signing.signers(context, &self.anchor.pubkeys, Some(&planned.plan.places.dist))?;
        let requirements = self.anchor.requirements_of(context, &signers)?;
        let registry = super::register::registry(context, &planned.plan)?;
        let tools = Tools {
            requirements,
            signers: &signers,
            registry: registry.as_ref(),
            ..planned.tools(context, self.guard.guard(context))
        };
        let journal = crate::pipeline::release(&planned.plan, &tools)?;
        let packages =
            package::recall(&planned.plan).map(|packed| super::package::packages(&packed.packages)).unwrap_or_default();
        context.output.result(&journal, || describe(&planned.plan, &journal, &packages))?;
        Ok(Exit::Done)
    }
}

fn describe(plan: &Plan, journal: &Journal, packages: &str) -> String {
    let rows: Vec<_> = journal
        .stages
        .iter()
        .map(|record| {
            let status = match record.status {
                Outcome::Passed => "passed",
                Outcome::Skipped => "-",
                Outcome::Failed => "failed",
            };
            let duration = std::time::Duration::from_millis(record.duration_ms);
            let time = if record.status == Outcome::Skipped { String::new() } else { output::duration(duration) };
            vec![record.stage.to_string(), status.to_owned(), time, shown(&record.detail).into_owned()]
        })
        .collect();
    let end = match plan.mode {
        Mode::Validate => format!("{} {} is ready to be released: {}", plan.name, plan.release.tag, plan.places.bundle),
        Mode::Release => format!("{} {} is released: {}", plan.name, plan.release.tag, plan.places.bundle),
    };
    format!("{}\n{packages}\n{end}", output::table(&rows))
}

fn smoke_places() -> impl TypedValueParser<Value = SmokePlace> {
    PossibleValuesParser::new(["host", "docker"])
        .map(|word| if word == "docker" { SmokePlace::Docker } else { SmokePlace::Host })
}

fn stages() -> impl TypedValueParser<Value = Stage> {
    PossibleValuesParser::new(Stage::ALL.map(Stage::as_str))
        .map(|word| Stage::ALL.into_iter().find(|stage| stage.as_str() == word).unwrap_or(Stage::Guard))
}
