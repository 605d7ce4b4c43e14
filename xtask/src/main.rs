//! This repository's own chores, and every release verb of consign under one alias.
//!
//! It parses, calls the library and exits: whatever a user of Consign could want belongs in `src/`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to whoever runs it")]

mod ci;
mod codegen;
mod repository;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use consign::model::Exit;

/// The chores of the Consign repository, and every release verb of `consign`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Check the rules of the house that no compiler checks.
    Tidy,
    /// Write the documents that come from the code.
    Codegen {
        /// Write nothing; fail and name the documents that are not current.
        #[arg(long)]
        check: bool,
    },
    /// Run the fast gate: format, clippy, tidy, spelling, dependencies, tests.
    Ci,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::Failed.into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Exit> {
    let passed = match arguments.chore {
        Chore::Tidy => tidy::run()?,
        Chore::Codegen { check: true } => {
            let stale = codegen::stale(&repository::root());
            for path in &stale {
                eprintln!("{path} is not what the code says; run `cargo xtask codegen`");
            }
            stale.is_empty()
        }
        Chore::Codegen { check: false } => {
            for path in codegen::write(&repository::root())? {
                eprintln!("wrote {path}");
            }
            true
        }
        Chore::Ci => ci::run()?,
    };
    Ok(if passed { Exit::Done } else { Exit::Failed })
}
