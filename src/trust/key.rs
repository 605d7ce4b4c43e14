//! Public keys: read from outside, named by their digest, and the only judges of a signature.
//!
//! A [`PublicKey`] knows its own algorithm; what a document says about the algorithm decides
//! nothing. Its [`KeyId`] helps to find it and proves nothing.

use std::fmt;

use pkcs8::der::pem::LineEnding;
use pkcs8::der::{Decode as _, EncodePem as _};
use pkcs8::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

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

/// The name of a key: the SHA-256 of its DER SubjectPublicKeyInfo.
pub type KeyId = Digest;

/// A key that can judge signatures.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// The SubjectPublicKeyInfo in DER.
    spki: Vec<u8>,
    /// The bit string inside it, as ring takes it.
    raw: Vec<u8>,
    id: KeyId,
}

/// Why something is no public key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAPublicKey(pub String);

/// The signature is not one of this key over these bytes. Nothing more is said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, NotAPublicKey> {
        let refuse = |why: &str| NotAPublicKey(why.to_owned());
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| refuse("it is not a public key in DER"))?;
        let raw = info.subject_public_key.as_bytes().ok_or_else(|| refuse("its bit string is cut off"))?.to_vec();
        let curve = info.algorithm.parameters_oid().ok();
        let algorithm = match (info.algorithm.oid, curve) {
            (EC_PUBLIC_KEY, Some(P256)) => Algorithm::EcdsaP256,
            (EC_PUBLIC_KEY, Some(P384)) => Algorithm::EcdsaP384,
            (RSA, _) => Algorithm::Rsa,
            (ED25519, None) => Algorithm::Ed25519,
            _ => return Err(refuse("its algorithm is none of P-256, P-384, RSA and Ed25519")),
        };
        Ok(Self { algorithm, spki: der.to_vec(), raw, id: Digest::of(der) })
    }

    /// Reads one `PUBLIC KEY` block in PEM and nothing else.
    pub fn from_pem(pem: &[u8]) -> Result<Self, NotAPublicKey> {
        let (label, der) = pkcs8::der::pem::decode_vec(pem).map_err(|error| NotAPublicKey(error.to_string()))?;
        if label != "PUBLIC KEY" {
            return Err(NotAPublicKey(format!("it is a `{label}`, not a `PUBLIC KEY`")));
        }
        Self::from_der(&der)
    }

    /// Writes it in PEM, as openssl does.
    pub fn to_pem(&self) -> String {
        SubjectPublicKeyInfoRef::from_der(&self.spki)
            .and_then(|info| info.to_pem(LineEnding::LF))
            .expect("what was read as a public key can be written")
    }

    /// Its SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The key itself without the SubjectPublicKeyInfo around it: for Ed25519 its 32 bytes.
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
