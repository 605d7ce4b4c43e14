//! Verifying a bundle: open the case, examine every file once, judge.
//!
//! ```text
//! case    = Case::open(listing, documents)     the documents read; what is there against what is listed
//! exhibit = case.examine(examiner, task, bytes)  one per file, on any thread: size, digest, inside
//! verdict = case.judge(exhibits, noted)          everything against everything
//! ```
//!
//! Every problem is collected, none stops the others, and a [`Verified`] bundle comes out only where
//! there is none. Signatures are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::archive::{Inspector, Problem};
use crate::model::checksums::{self, Checksums};
use crate::model::index::{self, Index, Package};
use crate::model::metadata::{self, PackageMetadata};
use crate::model::provenance::{self, Statement};
use crate::model::sbom::{self, Described};
use crate::model::{Code, Digest, FileName, Finding, Release, text};

use super::Verified;
use super::documents::{self, Evidence, evidence_of};
use super::judge;

pub use super::judge::finding;

/// What evidence is called where the kinds of files are named.
const EVIDENCE: &str = "evidence";
/// The largest file of evidence that is looked at, in bytes.
const MAX_EVIDENCE_BYTES: u64 = 4 << 20;

/// How many files of evidence a bundle may have: this many, and as many again for every asset.
const MAX_EVIDENCE_FILES: usize = 64;

/// A bundle in which everything agrees with everything.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Which release it is.
    pub release: Release,
    /// Its index.
    pub index: Index,
    /// Every asset, sorted by name.
    pub assets: Vec<Asset>,
    /// Every file of evidence, sorted by name. Whether it is worth anything has not been checked.
    pub evidence: Vec<Asset>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asset {
    /// Its name.
    pub name: FileName,
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// What it is: `package`, `sbom-spdx`, `index`, `provenance`, `checksums`, `evidence`…
    pub kind: String,
}

/// The documents of a bundle as they were found, each read to one byte more than it may have.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// `index.json`.
    pub index: Option<Vec<u8>>,
    /// `provenance.json`.
    pub provenance: Option<Vec<u8>>,
    /// `checksums.txt`.
    pub checksums: Option<Vec<u8>>,
}

/// The names of the documents, with the largest size of each in bytes.
pub const DOCUMENTS: [(&str, usize); 3] = [
    (index::FILE_NAME, index::MAX_BYTES),
    (provenance::FILE_NAME, provenance::MAX_BYTES),
    (checksums::FILE_NAME, documents::MAX_CHECKSUMS_BYTES),
];

/// A bundle under examination.
pub struct Case {
    pub(super) index: Option<Index>,
    pub(super) provenance: Option<Statement>,
    pub(super) checksums: Option<Checksums>,
    tasks: Vec<Task>,
    /// The documents themselves.
    read: Vec<Exhibit>,
    findings: Vec<Finding>,
}

/// A file that is to be read and examined.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name, which the index lists or which is that of evidence.
    pub name: FileName,
    /// How many bytes to read at most, and one more to see whether there are more.
    pub max_bytes: u64,
    kind: String,
}

/// What was seen of one file.
pub struct Exhibit {
    pub(super) asset: Asset,
    pub(super) inside: Inside,
    /// Whether only its beginning was read: then its digest is nobody's.
    cut_off: bool,
}

/// What was seen inside a file whose digest is the index's.
pub(super) enum Inside {
    NotExamined,
    Archive(Result<ArchiveFacts, Problem>),
    Sbom(Result<Described, String>),
}

pub(super) struct ArchiveFacts {
    pub(super) metadata: Result<PackageMetadata, String>,
    pub(super) has_the_date: bool,
    /// What is under `bin/`.
    pub(super) programs: Vec<crate::archive::Entry>,
}

/// What each thread that examines keeps from one file to the next.
#[derive(Default)]
pub struct Examiner {
    inspector: Inspector,
}

/// The end of a case.
pub struct Verdict {
    /// Every file that was examined, sorted by name.
    pub files: Vec<Asset>,
    /// Every problem, the gravest first; empty exactly where there is a bundle.
    pub findings: Vec<Finding>,
    /// What the index calls the product, if the index could be read.
    pub index: Option<Index>,
    /// The bundle, if nothing is wrong with it.
    pub bundle: Option<Verified<Bundle>>,
}

impl Case {
    /// Reads the documents and compares the names in the directory (and whether each is a regular
    /// file) with what is listed.
    pub fn open(listing: &[(String, bool)], found: &Documents) -> Self {
        let mut case =
            Self { index: None, provenance: None, checksums: None, tasks: vec![], read: vec![], findings: vec![] };
        case.index = case.document(DOCUMENTS[0], found.index.as_deref(), "index", documents::read_index);
        case.provenance =
            case.document(DOCUMENTS[1], found.provenance.as_deref(), "provenance", documents::read_provenance);
        case.checksums =
            case.document(DOCUMENTS[2], found.checksums.as_deref(), "checksums", documents::read_checksums);
        case.list(listing);
        case
    }

    /// The tag of the release, if the index could be read.
    pub fn tag(&self) -> Option<&str> {
        self.index.as_ref().map(|index| index.tag.as_str())
    }

    /// The files that are to be examined, the largest first.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Looks at one file: its size, its digest and, if these are the index's, what is in it.
    pub fn examine(&self, examiner: &mut Examiner, task: &Task, bytes: &[u8]) -> Exhibit {
        let mut asset = Asset {
            name: task.name.clone(),
            sha256: Digest::of(bytes),
            size_bytes: bytes.len() as u64,
            kind: task.kind.clone(),
        };
        // What was cut off is a part of a file, and its digest is nobody's.
        asset.size_bytes = asset.size_bytes.min(task.max_bytes.saturating_add(1));
        let inside = self.look_inside(examiner, &asset, bytes);
        Exhibit { cut_off: asset.size_bytes > task.max_bytes, asset, inside }
    }

    /// Compares everything with everything. `noted` is what was found wrong on the way to the files.
    pub fn judge(mut self, exhibits: Vec<Exhibit>, noted: Vec<Finding>) -> Verdict {
        let mut findings = std::mem::take(&mut self.findings);
        let mut seen: BTreeMap<FileName, Exhibit> =
            self.read.drain(..).chain(exhibits).map(|exhibit| (exhibit.asset.name.clone(), exhibit)).collect();
        for task in &self.tasks {
            let noted = noted.iter().any(|finding| finding.file == task.name.as_str());
            if !noted && !seen.contains_key(&task.name) {
                findings.push(judge::finding(Code::FileMissing, task.name.as_str(), "it was not examined"));
            }
        }
        findings.extend(noted);
        for Exhibit { asset, cut_off, .. } in seen.values() {
            if *cut_off && asset.kind == EVIDENCE {
                let message = format!("it is larger than {MAX_EVIDENCE_BYTES} bytes");
                findings.push(judge::finding(Code::FileTooLarge, asset.name.as_str(), &message));
            }
        }
        judge::compare(&self, &seen, &mut findings);
        // A document that cannot be read is the cause of much that comes after it.
        findings.sort_by_key(|finding| (finding.code != Code::DocumentInvalid, finding.clone()));
        findings.dedup();
        let whole = std::mem::take(&mut seen).into_values().filter(|exhibit| !exhibit.cut_off);
        let files: Vec<Asset> = whole.map(|exhibit| exhibit.asset).collect();
        let bundle = if findings.is_empty() { self.vouch(&files) } else { None };
        Verdict { files, findings, index: self.index, bundle }
    }

    fn vouch(&self, files: &[Asset]) -> Option<Verified<Bundle>> {
        let (Some(index), Some(_), Some(_)) = (&self.index, &self.provenance, &self.checksums) else { return None };
        let release = Release::parse(&index.tag).ok()?;
        let (evidence, assets) = files.iter().cloned().partition(|file| file.kind == EVIDENCE);
        Some(Verified::vouch(Bundle { release, index: index.clone(), assets, evidence }))
    }

    fn document<T>(
        &mut self,
        (name, max): (&str, usize),
        bytes: Option<&[u8]>,
        kind: &str,
        read: fn(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let bytes = bytes?;
        if bytes.len() > max {
            self.found(Code::FileTooLarge, name, &format!("it is larger than {max} bytes"));
            return None;
        }
        self.read.push(Exhibit {
            cut_off: false,
            asset: Asset {
                name: name.parse().ok()?,
                sha256: Digest::of(bytes),
                size_bytes: bytes.len() as u64,
                kind: kind.to_owned(),
            },
            inside: Inside::NotExamined,
        });
        read(bytes).map_err(|problem| self.found(Code::DocumentInvalid, name, &problem)).ok()
    }

    fn found(&mut self, code: Code, file: &str, message: &str) {
        self.findings.push(judge::finding(code, file, message));
    }

    /// Sorts every name into asset, evidence or neither, and notes what is missing.
    fn list(&mut self, listing: &[(String, bool)]) {
        let mut assets = self.listed();
        let most_evidence = MAX_EVIDENCE_FILES * (1 + assets.len());
        let mut evidence_files = 0;
        for (name, is_regular) in listing {
            let evidence = match evidence_of(name) {
                Some(Evidence::Of(asset)) => assets.contains_key(asset),
                Some(Evidence::OfAll) => true,
                None => false,
            };
            let known = assets.contains_key(name.as_str()) || evidence;
            if !is_regular {
                self.found(Code::FileIrregular, name, "it is not a regular file");
            } else if !known && self.has_a_list() {
                self.found(Code::FileUnlisted, name, "no document of the bundle lists it");
            } else if let (true, Ok(name)) = (evidence, name.parse()) {
                evidence_files += 1;
                if evidence_files <= most_evidence {
                    self.tasks.push(Task { name, max_bytes: MAX_EVIDENCE_BYTES, kind: EVIDENCE.to_owned() });
                } else if evidence_files == most_evidence + 1 {
                    let message = format!(
                        "there are more than {most_evidence} files of evidence, which is all that a bundle may have"
                    );
                    self.found(Code::FileUnlisted, name.as_str(), &message);
                }
            }
        }
        let there: BTreeMap<&str, bool> = listing.iter().map(|(name, regular)| (name.as_str(), *regular)).collect();
        // Without an index nobody can know what to fetch, so only the documents are missed.
        let has_to_be_there =
            |name: &str| self.index.is_some() || DOCUMENTS.iter().any(|(document, _)| *document == name);
        let missing: BTreeSet<FileName> = assets
            .keys()
            .filter(|name| has_to_be_there(name.as_str()) && !there.contains_key(name.as_str()))
            .cloned()
            .collect();
        for name in missing {
            self.found(Code::FileMissing, name.as_str(), "it is listed, or has to be there, and is not");
        }
        assets.retain(|name, task| task.is_some() && there.get(name.as_str()).is_some_and(|regular| *regular));
        self.tasks.extend(assets.into_values().flatten());
        self.tasks.sort_by_key(|task| std::cmp::Reverse(task.max_bytes));
    }

    /// Whether any document says which files belong here.
    fn has_a_list(&self) -> bool {
        self.index.is_some() || self.checksums.is_some()
    }

    /// Every asset, with what is to be done about it unless it is a document.
    fn listed(&self) -> BTreeMap<FileName, Option<Task>> {
        let mut assets: BTreeMap<FileName, Option<Task>> =
            DOCUMENTS.iter().filter_map(|(name, _)| Some((name.parse().ok()?, None))).collect();
        let Some(index) = &self.index else {
            // Without an index nothing can be examined, but the checksums still say what belongs here.
            assets.extend(self.checksums.iter().flat_map(|list| list.0.keys().cloned()).map(|name| (name, None)));
            return assets;
        };
        for package in &index.packages {
            let (name, max_bytes) = (package.archive.clone(), package.size_bytes);
            assets.insert(name.clone(), Some(Task { name, max_bytes, kind: "package".to_owned() }));
        }
        for file in &index.files {
            let (name, max_bytes, kind) = (file.name.clone(), file.size_bytes, text::shown(&file.kind).into_owned());
            assets.insert(name.clone(), Some(Task { name, max_bytes, kind }));
        }
        assets
    }

    fn look_inside(&self, examiner: &mut Examiner, asset: &Asset, bytes: &[u8]) -> Inside {
        let Some(index) = &self.index else { return Inside::NotExamined };
        let same = |size: u64, sha256: Digest| size == asset.size_bytes && sha256 == asset.sha256;
        if let Some(package) = index.packages.iter().find(|package| package.archive == asset.name) {
            return if same(package.size_bytes, package.sha256) {
                Inside::Archive(facts(examiner, index, package, bytes))
            } else {
                Inside::NotExamined
            };
        }
        let listed = index.files.iter().find(|file| file.name == asset.name);
        if !listed.is_some_and(|file| same(file.size_bytes, file.sha256)) {
            return Inside::NotExamined;
        }
        match asset.name.as_str() {
            sbom::SPDX_FILE_NAME => Inside::Sbom(sbom::spdx::described(bytes)),
            sbom::CYCLONEDX_FILE_NAME => Inside::Sbom(sbom::cyclonedx::described(bytes)),
            _ => Inside::NotExamined,
        }
    }
}

fn facts(examiner: &mut Examiner, index: &Index, package: &Package, bytes: &[u8]) -> Result<ArchiveFacts, Problem> {
    let stem = Index::stem(package);
    let contents = examiner.inspector.inspect(package.format, bytes, stem, package.unpacked_size_bytes)?;
    let metadata = contents.read(metadata::FILE_NAME).ok_or_else(|| "it has none".to_owned());
    let metadata = metadata.and_then(documents::read_metadata);
    let has_the_date = documents::created_at(index).is_some_and(|time| contents.date.is(time));
    let mut programs = contents.entries;
    programs.retain(|entry| entry.path.starts_with("bin/"));
    Ok(ArchiveFacts { metadata, has_the_date, programs })
}
