//! Healing: what a run that was killed left is finished or taken away.
//!
//! [`settle`] runs whenever a turn begins. What it takes away has a name that only an unfinished
//! run gives; versions, receipts and whatever somebody else put there stay.

use camino::Utf8Path;
use semver::Version;

use super::current::{self, Current, REPLACEMENT};
use super::lock::Turn;
use super::staging::{STAGING, Staging};
use super::{history, prefix, programs, receipt};
use crate::model::failure::Result;
use crate::world::files;

/// How the name of a version's directory begins that has been replaced.
const REPLACED: &str = ".old-";

/// Finishes or takes away what a killed run left of the product.
pub fn settle(turn: &Turn) -> Result<()> {
    let (prefix, name) = (turn.prefix(), turn.name());
    if !turn.is_alone() {
        // What looks left over may be somebody's work in progress.
        return Ok(());
    }
    if let Some(Current::Replacement(version)) = current::read(prefix, name)? {
        finish_replacement(turn, &version)?;
    }
    sweep(turn)?;
    record(turn)?;
    if let Some(_shared) = turn.shared()? {
        programs::sweep(prefix)?;
    }
    Ok(())
}

/// Gives the replacement, which is in use, the name and the receipt of what it replaces.
///
/// Doing it again after a kill leads to the same end from every step.
pub fn finish_replacement(turn: &Turn, version: &Version) -> Result<()> {
    let (prefix, name) = (turn.prefix(), turn.name());
    let product = prefix.product(name);
    let place = prefix.version(name, version);
    let in_use = product.join(format!("{REPLACEMENT}{version}"));
    // What is in use cannot be renamed without an instant in which the link leads nowhere, so the
    // same files get a second directory, which is then put in use.
    let twin = Staging::new(turn)?;
    link_all(&in_use, twin.path())?;
    prefix::readable(twin.path())?;
    set_aside(turn, version)?;
    twin.rename(&place)?;
    let receipt = receipt::pending(prefix, name, version);
    if prefix::look(&receipt)?.is_some() {
        let place = prefix.receipt(name, version);
        fs_err::rename(&receipt, &place).map_err(|error| prefix::failed("put in place", &place, error))?;
        files::sync_directory(&prefix.receipts(name))?;
    }
    files::sync_directory(&product)?;
    current::switch(turn, &Current::Version(version.clone()))?;
    sweep(turn)
}

/// Takes a version's directory out of sight in one step. It is removed with what killed runs left.
pub fn set_aside(turn: &Turn, version: &Version) -> Result<()> {
    let product = turn.prefix().product(turn.name());
    let place = turn.prefix().version(turn.name(), version);
    if prefix::look(&place)?.is_none() {
        return Ok(());
    }
    let aside = product.join(format!("{REPLACED}{version}"));
    // A run that was killed may have got as far as this.
    remove(&aside)?;
    fs_err::rename(&place, aside).map_err(|error| prefix::failed("move aside", &place, error))
}

/// Removes what only an unfinished run has.
pub fn sweep(turn: &Turn) -> Result<()> {
    let (prefix, name) = (turn.prefix(), turn.name());
    let product = prefix.product(name);
    let in_use = current::read(prefix, name)?;
    let in_use = in_use.as_ref().map(Current::directory);
    for (entry, _) in list(&product)? {
        // Where there are no locks, somebody else may be filling a directory.
        let unfinished = entry.starts_with(STAGING) && turn.is_alone()
            || [REPLACED, REPLACEMENT].iter().any(|start| entry.starts_with(start));
        if unfinished && in_use.as_ref() != Some(&entry) || entry == current::NEXT {
            remove(&product.join(entry))?;
        }
    }
    let receipts = prefix.receipts(name);
    for (entry, _) in list(&receipts)? {
        if entry.starts_with(REPLACEMENT) {
            remove(&receipts.join(entry))?;
        }
    }
    for directory in [&product, &receipts] {
        files::sweep(directory)?;
    }
    let used = current::version(prefix, name)?;
    for version in receipt::receipted(prefix, name)? {
        // A receipt of nothing: the kill came between it and its version.
        if used.as_ref() != Some(&version) && prefix::look(&prefix.version(name, &version))?.is_none() {
            remove(&prefix.receipt(name, &version))?;
        }
    }
    Ok(())
}

/// Writes down that the version in use is in use, if the kill came before that.
fn record(turn: &Turn) -> Result<()> {
    let (prefix, name) = (turn.prefix(), turn.name());
    let Some(used) = current::version(prefix, name)? else { return Ok(()) };
    let order = history::read(prefix, name)?;
    if order.first() == Some(&used) {
        return Ok(());
    }
    let rest = order.into_iter().filter(|version| *version != used);
    history::record(turn, &std::iter::once(used.clone()).chain(rest).collect::<Vec<_>>());
    Ok(())
}

fn list(directory: &Utf8Path) -> Result<Vec<(String, bool)>> {
    if prefix::look(directory)?.is_none() { Ok(Vec::new()) } else { files::list(directory) }
}

/// Removes a directory with all in it, a file or a link.
pub fn remove(path: &Utf8Path) -> Result<()> {
    match prefix::look(path)? {
        None => Ok(()),
        Some(metadata) if metadata.is_dir() => files::remove_directory(path),
        Some(_) => fs_err::remove_file(path).map_err(|error| prefix::failed("remove", path, error)),
    }
}

/// The same files in another directory: the same bytes under a second name, or copies of them.
fn link_all(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    for (entry, _) in files::list(from)? {
        let (source, place) = (from.join(&entry), to.join(&entry));
        if prefix::look(&source)?.is_some_and(|metadata| metadata.is_dir()) {
            prefix::create(&place)?;
            link_all(&source, &place)?;
        } else if fs_err::hard_link(&source, &place).is_err() {
            let failed = |error| prefix::failed("copy", &source, error);
            fs_err::copy(&source, &place).map_err(failed)?;
            fs_err::File::open(&place).and_then(|file| file.sync_all()).map_err(failed)?;
        }
    }
    files::sync_directory(to)
}
