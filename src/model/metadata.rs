//! `metadata.json`: what a build left behind, and what an archive says of itself.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Digest, FileName, Platform, text};

/// The file's name, both in `dist/releases/<version>/<platform>/` and inside an archive.
pub const FILE_NAME: &str = "metadata.json";

/// What one archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageMetadata {
    /// Always [`PackageMetadata::TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The product's name.
    pub name: FileName,
    /// The bare semantic version.
    pub version: Version,
    /// The platform.
    pub platform: Platform,
    /// The Rust target triple.
    pub target: String,
    /// The commit, if there is one.
    pub commit: Option<String>,
    /// What the compiler calls itself (`rustc -V`), if it is known.
    pub compiler: Option<String>,
}

impl PackageMetadata {
    /// The document type.
    pub const TYPE: &'static str = "consign.package/v1";
}

/// What one platform's build left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildMetadata {
    /// Always [`BuildMetadata::TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The product's name.
    pub name: FileName,
    /// The bare semantic version.
    pub version: Version,
    /// The tag.
    pub tag: String,
    /// The platform.
    pub platform: Platform,
    /// The Rust target triple.
    pub target: String,
    /// The commit, if there is one.
    pub commit: Option<String>,
    /// Whether the working tree differed from the commit.
    pub dirty: bool,
    /// Which builder made it: `cargo`, `zigbuild`, `cross`, `command`, or `elsewhere`.
    pub builder: String,
    /// The cargo profile.
    pub profile: String,
    /// The features that were switched on, sorted.
    pub features: Vec<String>,
    /// More arguments that cargo was given.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub arguments: Vec<String>,
    /// The user's own compiler flags, without paths of the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "text::serialize_without_credentials")]
    pub rustflags: Vec<String>,
    /// The variables that changed the cargo profile.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "text::serialize_without_credentials"
    )]
    pub cargo_profile: BTreeMap<String, String>,
    /// The compiler, if it is known.
    pub compiler: Option<Compiler>,
    /// The programs, sorted by name.
    pub binaries: Vec<BuiltBinary>,
}

impl BuildMetadata {
    /// The document type.
    pub const TYPE: &'static str = "consign.build/v1";
}

/// A Rust compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compiler {
    /// The first line of `rustc -vV`.
    pub version: String,
    /// The target triple of the machine that it runs on.
    pub host: String,
}

/// One program that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltBinary {
    /// The file's name, with `.exe` where it has one.
    pub file: FileName,
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
}
