//! Registering: a bundle that was published becomes an artifact of the registry.
//!
//! [`register`] makes the record out of the verified bundle and what the plan knows of its source, and
//! pushes both. A version is registered once: where the registry has this very bundle already, nothing is
//! sent, whatever else a later run would have written into the record. What was published stays so,
//! whatever becomes of this.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Serialize;

use super::plan::Plan;
use super::publish;
use super::request::Register;
use crate::client::Server;
use crate::model::artifact::{self, Artifact, Blob, BundleFiles, Ci, Event, Source, Stage};
use crate::model::failure::Result;
use crate::model::registry::Shown;
use crate::model::{Code, Digest, Failure, FileName, index, pretty, text};
use crate::trust::{Asset, Bundle, Verified};
use crate::world::files;
use crate::world::git::{Repository, Written};

/// The document type of a [`Registration`].
pub const TYPE: &str = "consign.register/v1";
/// The report of registering.
pub const FILE_NAME: &str = "register.json";
/// How many digits of the commit are in an artifact's id.
const COMMIT_DIGITS: usize = 10;

/// What became of registering a bundle.
#[derive(Clone, Debug, Serialize)]
pub struct Registration {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The registry.
    pub server: String,
    /// What the artifact is one of.
    pub service: FileName,
    /// What it is called.
    pub id: FileName,
    /// The digest of its record.
    pub sha256: Digest,
    /// Whether anything had to be done.
    pub status: Status,
    /// How many files were sent.
    pub files_sent: usize,
    /// What the registry says of the bundle: `unchecked` or `passed`.
    pub verdict: String,
}

impl Registration {
    /// One line about it.
    pub fn detail(&self) -> String {
        let Self { service, id, verdict, .. } = self;
        format!("{} {service}/{id}, verification {}", self.status.as_str(), text::shown(verdict))
    }
}

/// Whether anything had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The registry has it now.
    Registered,
    /// The registry had it already.
    Unchanged,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Makes a published bundle an artifact, and writes down what became of that.
pub fn register(
    bundle: &Verified<Bundle>,
    plan: &Plan,
    registry: &Register,
    server: &Server,
    now: Timestamp,
) -> Result<Registration> {
    let place = publish::recorded_place(bundle, &plan.places.releases).ok_or_else(|| {
        Failure::new(Code::BuildMissing, format!("nothing says that this bundle of {} was published", plan.release.tag))
            .subject(plan.places.releases.join(publish::FILE_NAME).as_str())
            .hint("run `consign publish` first: only what is published becomes an artifact")
    })?;
    let artifact = record(bundle, plan, registry, &place, now)?;
    let registered = push(bundle, plan, &artifact, server).map_err(|failure| {
        let message = format!("{} is published, and was not registered at {}", plan.release.tag, server.address());
        Failure::new(failure.code(), message).subject(server.address()).because(explained(&failure)).hint(format!(
            "`consign register {} --server {}` registers it later; nothing is published again",
            plan.release.tag,
            server.address()
        ))
    })?;
    let registration = Registration {
        kind: TYPE,
        server: server.address().to_owned(),
        service: artifact.service,
        id: artifact.id,
        sha256: registered.shown.sha256,
        status: registered.status,
        files_sent: registered.sent,
        verdict: registered.shown.verdict,
    };
    files::write(&plan.places.releases.join(FILE_NAME), &pretty(&registration))?;
    Ok(registration)
}

struct Registered {
    status: Status,
    sent: usize,
    shown: Shown,
}

/// Pushes a record with its files, unless the registry has the bundle already.
fn push(bundle: &Bundle, plan: &Plan, artifact: &Artifact, server: &Server) -> Result<Registered> {
    if let Some(known) = known(bundle, artifact, server)? {
        return Ok(known);
    }
    let places: BTreeMap<String, Utf8PathBuf> =
        files_of(bundle).map(|file| (file.name.to_string(), plan.places.bundle.join(file.name.as_str()))).collect();
    let pushed = match server.push(artifact, &places, None) {
        // Another run, which differs in its time alone, was faster.
        Err(failure) if failure.code() == Code::ArtifactExists => {
            return known(bundle, artifact, server)?.ok_or(failure);
        }
        pushed => pushed?,
    };
    let status = if pushed.is_new { Status::Registered } else { Status::Unchanged };
    Ok(Registered { status, sent: pushed.sent, shown: pushed.shown })
}

/// What the registry has by this id, if it has anything: this bundle, or none.
fn known(bundle: &Bundle, artifact: &Artifact, server: &Server) -> Result<Option<Registered>> {
    match server.artifact(&artifact.service, &artifact.id) {
        Ok(shown) if is_of(&shown.artifact, bundle) => {
            Ok(Some(Registered { status: Status::Unchanged, sent: 0, shown }))
        }
        Ok(_) => {
            let message = format!("the registry has `{}/{}` with another bundle", artifact.service, artifact.id);
            Err(Failure::new(Code::ArtifactExists, message).subject(artifact.id.as_str()))
        }
        Err(failure) if failure.code() == Code::ArtifactUnknown => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether a record is that of this very bundle. Evidence may have come later, and pins nothing.
fn is_of(there: &Artifact, bundle: &Bundle) -> bool {
    let Some(files) = &there.bundle else { return false };
    let same_commit = bundle.index.source.commit.as_deref() == Some(there.source.sha.as_str());
    same_commit && bundle.assets.iter().all(|asset| files.files.get(&asset.name) == Some(&blob(asset)))
}

/// The record: the same for the same bundle but for the run and its time.
fn record(bundle: &Bundle, plan: &Plan, registry: &Register, place: &str, now: Timestamp) -> Result<Artifact> {
    let index = &bundle.index;
    let commit = index.source.commit.clone().ok_or_else(|| {
        Failure::new(Code::SourceUnknown, "the bundle was built from no commit, so it cannot become an artifact")
            .hint("build it in a git repository")
    })?;
    let short = &commit[..commit.len().min(COMMIT_DIGITS)];
    let id = format!("{}-{short}", plan.release.directory()?);
    let id: FileName = id.parse().map_err(|error| {
        Failure::new(Code::NameInvalid, format!("`{id}` cannot be the id of an artifact")).because(error)
    })?;
    let reference = plan.job.reference.as_ref().or(plan.source.reference.as_ref());
    let branch = reference.and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned);
    let base = text::without_credentials(plan.remote_base_url.as_deref().unwrap_or(place));
    let written = written(plan, &commit);
    let mut artifact = Artifact {
        kind: artifact::TYPE.to_owned(),
        id,
        service: registry.service.clone().unwrap_or_else(|| plan.name.clone()),
        namespace: None,
        source: Source {
            repository: index.source.repository.clone(),
            sha: commit,
            event: if branch.is_some() { Event::Push } else { Event::Tag },
            branch,
            tag: Some(plan.release.tag.clone()),
            source_branch: None,
            target_branch: None,
            author: written.as_ref().map(|written| written.author.clone()),
            committer: written.as_ref().map(|written| written.committer.clone()),
            message: written.map(|written| written.message),
            url: None,
        },
        ci: Ci {
            job_url: plan.job.url.as_deref().map(|url| text::without_credentials(url).into_owned()),
            start: None,
            end: Some(now),
        },
        stages: vec![built(bundle, plan), published(&base)],
        items: Vec::new(),
        context: BTreeMap::from([
            ("version".to_owned(), bundle.release.version.to_string()),
            ("channel".to_owned(), plan.channel.clone()),
        ]),
        digests: bundle.assets.iter().map(|asset| (asset.name.to_string(), asset.sha256)).collect(),
        bundle: Some(BundleFiles {
            index_url: Some(format!("{}/{}", base.trim_end_matches('/'), index::FILE_NAME)),
            files: files_of(bundle).map(|file| (file.name.clone(), blob(file))).collect(),
        }),
        payload: None,
    };
    // What cannot stand in a record is no reason not to register what was published.
    if artifact.check().is_err() {
        artifact.source = Source { author: None, committer: None, message: None, ..artifact.source };
    }
    artifact.check()?;
    Ok(artifact)
}

/// Who made the commit, and what they said, where it is here. It follows from the commit, so that every run
/// that knows it writes the same.
fn written(plan: &Plan, commit: &str) -> Option<Written> {
    let repository = Repository::discover(&plan.places.root).ok().flatten()?;
    repository.written(commit).ok().flatten()
}

/// What was built: for which platforms, out of which packages.
fn built(bundle: &Bundle, plan: &Plan) -> Stage {
    let platforms: Vec<_> = bundle.index.packages.iter().map(|package| package.platform.name()).collect();
    let texts = [
        ("version", bundle.release.version.to_string()),
        ("platforms", platforms.join(" ")),
        ("packages", plan.packages.join(" ")),
        ("programs", plan.binaries.join(" ")),
    ];
    Stage::of_texts("build", "Build", texts.map(|(name, text)| (name.to_owned(), text)))
}

/// Where it was published.
fn published(base: &str) -> Stage {
    Stage::of_texts("publish", "Publish", [("url".to_owned(), base.to_owned())])
}

fn files_of(bundle: &Bundle) -> impl Iterator<Item = &Asset> {
    bundle.assets.iter().chain(&bundle.evidence)
}

fn blob(file: &Asset) -> Blob {
    Blob { sha256: file.sha256, size_bytes: file.size_bytes }
}

/// A failure and the way out that it names, which would be lost behind the one that stands before it.
fn explained(failure: &Failure) -> String {
    let told = failure.chain().join(": ");
    match failure.way_out() {
        Some(hint) => format!("{told} ({hint})"),
        None => told,
    }
}
