//! Sending a file: small ones in one request, large ones in pieces that begin where the last one that
//! arrived has ended.

use std::time::Duration;

use camino::Utf8PathBuf;

use super::{FIRST_PAUSE, Server, TRIES, accepted};
use crate::model::artifact::Blob;
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::files;
use crate::world::http::exchange::{Body, Method};

/// The largest piece, in bytes.
const PIECE_BYTES: u64 = 32 << 20;

impl Server {
    /// Sends a file, unless the registry has it; says whether anything was sent.
    pub(super) fn send(&self, name: &str, blob: Blob, place: Option<&Utf8PathBuf>) -> Result<bool> {
        let path = format!("/api/v1/blobs/{}", blob.sha256);
        let mut offset = match self.arrived(&path, blob)? {
            Arrived::All => return Ok(false),
            Arrived::Some(offset) => offset,
        };
        let file = place.ok_or_else(|| {
            Failure::new(
                Code::BlobMissing,
                format!("the registry does not have `{name}`, and it is not said where it is"),
            )
            .subject(name)
            .hint("name the directory of the bundle with `--bundle DIR`, and that of the payload with `--payload DIR`")
        })?;
        let size = fs_err::metadata(file).map_err(|error| files::failed("read", file, error))?.len();
        if size != blob.size_bytes {
            return Err(Failure::new(Code::SizeMismatch, format!("`{file}` is not the file that the record names"))
                .subject(file.as_str())
                .hint("it was changed since it was added; add it again"));
        }
        let (mut failed, mut pause) = (0, FIRST_PAUSE);
        loop {
            let length = (size - offset).min(PIECE_BYTES);
            let body = Body::Part { path: file.clone(), start: offset, length, size };
            match self.once(Method::Put, &path, body, &[]).and_then(accepted) {
                Ok(reply) if reply.status == 202 => (offset, failed) = (offset + length, 0),
                Ok(_) => return Ok(true),
                Err(failure) => {
                    failed += 1;
                    if failed >= TRIES || !is_worth_another_try(&failure) {
                        return Err(failure);
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(10));
                    match self.arrived(&path, blob)? {
                        Arrived::All => return Ok(true),
                        Arrived::Some(there) => offset = there,
                    }
                }
            }
        }
    }

    /// How much of a file the registry has.
    fn arrived(&self, path: &str, blob: Blob) -> Result<Arrived> {
        let length = [("upload-length", blob.size_bytes.to_string())];
        let reply = self.persist(Method::Head, path, &Body::Empty, &length)?;
        if reply.status == 200 {
            return Ok(Arrived::All);
        }
        let offset = reply.header("upload-offset").and_then(|text| text.parse().ok()).unwrap_or(0);
        // An offset beyond the end is of no upload of this file.
        Ok(Arrived::Some(if offset < blob.size_bytes { offset } else { 0 }))
    }
}

enum Arrived {
    All,
    Some(u64),
}

fn is_worth_another_try(failure: &Failure) -> bool {
    matches!(
        failure.code(),
        Code::RemoteUnavailable | Code::StoreUnavailable | Code::RequestTimeout | Code::UploadMisplaced | Code::Busy
    )
}
