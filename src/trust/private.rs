//! Private keys in memory: made, read from PKCS#8, and signing with ring.
//!
//! The bytes are wiped when the key goes.

use pkcs8::der::asn1::{AnyRef, BitStringRef, Null};
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use zeroize::Zeroizing;

use super::key::{self, Algorithm, PublicKey, Signer};
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// A private key.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
    /// The PKCS#8 in DER, to be written.
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Makes a new key. RSA keys are read and not made.
    pub fn generate(algorithm: Algorithm) -> Result<Self> {
        let random = SystemRandom::new();
        let document = match algorithm {
            Algorithm::EcdsaP256 => EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &random),
            Algorithm::EcdsaP384 => EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P384_SHA384_ASN1_SIGNING, &random),
            Algorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
            Algorithm::Rsa => {
                return Err(Failure::new(Code::KeyInvalid, "RSA keys are not made here")
                    .hint("make a P-256 key, or run `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072`"));
            }
        };
        let document =
            document.map_err(|_| Failure::new(Code::KeyInvalid, "the system gave no random numbers for a new key"))?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads one private key in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let refuse = |why: String| Failure::new(Code::KeyInvalid, why);
        let (label, der) = pkcs8::der::pem::decode_vec(pem)
            .map_err(|error| refuse("it is not a private key in PEM".to_owned()).because(error))?;
        let der = Zeroizing::new(der);
        if label != "PRIVATE KEY" {
            return Err(refuse(format!("it is a `{label}`, not a `PRIVATE KEY`")));
        }
        Self::from_pkcs8(&der)
    }

    /// Reads a PKCS#8 private key in DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let refuse = |why: String| Failure::new(Code::KeyInvalid, why);
        let info = PrivateKeyInfoRef::from_der(der)
            .map_err(|error| refuse("it is not a PKCS#8 private key".to_owned()).because(error))?;
        let curve = info.algorithm.parameters_oid().ok();
        let rejected = |error: ring::error::KeyRejected| refuse(format!("the private key cannot be used: {error}"));
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(algorithm, der, &SystemRandom::new()).map_err(rejected)
        };
        let (pair, identifier, point) = match (info.algorithm.oid, curve) {
            (key::EC_PUBLIC_KEY, Some(key::P256)) => {
                let pair = ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING)?;
                let point = pair.public_key().as_ref().to_vec();
                (Pair::Ecdsa(pair), identifier(key::EC_PUBLIC_KEY, Some(AnyRef::from(&key::P256))), point)
            }
            (key::EC_PUBLIC_KEY, Some(key::P384)) => {
                let pair = ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING)?;
                let point = pair.public_key().as_ref().to_vec();
                (Pair::Ecdsa(pair), identifier(key::EC_PUBLIC_KEY, Some(AnyRef::from(&key::P384))), point)
            }
            (key::RSA, _) => {
                let pair = RsaKeyPair::from_pkcs8(der).map_err(rejected)?;
                let point = pair.public_key().as_ref().to_vec();
                (Pair::Rsa(pair), identifier(key::RSA, Some(Null.into())), point)
            }
            (key::ED25519, None) => {
                // openssl writes no public half into it, which the strict reading would insist on.
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(rejected)?;
                let point = pair.public_key().as_ref().to_vec();
                (Pair::Ed25519(pair), identifier(key::ED25519, None), point)
            }
            (other, _) => {
                return Err(refuse(format!("its algorithm ({other}) is none of P-256, P-384, RSA and Ed25519")));
            }
        };
        let spki = BitStringRef::from_bytes(&point)
            .and_then(|bits| SubjectPublicKeyInfoRef { algorithm: identifier, subject_public_key: bits }.to_der())
            .map_err(|error| refuse("its public half cannot be written".to_owned()).because(error))?;
        let public = PublicKey::from_der(&spki)
            .map_err(|error| refuse("its public half cannot be used".to_owned()).because(error))?;
        Ok(Self { pair, public, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// The PKCS#8 in DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }
}

fn identifier(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>) -> AlgorithmIdentifierRef<'_> {
    AlgorithmIdentifierRef { oid, parameters }
}

impl Signer for PrivateKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unverified(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let signed = match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out).map(|()| out)
            }
        };
        signed.map_err(|_| Failure::new(Code::KeyInvalid, format!("the key {} did not sign", self.public.id())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_key_signs_its_public_half_verifies() {
        for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519] {
            let key = PrivateKey::generate(algorithm).expect("random numbers");
            let signature = key::sign(&key, b"message").expect("signs");
            let public = PublicKey::from_pem(key.public().to_pem().as_bytes()).expect("its own writing");
            assert_eq!((public.algorithm(), public.id()), (algorithm, key.public().id()));
            assert!(public.verify(b"message", &signature).is_ok() && public.verify(b"massage", &signature).is_err());
        }
    }
}
