//! `revert`: go back to a version that is kept.

use clap::Args;
use owo_colors::OwoColorize as _;
use semver::Version;

use super::install::{PrefixArgs, kind_of, place_of, row, verified};
use super::{Context, output};
use crate::install::activate::{KEPT, Options};
use crate::install::programs::Foreign;
use crate::install::revert::{Reverted, revert};
use crate::install::{installed, session};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Exit, FileName};
use crate::world::clock;

/// The arguments of `revert`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign revert tool                            the version that was in use before
  consign revert tool --to 1.2.2
  consign installed                              which versions are kept")]
pub struct RevertArgs {
    /// The product
    #[arg(id = "product", value_name = "NAME")]
    name: FileName,
    /// The version to go back to [default: the one that was in use before]
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    #[command(flatten)]
    prefix: PrefixArgs,
}

impl RevertArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let prefix = self.prefix.prefix(context)?;
        installed::required(&prefix, &self.name)?;
        let turn = session::turn(&prefix, &self.name, context.listener())?;
        let options = Options { keep: KEPT, foreign: Foreign::Keep, now: clock::now() };
        let done = revert(&turn, self.to.as_ref(), options)?;
        context.output.result(&done, || describe(&done))?;
        Ok(Exit::Done)
    }
}

fn describe(done: &Reverted) -> String {
    let what = format!("{} {}", done.name, done.version);
    let headline = match &done.previous {
        Some(previous) => format!("{} {what}, in the place of {previous}", "in use again".green()),
        None => format!("{what} is in use"),
    };
    let mut rows = vec![
        row(kind_of(&done.origin), shown(place_of(&done.origin)).into_owned()),
        row("verified", verified(&done.trust)),
        row("installed", done.installed_at.strftime("%Y-%m-%d %H:%M UTC").to_string()),
    ];
    rows.extend(done.programs.iter().map(|program| row("program", program.to_string())));
    rows.extend(done.backups.iter().map(|backup| row("kept aside", backup.to_string())));
    format!("{headline}\n{}", output::table(&rows))
}
