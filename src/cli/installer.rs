//! `consign-install`: the verbs that a user of a release needs, in a small program of their own.
//!
//! The verbs are those of `consign`, with the same code behind them. Where no verb is named it
//! installs, so that `consign-install --index …` is enough.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use super::{Context, Globals, install, installed, read, revert, run_by, uninstall, upgrade};
use crate::model::Exit;
use crate::model::failure::Result;

/// The program's name.
const NAME: &str = "consign-install";

/// What `consign-install` can be told to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Put a verified release where it can be run
    Install(install::InstallArgs),
    /// Bring what is installed up to date, from where it came
    Upgrade(upgrade::UpgradeArgs),
    /// Go back to a version that is kept
    Revert(revert::RevertArgs),
    /// Take every version of a product away
    Uninstall(uninstall::UninstallArgs),
    /// List what is installed, and whether it is whole
    Installed(installed::InstalledArgs),
}

impl Verb {
    fn run(&self, context: &Context) -> Result<Exit> {
        match self {
            Self::Install(verb) => verb.run(context),
            Self::Upgrade(verb) => verb.run(context),
            Self::Revert(verb) => verb.run(context),
            Self::Uninstall(verb) => verb.run(context),
            Self::Installed(verb) => verb.run(context),
        }
    }
}

/// Install, upgrade and revert what was released with Consign.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    about = "Install, upgrade and revert what was released with Consign",
    override_usage = "consign-install [install] --index PATH|URL [OPTIONS]\n       consign-install <VERB> [OPTIONS]",
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  consign-install --index https://example.com/releases/v1.2.3/index.json --pubkey release.pub
  consign-install --catalog https://example.com/releases --trust-root root.json
  consign-install upgrade
  consign-install revert tool

Without a verb it installs; `consign-install install --help` lists its options.
Exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 verification, 5 remote, 6 refused."
)]
struct Installer {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// The whole of `consign-install`: from the arguments, the program's name first, to the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = with_verb(arguments.into_iter().collect());
    match read::<Installer>(command(), &arguments) {
        Ok(Installer { globals, verb }) => run_by(&globals, None, |context| verb.run(context)).into(),
        Err(exit) => exit.into(),
    }
}

/// The parser of `consign-install`. The examples of its verbs are those of `consign` under its own name.
pub fn command() -> clap::Command {
    Installer::command().mut_subcommands(|verb| {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        // Installing is what it does where no verb is named.
        let help = help.replace("\n  consign install ", "\n  consign ");
        verb.after_help(help.replace("\n  consign ", &format!("\n  {NAME} ")))
    })
}

/// Puts `install` in front of the first option that only a verb can take, where no verb is named.
fn with_verb(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut words = arguments.iter().enumerate().skip(1);
    let first = loop {
        let Some((at, word)) = words.next() else { return arguments };
        match word.to_str() {
            Some("--format" | "--color" | "--directory" | "-C") => drop(words.next()),
            Some(word) if is_global(word) => {}
            _ => break at,
        }
    };
    let is_last = first + 1 == arguments.len();
    let of_the_program = match arguments[first].to_str() {
        // Behind `--version` could come the version that is to be installed.
        Some("--version" | "-V" | "--help" | "-h") => is_last,
        Some(word) => !word.starts_with('-'),
        None => true,
    };
    if !of_the_program {
        arguments.insert(first, "install".into());
    }
    arguments
}

/// Whether a word is an option of every verb, with its value in it if it takes one.
fn is_global(word: &str) -> bool {
    let long = ["--format=", "--color=", "--directory="].iter().any(|option| word.starts_with(option));
    let short = word.strip_prefix('-').is_some_and(|letters| {
        letters.starts_with('C') || (!letters.is_empty() && letters.bytes().all(|letter| b"vq".contains(&letter)))
    });
    long || short || matches!(word, "--verbose" | "--quiet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_shows_examples_of_this_program() {
        for verb in command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> = help.lines().filter(|line| line.starts_with("  ")).collect();
            assert!(!examples.is_empty(), "{}", verb.get_name());
            for example in examples {
                assert!(example.starts_with("  consign-install "), "{example}");
            }
        }
    }

    #[test]
    fn where_no_verb_is_named_it_installs() {
        let completed = |line: &str| {
            let words = with_verb(line.split(' ').map(OsString::from).collect());
            words.join(" ".as_ref()).into_string().unwrap()
        };
        for (given, meant) in [
            ("x --index i", "x install --index i"),
            ("x -q --index i", "x -q install --index i"),
            ("x --format json -C d --index i", "x --format json -C d install --index i"),
            ("x --format=json -Cd -vq --from i", "x --format=json -Cd -vq install --from i"),
            ("x --version 1.2 --catalog c", "x install --version 1.2 --catalog c"),
        ] {
            assert_eq!(completed(given), meant);
        }
        for line in
            ["x", "x --help", "x -V", "x -q --version", "x help", "x installed", "x -q revert --to 1.0.0 a", "x wrong"]
        {
            assert_eq!(completed(line), line);
        }
    }
}
