//! Verifying a bundle: open the case, examine every file once, judge.
//!
//! ```text
//! documents = Documents::gather(listing, read)         what has to be known before anything else
//! case      = Case::open(listing, documents, anchor)   what is there against what is listed; what is claimed
//! exhibit   = case.examine(examiner, task, bytes)      one per file, on any thread: digest, inside, signatures
//! verdict   = case.judge(exhibits, noted)              everything against everything
//! ```
//!
//! Every problem is collected, none stops the others, and a [`Verified`] bundle comes out only where
//! there is none.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::archive::{self, Inspector, Problem, programs};
use crate::model::checksums::{self, Checksums};
use crate::model::index::{self, Index, Package};
use crate::model::metadata::{self, PackageMetadata};
use crate::model::provenance::{self, Statement};
use crate::model::sbom::{self, Described};
use crate::model::{Code, Digest, FileName, Finding, Release, text};

use super::Verified;
use super::anchor::{Anchor, InCatalog, Listed};
use super::documents::{self, Evidence, evidence_of};
use super::evidence::{self, Facts, Heard, NotChecked, Testimony};
use super::judge;
use super::key::KeyId;

pub use super::judge::finding;

/// What evidence is called where the kinds of files are named.
const EVIDENCE: &str = "evidence";
/// The largest file of evidence that is looked at, in bytes.
pub const MAX_EVIDENCE_BYTES: usize = 4 << 20;
/// How much evidence is read altogether, in bytes.
const MAX_ALL_EVIDENCE_BYTES: usize = 64 << 20;

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
    /// Every file of evidence, sorted by name. [`Asset::signed_by`] says what has been checked of it.
    pub evidence: Vec<Asset>,
    /// The trusted keys that have signed every asset.
    pub signed_by: BTreeSet<KeyId>,
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
    /// The trusted keys whose signatures over it, or in it, have been verified.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub signed_by: BTreeSet<KeyId>,
}

/// The documents and the evidence of a bundle as they were found, each read to one byte more than it
/// may have.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// `index.json`.
    pub index: Option<Vec<u8>>,
    /// `provenance.json`.
    pub provenance: Option<Vec<u8>>,
    /// `checksums.txt`.
    pub checksums: Option<Vec<u8>>,
    /// Whatever has the name of evidence.
    pub evidence: BTreeMap<FileName, Vec<u8>>,
}

impl Documents {
    /// Reads what has to be known before anything else. `read` is asked for a name that is listed as
    /// a regular file and for how many bytes at most; it gives nothing where there is no such file.
    pub fn gather<E>(
        listing: &[(String, bool)],
        mut read: impl FnMut(&str, usize) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let regular = |wanted: &str| listing.iter().any(|(name, is_regular)| name == wanted && *is_regular);
        let mut document = |(name, max): (&str, usize)| if regular(name) { read(name, max + 1) } else { Ok(None) };
        let [index, provenance, checksums] = DOCUMENTS;
        let (index, provenance, checksums) = (document(index)?, document(provenance)?, document(checksums)?);
        let (mut evidence, mut left) = (BTreeMap::new(), MAX_ALL_EVIDENCE_BYTES);
        for (name, is_regular) in listing {
            let Ok(name) = name.parse::<FileName>() else { continue };
            if !is_regular || !documents::is_evidence(name.as_str()) || left == 0 {
                continue;
            }
            if let Some(bytes) = read(name.as_str(), MAX_EVIDENCE_BYTES.saturating_add(1))? {
                left = left.saturating_sub(bytes.len());
                evidence.insert(name, bytes);
            }
        }
        Ok(Self { index, provenance, checksums, evidence })
    }
}

/// The names of the documents, with the largest size of each in bytes.
pub const DOCUMENTS: [(&str, usize); 3] = [
    (index::FILE_NAME, index::MAX_BYTES),
    (provenance::FILE_NAME, provenance::MAX_BYTES),
    (checksums::FILE_NAME, documents::MAX_CHECKSUMS_BYTES),
];

/// A bundle under examination.
pub struct Case {
    pub(super) anchor: Anchor,
    pub(super) testimony: Testimony,
    pub(super) index: Option<Index>,
    pub(super) provenance: Option<Statement>,
    pub(super) checksums: Option<Checksums>,
    tasks: Vec<Task>,
    /// The documents themselves, and the evidence.
    read: Vec<Exhibit>,
    /// The names of the evidence that belongs here.
    evidence: Vec<FileName>,
    findings: Vec<Finding>,
}

/// A file that is to be read and examined.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name, which the index lists.
    pub name: FileName,
    /// How many bytes to read at most, and one more to see whether there are more.
    pub max_bytes: u64,
    kind: String,
}

/// What was seen of one file.
pub struct Exhibit {
    pub(super) asset: Asset,
    pub(super) inside: Inside,
    pub(super) heard: Heard,
    /// Whether only its beginning was read: then its digest is nobody's.
    cut_off: bool,
}

impl Exhibit {
    pub(super) fn is_asset(&self) -> bool {
        self.asset.kind != EVIDENCE
    }
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
    is_frugal: bool,
}

impl Examiner {
    /// One that unpacks archives piece by piece: it needs more time, and memory only for what is packed.
    pub fn frugal() -> Self {
        Self { is_frugal: true, ..Self::default() }
    }
}

/// The end of a case.
pub struct Verdict {
    /// Every file that was examined, sorted by name.
    pub files: Vec<Asset>,
    /// Every problem, the gravest first; empty exactly where there is a bundle.
    pub findings: Vec<Finding>,
    /// What the index calls the product, if the index could be read.
    pub index: Option<Index>,
    /// The evidence that proves nothing here, sorted by name.
    pub not_checked: Vec<NotChecked>,
    /// What the catalog says of the release, where a root is trusted.
    pub in_catalog: Option<InCatalog>,
    /// The bundle, if nothing is wrong with it.
    pub bundle: Option<Verified<Bundle>>,
}

impl Case {
    /// Reads the documents and the evidence, and compares the names in the directory (and whether each
    /// is a regular file) with what is listed.
    pub fn open(listing: &[(String, bool)], found: &Documents, anchor: &Anchor) -> Self {
        let mut case = Self {
            anchor: anchor.clone(),
            testimony: Testimony::default(),
            index: None,
            provenance: None,
            checksums: None,
            tasks: vec![],
            read: vec![],
            evidence: vec![],
            findings: vec![],
        };
        case.index = case.document(DOCUMENTS[0], found.index.as_deref(), "index", documents::read_index);
        case.provenance =
            case.document(DOCUMENTS[1], found.provenance.as_deref(), "provenance", documents::read_provenance);
        case.checksums =
            case.document(DOCUMENTS[2], found.checksums.as_deref(), "checksums", documents::read_checksums);
        let assets = case.list(listing);
        case.lost(listing, found);
        case.admit(found);
        case.weigh(found, &assets);
        case
    }

    /// The tag of the release, if the index could be read.
    pub fn tag(&self) -> Option<&str> {
        self.index.as_ref().map(|index| index.tag.as_str())
    }

    fn release(&self) -> Option<Release> {
        Release::parse(self.tag()?).ok()
    }

    /// What the catalog says of the release that the index names, if it lists it.
    pub(super) fn in_catalog(&self) -> Option<&Listed> {
        self.anchor.listed(&self.release()?)
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
            signed_by: BTreeSet::new(),
        };
        // What was cut off is a part of a file, and its digest is nobody's.
        asset.size_bytes = asset.size_bytes.min(task.max_bytes.saturating_add(1));
        let cut_off = asset.size_bytes > task.max_bytes;
        let inside = self.look_inside(examiner, &asset, bytes);
        let heard = if cut_off { Heard::default() } else { self.testimony.hear(&asset.name, bytes) };
        Exhibit { asset, inside, heard, cut_off }
    }

    /// Compares everything with everything. `noted` is what was found wrong on the way to the files.
    pub fn judge(mut self, exhibits: Vec<Exhibit>, noted: Vec<Finding>) -> Verdict {
        let mut findings = std::mem::take(&mut self.findings);
        let seen: BTreeMap<FileName, Exhibit> =
            self.read.drain(..).chain(exhibits).map(|exhibit| (exhibit.asset.name.clone(), exhibit)).collect();
        for task in &self.tasks {
            let noted = noted.iter().any(|finding| finding.file == task.name.as_str());
            if !noted && !seen.contains_key(&task.name) {
                findings.push(judge::finding(Code::FileMissing, task.name.as_str(), "it was not examined"));
            }
        }
        findings.extend(noted);
        for exhibit in seen.values().filter(|exhibit| exhibit.cut_off && !exhibit.is_asset()) {
            let message = format!("it is larger than {MAX_EVIDENCE_BYTES} bytes");
            findings.push(judge::finding(Code::FileTooLarge, exhibit.asset.name.as_str(), &message));
        }
        judge::compare(&self, &seen, &mut findings);
        // A document that cannot be read is the cause of much that comes after it.
        findings.sort_by_key(|finding| (finding.code != Code::DocumentInvalid, finding.clone()));
        findings.dedup();
        let covered = seen
            .values()
            .filter(|it| it.is_asset())
            .all(|it| evidence::is_covered(&self.anchor, self.in_catalog(), it));
        let files = self.report(seen);
        let bundle = if findings.is_empty() && covered { self.vouch(&files) } else { None };
        if bundle.is_none() && findings.is_empty() {
            // Whoever only looks at the findings must not take what was not accepted for good.
            findings.push(judge::finding(Code::DocumentInvalid, index::FILE_NAME, "the bundle was not verified"));
        }
        let mut not_checked = std::mem::take(&mut self.testimony.not_checked);
        not_checked.sort();
        let in_catalog = self.anchor.says_of(self.release().as_ref());
        Verdict { files, findings, index: self.index, not_checked, in_catalog, bundle }
    }

    /// Every file that was seen whole, with the keys whose signatures hold.
    fn report(&self, seen: BTreeMap<FileName, Exhibit>) -> Vec<Asset> {
        let mut files: BTreeMap<FileName, Asset> = BTreeMap::new();
        let mut vouched = self.testimony.vouched.clone();
        for (name, exhibit) in seen {
            vouched.extend(exhibit.heard.vouched);
            vouched.extend(exhibit.heard.signers.iter().map(|key| (name.clone(), key.id())));
            if !exhibit.cut_off {
                files.insert(name, exhibit.asset);
            }
        }
        for (file, key) in vouched {
            files.entry(file).and_modify(|asset| _ = asset.signed_by.insert(key));
        }
        files.into_values().collect()
    }

    fn vouch(&self, files: &[Asset]) -> Option<Verified<Bundle>> {
        let (Some(index), Some(_), Some(_)) = (&self.index, &self.provenance, &self.checksums) else { return None };
        let release = self.release()?;
        let (evidence, assets): (Vec<_>, Vec<Asset>) = files.iter().cloned().partition(|file| file.kind == EVIDENCE);
        let mut signed_by = assets.first().map(|asset| asset.signed_by.clone()).unwrap_or_default();
        signed_by.retain(|key| assets.iter().all(|asset| asset.signed_by.contains(key)));
        Some(Verified::vouch(Bundle { release, index: index.clone(), assets, evidence, signed_by }))
    }

    /// Takes in every file of evidence that belongs here.
    fn admit(&mut self, found: &Documents) {
        for name in std::mem::take(&mut self.evidence) {
            let Some(bytes) = found.evidence.get(&name) else {
                self.found(
                    Code::FileTooLarge,
                    name.as_str(),
                    "it was not read: there is more evidence than is looked at",
                );
                continue;
            };
            let exhibit = Exhibit {
                cut_off: bytes.len() > MAX_EVIDENCE_BYTES,
                asset: seen_whole(name.clone(), bytes, EVIDENCE),
                inside: Inside::NotExamined,
                heard: Heard::default(),
            };
            if !exhibit.cut_off {
                self.evidence.push(name);
            }
            self.read.push(exhibit);
        }
    }

    /// Weighs the evidence, and hears what it says about the documents.
    fn weigh(&mut self, found: &Documents, assets: &BTreeSet<FileName>) {
        let facts = Facts {
            version: self.index.as_ref().map(|index| &index.version),
            provenance: found.provenance.as_deref(),
            assets,
            files: self.evidence.iter().filter_map(|name| Some((name, found.evidence.get(name)?.as_slice()))).collect(),
        };
        self.testimony = Testimony::weigh(&self.anchor, &facts);
        for ((name, _), bytes) in DOCUMENTS.iter().zip([&found.index, &found.provenance, &found.checksums]) {
            let exhibit = self.read.iter_mut().find(|exhibit| exhibit.asset.name.as_str() == *name);
            if let (Some(exhibit), Some(bytes)) = (exhibit, bytes) {
                exhibit.heard = self.testimony.hear(&exhibit.asset.name, bytes);
            }
        }
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
            asset: seen_whole(name.parse().ok()?, bytes, kind),
            inside: Inside::NotExamined,
            heard: Heard::default(),
        });
        read(bytes).map_err(|problem| self.found(Code::DocumentInvalid, name, &problem)).ok()
    }

    fn found(&mut self, code: Code, file: &str, message: &str) {
        self.findings.push(judge::finding(code, file, message));
    }

    /// Sorts every name into asset, evidence or neither, and notes what is missing. Gives back the
    /// names of all assets.
    fn list(&mut self, listing: &[(String, bool)]) -> BTreeSet<FileName> {
        let mut assets = self.listed();
        let names = assets.keys().cloned().collect();
        let most_evidence = MAX_EVIDENCE_FILES * (1 + assets.len());
        let mut evidence_files = 0;
        for (name, is_regular) in listing {
            let evidence = match evidence_of(name) {
                Some(Evidence::Of { asset, .. }) => assets.contains_key(asset),
                Some(Evidence::Signatures | Evidence::Provenance) => true,
                None => false,
            };
            let known = assets.contains_key(name.as_str()) || evidence;
            if !is_regular {
                self.found(Code::FileIrregular, name, "it is not a regular file");
            } else if !known && self.has_a_list() {
                self.found(Code::FileUnlisted, name, "no document of the bundle lists it");
            } else if let (true, Ok(name)) = (evidence, name.parse::<FileName>()) {
                evidence_files += 1;
                if evidence_files <= most_evidence {
                    self.evidence.push(name);
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
        names
    }

    /// Notes every document that was there when the directory was listed and could not be opened as a file.
    fn lost(&mut self, listing: &[(String, bool)], found: &Documents) {
        for ((document, _), bytes) in DOCUMENTS.iter().zip([&found.index, &found.provenance, &found.checksums]) {
            if bytes.is_none() && listing.iter().any(|(name, is_regular)| name == document && *is_regular) {
                self.found(Code::FileIrregular, document, "it was exchanged while it was opened");
            }
        }
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

fn seen_whole(name: FileName, bytes: &[u8], kind: &str) -> Asset {
    let (sha256, size_bytes) = (Digest::of(bytes), bytes.len() as u64);
    Asset { name, sha256, size_bytes, kind: kind.to_owned(), signed_by: BTreeSet::new() }
}

fn facts(examiner: &mut Examiner, index: &Index, package: &Package, bytes: &[u8]) -> Result<ArchiveFacts, Problem> {
    let (stem, size) = (Index::stem(package), package.unpacked_size_bytes);
    let none = || "it has none".to_owned();
    let (metadata, date, mut programs) = if examiner.is_frugal {
        let max = documents::MAX_METADATA_BYTES;
        let seen = archive::glance(package.format, bytes, stem, size, metadata::FILE_NAME, max)?;
        let metadata = seen.content.ok_or_else(none).and_then(|bytes| documents::read_metadata(&bytes));
        (metadata, seen.date, seen.entries)
    } else {
        let contents = examiner.inspector.inspect(package.format, bytes, stem, size)?;
        let metadata = contents.read(metadata::FILE_NAME).ok_or_else(none).and_then(documents::read_metadata);
        (metadata, contents.date, contents.entries)
    };
    let has_the_date = documents::created_at(index).is_some_and(|time| date.is(time));
    programs.retain(|entry| entry.path.starts_with(programs::DIRECTORY));
    Ok(ArchiveFacts { metadata, has_the_date, programs })
}

impl Anchor {
    /// What the catalog says of a release, in a word; nothing where no root is trusted.
    pub(super) fn says_of(&self, release: Option<&Release>) -> Option<InCatalog> {
        let Self::Role { releases, .. } = self else { return None };
        let listed = release.and_then(|release| self.listed(release));
        Some(match (releases, listed.map(|listed| &listed.withdrawn)) {
            (None, _) => InCatalog::NotRead,
            (Some(_), None) => InCatalog::NotListed,
            (Some(_), Some(None)) => InCatalog::Listed,
            (Some(_), Some(Some(reason))) => InCatalog::Withdrawn { reason: reason.clone() },
        })
    }

    /// What the catalog says of a release; `None` where there is none or where it does not list it.
    fn listed(&self, release: &Release) -> Option<&Listed> {
        match self {
            Self::Role { releases, .. } => releases.as_ref()?.get(release.directory().ok()?.as_str()),
            Self::Unchecked | Self::Keys(_) => None,
        }
    }
}
