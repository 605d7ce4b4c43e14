//! `package`: deterministic archives and every document about them.

use camino::Utf8PathBuf;
use clap::Args;
use serde::Serialize;

use super::planning;
use super::selection::{ReleaseArgs, mode_values};
use super::{Context, output};
use crate::model::failure::Result;
use crate::model::index::Package;
use crate::model::stage::Stage;
use crate::model::{Exit, FileName};
use crate::pipeline::guard::Guard;
use crate::pipeline::package::Packed;
use crate::pipeline::plan::{Plan, Selection};
use crate::pipeline::request::Mode;
use crate::pipeline::run::Run;
use crate::pipeline::{build, package, preflight, stages};

/// The arguments of `package`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign package                                what `consign build` made
  consign package --platform linux-amd64
  consign package --binaries out/                programs that were built elsewhere: out/<platform>/<program>")]
pub struct PackageArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Take programs that were built elsewhere, from DIR/<platform>/ or DIR/<target>/
    #[arg(long = "binaries", value_name = "DIR")]
    binaries_from: Option<Utf8PathBuf>,
    /// What the provenance says: a rehearsal, or the release, which takes a commit and a clean tree
    #[arg(long, value_name = "MODE", default_value = "validate", value_parser = mode_values())]
    mode: Mode,
}

#[derive(Serialize)]
struct PackageDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    tag: &'a str,
    directory: &'a Utf8PathBuf,
    packages: &'a [Package],
    files: &'a [FileName],
}

impl PackageArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned = planning::plan(context, &self.release, None, Some(self.mode), &Selection::default())?;
        let (plan, tools) = (&planned.plan, planned.tools(context, Guard::default()));
        if self.mode == Mode::Release {
            preflight::require(plan)?;
        }
        let mut run = Run::alone(plan, tools.listener, tools.now)?;
        let built = match &self.binaries_from {
            Some(directory) => build::take_in(plan, &context.path(directory))?,
            None => build::recall(plan)?,
        };
        let packed = run.stage(Stage::Package, || stages::package(plan, &built, &tools), || package::recall(plan))?;
        run.end()?;
        print(context, plan, &packed)?;
        Ok(Exit::Done)
    }
}

/// Prints what was packed.
pub fn print(context: &Context, plan: &Plan, packed: &Packed) -> Result<()> {
    let document = PackageDocument {
        kind: "consign.packages/v1",
        tag: &plan.release.tag,
        directory: &packed.directory,
        packages: &packed.packages,
        files: &plan.files,
    };
    context.output.result(&document, || format!("{}\n{}", packages(&packed.packages), packed.directory))
}

/// A table of packages: name, size, digest.
pub fn packages(packages: &[Package]) -> String {
    let mut rows = vec![["archive", "size", "unpacked", "sha256"].map(str::to_owned).to_vec()];
    rows.extend(packages.iter().map(|package| {
        vec![
            package.archive.to_string(),
            output::bytes(package.size_bytes),
            output::bytes(package.unpacked_size_bytes),
            package.sha256.to_string(),
        ]
    }));
    output::table(&rows)
}
