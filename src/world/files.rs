//! The file system: bounded reading, and writing that a power cut cannot halve.

use std::io::{Read as _, Seek as _, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};

/// What the name of a bundle starts with that is being made.
pub const STAGING_BUNDLE: &str = ".bundle-";
/// What the name of a build's directory starts with while it is being filled.
pub const STAGING_BUILD: &str = ".build-";
/// What the name of a file starts with that is being written.
const STAGING_FILE: &str = ".consign-";
/// What the name of a directory starts with that has been replaced.
const STAGING_OLD: &str = ".old-";

/// Removes what killed runs left in a directory, if it is there. Nobody else may be at work in it.
pub fn sweep(directory: &Utf8Path) -> Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    for (name, is_file) in list(directory)? {
        let path = directory.join(&name);
        if is_file && name.starts_with(STAGING_FILE) {
            fs_err::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
        } else if [STAGING_BUNDLE, STAGING_BUILD, STAGING_OLD].iter().any(|start| name.starts_with(start)) {
            remove_directory(&path)?;
        }
    }
    Ok(())
}

/// Reads a file that may not be larger than a bound.
pub fn read_bounded(path: &Utf8Path, max_bytes: usize) -> Result<Vec<u8>> {
    let file = fs_err::File::open(path).map_err(|error| failed("read", path, error))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| failed("read", path, error))?;
    if bytes.len() > max_bytes {
        return Err(too_large(path, limit - 1));
    }
    Ok(bytes)
}

fn too_large(path: &Utf8Path, max_bytes: u64) -> Failure {
    Failure::new(Code::FileTooLarge, format!("`{path}` is larger than {max_bytes} bytes")).subject(path.as_str())
}

/// Writes a file so that it is there whole or not at all: beside its place, synced, renamed.
pub fn write(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes).map_err(|error| failed("write", path, error)))
}

/// The same for what does not fit into memory: `fill` writes it.
pub fn write_with(path: &Utf8Path, fill: impl FnOnce(&mut std::fs::File) -> Result<()>) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    create_directory(directory)?;
    let unwritable = |error| failed("write", path, error);
    let mut file = tempfile::Builder::new().prefix(STAGING_FILE).tempfile_in(directory).map_err(unwritable)?;
    fill(file.as_file_mut())?;
    set_mode(file.as_file(), 0o644).and_then(|()| file.as_file().sync_all()).map_err(unwritable)?;
    file.persist(path).map(|_| ()).map_err(|error| unwritable(error.error))
}

/// The size and the digest of a file.
pub fn measure(path: &Utf8Path) -> Result<(u64, Digest)> {
    let unreadable = |error| failed("read", path, error);
    let mut file = fs_err::File::open(path).map_err(unreadable)?;
    let (mut hasher, mut size_bytes, mut piece) = (Hasher::default(), 0, vec![0; 256 << 10]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((size_bytes, hasher.finish())),
            Ok(read) => {
                hasher.update(&piece[..read]);
                size_bytes += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

/// Adds to the end of a file that is somebody else's, such as the ones a workflow keeps for its steps.
pub fn append(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    fs_err::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| failed("append to", path, error))
}

/// Copies a program, which may not be larger than a bound, and gives back its digest and size.
///
/// The copy is written straight to its place and not synced: whoever reads it compares its digest.
pub fn copy_program(source: &Utf8Path, place: &Utf8Path, max_bytes: u64) -> Result<(Digest, u64)> {
    let unreadable = |error| failed("read", source, error);
    let unwritable = |error| failed("write", place, error);
    let from = fs_err::File::open(source).map_err(unreadable)?;
    let mut to = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(place).map_err(unwritable)?;
    set_mode(&to, 0o755).map_err(unwritable)?;
    // The kernel copies, or shares the blocks where the file system can; what arrived is hashed.
    let size_bytes = std::io::copy(&mut from.into_parts().0.take(max_bytes.saturating_add(1)), &mut to)
        .map_err(|error| failed(&format!("copy to `{place}`"), source, error))?;
    if size_bytes > max_bytes {
        return Err(too_large(source, max_bytes));
    }
    to.rewind().map_err(unwritable)?;
    let mut hasher = Hasher::default();
    let mut piece = vec![0; 256 << 10];
    loop {
        match to.read(&mut piece) {
            Ok(0) => return Ok((hasher.finish(), size_bytes)),
            Ok(read) => hasher.update(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

/// Puts a finished directory in the place of another, which is removed.
///
/// Between the two renames there is an instant without either; a run that was killed there is
/// healed by running again.
pub fn replace_directory(finished: &Utf8Path, place: &Utf8Path) -> Result<()> {
    let parent = place.parent().unwrap_or(Utf8Path::new("."));
    create_directory(parent)?;
    set_directory_mode(finished)?;
    if place.symlink_metadata().is_ok() {
        let old = tempfile::Builder::new()
            .prefix(STAGING_OLD)
            .tempdir_in(parent)
            .map_err(|error| failed("create a directory in", parent, error))?;
        fs_err::rename(place, old.path().join("old")).map_err(|error| failed("move aside", place, error))?;
    }
    fs_err::rename(finished, place).map_err(|error| failed("put in place", place, error))?;
    sync_directory(parent)
}

/// How much room there is for the file system of a path, as far as that can be told.
#[cfg(unix)]
pub fn free_bytes(path: &Utf8Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path.as_std_path()).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

/// How much room there is for the file system of a path, as far as that can be told.
#[cfg(not(unix))]
pub fn free_bytes(_path: &Utf8Path) -> Option<u64> {
    None
}

/// Makes a directory and all above it.
pub fn create_directory(path: &Utf8Path) -> Result<()> {
    fs_err::create_dir_all(path).map_err(|error| failed("create directory", path, error))
}

/// Removes a directory and all in it, if it is there.
pub fn remove_directory(path: &Utf8Path) -> Result<()> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove directory", path, error)),
        _ => Ok(()),
    }
}

/// Makes what was renamed or created in a directory survive a power cut.
pub fn sync_directory(path: &Utf8Path) -> Result<()> {
    // Windows cannot open a directory for syncing; its rename is durable by itself.
    if cfg!(unix) {
        fs_err::File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| failed("sync directory", path, error))?;
    }
    Ok(())
}

/// The names in a directory, sorted, with whether each is a regular file (links are not).
pub fn list(path: &Utf8Path) -> Result<Vec<(String, bool)>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(path).map_err(|error| failed("list", path, error))? {
        let entry = entry.map_err(|error| failed("list", path, error))?;
        let kind = entry.file_type().map_err(|error| failed("list", path, error))?;
        names.push((entry.file_name().to_string_lossy().into_owned(), kind.is_file()));
    }
    names.sort();
    Ok(names)
}

/// Opens a file for reading if it is a regular one; nothing if it is a link, a pipe or a device.
///
/// A link is not followed and a pipe not waited for, even if one is put there at the last instant.
pub fn open_regular(path: &Utf8Path) -> Result<Option<std::fs::File>> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }
    let is_regular = |metadata: std::fs::Metadata| metadata.is_file();
    if !path.symlink_metadata().map(is_regular).map_err(|error| failed("look at", path, error))? {
        return Ok(None);
    }
    let file = match options.open(path) {
        // This is how the system says that there is a link after all.
        #[cfg(unix)]
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => return Ok(None),
        opened => opened.map_err(|error| failed("open", path, error))?,
    };
    let regular = file.metadata().map(is_regular).map_err(|error| failed("look at", path, error))?;
    Ok(regular.then_some(file))
}

/// Whether an open file is still the one that a path leads to.
#[cfg(unix)]
pub fn is_at(file: &std::fs::File, path: &Utf8Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), fs_err::symlink_metadata(path)) {
        (Ok(file), Ok(path)) => (file.dev(), file.ino()) == (path.dev(), path.ino()),
        _ => false,
    }
}

/// A file that is open cannot be moved or removed there.
#[cfg(not(unix))]
pub fn is_at(_file: &std::fs::File, _path: &Utf8Path) -> bool {
    true
}

/// A path as UTF-8, which every path that Consign writes down has to be.
pub fn utf8(path: std::path::PathBuf) -> Result<Utf8PathBuf> {
    Utf8PathBuf::from_path_buf(path)
        .map_err(|path| Failure::new(Code::Io, format!("the path {} is not UTF-8", path.display())).hint("rename it"))
}

/// The failure of a deed on a path.
pub fn failed(deed: &str, path: &Utf8Path, error: std::io::Error) -> Failure {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Some("check the owner and the permissions"),
        std::io::ErrorKind::StorageFull => Some("free some space on the disk"),
        _ => None,
    };
    let failure = Failure::new(Code::Io, format!("failed to {deed} `{path}`")).subject(path.as_str()).because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Sets the permissions of an open file, where there are such.
#[cfg(unix)]
pub fn set_mode(file: &std::fs::File, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// Lets everybody look into a directory, and only its owner change it.
#[cfg(unix)]
pub fn set_directory_mode(path: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| failed("set the mode of", path, error))
}

/// Permissions are inherited there.
#[cfg(not(unix))]
pub fn set_directory_mode(_path: &Utf8Path) -> Result<()> {
    Ok(())
}

/// Permissions are inherited there.
#[cfg(not(unix))]
pub fn set_mode(_file: &std::fs::File, _mode: u32) -> std::io::Result<()> {
    Ok(())
}
