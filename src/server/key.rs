//! The server's own key, which signs checkpoints and summaries.
//!
//! It is made at the first start, in the data directory, unless another one is named; replicas share
//! one.

use camino::Utf8Path;

use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::key::{Algorithm, Signer as _};
use crate::trust::private::PrivateKey;
use crate::world::keys::{self, Exposure, InTheWay};

/// The file in the data directory.
pub(super) const FILE_NAME: &str = "server.key";
/// Its public half, for those who check what the server says.
pub(super) const PUBLIC_FILE_NAME: &str = "server.pub";

/// The key that was named, or the one of the data directory, made where there is none.
pub(super) fn open(named: Option<&Utf8Path>, data: &Utf8Path) -> Result<PrivateKey> {
    let own = data.join(FILE_NAME);
    let path = named.unwrap_or(&own);
    if named.is_none() && path.symlink_metadata().is_err() {
        let key = PrivateKey::generate(Algorithm::Ed25519)?;
        let public = data.join(PUBLIC_FILE_NAME);
        let made = keys::write_pair((path, &key.to_pem()), Some((&public, &key.public().to_pem())), InTheWay::Stays);
        match made {
            Ok(()) => return Ok(key),
            // Another process was quicker: its key is as good.
            Err(failure) if failure.code() == Code::FileExists && path.symlink_metadata().is_ok() => {}
            Err(failure) => return Err(failure),
        }
    }
    let key = PrivateKey::from_pem(&keys::read_private(path, Exposure::Refused)?)?;
    if key.public().algorithm() != Algorithm::Ed25519 {
        return Err(Failure::new(Code::KeyInvalid, format!("the server's key `{path}` is not an Ed25519 key"))
            .subject(path.as_str())
            .hint("make one with `consign key generate --algorithm ed25519`"));
    }
    Ok(key)
}
