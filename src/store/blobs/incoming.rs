//! Blobs on their way in.

use std::io::SeekFrom;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::{Blobs, Kept, PIECE_BYTES, Reading, aside, name, unavailable};
use crate::model::artifact::Blob;
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};
use crate::world::files;

/// Bytes on their way in.
#[derive(Debug)]
pub struct Incoming {
    kept: Kept,
    expected: Blob,
    file: tokio::fs::File,
    /// Where the request that brings them has begun.
    began: u64,
    received: u64,
    /// Removed with whatever is in it, unless it is put in its place.
    temporary: Option<tempfile::TempPath>,
    path: Utf8PathBuf,
}

impl Blobs {
    /// Begins to take in a blob in one go. What came is thrown away unless it is finished.
    pub async fn receive(&self, expected: Blob) -> Result<Incoming> {
        let staging = self.staging.clone();
        let (file, temporary) = aside(move || {
            let made = tempfile::Builder::new().prefix("part-").tempfile_in(&staging);
            Ok(made.map_err(|error| unavailable("create a file in", &staging, error))?.into_parts())
        })
        .await?;
        let file = tokio::fs::File::from_std(file);
        let path = files::utf8(temporary.to_path_buf())?;
        Ok(Incoming {
            kept: self.kept.clone(),
            expected,
            file,
            began: 0,
            received: 0,
            temporary: Some(temporary),
            path,
        })
    }

    /// How much of an upload in several requests is there.
    ///
    /// Of an upload that is complete and was not put in its place, because the server was killed or its
    /// store was out of reach, the last byte is asked for again: it brings the rest about.
    pub async fn resumable(&self, expected: Blob, owner: &str) -> u64 {
        let metadata = tokio::fs::metadata(self.part(expected, owner)).await;
        metadata.map_or(0, |metadata| metadata.len()).min(expected.size_bytes.saturating_sub(1))
    }

    /// Goes on with an upload in several requests. What came stays when the connection breaks.
    pub async fn resume(&self, expected: Blob, owner: &str, offset: u64) -> Result<Incoming> {
        let path = self.part(expected, owner);
        let opened = {
            let path = path.clone();
            aside(move || open_alone(&path).map_err(|error| unavailable("open", &path, error))).await?
        };
        let Some(file) = opened else {
            return Err(Failure::new(Code::Busy, "another request is sending a piece of the same upload")
                .hint("send one piece after the other"));
        };
        let mut file = tokio::fs::File::from_std(file);
        let wrong = |error| unavailable("write", &path, error);
        let mut there = file.metadata().await.map_err(wrong)?.len();
        if there >= expected.size_bytes && offset + 1 == expected.size_bytes {
            file.set_len(offset).await.map_err(wrong)?;
            there = offset;
        }
        if there != offset {
            let there = there.min(expected.size_bytes.saturating_sub(1));
            return Err(Failure::new(
                Code::UploadMisplaced,
                format!("the piece begins at {offset}, and {there} bytes are there"),
            )
            .subject(there.to_string())
            .hint("ask with HEAD how much is there, and go on from that"));
        }
        file.seek(SeekFrom::Start(offset)).await.map_err(wrong)?;
        Ok(Incoming { kept: self.kept.clone(), expected, file, began: offset, received: offset, temporary: None, path })
    }

    /// The file of an upload in several requests: of one owner, so that nobody spoils another's.
    fn part(&self, expected: Blob, owner: &str) -> Utf8PathBuf {
        let name = Digest::of(format!("{} {} {owner}", expected.sha256, expected.size_bytes).as_bytes());
        self.staging.join(format!("resume-{name}"))
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
        self.file.write_all(bytes).await.map_err(|error| unavailable("write", &self.path, error))
    }

    /// Takes in everything that another blob has.
    pub async fn copy_from(&mut self, mut reading: Reading) -> Result<()> {
        while let Some(piece) = reading.piece().await? {
            self.write(&piece).await?;
        }
        Ok(())
    }

    /// Keeps what came of an upload in several requests, and says whether it is all.
    pub async fn pause(mut self) -> Result<Option<Self>> {
        self.file.flush().await.map_err(|error| unavailable("write", &self.path, error))?;
        Ok((self.received == self.expected.size_bytes).then_some(self))
    }

    /// Puts the blob in its place, if it is what it was said to be.
    pub async fn finish(mut self) -> Result<()> {
        self.file.flush().await.map_err(|error| unavailable("write", &self.path, error))?;
        if self.received != self.expected.size_bytes {
            let (received, expected) = (self.received, self.expected.size_bytes);
            return Err(Failure::new(Code::SizeMismatch, format!("{received} bytes came, and {expected} were said")));
        }
        let found = self.measure().await?;
        if found != self.expected.sha256 {
            // An upload in pieces would never come right again.
            let _ = tokio::fs::remove_file(&self.path).await;
            return Err(Failure::new(
                Code::DigestMismatch,
                format!("the bytes that came have the digest {found}, and {} was said", self.expected.sha256),
            ));
        }
        let Self { kept, expected, file, began, temporary, path, .. } = self;
        let file = file.into_std().await;
        match kept {
            Kept::Directory(directory) => {
                let sha256 = expected.sha256;
                aside(move || directory.put(&sha256, &file, temporary.ok_or(path.as_path()))).await
            }
            Kept::Bucket(bucket) => {
                let Blob { sha256, size_bytes } = expected;
                let put = bucket.put(&name(&sha256), &file, size_bytes, &sha256).await;
                if temporary.is_none() {
                    match &put {
                        Ok(()) => drop(tokio::fs::remove_file(&path).await),
                        // The same piece again is another try. Where it cannot be cut off, the last byte is.
                        Err(_) => drop(file.set_len(began)),
                    }
                }
                put
            }
        }
    }

    /// The digest of what is on the disk, and not of what went by: an earlier piece may be of another
    /// process.
    async fn measure(&mut self) -> Result<Digest> {
        let wrong = |error| unavailable("read", &self.path, error);
        self.file.seek(SeekFrom::Start(0)).await.map_err(wrong)?;
        let mut hasher = Hasher::default();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match self.file.read(&mut piece).await.map_err(wrong)? {
                0 => return Ok(hasher.finish()),
                read => hasher.update(&piece[..read]),
            }
        }
    }
}

/// Opens a file that nobody else has open; nothing where somebody has.
fn open_alone(path: &Utf8Path) -> std::io::Result<Option<std::fs::File>> {
    let file = std::fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    match file.try_lock() {
        // Whoever had it may have put it in its place, where nothing is written any more.
        Ok(()) => Ok(files::is_at(&file, path).then_some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}
