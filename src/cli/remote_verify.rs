//! `remote-verify`: fetch what was published as a stranger would, and verify it.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::anchor::AnchorArgs;
use super::selection::{PublishArgs, ReleaseArgs, provider_values};
use super::{Context, planning};
use crate::config::Overrides;
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure, Release};
use crate::pipeline::Tools;
use crate::pipeline::guard::Guard;
use crate::pipeline::plan::Selection;
use crate::pipeline::publish;
use crate::pipeline::remote_verify::{self, Published, RemoteReport};
use crate::provider::ProviderKind;
use crate::world::{clock, place};

/// The arguments of `remote-verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign remote-verify                          what `consign publish` has just put somewhere
  consign remote-verify --base-url https://example.com/releases/v1.2.3
  consign remote-verify --index https://example.com/releases/v1.2.3/index.json v1.2.3
  consign remote-verify --base-url /srv/releases/v1.2.3 --report reports/ --pubkey release.pub
  consign remote-verify v1.2.3 --provider github --target owner/tool
  consign remote-verify --base-url https://example.com/releases/v1.2.3 \\
    --trust-root root.json --catalog https://example.com/releases")]
pub struct RemoteVerifyArgs {
    /// The release that has to be there [default: the one that the address is named after, if any]
    #[arg(value_name = "VERSION")]
    version: Option<String>,
    /// The address or path of the directory that holds index.json [default: where `publish` put this version]
    #[arg(long, value_name = "URL", conflicts_with = "index")]
    base_url: Option<String>,
    /// The address or path of index.json
    #[arg(long, value_name = "URL")]
    index: Option<String>,
    /// The kind of place that it was published to, instead of an address
    #[arg(long, value_name = "PROVIDER", value_parser = provider_values(), conflicts_with_all = ["base_url", "index"])]
    provider: Option<ProviderKind>,
    /// The place: a directory, or a repository (`OWNER/REPOSITORY`)
    #[arg(long, value_name = "TARGET", requires = "provider")]
    target: Option<String>,
    /// Where remote-verify.json and remote-verify.md go [default: dist/releases/<version>, where there is a dist/]
    #[arg(long, value_name = "DIR")]
    report: Option<Utf8PathBuf>,
    #[command(flatten)]
    anchor: AnchorArgs,
}

impl RemoteVerifyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let directory = match (&self.index, &self.base_url) {
            (Some(index), _) => Utf8Path::new(index).parent(),
            (None, base) => base.as_deref().map(Utf8Path::new),
        };
        let here = directory.filter(|path| !path.as_str().contains(":/")).map(|path| context.path(path));
        let located = |given: &str| place::located(given, &context.directory);
        let (mut place, reports) = match (&self.index, &self.base_url) {
            (Some(index), _) => (Published::of_index(&located(index))?, None),
            (None, Some(base)) => (Published::of_base_url(&located(base))?, None),
            (None, None) => self.published(context)?,
        };
        if let Some(version) = &self.version {
            place = place.expecting(Release::parse(version)?);
        }
        let tools = Tools {
            repository: None,
            guard: Guard::default(),
            requirements: self.anchor.requirements_in(context, here.as_deref())?,
            signers: &[],
            registry: None,
            catalog_signers: &[],
            step_summary: None,
            listener: context.listener(),
            now: &clock::now,
        };
        let report = remote_verify::examine(&place, &tools)?;
        let reports = if self.report.is_none() { reports } else { None };
        if let Some(directory) = reports.map_or_else(|| self.reports(context, &report), |place| Ok(Some(place)))? {
            report.write(&directory)?;
        }
        context.output.result(&report, || report.markdown())?;
        Ok(report.exit())
    }

    /// Where the version was published, by the flags, the settings or what `publish` left; and where the
    /// workspace's reports are.
    fn published(&self, context: &Context) -> Result<(Published, Option<Utf8PathBuf>)> {
        let flags = PublishArgs { provider: self.provider, target: self.target.clone(), ..PublishArgs::default() };
        if let (Some(_), Some(version)) = (self.provider, &self.version) {
            // That needs no workspace.
            let mut overrides = Overrides::default();
            flags.apply(&mut overrides);
            if let Some(publish) = context.request(&overrides)?.publish {
                return Ok((Published::of_target(&publish.place, &Release::parse(version)?)?, None));
            }
        }
        let release = ReleaseArgs { version: self.version.clone(), ..ReleaseArgs::default() };
        let planned = planning::plan(context, &release, Some(&flags), None, &Selection::default())?;
        let (plan, reports) = (&planned.plan, planned.plan.places.releases.clone());
        let place = match (&plan.remote_base_url, &plan.publish, publish::recorded_base_url(&reports)) {
            (Some(url), _, _) if self.provider.is_none() => {
                Published::of_base_url(&place::located(url, &context.directory))?
            }
            (_, Some(publish), _) => Published::of_target(&publish.place, &plan.release)?,
            (_, None, Some(url)) => Published::of_base_url(&url)?,
            (_, None, None) => {
                let message = format!("nothing says where {} was published", plan.release.tag);
                return Err(Failure::new(Code::BuildMissing, message)
                    .subject(reports.join(publish::FILE_NAME).as_str())
                    .hint("name the place with `--base-url`, `--index` or `--provider`, or run `consign publish`"));
            }
        };
        Ok((place, Some(reports)))
    }

    /// The directory that was named; else, where releases are made, the one of the version.
    fn reports(&self, context: &Context, report: &RemoteReport) -> Result<Option<Utf8PathBuf>> {
        if let Some(directory) = &self.report {
            return Ok(Some(context.path(directory)));
        }
        let dist = context.path(&context.request(&Overrides::default())?.dist);
        Ok(report
            .version
            .as_ref()
            .filter(|_| dist.is_dir())
            .map(|version| dist.join("releases").join(format!("v{version}"))))
    }
}
