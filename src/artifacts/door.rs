//! The door: everything that a record names is opened and verified before the record is kept.
//!
//! A bundle goes before the very verifier that `consign verify` uses, against what this server
//! believes now; nothing is remembered from an earlier time. A payload has to be an archive in the form
//! of release archives, with exactly the environments that the record says.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;

use super::summary::{self, Policy};
use super::{Belief, Registry};
use crate::archive::Inspector;
use crate::model::artifact::{Artifact, Blob, BundleFiles, Payload};
use crate::model::failure::Result;
use crate::model::index::ArchiveFormat;
use crate::model::{Code, Digest, Failure, FileName, text};
use crate::store::blobs::Blobs;
use crate::trust::anchor::MAX_ROOT_BYTES;
use crate::trust::bundle::{Case, Documents, Examiner};
use crate::trust::{Anchor, Bundle, Verified};
use crate::world::files;

/// The largest payload, in bytes, packed and unpacked.
const MAX_PAYLOAD_BYTES: u64 = 64 << 20;
/// The largest file of a bundle that is verified here, in bytes: it is read as a whole.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// What came of verifying a record's bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has none.
    NoBundle,
    /// It is whole, and this server believes nobody who could have signed it.
    Unchecked,
    /// It is whole, and whom this server believes has signed it.
    Passed,
    /// It was taken in under another belief, and does not verify under the one of now.
    Failed,
    /// It was taken in under another belief, and nobody has verified it under the one of now.
    Outdated,
}

impl Verdict {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoBundle => "none",
            Self::Unchecked => "unchecked",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Outdated => "outdated",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A verdict, and what can be shown for it.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) policy: Digest,
    pub(super) summary: Option<String>,
}

impl Judged {
    fn without_bundle() -> Self {
        Self { verdict: Verdict::NoBundle, policy: Policy::of_keys(&[]).sha256(), summary: None }
    }
}

impl Registry {
    /// Opens and verifies everything that a record names.
    pub(super) async fn judge(&self, artifact: &Artifact, now: Timestamp) -> Result<Judged> {
        if artifact.bundle.is_none() && artifact.payload.is_none() {
            return Ok(Judged::without_bundle());
        }
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|error| Failure::new(Code::StoreUnavailable, "the server is shutting down").because(error))?;
        let (registry, artifact) = (self.clone(), artifact.clone());
        let judging = tokio::task::spawn_blocking(move || {
            // Whoever asked may be gone; the memory is taken until this is done.
            let _turn = turn;
            if let Some(payload) = &artifact.payload {
                check_payload(&registry.blobs, payload)?;
            }
            match &artifact.bundle {
                Some(bundle) => registry.judge_bundle(&artifact, bundle, now),
                None => Ok(Judged::without_bundle()),
            }
        });
        judging
            .await
            .map_err(|error| Failure::new(Code::StoreUnavailable, "the verifier was interrupted").because(error))?
    }

    fn judge_bundle(&self, artifact: &Artifact, files: &BundleFiles, now: Timestamp) -> Result<Judged> {
        let (anchor, policy) = self.belief.anchor(now)?;
        let bundle = verify(&self.blobs, files, &anchor)?;
        let built = bundle.index.source.commit.as_deref();
        if built.is_some_and(|commit| !commit.starts_with(&artifact.source.sha)) {
            return Err(Failure::new(
                Code::DocumentsDisagree,
                format!(
                    "the bundle was built from commit {}, and not from the record's",
                    text::shown(built.unwrap_or_default())
                ),
            )
            .hint("push the bundle with the record of the commit that it was built from"));
        }
        if !anchor.is_checked() {
            return Ok(Judged { verdict: Verdict::Unchecked, policy: policy.sha256(), summary: None });
        }
        let summary = summary::write(self.signer(), artifact, &bundle, &policy, now)?;
        Ok(Judged { verdict: Verdict::Passed, policy: policy.sha256(), summary: Some(summary) })
    }
}

impl Belief {
    /// The anchor at an instant, and what a summary says of it.
    pub fn anchor(&self, now: Timestamp) -> Result<(Anchor, Policy)> {
        match self {
            Self::Nobody => Ok((Anchor::Unchecked, Policy::of_keys(&[]))),
            Self::Keys(keys) => Ok((Anchor::Keys(keys.clone()), Policy::of_keys(keys))),
            Self::Root(path) => {
                let bytes = files::read_bounded(path, MAX_ROOT_BYTES)?;
                let anchor = Anchor::of_root(&bytes, now)?;
                let version = match &anchor {
                    Anchor::Role { root_version, .. } => *root_version,
                    Anchor::Unchecked | Anchor::Keys(_) => 0,
                };
                Ok((anchor, Policy::of_root(&bytes, version)))
            }
        }
    }
}

impl Belief {
    /// The digest of what is believed now, which a verdict has to have been made by.
    pub(super) fn sha256(&self) -> Result<Digest> {
        match self {
            Self::Nobody => Ok(Policy::of_keys(&[]).sha256()),
            Self::Keys(keys) => Ok(Policy::of_keys(keys).sha256()),
            Self::Root(path) => Ok(Digest::of(&files::read_bounded(path, MAX_ROOT_BYTES)?)),
        }
    }
}

/// Verifies the bundle that these blobs are.
fn verify(blobs: &Blobs, bundle: &BundleFiles, anchor: &Anchor) -> Result<Verified<Bundle>> {
    let listing: Vec<_> = bundle.files.keys().map(|name| (name.to_string(), true)).collect();
    let read = |name: &str, max_bytes: u64| -> Result<Option<Vec<u8>>> {
        let Some(blob) = bundle.files.get(name) else { return Ok(None) };
        // The verifier is shown one byte too many where there are more, and never more than that.
        let shown = blob.size_bytes.min(max_bytes);
        let mut bytes = wait(blobs.bytes(*blob))?;
        bytes.truncate(usize::try_from(shown).unwrap_or(usize::MAX));
        Ok(Some(bytes))
    };
    if let Some((name, blob)) = bundle.files.iter().find(|(_, blob)| blob.size_bytes > MAX_FILE_BYTES) {
        return Err(Failure::new(
            Code::FileTooLarge,
            format!("`{name}` has {} bytes, and at most {MAX_FILE_BYTES} are verified here", blob.size_bytes),
        )
        .subject(name.as_str()));
    }
    let documents = Documents::gather(&listing, |name, max_bytes| read(name, max_bytes as u64))?;
    let case = Case::open(&listing, &documents, anchor);
    let mut examiner = Examiner::default();
    let mut exhibits = Vec::new();
    for task in case.tasks() {
        let bytes = read(task.name.as_str(), task.max_bytes.saturating_add(1))?.unwrap_or_default();
        exhibits.push(case.examine(&mut examiner, task, &bytes));
    }
    let verdict = case.judge(exhibits, Vec::new());
    if let Some(first) = verdict.findings.first() {
        let more = match verdict.findings.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        return Err(Failure::new(
            first.code,
            format!("the bundle does not verify: {}: {}{more}", first.file, first.message),
        )
        .subject(first.file.clone())
        .hint(first.hint.clone()));
    }
    // A verdict without findings has a bundle; one without either is refused all the same.
    verdict.bundle.ok_or_else(|| Failure::new(Code::DocumentInvalid, "the bundle was not verified"))
}

/// Whether a payload is an archive with these environments.
fn check_payload(blobs: &Blobs, payload: &Payload) -> Result<()> {
    let refuse = |why: String| {
        Failure::new(Code::ArchiveInvalid, format!("the payload is refused: {why}"))
            .subject(Payload::FILE)
            .hint("let `consign artifact push --payload DIR` pack it")
    };
    if payload.size_bytes.max(payload.unpacked_size_bytes) > MAX_PAYLOAD_BYTES {
        return Err(Failure::new(Code::FileTooLarge, format!("the payload is larger than {MAX_PAYLOAD_BYTES} bytes"))
            .subject(Payload::FILE));
    }
    let bytes = wait(blobs.bytes(Blob { sha256: payload.sha256, size_bytes: payload.size_bytes }))?;
    let mut inspector = Inspector::default();
    let contents = inspector
        .inspect(ArchiveFormat::TarGz, &bytes, Payload::STEM, payload.unpacked_size_bytes)
        .map_err(|problem| refuse(problem.to_string()))?;
    let mut environments = BTreeSet::new();
    for entry in &contents.entries {
        let (environment, _) = entry
            .path
            .split_once('/')
            .ok_or_else(|| refuse(format!("`{}` lies in no environment's directory", entry.path)))?;
        environments.insert(environment.parse::<FileName>().map_err(|error| refuse(error.to_string()))?);
    }
    if !environments.iter().eq(&payload.environments) {
        let list: Vec<_> = environments.iter().map(FileName::as_str).collect();
        return Err(refuse(format!("its environments are {}, and the record says otherwise", list.join(", "))));
    }
    Ok(())
}

/// Waits for a blob on a thread that is there for waiting.
fn wait<T>(doing: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Handle::current().block_on(doing)
}
