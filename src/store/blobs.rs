//! Bytes by their digest, in a directory.
//!
//! [`Blobs::receive`] takes them in piece by piece beside their place, and [`Incoming::finish`] puts
//! them there once they are what they were said to be: whole, synced, and never changed again. An
//! upload in several requests is a [`Blobs::resume`] whose file stays until it is complete. A digest is
//! the only thing that ever becomes a path.

use std::io::SeekFrom;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::model::artifact::Blob;
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};
use crate::world::files;

/// After how long an upload that nobody goes on with is thrown away.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// The directory of the blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    directory: Utf8PathBuf,
}

/// Bytes on their way in.
#[derive(Debug)]
pub struct Incoming {
    place: Utf8PathBuf,
    expected: Blob,
    file: tokio::fs::File,
    received: u64,
    /// Removed with whatever is in it, unless it is put in its place.
    temporary: Option<tempfile::TempPath>,
    kept: Utf8PathBuf,
}

impl Blobs {
    /// Opens the directory, and makes it where there is none.
    pub fn open(directory: &Utf8Path) -> Result<Self> {
        let blobs = Self { directory: directory.to_owned() };
        for directory in [blobs.finished(), blobs.unfinished()] {
            files::create_directory(&directory)?;
        }
        Ok(blobs)
    }

    fn finished(&self) -> Utf8PathBuf {
        self.directory.join("sha256")
    }

    fn unfinished(&self) -> Utf8PathBuf {
        self.directory.join("uploads")
    }

    /// Where a blob is, or would be.
    pub fn path(&self, sha256: &Digest) -> Utf8PathBuf {
        let name = sha256.to_string();
        self.finished().join(&name[..2]).join(name)
    }

    /// Throws away what uploads left that nobody went on with.
    pub fn sweep(&self, now: Timestamp) -> Result<()> {
        let directory = self.unfinished();
        for (name, _) in files::list(&directory)? {
            let path = directory.join(name);
            // Another process may have finished it, or thrown it away, meanwhile.
            let Ok(changed) = path.metadata().and_then(|metadata| metadata.modified()) else { continue };
            let changed = Timestamp::try_from(changed).unwrap_or(now);
            if now.duration_since(changed).unsigned_abs() > FORGOTTEN {
                let _ = fs_err::remove_file(&path);
            }
        }
        Ok(())
    }

    /// How large a blob is, if it is there.
    pub async fn size(&self, sha256: &Digest) -> Result<Option<u64>> {
        let path = self.path(sha256);
        match tokio::fs::metadata(&path).await {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable("look at", &path, error)),
        }
    }

    /// Opens a blob to be read, if it is there.
    pub async fn read(&self, sha256: &Digest) -> Result<Option<tokio::fs::File>> {
        let path = self.path(sha256);
        match tokio::fs::File::open(&path).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable("read", &path, error)),
        }
    }

    /// Reads a whole blob, which may not be larger than a bound.
    pub fn bytes(&self, sha256: &Digest, max_bytes: usize) -> Result<Vec<u8>> {
        files::read_bounded(&self.path(sha256), max_bytes)
    }

    /// Begins to take in a blob in one go. What came is thrown away unless it is finished.
    pub async fn receive(&self, expected: Blob) -> Result<Incoming> {
        let directory = self.unfinished();
        let unfinished = directory.clone();
        let made =
            tokio::task::spawn_blocking(move || tempfile::Builder::new().prefix("part-").tempfile_in(unfinished));
        let (file, temporary) = made
            .await
            .map_err(|error| interrupted(&error))?
            .map_err(|error| unavailable("create a file in", &directory, error))?
            .into_parts();
        let file = tokio::fs::File::from_std(file);
        let kept = files::utf8(temporary.to_path_buf())?;
        Ok(Incoming {
            place: self.path(&expected.sha256),
            expected,
            file,
            received: 0,
            temporary: Some(temporary),
            kept,
        })
    }

    /// How much of an upload in several requests is there.
    pub async fn resumable(&self, expected: Blob, owner: &str) -> u64 {
        let metadata = tokio::fs::metadata(self.part(expected, owner)).await;
        metadata.map_or(0, |metadata| metadata.len())
    }

    /// Goes on with an upload in several requests. What came stays when the connection breaks.
    pub async fn resume(&self, expected: Blob, owner: &str, offset: u64) -> Result<Incoming> {
        let path = self.part(expected, owner);
        let opened = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || -> std::io::Result<Option<std::fs::File>> {
                let file =
                    std::fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
                match file.try_lock() {
                    Ok(()) => Ok(Some(file)),
                    Err(std::fs::TryLockError::WouldBlock) => Ok(None),
                    Err(std::fs::TryLockError::Error(error)) => Err(error),
                }
            })
        };
        let opened = opened.await.map_err(|error| interrupted(&error))?;
        let Some(file) = opened.map_err(|error| unavailable("open", &path, error))? else {
            return Err(Failure::new(Code::Busy, "another request is sending a piece of the same upload")
                .hint("send one piece after the other"));
        };
        let mut file = tokio::fs::File::from_std(file);
        let there = file.metadata().await.map_err(|error| unavailable("look at", &path, error))?.len();
        if there != offset {
            return Err(Failure::new(
                Code::UploadMisplaced,
                format!("the piece begins at {offset}, and {there} bytes are there"),
            )
            .subject(there.to_string())
            .hint("ask with HEAD how much is there, and go on from that"));
        }
        file.seek(SeekFrom::Start(offset)).await.map_err(|error| unavailable("write", &path, error))?;
        Ok(Incoming {
            place: self.path(&expected.sha256),
            expected,
            file,
            received: offset,
            temporary: None,
            kept: path,
        })
    }

    /// The file of an upload in several requests: of one owner, so that nobody spoils another's.
    fn part(&self, expected: Blob, owner: &str) -> Utf8PathBuf {
        let name = Digest::of(format!("{} {} {owner}", expected.sha256, expected.size_bytes).as_bytes());
        self.unfinished().join(format!("resume-{name}"))
    }
}

impl Incoming {
    /// Takes in the next bytes; more than were said is a failure.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.received += bytes.len() as u64;
        if self.received > self.expected.size_bytes {
            return Err(Failure::new(
                Code::FileTooLarge,
                format!("more than {} bytes were sent", self.expected.size_bytes),
            ));
        }
        self.file.write_all(bytes).await.map_err(|error| unavailable("write", &self.kept, error))
    }

    /// Takes in everything that a file has.
    pub async fn copy_from(&mut self, file: &mut tokio::fs::File) -> Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut piece).await.map_err(|error| unavailable("read", &self.place, error))? {
                0 => return Ok(()),
                read => self.write(&piece[..read]).await?,
            }
        }
    }

    /// Keeps what came of an upload in several requests, and says whether it is all.
    pub async fn pause(mut self) -> Result<Option<Self>> {
        self.file.flush().await.map_err(|error| unavailable("write", &self.kept, error))?;
        Ok((self.received == self.expected.size_bytes).then_some(self))
    }

    /// Puts the blob in its place, if it is what it was said to be.
    pub async fn finish(mut self) -> Result<()> {
        let wrong = |error| unavailable("write", &self.kept, error);
        self.file.flush().await.map_err(wrong)?;
        if self.received != self.expected.size_bytes {
            let (received, expected) = (self.received, self.expected.size_bytes);
            return Err(Failure::new(Code::SizeMismatch, format!("{received} bytes came, and {expected} were said")));
        }
        // What is on the disk is hashed, and not what went by: an earlier piece may be of another process.
        self.file.seek(SeekFrom::Start(0)).await.map_err(wrong)?;
        let mut hasher = Hasher::default();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match self.file.read(&mut piece).await.map_err(wrong)? {
                0 => break,
                read => hasher.update(&piece[..read]),
            }
        }
        let found = hasher.finish();
        if found != self.expected.sha256 {
            // An upload in pieces would never come right again.
            let _ = tokio::fs::remove_file(&self.kept).await;
            return Err(Failure::new(
                Code::DigestMismatch,
                format!("the bytes that came have the digest {found}, and {} was said", self.expected.sha256),
            ));
        }
        let Self { place, file, temporary, kept, .. } = self;
        let file = file.into_std().await;
        let put = move || -> Result<()> {
            let directory = place.parent().unwrap_or(Utf8Path::new("."));
            files::create_directory(directory)?;
            files::set_mode(&file, 0o644).map_err(|error| unavailable("write", &kept, error))?;
            file.sync_all().map_err(|error| unavailable("write", &kept, error))?;
            match temporary {
                Some(temporary) => {
                    temporary.persist(&place).map_err(|error| unavailable("put in place", &place, error.error))?;
                }
                None => fs_err::rename(&kept, &place).map_err(|error| unavailable("put in place", &place, error))?,
            }
            files::sync_directory(directory)?;
            directory.parent().map_or(Ok(()), files::sync_directory)
        };
        tokio::task::spawn_blocking(put).await.map_err(|error| interrupted(&error))?
    }
}

/// The failure of a deed on the blobs. The path is for the log alone.
fn unavailable(deed: &str, path: &Utf8Path, error: std::io::Error) -> Failure {
    Failure::new(Code::StoreUnavailable, "the blob store did not do what it was told")
        .because(files::failed(deed, path, error))
        .hint("try again in a moment; the server's log says why")
}

/// Only a server that is shutting down drops what it has begun.
fn interrupted(error: &tokio::task::JoinError) -> Failure {
    Failure::new(Code::StoreUnavailable, "the server is shutting down").because(error.to_string())
}
