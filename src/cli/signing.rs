//! Flags that several verbs share: what signs.
//!
//! A verb that signs flattens [`SigningArgs`] and [`PubkeyArgs`] and asks [`SigningArgs::signers`]. Flags
//! stand above the environment. Nothing here signs.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, ValueEnum};

use super::passphrase::{PassphraseArgs, Passphrases};
use super::pubkeys::{PubkeyArgs, is_pem, public_of_file, public_of_variable};
use super::{Context, usage};
use crate::config::environment::{CONSIGN_KEY_PASSPHRASE, CONSIGN_SIGNING_KEY, CONSIGN_SIGNING_PUBKEY};
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::key::{Algorithm, Signer};
use crate::trust::private::{Opened, PrivateKey};
use crate::trust::shapes::{Refusal, Wanted};
use crate::world::keys::{self, Exposure};
use crate::world::signer_command::SignerCommand;

/// How long a signer command may take. Somebody may have to touch a card.
const SIGNER_TIMEOUT: Duration = Duration::from_secs(120);

/// What signs.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Signing options")]
pub struct SigningArgs {
    /// A private key to sign with (repeatable) [default: that of `CONSIGN_SIGNING_KEY`]
    #[arg(id = "signing-key", long = "key", value_name = "FILE")]
    pub keys: Vec<Utf8PathBuf>,
    /// A program that signs: digest in hex in, raw signature out; needs `--algorithm` and `--pubkey`
    #[arg(long, value_name = "PROG", requires = "signer-algorithm")]
    pub signer_cmd: Option<String>,
    /// An argument of the signer command (repeatable)
    #[arg(long = "signer-arg", value_name = "WORD", requires = "signer_cmd", allow_hyphen_values = true)]
    pub signer_args: Vec<String>,
    /// The algorithm of the signer command: p256, p384, ed25519 or rsa
    #[arg(
        id = "signer-algorithm",
        long = "algorithm",
        value_name = "A",
        requires = "signer_cmd",
        hide_possible_values = true
    )]
    pub algorithm: Option<AlgorithmWord>,
    #[command(flatten)]
    pub(super) passphrase: PassphraseArgs,
    /// Take private keys that others can read, or that a link leads to
    #[arg(long)]
    pub insecure_key_perms: bool,
}

/// An algorithm on the command line, in its short form and in that of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AlgorithmWord {
    /// ECDSA over P-256 with SHA-256.
    #[value(alias = "ecdsa-p256-sha256")]
    P256,
    /// ECDSA over P-384 with SHA-384.
    #[value(alias = "ecdsa-p384-sha384")]
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with SHA-256.
    #[value(alias = "rsa-pkcs1-sha256")]
    Rsa,
}

impl From<AlgorithmWord> for Algorithm {
    fn from(word: AlgorithmWord) -> Self {
        match word {
            AlgorithmWord::P256 => Self::EcdsaP256,
            AlgorithmWord::P384 => Self::EcdsaP384,
            AlgorithmWord::Ed25519 => Self::Ed25519,
            AlgorithmWord::Rsa => Self::Rsa,
        }
    }
}

impl SigningArgs {
    /// Whether there is anything to sign with, without reading it.
    pub fn is_given(&self, context: &Context) -> bool {
        !self.keys.is_empty() || self.signer_cmd.is_some() || context.environment.get(CONSIGN_SIGNING_KEY).is_some()
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
        let reader = self.reader(context, dist);
        let mut signers = Vec::new();
        for path in &self.keys {
            signers.push(reader.of_file(&context.path(path))?);
        }
        signers.extend(self.command(context, pubkeys)?);
        if signers.is_empty() {
            signers.extend(reader.of_variable(CONSIGN_SIGNING_KEY)?);
            fits_announced(context, &signers)?;
        }
        Ok(signers)
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
        self.reader(context, dist).of_variable(variable)
    }

    fn reader<'a>(&self, context: &'a Context, dist: Option<&'a Utf8Path>) -> KeyReader<'a> {
        KeyReader { context, passphrases: Passphrases::new(context, &self.passphrase), exposure: self.exposure(), dist }
    }

    fn exposure(&self) -> Exposure {
        if self.insecure_key_perms { Exposure::Tolerated } else { Exposure::Refused }
    }

    fn command(&self, context: &Context, pubkeys: &PubkeyArgs) -> Result<Option<Box<dyn Signer>>> {
        let (Some(program), Some(algorithm)) = (&self.signer_cmd, self.algorithm) else { return Ok(None) };
        let public = match pubkeys.pubkeys.as_slice() {
            [path] => public_of_file(&context.path(path))?,
            [] => public_of_variable(context, CONSIGN_SIGNING_PUBKEY)?
                .ok_or_else(|| usage("the signer command has no public key").hint("give it with `--pubkey FILE`"))?,
            _ => return Err(usage("the signer command has one public key").hint("give `--pubkey FILE` once")),
        };
        let algorithm = Algorithm::from(algorithm);
        if public.algorithm() != algorithm {
            let message =
                format!("the signer command signs with {algorithm}, and its public key is for {}", public.algorithm());
            return Err(
                Failure::new(Code::KeyInvalid, message).hint("give the algorithm and the public key of one key")
            );
        }
        let argv: Vec<_> = std::iter::once(program).chain(&self.signer_args).cloned().collect();
        let withheld = [CONSIGN_SIGNING_KEY, CONSIGN_KEY_PASSPHRASE];
        let command = SignerCommand::new(&argv, public, SIGNER_TIMEOUT, &withheld)?;
        Ok(Some(Box::new(command)))
    }
}

/// Reads private keys.
pub(super) struct KeyReader<'a> {
    pub(super) context: &'a Context,
    pub(super) passphrases: Passphrases<'a>,
    pub(super) exposure: Exposure,
    /// What is published; no private key may lie in it.
    pub(super) dist: Option<&'a Utf8Path>,
}

impl KeyReader<'_> {
    fn of_variable(&self, variable: &str) -> Result<Option<Box<dyn Signer>>> {
        let Some(value) = self.context.environment.get(variable) else { return Ok(None) };
        if is_pem(value) {
            return self.of_text(value.as_bytes(), variable, None).map(|key| Some(Box::new(key) as Box<dyn Signer>));
        }
        self.of_file(&self.context.path(Utf8Path::new(value))).map(Some)
    }

    fn of_file(&self, path: &Utf8Path) -> Result<Box<dyn Signer>> {
        Ok(Box::new(self.private(path)?))
    }

    /// The private key of a file.
    pub(super) fn private(&self, path: &Utf8Path) -> Result<PrivateKey> {
        if let Some(dist) = self.dist {
            keys::outside(path, dist)?;
        }
        self.of_text(&keys::read_private(path, self.exposure)?, path.as_str(), Some(path))
    }

    /// The private key of a text.
    pub(super) fn of_text(&self, pem: &[u8], place: &str, path: Option<&Utf8Path>) -> Result<PrivateKey> {
        let refused = |refusal: Refusal| refusal.into_failure(place, path.map(Utf8Path::as_str), Wanted::Private);
        match PrivateKey::open(pem).map_err(refused)? {
            Opened::Key(key) => Ok(*key),
            Opened::Locked(locked) => {
                let passphrase = self.passphrases.known(place)?;
                locked.open(&passphrase).map_err(refused)?.ok_or_else(|| {
                    Failure::new(Code::KeyInvalid, format!("`{place}` is not opened by this passphrase, or is damaged"))
                        .subject(place)
                        .hint("give the passphrase that it was encrypted with")
                })
            }
        }
    }
}

/// The signing key of the environment has the public half that the environment announces.
fn fits_announced(context: &Context, signers: &[Box<dyn Signer>]) -> Result<()> {
    let Some(signer) = signers.first() else { return Ok(()) };
    let Some(announced) = public_of_variable(context, CONSIGN_SIGNING_PUBKEY)? else { return Ok(()) };
    if announced == *signer.public() {
        return Ok(());
    }
    let message = format!(
        "{CONSIGN_SIGNING_KEY} has the key {}, and {CONSIGN_SIGNING_PUBKEY} has {}",
        signer.public().id(),
        announced.id()
    );
    Err(Failure::new(Code::KeyInvalid, message)
        .subject(CONSIGN_SIGNING_PUBKEY)
        .hint("set both to the halves of one key; `consign key public` prints the public half"))
}
