//! `artifact`: write the record of a build, push it to the registry, and look at what is there.
//!
//! The verbs that write work on a file of the build, [`FILE_NAME`](crate::model::artifact::FILE_NAME);
//! those that push and look ask the registry.

mod add;
mod create;
mod look;
mod push;
mod track;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};

use super::{Context, output};
use crate::model::artifact::{self, Artifact};
use crate::model::failure::Result;
use crate::model::registry::Shown;
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

/// One artifact for people: where it comes from, and what is known of it.
fn describe(known: &Shown) -> String {
    let artifact = &known.artifact;
    let source = &artifact.source;
    let mut rows = vec![
        ("artifact", format!("{}/{}", artifact.service, artifact.id)),
        ("commit", format!("{} ({})", source.sha, source.event.as_str())),
    ];
    let text = |text: &Option<String>| text.as_ref().map(|text| first_line(text));
    rows.extend(text(&source.repository).map(|text| ("repository", text)));
    rows.extend(text(&source.branch).map(|text| ("branch", text)));
    rows.extend(text(&source.tag).map(|text| ("tag", text)));
    rows.extend(source.author.as_ref().map(|by| ("author", format!("{} <{}>", shown(&by.name), shown(&by.email)))));
    rows.extend(text(&source.message).map(|text| ("message", text)));
    rows.extend(text(&artifact.ci.job_url).map(|text| ("run", text)));
    for stage in &artifact.stages {
        rows.push(("stage", shown(&stage.id).into_owned()));
    }
    rows.extend(artifact.tests().map(|tests| {
        ("tests", format!("{} passed, {} failed, {} skipped", tests.passed, tests.failed, tests.skipped))
    }));
    rows.extend(
        artifact.vulnerabilities().map(|found| {
            ("vulnerabilities", format!("{} high, {} medium, {} low", found.high, found.medium, found.low))
        }),
    );
    if let Some(bundle) = &artifact.bundle {
        rows.push(("bundle", format!("{} files, verification {}", bundle.files.len(), shown(&known.verdict))));
        rows.extend(bundle.files.get(crate::model::index::FILE_NAME).map(|index| ("index", index.sha256.to_string())));
    }
    if let Some(payload) = &artifact.payload {
        let list: Vec<_> = payload.environments.iter().map(ToString::to_string).collect();
        rows.push(("environments", list.join(", ")));
    }
    rows.extend(artifact.digests.iter().map(|(name, sha256)| ("digest", format!("{sha256}  {}", shown(name)))));
    rows.push(("pushed", format!("{} by {}", known.pushed_at, shown(&known.pushed_by))));
    rows.push(("outcome", known.outcome.as_ref().map_or("not reported", |ended| ended.outcome.as_str()).to_owned()));
    let rows: Vec<_> = rows.into_iter().map(|(name, text)| vec![name.to_owned(), text]).collect();
    output::table(&rows)
}

/// The first line of a text, safe to show.
fn first_line(text: &str) -> String {
    shown(text.lines().next().unwrap_or_default()).into_owned()
}
