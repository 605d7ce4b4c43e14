//! `artifact create` and `artifact import`: the beginning of a record.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use clap::Args;
use data_encoding::HEXLOWER;

use super::super::{Context, usage};
use super::{FileArgs, write};
use crate::model::artifact::{self, Artifact, Ci, Event, Person, Source, import};
use crate::model::failure::Result;
use crate::model::{Code, Digest, Exit, Failure, FileName};
use crate::world::git::{Repository, Written};
use crate::world::{clock, files};

/// The arguments of `artifact create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact create --service web --branch main
  consign artifact create --service web --id main-0123456789-1 --sha 0123456789abcdef0123456789abcdef01234567 --branch main")]
pub(super) struct CreateArgs {
    /// What is released
    #[arg(long, value_name = "NAME")]
    service: FileName,
    /// What the artifact is called [default: made of branch, commit and time]
    #[arg(long, value_name = "ID")]
    id: Option<FileName>,
    /// The namespace that it runs in, where that is not the environment's name
    #[arg(long, value_name = "NAME")]
    namespace: Option<FileName>,
    /// The commit [default: the one that is checked out here]
    #[arg(long, value_name = "SHA")]
    sha: Option<String>,
    /// The branch [default: the one that is checked out here]
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// What made the run start
    #[arg(long, value_name = "push|pr|tag", default_value = "push")]
    event: Event,
    /// The tag, where one made it start
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Where a pull request comes from
    #[arg(long, value_name = "BRANCH")]
    source_branch: Option<String>,
    /// Where a pull request leads to
    #[arg(long, value_name = "BRANCH")]
    target_branch: Option<String>,
    /// The repository [default: the remote of the one here]
    #[arg(long, value_name = "URL|NAME")]
    repository: Option<String>,
    /// Who wrote the commit [default: what the commit that is checked out here says; so for the next ones]
    #[arg(long, value_name = "NAME", requires = "author_email")]
    author_name: Option<String>,
    /// Their address
    #[arg(long, value_name = "EMAIL", requires = "author_name")]
    author_email: Option<String>,
    /// Who committed it
    #[arg(long, value_name = "NAME", requires = "committer_email")]
    committer_name: Option<String>,
    /// Their address
    #[arg(long, value_name = "EMAIL", requires = "committer_name")]
    committer_email: Option<String>,
    /// The commit's message
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// The page of the commit
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The page of the run
    #[arg(long, value_name = "URL")]
    job_url: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

/// The arguments of `artifact import`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact import old/artifact.json --file artifact.json
  consign artifact import old.json --service web")]
pub(super) struct ImportArgs {
    /// The record of the older system
    #[arg(value_name = "OLD")]
    old: Utf8PathBuf,
    /// What is released [default: what the record says]
    #[arg(long, value_name = "NAME")]
    service: Option<FileName>,
    #[command(flatten)]
    file: FileArgs,
}

impl CreateArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let here = self.here(context)?;
        let sha = self.sha.clone().or(here.sha).ok_or_else(|| {
            usage("it is not said which commit was built").hint("add `--sha SHA`, or run it in a clone")
        })?;
        let branch = self.branch.clone().or(here.branch);
        let now = clock::now();
        let person = |name: &Option<String>, email: &Option<String>, here: Option<Person>| {
            name.clone().zip(email.clone()).map(|(name, email)| Person { name, email }).or(here)
        };
        let (author, committer, message) = match here.written {
            Some(Written { author, committer, message }) => (Some(author), Some(committer), Some(message)),
            None => (None, None, None),
        };
        let id = match &self.id {
            Some(id) => id.clone(),
            None => made_up(branch.as_deref(), &sha, &now.to_string())?,
        };
        let artifact = Artifact {
            kind: artifact::TYPE.to_owned(),
            id,
            service: self.service.clone(),
            namespace: self.namespace.clone(),
            source: Source {
                repository: self.repository.clone().or(here.repository),
                sha,
                branch,
                event: self.event,
                tag: self.tag.clone(),
                source_branch: self.source_branch.clone(),
                target_branch: self.target_branch.clone(),
                author: person(&self.author_name, &self.author_email, author),
                committer: person(&self.committer_name, &self.committer_email, committer),
                message: self.message.clone().or(message),
                url: self.url.clone(),
            },
            ci: Ci { job_url: self.job_url.clone(), start: Some(now), end: None },
            stages: Vec::new(),
            items: Vec::new(),
            context: BTreeMap::new(),
            digests: BTreeMap::new(),
            bundle: None,
            payload: None,
        };
        write(context, &self.file.file, &artifact)
    }

    /// What is checked out here, where anything is asked of it.
    fn here(&self, context: &Context) -> Result<Here> {
        // A commit that was named need not be of a repository that is here.
        if self.sha.is_some() {
            return Ok(Here::default());
        }
        let Some(repository) = Repository::discover(&context.directory)? else { return Ok(Here::default()) };
        let source = repository.source(&[], None)?;
        let branch = source.reference.as_deref().and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned);
        let written = source.commit.as_deref().map(|commit| repository.written(commit)).transpose()?.flatten();
        Ok(Here { sha: source.commit, branch, repository: source.repository, written })
    }
}

#[derive(Default)]
struct Here {
    sha: Option<String>,
    branch: Option<String>,
    repository: Option<String>,
    written: Option<Written>,
}

impl ImportArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let bytes = files::read_bounded(&context.path(&self.old), artifact::MAX_BYTES)?;
        let artifact =
            import::read(&bytes, self.service.as_ref()).map_err(|failure| failure.subject(self.old.as_str()))?;
        write(context, &self.file.file, &artifact)
    }
}

/// An id for those who give none. Nothing is ever read out of it.
fn made_up(branch: Option<&str>, sha: &str, salt: &str) -> Result<FileName> {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let branch: String = branch.unwrap_or("commit").chars().map(plain).take(60).collect();
    let branch = branch.trim_matches('-');
    let unique = HEXLOWER.encode(&Digest::of(format!("{salt} {}", std::process::id()).as_bytes()).as_bytes()[..4]);
    let id = format!("{}-{}-{unique}", if branch.is_empty() { "branch" } else { branch }, &sha[..sha.len().min(10)]);
    id.parse().map_err(|error| {
        Failure::new(Code::NameInvalid, "no id can be made of the commit").because(error).hint("add `--id ID`")
    })
}
