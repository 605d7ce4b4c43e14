//! `uninstall`: take every version of a product away.

use clap::Args;

use super::Context;
use super::catalog_source::state_directory;
use super::install::PrefixArgs;
use crate::install::pins::Pins;
use crate::install::uninstall::uninstall;
use crate::install::{installed, session};
use crate::model::failure::Result;
use crate::model::{Exit, FileName};

/// The arguments of `uninstall`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign uninstall tool
  consign uninstall tool --prefix /opt/tool")]
pub struct UninstallArgs {
    /// The product
    #[arg(id = "product", value_name = "NAME")]
    name: FileName,
    #[command(flatten)]
    prefix: PrefixArgs,
}

impl UninstallArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let prefix = self.prefix.prefix(context)?;
        installed::required(&prefix, &self.name)?;
        let turn = session::turn(&prefix, &self.name, context.listener())?;
        let done = uninstall(&turn)?;
        Pins::forget(&state_directory(context)?, &self.name)?;
        context.output.result(&done, || {
            let mut out = format!("{} is gone, with {} programs", self.name, done.programs.len());
            for backup in &done.backups {
                out.push_str(&format!("\n`{backup}` was in the way of it once, and is kept"));
            }
            out
        })?;
        Ok(Exit::Done)
    }
}
