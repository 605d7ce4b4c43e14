//! What went into the binaries, and the two documents that say so.
//!
//! [`Inventory`] holds the facts; [`spdx`] and [`cyclonedx`] write them down. Both documents are a
//! function of the inventory alone: no random namespace, no clock.

pub mod cyclonedx;
pub mod licence;
pub mod spdx;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use semver::Version;

use super::{Digest, FileName, Platform};

/// The names of the two documents in a bundle, and what the index calls them.
pub const SPDX_FILE_NAME: &str = "sbom.spdx.json";
/// See [`SPDX_FILE_NAME`].
pub const CYCLONEDX_FILE_NAME: &str = "sbom.cdx.json";

/// Everything that went into a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The product's name.
    pub name: FileName,
    /// The bare semantic version.
    pub version: Version,
    /// The commit's time.
    pub created: Timestamp,
    /// The repository's address, without credentials.
    pub repository: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The archives of the release, sorted by platform.
    pub archives: Vec<Archive>,
    /// Every crate of any platform, by its key. Roots are among them.
    pub components: BTreeMap<ComponentKey, Component>,
    /// The packages that were released themselves, by key.
    pub roots: BTreeSet<ComponentKey>,
}

/// One archive of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its file name.
    pub name: FileName,
    /// Its platform.
    pub platform: Platform,
    /// Its digest.
    pub sha256: Digest,
    /// The programs inside: path below the archive's directory, and digest.
    pub binaries: Vec<(String, Digest)>,
    /// Every crate that was compiled for it, run time and build time. Roots are among them.
    pub components: BTreeSet<ComponentKey>,
}

/// What tells one crate from another: name, version, and where it comes from (empty for a path).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentKey {
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: Version,
    /// `registry+…` or `git+…` without credentials, or empty for a crate of the workspace's tree.
    pub source: String,
}

/// One crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The licence as the manifest gives it, unchecked.
    pub licence: Option<String>,
    /// The authors as the manifest gives them.
    pub authors: Vec<String>,
    /// One sentence on what it is.
    pub description: Option<String>,
    /// The repository's address, without credentials.
    pub repository: Option<String>,
    /// The digest of the `.crate` file, from the lock file.
    pub checksum: Option<Digest>,
    /// Whether its code is in the program, or ran only while it was built (a build script's
    /// dependency, a procedural macro).
    pub role: Role,
    /// The crates that it depends on, in any platform.
    pub depends_on: BTreeMap<ComponentKey, Role>,
}

/// Whether a crate is part of the program, or was needed to build it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Its code is in the program.
    Runtime,
    /// It ran while the program was built.
    Build,
}

/// What a document says of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The product's name.
    pub name: FileName,
    /// The bare semantic version.
    pub version: Version,
    /// Every archive that it describes.
    pub archives: BTreeMap<FileName, Digest>,
}
