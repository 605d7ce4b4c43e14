//! Where bundles are published to: one file per kind of place.
//!
//! A provider takes a verified bundle and makes it visible, whole or not at all. It decides nothing
//! about what may be published; the same bytes again are a success, other bytes are refused.

pub mod directory;

use crate::model::{Digest, FileName};

/// What is to be published: the files of one verified bundle.
#[derive(Clone, Debug)]
pub struct Upload<'a> {
    /// The name of the release's directory, such as `v1.0.0`.
    pub release: FileName,
    /// Where the files are.
    pub directory: &'a camino::Utf8Path,
    /// Every asset, sorted by name.
    pub assets: Vec<Asset>,
    /// Every file of evidence. It is published too, and never a reason to refuse.
    pub evidence: Vec<Asset>,
}

impl Upload<'_> {
    /// Every file, assets first.
    pub fn files(&self) -> impl Iterator<Item = &Asset> {
        self.assets.iter().chain(&self.evidence)
    }
}

/// One file of a published release.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Asset {
    /// Its name.
    pub name: FileName,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// How publishing ended, when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where the release can be fetched from.
    pub url: String,
    /// Whether anything had to be done.
    pub status: Status,
}

/// Whether anything had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The release is visible now and was not before.
    Published,
    /// The same release was there already; nothing was touched.
    Unchanged,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unchanged => "unchanged",
        }
    }
}
