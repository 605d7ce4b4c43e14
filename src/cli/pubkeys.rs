//! Flags that several verbs share: which public keys judge.
//!
//! A verb that verifies flattens [`PubkeyArgs`] and asks [`PubkeyArgs::keys`]. Flags stand above the
//! environment.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::Context;
use crate::config::environment::CONSIGN_VERIFY_PUBKEY;
use crate::model::failure::Result;
use crate::trust::key::PublicKey;
use crate::trust::shapes::Wanted;
use crate::world::keys;

/// The public keys that judge. Its name is also the id of a group.
#[derive(Clone, Debug, Default, Args)]
pub struct PubkeyArgs {
    /// A public key in PEM (repeatable) [default: that of `CONSIGN_VERIFY_PUBKEY`]
    #[arg(id = "pubkey", long = "pubkey", value_name = "FILE")]
    pub pubkeys: Vec<Utf8PathBuf>,
}

impl PubkeyArgs {
    /// The public keys, in the order given; none, if there is neither flag nor variable.
    pub fn keys(&self, context: &Context) -> Result<Vec<PublicKey>> {
        if self.pubkeys.is_empty() {
            return Ok(public_of_variable(context, CONSIGN_VERIFY_PUBKEY)?.into_iter().collect());
        }
        self.pubkeys.iter().map(|path| public_of_file(&context.path(path))).collect()
    }
}

/// The public key in a variable, which holds a path or the PEM text itself; nothing, if it is not set.
pub fn public_of_variable(context: &Context, variable: &str) -> Result<Option<PublicKey>> {
    let Some(value) = context.environment.get(variable) else { return Ok(None) };
    if is_pem(value) {
        return public(value.as_bytes(), variable, None).map(Some);
    }
    public_of_file(&context.path(Utf8Path::new(value))).map(Some)
}

pub(super) fn public_of_file(path: &Utf8Path) -> Result<PublicKey> {
    public(&keys::read_any(path)?, path.as_str(), Some(path))
}

fn public(pem: &[u8], place: &str, path: Option<&Utf8Path>) -> Result<PublicKey> {
    PublicKey::from_pem(pem)
        .map_err(|error| error.into_refusal().into_failure(place, path.map(Utf8Path::as_str), Wanted::Public))
}

/// Whether a variable holds a key itself, and not the path of one.
pub(super) fn is_pem(value: &str) -> bool {
    value.contains("-----BEGIN")
}
