//! The command line: one file per verb, each of which parses, calls the library once and prints.
//!
//! Two programs are made of them: [`run`] is the whole of `consign`, and [`installer::run`] of
//! `consign-install`, which has nothing but what installing needs. `cargo xtask` flattens [`Verb`] and
//! [`Options`] into its own parser and calls [`parse`] and [`run_verb`], so that every verb exists twice
//! with the same code behind it. To add a verb: a `mod` line here, a variant and an arm in [`verb`].
//!
//! Standard output is data and standard error is narrative; [`output`] and [`display`] see to that.

pub mod catalog_source;
mod context;
pub mod display;
pub mod install;
pub mod installed;
pub mod installer;
pub mod output;
pub mod pubkeys;
pub mod revert;
pub mod uninstall;
pub mod upgrade;

#[cfg(feature = "toolchain")]
pub mod anchor;
#[cfg(feature = "toolchain")]
pub mod artifact;
#[cfg(feature = "toolchain")]
pub mod audit;
#[cfg(feature = "toolchain")]
pub mod build;
#[cfg(feature = "toolchain")]
pub mod bundle;
#[cfg(feature = "toolchain")]
pub mod catalog;
#[cfg(feature = "toolchain")]
pub mod completions;
#[cfg(feature = "toolchain")]
pub mod config;
#[cfg(feature = "toolchain")]
pub mod deliver;
#[cfg(feature = "toolchain")]
pub mod docker_smoke;
#[cfg(feature = "toolchain")]
pub mod doctor;
#[cfg(feature = "toolchain")]
pub mod init;
#[cfg(feature = "toolchain")]
pub mod key;
#[cfg(feature = "toolchain")]
pub mod login;
#[cfg(feature = "toolchain")]
pub mod man;
#[cfg(feature = "toolchain")]
pub mod merge;
#[cfg(feature = "toolchain")]
pub mod notes;
#[cfg(feature = "toolchain")]
pub mod package;
#[cfg(feature = "toolchain")]
pub mod passphrase;
#[cfg(feature = "toolchain")]
pub mod plan;
#[cfg(feature = "toolchain")]
pub mod planning;
#[cfg(feature = "toolchain")]
pub mod publish;
#[cfg(feature = "toolchain")]
pub mod rebuild;
#[cfg(feature = "toolchain")]
pub mod register;
#[cfg(feature = "toolchain")]
pub mod registry;
#[cfg(feature = "toolchain")]
pub mod release_pipeline;
#[cfg(feature = "toolchain")]
pub mod remote_verify;
#[cfg(feature = "toolchain")]
pub mod selection;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "toolchain")]
mod settings;
#[cfg(feature = "toolchain")]
pub mod sign;
#[cfg(feature = "toolchain")]
pub mod signing;
#[cfg(feature = "toolchain")]
pub mod smoke;
#[cfg(feature = "toolchain")]
pub mod summary;
#[cfg(feature = "toolchain")]
pub mod token;
#[cfg(feature = "toolchain")]
pub mod trust;
#[cfg(feature = "toolchain")]
mod verb;
#[cfg(feature = "toolchain")]
pub mod verify;
#[cfg(feature = "toolchain")]
pub mod verify_blob;
#[cfg(feature = "toolchain")]
pub mod version_guard;

use std::ffi::OsString;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{ArgAction, Args, FromArgMatches, Parser, ValueEnum};

use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure};
pub use context::Context;
use output::{Format, Output};
#[cfg(feature = "toolchain")]
pub use verb::{Options, Verb, command, run, run_verb};

/// The options that every verb of every program takes.
///
/// Their ids are marked, for an argument of a verb with the same id would silently be the same one.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// How the result is printed
    #[arg(
        id = "global-format",
        long = "format",
        global = true,
        value_name = "text|json|ndjson",
        hide_possible_values = true,
        default_value = "text"
    )]
    pub format: Format,
    /// Work as if started in this directory
    #[arg(id = "global-directory", short = 'C', long = "directory", global = true, value_name = "DIR")]
    pub directory: Option<Utf8PathBuf>,
    /// Tell more; show what programs print
    #[arg(id = "global-verbose", short = 'v', long = "verbose", global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print the result and errors only
    #[arg(id = "global-quiet", short = 'q', long = "quiet", global = true, conflicts_with = "global-verbose")]
    pub quiet: bool,
    /// When to use colours
    #[arg(
        id = "global-color",
        long = "color",
        global = true,
        value_name = "auto|always|never",
        hide_possible_values = true,
        default_value = "auto"
    )]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Reads a command line. Where that ends the run (an error, `--help`, `--version`), everything has
/// been printed and the exit code is given back.
pub fn parse<P: Parser>(arguments: &[OsString]) -> Result<P, Exit> {
    read(P::command(), arguments)
}

/// The same with a parser that was changed.
fn read<P: FromArgMatches>(mut command: clap::Command, arguments: &[OsString]) -> Result<P, Exit> {
    // Colours and the format of an error are needed before, and even without, a readable command line.
    let globals = scan(arguments);
    set_color(globals.color);
    let matches = command.try_get_matches_from_mut(arguments);
    let parsed = matches.and_then(|matches| P::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    parsed.map_err(|error| Output::new(&globals).usage(&error))
}

/// Runs one verb: result on standard output, everything else on standard error.
fn run_by(globals: &Globals, config: Option<&Utf8Path>, verb: impl FnOnce(&Context) -> Result<Exit>) -> Exit {
    set_color(globals.color);
    let output = Output::new(globals);
    let result = Context::new(globals, config).and_then(|context| {
        let result = verb(&context);
        context.finish();
        // Whether a document has been printed decides where a failure goes.
        result.or_else(|failure| Ok(context.output.failure(&failure)))
    });
    result.unwrap_or_else(|failure| output.failure(&failure))
}

fn set_color(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// The format and colour of a command line that may be unreadable otherwise.
fn scan(arguments: &[OsString]) -> Globals {
    let words: Vec<_> = arguments.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--").collect();
    let value_of = |flag: &str| {
        words.iter().enumerate().rev().find_map(|(at, word)| match word.strip_prefix(flag) {
            Some("") => words.get(at + 1).copied(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        })
    };
    Globals {
        format: value_of("--format").and_then(|word| Format::from_str(word, false).ok()).unwrap_or_default(),
        color: value_of("--color").and_then(|word| Color::from_str(word, false).ok()).unwrap_or_default(),
        ..Globals::default()
    }
}

/// The failure of a command line that can be read and makes no sense.
pub(crate) fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_an_unreadable_command_line_is_found() {
        let format = |words: &[&str]| scan(&words.iter().map(OsString::from).collect::<Vec<_>>()).format;
        assert_eq!(format(&["consign", "--format", "json", "wrong"]), Format::Json);
        assert_eq!(format(&["consign", "wrong", "--format=ndjson"]), Format::Ndjson);
        assert_eq!(format(&["consign", "wrong", "--", "--format=json"]), Format::Text);
        assert_eq!(format(&["consign", "--format"]), Format::Text);
    }
}
