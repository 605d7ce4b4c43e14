//! `plan`: what a release would do, and the matrix for CI.

use clap::Args;
use serde::Serialize;

use super::selection::{PublishArgs, ReleaseArgs};
use super::{Context, output, planning};
use crate::model::failure::Result;
use crate::model::{Exit, Platform, text};
use crate::pipeline::matrix;
use crate::pipeline::plan::{Plan, Selection};
use crate::pipeline::request::Mode;
use crate::world::files;

/// The arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign plan                                   what a release of this workspace would do
  consign plan --platform linux-amd64,linux-arm64
  consign plan --format json | jq -c .matrix     the matrix of a CI job
  consign plan --list-platforms

In a workflow, `tag`, `version`, `commit` and `matrix` are appended to the file that GITHUB_OUTPUT names.")]
pub struct PlanArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    publish: PublishArgs,
    /// Plan the release itself, not the rehearsal
    #[arg(long, value_name = "MODE", default_value = "validate", value_parser = super::selection::mode_values())]
    mode: Mode,
    /// Print every platform that has a name, with its Rust target
    #[arg(long)]
    list_platforms: bool,
}

#[derive(Serialize)]
struct PlatformList {
    #[serde(rename = "type")]
    kind: &'static str,
    platforms: Vec<PlatformRow>,
}

#[derive(Serialize)]
struct PlatformRow {
    platform: Platform,
    target: &'static str,
}

impl PlanArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        if self.list_platforms {
            list_platforms(context)?;
            return Ok(Exit::Done);
        }
        let planned =
            planning::plan(context, &self.release, Some(&self.publish), Some(self.mode), &Selection::default())?;
        if let Some(path) = context.step_output() {
            files::append(path, matrix::outputs(&planned.plan).as_bytes())?;
        }
        print(context, &planned.plan)?;
        Ok(Exit::Done)
    }
}

/// Prints a plan.
pub fn print(context: &Context, plan: &Plan) -> Result<()> {
    context.output.result(plan, || describe(plan))
}

fn list_platforms(context: &Context) -> Result<()> {
    let platforms: Vec<_> =
        Platform::all().map(|platform| PlatformRow { platform, target: platform.target() }).collect();
    let rows: Vec<_> = platforms.iter().map(|row| vec![row.platform.to_string(), row.target.to_owned()]).collect();
    context.output.result(&PlatformList { kind: "consign.platforms/v1", platforms }, || output::table(&rows))
}

fn describe(plan: &Plan) -> String {
    let none = || "none".to_owned();
    let commit = plan.source.commit.clone().unwrap_or_else(none);
    let mut rows = vec![
        vec![
            "release".to_owned(),
            format!("{} {} ({}, channel {})", plan.name, plan.release.tag, plan.mode.as_str(), plan.channel),
        ],
        vec!["commit".to_owned(), format!("{commit}{}", if plan.source.dirty { " with changes" } else { "" })],
        vec!["repository".to_owned(), text::shown(plan.source.repository.as_deref().unwrap_or("none")).into_owned()],
        vec!["date".to_owned(), plan.source.date.to_string()],
        vec!["packages".to_owned(), plan.packages.join(", ")],
        vec!["programs".to_owned(), plan.binaries.join(", ")],
        vec!["bundle".to_owned(), plan.places.bundle.to_string()],
    ];
    rows.push(vec![String::new()]);
    for platform in &plan.platforms {
        rows.push(vec![platform.platform.to_string(), platform.archive.to_string()]);
        rows.push(vec![String::new(), shown_command(&platform.command)]);
    }
    rows.push(vec![String::new()]);
    for stage in &plan.stages {
        let mark = if stage.runs { "" } else { "not run: " };
        for command in &stage.before {
            rows.push(vec![format!("before {}", stage.stage), shown_command(command)]);
        }
        rows.push(vec![
            stage.stage.to_string(),
            format!("{mark}{}", text::shown(&text::without_credentials(&stage.does))),
        ]);
        for command in &stage.after {
            rows.push(vec![format!("after {}", stage.stage), shown_command(command)]);
        }
    }
    let warnings: String = plan.warnings.iter().map(|warning| format!("\nwarning: {warning}")).collect();
    format!("{}{warnings}", output::table(&rows))
}

fn shown_command(words: &[String]) -> String {
    text::shown(&text::without_credentials(&words.join(" "))).into_owned()
}
