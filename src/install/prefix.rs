//! Where an installation lies: the names of everything under a prefix.
//!
//! ```text
//! <prefix>/bin/<program>                          a link into the current version
//! <prefix>/lib/consign/<name>/current             a link to the version that is in use
//! <prefix>/lib/consign/<name>/history             the versions in the order of use, the last one first
//! <prefix>/lib/consign/<name>/<version>/bin/…     what an archive holds
//! <prefix>/lib/consign/receipts/<name>/<version>.json
//! ```
//!
//! The prefix may be reached through links; [`Prefix::resolve`] follows them once. Nothing below it
//! may be a link, and nobody but its owner and root may be able to write there: this is what
//! [`Prefix::inspect`] checks, and why paths can be used afterwards.

use std::fs::Metadata;
use std::io::ErrorKind;

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;

use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName};
use crate::world::files;

/// What no product can be called, because the receipts are there.
const RECEIPTS: &str = "receipts";

/// A prefix, `/usr/local` or `~/.local`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Utf8PathBuf);

impl Prefix {
    /// The prefix that a path leads to, absolute and without links. It need not be there yet.
    ///
    /// Whoever shows it shows [`Prefix::path`], so that a link does not go unnoticed.
    pub fn resolve(path: &Utf8Path) -> Result<Self> {
        let path = camino::absolute_utf8(path).map_err(|error| files::failed("find", path, error))?;
        for known in path.ancestors() {
            match known.canonicalize_utf8() {
                Ok(real) => {
                    let rest = path.strip_prefix(known).unwrap_or(Utf8Path::new(""));
                    let real = if rest.as_str().is_empty() { real } else { real.join(rest) };
                    return Ok(Self(real));
                }
                // A link that leads nowhere is there, and is not to be taken for a name to be made.
                Err(error) if error.kind() == ErrorKind::NotFound && known.symlink_metadata().is_err() => {}
                Err(error) => return Err(failed("find", known, error)),
            }
        }
        Ok(Self(path))
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

    /// The versions of a product in the order of use.
    pub fn history(&self, name: &FileName) -> Utf8PathBuf {
        self.product(name).join("history")
    }

    /// Where the receipts of all products are.
    pub fn all_receipts(&self) -> Utf8PathBuf {
        self.library().join(RECEIPTS)
    }

    /// Where the receipts of a product are.
    pub fn receipts(&self, name: &FileName) -> Utf8PathBuf {
        self.all_receipts().join(name.as_str())
    }

    /// The receipt of one version of a product.
    pub fn receipt(&self, name: &FileName, version: &Version) -> Utf8PathBuf {
        self.receipts(name).join(format!("{version}.json"))
    }

    /// Refuses a place where what is installed could be led elsewhere or changed by others.
    pub fn inspect(&self, name: &FileName) -> Result<()> {
        if name.as_str().eq_ignore_ascii_case(RECEIPTS) {
            let message = format!("a product cannot be called `{name}`: that is where the receipts are");
            return Err(Failure::new(Code::NameInvalid, message).subject(name.as_str()));
        }
        let directories = [
            self.0.clone(),
            self.bin(),
            self.0.join("lib"),
            self.library(),
            self.product(name),
            self.all_receipts(),
            self.receipts(name),
        ];
        directories.iter().try_for_each(|directory| inspect(directory))
    }
}

/// Makes a directory below the prefix, which everybody may read whatever the umask.
pub fn create(path: &Utf8Path) -> Result<()> {
    match fs_err::create_dir(path) {
        Ok(()) => readable(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => inspect(path),
        Err(error) => Err(failed("create directory", path, error)),
    }
}

/// Lets everybody look into a directory, and only its owner change it.
#[cfg(unix)]
pub fn readable(path: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| failed("set the mode of", path, error))
}

/// Permissions are inherited there.
#[cfg(not(unix))]
pub fn readable(_path: &Utf8Path) -> Result<()> {
    Ok(())
}

/// The failure of a deed below a prefix, with the way out that there is for whoever installs.
pub fn failed(deed: &str, path: &Utf8Path, error: std::io::Error) -> Failure {
    let kind = error.kind();
    let failure = files::failed(deed, path, error);
    match kind {
        ErrorKind::PermissionDenied => {
            failure.hint("name a prefix that is yours with `--prefix`, or run it as the owner of this one")
        }
        ErrorKind::ReadOnlyFilesystem => {
            failure.hint("the file system is read-only: name another place with `--prefix`")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failure.hint("free some space there, or name another place with `--prefix`")
        }
        _ => failure,
    }
}

/// Whether something is there, without following a link.
pub fn look(path: &Utf8Path) -> Result<Option<Metadata>> {
    match fs_err::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        // Below a file there is nothing; that it is in the way is said where something is to be put there.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(failed("look at", path, error)),
    }
}

fn inspect(path: &Utf8Path) -> Result<()> {
    match fs_err::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            let hint = "remove the link, or name the real directory with `--prefix`";
            Err(refused(path, "is a link, and nothing below a prefix may lead elsewhere").hint(hint))
        }
        Ok(metadata) if !metadata.is_dir() => {
            Err(refused(path, "is not a directory").hint("move it away, or name another place with `--prefix`"))
        }
        Ok(metadata) if is_anybodys(&metadata) => {
            let problem = "belongs to somebody else, and more people than that can change what is in it";
            Err(refused(path, problem).hint("take the right to write away (`chmod go-w`), or use a prefix of your own"))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(refused(path, "is below a file")),
        Err(error) => Err(failed("look at", path, error)),
    }
}

/// Whether somebody who is neither root nor this user could put something else there.
///
/// A group may share a directory of root's, as `/usr/local` is shared on some systems.
#[cfg(unix)]
fn is_anybodys(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (owner, mode) = (metadata.uid(), metadata.mode());
    let sticky = mode & 0o1000 != 0;
    if owner == rustix::process::geteuid().as_raw() {
        false
    } else if owner == 0 {
        mode & 0o002 != 0 && !sticky
    } else {
        mode & 0o022 != 0
    }
}

#[cfg(not(unix))]
fn is_anybodys(_metadata: &Metadata) -> bool {
    false
}

/// A place that is not used as it is.
pub fn refused(path: &Utf8Path, problem: &str) -> Failure {
    Failure::new(Code::PrefixRefused, format!("`{path}` {problem}")).subject(path.as_str())
}
