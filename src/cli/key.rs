//! `consign key`: makes keys, shows their public half, says what a file is, encrypts.

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use owo_colors::OwoColorize as _;
use serde::Serialize;

use super::passphrase::{PassphraseArgs, Passphrases};
use super::signing::{AlgorithmWord, KeyReader};
use super::{Context, output, usage};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure};
use crate::trust::key::{KeyId, PublicKey, Signer as _};
use crate::trust::minisign;
use crate::trust::private::{Opened, PrivateKey};
use crate::trust::shapes::{self, Found, Refusal, Wanted, quoted};
use crate::world::keys::{self, Exposure, InTheWay};

/// The arguments of `key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Make a new key and write both halves
    #[command(after_help = "Examples:
  consign key generate --out release.pem                 P-256; release.pub.pem is the public half
  consign key generate --out root.pem --algorithm ed25519 --encrypt
  consign key generate --out ci.pem --encrypt --passphrase-fd 3 3< passphrase.txt")]
    Generate(GenerateArgs),
    /// Print the public half of a key
    #[command(after_help = "Examples:
  consign key public release.pem > release.pub.pem
  consign key public release.pub.pem --format json       its id and algorithm
  consign key public release.pem --minisign              for `minisign -V` and cargo-binstall")]
    Public(PublicArgs),
    /// Say what a key file is, whether it can be used, and what converts it
    #[command(after_help = "Examples:
  consign key inspect old-key.pem                        ends with 3 where the key cannot be used
  consign key inspect release.pub.pem --format json")]
    Inspect(InspectArgs),
    /// Encrypt a private key with a passphrase
    #[command(after_help = "Examples:
  consign key encrypt release.pem --out release.enc.pem
  consign key encrypt release.pem --out release.enc.pem --passphrase-fd 3 3< passphrase.txt")]
    Encrypt(EncryptArgs),
}

#[derive(Debug, Args)]
struct GenerateArgs {
    /// The file of the private key
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
    /// The file of the public key [default: beside the private one, as NAME.pub.pem]
    #[arg(long, value_name = "FILE")]
    public: Option<Utf8PathBuf>,
    /// p256, p384 or ed25519
    #[arg(long, value_name = "A", default_value = "p256", hide_possible_values = true)]
    algorithm: AlgorithmWord,
    /// Encrypt the private key with a passphrase
    #[arg(long)]
    encrypt: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Replace files that are already there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct PublicArgs {
    /// A private or a public key
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Take a private key that others can read, or that a link leads to
    #[arg(long)]
    insecure_key_perms: bool,
    /// Print it as minisign does; this takes an Ed25519 key
    #[arg(long)]
    minisign: bool,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// Any file
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
struct EncryptArgs {
    /// A private key that is not encrypted
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    /// The file of the encrypted key
    #[arg(long, value_name = "FILE")]
    out: Utf8PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Take a private key that others can read, or that a link leads to
    #[arg(long)]
    insecure_key_perms: bool,
    /// Replace a file that is already there
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Generated {
    #[serde(rename = "type")]
    kind: &'static str,
    key_id: KeyId,
    algorithm: &'static str,
    private: Utf8PathBuf,
    public: Utf8PathBuf,
    encrypted: bool,
    verify: String,
}

#[derive(Serialize)]
struct Public {
    #[serde(rename = "type")]
    kind: &'static str,
    key_id: KeyId,
    algorithm: &'static str,
    pem: String,
    /// The same in minisign's form, where that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    minisign: Option<String>,
}

#[derive(Serialize)]
struct Inspected {
    #[serde(rename = "type")]
    kind: &'static str,
    file: Utf8PathBuf,
    shape: &'static str,
    algorithm: Option<&'static str>,
    key_id: Option<KeyId>,
    usable: bool,
    code: Option<Code>,
    reason: Option<String>,
    command: Option<String>,
    hint: Option<String>,
}

#[derive(Serialize)]
struct Encrypted {
    #[serde(rename = "type")]
    kind: &'static str,
    key_id: KeyId,
    algorithm: &'static str,
    private: Utf8PathBuf,
}

impl KeyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            KeyVerb::Generate(arguments) => generate(arguments, context),
            KeyVerb::Public(arguments) => public(arguments, context),
            KeyVerb::Inspect(arguments) => inspect(arguments, context),
            KeyVerb::Encrypt(arguments) => encrypt(arguments, context),
        }
    }
}

fn generate(arguments: &GenerateArgs, context: &Context) -> Result<Exit> {
    let private = context.path(&arguments.out);
    let public = arguments.public.as_deref().map_or_else(|| public_beside(&private), |path| context.path(path));
    if private == public {
        return Err(usage("the private and the public key would be one file").hint("`--public` names another"));
    }
    let in_the_way = in_the_way(arguments.force);
    keys::is_free(&[&private, &public], in_the_way)?;
    let passphrases = Passphrases::new(context, &arguments.passphrase);
    let passphrase = arguments.encrypt.then(|| passphrases.new_one(private.as_str())).transpose()?;
    let key = PrivateKey::generate(arguments.algorithm.into())?;
    let pem = match &passphrase {
        Some(passphrase) => key.to_encrypted_pem(passphrase)?,
        None => key.to_pem(),
    };
    keys::write_pair((&private, &pem), Some((&public, &key.public().to_pem())), in_the_way)?;
    let algorithm = key.public().algorithm();
    let generated = Generated {
        kind: "consign.key-generate/v1",
        key_id: key.public().id(),
        algorithm: algorithm.as_str(),
        verify: algorithm.openssl_command(public.as_str(), "FILE.sig", "FILE"),
        private,
        public,
        encrypted: passphrase.is_some(),
    };
    context.output.result(&generated, || {
        let verify = &generated.verify;
        let rows = [
            ("key id", generated.key_id.to_string()),
            ("algorithm", generated.algorithm.to_owned()),
            ("private", shown(generated.private.as_str()).into_owned()),
            ("public", shown(generated.public.as_str()).into_owned()),
        ];
        format!("{}\nwhoever has the public key verifies with\n  {}", table(&rows), shown(verify))
    })?;
    Ok(Exit::Done)
}

fn public(arguments: &PublicArgs, context: &Context) -> Result<Exit> {
    let path = context.path(&arguments.file);
    let refused = |refusal: Refusal| refusal.into_failure(path.as_str(), Some(path.as_str()), Wanted::Public);
    let key = match shapes::recognise(&keys::read_any(&path)?) {
        Found::Public(der) => PublicKey::from_der(&der).map_err(|error| refused(error.into_refusal()))?,
        Found::Private(_) | Found::Encrypted(_) | Found::Unfit(_) => {
            let reader = reader(context, &arguments.passphrase, arguments.insecure_key_perms);
            reader.private(&path)?.public().clone()
        }
        Found::Other(shape) => return Err(refused(shape.refuse(Wanted::Public))),
    };
    let public = Public {
        kind: "consign.key-public/v1",
        key_id: key.id(),
        algorithm: key.algorithm().as_str(),
        pem: key.to_pem(),
        minisign: minisign::public_key(&key),
    };
    if arguments.minisign && public.minisign.is_none() {
        return Err(Failure::new(Code::KeyInvalid, format!("key {} is not an Ed25519 key", public.key_id))
            .subject(path.as_str())
            .hint("minisign knows no other: `consign key generate --algorithm ed25519` makes one"));
    }
    let shown = public.minisign.as_ref().filter(|_| arguments.minisign).unwrap_or(&public.pem);
    context.output.result(&public, || shown.clone())?;
    Ok(Exit::Done)
}

fn encrypt(arguments: &EncryptArgs, context: &Context) -> Result<Exit> {
    let (path, out) = (context.path(&arguments.file), context.path(&arguments.out));
    let in_the_way = in_the_way(arguments.force);
    keys::is_free(&[&out], in_the_way)?;
    let exposure = exposure(arguments.insecure_key_perms);
    let pem = keys::read_private(&path, exposure)?;
    if let Found::Encrypted(_) = shapes::recognise(&pem) {
        return Err(usage(format!("`{path}` is encrypted already")).subject(path.as_str()).hint(format!(
            "`openssl pkcs8 -topk8 -v2 aes-256-cbc -in {} -out NEW` changes its passphrase",
            quoted(path.as_str())
        )));
    }
    let reader = reader(context, &arguments.passphrase, arguments.insecure_key_perms);
    let key = reader.of_text(&pem, path.as_str(), Some(&path))?;
    let passphrase = reader.passphrases.new_one(out.as_str())?;
    keys::write_pair((&out, &key.to_encrypted_pem(&passphrase)?), None, in_the_way)?;
    let encrypted = Encrypted {
        kind: "consign.key-encrypt/v1",
        key_id: key.public().id(),
        algorithm: key.public().algorithm().as_str(),
        private: out,
    };
    context.output.result(&encrypted, || {
        let rows = [
            ("key id", encrypted.key_id.to_string()),
            ("algorithm", encrypted.algorithm.to_owned()),
            ("private", shown(encrypted.private.as_str()).into_owned()),
        ];
        format!("{}\n`{}` is still there in the clear: remove it", table(&rows), shown(path.as_str()))
    })?;
    Ok(Exit::Done)
}

fn inspect(arguments: &InspectArgs, context: &Context) -> Result<Exit> {
    let path = context.path(&arguments.file);
    let bytes = keys::read_any(&path)?;
    let passphrases = Passphrases::new(context, &arguments.passphrase);
    let mut inspected = Inspected::of(&bytes, &path, &passphrases)?;
    if inspected.usable && inspected.is_private() {
        inspected.look_at_file(&path);
    }
    context.output.result(&inspected, || inspected.describe())?;
    Ok(if inspected.usable { Exit::Done } else { Exit::Configuration })
}

impl Inspected {
    fn of(bytes: &[u8], path: &Utf8Path, passphrases: &Passphrases<'_>) -> Result<Self> {
        let refused = |refusal, wanted| Self::refused(path, refusal, wanted);
        Ok(match shapes::recognise(bytes) {
            Found::Public(der) => match PublicKey::from_der(&der) {
                Ok(key) => Self::key(path, "public-key", &key),
                Err(error) => refused(error.into_refusal(), Wanted::Public),
            },
            Found::Private(_) | Found::Encrypted(_) => match PrivateKey::open(bytes) {
                Ok(Opened::Key(key)) => Self::key(path, "pkcs8", key.public()),
                Ok(Opened::Locked(locked)) => match passphrases.handed_in()? {
                    None => Self {
                        reason: Some("needs its passphrase, and shows nothing before".to_owned()),
                        ..Self::unknown(path, "pkcs8-encrypted")
                    },
                    Some(passphrase) => match locked.open(&passphrase) {
                        Ok(Some(key)) => Self::key(path, "pkcs8-encrypted", key.public()),
                        Ok(None) => Self {
                            usable: false,
                            code: Some(Code::KeyInvalid),
                            reason: Some("is not opened by this passphrase, or is damaged".to_owned()),
                            ..Self::unknown(path, "pkcs8-encrypted")
                        },
                        Err(refusal) => refused(refusal, Wanted::Private),
                    },
                },
                Err(refusal) => refused(refusal, Wanted::Private),
            },
            Found::Other(shape) => refused(shape.refuse(shape.likely()), shape.likely()),
            Found::Unfit(refusal) => refused(refusal, Wanted::Private),
        })
    }

    fn unknown(path: &Utf8Path, shape: &'static str) -> Self {
        Self {
            kind: "consign.key-inspect/v1",
            file: path.to_owned(),
            shape,
            algorithm: None,
            key_id: None,
            usable: true,
            code: None,
            reason: None,
            command: None,
            hint: None,
        }
    }

    fn key(path: &Utf8Path, shape: &'static str, key: &PublicKey) -> Self {
        Self { algorithm: Some(key.algorithm().as_str()), key_id: Some(key.id()), ..Self::unknown(path, shape) }
    }

    fn refused(path: &Utf8Path, refusal: Refusal, wanted: Wanted) -> Self {
        Self {
            usable: false,
            code: Some(Code::KeyInvalid),
            command: refusal.remedy.command_for(Some(path.as_str()), wanted),
            hint: Some(refusal.remedy.hint(Some(path.as_str()), wanted)),
            reason: Some(refusal.sentence),
            ..Self::unknown(path, refusal.shape)
        }
    }

    fn is_private(&self) -> bool {
        self.shape.starts_with("pkcs8")
    }

    /// A private key is only usable where nobody else can read it.
    fn look_at_file(&mut self, path: &Utf8Path) {
        if let Err(failure) = keys::read_private(path, Exposure::Refused) {
            self.usable = false;
            self.code = Some(failure.code());
            self.reason = Some(failure.to_string());
            self.hint = failure.way_out().map(str::to_owned);
        }
    }

    fn describe(&self) -> String {
        let usable = if self.usable { "yes".green().to_string() } else { "no".red().bold().to_string() };
        let mut rows = vec![("file", shown(self.file.as_str()).into_owned()), ("shape", self.shape.to_owned())];
        rows.extend(self.algorithm.map(|algorithm| ("algorithm", algorithm.to_owned())));
        rows.extend(self.key_id.map(|id| ("key id", id.to_string())));
        rows.push(("usable", usable));
        rows.extend(self.reason.as_deref().map(|reason| ("", shown(reason).into_owned())));
        let hint = self.hint.as_deref().map(|hint| format!("{} {}", "hint:".cyan().bold(), shown(hint)));
        format!("{}{}", table(&rows), hint.unwrap_or_default())
    }
}

fn reader<'a>(context: &'a Context, passphrase: &PassphraseArgs, is_insecure: bool) -> KeyReader<'a> {
    let passphrases = Passphrases::new(context, passphrase);
    KeyReader { context, passphrases, exposure: exposure(is_insecure), dist: None }
}

fn exposure(is_insecure: bool) -> Exposure {
    if is_insecure { Exposure::Tolerated } else { Exposure::Refused }
}

fn in_the_way(is_forced: bool) -> InTheWay {
    if is_forced { InTheWay::Goes } else { InTheWay::Stays }
}

/// `release.pem` has its public half in `release.pub.pem`.
fn public_beside(private: &Utf8Path) -> Utf8PathBuf {
    let name = private.file_name().unwrap_or_default();
    private.with_file_name(format!("{}.pub.pem", name.strip_suffix(".pem").unwrap_or(name)))
}

fn table(rows: &[(&str, String)]) -> String {
    output::table(&rows.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_lies_beside_the_private_one() {
        for (private, public) in
            [("a/release.pem", "a/release.pub.pem"), ("key", "key.pub.pem"), ("k.key", "k.key.pub.pem")]
        {
            assert_eq!(public_beside(Utf8Path::new(private)), public);
        }
    }
}
