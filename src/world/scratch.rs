//! Directories for work in between, which are removed when it is over.

use camino::{Utf8Path, Utf8PathBuf};

use super::files;
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// A private directory, removed with everything in it when it is dropped.
#[derive(Debug)]
pub struct Directory {
    directory: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl Directory {
    /// Makes one among the system's temporary files.
    pub fn new(prefix: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir().map_err(|error| {
            Failure::new(Code::Io, "failed to create a temporary directory").because(error).hint("check `TMPDIR`")
        })?;
        let path = files::utf8(directory.path().to_owned())?;
        Ok(Self { directory, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Leaves it where it is.
    pub fn keep(self) -> Utf8PathBuf {
        let Self { directory, path } = self;
        drop(directory.keep());
        path
    }
}
