//! Signatures in minisign's form, for installers that check no other.
//!
//! [`sign`] makes what `minisign -V` and cargo-binstall verify: an Ed25519 signature over the `BLAKE2b`
//! digest of the file, and one over that and a comment. They are a second container for a key that
//! signs the bundle anyway; nothing is approved by one of them alone. Private keys in minisign's own
//! form are not read.

use blake2::{Blake2b512, Digest as _};
use data_encoding::BASE64;

use super::key::{self, Algorithm, PublicKey, Signer};
use crate::model::failure::Result;

/// How the name of such a signature ends.
pub const ENDING: &str = super::documents::MINISIGN_ENDING;

const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";
/// Ed25519 over the file's `BLAKE2b` digest.
const PREHASHED: [u8; 2] = *b"ED";
/// How a public key begins.
const PUBLIC: [u8; 2] = *b"Ed";

/// A signature in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Minisig {
    untrusted: String,
    number: [u8; 8],
    signature: [u8; 64],
    comment: String,
    global: [u8; 64],
}

/// Whether a key can make such signatures.
pub fn fits(key: &PublicKey) -> bool {
    key.algorithm() == Algorithm::Ed25519
}

/// The public half of an Ed25519 key in minisign's form, in two lines.
pub fn public_key(key: &PublicKey) -> Option<String> {
    let line = public_line(key)?;
    Some(format!("{UNTRUSTED}minisign public key {:016X}\n{line}\n", u64::from_le_bytes(number_of(key))))
}

/// The one line of it that is the key.
pub fn public_line(key: &PublicKey) -> Option<String> {
    fits(key).then(|| BASE64.encode(&[&PUBLIC[..], &number_of(key), key.raw()].concat()))
}

/// Signs the bytes of a file; the comment is signed with them.
pub fn sign(signer: &dyn Signer, bytes: &[u8], comment: &str) -> Result<Vec<u8>> {
    let fixed = |signature: Vec<u8>| signature.try_into().expect("an Ed25519 signature has 64 bytes");
    let signature: [u8; 64] = fixed(key::sign(signer, &Blake2b512::digest(bytes))?);
    let global = fixed(key::sign(signer, &[&signature, comment.as_bytes()].concat())?);
    let key = signer.public();
    let untrusted = format!("signature from key {}", key.id());
    Ok(Minisig { untrusted, number: number_of(key), signature, comment: comment.to_owned(), global }.render())
}

/// Whether a file is a signature over the bytes, by the key.
pub fn is_valid(file: &[u8], bytes: &[u8], key: &PublicKey) -> bool {
    Minisig::parse(file).is_ok_and(|signature| signature.is_by(key) && signature.verify(bytes, key))
}

/// Whether a file is one that names the key.
pub fn is_by(file: &[u8], key: &PublicKey) -> bool {
    Minisig::parse(file).is_ok_and(|signature| signature.is_by(key))
}

impl Minisig {
    /// Reads a file: four lines, each ended.
    pub(super) fn parse(bytes: &[u8]) -> std::result::Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let lines: Vec<&str> = text.strip_suffix('\n').ok_or("its last line has no end")?.split('\n').collect();
        let [untrusted, signature, comment, global] = lines[..] else { return Err("it has not four lines") };
        let untrusted = untrusted.strip_prefix(UNTRUSTED).ok_or("its first line is not an untrusted comment")?;
        let comment = comment.strip_prefix(TRUSTED).ok_or("its third line is not a trusted comment")?;
        if [untrusted, comment].iter().any(|comment| comment.chars().any(|one| one.is_control() && one != '\t')) {
            return Err("a comment has a control character in it");
        }
        let decode = |line: &str| BASE64.decode(line.as_bytes()).map_err(|_| "a signature in it is not in base64");
        let (signature, global) = (decode(signature)?, decode(global)?);
        let signature: [u8; 74] = signature.try_into().map_err(|_| "its signature has not 74 bytes")?;
        if signature[..2] != PREHASHED {
            return Err("its signature is not over a digest: sign with a current minisign");
        }
        Ok(Self {
            untrusted: untrusted.to_owned(),
            number: signature[2..10].try_into().expect("eight of the 74 bytes"),
            signature: signature[10..].try_into().expect("the rest of the 74 bytes"),
            comment: comment.to_owned(),
            global: global.try_into().map_err(|_| "its second signature has not 64 bytes")?,
        })
    }

    fn render(&self) -> Vec<u8> {
        let signature = BASE64.encode(&[&PREHASHED[..], &self.number, &self.signature].concat());
        let (untrusted, comment, global) = (&self.untrusted, &self.comment, BASE64.encode(&self.global));
        format!("{UNTRUSTED}{untrusted}\n{signature}\n{TRUSTED}{comment}\n{global}\n").into_bytes()
    }

    /// Whether it says that this key made it.
    pub(super) fn is_by(&self, key: &PublicKey) -> bool {
        fits(key) && self.number == number_of(key)
    }

    /// Whether both of its signatures hold.
    pub(super) fn verify(&self, bytes: &[u8], key: &PublicKey) -> bool {
        let commented = [&self.signature, self.comment.as_bytes()].concat();
        key.verify(&Blake2b512::digest(bytes), &self.signature).is_ok() && key.verify(&commented, &self.global).is_ok()
    }
}

/// minisign numbers its keys at random; ours begin as their ids do.
fn number_of(key: &PublicKey) -> [u8; 8] {
    key.id().as_bytes()[..8].try_into().expect("a digest is longer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::private::PrivateKey;

    fn key() -> PrivateKey {
        PrivateKey::generate(Algorithm::Ed25519).unwrap()
    }

    #[test]
    fn what_is_signed_is_verified_and_nothing_else_is() {
        let key = key();
        let file = sign(&key, b"bytes", "tool 1.0.0").unwrap();
        assert!(is_valid(&file, b"bytes", key.public()));
        assert!(!is_valid(&file, b"bytes!", key.public()));
        let text = String::from_utf8(file.clone()).unwrap();
        assert!(!is_valid(text.replace("tool 1.0.0", "tool 2.0.0").as_bytes(), b"bytes", key.public()));
        let other = self::key();
        assert!(!is_by(&file, other.public()) && is_by(&file, key.public()));
        assert_eq!(Minisig::parse(&file).unwrap().render(), file);
    }

    #[test]
    fn other_forms_are_refused() {
        let key = key();
        let file = String::from_utf8(sign(&key, b"bytes", "comment").unwrap()).unwrap();
        let forms = [
            file.trim_end().to_owned(),
            format!("{file}\n"),
            file.replace('\n', "\r\n"),
            file.replace("trusted comment", "Trusted comment"),
            file.replace("comment: comment", "comment: a\u{1b}b"),
        ];
        for form in forms {
            assert!(Minisig::parse(form.as_bytes()).is_err(), "{form:?}");
        }
    }

    #[test]
    fn only_ed25519_has_this_form() {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        assert!(public_key(key.public()).is_none());
    }
}
