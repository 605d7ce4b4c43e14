//! The body of an upload: a file that is sent while it is read.
//!
//! What is sent is what was verified, or the request breaks off: the digest is taken while reading, and
//! the last piece waits for it.

use std::io::Read as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use camino::Utf8Path;
use http_body::{Body, Frame, SizeHint};

use super::wire::Progress;
use crate::model::Digest;
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::provider::Asset;
use crate::world::files;

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A file on its way out.
pub(super) struct FileBody {
    file: fs_err::File,
    left: u64,
    hasher: Option<Hasher>,
    expected: Digest,
    is_changed: Arc<AtomicBool>,
    progress: Progress,
}

impl FileBody {
    /// Opens a file of a bundle. What [`Self::poll_frame`] finds wrong with it is told by `is_changed`.
    pub(super) fn open(
        path: &Utf8Path,
        asset: &Asset,
        is_changed: Arc<AtomicBool>,
        progress: Progress,
    ) -> Result<Self> {
        let file = fs_err::File::open(path).map_err(|error| files::failed("read", path, error))?;
        let length = file.metadata().map_err(|error| files::failed("read", path, error))?.len();
        is_changed.store(length != asset.size_bytes, Ordering::Relaxed);
        let hasher = Some(Hasher::default());
        Ok(Self { file, left: asset.size_bytes, hasher, expected: asset.sha256, is_changed, progress })
    }

    fn piece(&mut self) -> std::io::Result<Option<Bytes>> {
        if self.left == 0 && self.hasher.is_none() {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = vec![0; wanted];
        // It is always as long as was promised: a file that has become shorter ends the request.
        self.file.read_exact(&mut piece).inspect_err(|_| self.is_changed.store(true, Ordering::Relaxed))?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        self.left -= wanted as u64;
        if self.left == 0 {
            let digest = self.hasher.take().map(Hasher::finish);
            if digest != Some(self.expected) {
                self.is_changed.store(true, Ordering::Relaxed);
                return Err(std::io::Error::other("the file was changed after it was verified"));
            }
        }
        self.progress.advance();
        Ok(Some(Bytes::from(piece)))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(self.piece().map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.hasher.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
