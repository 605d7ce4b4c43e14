//! Key files: read bounded, private ones only where nobody else can read them, and written so.
//!
//! [`read_private`] is for keys that sign; [`Exposure::Tolerated`] takes what others can read. What the
//! bytes mean is decided in `trust`.

use std::fs::File;
use std::io::{Read as _, Write as _};

use camino::Utf8Path;
use zeroize::Zeroizing;

use super::files;
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::key::MAX_PEM_BYTES;
use crate::trust::shapes::quoted;

/// The longest passphrase, in bytes.
const MAX_PASSPHRASE_BYTES: usize = 1024;

/// Whether a private key may lie where others can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// It may not: others can read it, or a link leads to it.
    Refused,
    /// It may, for somebody said so.
    Tolerated,
}

/// Whether a file that is in the way is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTheWay {
    /// It stays, and nothing is written.
    Stays,
    /// It is replaced.
    Goes,
}

/// Reads the file of a private key.
pub fn read_private(path: &Utf8Path, exposure: Exposure) -> Result<Zeroizing<Vec<u8>>> {
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    if is_link && exposure == Exposure::Refused {
        return Err(exposed(path, "is a symbolic link, and what it leads to can be exchanged")
            .hint("name the file itself, or give `--insecure-key-perms` where the link is meant"));
    }
    let place = if is_link {
        path.canonicalize_utf8().map_err(|error| files::failed("read", path, error))?
    } else {
        path.to_owned()
    };
    let file = regular(&place)?;
    if exposure == Exposure::Refused && is_open_to_others(&file, path)? {
        return Err(exposed(path, "can be read by others than its owner")
            .hint(format!("run `chmod 600 {}`; if others could log in here, make a new key", quoted(path.as_str()))));
    }
    read(file, path)
}

/// Reads a file that should be a public key and may be anything, to tell what it is.
pub fn read_any(path: &Utf8Path) -> Result<Zeroizing<Vec<u8>>> {
    // A pipe is fine here, and what `<(…)` of a shell makes.
    let file = File::open(path).map_err(|error| files::failed("read", path, error))?;
    read(file, path)
}

/// Refuses a private key that lies inside a directory that is going to be published.
pub fn outside(path: &Utf8Path, directory: &Utf8Path) -> Result<()> {
    // What is not there yet cannot hold anything.
    let Ok(directory) = directory.canonicalize_utf8() else { return Ok(()) };
    let parent = path.parent().filter(|parent| !parent.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    // Both the link and what it leads to have to lie elsewhere.
    let places = [path.canonicalize_utf8(), parent.canonicalize_utf8()];
    if places.iter().flatten().any(|place| place.starts_with(&directory)) {
        return Err(exposed(path, "is a private key inside the directory that is published")
            .hint(format!("move it out of `{directory}`, and make a new key if that was ever published")));
    }
    Ok(())
}

/// Writes a private key for its owner alone and its public half for everybody, both or none.
pub fn write_pair(private: (&Utf8Path, &str), public: Option<(&Utf8Path, &str)>, in_the_way: InTheWay) -> Result<()> {
    let paths: Vec<_> = std::iter::once(private.0).chain(public.map(|(path, _)| path)).collect();
    is_free(&paths, in_the_way)?;
    write(private.0, private.1.as_bytes(), 0o600, in_the_way)?;
    if let Some((path, pem)) = public {
        write(path, pem.as_bytes(), 0o644, in_the_way).inspect_err(|_| {
            // The two are there together or not at all; the failure is told either way.
            if in_the_way == InTheWay::Stays {
                let _ = fs_err::remove_file(private.0);
            }
        })?;
    }
    Ok(())
}

/// Whether files can be written: nothing is in their way, or it may go.
pub fn is_free(paths: &[&Utf8Path], in_the_way: InTheWay) -> Result<()> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) if in_the_way == InTheWay::Stays => Err(exists(path)),
        _ => Ok(()),
    }
}

/// Reads a passphrase, one line, from a file descriptor that was handed in.
pub fn read_passphrase(descriptor: u32) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |error: std::io::Error| {
        Failure::new(Code::KeyInvalid, format!("no passphrase can be read from file descriptor {descriptor}"))
            .hint("hand it in, as in `--passphrase-fd 3 3< passphrase.txt`")
            .because(error)
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES + 64));
    let limit = MAX_PASSPHRASE_BYTES as u64 + 3;
    if descriptor == 0 {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let path = format!("/dev/fd/{descriptor}");
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    }
    let length = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
    bytes.truncate(length);
    if bytes.is_empty() || bytes.len() > MAX_PASSPHRASE_BYTES {
        let why = if bytes.is_empty() { "is empty" } else { "is longer than 1024 bytes" };
        return Err(Failure::new(Code::KeyInvalid, format!("the passphrase of file descriptor {descriptor} {why}"))
            .hint("write it into the first line"));
    }
    Ok(bytes)
}

fn regular(path: &Utf8Path) -> Result<File> {
    files::open_regular(path)?.ok_or_else(|| {
        let what = if path.is_dir() { "a directory" } else { "no regular file" };
        Failure::new(Code::KeyInvalid, format!("`{path}` is {what}, and a private key is read from a file"))
            .subject(path.as_str())
            .hint("name a file, or give the PEM text itself in CONSIGN_SIGNING_KEY")
    })
}

fn read(file: File, path: &Utf8Path) -> Result<Zeroizing<Vec<u8>>> {
    // Made as large as it may become, so that no piece of a key stays behind in a smaller buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PEM_BYTES + 64));
    let limit = MAX_PEM_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| files::failed("read", path, error))?;
    if bytes.len() > MAX_PEM_BYTES {
        return Err(Failure::new(
            Code::KeyInvalid,
            format!("`{path}` is larger than {MAX_PEM_BYTES} bytes: that is no key"),
        )
        .subject(path.as_str())
        .hint("name the file of one key"));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn is_open_to_others(file: &File, path: &Utf8Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata().map_err(|error| files::failed("look at", path, error))?;
    Ok(metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_file: &File, _path: &Utf8Path) -> Result<bool> {
    Ok(false)
}

fn write(path: &Utf8Path, bytes: &[u8], mode: u32, in_the_way: InTheWay) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let failed = |error| files::failed("write", path, error);
    // It is 0600 from the first instant, and opened up only where that is wanted.
    let mut file = tempfile::Builder::new().prefix(".consign-").tempfile_in(directory).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    set_mode(file.as_file(), mode).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let persisted = match in_the_way {
        InTheWay::Goes => file.persist(path),
        InTheWay::Stays => file.persist_noclobber(path),
    };
    match persisted {
        Ok(_) => files::sync_directory(directory),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(path)),
        Err(error) => Err(failed(error.error)),
    }
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &File, _mode: u32) -> std::io::Result<()> {
    Ok(())
}

fn exists(path: &Utf8Path) -> Failure {
    Failure::new(Code::FileExists, format!("`{path}` exists already, and a key is never replaced unasked"))
        .subject(path.as_str())
        .hint("choose another name; `--force` replaces it, and what it signed can then be signed by nobody again")
}

fn exposed(path: &Utf8Path, why: &str) -> Failure {
    Failure::new(Code::KeyExposed, format!("`{path}` {why}")).subject(path.as_str())
}
