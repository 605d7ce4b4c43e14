//! `remote-verify`: fetch what was published as a stranger would, and verify it.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::anchor::AnchorArgs;
use super::selection::provider_values;
use super::{Context, usage};
use crate::config::Overrides;
use crate::model::failure::Result;
use crate::model::{Exit, Release};
use crate::pipeline::Tools;
use crate::pipeline::guard::Guard;
use crate::pipeline::remote_verify::{self, Published, RemoteReport};
use crate::provider::ProviderKind;
use crate::world::clock;
use crate::world::place;

/// The arguments of `remote-verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
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
    /// The address or path of the directory that holds index.json
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
        let mut place = match (&self.index, &self.base_url) {
            (Some(index), _) => Published::of_index(&located(index))?,
            (None, Some(base)) => Published::of_base_url(&located(base))?,
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
            catalog_signers: &[],
            step_summary: None,
            listener: context.listener(),
            now: &clock::now,
        };
        let report = remote_verify::examine(&place, &tools)?;
        if let Some(directory) = self.reports(context, &report)? {
            report.write(&directory)?;
        }
        context.output.result(&report, || report.markdown())?;
        Ok(report.exit())
    }

    /// The release at the place that it was published to, by the flags or the settings.
    fn published(&self, context: &Context) -> Result<Published> {
        let flags = Overrides {
            version: self.version.clone(),
            provider: self.provider,
            target: self.target.clone(),
            ..Overrides::default()
        };
        let request = context.request(&flags)?;
        let nowhere = || {
            usage("nobody said where the release is")
                .hint("give `--base-url URL`, `--index URL`, or `--provider` and `--target`")
        };
        if let (Some(base), None) = (&request.remote_base_url, self.provider) {
            return Published::of_base_url(&place::located(base, &context.directory));
        }
        let publish = request.publish.ok_or_else(nowhere)?;
        let version = request.version.ok_or_else(|| usage("nobody said which release").hint("name its version"))?;
        Published::of_target(&publish.place, &Release::parse(&version)?)
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
