//! Verifying a bundle in a directory: every file is read once, in parallel, and nothing is trusted.
//!
//! [`verify`] opens the files and hands their bytes to [`crate::trust::bundle::Case`], which judges.
//! Links and other entries are never followed, and no file is read beyond the size that the index
//! gives it. A file may be changed after it was verified: whoever copies it checks its digest again.
//!
//! Whose signatures count is said by [`Requirements::anchor`]. Without one only integrity is checked;
//! [`Report::authenticity`] says so, and where signatures are required, the bundle is refused.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Exit, Failure, Finding, Release, index, text};
use crate::trust::anchor::InCatalog;
use crate::trust::bundle::{self, Case, Documents, Examiner, Exhibit, Task, Verdict};
use crate::trust::evidence::NotChecked;
use crate::trust::key::KeyId;
use crate::trust::{Anchor, Asset, Bundle, Verified, documents};
use crate::world::files;

/// The document type of a [`Report`].
pub const TYPE: &str = "consign.verify/v1";

/// How much of files is in memory at once where memory is dear, but never less than one file, in bytes.
const FRUGAL_BYTES: u64 = 24 << 20;

/// What is demanded besides integrity, and with what means.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// Whether a bundle that nobody known has signed is refused.
    pub require_signatures: bool,
    /// Whose signatures are demanded, if anybody's.
    pub anchor: Anchor,
    /// How many threads to use; default: one per processor.
    pub threads: Option<usize>,
    /// Whether memory is dearer than time: archives are unpacked piece by piece, and only so many files
    /// are read at once as are small together.
    pub is_frugal: bool,
}

/// What came of verifying.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The product's name, if the index could be read.
    pub name: Option<String>,
    /// The bare version, if the index could be read.
    pub version: Option<String>,
    /// The tag, if the index could be read.
    pub tag: Option<String>,
    /// Whether the bundle is accepted.
    pub status: Status,
    /// Whether it is known who made it.
    pub authenticity: Authenticated,
    /// The trusted keys that have signed every asset.
    pub signed_by: BTreeSet<KeyId>,
    /// The version of the trust root, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_version: Option<u64>,
    /// What the catalog says of the release, if a trust root was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<InCatalog>,
    /// Every file that was examined, sorted by name.
    pub files: Vec<Asset>,
    /// The evidence that proves nothing here: by keys that are not trusted, or of other kinds.
    pub not_checked: Vec<NotChecked>,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    #[serde(skip)]
    directory: Utf8PathBuf,
    #[serde(skip)]
    bundle: Option<Verified<Bundle>>,
}

/// Whether a bundle is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything agrees with everything.
    Passed,
    /// Something is wrong.
    Failed,
}

/// Whether it is known who made a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authenticated {
    /// No signature was checked, or not all hold: whoever could change one file could have changed all
    /// of them.
    Unchecked,
    /// A key that was given has signed every asset.
    Signed,
    /// Enough keys of a trust root have signed every asset.
    TrustedRoot,
    /// The catalog under a trust root lists every asset.
    Catalog,
}

impl Authenticated {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Signed => "signed",
            Self::TrustedRoot => "trusted-root",
            Self::Catalog => "catalog",
        }
    }
}

impl std::fmt::Display for Authenticated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Report {
    /// The bundle, if it is accepted.
    pub fn bundle(&self) -> Option<&Verified<Bundle>> {
        self.bundle.as_ref()
    }

    /// The exit code of a command whose result it is.
    pub fn exit(&self) -> Exit {
        self.findings.first().map_or(Exit::Done, |finding| finding.code.exit())
    }

    /// The bundle, or a failure with the first finding's code.
    pub fn accept(self) -> Result<Verified<Bundle>> {
        let Some(first) = self.findings.first() else {
            return self.bundle.ok_or_else(|| {
                // Cannot happen: a verdict without findings has a bundle. Refused all the same.
                Failure::new(Code::DocumentInvalid, format!("`{}` was not verified", self.directory))
            });
        };
        let more = match self.findings.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let message = format!("`{}` does not verify: {}: {}{more}", self.directory, first.file, first.message);
        Err(Failure::new(first.code, message).subject(first.file.clone()).hint(first.hint.clone()))
    }
}

/// Verifies the bundle in a directory, which is to be that of the expected release or, where none is
/// named, of the one that the directory is named after, if it is.
///
/// What is wrong with the bundle is in the report; a failure means that it could not be read.
pub fn verify(
    directory: &Utf8Path,
    expected: Option<&Release>,
    requirements: &Requirements,
    listener: &dyn Listener,
) -> Result<Report> {
    let parent = directory.parent().and_then(Utf8Path::file_name).unwrap_or_default();
    let place = format!("{parent}/{}", directory.file_name().unwrap_or_default());
    verify_from(&place, directory, expected, requirements, listener)
}

/// The same for a bundle that was fetched from a place into a directory of another name.
pub(super) fn verify_from(
    place: &str,
    directory: &Utf8Path,
    expected: Option<&Release>,
    requirements: &Requirements,
    listener: &dyn Listener,
) -> Result<Report> {
    let listing = list(directory)?;
    let documents = read_documents(directory, &listing)?;
    let case = Case::open(&listing, &documents, &requirements.anchor);
    let (exhibits, mut noted) = examine(&case, directory, requirements, listener)?;
    noted.extend(missing_signatures(&listing, requirements));
    noted.extend(case.tag().and_then(|tag| unexpected(expected, place, tag)));
    Ok(report(directory, case.judge(exhibits, noted), &requirements.anchor))
}

/// Another release than the one that should be there.
fn unexpected(expected: Option<&Release>, place: &str, tag: &str) -> Option<Finding> {
    let other = match expected {
        Some(expected) => (expected.tag != tag).then(|| expected.tag.clone()),
        None => named_otherwise(place, tag),
    }?;
    let message = format!("it is of release `{}`, and `{}` should be there", text::shown(tag), text::shown(&other));
    let hint = "check the place and the version: this is the bundle of another release";
    Some(Finding::new(Code::DocumentsDisagree, index::FILE_NAME, message, hint))
}

/// The release that a place is named after, where it is another one than the tag's.
fn named_otherwise(place: &str, tag: &str) -> Option<String> {
    // In an address the two signs that may stand in a tag can be written otherwise.
    let place = place.replace("%2B", "+").replace("%2b", "+").replace("%2F", "/").replace("%2f", "/");
    let place = place.trim_end_matches('/');
    let named = place.rsplit('/').next()?;
    let expected = Release::parse(named).ok()?.directory().ok()?;
    let same = Release::parse(tag).and_then(|release| release.directory()).is_ok_and(|own| own == expected);
    // A tag like `tool/v1.2.3` is two parts of an address.
    let nested = place.strip_suffix(tag).is_some_and(|before| before.is_empty() || before.ends_with('/'));
    (!same && !nested).then(|| named.to_owned())
}

pub(super) fn list(directory: &Utf8Path) -> Result<Vec<(String, bool)>> {
    if !directory.is_dir() {
        return Err(Failure::new(Code::BundleMissing, format!("there is no bundle at `{directory}`"))
            .subject(directory.as_str())
            .hint("name the directory that holds index.json, or make one with `consign package`"));
    }
    files::list(directory)
}

/// Reads what has to be known before anything else: the documents and the evidence.
pub(super) fn read_documents(directory: &Utf8Path, listing: &[(String, bool)]) -> Result<Documents> {
    Documents::gather(listing, |name, max_bytes| {
        let path = directory.join(name);
        let Some(file) = files::open_regular(&path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(max_bytes as u64).read_to_end(&mut bytes);
        read.map(|_| Some(bytes)).map_err(|error| files::failed("read", &path, error))
    })
}

/// Lets one worker per processor take file after file, the largest first.
fn examine(
    case: &Case,
    directory: &Utf8Path,
    requirements: &Requirements,
    listener: &dyn Listener,
) -> Result<(Vec<Exhibit>, Vec<Finding>)> {
    let tasks = case.tasks();
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut workers = requirements.threads.unwrap_or_else(processors).clamp(1, tasks.len().max(1));
    if requirements.is_frugal {
        let largest = tasks.iter().map(|task| task.max_bytes).max().unwrap_or_default().max(1);
        workers = workers.min(usize::try_from(FRUGAL_BYTES / largest).unwrap_or(workers)).max(1);
    }
    let next = AtomicUsize::new(0);
    let seen = Mutex::new((Vec::new(), Vec::new(), None));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let examiner = if requirements.is_frugal { Examiner::frugal() } else { Examiner::default() };
                let mut worker = Worker { examiner, buffer: Vec::new() };
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = worker.examine(case, directory, task, listener);
                    let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    match outcome {
                        Ok(Ok(exhibit)) => seen.0.push(exhibit),
                        Ok(Err(finding)) => seen.1.push(finding),
                        Err(failure) => seen.2 = seen.2.take().or(Some(failure)),
                    }
                }
            });
        }
    });
    match seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        (_, _, Some(failure)) => Err(failure),
        (exhibits, noted, None) => Ok((exhibits, noted)),
    }
}

/// What one thread keeps from file to file.
struct Worker {
    examiner: Examiner,
    buffer: Vec<u8>,
}

impl Worker {
    fn examine(
        &mut self,
        case: &Case,
        directory: &Utf8Path,
        task: &Task,
        listener: &dyn Listener,
    ) -> Result<Result<Exhibit, Finding>> {
        let (began, name) = (Instant::now(), task.name.to_string());
        listener.hear(&Event::TaskStarted { stage: Stage::Verify, task: name.clone() });
        let path = directory.join(&name);
        let Some(mut file) = files::open_regular(&path)? else {
            let hint = "replace it by the file itself; links and other entries are never followed";
            return Ok(Err(Finding::new(Code::FileIrregular, name, "it is not a regular file", hint)));
        };
        let limit = task.max_bytes.saturating_add(1);
        // The space is taken before, but no more than the file says it needs, whatever the index says.
        let size = file.metadata().map_err(|error| files::failed("read", &path, error))?.len();
        self.buffer.clear();
        self.buffer.reserve_exact(usize::try_from(size.min(limit)).unwrap_or(0));
        let read = file.by_ref().take(limit).read_to_end(&mut self.buffer);
        read.map_err(|error| files::failed("read", &path, error))?;
        let exhibit = case.examine(&mut self.examiner, task, &self.buffer);
        let bytes = self.buffer.len() as u64;
        listener.hear(&Event::TaskFinished { stage: Stage::Verify, task: name, bytes, duration: began.elapsed() });
        Ok(Ok(exhibit))
    }
}

/// Where nobody's signatures are demanded, none can be checked: whoever requires them is told so.
fn missing_signatures(listing: &[(String, bool)], requirements: &Requirements) -> Option<Finding> {
    if !requirements.require_signatures || requirements.anchor.is_checked() {
        return None;
    }
    Some(if listing.iter().any(|(name, _)| documents::is_evidence(name)) {
        bundle::finding(
            Code::KeyUntrusted,
            index::FILE_NAME,
            "signatures are required, and no key is given to check them",
        )
    } else {
        bundle::finding(Code::Unsigned, index::FILE_NAME, "it is not signed, and signatures are required")
    })
}

fn report(directory: &Utf8Path, verdict: Verdict, anchor: &Anchor) -> Report {
    let index = verdict.index.as_ref();
    let word = match (anchor, &verdict.in_catalog) {
        (Anchor::Unchecked, _) => Authenticated::Unchecked,
        (Anchor::Keys(_), _) => Authenticated::Signed,
        (Anchor::Role { .. }, Some(InCatalog::Listed | InCatalog::Withdrawn { .. })) => Authenticated::Catalog,
        (Anchor::Role { .. }, _) => Authenticated::TrustedRoot,
    };
    let root_version = match anchor {
        Anchor::Role { root_version, .. } => Some(*root_version),
        Anchor::Unchecked | Anchor::Keys(_) => None,
    };
    let is_accepted = verdict.bundle.is_some();
    Report {
        kind: TYPE,
        name: index.map(|index| index.name.to_string()),
        version: index.map(|index| index.version.to_string()),
        tag: index.map(|index| index.tag.clone()),
        status: if is_accepted { Status::Passed } else { Status::Failed },
        authenticity: if is_accepted { word } else { Authenticated::Unchecked },
        signed_by: verdict.bundle.as_ref().map(|bundle| bundle.signed_by.clone()).unwrap_or_default(),
        root_version,
        catalog: verdict.in_catalog,
        files: verdict.files,
        not_checked: verdict.not_checked,
        findings: verdict.findings,
        directory: directory.to_owned(),
        bundle: verdict.bundle,
    }
}
