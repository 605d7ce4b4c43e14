//! What other installers read: documents in their own forms, each behind a switch.
//!
//! [`documents`] makes those that are asked for, from the same packages that the index lists. They
//! belong to the reproducible set: nothing in them depends on when or where they were made. Each of
//! them gives the addresses of archives, so that the address of the release has to be known.

mod dist;
mod homebrew;
mod scoop;
mod versions;

use semver::Version;

use crate::model::failure::Result;
use crate::model::index::Package;
use crate::model::{Code, Failure, FileName, Platform};

/// Which documents are made, and in which further forms assets are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the settings")]
pub struct Interop {
    /// `dist-manifest.json`, as dist writes it.
    pub dist_manifest: bool,
    /// `<name>.rb`, a Homebrew formula.
    pub homebrew: bool,
    /// `<name>.json`, a Scoop manifest.
    pub scoop: bool,
    /// `<name>.ndjson`: the release on one line, as lists of versions have it.
    pub versions: bool,
    /// `.minisig` beside every asset.
    pub minisign: bool,
}

/// What the documents tell of a release.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// The product's name.
    pub name: &'a FileName,
    /// The version.
    pub version: &'a Version,
    /// The tag.
    pub tag: &'a str,
    /// The source's date.
    pub date: jiff::Timestamp,
    /// What cargo says of the product.
    pub about: &'a About,
    /// Where the files of the release can be fetched from, without a slash at its end.
    pub base_url: &'a str,
    /// The archives, sorted by platform.
    pub packages: &'a [Package],
}

/// What cargo says of the product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// One line about it.
    pub description: Option<String>,
    /// Its page, or its repository.
    pub homepage: Option<String>,
    /// The licence expression.
    pub licence: Option<String>,
}

/// One document to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: FileName,
    /// What the index calls it.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Interop {
    /// The names of the documents that are asked for, with what the index calls them.
    pub fn files(self, product: &FileName) -> Result<Vec<(FileName, &'static str)>> {
        let wanted = [
            (self.dist_manifest, dist::FILE_NAME.to_owned(), dist::KIND),
            (self.homebrew, format!("{product}.rb"), homebrew::KIND),
            (self.scoop, format!("{product}.json"), scoop::KIND),
            (self.versions, format!("{product}.ndjson"), versions::KIND),
        ];
        let wanted = wanted.into_iter().filter(|(wanted, ..)| *wanted);
        wanted.map(|(_, name, kind)| Ok((checked(&name)?, kind))).collect()
    }

    /// Whether any of the documents is asked for.
    pub fn needs_address(self) -> bool {
        self.dist_manifest || self.homebrew || self.scoop || self.versions
    }
}

/// The documents that are asked for, sorted by name.
pub fn documents(interop: Interop, release: &Release<'_>) -> Result<Vec<Document>> {
    let files = interop.files(release.name)?;
    let mut documents: Vec<_> = files
        .into_iter()
        .map(|(name, kind)| {
            let bytes = match kind {
                dist::KIND => dist::render(release),
                homebrew::KIND => homebrew::render(release),
                scoop::KIND => scoop::render(release),
                _ => versions::render(release),
            };
            Document { name, kind, bytes }
        })
        .collect();
    documents.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(documents)
}

impl Release<'_> {
    fn url(&self, package: &Package) -> String {
        format!("{}/{}", self.base_url, package.archive)
    }

    fn of(&self, platforms: &[&str]) -> Option<&Package> {
        platforms.iter().find_map(|name| self.packages.iter().find(|package| package.platform.name() == *name))
    }
}

/// The names of the programs in a package, without directories.
fn programs(package: &Package) -> impl Iterator<Item = &str> {
    package.binaries.iter().map(|binary| binary.path.rsplit('/').next().unwrap_or(&binary.path))
}

/// The path of an archive's one directory.
fn stem(package: &Package) -> &str {
    crate::model::index::Index::stem(package)
}

/// The name of a document, which must not be that of another file of the bundle.
fn checked(name: &str) -> Result<FileName> {
    let taken = ["index.json", "provenance.json", "signatures.json", "sbom.spdx.json", "sbom.cdx.json"];
    let hint = "give the product another `name`, or leave this document out";
    if taken.contains(&name) {
        return Err(Failure::new(Code::ConfigInvalid, format!("two files of the bundle would be called `{name}`"))
            .subject(name)
            .hint(hint));
    }
    name.parse().map_err(|error| {
        Failure::new(Code::NameInvalid, format!("`{name}` is no name for a file of the bundle"))
            .because(error)
            .hint(hint)
    })
}

/// The platform's words for an operating system that a document may not know.
fn is_for(platform: Platform, system: &str) -> bool {
    platform.name().split('-').next() == Some(system)
}

#[cfg(test)]
mod tests;
