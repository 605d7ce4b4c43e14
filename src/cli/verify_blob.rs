//! `verify-blob`: one file with one signature, for whoever downloads no more than that.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde::Serialize;

use super::pubkeys::PubkeyArgs;
use super::{Context, usage};
use crate::archive;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Exit, Failure};
use crate::trust::key::{KeyId, PublicKey};
use crate::trust::sigstore;
use crate::world::{files, keys};

/// The largest signature or Sigstore bundle that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// The arguments of `verify-blob`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign verify-blob tool.tar.gz --pubkey release.pub --signature tool.tar.gz.sig
  consign verify-blob index.json --pubkey release.pub --bundle index.json.sigstore.json
  consign verify-blob index.json --pubkey release.pub --bundle logged.sigstore.json --log-key rekor.pub")]
pub struct VerifyBlobArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    #[command(flatten)]
    pubkeys: PubkeyArgs,
    /// Its signature: the raw bytes, as openssl writes them
    #[arg(long, value_name = "FILE", required_unless_present = "sigstore-bundle", conflicts_with = "sigstore-bundle")]
    signature: Option<Utf8PathBuf>,
    /// A Sigstore bundle over it
    // The name is not that of a directory with a bundle, which other verbs take.
    #[arg(id = "sigstore-bundle", long = "bundle", value_name = "FILE")]
    bundle: Option<Utf8PathBuf>,
    /// The public key of the transparency log that the Sigstore bundle has to be in
    #[arg(long, value_name = "FILE", requires = "sigstore-bundle")]
    log_key: Option<Utf8PathBuf>,
}

/// What was verified.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    file: &'a Utf8Path,
    sha256: Digest,
    signed_by: KeyId,
    log_checked: bool,
}

impl VerifyBlobArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let trusted = self.pubkeys.keys(context)?;
        if trusted.is_empty() {
            return Err(usage("there is no key to verify with")
                .hint("give `--pubkey FILE`, as the key's owner publishes it, or set CONSIGN_VERIFY_PUBKEY"));
        }
        let log = self.log_key.as_ref().map(|path| public(&context.path(path))).transpose()?;
        let limit = usize::try_from(archive::MAX_BYTES).unwrap_or(usize::MAX);
        let bytes = files::read_bounded(&context.path(&self.file), limit)?;
        let key = match (&self.signature, &self.bundle) {
            (Some(path), _) => raw(&bytes, &files::read_bounded(&context.path(path), MAX_BYTES)?, &trusted),
            (None, Some(path)) => {
                let bundle = files::read_bounded(&context.path(path), MAX_BYTES)?;
                wrapped(&bytes, &bundle, &trusted, log.as_ref())
            }
            (None, None) => return Err(usage("neither `--signature` nor `--bundle` is given")),
        };
        let key = key.map_err(|failure| failure.subject(self.file.as_str()))?;
        let report = Report {
            kind: "consign.verify-blob/v1",
            file: &self.file,
            sha256: Digest::of(&bytes),
            signed_by: key.id(),
            log_checked: log.is_some(),
        };
        context.output.result(&report, || format!("{} is signed by {}", self.file, key.id()))?;
        Ok(Exit::Done)
    }
}

fn raw<'a>(bytes: &[u8], signature: &[u8], trusted: &'a [PublicKey]) -> Result<&'a PublicKey> {
    trusted.iter().find(|key| key.verify(bytes, signature).is_ok()).ok_or_else(|| {
        Failure::new(Code::SignatureInvalid, "the signature is not one of a trusted key over the file")
            .hint("fetch the file and its signature again, and check that the key is the right one")
    })
}

fn wrapped<'a>(
    bytes: &[u8],
    bundle: &[u8],
    trusted: &'a [PublicKey],
    log: Option<&PublicKey>,
) -> Result<&'a PublicKey> {
    let refused = |why: sigstore::Refused| {
        Failure::new(why.code, format!("the Sigstore bundle is refused: {why}"))
            .hint("fetch the file and its Sigstore bundle again, and check that the key is the right one")
    };
    let bundle = sigstore::Bundle::parse(bundle).map_err(refused)?;
    let mut last = None;
    for key in trusted {
        match bundle.verify(bytes, key, log) {
            Ok(()) => return Ok(key),
            // That another key than the one named does not fit tells nothing.
            Err(why) if why.code == Code::KeyUntrusted && last.is_some() => {}
            Err(why) => last = Some(why),
        }
    }
    Err(last.map_or_else(|| usage("there is no key to verify with"), refused))
}

fn public(path: &Utf8Path) -> Result<PublicKey> {
    PublicKey::from_pem(&keys::read_any(path)?).map_err(|error| {
        Failure::new(Code::KeyInvalid, format!("`{path}` is not a public key that can be used"))
            .subject(path.as_str())
            .because(error)
    })
}
