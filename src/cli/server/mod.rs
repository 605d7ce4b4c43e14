//! `consign-server`: the registry's own program, one file per group of verbs.
//!
//! [`run`] is the whole of it. Every verb opens what [`settings::ServerArgs`] name; only `serve` answers
//! anybody.

mod prune;
mod serve;
mod settings;
mod store;
mod token;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use super::{Context, Globals, parse, run_by};
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure};

/// What `consign-server` can be told to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Answer requests until told to stop
    Serve(serve::ServeArgs),
    /// Look whether a server could start with these settings
    CheckConfig(serve::CheckArgs),
    /// Make, list and take back tokens
    Token(token::TokenArgs),
    /// Copy everything while the server goes on
    Backup(store::BackupArgs),
    /// Fill a new data directory from a backup
    Restore(store::RestoreArgs),
    /// Look whether database, blobs and audit log agree
    Fsck(store::FsckArgs),
    /// Remove what the rules of retention let go, and blobs that nobody needs
    Prune(prune::PruneArgs),
    /// Let an artifact stay, whatever the rules say
    Pin(prune::PinArgs),
    /// Take a pin away
    Unpin(prune::UnpinArgs),
    /// List the pins
    Pins(prune::PinsArgs),
}

/// The artifact registry.
#[derive(Debug, Parser)]
#[command(
    name = "consign-server",
    version,
    about = "Keep what was released, and say whether it can be trusted",
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  consign-server serve                           answer on 127.0.0.1:8080, keep everything in consign-data/
  consign-server token create --name ci --grants 'push:web'
  consign-server backup /backups/monday

Settings: flag, then environment, then default.
Exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 verification, 5 remote, 6 refused."
)]
struct Server {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// The whole of `consign-server`: from the arguments, the program's name first, to the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    match parse::<Server>(&arguments) {
        Ok(Server { globals, verb }) => run_by(&globals, None, |context| verb.run(context)).into(),
        Err(exit) => exit.into(),
    }
}

/// The parser of `consign-server`, for the documentation.
pub fn command() -> clap::Command {
    Server::command()
}

impl Verb {
    fn run(&self, context: &Context) -> Result<Exit> {
        match self {
            Self::Serve(verb) => verb.run(context),
            Self::CheckConfig(verb) => verb.run(context),
            Self::Token(verb) => verb.run(context),
            Self::Backup(verb) => verb.run(context),
            Self::Restore(verb) => verb.run(context),
            Self::Fsck(verb) => verb.run(context),
            Self::Prune(verb) => verb.run(context),
            Self::Pin(verb) => verb.run(context),
            Self::Unpin(verb) => verb.run(context),
            Self::Pins(verb) => verb.run(context),
        }
    }
}

/// Waits for something that is done by many threads.
fn wait<T>(doing: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Code::Io, "failed to start threads").because(error))?;
    runtime.block_on(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }
}
