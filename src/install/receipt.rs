//! What was installed, from where, and how far it was verified.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, FileName, Platform};

/// The document type.
pub const TYPE: &str = "consign.receipt/v1";
/// The largest receipt that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// A receipt. It is written before the version that it is about is used, and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The product.
    pub name: FileName,
    /// Its version.
    pub version: Version,
    /// The release's tag, where there was an index.
    pub tag: Option<String>,
    /// The platform that it was built for, where that is known.
    pub platform: Option<Platform>,
    /// Where it came from.
    pub origin: Origin,
    /// How far it was verified; nothing less is accepted afterwards.
    pub trust: Trust,
    /// The digest of the archive, where there was one.
    pub archive: Option<Digest>,
    /// Every file below the version's directory, sorted by path.
    pub files: Vec<InstalledFile>,
    /// The names in `<prefix>/bin` that lead to it, sorted.
    pub programs: Vec<FileName>,
    /// When.
    pub installed_at: Timestamp,
    /// By what: `consign 0.1.0`.
    pub installed_by: String,
}

/// Where an installation came from. No address has credentials in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Origin {
    /// An index.
    Index {
        /// Its address or path.
        place: String,
    },
    /// A catalog.
    Catalog {
        /// Its address or path.
        place: String,
        /// What was asked for: a version, a range, or nothing for the latest.
        wanted: Option<String>,
    },
    /// An archive, a directory or a program without an index.
    Loose {
        /// Its address or path.
        place: String,
    },
}

/// How far it is known who made what was installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Trust {
    /// Nobody was asked for: whoever could change the files could have changed all of them.
    Unchecked,
    /// A key that was given has signed the index.
    Keys {
        /// The names of the keys that are believed.
        keys: Vec<String>,
    },
    /// The catalog under a pinned root lists it.
    Catalog {
        /// The version of the root that was the newest.
        root_version: u64,
    },
}

/// One installed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledFile {
    /// Its path below the version's directory.
    pub path: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it may be run.
    pub executable: bool,
}
