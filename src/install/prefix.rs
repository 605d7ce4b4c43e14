//! Where an installation lies: the names of everything under a prefix.
//!
//! ```text
//! <prefix>/bin/<program>                          a link into the current version
//! <prefix>/lib/consign/<name>/current             a link to the version that is in use
//! <prefix>/lib/consign/<name>/<version>/bin/…     what an archive holds
//! <prefix>/lib/consign/receipts/<name>/<version>.json
//! ```

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;

use crate::model::FileName;

/// A prefix, `/usr/local` or `~/.local`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Utf8PathBuf);

impl Prefix {
    /// The prefix at a path.
    pub fn at(path: impl Into<Utf8PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Utf8Path {
        &self.0
    }

    /// Where people find programs.
    pub fn bin(&self) -> Utf8PathBuf {
        self.0.join("bin")
    }

    /// Where all that Consign keeps is.
    pub fn library(&self) -> Utf8PathBuf {
        self.0.join("lib/consign")
    }

    /// Where the versions of a product are.
    pub fn product(&self, name: &FileName) -> Utf8PathBuf {
        self.library().join(name.as_str())
    }

    /// Where one version of a product is.
    pub fn version(&self, name: &FileName, version: &Version) -> Utf8PathBuf {
        self.product(name).join(version.to_string())
    }

    /// The link to the version that is in use.
    pub fn current(&self, name: &FileName) -> Utf8PathBuf {
        self.product(name).join("current")
    }

    /// Where the receipts of a product are.
    pub fn receipts(&self, name: &FileName) -> Utf8PathBuf {
        self.library().join("receipts").join(name.as_str())
    }

    /// The receipt of one version of a product.
    pub fn receipt(&self, name: &FileName, version: &Version) -> Utf8PathBuf {
        self.receipts(name).join(format!("{version}.json"))
    }
}
