//! The artifact registry: what is taken in, what is asked for, and what is said about it.
//!
//! A [`Registry`] joins the database, the blobs and whom to believe. [`Registry::push`] is its one
//! door: a record is kept once everything that it names is there and has been verified. Who may do what
//! is decided in front of it; here everybody may.

mod backup;
mod blobs;
mod door;
mod fsck;
mod judgement;
pub mod retention;
pub mod summary;

use std::sync::Arc;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use tokio::sync::{Mutex, Semaphore};

use crate::model::artifact::Artifact;
use crate::model::failure::Result;
use crate::model::registry::Report;
use crate::model::{Code, Digest, Failure, FileName};
use crate::store::blobs::Blobs;
use crate::store::{Change, NewArtifact, NewOutcome, Pushed, Row, Store};
use crate::trust::key::{PublicKey, Signer};

pub use backup::{Backup, restore, turn};
pub use door::Verdict;
pub use fsck::{Condition, Problem};

/// How many bundles are verified at once; each may need as much memory as its largest file.
const AT_ONCE: usize = 2;

/// How often a push looks for its blobs again because others were removed meanwhile.
const SWEEPS: u32 = 5;

/// Whom the registry believes.
#[derive(Clone, Debug, Default)]
pub enum Belief {
    /// Nobody: only that bundles are whole is checked, and their verdict says so.
    #[default]
    Nobody,
    /// Whoever has one of these keys.
    Keys(Vec<PublicKey>),
    /// Whom this root trusts with releases. It is read again for every bundle, so that it can be replaced.
    Root(Utf8PathBuf),
}

/// The registry.
#[derive(Clone)]
pub struct Registry {
    /// The database.
    pub store: Store,
    /// The blobs.
    pub blobs: Blobs,
    belief: Belief,
    signer: Arc<dyn Signer>,
    turns: Arc<Semaphore>,
    /// Held by whoever judges an artifact again, so that many who ask for it do not do so at once.
    again: Arc<Mutex<()>>,
}

/// Who asks, and when.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name in the audit log.
    pub subject: String,
    /// The time of the request.
    pub at: Timestamp,
}

/// What became of a push.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Whether it is new.
    pub is_new: bool,
    /// What is kept.
    pub row: Row,
}

impl Registry {
    /// A registry over a database and blobs, which believes somebody and signs with a key of its own.
    pub fn new(store: Store, blobs: Blobs, belief: Belief, signer: Arc<dyn Signer>) -> Self {
        Self { store, blobs, belief, signer, turns: Arc::new(Semaphore::new(AT_ONCE)), again: Arc::default() }
    }

    /// The key that it signs with.
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// Takes in a record: the same one again is fine, another one by its id is not.
    pub async fn push(&self, artifact: Artifact, idempotency: Option<String>, caller: &Caller) -> Result<Kept> {
        let sha256 = artifact.digest();
        let (service, id) = (artifact.service.clone(), artifact.id.clone());
        if let Some(row) = self.find(&service, &id).await? {
            return same(&artifact, sha256, row);
        }
        let mut tries = SWEEPS;
        let pushed = loop {
            match self.keep(&artifact, sha256, idempotency.as_deref(), caller).await? {
                Pushed::Swept if tries > 0 => tries -= 1,
                pushed => break pushed,
            }
        };
        match pushed {
            Pushed::New | Pushed::There(_) => {}
            Pushed::OtherRequest => {
                return Err(Failure::new(Code::KeyReused, "the idempotency key was used for another record")
                    .hint("use a new key for every record"));
            }
            Pushed::Pruned => {
                let message = format!("`{service}/{id}` was here with other content");
                return Err(Failure::new(Code::ArtifactExists, message)
                    .subject(id.as_str())
                    .hint("an artifact never changes: push it under another id"));
            }
            Pushed::Swept => {
                return Err(Failure::new(Code::StoreUnavailable, "blobs are being removed all the time"));
            }
        }
        let row = self.find(&service, &id).await?.ok_or_else(|| {
            // Rules that let go what was pushed a moment ago are nobody's wish, and yet no damage.
            Failure::new(Code::Busy, format!("`{service}/{id}` was removed at the same time"))
                .subject(id.as_str())
                .hint("push it again, and look at the rules of retention")
        })?;
        match pushed {
            Pushed::New => Ok(Kept { is_new: true, row }),
            _ => same(&artifact, sha256, row),
        }
    }

    /// Looks for a record's blobs, judges it and keeps it.
    async fn keep(
        &self,
        artifact: &Artifact,
        sha256: Digest,
        idempotency: Option<&str>,
        caller: &Caller,
    ) -> Result<Pushed> {
        let sweeps = self.store.sweeps().await?;
        self.find_blobs(artifact).await?;
        let judged = match self.judge(artifact, caller.at).await {
            // What was there a moment ago may have been condemned since.
            Err(failure) if failure.code() == Code::StoreDamaged && self.store.sweeps().await? != sweeps => {
                return Ok(Pushed::Swept);
            }
            judged => judged?,
        };
        let record = String::from_utf8(artifact.render()).expect("JSON is text");
        let change = Change {
            at: caller.at,
            subject: caller.subject.clone(),
            verb: "artifact.push",
            object: format!("{}/{}", artifact.service, artifact.id),
            sha256: Some(sha256),
            note: Some(format!("bundle {}", judged.verdict)),
        };
        let new = NewArtifact {
            artifact,
            record: &record,
            sha256,
            verdict: judged.verdict.as_str(),
            policy: judged.policy,
            summary: judged.summary,
            idempotency: idempotency.map(|name| (name.to_owned(), sha256)),
            sweeps,
        };
        self.store.push(&new, &change).await
    }

    /// Notes how the run that built an artifact ended. The first word stands.
    pub async fn report(&self, row: &Row, report: Report, caller: &Caller) -> Result<()> {
        let Report { outcome, note } = report;
        let artifact = read(row)?;
        let change = Change {
            at: caller.at,
            subject: caller.subject.clone(),
            verb: "artifact.outcome",
            object: format!("{}/{}", artifact.service, artifact.id),
            sha256: Some(row.sha256),
            note: Some(outcome.as_str().to_owned()),
        };
        let stands = self.store.report(row.sequence, &NewOutcome { outcome: outcome.as_str(), note }, &change).await?;
        if stands != outcome.as_str() {
            return Err(Failure::new(Code::ArtifactExists, format!("the run was reported to be {stands} before"))
                .subject(artifact.id.as_str())
                .hint("a run ends once; build again under another id"));
        }
        Ok(())
    }

    /// One artifact, if it is there.
    pub async fn find(&self, service: &FileName, id: &FileName) -> Result<Option<Row>> {
        self.store.artifact(service.as_str(), id.as_str()).await
    }
}

/// The record in a row.
pub fn read(row: &Row) -> Result<Artifact> {
    parse(&row.record)
}

/// The record that something is done by: it has to be what was pushed, whatever somebody has written over it.
pub fn read_pushed(record: &str, sha256: Digest) -> Result<Artifact> {
    if Digest::of(record.as_bytes()) != sha256 {
        return Err(Failure::new(Code::StoreDamaged, "a record that is kept is not the one that was pushed")
            .hint("run `consign-server fsck`, and restore a backup if it agrees"));
    }
    parse(record)
}

fn parse(record: &str) -> Result<Artifact> {
    Artifact::read(record.as_bytes())
        .map_err(|failure| Failure::new(Code::StoreDamaged, "a record that is kept cannot be read").because(failure))
}

fn same(artifact: &Artifact, sha256: Digest, row: Row) -> Result<Kept> {
    if row.sha256 == sha256 {
        return Ok(Kept { is_new: false, row });
    }
    let message = format!("`{}/{}` is there with other content", artifact.service, artifact.id);
    Err(Failure::new(Code::ArtifactExists, message)
        .subject(artifact.id.as_str())
        .hint("an artifact never changes: push it under another id"))
}
