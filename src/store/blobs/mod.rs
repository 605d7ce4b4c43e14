//! Bytes by their digest, in a directory or in a bucket.
//!
//! [`Blobs::receive`] takes them in piece by piece, into a file of the staging directory, and
//! [`Incoming::finish`] puts them in their place once they are what they were said to be: whole, and never
//! changed again. An upload in several requests is a [`Blobs::resume`] whose file stays until it is
//! complete. A bucket is sent a file only after all of it was hashed here, in one request that makes the
//! object appear as a whole or not at all; so it never holds a part of anything. What is read again goes
//! through [`Reading`], which ends well only if the bytes are those of the digest. A digest is the only
//! thing that ever becomes a path or a name. Which blobs are needed is not known here.

mod directory;
mod incoming;
mod reading;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use crate::model::artifact::Blob;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};
use crate::world::bucket::{self, Bucket};
use crate::world::files;
use directory::Directory;

pub use incoming::Incoming;
pub use reading::Reading;

/// After how long an upload that nobody goes on with is thrown away.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;
/// The directory of what is not finished, beside or in place of the finished.
const UPLOADS: &str = "uploads";

/// Where blobs are.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a directory.
    Directory(Utf8PathBuf),
    /// In a bucket; what is not finished is in a directory all the same.
    Bucket {
        /// Which one.
        bucket: bucket::Settings,
        /// The directory.
        staging: Utf8PathBuf,
    },
}

/// The blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    kept: Kept,
    staging: Utf8PathBuf,
}

/// Where the finished ones are.
#[derive(Clone, Debug)]
enum Kept {
    Directory(Directory),
    Bucket(Bucket),
}

/// A blob as the place that keeps it sees it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// What it is called, and how large it is.
    pub blob: Blob,
    /// When it was put there. Nothing, where that is not known, and then it counts as new.
    pub changed: Option<Timestamp>,
}

impl Blobs {
    /// Opens a place. A directory is made where there is none; a bucket is not asked before it is needed.
    pub fn open(place: &Place) -> Result<Self> {
        let blobs = match place {
            Place::Directory(path) => {
                Self { kept: Kept::Directory(Directory::open(path)?), staging: path.join(UPLOADS) }
            }
            Place::Bucket { bucket, staging } => {
                Self { kept: Kept::Bucket(Bucket::new(bucket)?), staging: staging.join(UPLOADS) }
            }
        };
        files::create_directory(&blobs.staging)?;
        Ok(blobs)
    }

    /// Opens a directory of blobs.
    pub fn in_directory(path: &Utf8Path) -> Result<Self> {
        Self::open(&Place::Directory(path.to_owned()))
    }

    /// Looks whether the place keeps what it is given: puts a small file there, reads and removes it.
    pub async fn check(&self) -> Result<()> {
        let bytes = b"consign-server check-config\n";
        let blob = Blob { sha256: Digest::of(bytes), size_bytes: bytes.len() as u64 };
        let mut incoming = self.receive(blob).await?;
        incoming.write(bytes).await?;
        incoming.finish().await?;
        let read = self.read(blob).await?.ok_or_else(|| {
            Failure::new(Code::StoreUnavailable, "the blob store does not have what was put there just before")
        })?;
        read.all().await?;
        self.remove(&blob.sha256).await
    }

    /// Throws away what uploads left that nobody went on with.
    pub fn sweep(&self, now: Timestamp) -> Result<()> {
        for (name, _) in files::list(&self.staging)? {
            let path = self.staging.join(name);
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
        match &self.kept {
            Kept::Directory(directory) => directory.size(sha256).await,
            Kept::Bucket(bucket) => bucket.size(&name(sha256)).await,
        }
    }

    /// Begins to read a blob, if it is there.
    pub async fn read(&self, blob: Blob) -> Result<Option<Reading>> {
        Ok(match &self.kept {
            Kept::Directory(directory) => directory.read(&blob.sha256).await?.map(|file| Reading::of_file(blob, file)),
            Kept::Bucket(bucket) => {
                bucket.get(&name(&blob.sha256)).await?.map(|incoming| Reading::of_object(blob, incoming))
            }
        })
    }

    /// Reads a whole blob into memory. It has to be there.
    pub async fn bytes(&self, blob: Blob) -> Result<Vec<u8>> {
        let missing = || Failure::new(Code::StoreDamaged, format!("the blob {} is missing", blob.sha256));
        self.read(blob).await?.ok_or_else(missing)?.all().await
    }

    /// Removes a blob, whether it is there or not.
    pub async fn remove(&self, sha256: &Digest) -> Result<()> {
        match &self.kept {
            Kept::Directory(directory) => directory.remove(sha256).await,
            Kept::Bucket(bucket) => bucket.remove(&name(sha256)).await,
        }
    }

    /// Some of the blobs that are there, behind those of an earlier page, and where the next page begins.
    /// Files that are no blobs are passed over.
    pub async fn page(&self, after: Option<&str>) -> Result<(Vec<Found>, Option<String>)> {
        match &self.kept {
            Kept::Directory(directory) => directory.page(after).await,
            Kept::Bucket(bucket) => {
                let bucket::Page { objects, next } = bucket.list("sha256/", after).await?;
                let found = objects.into_iter().filter_map(|object| {
                    let sha256 = object.name.rsplit('/').next()?.parse().ok()?;
                    let blob = Blob { sha256, size_bytes: object.size_bytes };
                    (name(&sha256) == object.name).then_some(Found { blob, changed: object.changed })
                });
                Ok((found.collect(), next))
            }
        }
    }
}

/// What a blob is called below a prefix or a directory.
fn name(sha256: &Digest) -> String {
    let name = sha256.to_string();
    format!("sha256/{}/{name}", &name[..2])
}

/// The failure of a deed on the blobs. The path is for the log alone.
fn unavailable(deed: &str, path: &Utf8Path, error: std::io::Error) -> Failure {
    not_done(files::failed(deed, path, error))
}

fn not_done(failure: Failure) -> Failure {
    Failure::new(Code::StoreUnavailable, "the blob store did not do what it was told")
        .because(failure)
        .hint("try again in a moment; the server's log says why")
}

/// Does something that would keep other requests waiting.
async fn aside<T: Send + 'static>(doing: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(doing).await;
    // Only a server that is shutting down drops what it has begun.
    done.map_err(|error| {
        Failure::new(Code::StoreUnavailable, "the server is shutting down").because(error.to_string())
    })?
}
