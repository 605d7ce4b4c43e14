//! `consign init`: a commented `consign.toml` to start from.

use camino::Utf8PathBuf;
use clap::Args;
use serde::Serialize;

use super::Context;
use crate::config::{FILE_NAME, template};
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure};
use crate::world::files;

/// The arguments of `init`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  consign init            write consign.toml here\n  consign -C app init     write it into app/"
)]
pub struct InitArgs {
    /// Replace a file that is already there
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Written {
    #[serde(rename = "type")]
    kind: &'static str,
    path: Utf8PathBuf,
    next: &'static str,
}

impl InitArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let path = context.config.as_deref().unwrap_or(FILE_NAME.into());
        let written = Written { kind: "consign.init/v1", path: context.path(path), next: "consign config show" };
        if written.path.exists() && !self.force {
            return Err(Failure::new(Code::FileExists, format!("`{}` exists already", written.path))
                .subject(written.path.as_str())
                .hint("`--force` replaces it; `consign config show` prints what it says"));
        }
        files::write(&written.path, template::render().as_bytes())?;
        context.output.result(&written, || format!("wrote {}\nnext: {}", written.path, written.next))?;
        Ok(Exit::Done)
    }
}
