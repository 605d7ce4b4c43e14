//! Reading a bundle's own documents, strictly.
//!
//! Each is bounded, read into derived structs, written again and compared: whatever Consign would
//! not have written byte for byte (another order, a doubled key, a space, an escape) is refused.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::archive;
use crate::model::checksums::Checksums;
use crate::model::index::{self, Index, ListedFile, Package};
use crate::model::metadata::PackageMetadata;
use crate::model::provenance::{self, InstallerParameters, ResolvedDependency, Statement};
use crate::model::{FileName, Release, address, checksums, installer, interop, pretty, text};

use super::signatures;

/// The largest checksum list that is read, in bytes.
pub const MAX_CHECKSUMS_BYTES: usize = 4 << 20;
/// The largest `metadata.json` that is read from an archive, in bytes.
pub const MAX_METADATA_BYTES: usize = 64 << 10;
/// The largest file of the index that is not a package, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// The most files, programs of one package, dependencies or features that a document may list.
const MAX_ROWS: usize = 4096;
/// How much of a parser's complaint is repeated, in characters.
const MAX_COMPLAINT: usize = 240;

/// Reads `index.json` and checks what it says by itself.
pub fn read_index(bytes: &[u8]) -> Result<Index, String> {
    let index = strict(bytes, index::MAX_BYTES, Index::render)?;
    match index_problem(&index) {
        Some(problem) => Err(problem),
        None => Ok(index),
    }
}

/// Reads `provenance.json` and checks what it says by itself.
pub fn read_provenance(bytes: &[u8]) -> Result<Statement, String> {
    let statement = strict(bytes, provenance::MAX_BYTES, Statement::render)?;
    match provenance_problem(&statement) {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(statement),
    }
}

/// Reads `checksums.txt`.
pub fn read_checksums(bytes: &[u8]) -> Result<Checksums, String> {
    let list = Checksums::parse(bytes).map_err(|problem| problem.to_string())?;
    if list.0.len() > MAX_ROWS {
        return Err("it lists more files than a bundle may have".to_owned());
    }
    if list.render() == bytes { Ok(list) } else { Err(OTHER_FORM.to_owned()) }
}

/// Reads the `metadata.json` of an archive.
pub fn read_metadata(bytes: &[u8]) -> Result<PackageMetadata, String> {
    let metadata: PackageMetadata = strict(bytes, MAX_METADATA_BYTES, pretty)?;
    if metadata.kind == PackageMetadata::TYPE { Ok(metadata) } else { Err("its type is another one".to_owned()) }
}

pub(super) const OTHER_FORM: &str = "it is not written in the one form that Consign writes";

pub(super) fn strict<T: DeserializeOwned>(
    bytes: &[u8],
    max: usize,
    render: impl Fn(&T) -> Vec<u8>,
) -> Result<T, String> {
    if bytes.len() > max {
        return Err(format!("it is larger than {max} bytes"));
    }
    let value: T = serde_json::from_slice(bytes).map_err(|error| {
        let complaint: String = error.to_string().chars().take(MAX_COMPLAINT).collect();
        text::shown(&complaint).into_owned()
    })?;
    if render(&value) == bytes { Ok(value) } else { Err(OTHER_FORM.to_owned()) }
}

fn index_problem(index: &Index) -> Option<String> {
    let release = Release::parse(&index.tag).ok().filter(|release| release.tag == index.tag);
    let problem = match release {
        _ if index.kind != index::TYPE => "its type is another one",
        None => "its tag is not a release tag",
        Some(release) if release.version != index.version => "its tag names another version",
        Some(release) if release.channel() != index.channel => "its channel is not the version's",
        _ if created_at(index).is_none() => "its time is not an RFC 3339 time in UTC",
        _ if !source_is_plain(index) => {
            "its source is not a plain address of a repository, a commit id and the ref of the release's tag"
        }
        _ if index.packages.is_empty() => "it lists no package",
        _ if !sorted(index.packages.iter().map(|package| package.platform)) => {
            "its packages are not sorted by platform"
        }
        _ if !sorted(index.files.iter().map(|file| &file.name)) => "its files are not sorted by name",
        _ if index.files.iter().any(|file| file.size_bytes > MAX_FILE_BYTES) => "a file is larger than it may be",
        _ => return name_problem(index).or_else(|| index.packages.iter().find_map(package_problem)),
    };
    Some(problem.to_owned())
}

/// The time of the release; the index is refused where it has none.
pub(super) fn created_at(index: &Index) -> Option<Timestamp> {
    index.created_at.parse::<Timestamp>().ok().filter(|time| time.to_string() == index.created_at)
}

fn source_is_plain(index: &Index) -> bool {
    let source = &index.source;
    source.commit.as_deref().is_none_or(is_commit)
        && source.repository.as_deref().is_none_or(|given| address::recorded(given).as_deref() == Some(given))
        && source.reference.as_deref().is_none_or(|name| name.strip_prefix("refs/tags/") == Some(&*index.tag))
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// No two names may be one on any file system, and none may be a document's or evidence's.
fn name_problem(index: &Index) -> Option<String> {
    let archives = index.packages.iter().map(|package| &package.archive);
    let names: Vec<&FileName> = archives.chain(index.files.iter().map(|file| &file.name)).collect();
    let mut seen: BTreeSet<String> =
        [index::FILE_NAME, provenance::FILE_NAME, checksums::FILE_NAME].map(str::to_owned).into();
    for name in names {
        let lower = name.as_str().to_ascii_lowercase();
        if is_reserved(&lower) {
            return Some(format!("it lists `{name}`, which no file of a bundle may be called"));
        }
        if evidence_of(name.as_str()).is_some() || !seen.insert(lower) {
            return Some(format!("it lists `{name}`, which is the name of something else as well"));
        }
    }
    for (file, kind) in FILES {
        if !index.files.iter().any(|listed| listed.name.as_str() == file && listed.kind == kind) {
            return Some(format!("it does not list `{file}` as {kind}"));
        }
    }
    let others = interop::documents(index.name.as_str());
    let others = others.iter().map(|(name, kind)| (name.as_str(), *kind));
    let known: Vec<_> = FILES.into_iter().chain(MAY_BE_THERE).chain(others).collect();
    let is_known = |listed: &ListedFile| known.contains(&(listed.name.as_str(), listed.kind.as_str()));
    let strange = index.files.iter().find(|listed| !is_known(listed))?;
    Some(format!("it lists `{}`, which is of no kind that a bundle holds", strange.name))
}

/// Every file that a bundle has to hold besides packages and documents, with its kind.
const FILES: [(&str, &str); 2] = [(index::SPDX_FILE_NAME, "sbom-spdx"), (index::CYCLONEDX_FILE_NAME, "sbom-cyclonedx")];
/// Every file that it may hold besides, with its kind.
const MAY_BE_THERE: [(&str, &str); 2] = [installer::SH, installer::PS1];

/// Whether a name, in lower case, is that of a report or of one of Windows' devices: nothing under it
/// arrives everywhere as what it is.
fn is_reserved(name: &str) -> bool {
    const REPORTS: [&str; 10] = [
        "verify.json",
        "remote-verify.json",
        "remote-verify.md",
        "release-summary.json",
        "release-summary.md",
        "release-assets.txt",
        "release-url.txt",
        "release-notes.md",
        "release-pipeline.json",
        "publish.json",
    ];
    let stem = name.split('.').next().unwrap_or(name);
    let is_numbered = ["com", "lpt"]
        .iter()
        .any(|port| stem.strip_prefix(port).is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'9'])));
    let is_device = is_numbered || matches!(stem, "con" | "prn" | "aux" | "nul");
    is_device || name.ends_with('.') || REPORTS.contains(&name)
}

fn package_problem(package: &Package) -> Option<String> {
    let name = &package.archive;
    let stem = Index::stem(package);
    let problem = if stem == name.as_str() || stem.parse::<FileName>().is_err() {
        "does not end in its format's extension"
    } else if package.size_bytes > archive::MAX_BYTES || package.unpacked_size_bytes > archive::MAX_BYTES {
        "is larger than an archive may be"
    } else if package.binaries.is_empty() || package.binaries.len() > MAX_ROWS {
        "has no program in it, or too many"
    } else if !sorted(package.binaries.iter().map(|binary| &binary.path)) {
        "has programs that are not sorted by path"
    } else if !package.binaries.iter().all(|binary| binary.path.starts_with("bin/")) {
        "has a program outside of `bin/`"
    } else {
        return None;
    };
    Some(format!("its package `{name}` {problem}"))
}

fn provenance_problem(statement: &Statement) -> Option<&'static str> {
    let build = &statement.predicate.build_definition;
    let asked = &build.external_parameters;
    let problem = if statement.kind != provenance::STATEMENT_TYPE {
        "its type is not that of an in-toto statement"
    } else if statement.predicate_type != provenance::PREDICATE_TYPE {
        "its predicate is not SLSA provenance"
    } else if build.build_type != provenance::BUILD_TYPE {
        "its build type is not Consign's"
    } else if !matches!(asked.mode.as_str(), "validate" | "release") {
        "its mode is neither validate nor release"
    } else if statement.predicate.run_details.builder.id != format!("{}-{}", provenance::BUILDER_ID, asked.mode) {
        "its builder is not that of its mode"
    } else if asked.mode == "release" && build.internal_parameters.dirty {
        "it tells of a release from a tree with changes, which is never made"
    } else if !sorted(statement.subject.iter().map(|subject| &subject.name)) {
        "its subjects are not sorted by name"
    } else if !sorted(asked.platforms.iter().map(|platform| platform.platform)) {
        "its platforms are not sorted"
    } else if asked.packages.is_empty() || !asked.packages.iter().all(|name| is_package(name)) {
        "its packages are not names of packages"
    } else if !is_below(&asked.workspace) {
        "its workspace is not a path below the repository's root"
    } else if asked.installer.as_ref().is_some_and(|given| !installer_is_plain(given, asked.name.as_str())) {
        "its installer is not made from an address and a file below the workspace"
    } else if !dependencies_are_plain(&build.resolved_dependencies) {
        "its dependencies do not have each a name of its own and digests"
    } else if [statement.subject.len(), build.resolved_dependencies.len(), asked.packages.len()]
        .into_iter()
        .any(|count| count > MAX_ROWS)
    {
        "it lists more than a document may"
    } else {
        return None;
    };
    Some(problem)
}

/// Whether cargo takes the text as a package's name.
fn is_package(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

/// Whether a path, which may be empty, cannot lead out of the directory that it starts in.
fn is_below(path: &str) -> bool {
    let is_drive = matches!(path.as_bytes(), [b'A'..=b'Z' | b'a'..=b'z', b':', ..]);
    let is_plain = path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "."));
    is_plain && !is_drive && !path.starts_with('\\') && path.split(['/', '\\']).all(|part| part != "..")
}

fn installer_is_plain(given: &InstallerParameters, product: &str) -> bool {
    let others = interop::documents(product).map(|(name, _)| name);
    let is_known =
        |name: &String| others.contains(name) || [installer::SH, installer::PS1].iter().any(|(known, _)| known == name);
    !given.files.is_empty()
        && sorted(given.files.iter())
        && given.files.iter().all(is_known)
        && given.base_url.as_deref().is_none_or(installer::is_base_url)
        && given.root.as_deref().is_none_or(|path| !path.is_empty() && is_below(path))
}

fn dependencies_are_plain(dependencies: &[ResolvedDependency]) -> bool {
    let mut names = BTreeSet::new();
    dependencies.iter().all(|dependency| {
        let is_source = dependency.name == ResolvedDependency::SOURCE;
        let is_digest = |(kind, value): (&String, &String)| match kind.as_str() {
            "gitCommit" => is_source && is_commit(value),
            "sha256" => !is_source && value.len() == 64 && is_commit(value),
            _ => false,
        };
        names.insert(&dependency.name) && dependency.digest.iter().all(is_digest)
    })
}

/// Whether every item is greater than the one before.
fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    items.is_sorted_by(|before, after| before < after)
}

/// The name of the signed provenance.
pub(super) const PROVENANCE_ENVELOPE: &str = "provenance.intoto.jsonl";
/// How the name of a Sigstore bundle ends.
pub(super) const SIGSTORE_ENDING: &str = ".sigstore.json";
/// How the name of a signature in minisign's form ends.
pub(super) const MINISIGN_ENDING: &str = ".minisig";

/// What a name of evidence says: what it is made over, and in which container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence<'a> {
    /// Of one asset.
    Of {
        /// Its name.
        asset: &'a str,
        /// How the name of the key begins, where it is that of a further key.
        key: Option<&'a str>,
        /// What is in the file.
        container: Container,
    },
    /// The list of all signatures.
    Signatures,
    /// The signed provenance.
    Provenance,
}

/// What one signature is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// Nothing: the file is the signature.
    Raw,
    /// A Sigstore bundle.
    Sigstore,
    /// minisign's form.
    Minisign,
}

/// Whether a name is that of evidence, which is made over assets and listed in no document.
pub fn is_evidence(name: &str) -> bool {
    evidence_of(name).is_some()
}

pub(super) fn evidence_of(name: &str) -> Option<Evidence<'_>> {
    match name {
        signatures::FILE_NAME => return Some(Evidence::Signatures),
        PROVENANCE_ENVELOPE => return Some(Evidence::Provenance),
        _ => {}
    }
    let endings = [
        (SIGSTORE_ENDING, Container::Sigstore),
        (MINISIGN_ENDING, Container::Minisign),
        (signatures::ENDING, Container::Raw),
    ];
    let (stem, container) =
        endings.iter().find_map(|(ending, container)| Some((name.strip_suffix(ending)?, *container)))?;
    // A further key's signature has eight digits of the key's id before its ending.
    let is_key = |id: &str| id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (asset, key) = match stem.rsplit_once('.') {
        Some((asset, id)) if is_key(id) => (asset, Some(id)),
        _ => (stem, None),
    };
    Some(Evidence::Of { asset, key, container })
}
