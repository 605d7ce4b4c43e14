//! Verifying what was published: fetched as a stranger would, and put through the same verifier.
//!
//! [`remote_verify`] fetches over https (or plain http from this machine) into a private directory
//! that is removed afterwards; a published directory is verified where it is. Every file is bounded
//! before it is read: the documents by constants, the rest by the sizes in the index. Nothing is
//! believed before the verifier has seen it; the index only says what to ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Tools;
use super::plan::Plan;
use super::rebuild::{Fetched, Original};
use super::summary::RemoteStatus;
use super::verify::{self, Authenticated, verify, verify_from};
use crate::model::checksums;
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::index::{self, Index};
use crate::model::stage::Stage;
use crate::model::{Code, Exit, Failure, FileName, Finding, Release, markdown, pretty, provenance, text};
use crate::provider::{self, Target};
use crate::trust::anchor::InCatalog;
use crate::trust::bundle::{self, Asset, finding};
use crate::trust::evidence::NotChecked;
use crate::trust::key::KeyId;
use crate::trust::signatures::{self, Signatures};
use crate::trust::{documents, dsse, sigstore};
use crate::world::http::{Client, ClientOptions};
use crate::world::place::{self, Place, quoted};
use crate::world::{files, scratch};

/// The document type of a [`RemoteReport`].
pub const TYPE: &str = "consign.remote-verify/v1";
/// The report for programs.
pub const FILE_NAME: &str = "remote-verify.json";
/// The report for people.
pub const PAGE_FILE_NAME: &str = "remote-verify.md";

/// How many files are fetched at a time.
const PARALLEL: usize = 4;
/// The most that is fetched of one bundle, in bytes.
const MAX_TOTAL_BYTES: u64 = 64 << 30;
/// The largest report that is read back, in bytes.
const MAX_REPORT_BYTES: usize = 16 << 20;

/// Where a published bundle is, and what it should be.
#[derive(Clone, Debug)]
pub struct Published {
    base: Place,
    /// The release that should be there, if that is known; else the one that the place is named after.
    expected: Option<Release>,
    /// Where the reports go, if anywhere.
    reports: Option<Utf8PathBuf>,
    /// What was brought here, because a stranger may not fetch it.
    closed: Option<Arc<scratch::Directory>>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct RemoteReport {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The bare version, if the index could be read.
    pub version: Option<String>,
    /// Where it was fetched from, without credentials.
    pub base_url: String,
    /// When.
    pub generated_at: Timestamp,
    /// How it ended.
    pub status: RemoteStatus,
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
    /// How many of the files are archives.
    pub archives: usize,
    /// Every file that was examined, sorted by name.
    pub files: Vec<Asset>,
    /// The evidence that proves nothing here.
    pub not_checked: Vec<NotChecked>,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    /// What was verified.
    #[serde(skip)]
    pub copy: Option<Copied>,
}

/// What was fetched, as long as somebody has it.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Where it is.
    pub directory: Utf8PathBuf,
    /// Where every stranger can fetch the same, if that is so.
    pub url: Option<String>,
    _fetched: Option<Arc<scratch::Directory>>,
}

impl Published {
    /// The directory at an address: https, http of this machine, `file://`, or a path.
    pub fn of_base_url(given: &str) -> Result<Self> {
        Ok(Self { base: Place::parse(given, index::FILE_NAME)?, expected: None, reports: None, closed: None })
    }

    /// The directory of an `index.json`.
    pub fn of_index(given: &str) -> Result<Self> {
        let Some(base) = place::parent_of(given, index::FILE_NAME) else {
            let shown = text::without_credentials(given).into_owned();
            return Err(Failure::new(Code::Usage, format!("`{}` is no index", text::shown(&shown)))
                .hint("the address of an index ends with `/index.json`"));
        };
        Self::of_base_url(base)
    }

    /// A release at a place to publish to: where everybody finds it or, where the place is private, what
    /// the place hands out to those it knows.
    pub fn of_target(target: &Target, release: &Release) -> Result<Self> {
        let provider = provider::open(target)?;
        let place = Self::of_base_url(&provider.address(release)?.base)?.expecting(release.clone());
        let closed = scratch::Directory::new("consign-remote-")?;
        let is_closed = provider.fetch_closed(release, closed.path())?.is_some();
        Ok(Self { closed: is_closed.then(|| Arc::new(closed)), ..place })
    }

    /// Where a plan's release should be found, with the reports in the plan's place.
    pub fn of_plan(plan: &Plan, base: &str) -> Result<Self> {
        Ok(Self::of_base_url(base)?.expecting(plan.release.clone()).reporting_to(plan.places.releases.clone()))
    }

    /// Names the release that should be there.
    #[must_use]
    pub fn expecting(self, release: Release) -> Self {
        Self { expected: Some(release), ..self }
    }

    /// Names the directory for the reports.
    #[must_use]
    pub fn reporting_to(self, directory: impl Into<Utf8PathBuf>) -> Self {
        Self { reports: Some(directory.into()), ..self }
    }
}

/// Fetches a published bundle and verifies it; anything wrong with it is a failure, after the
/// reports are written.
pub fn remote_verify(place: &Published, tools: &Tools<'_>) -> Result<RemoteReport> {
    let report = examine(place, tools)?;
    if let Some(directory) = &place.reports {
        report.write(directory)?;
    }
    let Some(first) = report.findings.first() else { return Ok(report) };
    let more = match report.findings.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let message =
        format!("what is published at `{}` does not verify: {}: {}{more}", report.base_url, first.file, first.message);
    Err(Failure::new(first.code, message).subject(first.file.clone()).hint(first.hint.clone()))
}

/// Fetches and verifies, and reports what was found.
pub fn examine(place: &Published, tools: &Tools<'_>) -> Result<RemoteReport> {
    let expected = place.expected.as_ref();
    let copy: Option<Copied>;
    let (verified, mut findings) = match &place.base {
        Place::Directory(path) if !path.is_dir() => {
            return Err(Failure::new(Code::RemoteNotFound, format!("there is no directory `{path}`"))
                .subject(path.as_str())
                .hint("check the address and the version"));
        }
        Place::Parcel { parcel, .. } => {
            let message = format!("`{}` is a file, and what is published is a directory", parcel.path());
            return Err(Failure::new(Code::Usage, message)
                .subject(parcel.path().as_str())
                .hint("unpack it with `tar xf`, and name the directory of the version in it"));
        }
        Place::Directory(path) => {
            copy = Some(Copied { directory: path.clone(), url: None, _fetched: None });
            (Some(verify(path, expected, &tools.requirements, tools.listener)?), Vec::new())
        }
        Place::Web(base) if place.closed.is_some() => {
            copy = place.closed.as_ref().map(|closed| Copied {
                directory: closed.path().to_owned(),
                url: None,
                _fetched: Some(Arc::clone(closed)),
            });
            let directory = place.closed.as_ref().map_or(Utf8Path::new(""), |closed| closed.path());
            (Some(verify_from(base, directory, expected, &tools.requirements, tools.listener)?), Vec::new())
        }
        Place::Web(base) => {
            let scratch = Arc::new(scratch::Directory::new("consign-remote-")?);
            // With credentials, or from this machine alone, it is not for strangers.
            let is_open = base.starts_with("https://") && *base == place.base.shown();
            copy = Some(Copied {
                directory: scratch.path().to_owned(),
                url: is_open.then(|| base.clone()),
                _fetched: Some(Arc::clone(&scratch)),
            });
            let demanded = tools.requirements.require_signatures || tools.requirements.anchor.is_checked();
            let findings = fetch(base, scratch.path(), demanded, tools.listener)?;
            // What could not be fetched is told once, and not again as missing.
            let whole = findings.is_empty();
            let verified =
                whole.then(|| verify_from(base, scratch.path(), expected, &tools.requirements, tools.listener));
            (verified.transpose()?, findings)
        }
    };
    let known = verified.as_ref().map(|report| (report.authenticity, report.root_version, report.signed_by.clone()));
    let (authenticity, root_version, signed_by) = known.unwrap_or((Authenticated::Unchecked, None, BTreeSet::new()));
    let (version, files, not_checked, catalog) = match verified {
        Some(verify::Report { version, files, not_checked, catalog, findings: found, .. }) => {
            findings.extend(found);
            (version, files, not_checked, catalog)
        }
        None => (None, Vec::new(), Vec::new(), None),
    };
    Ok(RemoteReport {
        kind: TYPE,
        version,
        signed_by,
        root_version,
        catalog,
        not_checked,
        base_url: place.base.shown(),
        generated_at: (tools.now)(),
        status: if findings.is_empty() { RemoteStatus::Passed } else { RemoteStatus::Failed },
        authenticity,
        archives: files.iter().filter(|file| file.kind == "package").count(),
        files,
        findings,
        copy,
    })
}

/// Fetches a whole bundle into an empty directory. Files that lie about their size are findings;
/// a place that does not work is a failure.
fn fetch(base: &str, into: &Utf8Path, demanded: bool, listener: &dyn Listener) -> Result<Vec<Finding>> {
    let client = Client::new(ClientOptions::default());
    let known = bundle::DOCUMENTS.map(|(name, max)| (name.to_owned(), max as u64));
    let findings = fetch_all(&client, base, &known, into, listener)?;
    if !findings.is_empty() {
        return Ok(findings);
    }
    let rest = match remaining(into)? {
        Ok(rest) => rest,
        Err(finding) => return Ok(vec![finding]),
    };
    let mut findings = fetch_all(&client, base, &rest, into, listener)?;
    if findings.is_empty() {
        findings = match fetch_evidence(&client, base, &rest, into, listener) {
            // Some places answer otherwise than with 404 where there is nothing, and nobody asked for it.
            Err(failure) if !demanded && failure.code().exit() == Exit::Remote => Vec::new(),
            fetched => fetched?,
        };
    }
    Ok(findings)
}

/// Fetches what there is of evidence. No document says which of it there is, so it is asked for by
/// the names that signing gives; whether enough of it is there is the verifier's business.
fn fetch_evidence(
    client: &Client,
    base: &str,
    rest: &[(String, u64)],
    into: &Utf8Path,
    listener: &dyn Listener,
) -> Result<Vec<Finding>> {
    let max_bytes = bundle::MAX_EVIDENCE_BYTES as u64;
    let first = [signatures::FILE_NAME, dsse::FILE_NAME].map(|name| (name.to_owned(), max_bytes));
    let findings = fetch_present(client, base, &first, into, listener)?;
    if !findings.is_empty() {
        return Ok(findings);
    }
    let list = into.join(signatures::FILE_NAME);
    let list = if list.is_file() { files::read_bounded(&list, signatures::MAX_BYTES)? } else { Vec::new() };
    // A list that cannot be read is found by the verifier.
    let list = Signatures::read(&list).ok();
    let assets = rest.iter().map(|(name, _)| name.as_str()).chain(bundle::DOCUMENTS.map(|(name, _)| name));
    let mut wanted = Vec::new();
    for asset in assets {
        let keys: Vec<KeyId> = list.iter().flat_map(|list| list.of(asset)).map(|entry| entry.key_id).collect();
        // One key's signature has no key in its name; of several, all but one have.
        let further = if keys.len() > 1 { keys } else { Vec::new() };
        for key in std::iter::once(None).chain(further.into_iter().map(Some)) {
            wanted.push((signatures::file_name(asset, key, signatures::ENDING), max_bytes));
            if asset == index::FILE_NAME {
                wanted.push((signatures::file_name(asset, key, sigstore::ENDING), max_bytes));
            }
        }
    }
    fetch_present(client, base, &wanted, into, listener)
}

/// The same as [`fetch_all`], where a file may be missing.
fn fetch_present(
    client: &Client,
    base: &str,
    wanted: &[(String, u64)],
    into: &Utf8Path,
    listener: &dyn Listener,
) -> Result<Vec<Finding>> {
    fetch_files(wanted, |name, max_bytes| match fetch_one(client, base, name, max_bytes, into, listener) {
        Err(failure) if failure.code() == Code::RemoteNotFound => Ok(()),
        fetched => fetched,
    })
}

/// What is to be fetched besides the documents: name and largest size.
fn remaining(fetched: &Utf8Path) -> Result<Result<Vec<(String, u64)>, Finding>> {
    let index = files::read_bounded(&fetched.join(index::FILE_NAME), index::MAX_BYTES)?;
    let list = files::read_bounded(&fetched.join(checksums::FILE_NAME), documents::MAX_CHECKSUMS_BYTES)?;
    // Without them nobody knows what else to fetch, and every other file would be told as missing.
    let index = match documents::read_index(&index) {
        Ok(index) => index,
        Err(problem) => return Ok(Err(finding(Code::DocumentInvalid, index::FILE_NAME, &problem))),
    };
    let list = match documents::read_checksums(&list) {
        Ok(list) => list,
        Err(problem) => return Ok(Err(finding(Code::DocumentInvalid, checksums::FILE_NAME, &problem))),
    };
    let mut sizes = sizes(&index);
    let mut total = 0_u64;
    for (name, size) in &sizes {
        total = total.saturating_add(*size);
        if total > MAX_TOTAL_BYTES {
            let message = "the release is larger than anything that is fetched";
            return Ok(Err(finding(Code::FileTooLarge, name.as_str(), message)));
        }
    }
    // What no index knows is fetched as well, so that the verifier sees it.
    for name in list.0.into_keys() {
        sizes.entry(name).or_insert(provenance::MAX_BYTES as u64);
    }
    let known = bundle::DOCUMENTS.map(|(name, _)| name);
    let rest = sizes.into_iter().map(|(name, size)| (name.to_string(), size));
    Ok(Ok(rest.filter(|(name, _)| !known.contains(&name.as_str())).collect()))
}

fn sizes(index: &Index) -> BTreeMap<FileName, u64> {
    let packages = index.packages.iter().map(|package| (package.archive.clone(), package.size_bytes));
    packages.chain(index.files.iter().map(|file| (file.name.clone(), file.size_bytes))).collect()
}

fn fetch_all(
    client: &Client,
    base: &str,
    wanted: &[(String, u64)],
    into: &Utf8Path,
    listener: &dyn Listener,
) -> Result<Vec<Finding>> {
    fetch_files(wanted, |name, max_bytes| fetch_one(client, base, name, max_bytes, into, listener))
}

/// Fetches several files at a time.
fn fetch_files(wanted: &[(String, u64)], fetch: impl Fn(&str, u64) -> Result<()> + Sync) -> Result<Vec<Finding>> {
    let next = AtomicUsize::new(0);
    let (findings, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(wanted.len()) {
            scope.spawn(|| {
                while let Some((name, max_bytes)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match fetch(name, *max_bytes) {
                        Ok(()) => {}
                        Err(failure) if failure.code().exit() == Exit::Verification => {
                            locked(&findings).push(as_finding(name, &failure));
                        }
                        Err(failure) => {
                            locked(&failed).get_or_insert(failure);
                            // The other files are of no use any more.
                            next.store(wanted.len(), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    if let Some(failure) = locked(&failed).take() {
        return Err(failure);
    }
    let mut findings = std::mem::take(&mut *locked(&findings));
    findings.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(findings)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn fetch_one(
    client: &Client,
    base: &str,
    name: &str,
    max_bytes: u64,
    into: &Utf8Path,
    listener: &dyn Listener,
) -> Result<()> {
    let (began, task) = (Instant::now(), name.to_owned());
    listener.hear(&Event::TaskStarted { stage: Stage::RemoteVerify, task: task.clone() });
    let bytes = client.download(&format!("{base}/{}", quoted(name)), max_bytes, &into.join(name))?;
    listener.hear(&Event::TaskFinished { stage: Stage::RemoteVerify, task, bytes, duration: began.elapsed() });
    Ok(())
}

fn as_finding(name: &str, failure: &Failure) -> Finding {
    Finding::new(failure.code(), name, failure.to_string(), failure.way_out().unwrap_or_default())
}

/// What `rebuild` compares with: the documents of a published bundle, and every file that its index
/// lists, as far as it is there.
pub fn fetch_original(index: &str, source: Option<String>) -> Result<Original> {
    let base = Published::of_index(index)?.base;
    let client = Client::new(ClientOptions::default());
    let read = |name: &str, max_bytes: u64| match &base {
        Place::Web(base) => client.get(&format!("{base}/{}", quoted(name)), max_bytes),
        Place::Directory(path) => {
            files::read_bounded(&path.join(name), usize::try_from(max_bytes).unwrap_or(usize::MAX))
        }
        Place::Parcel { .. } => base.get(&client, name, usize::try_from(max_bytes).unwrap_or(usize::MAX)),
    };
    let index = read(index::FILE_NAME, index::MAX_BYTES as u64)?;
    let provenance = read(provenance::FILE_NAME, provenance::MAX_BYTES as u64)?;
    let listed = documents::read_index(&index).map(|index| sizes(&index)).unwrap_or_default();
    let mut files = BTreeMap::new();
    for (name, size) in listed {
        let absent = matches!(&base, Place::Directory(path) if !path.join(name.as_str()).exists());
        let fetched = match read(name.as_str(), size) {
            Ok(bytes) => Fetched::Bytes(bytes),
            Err(failure) if absent || failure.code() == Code::RemoteNotFound => Fetched::Missing,
            Err(failure) if failure.code() == Code::FileTooLarge => Fetched::TooLarge,
            Err(failure) => return Err(failure),
        };
        files.insert(name.to_string(), fetched);
    }
    Ok(Original { index, provenance, files, source })
}

/// How the last verification of this release ended, if there was one.
pub fn recorded_status(reports: &Utf8Path) -> Option<RemoteStatus> {
    #[derive(Deserialize)]
    struct Recorded {
        #[serde(rename = "type")]
        kind: String,
        status: RemoteStatus,
    }
    let bytes = files::read_bounded(&reports.join(FILE_NAME), MAX_REPORT_BYTES).ok()?;
    let recorded: Recorded = serde_json::from_slice(&bytes).ok()?;
    (recorded.kind == TYPE).then_some(recorded.status)
}

impl RemoteReport {
    /// Writes both reports into a directory.
    pub fn write(&self, directory: &Utf8Path) -> Result<()> {
        files::write(&directory.join(FILE_NAME), &pretty(self))?;
        files::write(&directory.join(PAGE_FILE_NAME), self.markdown().as_bytes())
    }

    /// The exit code of a command whose result it is.
    pub fn exit(&self) -> Exit {
        self.findings.first().map_or(Exit::Done, |finding| finding.code.exit())
    }

    /// The report for people.
    pub fn markdown(&self) -> String {
        let status = if self.findings.is_empty() { "passed" } else { "**failed**" };
        let version = self.version.as_deref().map_or_else(|| "unknown".to_owned(), markdown::code);
        let mut page = format!(
            "# Verification of the published release\n\n| | |\n|---|---|\n| status | {status} |\n| version | {version} |\n\
             | fetched from | {} |\n| at | {} |\n| archives | {} |\n| files | {} |\n| authenticity | {} |\n",
            markdown::code(&self.base_url),
            self.generated_at,
            self.archives,
            self.files.len(),
            self.authenticity,
        );
        if !self.findings.is_empty() {
            page.push_str("\n| file | code | what is wrong |\n|---|---|---|\n");
        }
        for finding in &self.findings {
            let (file, message) = (markdown::code(&finding.file), markdown::code(&finding.message));
            // Writing into a String cannot fail.
            let _ = writeln!(page, "| {file} | `{}` | {message} |", finding.code);
        }
        page
    }
}
