//! What went into the binaries, and the two documents that say so.
//!
//! [`Inventory`] holds the facts; [`spdx`] and [`cyclonedx`] write them down. Both documents are a
//! function of the inventory alone: no random namespace, no clock. Nothing here finds out what was
//! compiled; that is asked of cargo on a higher floor.

pub mod cyclonedx;
mod identity;
pub mod licence;
mod rows;
pub mod spdx;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use semver::Version;

pub use super::index::{CYCLONEDX_FILE_NAME, SPDX_FILE_NAME};
use super::{Digest, FileName, Platform, text};

/// The largest document that is read, in bytes: some ten thousand crates on twenty platforms.
pub const MAX_BYTES: usize = 64 << 20;

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
    /// Every crate that was compiled for it, and its role on this platform. Roots are among them.
    pub components: BTreeMap<ComponentKey, Role>,
    /// The packages whose binaries are inside.
    pub roots: BTreeSet<ComponentKey>,
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
    /// dependency, a procedural macro). A crate that was both is part of the program.
    pub role: Role,
    /// The crates that it depends on, and whether their code became part of this crate or ran while
    /// it was compiled.
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

impl Role {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Build => "build",
        }
    }
}

/// The crates that were compiled for one platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Every crate, with its role and dependencies on this platform. Roots are among them.
    pub components: BTreeMap<ComponentKey, Component>,
    /// The packages that were asked for.
    pub roots: BTreeSet<ComponentKey>,
}

/// What is known of a release besides its archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The product's name.
    pub name: FileName,
    /// The bare semantic version.
    pub version: Version,
    /// The commit's time.
    pub created: Timestamp,
    /// The repository's address; credentials in it are taken out.
    pub repository: Option<String>,
    /// The commit.
    pub commit: Option<String>,
}

/// An archive together with what was compiled for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Its file name.
    pub name: FileName,
    /// Its platform.
    pub platform: Platform,
    /// Its digest.
    pub sha256: Digest,
    /// The programs inside: path below the archive's directory, and digest.
    pub binaries: Vec<(String, Digest)>,
    /// What was compiled for it.
    pub resolved: Resolved,
}

impl Inventory {
    /// Joins what was compiled for every platform. The order of the archives does not matter.
    pub fn assemble(product: Product, mut packed: Vec<Packed>) -> Self {
        packed.sort_by(|a, b| (a.platform, &a.name).cmp(&(b.platform, &b.name)));
        let mut inventory = Self {
            name: product.name,
            version: product.version,
            created: product.created,
            repository: product.repository.map(|address| text::without_credentials(&address).into_owned()),
            commit: product.commit,
            archives: Vec::new(),
            components: BTreeMap::new(),
            roots: BTreeSet::new(),
        };
        for Packed { name, platform, sha256, mut binaries, resolved } in packed {
            binaries.sort();
            let components = resolved.components.iter().map(|(key, component)| (key.clone(), component.role)).collect();
            inventory.roots.extend(resolved.roots.iter().cloned());
            let roots = resolved.roots;
            inventory.archives.push(Archive { name, platform, sha256, binaries, components, roots });
            for (key, component) in resolved.components {
                match inventory.components.entry(key) {
                    Entry::Vacant(place) => _ = place.insert(component),
                    Entry::Occupied(mut place) => place.get_mut().join(component),
                }
            }
        }
        inventory
    }

    /// One sentence for every licence that cannot be written as it stands in the manifest.
    pub fn warnings(&self) -> Vec<String> {
        let of = |(key, component): (&ComponentKey, &Component)| {
            let problem = licence::declared(component.licence.as_deref()).problem?;
            Some(format!("the licence of `{} {}` is written as NOASSERTION: {problem}", key.name, key.version))
        };
        self.components.iter().filter_map(of).collect()
    }
}

impl Component {
    /// Adds what is known of the same crate on another platform.
    fn join(&mut self, other: Self) {
        self.role = self.role.min(other.role);
        self.checksum = self.checksum.or(other.checksum);
        for (key, role) in other.depends_on {
            self.depends_on.entry(key).and_modify(|known| *known = role.min(*known)).or_insert(role);
        }
    }
}

/// What a document says of the release, for the verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The product's name.
    pub name: FileName,
    /// The bare semantic version.
    pub version: Version,
    /// The time that it is dated with, as [`seconds`] writes it.
    pub created: String,
    /// Every archive that it describes.
    pub archives: BTreeMap<FileName, Digest>,
    /// Every program, by its archive and its path therein.
    pub programs: BTreeMap<(FileName, String), Digest>,
    /// The package URL of every crate and the digest of its source, sorted.
    pub crates: Vec<(String, Option<Digest>)>,
}

/// A document was not made by the function that makes it.
const OTHER_FORM: &str = "it is not written in the one form that Consign writes";

/// Reads a document into its typed form, whole and bounded.
fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    serde_json::from_slice(bytes).map_err(|error| text::shown(&error.to_string()).into_owned())
}

/// A point in time as both formats want it: UTC, whole seconds.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
