//! An archive from its source into a staging directory: one pass, and no name before the end.
//!
//! ```text
//! source -> SHA-256 -> size bound -> decompressor -> private files 0, 1, 2…
//! ended rightly, right digest, right programs -> directories, names, modes, synced
//! ```
//!
//! While bytes flow, nothing from the archive names a file: contents go to files that are numbered.
//! What is refused leaves nothing behind, the staging directory included. Modes are this module's
//! own. Where the files go afterwards, and who may believe the index, is decided elsewhere.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};

use camino::{Utf8Path, Utf8PathBuf};

use crate::archive::stream::{self, Refused, Sink};
use crate::archive::{self, Entry, MAX_BYTES, Problem};
use crate::install::behind::Behind;
use crate::install::receipt::InstalledFile;
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::index::{ArchiveFormat, Package, PackagedBinary};
use crate::model::{Code, Digest, Failure};
use crate::world::files;

/// Where contents lie until they get their names. No archive may hold such a name.
const SPOOL: &str = "-spool";

/// An archive of which nothing was known beforehand but its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loose {
    /// Its one directory.
    pub stem: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Every file, by its path below the stem, sorted.
    pub files: Vec<InstalledFile>,
}

/// Unpacks the archive of a package, which has to be the one that the index describes.
///
/// The staging directory is a new name, or an empty directory; it then holds what was below the stem.
/// On any failure it is removed. A [`Failure`] inside of an error of the source comes out as it is.
pub fn unpack(source: impl Read, package: &Package, stem: &str, staging: &Utf8Path) -> Result<Vec<InstalledFile>> {
    let demands = Demands {
        name: package.archive.as_str(),
        format: package.format,
        size_bytes: Some(package.size_bytes),
        sha256: Some(package.sha256),
        stem: Some(stem),
        unpacked_size_bytes: Some(package.unpacked_size_bytes),
        binaries: Some(&package.binaries),
    };
    Ok(demands.unpack(source, staging)?.files)
}

/// Unpacks an archive without an index, as strictly, with a digest if somebody gave one.
///
/// Its name is for messages only.
pub fn unpack_loose(
    source: impl Read,
    name: &str,
    format: ArchiveFormat,
    sha256: Option<Digest>,
    staging: &Utf8Path,
) -> Result<Loose> {
    let nothing =
        Demands { name, format, size_bytes: None, sha256, stem: None, unpacked_size_bytes: None, binaries: None };
    nothing.unpack(source, staging)
}

/// What an archive has to be.
struct Demands<'a> {
    name: &'a str,
    format: ArchiveFormat,
    size_bytes: Option<u64>,
    sha256: Option<Digest>,
    stem: Option<&'a str>,
    unpacked_size_bytes: Option<u64>,
    binaries: Option<&'a [PackagedBinary]>,
}

impl Demands<'_> {
    fn unpack(&self, source: impl Read, staging: &Utf8Path) -> Result<Loose> {
        let staging = Staging::open(staging)?;
        let mut source = Measured::new(source, self.size_bytes.unwrap_or(MAX_BYTES));
        let mut spool = Spool::open(staging.path)?;
        let expected = stream::Expected { stem: self.stem, unpacked_size_bytes: self.unpacked_size_bytes };
        let read = match stream::read(self.format, &mut source, &expected, &mut spool) {
            Ok(accepted) => Ok(accepted),
            Err(Refused::Archive(problem)) => Err(problem),
            Err(Refused::Source(error)) => return Err(self.unreadable(error)),
            Err(Refused::Sink(error)) => return Err(files::failed("unpack into", staging.path, error)),
        };
        // Whatever is wrong inside, most useful to know is that these are other bytes.
        let (sha256, size_bytes) = self.measure(source, read.as_ref().err())?;
        let accepted = read.map_err(|problem| self.invalid(&problem))?;
        self.check_programs(&accepted.entries)?;
        let files = spool.settle(accepted.entries)?;
        staging.keep();
        Ok(Loose { stem: accepted.stem, sha256, size_bytes, files })
    }

    /// Sees that size and digest of the archive are right. Where nothing is known of them and there is
    /// a problem already, the rest of the source need not be read.
    fn measure(&self, mut source: Measured<impl Read>, problem: Option<&Problem>) -> Result<(Digest, u64)> {
        if problem.is_none() || self.size_bytes.is_some() || self.sha256.is_some() {
            io::copy(&mut source, &mut io::sink()).map_err(|error| self.unreadable(error))?;
        }
        let Measured { taken, goes_on, hasher, .. } = source;
        if let Some(size) = self.size_bytes.filter(|size| *size != taken || goes_on) {
            let actual = if goes_on { "more".to_owned() } else { taken.to_string() };
            let message = format!("`{}` does not have the {size} bytes that the index gives, but {actual}", self.name);
            return Err(self.failure(Code::SizeMismatch, message).hint(OTHER_BYTES));
        }
        let sha256 = hasher.finish();
        if let Some(expected) = self.sha256.filter(|expected| *expected != sha256) {
            let message = format!("`{}` does not have the digest {expected}, but {sha256}", self.name);
            return Err(self.failure(Code::DigestMismatch, message).hint(OTHER_BYTES));
        }
        if goes_on {
            return Err(self.invalid(&Problem::too_large()));
        }
        Ok((sha256, taken))
    }

    fn check_programs(&self, entries: &[Entry]) -> Result<()> {
        let differences =
            self.binaries.map(|listed| archive::programs::differences(entries, listed)).unwrap_or_default();
        let Some(first) = differences.first() else { return Ok(()) };
        let message = format!("`{}` does not hold what the index says: {first}", self.name);
        Err(self
            .failure(Code::ArchiveMismatch, message)
            .hint("do not use this release; tell its maker that index and archive disagree"))
    }

    fn invalid(&self, problem: &Problem) -> Failure {
        self.failure(Code::ArchiveInvalid, format!("`{}` is refused: {problem}", self.name))
            .hint("only archives in the form that `consign package` writes are installed")
    }

    fn unreadable(&self, error: io::Error) -> Failure {
        error.downcast::<Failure>().unwrap_or_else(|error| {
            self.failure(Code::Io, format!("failed to read `{}`", self.name))
                .because(error)
                .hint("check the connection or the disk that it comes from, and try again")
        })
    }

    fn failure(&self, code: Code, message: String) -> Failure {
        Failure::new(code, message).subject(self.name)
    }
}

const OTHER_BYTES: &str =
    "it was cut off or changed on its way, or replaced where it lies: try again, or another mirror";

/// A source that is hashed and bounded: it ends where it has to, and notices if there is more.
struct Measured<R> {
    inner: R,
    limit: u64,
    taken: u64,
    goes_on: bool,
    ended: bool,
    hasher: Hasher,
}

impl<R: Read> Measured<R> {
    fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit, taken: 0, goes_on: false, ended: false, hasher: Hasher::default() }
    }
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        let left = usize::try_from(self.limit - self.taken).unwrap_or(usize::MAX).min(out.len());
        if left == 0 {
            self.goes_on = self.inner.read(&mut [0])? > 0;
            self.ended = true;
            return Ok(0);
        }
        let read = self.inner.read(&mut out[..left])?;
        self.ended = read == 0;
        self.hasher.update(&out[..read]);
        self.taken += read as u64;
        Ok(read)
    }
}

/// The staging directory, removed unless it is kept.
struct Staging<'a> {
    path: &'a Utf8Path,
    kept: bool,
}

impl<'a> Staging<'a> {
    /// Makes the directory, or takes an empty one.
    fn open(path: &'a Utf8Path) -> Result<Self> {
        match create_private(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let metadata = fs_err::symlink_metadata(path).map_err(|error| files::failed("look at", path, error))?;
                if !metadata.is_dir() || !files::list(path)?.is_empty() {
                    let message = format!("cannot unpack into `{path}`, which is not an empty directory");
                    return Err(Failure::new(Code::FileExists, message).subject(path.as_str()));
                }
            }
            made => made.map_err(|error| files::failed("create directory", path, error))?,
        }
        Ok(Self { path, kept: false })
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // There is a failure already that says more than this one would.
            let _ = files::remove_directory(self.path);
        }
    }
}

/// The contents of the archive's files, in private files that are numbered.
struct Spool<'a> {
    staging: &'a Utf8Path,
    directory: Utf8PathBuf,
    number: usize,
    behind: Behind,
}

impl<'a> Spool<'a> {
    fn open(staging: &'a Utf8Path) -> Result<Self> {
        let directory = staging.join(SPOOL);
        create_private(&directory).map_err(|error| files::failed("create directory", &directory, error))?;
        let behind = Behind::start().map_err(|error| files::failed("unpack into", staging, error))?;
        Ok(Self { staging, directory, number: 0, behind })
    }

    /// Gives the files their names and modes, and makes all of it survive a power cut.
    fn settle(mut self, entries: Vec<Entry>) -> Result<Vec<InstalledFile>> {
        self.behind.finish().map_err(|error| files::failed("unpack into", self.staging, error))?;
        let mut directories = BTreeSet::new();
        for (number, entry) in entries.iter().enumerate() {
            let spooled = self.directory.join(number.to_string());
            let place = self.staging.join(&entry.path);
            finish_file(&spooled, entry.executable).map_err(|error| files::failed("write", &spooled, error))?;
            for (slash, _) in entry.path.match_indices('/') {
                self.create_directory(&mut directories, &entry.path[..slash])?;
            }
            fs_err::rename(&spooled, &place).map_err(|error| files::failed("put in place", &place, error))?;
        }
        fs_err::remove_dir(&self.directory).map_err(|error| files::failed("remove", &self.directory, error))?;
        files::set_directory_mode(self.staging)?;
        // What is deeper comes later in the order, and is synced earlier.
        directories.iter().rev().try_for_each(|directory| files::sync_directory(directory))?;
        files::sync_directory(self.staging)?;
        let installed =
            |Entry { path, executable, size_bytes, sha256 }| InstalledFile { path, sha256, size_bytes, executable };
        Ok(entries.into_iter().map(installed).collect())
    }

    fn create_directory(&self, made: &mut BTreeSet<Utf8PathBuf>, path: &str) -> Result<()> {
        let directory = self.staging.join(path);
        if !made.contains(&directory) {
            fs_err::create_dir(&directory).map_err(|error| files::failed("create directory", &directory, error))?;
            files::set_directory_mode(&directory)?;
            made.insert(directory);
        }
        Ok(())
    }
}

impl Sink for Spool<'_> {
    fn begin(&mut self, _size_bytes: u64) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        }
        self.behind.begin(options.open(self.directory.join(self.number.to_string()))?)?;
        self.number += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.behind.write(bytes)
    }
}

/// Makes a directory that nobody else can look into.
fn create_private(path: &Utf8Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Gives a spooled file its mode and syncs it.
fn finish_file(path: &Utf8Path, executable: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    let file = options.open(path)?;
    files::set_mode(&file, if executable { 0o755 } else { 0o644 })?;
    file.sync_all()
}
