//! `build`: one release build per platform.

use clap::Args;
use serde::Serialize;

use super::planning;
use super::selection::ReleaseArgs;
use super::{Context, output};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::metadata::BuildMetadata;
use crate::model::stage::Stage;
use crate::pipeline::guard::Guard;
use crate::pipeline::plan::Selection;
use crate::pipeline::run::Run;
use crate::pipeline::{build, preflight, stages};

/// The arguments of `build`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign build                                  for this host
  consign build --platform linux-amd64 --platform linux-arm64
  consign build --builder zigbuild --platform linux-arm64-musl")]
pub struct BuildArgs {
    #[command(flatten)]
    release: ReleaseArgs,
}

#[derive(Serialize)]
struct BuildDocument {
    #[serde(rename = "type")]
    kind: &'static str,
    tag: String,
    platforms: Vec<BuildMetadata>,
}

impl BuildArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned = planning::plan(context, &self.release, None, None, &Selection::default())?;
        let (plan, tools) = (&planned.plan, planned.tools(context, Guard::default()));
        preflight::require(plan)?;
        let mut run = Run::alone(plan, tools.listener, tools.now)?;
        let built = run.stage(Stage::Build, || stages::build(plan, &tools), || build::recall(plan))?;
        let built = build::settle(plan, built)?;
        run.end()?;
        let platforms: Vec<_> = built.platforms.iter().map(|platform| platform.metadata.clone()).collect();
        let document = BuildDocument { kind: "consign.builds/v1", tag: plan.release.tag.clone(), platforms };
        context.output.result(&document, || {
            let rows = built.platforms.iter().flat_map(|platform| {
                platform.metadata.binaries.iter().map(|binary| {
                    vec![
                        platform.directory.join(binary.file.as_str()).to_string(),
                        output::bytes(binary.size_bytes),
                        binary.sha256.to_string(),
                    ]
                })
            });
            output::table(&rows.collect::<Vec<_>>())
        })?;
        Ok(Exit::Done)
    }
}
