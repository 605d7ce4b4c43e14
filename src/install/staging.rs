//! A private directory in which a version is made, on the file system that it will be used on.

use camino::{Utf8Path, Utf8PathBuf};

use super::lock::Turn;
use super::prefix;
use crate::model::failure::Result;
use crate::world::files;

/// How the name of such a directory begins.
pub const STAGING: &str = ".staging-";

/// A directory that nobody else can look into, removed with everything in it when it is dropped.
#[derive(Debug)]
pub struct Staging {
    directory: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl Staging {
    /// Makes one beside the versions of the product.
    pub fn new(turn: &Turn) -> Result<Self> {
        let product = turn.prefix().product(turn.name());
        prefix::create(&product)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(STAGING);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let directory =
            builder.tempdir_in(&product).map_err(|error| prefix::failed("create a directory in", &product, error))?;
        let path = files::utf8(directory.path().to_owned())?;
        Ok(Self { directory, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Gives it its final name, under which it stays and everybody may look into it.
    pub fn rename(self, place: &Utf8Path) -> Result<()> {
        prefix::readable(&self.path)?;
        fs_err::rename(&self.path, place).map_err(|error| prefix::failed("put in place", place, error))?;
        drop(self.directory.keep());
        Ok(())
    }
}
