//! `artifact`: write the record of a build, push it to the registry, and look at what is there.
//!
//! The verbs that write work on a file of the build, [`FILE_NAME`](crate::model::artifact::FILE_NAME);
//! those that push and look ask the registry.

mod add;
mod chain;
mod create;
mod look;
mod push;
mod track;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};

use super::Context;
use crate::model::artifact::{self, Artifact};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure};
use crate::world::files;

/// The arguments of `artifact`.
#[derive(Debug, Args)]
pub struct ArtifactArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Begin the record of a build
    Create(create::CreateArgs),
    /// Read the record of an older system
    Import(create::ImportArgs),
    /// Add what the build has done to the record
    Add(add::AddArgs),
    /// Note that the build has ended
    End(add::EndArgs),
    /// Send the record and everything that it names to the registry
    Push(push::PushArgs),
    /// Tell the registry that the run was successful
    Successful(push::OutcomeArgs),
    /// Tell the registry that the run failed
    Failure(push::OutcomeArgs),
    /// List artifacts, the newest first
    List(look::ListArgs),
    /// Show one artifact
    Show(look::ShowArgs),
    /// Show how far an artifact is, and wait for its run to end
    Track(track::TrackArgs),
}

/// Which file the record is in. Its name is also the id of a group.
#[derive(Clone, Debug, Args)]
struct FileArgs {
    /// The file that the record is in
    #[arg(long, value_name = "FILE", default_value = artifact::FILE_NAME)]
    file: Utf8PathBuf,
}

impl ArtifactArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            Verb::Create(verb) => verb.run(context),
            Verb::Import(verb) => verb.run(context),
            Verb::Add(verb) => verb.run(context),
            Verb::End(verb) => verb.run(context),
            Verb::Push(verb) => verb.run(context),
            Verb::Successful(verb) => verb.successful(context),
            Verb::Failure(verb) => verb.failure(context),
            Verb::List(verb) => verb.run(context),
            Verb::Show(verb) => verb.run(context),
            Verb::Track(verb) => verb.run(context),
        }
    }
}

impl FileArgs {
    fn read(&self, context: &Context) -> Result<Artifact> {
        let path = context.path(&self.file);
        if !path.exists() {
            return Err(Failure::new(Code::FileMissing, format!("there is no record `{}`", self.file))
                .subject(self.file.as_str())
                .hint("begin one with `consign artifact create`"));
        }
        Artifact::read(&files::read_bounded(&path, artifact::MAX_BYTES)?)
            .map_err(|failure| failure.subject(self.file.as_str()))
    }

    /// Changes the record, checks it, writes it and shows it.
    fn change(&self, context: &Context, change: impl FnOnce(&mut Artifact) -> Result<()>) -> Result<Exit> {
        let mut artifact = self.read(context)?;
        change(&mut artifact)?;
        write(context, &self.file, &artifact)
    }
}

/// Writes a record and shows it.
fn write(context: &Context, file: &Utf8Path, artifact: &Artifact) -> Result<Exit> {
    artifact.check()?;
    files::write(&context.path(file), &artifact.render())?;
    context.output.result(artifact, || {
        let stages: Vec<_> = artifact.stages.iter().map(|stage| shown(&stage.id).into_owned()).collect();
        let stages = if stages.is_empty() { "no stages yet".to_owned() } else { stages.join(", ") };
        format!("{file}: {}/{} ({stages})", artifact.service, artifact.id)
    })?;
    Ok(Exit::Done)
}

/// The first line of a text, safe to show.
fn first_line(text: &str) -> String {
    shown(text.lines().next().unwrap_or_default()).into_owned()
}
