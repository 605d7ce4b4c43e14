//! `provenance.json`: an in-toto Statement v1 with the SLSA v1 provenance predicate.
//!
//! Formats: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md> and
//! <https://slsa.dev/spec/v1.0/provenance>. The statement holds no wall-clock time, user name, host
//! name or path of the machine, so two runs in the same mode give the same bytes.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Digest, FileName, Platform, metadata::Compiler, text};

/// The file's name in a bundle.
pub const FILE_NAME: &str = "provenance.json";
/// The statement's type.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate's type.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What kind of build it was; `docs/build-type.md` describes it.
pub const BUILD_TYPE: &str = "https://github.com/consign-rs/consign/blob/main/docs/build-type.md#v1";
/// What the builder's id starts with; the mode follows behind a hyphen.
pub const BUILDER_ID: &str = "https://github.com/consign-rs/consign/blob/main/docs/build-type.md#builder";
/// The largest statement that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Always [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// Every file of the reproducible set, sorted by name.
    pub subject: Vec<Subject>,
    /// Always [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// How the subjects were made.
    pub predicate: Predicate,
}

/// One file that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Its name in the bundle.
    pub name: FileName,
    /// Its digest.
    pub digest: Sha256,
}

/// A digest set with SHA-256 in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sha256 {
    /// The digest.
    pub sha256: Digest,
}

/// How the subjects were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Predicate {
    /// What was asked for, and from what.
    pub build_definition: BuildDefinition,
    /// Who did it.
    pub run_details: RunDetails,
}

/// What was asked for, and from what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BuildDefinition {
    /// Always [`BUILD_TYPE`].
    pub build_type: String,
    /// What the user chose.
    pub external_parameters: ExternalParameters,
    /// What Consign found or chose.
    pub internal_parameters: InternalParameters,
    /// The commit, the lock file and the toolchains.
    pub resolved_dependencies: Vec<ResolvedDependency>,
}

/// What the user chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalParameters {
    /// The product's name.
    pub name: FileName,
    /// The bare semantic version.
    pub version: Version,
    /// The tag.
    pub tag: String,
    /// `validate` or `release`.
    pub mode: String,
    /// The workspace's directory below the repository's root; empty when it is the root.
    pub workspace: String,
    /// The cargo packages, sorted.
    pub packages: Vec<String>,
    /// The cargo profile.
    pub profile: String,
    /// The programs, sorted.
    pub binaries: Vec<String>,
    /// How each platform was built, sorted by platform.
    pub platforms: Vec<PlatformParameters>,
    /// The compression level, if it is not the format's default.
    pub level: Option<u8>,
    /// Globs of the files that were packed besides.
    pub include: Vec<String>,
    /// What the installers were rendered from, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installer: Option<InstallerParameters>,
    /// The commands that ran around the stages, by the stage's name with `before-` or `after-`.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub hooks: BTreeMap<String, Vec<Vec<String>>>,
}

/// What the installers were rendered from, besides the packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InstallerParameters {
    /// Their names, sorted.
    pub files: Vec<String>,
    /// Where they fetch the release from, with `{tag}` and `{version}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The catalog's root that they carry: a path below the workspace's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// How one platform was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PlatformParameters {
    /// The platform.
    pub platform: Platform,
    /// The Rust target triple.
    pub target: String,
    /// The builder.
    pub builder: String,
    /// The features that were switched on; `default` is among them unless it was switched off.
    pub features: Vec<String>,
    /// More arguments for cargo.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub arguments: Vec<String>,
    /// The format of the archive.
    pub format: super::index::ArchiveFormat,
}

/// What Consign found or chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InternalParameters {
    /// The time that every file in the archives carries, in seconds since 1970.
    pub source_date_epoch: i64,
    /// The compiler of each platform, where it is known.
    pub compilers: BTreeMap<String, Compiler>,
    /// The user's own compiler flags, by platform, without paths of the machine.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "text::serialize_without_credentials"
    )]
    pub rustflags: BTreeMap<String, Vec<String>>,
    /// The variables that changed the cargo profile (`CARGO_PROFILE_…`), by platform.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "text::serialize_without_credentials"
    )]
    pub cargo_profile: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether the working tree had changes that were not committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dirty: bool,
}

/// Something that went into the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedDependency {
    /// What it is called.
    pub name: String,
    /// Where it is, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its digest: `gitCommit` for a commit, `sha256` for a file.
    pub digest: BTreeMap<String, String>,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDetails {
    /// The builder.
    pub builder: Builder,
    /// The run.
    pub metadata: RunMetadata,
}

/// The builder: which program, on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    /// One address per mode, so that what was built in one is never taken for the other.
    pub id: String,
    /// The version of each part of the builder.
    pub version: BTreeMap<String, String>,
}

/// The run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RunMetadata {
    /// What [`ExternalParameters::invocation_id`] makes of what was asked for.
    pub invocation_id: String,
}

impl ExternalParameters {
    /// The digest of what was asked for and of the commit: the same request has the same id.
    pub fn invocation_id(&self, commit: Option<&str>) -> String {
        format!("sha256:{}", Digest::of(&super::pretty(&(self, commit))))
    }
}

impl ResolvedDependency {
    /// What the commit is called among the dependencies.
    pub const SOURCE: &'static str = "source";

    /// The commit that was built, and the repository that it is from.
    pub fn source(repository: Option<&str>, commit: &str) -> Self {
        Self {
            name: Self::SOURCE.to_owned(),
            uri: repository.map(|repository| format!("git+{repository}")),
            digest: BTreeMap::from([("gitCommit".to_owned(), commit.to_owned())]),
        }
    }
}

impl Statement {
    /// Writes the document, indented by two spaces.
    pub fn render(&self) -> Vec<u8> {
        super::pretty(self)
    }
}
