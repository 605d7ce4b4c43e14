//! `docker-smoke`: what was packaged, installed and run in containers; or the list of those services.

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};
use owo_colors::OwoColorize as _;
use serde::Serialize;

use super::anchor::AnchorArgs;
use super::selection::ReleaseArgs;
use super::{Context, output, planning, usage};
use crate::config::environment;
use crate::config::smoke_matrix::{self, Bases};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Exit, Failure, Platform};
use crate::pipeline::docker_smoke::matrix::{Choice, Matrix, Serve, Service, ServiceName};
use crate::pipeline::docker_smoke::report::{Report, Status};
use crate::pipeline::docker_smoke::{self, Options};
use crate::pipeline::plan::Selection;
use crate::pipeline::verify;
use crate::world::docker::{self, Address};

/// The arguments of `docker-smoke`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign docker-smoke                               run every service of docker/smoke.toml
  consign docker-smoke list
  consign docker-smoke validate --matrix services.toml
  consign docker-smoke --label amd64 --jobs 4
  consign docker-smoke --service debian --base debian-12=bookworm.tar --bundle dist/packages/v1.2.3

The logs are dist/docker-smoke/<service>.log; the last line of each is its verdict.")]
pub struct DockerSmokeArgs {
    /// What to do with the services
    #[arg(value_name = "run|list|validate|schema", hide_possible_values = true, default_value = "run")]
    action: Action,
    /// Where the services are listed [default: docker/smoke.toml, here or above]
    #[arg(long, value_name = "FILE")]
    matrix: Option<Utf8PathBuf>,
    /// A service, and whatever it needs (repeatable, or separated by commas) [default: all]
    #[arg(long = "service", value_name = "SERVICE", value_delimiter = ',')]
    services: Vec<String>,
    /// The services with this label (repeatable, or separated by commas)
    #[arg(long = "label", value_name = "LABEL", value_delimiter = ',')]
    labels: Vec<String>,
    /// Start from this image, or tar file, in the place of a base (repeatable)
    #[arg(long = "base", value_name = "BASE=IMAGE|FILE")]
    bases: Vec<String>,
    /// How many services may be at work at once [default: what the file says, else four per processor]
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// The bundle to try [default: that of this workspace's version]
    #[arg(long, value_name = "DIR")]
    bundle: Option<Utf8PathBuf>,
    /// Where everything is written [default: dist]
    #[arg(long, value_name = "DIR")]
    dist: Option<Utf8PathBuf>,
    #[command(flatten)]
    anchor: AnchorArgs,
}

/// What to do with the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Run them.
    Run,
    /// Print them.
    List,
    /// Check the file.
    Validate,
    /// Print the JSON schema of such a file.
    Schema,
}

/// The document of `list` and `validate`.
#[derive(Serialize)]
struct Listing<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    file: &'a str,
    jobs: Option<usize>,
    services: Vec<Row<'a>>,
}

/// A service as it is listed. Values of variables are not.
#[derive(Serialize)]
struct Row<'a> {
    service: &'a ServiceName,
    image: String,
    platform: Option<Platform>,
    labels: Vec<&'a str>,
    needs: Vec<&'a ServiceName>,
    bundle: bool,
    serve: Option<Serve>,
    environment: Vec<&'a str>,
    time_limit_ms: u64,
    memory_bytes: u64,
}

impl DockerSmokeArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        if self.action == Action::Schema {
            context.output.document(smoke_matrix::schema().as_bytes())?;
            return Ok(Exit::Done);
        }
        let choice = Choice { services: self.services.clone(), labels: self.labels.clone() };
        let matrix = self.read(context)?.select(&choice)?;
        if self.action != Action::Run {
            return self.list(context, &matrix);
        }
        let dist = self.dist.clone().map(|dist| context.path(&dist));
        let wants_bundle = matrix.services.values().any(Service::wants_bundle);
        let (dist, bundle) = match (dist, &self.bundle) {
            (Some(dist), Some(bundle)) => (dist, Some(context.path(bundle))),
            (dist, bundle) => places(context, dist, bundle.as_ref().map(|bundle| context.path(bundle)), wants_bundle)?,
        };
        if let Some(bundle) = bundle.as_ref().filter(|_| wants_bundle) {
            self.require_whole(context, bundle)?;
        }
        let directory = dist.join("docker-smoke");
        let report = docker_smoke::run(
            &matrix,
            &Options {
                addresses: &addresses(context)?,
                directory: &directory,
                bundle: bundle.as_deref(),
                published: None,
                jobs: self.jobs.map(Into::into),
                listener: context.listener(),
            },
        )?;
        context.output.result(&report, || describe(&report, directory.as_str()))?;
        Ok(report.exit())
    }

    fn read(&self, context: &Context) -> Result<Matrix> {
        let path = match &self.matrix {
            Some(path) => context.path(path),
            None => smoke_matrix::find(&context.directory)?,
        };
        smoke_matrix::read(&path, &context.directory, &bases(&self.bases)?)
    }

    /// A bundle that is not whole is not worth a container.
    fn require_whole(&self, context: &Context, bundle: &camino::Utf8Path) -> Result<()> {
        let requirements = self.anchor.requirements_in(context, Some(bundle))?;
        let report = verify::verify(bundle, None, &requirements, context.listener())?;
        match report.findings.first() {
            None => Ok(()),
            Some(finding) => Err(Failure::new(
                finding.code,
                format!("the bundle does not verify: {}: {}", finding.file, finding.message),
            )
            .subject(bundle.as_str())
            .hint("`consign verify` tells everything that is wrong with it")),
        }
    }

    fn list(&self, context: &Context, matrix: &Matrix) -> Result<Exit> {
        let listing = Listing {
            kind: "consign.docker-smoke-services/v1",
            file: &matrix.file,
            jobs: matrix.jobs,
            services: matrix.services.iter().map(|(name, service)| row(name, service)).collect(),
        };
        context.output.result(&listing, || {
            let count = listing.services.len();
            if self.action == Action::Validate {
                return format!("{} is good: {count} services", matrix.file);
            }
            let words = |words: &[&str]| words.join(",");
            let rows: Vec<_> = listing
                .services
                .iter()
                .map(|row| {
                    let needs: Vec<_> = row.needs.iter().map(|name| name.as_str()).collect();
                    let needs = if needs.is_empty() { String::new() } else { format!("needs {}", words(&needs)) };
                    let platform = row.platform.map(|platform| platform.to_string()).unwrap_or_default();
                    vec![row.service.to_string(), shown(&row.image).into_owned(), platform, words(&row.labels), needs]
                })
                .collect();
            output::table(&rows)
        })?;
        Ok(Exit::Done)
    }
}

/// Where to write, and the bundle if one is wanted: those of the workspace, if they are not named.
#[expect(clippy::field_reassign_with_default, reason = "not every field of the flags is public")]
fn places(
    context: &Context,
    dist: Option<Utf8PathBuf>,
    bundle: Option<Utf8PathBuf>,
    wants_bundle: bool,
) -> Result<(Utf8PathBuf, Option<Utf8PathBuf>)> {
    if bundle.is_some() || !wants_bundle {
        let dist = dist.unwrap_or_else(|| {
            context.path(context.environment.get(environment::CONSIGN_DIST).unwrap_or("dist").into())
        });
        return Ok((dist, bundle));
    }
    let mut release = ReleaseArgs::default();
    release.dist = dist;
    let plan = planning::plan(context, &release, None, None, &Selection::default())?.plan;
    Ok((plan.places.dist, Some(plan.places.bundle)))
}

/// What the command line puts in the place of bases.
pub(super) fn bases(given: &[String]) -> Result<Bases> {
    let one = |given: &String| {
        let parts = given.split_once('=').filter(|(name, what)| !name.is_empty() && !what.is_empty());
        let (name, what) = parts.ok_or_else(|| {
            usage(format!("`{}` is not a base and what it is", shown(given)))
                .hint("write `--base NAME=IMAGE`, or `--base NAME=FILE.tar`")
        })?;
        Ok((name.to_owned(), what.to_owned()))
    };
    given.iter().map(one).collect()
}

/// Where an engine may listen.
fn addresses(context: &Context) -> Result<Vec<Address>> {
    let get = |name| context.environment.get(name);
    docker::candidates(get(environment::DOCKER_HOST), get(environment::HOME), get(environment::XDG_RUNTIME_DIR))
}

fn row<'a>(name: &'a ServiceName, service: &'a Service) -> Row<'a> {
    Row {
        service: name,
        image: service.source.to_string(),
        platform: service.platform,
        labels: service.labels.iter().map(String::as_str).collect(),
        needs: service.needs.iter().collect(),
        bundle: service.has_bundle,
        serve: service.serve,
        environment: service.environment.keys().map(String::as_str).collect(),
        time_limit_ms: u64::try_from(service.limits.time.as_millis()).unwrap_or(u64::MAX),
        memory_bytes: service.limits.memory_bytes,
    }
}

/// The report for people.
fn describe(report: &Report, directory: &str) -> String {
    let mut rows = Vec::new();
    for verdict in &report.services {
        let status = match verdict.status {
            Status::Passed => "passed".green().to_string(),
            Status::Failed => "failed".red().bold().to_string(),
        };
        let detail = match verdict.cause() {
            Some(cause) => format!("{}: {}", cause.name, cause.detail),
            None => format!("{} checks", verdict.checks.len()),
        };
        let time = output::duration(std::time::Duration::from_millis(verdict.duration_ms));
        rows.push(vec![
            verdict.service.to_string(),
            status,
            time,
            shown(&verdict.image).into_owned(),
            shown(&detail).into_owned(),
        ]);
    }
    for skipped in &report.skipped {
        rows.push(vec![
            skipped.service.to_string(),
            "-".to_owned(),
            String::new(),
            String::new(),
            skipped.reason.clone(),
        ]);
    }
    let end = format!(
        "{} passed, {} failed, {} left out; logs: {directory}",
        report.passed,
        report.failed,
        report.skipped.len()
    );
    format!("{}\n{end}", output::table(&rows))
}
