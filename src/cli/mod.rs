//! The command line: one file per verb, each of which parses, calls the library once and prints.
//!
//! [`run`] is the whole of `consign`. `cargo xtask` flattens [`Verb`] and [`Globals`] into its own
//! parser and calls [`parse`] and [`run_verb`], so that every verb exists twice with the same code
//! behind it. To add a verb: a `mod` line, a variant of [`Verb`], an arm in `Verb::run`.
//!
//! Standard output is data and standard error is narrative; [`output`] and [`display`] see to that.

pub mod anchor;
pub mod build;
pub mod catalog;
pub mod catalog_source;
pub mod completions;
pub mod config;
mod context;
pub mod display;
pub mod docker_smoke;
pub mod doctor;
pub mod init;
pub mod install;
pub mod installed;
pub mod key;
pub mod man;
pub mod notes;
pub mod output;
pub mod package;
pub mod passphrase;
pub mod plan;
pub mod planning;
pub mod publish;
pub mod rebuild;
pub mod release_pipeline;
pub mod remote_verify;
pub mod revert;
pub mod selection;
pub mod sign;
pub mod signing;
pub mod smoke;
pub mod summary;
pub mod trust;
pub mod uninstall;
pub mod upgrade;
pub mod verify;
pub mod verify_blob;
pub mod version_guard;

use std::ffi::OsString;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure};
pub use context::Context;
use output::{Format, Output};

/// Everything that `consign` can be told to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Do everything in order: a rehearsal, or the release
    ReleasePipeline(release_pipeline::ReleasePipelineArgs),
    /// Print what a release would do
    Plan(plan::PlanArgs),
    /// Find what is missing for a release, and the command that mends it
    Doctor(doctor::DoctorArgs),
    /// Check that a version may be released from here
    #[command(alias = "validate-release-version")]
    VersionGuard(version_guard::VersionGuardArgs),
    /// Build the programs of each platform
    #[command(alias = "build-cross")]
    Build(build::BuildArgs),
    /// Pack what was built into a bundle
    Package(package::PackageArgs),
    /// Sign every file of a bundle
    #[command(alias = "sign-release")]
    Sign(sign::SignArgs),
    /// Check everything in a bundle against everything
    #[command(alias = "verify-release")]
    Verify(verify::VerifyArgs),
    /// Check one file with one signature or Sigstore bundle
    VerifyBlob(verify_blob::VerifyBlobArgs),
    /// Render the release notes
    #[command(alias = "release-notes")]
    Notes(notes::NotesArgs),
    /// Run the programs that this host can run
    Smoke(smoke::SmokeArgs),
    /// Try what was packaged in containers
    DockerSmoke(docker_smoke::DockerSmokeArgs),
    /// Make a verified bundle visible
    #[command(alias = "publish-release")]
    Publish(publish::PublishVerbArgs),
    /// Fetch what was published as a stranger would, and verify it
    #[command(alias = "remote-verify-release")]
    RemoteVerify(remote_verify::RemoteVerifyArgs),
    /// Compare expected and published assets
    #[command(alias = "release-summary")]
    Summary(summary::SummaryArgs),
    /// Build the recorded source again and compare
    Rebuild(rebuild::RebuildArgs),
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
    /// Say who may sign what in a catalog, one signature after another
    Trust(trust::TrustArgs),
    /// List versions in a catalog that any TUF client reads
    Catalog(catalog::CatalogArgs),
    /// Make, show, inspect and encrypt signing keys
    Key(key::KeyArgs),
    /// Show the settings, where each comes from, and their schema
    Config(config::ConfigArgs),
    /// Write a commented consign.toml
    Init(init::InitArgs),
    /// Print the completion script of a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write those of every verb
    Man(man::ManArgs),
}

impl Verb {
    fn run(&self, context: &Context) -> Result<Exit> {
        match self {
            Self::ReleasePipeline(verb) => verb.run(context),
            Self::Plan(verb) => verb.run(context),
            Self::Doctor(verb) => verb.run(context),
            Self::VersionGuard(verb) => verb.run(context),
            Self::Build(verb) => verb.run(context),
            Self::Package(verb) => verb.run(context),
            Self::Sign(verb) => verb.run(context),
            Self::Verify(verb) => verb.run(context),
            Self::VerifyBlob(verb) => verb.run(context),
            Self::Notes(verb) => verb.run(context),
            Self::Smoke(verb) => verb.run(context),
            Self::DockerSmoke(verb) => verb.run(context),
            Self::Publish(verb) => verb.run(context),
            Self::RemoteVerify(verb) => verb.run(context),
            Self::Summary(verb) => verb.run(context),
            Self::Rebuild(verb) => verb.run(context),
            Self::Install(verb) => verb.run(context),
            Self::Upgrade(verb) => verb.run(context),
            Self::Revert(verb) => verb.run(context),
            Self::Uninstall(verb) => verb.run(context),
            Self::Installed(verb) => verb.run(context),
            Self::Trust(verb) => verb.run(context),
            Self::Catalog(verb) => verb.run(context),
            Self::Key(verb) => verb.run(context),
            Self::Config(verb) => verb.run(context),
            Self::Init(verb) => verb.run(context),
            Self::Completions(verb) => verb.run(context),
            Self::Man(verb) => verb.run(context),
        }
    }
}

/// The options that every verb takes.
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
    /// Read this file instead of the consign.toml of the workspace
    #[arg(id = "global-config", long = "config", global = true, value_name = "FILE")]
    pub config: Option<Utf8PathBuf>,
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

/// From a workspace's commit to a verified, reproducible release.
#[derive(Debug, Parser)]
#[command(
    name = "consign",
    version,
    about = "Take a Rust workspace from a commit to a release that can be proven",
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  consign init                     write a commented consign.toml\n  consign config show              every setting and where it comes from\n\nSettings: flag, then environment, then consign.toml, then default.\nExit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 verification, 5 remote, 6 refused."
)]
struct Consign {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// The whole of `consign`: from the arguments, the program's name first, to the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    match parse::<Consign>(&arguments) {
        Ok(consign) => run_verb(&consign.verb, &consign.globals).into(),
        Err(exit) => exit.into(),
    }
}

/// Reads a command line. Where that ends the run (an error, `--help`, `--version`), everything has
/// been printed and the exit code is given back.
pub fn parse<P: Parser>(arguments: &[OsString]) -> Result<P, Exit> {
    // Colours and the format of an error are needed before, and even without, a readable command line.
    let globals = scan(arguments);
    set_color(globals.color);
    P::try_parse_from(arguments).map_err(|error| Output::new(&globals).usage(&error))
}

/// Runs one verb: result on standard output, everything else on standard error.
pub fn run_verb(verb: &Verb, globals: &Globals) -> Exit {
    set_color(globals.color);
    let output = Output::new(globals);
    let result = Context::new(globals).and_then(|context| {
        let result = verb.run(&context);
        context.finish();
        // Whether a document has been printed decides where a failure goes.
        result.or_else(|failure| Ok(context.output.failure(&failure)))
    });
    result.unwrap_or_else(|failure| output.failure(&failure))
}

/// The parser of `consign`, for completions, manual pages and the documentation.
pub fn command() -> clap::Command {
    Consign::command()
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
    fn the_parser_is_sound() {
        command().debug_assert();
    }

    #[derive(Debug, Parser)]
    struct Chores {
        #[command(flatten)]
        globals: Globals,
        #[command(subcommand)]
        chore: Chore,
    }

    #[derive(Debug, Subcommand)]
    enum Chore {
        /// One of the repository's own
        Tidy,
        #[command(flatten)]
        Release(Verb),
    }

    #[test]
    fn another_parser_can_take_in_every_verb() {
        Chores::command().debug_assert();
        let parse = |words: &[&str]| parse::<Chores>(&words.iter().map(OsString::from).collect::<Vec<_>>());
        let chores = parse(&["xtask", "init", "--force", "--format", "json"]).expect("readable");
        assert!(matches!(chores.chore, Chore::Release(Verb::Init(_))) && chores.globals.format == Format::Json);
        assert!(parse(&["xtask", "tidy"]).is_ok_and(|chores| matches!(chores.chore, Chore::Tidy)));
    }

    #[test]
    fn every_verb_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
                let path = format!("{path} {}", verb.get_name());
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                let nested = verb.get_subcommands().next().is_some();
                assert!(nested || help.contains("Examples:"), "`{path}` has no examples");
                check(verb, &path);
            }
        }
        check(&command(), "consign");
    }

    #[test]
    fn the_format_of_an_unreadable_command_line_is_found() {
        let format = |words: &[&str]| scan(&words.iter().map(OsString::from).collect::<Vec<_>>()).format;
        assert_eq!(format(&["consign", "--format", "json", "wrong"]), Format::Json);
        assert_eq!(format(&["consign", "wrong", "--format=ndjson"]), Format::Ndjson);
        assert_eq!(format(&["consign", "wrong", "--", "--format=json"]), Format::Text);
        assert_eq!(format(&["consign", "--format"]), Format::Text);
    }
}
