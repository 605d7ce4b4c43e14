//! Taking turns: only one process at a time changes a product.
//!
//! [`lock`] makes what an installation needs to begin, waits for the turn and heals what a killed
//! run left. What it made and nobody used goes away with the turn, so that a run which fails leaves
//! the prefix as it was.

use std::error::Error as _;
use std::io::ErrorKind;

use camino::{Utf8Path, Utf8PathBuf};

use super::prefix::{self, Prefix};
use super::settle;
use crate::model::failure::Result;
use crate::model::{Failure, FileName};
use crate::world::lock::Lock;

/// The right to change one product under a prefix. Dropping it gives it back.
#[derive(Debug)]
pub struct Turn {
    prefix: Prefix,
    name: FileName,
    /// Directories that were not there before, each after the one that it is in.
    made: Vec<Utf8PathBuf>,
    lock: Option<Lock>,
}

/// Waits until no other process changes the product, and heals what a killed one left.
///
/// If it has to wait, it first calls `waiting` with the process that it waits for, if that is known.
pub fn lock(prefix: &Prefix, name: &FileName, waiting: &dyn Fn(Option<u32>)) -> Result<Turn> {
    prefix.inspect(name)?;
    let mut turn = Turn { prefix: prefix.clone(), name: name.clone(), made: Vec::new(), lock: None };
    let path = prefix.library().join(format!(".lock-{name}"));
    turn.lock = take(&path, waiting, &mut || make(prefix, &mut turn.made))?;
    // Somebody may have been at work while this one waited.
    prefix.inspect(name)?;
    settle::settle(&turn)?;
    Ok(turn)
}

impl Turn {
    /// The prefix.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The product.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// Whether nobody else can be at work. Some file systems have no locks.
    pub fn is_alone(&self) -> bool {
        self.lock.is_some()
    }

    /// The right to change what all products share: the names in `bin`. It is held for an instant only.
    pub fn shared(&self) -> Result<Option<Lock>> {
        shared(&self.prefix)
    }
}

impl Drop for Turn {
    /// Removes the directories that nobody needs: only what is empty can be removed like this.
    ///
    /// Each goes while nobody else may be about to put something there: the product's own under the
    /// product's lock, what all products share under theirs.
    fn drop(&mut self) {
        let Self { prefix, name, made, .. } = self;
        let (bin, product) = (prefix.bin(), prefix.product(name));
        let _ = fs_err::remove_dir(prefix.receipts(name));
        let _ = fs_err::remove_dir(&product);
        if product.symlink_metadata().is_err()
            && let Ok(_shared) = shared(prefix)
        {
            let _ = fs_err::remove_dir(prefix.all_receipts());
            if made.contains(&bin) {
                let _ = fs_err::remove_dir(&bin);
            }
        }
        // The locks' files are in a directory that may have to go too.
        self.lock = None;
        let _ = fs_err::remove_dir(prefix.library());
        for directory in made.iter().rev().filter(|directory| **directory != bin) {
            let _ = fs_err::remove_dir(directory);
        }
    }
}

/// Takes a lock in a directory that whoever held it last may just be removing.
fn take(path: &Utf8Path, waiting: &dyn Fn(Option<u32>), make: &mut dyn FnMut() -> Result<()>) -> Result<Option<Lock>> {
    const ATTEMPTS: usize = 1000;
    let mut attempt = || {
        make()?;
        Lock::take(path, waiting).map_err(|error| prefix::failed("lock", path, error))
    };
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(failure) if is_gone(&failure) => {}
            taken => return taken,
        }
    }
    attempt()
}

fn is_gone(failure: &Failure) -> bool {
    let cause = failure.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == ErrorKind::NotFound)
}

fn shared(prefix: &Prefix) -> Result<Option<Lock>> {
    take(&prefix.library().join(".lock"), &|_| (), &mut || Ok(()))
}

/// Makes the directories that are missing, and remembers them.
fn make(prefix: &Prefix, made: &mut Vec<Utf8PathBuf>) -> Result<()> {
    // Above the prefix the user's own umask decides.
    let outside: Vec<_> = prefix.path().ancestors().take_while(|path| path.symlink_metadata().is_err()).collect();
    for path in outside.into_iter().rev() {
        match fs_err::create_dir(path) {
            Ok(()) => made.push(path.to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(prefix::failed("create directory", path, error)),
        }
    }
    for path in [prefix.bin(), prefix.path().join("lib"), prefix.library()] {
        if prefix::look(&path)?.is_none() {
            made.push(path.clone());
        }
        prefix::create(&path)?;
    }
    Ok(())
}
