//! `index.json`: the machine-readable entry point of a bundle.
//!
//! It pins every other file of the reproducible set, and nothing in it depends on when or where it
//! was made. Each package stands on a line of its own, so that a shell script can read it.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Digest, FileName, Platform};

/// The file's name in a bundle.
pub const FILE_NAME: &str = "index.json";
/// The names of the two SBOMs of a bundle, which every index lists.
pub const SPDX_FILE_NAME: &str = "sbom.spdx.json";
/// See [`SPDX_FILE_NAME`].
pub const CYCLONEDX_FILE_NAME: &str = "sbom.cdx.json";
/// The document type.
pub const TYPE: &str = "consign.index/v1";
/// The largest index that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The product's name.
    pub name: FileName,
    /// The bare semantic version.
    pub version: Version,
    /// The tag.
    pub tag: String,
    /// `stable`, or the first word of the prerelease.
    pub channel: String,
    /// The commit's time, RFC 3339 in UTC.
    pub created_at: String,
    /// Where the source code is.
    pub source: IndexSource,
    /// One package per platform, sorted by platform.
    pub packages: Vec<Package>,
    /// Whatever else belongs to the reproducible set, sorted by name.
    pub files: Vec<ListedFile>,
}

/// Where the source code is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexSource {
    /// The repository's address, without credentials.
    pub repository: Option<String>,
    /// The full commit id.
    pub commit: Option<String>,
    /// The ref that the release is for: its tag.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Present and true when the working tree had changes that were not committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dirty: bool,
}

/// The archive of one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The platform.
    pub platform: Platform,
    /// The Rust target triple that was built.
    pub target: String,
    /// The archive's file name.
    pub archive: FileName,
    /// The archive's format.
    pub format: ArchiveFormat,
    /// The archive's size.
    pub size_bytes: u64,
    /// The size of what the decompressor gives: the tar stream, or the sum of a zip's files.
    pub unpacked_size_bytes: u64,
    /// The archive's digest.
    pub sha256: Digest,
    /// The programs inside, sorted by path.
    pub binaries: Vec<PackagedBinary>,
}

/// One program inside an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagedBinary {
    /// Its path below the archive's one directory: `bin/tool`.
    pub path: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// A file of the reproducible set that is not a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedFile {
    /// Its name.
    pub name: FileName,
    /// What it is: `sbom-spdx`, `sbom-cyclonedx`…
    pub kind: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "toolchain", derive(schemars::JsonSchema))]
pub enum ArchiveFormat {
    /// A ustar archive in one gzip member.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A ustar archive in one Zstandard frame.
    #[serde(rename = "tar.zst")]
    TarZst,
    /// A zip archive with deflated entries.
    #[serde(rename = "zip")]
    Zip,
}

impl ArchiveFormat {
    /// The end of the file name, without the leading dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::TarZst => "tar.zst",
            Self::Zip => "zip",
        }
    }
}

impl Index {
    /// Writes the document: two spaces of indentation, one package and one file per line.
    pub fn render(&self) -> Vec<u8> {
        let mut out = String::from("{\n");
        field(&mut out, "type", &self.kind);
        field(&mut out, "name", &self.name);
        field(&mut out, "version", &self.version);
        field(&mut out, "tag", &self.tag);
        field(&mut out, "channel", &self.channel);
        field(&mut out, "created_at", &self.created_at);
        field(&mut out, "source", &self.source);
        list(&mut out, "packages", &self.packages);
        out.push_str(",\n");
        list(&mut out, "files", &self.files);
        out.push_str("\n}\n");
        out.into_bytes()
    }

    /// One package as it stands on its line, without the comma.
    pub fn row(package: &Package) -> String {
        compact(package)
    }

    /// The stem of a package's archive, which is also the one directory inside it.
    pub fn stem(package: &Package) -> &str {
        let name = package.archive.as_str();
        name.strip_suffix(package.format.extension()).and_then(|stem| stem.strip_suffix('.')).unwrap_or(name)
    }
}

fn field(out: &mut String, name: &str, value: &impl Serialize) {
    out.push_str("  \"");
    out.push_str(name);
    out.push_str("\": ");
    out.push_str(&compact(value));
    out.push_str(",\n");
}

fn list(out: &mut String, name: &str, rows: &[impl Serialize]) {
    out.push_str("  \"");
    out.push_str(name);
    out.push_str("\": [");
    for (number, row) in rows.iter().enumerate() {
        out.push_str(if number == 0 { "\n    " } else { ",\n    " });
        out.push_str(&compact(row));
    }
    out.push_str(if rows.is_empty() { "]" } else { "\n  ]" });
}

fn compact(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data with text keys always serialises")
}
