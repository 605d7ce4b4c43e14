//! What other installers read: documents in their own forms, each behind a switch.
//!
//! [`of`] makes those that are asked for, from the same packages that the index lists. They
//! belong to the reproducible set: nothing in them depends on when or where they were made. Each of
//! them gives the addresses of archives, so that the address of the release has to be known.

pub mod binstall;
mod dist;
mod homebrew;
mod scoop;
mod versions;

use semver::Version;

use super::plan::Plan;
use crate::model::failure::Result;
use crate::model::index::Package;
use crate::model::{Code, Failure, FileName, Platform, interop};
use crate::world::cargo::Member;

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
struct Release<'a> {
    /// The product's name.
    name: &'a FileName,
    /// The version.
    version: &'a Version,
    /// The tag.
    tag: &'a str,
    /// The source's date.
    date: jiff::Timestamp,
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
    /// The names of the documents that are asked for. Each of them gives addresses, so that those of the
    /// release have to be known.
    pub fn files(self, product: &FileName, base_url: Option<&str>) -> Result<Vec<FileName>> {
        let files: Vec<_> = self.wanted(product).map(|(name, _)| checked(&name)).collect::<Result<_>>()?;
        match (files.first(), base_url) {
            (Some(file), None) => Err(Failure::new(
                Code::ConfigInvalid,
                format!("`{file}` needs the address that releases can be fetched from, and nobody says it"),
            )
            .subject("installer.base-url")
            .hint("set `installer.base-url`, such as \"https://example.com/releases/{tag}\"")),
            _ => Ok(files),
        }
    }

    /// The switches that give these files.
    pub fn of_files(product: &FileName, files: &[String]) -> Self {
        let has = |wanted: &str| {
            let mut named = interop::documents(product.as_str()).into_iter();
            named.any(|(name, kind)| kind == wanted && files.contains(&name))
        };
        Self {
            dist_manifest: has(interop::DIST),
            homebrew: has(interop::HOMEBREW),
            scoop: has(interop::SCOOP),
            versions: has(interop::VERSIONS),
            minisign: false,
        }
    }

    fn wanted(self, product: &FileName) -> impl Iterator<Item = (String, &'static str)> {
        interop::documents(product.as_str()).into_iter().filter(move |(_, kind)| match *kind {
            interop::DIST => self.dist_manifest,
            interop::HOMEBREW => self.homebrew,
            interop::SCOOP => self.scoop,
            _ => self.versions,
        })
    }
}

/// The documents that the plan has, of these packages.
pub fn of(plan: &Plan, packages: &[Package]) -> Result<Vec<Document>> {
    let Some(base_url) = &plan.installer.base_url else { return Ok(Vec::new()) };
    let version = plan.release.version.to_string();
    documents(
        plan.interop,
        &Release {
            name: &plan.name,
            version: &plan.release.version,
            tag: &plan.release.tag,
            date: plan.source.date,
            about: &plan.about,
            base_url: &base_url.replace("{tag}", &plan.release.tag).replace("{version}", &version),
            packages,
        },
    )
}

fn documents(interop: Interop, release: &Release<'_>) -> Result<Vec<Document>> {
    let wanted = interop.wanted(release.name);
    wanted
        .map(|(name, kind)| {
            let bytes = match kind {
                interop::DIST => dist::render(release),
                interop::HOMEBREW => homebrew::render(release),
                interop::SCOOP => scoop::render(release),
                _ => versions::render(release),
            };
            Ok(Document { name: checked(&name)?, kind, bytes })
        })
        .collect()
}

impl About {
    /// What the first package that says anything says of itself.
    pub fn of(members: &[&Member]) -> Self {
        let first = |of: fn(&Member) -> &Option<String>| members.iter().find_map(|member| of(member).clone());
        Self {
            description: first(|member| &member.description),
            homepage: first(|member| &member.homepage).or_else(|| first(|member| &member.repository)),
            licence: first(|member| &member.licence),
        }
    }
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
