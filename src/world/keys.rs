//! Key files: read bounded, and private ones only where nobody else can read them.

use camino::Utf8Path;
use zeroize::Zeroizing;

use super::files;
use crate::model::failure::Result;
use crate::trust::key::MAX_PEM_BYTES;

/// Reads the file of a private key.
pub fn read_private(path: &Utf8Path) -> Result<Zeroizing<Vec<u8>>> {
    files::read_bounded(path, MAX_PEM_BYTES).map(Zeroizing::new)
}

/// Reads the file of a public key.
pub fn read_public(path: &Utf8Path) -> Result<Vec<u8>> {
    files::read_bounded(path, MAX_PEM_BYTES)
}
