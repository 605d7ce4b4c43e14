//! One process's turn at something that several could want to change.
//!
//! A [`Lock`] is an advisory lock on a file that goes away with it. The system releases it when its
//! process ends, however it ends, so that nobody has to judge whether a lock is stale.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Result, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::files;

/// A turn. Dropping it ends it.
#[derive(Debug)]
pub struct Lock {
    path: Utf8PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for the turn. Nothing where the file system has no locks.
    ///
    /// If it has to wait, it first says for which process, where that is known.
    pub fn take(path: &Utf8Path, waiting: &dyn Fn(Option<u32>)) -> Result<Option<Self>> {
        let mut told = false;
        loop {
            let mut options = fs_err::OpenOptions::new();
            let file = options.create(true).truncate(false).read(true).write(true).open(path)?;
            let (mut file, _) = file.into_parts();
            let locked = match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        waiting(holder(&mut file));
                        told = true;
                    }
                    file.lock()
                }
                Err(TryLockError::Error(error)) => Err(error),
                Ok(()) => Ok(()),
            };
            match locked {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
                Err(error) => return Err(error),
            }
            // Whoever held it before has removed it, and somebody else may have made a new one.
            if files::is_at(&file, path) {
                write_holder(&mut file);
                return Ok(Some(Self { path: path.to_owned(), _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While the lock is still held, so that nobody's file but this one is removed.
        if cfg!(unix) {
            let _ = fs_err::remove_file(&self.path);
        }
    }
}

/// Who holds the lock: only something to show, so that not knowing it is no failure.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

fn write_holder(file: &mut File) {
    let line = format!("{}\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.write_all(line.as_bytes()));
}
