//! The directory: a file per blob, in one of 256 directories by how its digest begins.

use std::io::ErrorKind;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::{Found, aside, name, not_done, unavailable};
use crate::model::Digest;
use crate::model::artifact::Blob;
use crate::model::failure::Result;
use crate::world::files;

/// The directory of the blobs that are whole.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: Utf8PathBuf,
}

impl Directory {
    pub(super) fn open(path: &Utf8Path) -> Result<Self> {
        files::create_directory(&path.join("sha256"))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where a blob is, or would be.
    fn place(&self, sha256: &Digest) -> Utf8PathBuf {
        self.path.join(name(sha256))
    }

    pub(super) async fn size(&self, sha256: &Digest) -> Result<Option<u64>> {
        let path = self.place(sha256);
        match tokio::fs::metadata(&path).await {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable("look at", &path, error)),
        }
    }

    pub(super) async fn read(&self, sha256: &Digest) -> Result<Option<tokio::fs::File>> {
        let path = self.place(sha256);
        match tokio::fs::File::open(&path).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable("read", &path, error)),
        }
    }

    pub(super) async fn remove(&self, sha256: &Digest) -> Result<()> {
        let path = self.place(sha256);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(unavailable("remove", &path, error)),
            _ => Ok(()),
        }
    }

    /// Puts a file in its place, synced, and replaces nothing but the same bytes.
    pub(super) fn put(
        &self,
        sha256: &Digest,
        file: &std::fs::File,
        from: Result<tempfile::TempPath, &Utf8Path>,
    ) -> Result<()> {
        let place = self.place(sha256);
        let wrong = |error| unavailable("put in place", &place, error);
        let directory = place.parent().unwrap_or(Utf8Path::new("."));
        files::create_directory(directory).map_err(not_done)?;
        files::set_mode(file, 0o644).map_err(wrong)?;
        file.sync_all().map_err(wrong)?;
        match from {
            Ok(temporary) => temporary.persist(&place).map_err(|error| wrong(error.error))?,
            Err(path) => fs_err::rename(path, &place).map_err(wrong)?,
        }
        files::sync_directory(directory).map_err(not_done)?;
        directory.parent().map_or(Ok(()), files::sync_directory).map_err(not_done)
    }

    /// The blobs of the first directory that has any, behind the one that was read last.
    pub(super) async fn page(&self, after: Option<&str>) -> Result<(Vec<Found>, Option<String>)> {
        let (root, after) = (self.path.join("sha256"), after.map(str::to_owned));
        aside(move || {
            let mut shelves: Vec<_> = files::list(&root)?.into_iter().map(|(name, _)| name).collect();
            shelves.sort();
            let mut shelves = shelves.into_iter().filter(|shelf| after.as_ref().is_none_or(|after| shelf > after));
            let Some(shelf) = shelves.next() else { return Ok((Vec::new(), None)) };
            let directory = root.join(&shelf);
            let mut found = Vec::new();
            for (name, is_file) in if directory.is_dir() { files::list(&directory)? } else { Vec::new() } {
                let Ok(sha256) = name.parse::<Digest>() else { continue };
                // It may have been removed meanwhile.
                let Ok(metadata) = fs_err::metadata(directory.join(&name)) else { continue };
                if is_file && name.starts_with(&shelf) {
                    let changed = metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
                    found.push(Found { blob: Blob { sha256, size_bytes: metadata.len() }, changed });
                }
            }
            let next = shelves.next().map(|_| shelf);
            Ok((found, next))
        })
        .await
    }
}
