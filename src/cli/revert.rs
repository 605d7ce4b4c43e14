//! `revert`: go back to a version that is kept.

use clap::Args;
use semver::Version;

use super::Context;
use super::install::PrefixArgs;
use crate::install::activate::{KEPT, Options};
use crate::install::programs::Foreign;
use crate::install::revert::revert;
use crate::install::{installed, session};
use crate::model::failure::Result;
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
        context.output.result(&done, || match &done.before {
            Some(before) => format!("{} {} is in use again, in the place of {before}", self.name, done.version),
            None => format!("{} {} is in use", self.name, done.version),
        })?;
        Ok(Exit::Done)
    }
}
