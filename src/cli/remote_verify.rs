//! `remote-verify`: fetch what was published as a stranger would, and verify it.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::anchor::AnchorArgs;
use super::selection::ReleaseArgs;
use super::{Context, planning};
use crate::config::Overrides;
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure, Release};
use crate::pipeline::Tools;
use crate::pipeline::guard::Guard;
use crate::pipeline::plan::Selection;
use crate::pipeline::publish::URL_FILE_NAME;
use crate::pipeline::remote_verify::{self, Published, RemoteReport};
use crate::world::{clock, files, place};

/// The longest address that is read back, in bytes.
const MAX_URL_BYTES: usize = 64 << 10;

/// The arguments of `remote-verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign remote-verify                          what `consign publish` has just put somewhere
  consign remote-verify --base-url https://example.com/releases/v1.2.3
  consign remote-verify --index https://example.com/releases/v1.2.3/index.json v1.2.3
  consign remote-verify --base-url /srv/releases/v1.2.3 --report reports/ --pubkey release.pub
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
    /// Where remote-verify.json and remote-verify.md go [default: dist/releases/<version>, where there is a dist/]
    #[arg(long, value_name = "DIR")]
    report: Option<Utf8PathBuf>,
    #[command(flatten)]
    anchor: AnchorArgs,
}

impl RemoteVerifyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let recorded = match (&self.index, &self.base_url) {
            (None, None) => Some(self.recorded(context)?),
            _ => None,
        };
        let (base_url, reports) =
            recorded.map_or((self.base_url.clone(), None), |(url, place)| (Some(url), Some(place)));
        let directory = match (&self.index, &base_url) {
            (Some(index), _) => Utf8Path::new(index).parent(),
            (None, base) => base.as_deref().map(Utf8Path::new),
        };
        let here = directory.filter(|path| !path.as_str().contains(":/")).map(|path| context.path(path));
        let located = |given: &str| place::located(given, &context.directory);
        let mut place = match (&self.index, &base_url) {
            (Some(index), _) => Published::of_index(&located(index))?,
            (None, base) => Published::of_base_url(&located(base.as_deref().unwrap_or_default()))?,
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
        let reports = if self.report.is_none() { reports } else { None };
        if let Some(directory) = reports.map_or_else(|| self.reports(context, &report), |place| Ok(Some(place)))? {
            report.write(&directory)?;
        }
        context.output.result(&report, || report.markdown())?;
        Ok(report.exit())
    }

    /// Where this workspace's version was published, and where its reports are.
    fn recorded(&self, context: &Context) -> Result<(String, Utf8PathBuf)> {
        let release = ReleaseArgs { version: self.version.clone(), ..ReleaseArgs::default() };
        let planned = planning::plan(context, &release, None, None, &Selection::default())?;
        let (plan, reports) = (&planned.plan, planned.plan.places.releases.clone());
        let path = reports.join(URL_FILE_NAME);
        let url = match &plan.remote_base_url {
            Some(url) => url.clone(),
            None if path.is_file() => {
                String::from_utf8_lossy(&files::read_bounded(&path, MAX_URL_BYTES)?).trim().to_owned()
            }
            None => {
                let message = format!("nothing says where {} was published", plan.release.tag);
                return Err(Failure::new(Code::BuildMissing, message)
                    .subject(path.as_str())
                    .hint("name the place with `--base-url` or `--index`, or run `consign publish`"));
            }
        };
        Ok((url, reports))
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
