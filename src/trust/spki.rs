//! The inside of a public key: its algorithm, and whether it is spelled in the one proper way.
//!
//! [`read`] takes a `SubjectPublicKeyInfo` apart, puts it together again and compares: two spellings of one
//! key would have two ids. Points are looked for on their curves by ring.

use pkcs8::der::asn1::{AnyRef, BitStringRef, Null, UintRef};
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};
use ring::agreement::{self, EphemeralPrivateKey, agree_ephemeral};
use ring::rand::SystemRandom;

use super::key::{Algorithm, EC_PUBLIC_KEY, ED25519, P256, P384, RSA};
use super::shapes::{PUBLIC_AGAIN, PUBLIC_EC, Refusal, Remedy, inner};

/// The algorithm and the bare key of a `SubjectPublicKeyInfo`.
pub(super) fn read(der: &[u8]) -> Result<(Algorithm, Vec<u8>), Refusal> {
    let info = SubjectPublicKeyInfoRef::from_der(der)
        .map_err(|_| refuse("public-damaged", "does not hold what its first line says: it is damaged"))?;
    let raw = info
        .subject_public_key
        .as_bytes()
        .ok_or_else(|| refuse("public-damaged", "is a public key with a broken last byte"))?;
    let algorithm = algorithm(&info.algorithm)?;
    match algorithm {
        Algorithm::EcdsaP256 => point(raw, 65, &agreement::ECDH_P256)?,
        Algorithm::EcdsaP384 => point(raw, 97, &agreement::ECDH_P384)?,
        Algorithm::Ed25519 => edwards(raw)?,
        Algorithm::Rsa => rsa(raw)?,
    }
    if spelled(algorithm, raw).as_deref() != Some(der) {
        return Err(convertible(
            "public-spelling",
            "is a public key that is not spelled in the usual way, and would get another id",
            PUBLIC_AGAIN,
        ));
    }
    Ok((algorithm, raw.to_vec()))
}

fn refuse(shape: &'static str, sentence: &str) -> Refusal {
    let remedy = Remedy::Advice("ask the signer for the public key again; `consign key public` prints it");
    Refusal { shape, sentence: sentence.to_owned(), remedy }
}

fn convertible(shape: &'static str, sentence: &str, template: &str) -> Refusal {
    Refusal { shape, sentence: sentence.to_owned(), remedy: Remedy::command(template) }
}

fn algorithm(identifier: &AlgorithmIdentifierRef<'_>) -> Result<Algorithm, Refusal> {
    let other = |oid: &ObjectIdentifier| {
        let refusal = inner::other_algorithm(oid);
        refuse(refusal.shape, &refusal.sentence)
    };
    match (identifier.oid, identifier.parameters_oid()) {
        (EC_PUBLIC_KEY, Ok(P256)) => Ok(Algorithm::EcdsaP256),
        (EC_PUBLIC_KEY, Ok(P384)) => Ok(Algorithm::EcdsaP384),
        (EC_PUBLIC_KEY, Ok(curve)) => Err(other(&curve)),
        (EC_PUBLIC_KEY, Err(_)) => {
            Err(convertible("explicit-curve", "is an EC key that spells out its curve instead of naming it", PUBLIC_EC))
        }
        (RSA, _) => Ok(Algorithm::Rsa),
        (inner::RSA_PSS, _) => {
            Err(refuse("rsa-pss", "is an RSA key for PSS signatures only, and RSA signatures are PKCS#1 v1.5 here"))
        }
        (ED25519, _) => Ok(Algorithm::Ed25519),
        (oid, _) => Err(other(&oid)),
    }
}

/// The same key as everybody writes it.
fn spelled(algorithm: Algorithm, raw: &[u8]) -> Option<Vec<u8>> {
    let (oid, parameters) = match algorithm {
        Algorithm::EcdsaP256 => (EC_PUBLIC_KEY, Some(AnyRef::from(&P256))),
        Algorithm::EcdsaP384 => (EC_PUBLIC_KEY, Some(AnyRef::from(&P384))),
        Algorithm::Rsa => (RSA, Some(Null.into())),
        Algorithm::Ed25519 => (ED25519, None),
    };
    let subject_public_key = BitStringRef::from_bytes(raw).ok()?;
    SubjectPublicKeyInfoRef { algorithm: AlgorithmIdentifierRef { oid, parameters }, subject_public_key }.to_der().ok()
}

/// A point of a curve, uncompressed. Agreeing on a secret with it is how ring looks whether it is on its curve.
fn point(raw: &[u8], length: usize, curve: &'static agreement::Algorithm) -> Result<(), Refusal> {
    if let Some(2 | 3 | 6 | 7) = raw.first() {
        return Err(convertible(
            "ec-compressed",
            "is an EC public key whose point is compressed, or spelled in a mixed way",
            PUBLIC_EC,
        ));
    }
    let is_on_curve = || {
        let own = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).ok()?;
        agree_ephemeral(own, &agreement::UnparsedPublicKey::new(curve, raw), |_| ()).ok()
    };
    if raw.len() == length && raw.first() == Some(&4) && is_on_curve().is_some() {
        Ok(())
    } else {
        Err(refuse("ec-point", "is an EC public key whose point is not on its curve"))
    }
}

/// The values of y, the sign taken off, of the eight points that every signature can be bent to.
const SMALL_ORDER: [[u8; 32]; 5] = [
    filled(0x00, 0x00, 0x00),
    filled(0x01, 0x00, 0x00),
    filled(0xec, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const fn filled(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// An Ed25519 key: y below 2^255 - 19, for there is no other spelling of it, and no point of small order.
fn edwards(raw: &[u8]) -> Result<(), Refusal> {
    let mut y: [u8; 32] =
        raw.try_into().map_err(|_| refuse("ed25519-length", "is an Ed25519 public key that is not 32 bytes long"))?;
    y[31] &= 0x7f;
    let is_reduced = y[31] != 0x7f || y[1..31].iter().any(|byte| *byte != 0xff) || y[0] < 0xed;
    if is_reduced && !SMALL_ORDER.contains(&y) {
        Ok(())
    } else {
        Err(refuse("ed25519-weak", "is an Ed25519 public key under which anybody can sign"))
    }
}

fn rsa(raw: &[u8]) -> Result<(), Refusal> {
    let damaged = |_| refuse("public-damaged", "is an RSA public key that is damaged");
    let (modulus, exponent) = AnyRef::from_der(raw)
        .and_then(|any| {
            any.sequence(|reader| Ok::<_, pkcs8::der::Error>((UintRef::decode(reader)?, UintRef::decode(reader)?)))
        })
        .map_err(damaged)?;
    inner::rsa(modulus.as_bytes(), exponent.as_bytes()).map_err(|(shape, why)| refuse(shape, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ed25519_key_is_weak_or_has_another_spelling() {
        for mut small in SMALL_ORDER {
            for sign in [0, 0x80] {
                small[31] |= sign;
                assert!(edwards(&small).is_err(), "{small:?}");
            }
        }
        // 2^255 - 19 and what follows is y once more, from 0 on.
        for first in 0xec..=0xff {
            assert!(edwards(&filled(first, 0xff, 0x7f)).is_err(), "{first}");
            assert!(edwards(&filled(first, 0xff, 0xff)).is_err(), "{first}");
        }
        assert!(edwards(&filled(0xeb, 0xff, 0x7f)).is_ok());
        assert!(edwards(&filled(0xff, 0xff, 0x7e)).is_ok());
        assert!(edwards(&filled(0xff, 0xfe, 0x7f)).is_ok());
        let mut almost = filled(0xff, 0xff, 0x7f);
        almost[30] = 0xfe;
        assert!(edwards(&almost).is_ok());
        assert!(edwards(&[3; 31]).is_err() && edwards(&[3; 33]).is_err());
    }

    #[test]
    fn a_point_is_whole_uncompressed_and_on_its_curve() {
        let good = include_bytes!("../../fuzz/corpus/spki/p-256.der");
        let raw = &good[good.len() - 65..];
        let judge = |raw: &[u8]| point(raw, 65, &agreement::ECDH_P256).map_err(|refusal| refusal.shape);
        assert_eq!(judge(raw), Ok(()));
        assert_eq!(judge(&raw[..64]), Err("ec-point"));
        let mut bent = raw.to_vec();
        bent[64] ^= 1;
        assert_eq!(judge(&bent), Err("ec-point"));
        for first in [2, 3, 6, 7] {
            bent[0] = first;
            assert_eq!(judge(&bent), Err("ec-compressed"));
        }
        bent[0] = 5;
        assert_eq!(judge(&bent), Err("ec-point"));
    }
}
