//! Public keys: read from outside, named by their digest, and the only judges of a signature.
//!
//! A [`PublicKey`] knows its own algorithm; what a document says about the algorithm decides
//! nothing. Its [`KeyId`] helps to find it and proves nothing.

use std::fmt;

use pkcs8::spki::ObjectIdentifier;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::shapes::{self, Found, Refusal, Shape, Wanted};
use super::{pem, spki};
use crate::model::Digest;

/// The largest file with a public key that is read, in bytes.
pub const MAX_PEM_BYTES: usize = 16 << 10;

pub(super) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// How a key signs. It is the key's property alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256, the signature in DER.
    EcdsaP256,
    /// ECDSA over P-384 with SHA-384, the signature in DER.
    EcdsaP384,
    /// RSA, PKCS#1 v1.5, with SHA-256.
    Rsa,
    /// Ed25519.
    Ed25519,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa, Self::Ed25519];

    /// The word that documents and the command line use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256-sha256",
            Self::EcdsaP384 => "ecdsa-p384-sha384",
            Self::Rsa => "rsa-pkcs1-sha256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The command with which openssl verifies a signature of such a key, for a shell.
    pub fn openssl_command(self, pubkey: &str, signature: &str, file: &str) -> String {
        let (pubkey, signature, file) = (shapes::quoted(pubkey), shapes::quoted(signature), shapes::quoted(file));
        match self {
            Self::Ed25519 => {
                format!("openssl pkeyutl -verify -pubin -inkey {pubkey} -rawin -in {file} -sigfile {signature}")
            }
            Self::EcdsaP384 => format!("openssl dgst -sha384 -verify {pubkey} -signature {signature} {file}"),
            Self::EcdsaP256 | Self::Rsa => {
                format!("openssl dgst -sha256 -verify {pubkey} -signature {signature} {file}")
            }
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::Rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Ed25519 => &signature::ED25519,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The name of a key: the SHA-256 of its DER `SubjectPublicKeyInfo`.
pub type KeyId = Digest;

/// A key that can judge signatures.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// The `SubjectPublicKeyInfo` in DER.
    spki: Vec<u8>,
    /// The bit string inside it, as ring takes it.
    raw: Vec<u8>,
    id: KeyId,
}

/// Why something is no public key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it {}", .0.sentence)]
pub struct NotAPublicKey(Refusal);

impl NotAPublicKey {
    /// What it is instead, and what to do about it.
    pub fn into_refusal(self) -> Refusal {
        self.0
    }
}

/// The signature is not one of this key over these bytes. Nothing more is said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` in DER.
    ///
    /// One key has one spelling: the shortest DER, parameters as RFC 5480, 8410 and 3279 want them, the
    /// point uncompressed and on its curve. Another spelling would be another id, and count as another key.
    pub fn from_der(der: &[u8]) -> Result<Self, NotAPublicKey> {
        spki::read(der)
            .map(|(algorithm, raw)| Self { algorithm, spki: der.to_vec(), raw, id: Digest::of(der) })
            .map_err(NotAPublicKey)
    }

    /// Reads one `PUBLIC KEY` block in PEM and nothing else.
    pub fn from_pem(pem: &[u8]) -> Result<Self, NotAPublicKey> {
        let shape = match shapes::recognise(pem) {
            Found::Public(der) => return Self::from_der(&der),
            Found::Private(_) | Found::Unfit(_) => Shape::Pkcs8,
            Found::Encrypted(_) => Shape::EncryptedPkcs8,
            Found::Other(shape) => shape,
        };
        Err(NotAPublicKey(shape.refuse(Wanted::Public)))
    }

    /// Writes it in PEM, as openssl does.
    pub fn to_pem(&self) -> String {
        pem::write("PUBLIC KEY", &self.spki).to_string()
    }

    /// Its `SubjectPublicKeyInfo` in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The key itself without the `SubjectPublicKeyInfo` around it: for Ed25519 its 32 bytes.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether a signature over a message is this key's.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(self.algorithm.verification(), &self.raw)
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm, self.id)
    }
}

/// Whoever signs: a private key in memory, or a program that has one.
pub trait Signer: Send + Sync {
    /// The public half, which judges whatever comes back.
    fn public(&self) -> &PublicKey;

    /// Signs a message. Callers go through [`sign`], which verifies the result.
    fn sign_unverified(&self, message: &[u8]) -> crate::model::failure::Result<Vec<u8>>;
}

/// Signs a message and verifies the signature before anybody sees it.
pub fn sign(signer: &dyn Signer, message: &[u8]) -> crate::model::failure::Result<Vec<u8>> {
    use crate::model::{Code, Failure};
    let signature = signer.sign_unverified(message)?;
    signer.public().verify(message, &signature).map_err(|error| {
        Failure::new(
            Code::SignatureInvalid,
            format!("the new signature does not verify under key {}", signer.public().id()),
        )
        .hint("check that the private key or the signer command belongs to the public key")
        .because(error)
    })?;
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_that_of_the_algorithm_and_a_shell_can_take_it() {
        let command = |algorithm: Algorithm| algorithm.openssl_command("a b.pem", "x.sig", "x");
        assert_eq!(command(Algorithm::EcdsaP256), "openssl dgst -sha256 -verify 'a b.pem' -signature x.sig x");
        assert_eq!(command(Algorithm::Rsa), command(Algorithm::EcdsaP256));
        assert_eq!(command(Algorithm::EcdsaP384), "openssl dgst -sha384 -verify 'a b.pem' -signature x.sig x");
        assert_eq!(
            command(Algorithm::Ed25519),
            "openssl pkeyutl -verify -pubin -inkey 'a b.pem' -rawin -in x -sigfile x.sig"
        );
    }

    #[test]
    fn a_key_is_shown_by_its_name_and_not_by_its_bytes() {
        let key = PublicKey::from_der(include_bytes!("../../fuzz/corpus/spki/ed25519.der")).expect("a key");
        assert_eq!(format!("{key:?}"), format!("PublicKey(ed25519 {})", key.id()));
        assert_eq!(format!("{:>10}", Algorithm::Ed25519), "   ed25519");
    }
}
