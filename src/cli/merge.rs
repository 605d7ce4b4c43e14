//! `merge`: what several machines built and packaged becomes one bundle.

use camino::Utf8PathBuf;
use clap::Args;

use super::selection::{ReleaseArgs, mode_values};
use super::{Context, package, planning};
use crate::config::environment::CONSIGN_VERSION;
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Exit, Failure};
use crate::pipeline::guard::Guard;
use crate::pipeline::merge::{self, Part};
use crate::pipeline::plan::{self, Selection};
use crate::pipeline::request::{Mode, Request};
use crate::pipeline::run::Run;
use crate::pipeline::stages;

/// The arguments of `merge`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign merge parts/                           every bundle below it, as a workflow downloads them
  consign merge amd64/v1.2.3 arm64/v1.2.3 --mode release

Each part is verified first. What comes out is what one machine would have made with the same builders, byte for byte.")]
pub struct MergeArgs {
    /// Bundles that `consign package` made, or directories that hold some
    #[arg(id = "parts", value_name = "DIR", required = true)]
    parts: Vec<Utf8PathBuf>,
    /// A cargo package to release (repeatable) [default: those with binaries]
    #[arg(short, long = "package", value_name = "PACKAGE", value_delimiter = ',')]
    packages: Vec<String>,
    /// A platform that has to be there (repeatable) [default: those of consign.toml, else those of the parts]
    #[arg(long = "platform", visible_alias = "platforms", value_name = "PLATFORM", value_delimiter = ',')]
    platforms: Vec<String>,
    /// Where the bundle is written [default: dist]
    #[arg(long, value_name = "DIR")]
    dist: Option<Utf8PathBuf>,
    /// What the provenance says: a rehearsal, or the release; the parts have to say the same
    #[arg(long, value_name = "MODE", default_value = "validate", value_parser = mode_values())]
    mode: Mode,
}

impl MergeArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let places: Vec<_> = self.parts.iter().map(|place| context.path(place)).collect();
        let parts = merge::find(&places)?
            .iter()
            .map(|directory| merge::open(directory, context.listener()))
            .collect::<Result<Vec<_>>>()?;
        let release = self.release(context, &parts)?;
        let planned = planning::plan(context, &release, None, Some(self.mode), &Selection::default())?;
        let (plan, tools) = (&planned.plan, planned.tools(context, Guard::default()));
        let mut run = Run::alone(plan, tools.listener, tools.now)?;
        if self.mode == Mode::Release {
            run.stage(Stage::Guard, || stages::guard(plan, &tools), || Ok(()))?;
        }
        let of = |platforms| {
            plan::plan(&Request { platforms, ..planned.request.clone() }, &planned.around, &Selection::default())
        };
        let packed = merge::merge(plan, &of, &parts, tools.listener)?;
        run.end()?;
        package::print(context, plan, &packed)?;
        Ok(Exit::Done)
    }

    /// What is to be released: what the settings say and, where they say nothing, what the parts are.
    fn release(&self, context: &Context, parts: &[Part]) -> Result<ReleaseArgs> {
        let first = parts.first().ok_or_else(|| Failure::new(Code::BundleMissing, "there is no part to merge"))?;
        let mut release = ReleaseArgs {
            packages: self.packages.clone(),
            platforms: self.platforms.clone(),
            dist: self.dist.clone(),
            ..ReleaseArgs::default()
        };
        if context.environment.get(CONSIGN_VERSION).is_none() {
            release.version = Some(first.bundle.index.tag.clone());
        }
        if release.request(context)?.platforms.is_empty() {
            let all = parts.iter().flat_map(|part| &part.bundle.index.packages);
            release.platforms = all.map(|package| package.platform.to_string()).collect();
        }
        Ok(release)
    }
}
