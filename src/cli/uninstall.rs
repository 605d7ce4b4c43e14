//! `uninstall`: take every version of a product away.

use clap::Args;
use owo_colors::OwoColorize as _;

use super::catalog_source::state_directory;
use super::install::{PrefixArgs, row};
use super::{Context, output};
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
            let mut rows: Vec<_> = done.removed.iter().map(|version| row("version", version.to_string())).collect();
            let place = |program: &FileName| prefix.bin().join(program.as_str()).to_string();
            rows.extend(done.programs.iter().map(|program| row("program", place(program))));
            // They were in its way once.
            rows.extend(done.backups.iter().map(|backup| row("kept aside", backup.to_string())));
            format!("{} {}\n{}", "removed".green(), self.name, output::table(&rows))
        })?;
        Ok(Exit::Done)
    }
}
