//! Blobs on their way out, compared with their digest while they go by.

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::PIECE_BYTES;
use crate::model::artifact::Blob;
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::bucket;

/// A blob that is being read. The last piece comes only if all of them are those of the digest.
pub struct Reading {
    source: Source,
    blob: Blob,
    read: u64,
    hasher: Option<Hasher>,
}

enum Source {
    File(tokio::fs::File),
    Object(bucket::Incoming),
}

impl Reading {
    pub(super) fn of_file(blob: Blob, file: tokio::fs::File) -> Self {
        Self { source: Source::File(file), blob, read: 0, hasher: Some(Hasher::default()) }
    }

    pub(super) fn of_object(blob: Blob, incoming: bucket::Incoming) -> Self {
        Self { source: Source::Object(incoming), blob, read: 0, hasher: Some(Hasher::default()) }
    }

    /// The next piece; nothing at the end.
    ///
    /// Bytes that are not those of the digest are [`Code::StoreDamaged`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        let piece = match &mut self.source {
            Source::File(file) => {
                let mut piece = vec![0; PIECE_BYTES];
                let read = file
                    .read(&mut piece)
                    .await
                    .map_err(|error| Failure::new(Code::StoreUnavailable, "a blob cannot be read").because(error))?;
                piece.truncate(read);
                (read > 0).then(|| Bytes::from(piece))
            }
            Source::Object(incoming) => incoming.piece().await?,
        };
        if let Some(piece) = &piece {
            self.read += piece.len() as u64;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(piece);
            }
        }
        let is_over = piece.is_none() || self.read >= self.blob.size_bytes;
        if is_over {
            if let Some(hasher) = self.hasher.take() {
                if self.read != self.blob.size_bytes || hasher.finish() != self.blob.sha256 {
                    return Err(self.damaged());
                }
            } else if piece.is_some() {
                return Err(self.damaged());
            }
        }
        Ok(piece)
    }

    /// Everything at once.
    pub async fn all(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.blob.size_bytes).unwrap_or_default());
        while let Some(piece) = self.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn damaged(&self) -> Failure {
        Failure::new(
            Code::StoreDamaged,
            format!("the bytes of the blob {} are not those of its digest", self.blob.sha256),
        )
    }
}
