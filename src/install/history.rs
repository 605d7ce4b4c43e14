//! The order in which the versions of a product were used.
//!
//! It is a plain file, one version a line, the last one first: a shell can keep it too. It is
//! written after the switch, so that it may lag behind by one step and never leads ahead: the
//! version before the one in use is the first line that is not in use, whether or not that step was
//! written down.

use semver::Version;

use super::lock::Turn;
use super::prefix::{self, Prefix};
use super::receipt;
use crate::model::FileName;
use crate::model::failure::Result;
use crate::world::files;

const MAX_BYTES: usize = 1 << 20;

/// The versions in the order of use, the last one first, whether or not they are still there.
///
/// A line that is no version is passed over.
pub fn read(prefix: &Prefix, name: &FileName) -> Result<Vec<Version>> {
    let path = prefix.history(name);
    if prefix::look(&path)?.is_none() {
        return Ok(Vec::new());
    }
    let bytes = files::read_bounded(&path, MAX_BYTES)?;
    let mut versions: Vec<Version> = Vec::new();
    for version in String::from_utf8_lossy(&bytes).lines().filter_map(|line| line.parse().ok()) {
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    Ok(versions)
}

/// Writes the order down, if it is not what is there already.
///
/// That it cannot be written, on a full disk, keeps nobody from going back: it is read as if the last
/// step had been written down, and the next run does that.
pub fn record(turn: &Turn, versions: &[Version]) {
    let _ = write(turn, versions);
}

fn write(turn: &Turn, versions: &[Version]) -> Result<()> {
    let (prefix, name) = (turn.prefix(), turn.name());
    if read(prefix, name)? == versions {
        return Ok(());
    }
    let text: String = versions.iter().map(|version| format!("{version}\n")).collect();
    files::write(&prefix.history(name), text.as_bytes())?;
    files::sync_directory(&prefix.product(name))
}

/// The versions that are kept, those first that were used last.
///
/// One that was never used, because the run which brought it was killed, comes after all that were.
pub fn kept(prefix: &Prefix, name: &FileName, current: Option<&Version>) -> Result<Vec<Version>> {
    let mut there = receipt::versions(prefix, name)?;
    there.sort_by(|one, other| other.cmp(one));
    let used: Vec<Version> = current.cloned().into_iter().chain(read(prefix, name)?).collect();
    // Sorting is stable: those that were never used stay in the order of their versions.
    there.sort_by_key(|version| used.iter().position(|one| one == version).unwrap_or(usize::MAX));
    Ok(there)
}

/// The version that was used before the one that is in use, if it is still there.
pub fn previous(prefix: &Prefix, name: &FileName, current: Option<&Version>) -> Result<Option<Version>> {
    let there = receipt::versions(prefix, name)?;
    let used = read(prefix, name)?;
    Ok(used.into_iter().find(|version| Some(version) != current && there.contains(version)))
}
