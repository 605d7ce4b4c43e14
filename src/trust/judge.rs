//! Comparing the documents, the files and what is in the archives with each other.
//!
//! Each document is compared with the index, and each file with the index, so that one wrong byte
//! gives one finding and not five; what the index cannot pin (itself, and the provenance) is
//! compared with the document that does.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::programs;
use crate::model::checksums::{self, Checksums};
use crate::model::index::{self, Index, Package, PackagedBinary};
use crate::model::metadata::Compiler;
use crate::model::provenance::{self, ResolvedDependency, Statement};
use crate::model::sbom::{self, Described};
use crate::model::{Code, Digest, FileName, Finding, metadata, text};

use super::bundle::{ArchiveFacts, Case, Exhibit, Inside};
use super::documents;

type Seen = BTreeMap<FileName, Exhibit>;

/// Compares everything with everything.
pub(super) fn compare(case: &Case, seen: &Seen, findings: &mut Vec<Finding>) {
    let mut court = Court { seen, findings };
    if let Some(index) = &case.index {
        court.files(index);
        for package in &index.packages {
            court.archive(index, package);
        }
        court.sboms(index);
        if let Some(statement) = &case.provenance {
            court.provenance(index, statement);
        }
    }
    if let Some(list) = &case.checksums {
        court.checksums(case.index.as_ref(), list);
    }
    for exhibit in seen.values() {
        findings.extend(exhibit.heard.findings.iter().cloned());
    }
    findings.extend(case.testimony.findings.iter().cloned());
    case.testimony.cover(&case.anchor, case.in_catalog(), seen.values().filter(|exhibit| exhibit.is_asset()), findings);
}

/// A finding with the hint that belongs to its code; whatever came from outside is escaped.
pub fn finding(code: Code, file: &str, message: &str) -> Finding {
    let hint = match code {
        Code::FileUnlisted => "remove it; reports and notes belong into another directory",
        Code::FileIrregular => "replace it by the file itself; links and other entries are never followed",
        Code::DocumentInvalid => "a document of a bundle is never edited; make the bundle again with `consign package`",
        Code::Unsigned => "fetch its signatures too, or sign the bundle with `consign sign`",
        Code::KeyUntrusted => {
            "name the key that the releases are signed with, as its owner publishes it and not from the bundle"
        }
        Code::SignatureInvalid => "do not use the bundle; fetch it again from where it was published",
        _ => "fetch the bundle again from where it was published, or make it again with `consign package`",
    };
    Finding::new(code, text::shown(file), text::shown(message), hint)
}

struct Court<'a> {
    seen: &'a Seen,
    findings: &'a mut Vec<Finding>,
}

impl Court<'_> {
    fn found(&mut self, code: Code, file: impl AsRef<str>, message: impl AsRef<str>) {
        self.findings.push(finding(code, file.as_ref(), message.as_ref()));
    }

    /// Notes that two statements differ.
    fn agree<T: PartialEq>(&mut self, file: &str, what: &str, said: &T, expected: &T) {
        if said != expected {
            self.found(Code::DocumentsDisagree, file, format!("its {what} is not the index's"));
        }
    }

    /// The size and digest of every file against the index.
    fn files(&mut self, index: &Index) {
        let packages = index.packages.iter().map(|package| (&package.archive, package.size_bytes, package.sha256));
        let files = index.files.iter().map(|file| (&file.name, file.size_bytes, file.sha256));
        for (name, size, digest) in packages.chain(files) {
            let Some(asset) = self.seen.get(name).map(|exhibit| &exhibit.asset) else { continue };
            if asset.size_bytes != size {
                let has = if asset.size_bytes > size { "more".to_owned() } else { asset.size_bytes.to_string() };
                self.found(Code::SizeMismatch, name, format!("it has {has} bytes and should have {size}"));
            } else if asset.sha256 != digest {
                let message = format!("its digest is {} and should be {digest}", asset.sha256);
                self.found(Code::DigestMismatch, name, message);
            }
        }
    }

    /// What is in an archive against the index.
    fn archive(&mut self, index: &Index, package: &Package) {
        let name = package.archive.as_str();
        match self.seen.get(&package.archive).map(|exhibit| &exhibit.inside) {
            Some(Inside::Archive(Ok(facts))) => {
                self.metadata(index, package, facts);
                self.programs(package, facts);
                if !facts.has_the_date {
                    self.found(Code::ArchiveMismatch, name, "its entries carry another time than the index");
                }
            }
            Some(Inside::Archive(Err(problem))) => self.found(Code::ArchiveInvalid, name, problem.to_string()),
            // Its size or digest is wrong, or it is missing; that has been found already.
            _ => {}
        }
    }

    fn metadata(&mut self, index: &Index, package: &Package, facts: &ArchiveFacts) {
        let name = package.archive.as_str();
        let metadata = match &facts.metadata {
            Ok(metadata) => metadata,
            Err(problem) => {
                let message = format!("its `{}` is refused: {problem}", metadata::FILE_NAME);
                return self.found(Code::ArchiveInvalid, name, message);
            }
        };
        self.agree(name, "product in `metadata.json`", &metadata.name, &index.name);
        self.agree(name, "version in `metadata.json`", &metadata.version, &index.version);
        self.agree(name, "platform in `metadata.json`", &metadata.platform, &package.platform);
        self.agree(name, "target in `metadata.json`", &metadata.target, &package.target);
        self.agree(name, "commit in `metadata.json`", &metadata.commit, &index.source.commit);
    }

    fn programs(&mut self, package: &Package, facts: &ArchiveFacts) {
        let name = package.archive.as_str();
        for difference in programs::differences(&facts.programs, &package.binaries) {
            self.found(Code::ArchiveMismatch, name, difference);
        }
    }

    fn sboms(&mut self, index: &Index) {
        let archives: BTreeMap<FileName, Digest> =
            index.packages.iter().map(|package| (package.archive.clone(), package.sha256)).collect();
        let programs: BTreeMap<_, _> = index
            .packages
            .iter()
            .flat_map(|package| {
                let row = |binary: &PackagedBinary| ((package.archive.clone(), binary.path.clone()), binary.sha256);
                package.binaries.iter().map(row)
            })
            .collect();
        let mut crates = None;
        for exhibit in self.seen.values() {
            let name = exhibit.asset.name.as_str();
            match &exhibit.inside {
                Inside::Sbom(Ok(described)) => {
                    self.sbom(index, name, described, &archives);
                    if described.programs != programs {
                        self.found(Code::SbomMismatch, name, "its programs are not those that the index lists");
                    }
                    if crates.replace(&described.crates).is_some_and(|other| *other != described.crates) {
                        self.found(Code::SbomMismatch, name, "its crates are not those of the other SBOM");
                    }
                }
                Inside::Sbom(Err(problem)) => self.found(Code::DocumentInvalid, name, problem),
                _ => {}
            }
        }
    }

    fn sbom(&mut self, index: &Index, name: &str, described: &Described, archives: &BTreeMap<FileName, Digest>) {
        if described.name != index.name {
            self.found(Code::SbomMismatch, name, "it describes another product");
        }
        if described.version != index.version {
            self.found(Code::SbomMismatch, name, "it describes another version");
        }
        if documents::created_at(index).is_none_or(|time| sbom::seconds(time) != described.created) {
            self.found(Code::SbomMismatch, name, "it is dated with another time than the index");
        }
        self.same_digests(Code::SbomMismatch, name, &described.archives, archives);
    }

    fn provenance(&mut self, index: &Index, statement: &Statement) {
        let name = provenance::FILE_NAME;
        let mut expected = pinned(index);
        if let Some((file, digest)) = self.digest_of(index::FILE_NAME) {
            expected.insert(file, digest);
        }
        let subjects = statement.subject.iter().map(|subject| (subject.name.clone(), subject.digest.sha256)).collect();
        self.same_digests(Code::SubjectMismatch, name, &subjects, &expected);

        let build = &statement.predicate.build_definition;
        let asked = &build.external_parameters;
        self.agree(name, "product", &asked.name, &index.name);
        self.agree(name, "version", &asked.version, &index.version);
        self.agree(name, "tag", &asked.tag, &index.tag);
        self.agree(name, "mark of a tree with changes", &build.internal_parameters.dirty, &index.source.dirty);
        let time = documents::created_at(index).map(jiff::Timestamp::as_second);
        self.agree(name, "time", &Some(build.internal_parameters.source_date_epoch), &time);
        let commit = index.source.commit.as_deref();
        let source = build.resolved_dependencies.iter().find(|row| row.name == ResolvedDependency::SOURCE);
        let expected = commit.map(|commit| ResolvedDependency::source(index.source.repository.as_deref(), commit));
        self.agree(name, "repository and commit", &source, &expected.as_ref());
        let run = &statement.predicate.run_details.metadata.invocation_id;
        if *run != asked.invocation_id(commit) {
            self.found(Code::DocumentsDisagree, name, "its invocation id is not that of its parameters and the commit");
        }
        let built = asked.platforms.iter().map(|row| (row.platform, without_glibc(&row.target), row.format)).collect();
        let listed: Vec<_> = index.packages.iter().map(|row| (row.platform, row.target.as_str(), row.format)).collect();
        self.agree(name, "list of platforms, targets and formats", &built, &listed);
        let binaries: BTreeSet<&str> = asked.binaries.iter().map(String::as_str).collect();
        if binaries.len() != asked.binaries.len()
            || !index.packages.iter().all(|package| program_names(package) == binaries)
        {
            self.found(Code::DocumentsDisagree, name, "its programs are not those of every package of the index");
        }
        self.compilers(index, &build.internal_parameters.compilers);
    }

    /// The compilers against those that the archives name.
    fn compilers(&mut self, index: &Index, compilers: &BTreeMap<String, Compiler>) {
        let name = provenance::FILE_NAME;
        let platforms: BTreeSet<&str> = index.packages.iter().map(|package| package.platform.name()).collect();
        if !compilers.keys().all(|platform| platforms.contains(platform.as_str())) {
            self.found(
                Code::DocumentsDisagree,
                name,
                "it names the compiler of a platform that the index does not list",
            );
        }
        for package in &index.packages {
            let Some(Inside::Archive(Ok(facts))) = self.seen.get(&package.archive).map(|exhibit| &exhibit.inside)
            else {
                continue;
            };
            let Ok(metadata) = &facts.metadata else { continue };
            let said = compilers.get(package.platform.name()).map(|compiler| &compiler.version);
            if said != metadata.compiler.as_ref() {
                let message = format!("its compiler for {} is not the one in `{}`", package.platform, package.archive);
                self.found(Code::DocumentsDisagree, name, message);
            }
        }
    }

    /// The list against every other asset; without an index, against what there is.
    fn checksums(&mut self, index: Option<&Index>, list: &Checksums) {
        let name = checksums::FILE_NAME;
        let mut listed = list.0.clone();
        for document in [index::FILE_NAME, provenance::FILE_NAME] {
            let said = listed.remove(document);
            match (said, self.digest_of(document)) {
                (Some(said), Some((_, digest))) if said != digest => {
                    let message = format!("its digest is {digest} and should be {said}");
                    self.found(Code::DigestMismatch, document, message);
                }
                (None, _) => self.found(Code::FileUnlisted, document, format!("`{name}` does not list it")),
                _ => {}
            }
        }
        match index {
            Some(index) => self.same_digests(Code::DocumentsDisagree, name, &listed, &pinned(index)),
            None => {
                for (file, digest) in &listed {
                    if self.seen.get(file).is_some_and(|exhibit| exhibit.asset.sha256 != *digest) {
                        self.found(Code::DigestMismatch, file, format!("its digest is not the one in `{name}`"));
                    }
                }
            }
        }
    }

    /// Notes every name that only one side has, and every digest that differs.
    fn same_digests(
        &mut self,
        code: Code,
        document: &str,
        said: &BTreeMap<FileName, Digest>,
        expected: &BTreeMap<FileName, Digest>,
    ) {
        for (file, digest) in expected {
            match said.get(file) {
                None => self.found(code, document, format!("it does not list `{file}`")),
                Some(other) if other != digest => {
                    self.found(code, document, format!("it gives `{file}` the digest {other} instead of {digest}"));
                }
                Some(_) => {}
            }
        }
        for file in said.keys().filter(|file| !expected.contains_key(*file)) {
            self.found(code, document, format!("it lists `{file}`, which does not belong there"));
        }
    }

    fn digest_of(&self, name: &str) -> Option<(FileName, Digest)> {
        self.seen.get(name).map(|exhibit| (exhibit.asset.name.clone(), exhibit.asset.sha256))
    }
}

/// Every file that the index pins.
fn pinned(index: &Index) -> BTreeMap<FileName, Digest> {
    let packages = index.packages.iter().map(|package| (package.archive.clone(), package.sha256));
    packages.chain(index.files.iter().map(|file| (file.name.clone(), file.sha256))).collect()
}

/// What the programs of a package are called without the ending of their platform.
fn program_names(package: &Package) -> BTreeSet<&str> {
    package
        .binaries
        .iter()
        .map(|binary| {
            let file = binary.path.strip_prefix("bin/").unwrap_or(&binary.path);
            file.strip_suffix(package.platform.exe_suffix()).unwrap_or(file)
        })
        .collect()
}

/// A target triple without the version of glibc that zig takes behind it: `…-gnu.2.17`.
fn without_glibc(target: &str) -> &str {
    target.split_once('.').map_or(target, |(triple, _)| triple)
}
