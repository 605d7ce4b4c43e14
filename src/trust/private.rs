//! Private keys in memory: made, read from PKCS#8, and signing with ring.
//!
//! [`PrivateKey::from_pem`] takes PKCS#8, plain or encrypted, and says of everything else what it is. The
//! bytes that pass through here are wiped when the key goes; what ring keeps inside its key pairs is not.

use pkcs8::der::asn1::{AnyRef, BitStringRef, Null, OctetStringRef};
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use zeroize::Zeroizing;

use super::encrypted::{self, Closed};
use super::key::{self, Algorithm, PublicKey, Signer};
use super::pem;
use super::shapes::{self, Found, Refusal, Remedy, Shape, Wanted, inner};
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

/// What a text is that a private key was expected in.
pub enum Opened {
    /// The key.
    Key(Box<PrivateKey>),
    /// A key that needs a passphrase.
    Locked(Locked),
}

/// A private key that is still encrypted.
pub struct Locked(Zeroizing<Vec<u8>>);

impl Locked {
    /// Opens it; nothing, if this is not its passphrase.
    pub fn open(&self, passphrase: &[u8]) -> Result<Option<PrivateKey>, Refusal> {
        match encrypted::open(&self.0, passphrase) {
            Ok(der) => PrivateKey::read(&der).map(Some),
            Err(Closed::WrongPassphrase) => Ok(None),
            Err(Closed::Unread(refusal)) => Err(refusal),
        }
    }
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
        let document = Zeroizing::new(document.as_ref().to_vec());
        Self::from_pkcs8(&document)
    }

    /// Reads one private key in PEM that is not encrypted.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        match Self::open(pem).map_err(Refusal::of_private_key)? {
            Opened::Key(key) => Ok(*key),
            Opened::Locked(_) => Err(Failure::new(Code::KeyInvalid, "the private key is encrypted")),
        }
    }

    /// Reads a PKCS#8 private key in DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        Self::read(der).map_err(Refusal::of_private_key)
    }

    /// Reads one private key in PEM, which may be locked.
    pub fn open(pem: &[u8]) -> Result<Opened, Refusal> {
        match shapes::recognise(pem) {
            Found::Private(der) => Self::read(&der).map(|key| Opened::Key(Box::new(key))),
            Found::Encrypted(der) => encrypted::check(&der).map(|()| Opened::Locked(Locked(der))),
            Found::Public(_) => Err(Shape::Spki.refuse(Wanted::Private)),
            Found::Other(shape) => Err(shape.refuse(Wanted::Private)),
            Found::Unfit(refusal) => Err(refusal),
        }
    }

    fn read(der: &[u8]) -> Result<Self, Refusal> {
        let algorithm = shapes::private::algorithm(der)?;
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| inner::damaged())?;
        // The second version, which ring itself writes for Ed25519, holds the public half again; openssl
        // before 3.4 does not read it. Everything is kept in the first.
        let plain = PrivateKeyInfoRef { public_key: None, ..info.clone() };
        let pkcs8 = plain.to_der().map(Zeroizing::new).map_err(|_| inner::damaged())?;
        let refused = |error: KeyRejected| rejected(error);
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &SystemRandom::new()).map_err(refused)
        };
        let (pair, identifier) = match algorithm {
            Algorithm::EcdsaP256 => {
                let pair = ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING)?;
                (Pair::Ecdsa(pair), identifier(key::EC_PUBLIC_KEY, Some(AnyRef::from(&key::P256))))
            }
            Algorithm::EcdsaP384 => {
                let pair = ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING)?;
                (Pair::Ecdsa(pair), identifier(key::EC_PUBLIC_KEY, Some(AnyRef::from(&key::P384))))
            }
            Algorithm::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(&pkcs8).map_err(refused)?;
                (Pair::Rsa(pair), identifier(key::RSA, Some(Null.into())))
            }
            Algorithm::Ed25519 => {
                let seed = info.private_key.as_bytes();
                let seed = <&OctetStringRef>::from_der(seed).map_err(|_| inner::damaged())?.as_bytes();
                let pair = match info.public_key {
                    Some(public) => Ed25519KeyPair::from_seed_and_public_key(seed, public.raw_bytes()),
                    // openssl writes no public half into it, which the strict reading would insist on.
                    None => Ed25519KeyPair::from_seed_unchecked(seed),
                };
                (Pair::Ed25519(pair.map_err(refused)?), identifier(key::ED25519, None))
            }
        };
        let public = public_half(&pair, identifier)?;
        let key = Self { pair, public, pkcs8 };
        // Whether the exponents of an RSA key belong to its primes is seen by ring when it signs, and not before.
        if algorithm == Algorithm::Rsa {
            key.sign_unverified(b"").map_err(|_| rejected("it does not sign"))?;
        }
        Ok(key)
    }

    /// The PKCS#8 in DER, of the first version.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Writes it in PEM, in the clear.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::write("PRIVATE KEY", &self.pkcs8)
    }

    /// Writes it in PEM, encrypted so that openssl opens it.
    pub fn to_encrypted_pem(&self, passphrase: &[u8]) -> Result<Zeroizing<String>> {
        encrypted::close(&self.pkcs8, passphrase).map(|der| pem::write("ENCRYPTED PRIVATE KEY", &der))
    }
}

fn identifier(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>) -> AlgorithmIdentifierRef<'_> {
    AlgorithmIdentifierRef { oid, parameters }
}

fn public_half(pair: &Pair, algorithm: AlgorithmIdentifierRef<'_>) -> Result<PublicKey, Refusal> {
    let raw = match pair {
        Pair::Ecdsa(pair) => pair.public_key().as_ref(),
        Pair::Ed25519(pair) => pair.public_key().as_ref(),
        Pair::Rsa(pair) => pair.public_key().as_ref(),
    };
    let spki = BitStringRef::from_bytes(raw)
        .and_then(|bits| SubjectPublicKeyInfoRef { algorithm, subject_public_key: bits }.to_der())
        .map_err(|_| inner::damaged())?;
    PublicKey::from_der(&spki).map_err(key::NotAPublicKey::into_refusal)
}

/// What ring refuses although its shape and size are right: the numbers contradict each other.
fn rejected(error: impl std::fmt::Display) -> Refusal {
    Refusal {
        shape: "inconsistent",
        sentence: format!("is a private key whose numbers do not belong together ({error})"),
        remedy: Remedy::Advice(
            "ask `openssl pkey -check -noout -in key.pem` for details; `consign key generate` makes a new key",
        ),
    }
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

impl Refusal {
    /// The failure for a private key that lies in no file.
    fn of_private_key(self) -> Failure {
        Failure::new(Code::KeyInvalid, format!("the private key {}", self.sentence))
            .hint(self.remedy.hint(None, Wanted::Private))
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

    #[test]
    fn a_key_is_written_so_that_it_is_read_again_plain_and_encrypted() {
        for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519] {
            let key = PrivateKey::generate(algorithm).expect("random numbers");
            let Ok(Opened::Key(again)) = PrivateKey::open(key.to_pem().as_bytes()) else { panic!("not a plain key") };
            assert_eq!(again.public(), key.public());
            let closed = key.to_encrypted_pem(b"passphrase").expect("encrypted");
            let Ok(Opened::Locked(locked)) = PrivateKey::open(closed.as_bytes()) else { panic!("not a locked key") };
            assert!(locked.open(b"another").expect("readable").is_none());
            assert_eq!(locked.open(b"passphrase").expect("readable").expect("opened").public(), key.public());
        }
    }

    #[test]
    fn a_new_key_is_written_in_the_version_that_every_openssl_reads() {
        let key = PrivateKey::generate(Algorithm::Ed25519).expect("random numbers");
        // Version 1 has no public half beside the seed.
        assert_eq!((key.pkcs8().len(), &key.pkcs8()[..5]), (48, &[0x30, 46, 2, 1, 0][..]));
    }

    #[test]
    fn halves_of_two_keys_make_none() {
        let make = || PrivateKey::generate(Algorithm::EcdsaP256).expect("random numbers");
        let (one, other) = (make(), make());
        let mut mixed = one.pkcs8().to_vec();
        let point = mixed.len() - 65;
        mixed[point..].copy_from_slice(&other.pkcs8()[point..]);
        assert_eq!(PrivateKey::read(&mixed).err().expect("refused").shape, "inconsistent");
        assert!(PrivateKey::from_pkcs8(&one.pkcs8()[1..]).is_err());
    }

    #[test]
    fn an_rsa_key_that_would_not_sign_is_refused_when_it_is_read() {
        let good = include_bytes!("../../fuzz/corpus/private_key/rsa.der");
        assert!(PrivateKey::read(good).is_ok());
        // The last numbers: the exponents for each prime, and the coefficient.
        for at in (good.len() - 400..good.len()).step_by(64) {
            let mut bent = good.to_vec();
            bent[at] ^= 4;
            assert!(PrivateKey::read(&bent).is_err(), "{at}");
        }
    }
}
