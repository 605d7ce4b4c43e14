//! Making a version the one that is in use.
//!
//! ```text
//! refuse      programs that cannot have their places                nothing is changed yet
//! place       receipt, then the directory under its final name      not in use, or already there
//! switch      `current` leads to it: one rename for all programs    <- the old version before, the new one after
//! record      the order of use
//! enter       links in `bin` that are missing or lead elsewhere
//! leave       links of programs that the version does not have
//! rename      what takes the place of the same version, if it does
//! prune       versions that are too many
//! ```
//!
//! Every step looks at what is there and does what is missing, so that a second run after a kill ends
//! where the first one would have. Names in `bin` come after the switch: before it they could lead
//! nowhere, and the program that was there would be gone.

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use semver::Version;

use super::current::{self, Current, REPLACEMENT};
use super::lock::Turn;
use super::programs::{self, Entered, Foreign};
use super::receipt::{self, Receipt};
use super::staging::Staging;
use super::{history, prefix, settle};
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName};
use crate::world::files;

/// How many versions are kept where nobody says otherwise, the one in use among them.
pub const KEPT: usize = 3;

/// What a user can choose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many versions stay, the one in use among them. That one and the one before it always stay.
    pub keep: usize,
    /// What becomes of files that are in the way.
    pub foreign: Foreign,
    /// The time, for the names of what is kept.
    pub now: Timestamp,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activated {
    /// How it came.
    pub status: Status,
    /// The version that was in use before, if it was another one.
    pub before: Option<Version>,
    /// Files that were in a program's way, where they are now.
    pub backups: Vec<Utf8PathBuf>,
    /// Names in `bin` that are gone because the version does not have these programs.
    pub left: Vec<FileName>,
    /// Versions that were removed because they were too many.
    pub pruned: Vec<Version>,
}

/// How a version came to be in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is new.
    Installed,
    /// It takes the place of the same version with other bytes, or of one that was damaged.
    Replaced,
    /// It was there, and something was missing for it to be in use.
    Switched,
    /// Everything was as it should be.
    Unchanged,
}

/// Puts what was staged in use.
pub fn activate(turn: &Turn, staged: Staging, receipt: &Receipt, options: Options) -> Result<Activated> {
    let (prefix, name) = (turn.prefix(), turn.name());
    prefix.inspect(name)?;
    check_staged(staged.path(), turn, receipt)?;
    let _shared = turn.shared()?;
    programs::check(prefix, name, &receipt.programs)?;
    let was_there = prefix::look(&prefix.version(name, &receipt.version))?.is_some();
    let done = place(turn, staged, receipt).and_then(|placed| finish(turn, receipt, placed, options));
    if done.is_err() {
        // Nothing more can be said than why it failed, and the next run heals what stays.
        let _ = give_up(turn, &receipt.version, was_there);
    }
    done
}

/// Takes away what a run that failed has put in place without using it.
fn give_up(turn: &Turn, version: &Version, was_there: bool) -> Result<()> {
    if !was_there && current::version(turn.prefix(), turn.name())?.as_ref() != Some(version) {
        settle::set_aside(turn, version)?;
    }
    settle::sweep(turn)
}

/// Puts a version in use that is kept, by the receipt that it has.
///
/// For one that is in use already this puts right what a kill or somebody else has left wrong.
pub fn activate_kept(turn: &Turn, receipt: &Receipt, options: Options) -> Result<Activated> {
    let (prefix, name) = (turn.prefix(), turn.name());
    prefix.inspect(name)?;
    check_staged(&prefix.version(name, &receipt.version), turn, receipt)?;
    let _shared = turn.shared()?;
    programs::check(prefix, name, &receipt.programs)?;
    finish(turn, receipt, Placed::Before, options)
}

fn finish(turn: &Turn, receipt: &Receipt, placed: Placed, options: Options) -> Result<Activated> {
    let used = use_version(turn, receipt, placed, options)?;
    let pruned = prune(turn, &receipt.version, options.keep)?;
    let status = match placed {
        Placed::New => Status::Installed,
        Placed::Beside => Status::Replaced,
        Placed::Before if used.changed => Status::Switched,
        Placed::Before => Status::Unchanged,
    };
    Ok(Activated { status, before: used.before, backups: used.backups, left: used.left, pruned })
}

/// What is the same whether a version is new or was used before.
pub(super) struct Used {
    pub(super) changed: bool,
    pub(super) before: Option<Version>,
    pub(super) backups: Vec<Utf8PathBuf>,
    pub(super) left: Vec<FileName>,
}

/// Where a version is that is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// In its place, where nothing was.
    New,
    /// Beside its place, where the same version with other bytes is.
    Beside,
    /// In its place, where it was before.
    Before,
}

/// Switches to a version that is there, and makes its programs' names lead to it.
///
/// The right to change what all products share is held.
pub(super) fn use_version(turn: &Turn, receipt: &Receipt, placed: Placed, options: Options) -> Result<Used> {
    let (prefix, name, version) = (turn.prefix(), turn.name(), &receipt.version);
    // Somebody else's run that failed may have made it, and have taken it away.
    prefix::create(&prefix.bin())?;
    let found = current::read(prefix, name)?;
    let mut changed = placed != Placed::Before;
    let wanted = match placed {
        Placed::Beside => Current::Replacement(version.clone()),
        Placed::New | Placed::Before => Current::Version(version.clone()),
    };
    if found.as_ref() != Some(&wanted) {
        current::switch(turn, &wanted)?;
        changed = true;
    }
    let before = found.map(|found| found.version().clone()).filter(|before| before != version);
    let earlier = before.clone().into_iter().chain(history::read(prefix, name)?);
    let mut order = vec![version.clone()];
    for earlier in earlier {
        if !order.contains(&earlier) {
            order.push(earlier);
        }
    }
    history::record(turn, &order);
    let mut backups = Vec::new();
    for program in &receipt.programs {
        if let Entered::Led { backup } = programs::enter(turn, program, options.foreign, options.now)? {
            changed = true;
            backups.extend(backup);
        }
    }
    let left = programs::leave_all_but(turn, &receipt.programs)?;
    if placed == Placed::Beside {
        // Now that no program needs the receipt of what is replaced: a copy is known by it.
        settle::finish_replacement(turn, version)?;
    }
    Ok(Used { changed: changed || !left.is_empty(), before, backups, left })
}

/// What was staged has to hold every program that is to be led to.
fn check_staged(staged: &Utf8Path, turn: &Turn, receipt: &Receipt) -> Result<()> {
    if receipt.name != *turn.name() {
        let message = format!("the receipt is about `{}`, and `{}` is installed", receipt.name, turn.name());
        return Err(Failure::new(Code::DocumentsDisagree, message).subject(receipt.name.as_str()));
    }
    for program in &receipt.programs {
        let path = staged.join("bin").join(program.as_str());
        if !prefix::look(&path)?.is_some_and(|metadata| metadata.is_file()) {
            let message = format!("what is to be installed has no program `bin/{program}`");
            return Err(Failure::new(Code::ArchiveMismatch, message).subject(program.as_str()));
        }
    }
    Ok(())
}

/// Puts what was staged where it belongs, with its receipt. What is in use is not touched.
fn place(turn: &Turn, staged: Staging, receipt: &Receipt) -> Result<Placed> {
    let (prefix, name, version) = (turn.prefix(), turn.name(), &receipt.version);
    let place = prefix.version(name, version);
    if let Some(metadata) = prefix::look(&place)? {
        if !metadata.is_dir() {
            return Err(prefix::refused(&place, "is not the directory that it should be").hint("move it away"));
        }
        if is_identical(turn, receipt)? {
            return Ok(Placed::Before);
        }
    }
    prefix::readable(staged.path())?;
    sync_all(staged.path())?;
    let product = prefix.product(name);
    let placed = if prefix::look(&place)?.is_some() { Placed::Beside } else { Placed::New };
    if placed == Placed::Beside {
        receipt::write(turn, receipt, &receipt::pending(prefix, name, version))?;
        staged.rename(&product.join(format!("{REPLACEMENT}{version}")))?;
    } else {
        receipt::write(turn, receipt, &prefix.receipt(name, version))?;
        staged.rename(&place)?;
    }
    files::sync_directory(&product)?;
    Ok(placed)
}

/// Whether the same version is there with the same files, whole; its receipt is kept up to date.
fn is_identical(turn: &Turn, receipt: &Receipt) -> Result<bool> {
    let (prefix, name, version) = (turn.prefix(), turn.name(), &receipt.version);
    let there = match receipt::read(prefix, name, version) {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(false),
        // A receipt that cannot be read says nothing about what is there.
        Err(failure) if failure.code() == Code::DocumentInvalid => return Ok(false),
        Err(failure) => return Err(failure),
    };
    let same = there.files == receipt.files && there.programs == receipt.programs;
    if !same || !receipt::damage(&prefix.version(name, version), &there)?.is_empty() {
        return Ok(false);
    }
    let (installed_at, installed_by) = (there.installed_at, there.installed_by.clone());
    if there != (Receipt { installed_at, installed_by, ..receipt.clone() }) {
        // The same bytes from elsewhere, or better verified.
        receipt::write(turn, receipt, &prefix.receipt(name, version))?;
    }
    Ok(true)
}

/// Makes everything below a directory survive a power cut.
fn sync_all(directory: &Utf8Path) -> Result<()> {
    for (entry, regular) in files::list(directory)? {
        let path = directory.join(entry);
        if regular {
            fs_err::File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|error| prefix::failed("sync", &path, error))?;
        } else {
            sync_all(&path)?;
        }
    }
    files::sync_directory(directory)
}

/// Removes the versions that are too many, those first that were not used for longest.
fn prune(turn: &Turn, current: &Version, keep: usize) -> Result<Vec<Version>> {
    let (prefix, name) = (turn.prefix(), turn.name());
    let previous = history::previous(prefix, name, Some(current))?;
    let stays = |version: &Version| version == current || previous.as_ref() == Some(version);
    let kept = history::kept(prefix, name, Some(current))?;
    let (surviving, pruned): (Vec<_>, Vec<_>) =
        kept.into_iter().enumerate().partition(|(place, version)| *place < keep || stays(version));
    let pruned: Vec<Version> = pruned.into_iter().map(|(_, version)| version).collect();
    for version in &pruned {
        settle::set_aside(turn, version)?;
    }
    // With the directories go their receipts.
    settle::sweep(turn)?;
    let surviving: Vec<Version> = surviving.into_iter().map(|(_, version)| version).collect();
    let order: Vec<Version> =
        history::read(prefix, name)?.into_iter().filter(|version| surviving.contains(version)).collect();
    history::record(turn, &order);
    Ok(pruned)
}
