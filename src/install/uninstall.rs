//! Taking a product away.
//!
//! First the names in `bin`, so that none leads nowhere, then what they led to. What was kept when a
//! program took its place stays where it is and is named: it may be years old, and to have it back is
//! one `mv`.

use camino::Utf8PathBuf;
use semver::Version;
use serde::Serialize;

use super::lock::Turn;
use super::revert::not_installed;
use super::{current, history, prefix, programs, receipt, settle};
use crate::model::FileName;
use crate::model::failure::Result;
use crate::world::files;

/// The document type of an [`Uninstalled`].
pub const TYPE: &str = "consign.uninstallation/v1";

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Uninstalled {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The product.
    pub name: FileName,
    /// The version that was in use.
    pub version: Option<Version>,
    /// The versions that are gone, those first that were used last.
    pub removed: Vec<Version>,
    /// The names in `bin` that are gone.
    pub programs: Vec<FileName>,
    /// Files that were in a program's way and are kept beside its name.
    pub backups: Vec<Utf8PathBuf>,
}

/// Removes every version of a product, and every name that leads to it.
pub fn uninstall(turn: &Turn) -> Result<Uninstalled> {
    let (prefix, name) = (turn.prefix(), turn.name());
    let version = current::version(prefix, name)?;
    let removed = history::kept(prefix, name, version.as_ref())?;
    let without_receipt = unknown_versions(turn)?;
    let ours = [prefix.current(name), prefix.history(name), prefix.receipts(name)];
    let is_there = |path: &Utf8PathBuf| path.symlink_metadata().is_ok();
    if removed.is_empty() && without_receipt.is_empty() && !ours.iter().any(is_there) {
        return Err(not_installed(prefix, name));
    }
    let _shared = turn.shared()?;
    let programs = programs::leave_all(turn)?;
    let backups = programs::backups(prefix, &programs)?;
    settle::remove(&prefix.current(name))?;
    for version in removed.iter().chain(&without_receipt) {
        settle::set_aside(turn, version)?;
    }
    settle::sweep(turn)?;
    for version in receipt::receipted(prefix, name)? {
        settle::remove(&prefix.receipt(name, &version))?;
    }
    settle::remove(&prefix.history(name))?;
    files::sync_directory(&prefix.library())?;
    Ok(Uninstalled { kind: TYPE, name: name.clone(), version, removed, programs, backups })
}

/// Directories of versions whose receipts are gone.
fn unknown_versions(turn: &Turn) -> Result<Vec<Version>> {
    let (prefix, name) = (turn.prefix(), turn.name());
    if prefix::look(&prefix.product(name))?.is_none() {
        return Ok(Vec::new());
    }
    let known = receipt::versions(prefix, name)?;
    let entries = files::list(&prefix.product(name))?.into_iter();
    let versions = entries.filter(|(_, regular)| !regular).filter_map(|(entry, _)| entry.parse().ok());
    Ok(versions.filter(|version| !known.contains(version)).collect())
}
