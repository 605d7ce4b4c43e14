//! The one switch: which version of a product is in use.
//!
//! It is a link named `current`, and every program's link in `bin` leads through it, so that one
//! rename changes all of them. Windows lets nobody but developers make links; there it is a file
//! with the name of the directory in it, and the programs are copied.

use camino::Utf8Path;
use semver::Version;

use super::lock::Turn;
use super::prefix::{self, Prefix};
use crate::model::FileName;
use crate::model::failure::Result;
use crate::world::files;

/// The name of the link before it is renamed.
pub const NEXT: &str = ".current";
/// How the name of a directory begins that takes the place of one with the same version.
pub const REPLACEMENT: &str = ".new-";

/// Which directory is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Current {
    /// A version in its own directory.
    Version(Version),
    /// A version that was being installed again when the run was killed.
    Replacement(Version),
}

impl Current {
    /// The version.
    pub fn version(&self) -> &Version {
        match self {
            Self::Version(version) | Self::Replacement(version) => version,
        }
    }

    /// The name of its directory.
    pub fn directory(&self) -> String {
        match self {
            Self::Version(version) => version.to_string(),
            Self::Replacement(version) => format!("{REPLACEMENT}{version}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(REPLACEMENT) {
            Some(version) => version.parse().ok().map(Self::Replacement),
            None => text.parse().ok().map(Self::Version),
        }
    }
}

/// What is in use. A link that leads anywhere but to a version counts as none.
pub fn read(prefix: &Prefix, name: &FileName) -> Result<Option<Current>> {
    let path = prefix.current(name);
    if prefix::look(&path)?.is_none() {
        return Ok(None);
    }
    Ok(target(&path)?.and_then(|text| Current::parse(&text)))
}

/// The version that is in use.
pub fn version(prefix: &Prefix, name: &FileName) -> Result<Option<Version>> {
    Ok(read(prefix, name)?.map(|current| current.version().clone()))
}

/// Puts something else in use, in one step.
pub fn switch(turn: &Turn, to: &Current) -> Result<()> {
    let product = turn.prefix().product(turn.name());
    let place = turn.prefix().current(turn.name());
    if prefix::look(&place)?.is_some() {
        // Whatever it leads to is replaced; a file or a directory is not ours to replace.
        target(&place)?;
    }
    point(&product.join(NEXT), &place, &to.directory())?;
    files::sync_directory(&product)
}

#[cfg(unix)]
fn target(path: &Utf8Path) -> Result<Option<String>> {
    match fs_err::read_link(path) {
        Ok(target) => Ok(target.to_str().map(str::to_owned)),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            Err(prefix::refused(path, "is not the link that it should be").hint("move it away"))
        }
        Err(error) => Err(prefix::failed("read", path, error)),
    }
}

#[cfg(not(unix))]
fn target(path: &Utf8Path) -> Result<Option<String>> {
    const MAX_BYTES: usize = 512;
    if !prefix::look(path)?.is_some_and(|metadata| metadata.is_file()) {
        return Err(prefix::refused(path, "is not the file that it should be").hint("move it away"));
    }
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    Ok(std::str::from_utf8(&bytes).ok().map(|text| text.trim_end().to_owned()))
}

/// Makes a link beside its place and renames it over what is there.
#[cfg(unix)]
pub fn point(beside: &Utf8Path, place: &Utf8Path, target: &str) -> Result<()> {
    if prefix::look(beside)?.is_some() {
        fs_err::remove_file(beside).map_err(|error| prefix::failed("remove", beside, error))?;
    }
    fs_err::os::unix::fs::symlink(target, beside).map_err(|error| prefix::failed("create", beside, error))?;
    fs_err::rename(beside, place).map_err(|error| {
        let _ = fs_err::remove_file(beside);
        prefix::failed("put in place", place, error)
    })
}

#[cfg(not(unix))]
fn point(_beside: &Utf8Path, place: &Utf8Path, target: &str) -> Result<()> {
    files::write(place, format!("{target}\n").as_bytes())
}
