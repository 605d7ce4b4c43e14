//! The verbs of the toolchain, and `consign` itself, which has all of them.
//!
//! [`run`] is the whole of the program. Other parsers take in [`Verb`] and [`Options`] and call
//! [`run_verb`].

use std::ffi::OsString;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use super::{
    Context, Globals, artifact, audit, build, bundle, catalog, completions, config, deliver, docker_smoke, doctor,
    init, install, installed, key, login, man, merge, notes, package, parse, plan, publish, rebuild, register,
    release_pipeline, remote_verify, revert, run_by, sign, smoke, summary, token, trust, uninstall, upgrade, verify,
    verify_blob, version_guard,
};
use crate::model::Exit;
use crate::model::failure::Result;

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
    /// Join the bundles of several machines
    Merge(merge::MergeArgs),
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
    /// Make what was published an artifact of the registry
    Register(register::RegisterArgs),
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
    /// Carry releases to machines without a network
    Bundle(bundle::BundleArgs),
    /// Say who may sign what in a catalog, one signature after another
    Trust(trust::TrustArgs),
    /// List versions in a catalog that any TUF client reads
    Catalog(catalog::CatalogArgs),
    /// Write the record of a build, push it to the registry, and look at what is there
    Artifact(artifact::ArtifactArgs),
    /// Read the registry's log of every change, and check that nothing was taken out of it
    Audit(audit::AuditArgs),
    /// Release an artifact, or the latest of a branch, into environments
    Release(deliver::ReleaseArgs),
    /// Release what one environment has into the next one
    Promote(deliver::PromoteArgs),
    /// Release what an environment had before once more
    Rollback(deliver::RollbackArgs),
    /// Show what a service has where, and what is on its way
    Status(deliver::StatusArgs),
    /// Describe releases and artifacts
    Describe(deliver::DescribeArgs),
    /// Say why an artifact cannot go to an environment now, and when it can
    Explain(deliver::ExplainArgs),
    /// Suspend automation for a service in an environment
    Hold(deliver::HoldArgs),
    /// Let automation go on
    Resume(deliver::ResumeArgs),
    /// Approve an artifact in an environment
    Approve(deliver::ApproveArgs),
    /// Reject an artifact in an environment
    Reject(deliver::RejectArgs),
    /// List, apply, delete and try policies
    Policy(deliver::PolicyArgs),
    /// Tell how releasing went: how often, how fast, how badly, how soon again well
    Report(deliver::ReportArgs),
    /// Keep a token for the registry
    Login(login::LoginArgs),
    /// Forget a token for the registry
    Logout(login::LogoutArgs),
    /// Make, list and take back the tokens of a registry
    Token(token::TokenArgs),
    /// Make, show, inspect and encrypt signing keys
    Key(key::KeyArgs),
    /// Show the settings, where each comes from, and their schema
    Config(config::ConfigArgs),
    /// Write a commented consign.toml, and the workflows
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
            Self::Merge(verb) => verb.run(context),
            Self::Sign(verb) => verb.run(context),
            Self::Verify(verb) => verb.run(context),
            Self::VerifyBlob(verb) => verb.run(context),
            Self::Notes(verb) => verb.run(context),
            Self::Smoke(verb) => verb.run(context),
            Self::DockerSmoke(verb) => verb.run(context),
            Self::Publish(verb) => verb.run(context),
            Self::RemoteVerify(verb) => verb.run(context),
            Self::Summary(verb) => verb.run(context),
            Self::Register(verb) => verb.run(context),
            Self::Rebuild(verb) => verb.run(context),
            Self::Install(verb) => verb.run(context),
            Self::Upgrade(verb) => verb.run(context),
            Self::Revert(verb) => verb.run(context),
            Self::Uninstall(verb) => verb.run(context),
            Self::Installed(verb) => verb.run(context),
            Self::Bundle(verb) => verb.run(context),
            Self::Trust(verb) => verb.run(context),
            Self::Catalog(verb) => verb.run(context),
            Self::Artifact(verb) => verb.run(context),
            Self::Audit(verb) => verb.run(context),
            Self::Release(verb) => verb.run(context),
            Self::Promote(verb) => verb.run(context),
            Self::Rollback(verb) => verb.run(context),
            Self::Status(verb) => verb.run(context),
            Self::Describe(verb) => verb.run(context),
            Self::Explain(verb) => verb.run(context),
            Self::Hold(verb) => verb.run(context),
            Self::Resume(verb) => verb.run(context),
            Self::Approve(verb) => verb.run(context),
            Self::Reject(verb) => verb.run(context),
            Self::Policy(verb) => verb.run(context),
            Self::Report(verb) => verb.run(context),
            Self::Login(verb) => verb.run(context),
            Self::Logout(verb) => verb.run(context),
            Self::Token(verb) => verb.run(context),
            Self::Key(verb) => verb.run(context),
            Self::Config(verb) => verb.run(context),
            Self::Init(verb) => verb.run(context),
            Self::Completions(verb) => verb.run(context),
            Self::Man(verb) => verb.run(context),
        }
    }
}

/// The options that every verb of the toolchain takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Options {
    /// Those that installers take too.
    #[command(flatten)]
    pub globals: Globals,
    /// Read this file instead of the consign.toml of the workspace
    #[arg(id = "global-config", long = "config", global = true, value_name = "FILE")]
    pub config: Option<Utf8PathBuf>,
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
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

/// The whole of `consign`: from the arguments, the program's name first, to the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    match parse::<Consign>(&arguments) {
        Ok(consign) => run_verb(&consign.verb, &consign.options).into(),
        Err(exit) => exit.into(),
    }
}

/// Runs one verb: result on standard output, everything else on standard error.
pub fn run_verb(verb: &Verb, options: &Options) -> Exit {
    run_by(&options.globals, options.config.as_deref(), |context| verb.run(context))
}

/// The parser of `consign`, for completions, manual pages and the documentation.
pub fn command() -> clap::Command {
    Consign::command()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }

    #[derive(Debug, Parser)]
    struct Chores {
        #[command(flatten)]
        options: Options,
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
        assert!(matches!(chores.chore, Chore::Release(Verb::Init(_))) && chores.options.globals.format == Format::Json);
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
}
