//! `consign-server backup`, `restore` and `fsck`.

use camino::Utf8PathBuf;
use clap::Args;

use super::super::{Context, output};
use super::settings::ServerArgs;
use super::wait;
use crate::artifacts::{self, Condition};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit};
use crate::server;

/// The arguments of `backup`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server backup /backups/monday --data /srv/consign

The server's key is not in a backup: keep a copy of server.key where secrets are kept.")]
pub(super) struct BackupArgs {
    /// The directory that is made
    #[arg(value_name = "DIR")]
    to: Utf8PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `restore`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server restore /backups/monday --data /srv/consign-again")]
pub(super) struct RestoreArgs {
    /// The directory that `backup` made
    #[arg(value_name = "DIR")]
    from: Utf8PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `fsck`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server fsck --data /srv/consign")]
pub(super) struct FsckArgs {
    #[command(flatten)]
    server: ServerArgs,
}

impl BackupArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let (settings, to) = (self.server.settings(context)?, context.path(&self.to));
        let done = wait(async {
            let registry = server::open(&settings).await?;
            let _turn = artifacts::turn(&settings.data)?;
            let done = registry.back_up(&to).await;
            registry.store.close().await;
            done
        })?;
        context.output.result(&done, || {
            format!("{to} has the database and {} blobs ({})", done.blobs, output::bytes(done.bytes))
        })?;
        Ok(Exit::Done)
    }
}

impl RestoreArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let (settings, from) = (self.server.settings(context)?, context.path(&self.from));
        let done = wait(artifacts::restore(&from, &settings.data, &settings.blobs))?;
        context.output.result(&done, || {
            format!("{} has the database and {} blobs ({})", settings.data, done.blobs, output::bytes(done.bytes))
        })?;
        Ok(Exit::Done)
    }
}

impl FsckArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let settings = self.server.settings(context)?;
        let condition = wait(async {
            let registry = server::open(&settings).await?;
            let condition = registry.fsck().await;
            registry.store.close().await;
            condition
        })?;
        context.output.result(&condition, || describe(&condition))?;
        Ok(if condition.problems.is_empty() { Exit::Done } else { Code::StoreDamaged.exit() })
    }
}

fn describe(condition: &Condition) -> String {
    let mut lines: Vec<_> = condition
        .problems
        .iter()
        .map(|problem| format!("wrong: {}: {}", shown(&problem.about), shown(&problem.what)))
        .collect();
    let Condition { artifacts, blobs, changes, unreferenced, unreferenced_bytes, problems } = condition;
    if *unreferenced > 0 {
        let size = output::bytes(*unreferenced_bytes);
        lines
            .push(format!("{unreferenced} blobs more ({size}) are named by no artifact; `prune` removes them in time"));
    }
    let verdict = if problems.is_empty() { "everything agrees" } else { "not everything agrees" };
    lines.push(format!("{artifacts} artifacts, {blobs} blobs, {changes} changes: {verdict}"));
    lines.join("\n")
}
