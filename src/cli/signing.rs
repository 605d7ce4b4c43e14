//! Flags that several verbs share: what signs, and which public keys judge.
//!
//! A verb that signs flattens [`SigningArgs`] and [`PubkeyArgs`] and asks [`SigningArgs::signers`]; one
//! that only verifies flattens [`PubkeyArgs`] and asks [`PubkeyArgs::keys`]. Flags stand above the
//! environment. Nothing here signs.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::{Context, usage};
use crate::config::environment::{CONSIGN_SIGNING_KEY, CONSIGN_VERIFY_PUBKEY};
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::key::{PublicKey, Signer};
use crate::trust::private::PrivateKey;
use crate::world::keys;

/// What signs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Signing options")]
pub struct SigningArgs {
    /// A private key to sign with (repeatable) [default: that of CONSIGN_SIGNING_KEY]
    #[arg(id = "signing-key", long = "key", value_name = "FILE")]
    pub keys: Vec<Utf8PathBuf>,
}

/// The public keys that judge. Its name is also the id of a group.
#[derive(Clone, Debug, Default, Args)]
pub struct PubkeyArgs {
    /// A public key in PEM (repeatable) [default: that of CONSIGN_VERIFY_PUBKEY]
    #[arg(id = "pubkey", long = "pubkey", value_name = "FILE")]
    pub pubkeys: Vec<Utf8PathBuf>,
}

impl SigningArgs {
    /// Whether there is anything to sign with, without reading it.
    pub fn is_given(&self, context: &Context) -> bool {
        !self.keys.is_empty() || context.environment.get(CONSIGN_SIGNING_KEY).is_some()
    }

    /// Everything that signs, in the order given; nothing, if there is neither flag nor variable.
    ///
    /// With a signer command, the one key of `pubkeys` is that command's. No private key may lie in `dist`.
    pub fn signers(
        &self,
        context: &Context,
        pubkeys: &PubkeyArgs,
        dist: Option<&Utf8Path>,
    ) -> Result<Vec<Box<dyn Signer>>> {
        let (_, _) = (pubkeys, dist);
        if self.keys.is_empty() {
            return Ok(self.of_variable(context, CONSIGN_SIGNING_KEY, dist)?.into_iter().collect());
        }
        self.keys.iter().map(|path| self.of_file(&context.path(path), dist)).collect()
    }

    /// The same, where something has to sign.
    pub fn required_signers(
        &self,
        context: &Context,
        pubkeys: &PubkeyArgs,
        dist: Option<&Utf8Path>,
    ) -> Result<Vec<Box<dyn Signer>>> {
        let signers = self.signers(context, pubkeys, dist)?;
        if signers.is_empty() {
            return Err(usage("there is nothing to sign with")
                .hint("give `--key FILE`, or set CONSIGN_SIGNING_KEY; `consign key generate` makes a key"));
        }
        Ok(signers)
    }

    /// The key in a variable, which holds a path or the PEM text itself; nothing, if it is not set.
    pub fn of_variable(
        &self,
        context: &Context,
        variable: &str,
        dist: Option<&Utf8Path>,
    ) -> Result<Option<Box<dyn Signer>>> {
        let Some(value) = context.environment.get(variable) else { return Ok(None) };
        let signer = if is_pem(value) {
            Box::new(PrivateKey::from_pem(value.as_bytes())?) as Box<dyn Signer>
        } else {
            self.of_file(&context.path(Utf8Path::new(value)), dist)?
        };
        Ok(Some(signer))
    }

    fn of_file(&self, path: &Utf8Path, _dist: Option<&Utf8Path>) -> Result<Box<dyn Signer>> {
        let pem = keys::read_private(path)?;
        Ok(Box::new(PrivateKey::from_pem(&pem)?))
    }
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
        return public(value.as_bytes(), variable).map(Some);
    }
    public_of_file(&context.path(Utf8Path::new(value))).map(Some)
}

fn public_of_file(path: &Utf8Path) -> Result<PublicKey> {
    public(&keys::read_public(path)?, path.as_str())
}

fn public(pem: &[u8], place: &str) -> Result<PublicKey> {
    PublicKey::from_pem(pem).map_err(|error| {
        Failure::new(Code::KeyInvalid, format!("`{place}` is not a public key that can be used"))
            .subject(place)
            .because(error)
    })
}

fn is_pem(value: &str) -> bool {
    value.contains("-----BEGIN")
}
