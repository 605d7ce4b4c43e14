//! This repository's own chores, and every release verb of consign under one alias.
//!
//! It parses, calls the library and exits: whatever a user of Consign could want belongs in `src/`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to whoever runs it")]

mod bench;
mod ci;
mod codegen;
mod installer;
mod repository;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use consign::cli::{self, Options, Verb};
use consign::model::Exit;

/// The chores of the Consign repository, and every release verb of `consign`.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Xtask {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    #[command(flatten)]
    Chore(Chore),
    #[command(flatten)]
    Release(Verb),
}

/// What only this repository needs.
#[derive(Debug, Subcommand)]
enum Chore {
    /// Check the rules of the house that no compiler checks
    Tidy,
    /// Write the documents that come from the code
    Codegen {
        /// Write nothing; fail and name the documents that are not current
        #[arg(long)]
        check: bool,
    },
    /// Measure Consign beside the programs that one would use instead
    Bench(bench::BenchArgs),
    /// Build consign-install as it is released, static and small, and print where it is
    Installer,
    /// Run the fast gate: format, clippy, tidy, spelling, dependencies, tests
    Ci,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let Xtask { options, task } = match cli::parse(&arguments) {
        Ok(xtask) => xtask,
        Err(exit) => return exit.into(),
    };
    match task {
        Task::Release(verb) => cli::run_verb(&verb, &options).into(),
        Task::Chore(chore) => match run(&chore) {
            Ok(true) => Exit::Done.into(),
            Ok(false) => Exit::Failed.into(),
            Err(error) => {
                eprintln!("error: {error:#}");
                Exit::Failed.into()
            }
        },
    }
}

/// Runs a chore and tells whether all was well.
fn run(chore: &Chore) -> Result<bool> {
    let root = repository::root();
    match chore {
        Chore::Tidy => tidy::run(),
        Chore::Codegen { check: true } => {
            let stale = codegen::stale(&root)?;
            for path in &stale {
                eprintln!("{path} is not what the code says; run `cargo xtask codegen`");
            }
            Ok(stale.is_empty())
        }
        Chore::Codegen { check: false } => {
            for path in codegen::write(&root)? {
                eprintln!("wrote {path}");
            }
            Ok(true)
        }
        Chore::Bench(arguments) => bench::run(arguments),
        Chore::Installer => {
            println!("{}", installer::build()?);
            Ok(true)
        }
        Chore::Ci => ci::run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_parser_is_sound_and_has_every_verb_of_consign() {
        let ours = Xtask::command();
        ours.clone().debug_assert();
        for verb in cli::command().get_subcommands() {
            assert!(ours.find_subcommand(verb.get_name()).is_some(), "{}", verb.get_name());
        }
    }
}
