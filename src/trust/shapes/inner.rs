//! What is inside a key: its algorithm, its curve, its size, and whether that is one that signs releases.
//!
//! [`der_shape`] and [`openssh`] tell what a file is that is no PEM. Nothing is decrypted or computed here.

use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef, UintRef};
use pkcs8::der::{Decode as _, Header, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use pkcs8::spki::ObjectIdentifier;

use super::sentences::NEW_KEY;
use super::{OpenSsh, Refusal, Remedy, Shape};
use crate::trust::key;

/// The sizes of RSA keys that are taken, in bits. Smaller ones can be broken; larger ones are beyond what
/// ring signs with, and slow to verify.
pub(crate) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
const RSA_EXPONENT_MIN: u64 = 65537;
/// ring takes no public exponent of more bits.
const RSA_EXPONENT_BITS: usize = 33;

pub(crate) const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// What a curve or an algorithm is called that does not sign releases.
fn name(oid: &ObjectIdentifier) -> &'static str {
    match oid.to_string().as_str() {
        "1.3.132.0.10" => "secp256k1",
        "1.3.132.0.33" => "P-224",
        "1.3.132.0.35" => "P-521",
        "1.2.840.10045.3.1.1" => "P-192",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1",
        "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1",
        "1.2.156.10197.1.301" => "SM2",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.3.101.113" => "Ed448",
        "1.2.840.113549.1.3.1" | "1.2.840.10046.2.1" => "Diffie-Hellman",
        "2.16.840.1.101.3.4.3.17" | "2.16.840.1.101.3.4.3.18" | "2.16.840.1.101.3.4.3.19" => "ML-DSA",
        _ => "unknown",
    }
}

fn new_key(shape: &'static str, sentence: impl Into<String>) -> Refusal {
    Refusal { shape, sentence: sentence.into(), remedy: Remedy::command(NEW_KEY) }
}

pub(crate) fn damaged() -> Refusal {
    new_key("damaged", "does not hold what its first line says: it is damaged")
}

/// An algorithm or a curve that does not sign releases.
pub(crate) fn other_algorithm(oid: &ObjectIdentifier) -> Refusal {
    let what = match name(oid) {
        "unknown" => format!("is a key of an unknown kind ({oid})"),
        "X25519" | "X448" | "Diffie-Hellman" => {
            format!("is a key for {}, which agrees on secrets and does not sign", name(oid))
        }
        name => format!("is a key for {name}"),
    };
    new_key("other-algorithm", format!("{what}; keys for P-256, P-384, Ed25519 and RSA are taken"))
}

/// The curve and the public half of an `ECPrivateKey` (RFC 5915), as far as it has them.
pub(super) fn ec_private(der: &[u8]) -> pkcs8::der::Result<(Option<AnyRef<'_>>, Option<BitStringRef<'_>>)> {
    AnyRef::from_der(der)?.sequence(|reader| {
        let _version = u8::decode(reader)?;
        let _private = <&OctetStringRef>::decode(reader)?;
        let (mut curve, mut public) = (None, None);
        while !reader.is_finished() {
            let field = AnyRef::decode(reader)?;
            match field.tag() {
                Tag::ContextSpecific { number: TagNumber(0), .. } => curve = Some(AnyRef::from_der(field.value())?),
                Tag::ContextSpecific { number: TagNumber(1), .. } => {
                    public = Some(BitStringRef::from_der(field.value())?);
                }
                other => return Err(other.value_error().into()),
            }
        }
        Ok((curve, public))
    })
}

/// What a key in SEC1 form cannot become by being converted.
pub(super) fn sec1_refusal(der: &[u8]) -> Option<Refusal> {
    match ec_private(der) {
        Err(_) => Some(damaged()),
        Ok((Some(curve), _)) => match curve.decode_as::<ObjectIdentifier>() {
            Ok(key::P256 | key::P384) | Err(_) => None,
            Ok(other) => Some(other_algorithm(&other)),
        },
        Ok(_) => None,
    }
}

/// Whether an `RSAPrivateKey` (RFC 8017) is one that ring signs with.
pub(super) fn pkcs1(der: &[u8]) -> Result<(), Refusal> {
    let fields = AnyRef::from_der(der).and_then(|any| {
        any.sequence(|reader| {
            let version = u8::decode(reader)?;
            let (modulus, exponent) = (UintRef::decode(reader)?, UintRef::decode(reader)?);
            // The other numbers are ring's to check.
            let rest = reader.remaining_len();
            reader.read_slice(rest)?;
            Ok::<_, pkcs8::der::Error>((version, modulus, exponent))
        })
    });
    let (version, modulus, exponent) = fields.map_err(|_| damaged())?;
    if version != 0 {
        return Err(new_key(
            "rsa-multi-prime",
            "is an RSA key of more than two primes, which hardly anything signs with",
        ));
    }
    rsa(modulus.as_bytes(), exponent.as_bytes()).map_err(|(shape, why)| new_key(shape, why))?;
    let bits = bits(modulus.as_bytes());
    if !bits.is_multiple_of(1024) {
        let sentence = format!("is an RSA key of {bits} bits; keys of 2048, 3072 and 4096 bits sign here");
        return Err(new_key("rsa-odd-size", sentence));
    }
    Ok(())
}

/// Whether an RSA key is of a size and exponent that is taken, private or public.
pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), (&'static str, String)> {
    let size = bits(modulus);
    if size < *RSA_BITS.start() {
        let why = format!("is an RSA key of {size} bits; fewer than {} can be broken", RSA_BITS.start());
        return Err(("rsa-too-small", why));
    }
    if size > *RSA_BITS.end() {
        let why = format!(
            "is an RSA key of {size} bits; more than {} is slow to verify and not everywhere supported",
            RSA_BITS.end()
        );
        return Err(("rsa-too-large", why));
    }
    let small = exponent.iter().try_fold(0_u64, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)));
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if small.is_some_and(|value| value < RSA_EXPONENT_MIN) {
        let value = small.unwrap_or_default();
        let why = format!(
            "is an RSA key with the public exponent {value}; below {RSA_EXPONENT_MIN} a careless verifier can be fooled"
        );
        return Err(("rsa-exponent", why));
    }
    if bits(exponent) > RSA_EXPONENT_BITS || !is_odd(exponent) || !is_odd(modulus) {
        return Err((
            "rsa-exponent",
            "is an RSA key whose modulus or public exponent is not one that is used".to_owned(),
        ));
    }
    Ok(())
}

/// The bits of a number in big-endian bytes.
pub(crate) fn bits(number: &[u8]) -> usize {
    let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// What a file is that is DER and not PEM.
pub(super) fn der_shape(bytes: &[u8]) -> Option<Shape> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let is_whole = header.tag() == Tag::Sequence
        && usize::try_from(header.length()).ok()? == usize::try_from(reader.remaining_len()).ok()?;
    if !is_whole {
        return None;
    }
    let first = Header::decode(&mut reader).ok()?;
    let value = reader.read_slice(first.length()).ok()?;
    let second = Header::decode(&mut reader).ok()?.tag();
    Some(match (first.tag(), second) {
        (Tag::Integer, Tag::Sequence) if value == [3] => Shape::Pkcs12,
        (Tag::Integer, Tag::Sequence | Tag::OctetString | Tag::Integer) => Shape::DerPrivate,
        (Tag::Sequence, Tag::OctetString) => Shape::DerEncrypted,
        (Tag::Sequence, Tag::BitString) => Shape::DerPublic,
        (Tag::Sequence, Tag::Sequence) => Shape::DerCertificate,
        _ => Shape::Garbage,
    })
}

/// The kind of a key as ssh-keygen writes it, of which the public half is never encrypted.
pub(super) fn openssh(key: &[u8]) -> OpenSsh {
    openssh_kind(key).map_or(OpenSsh::Other, |kind| match kind {
        b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ssh-rsa" => OpenSsh::Convertible,
        b"ssh-ed25519" => OpenSsh::Ed25519,
        _ => OpenSsh::Other,
    })
}

fn openssh_kind(key: &[u8]) -> Option<&[u8]> {
    let mut rest = key.strip_prefix(b"openssh-key-v1\0")?;
    let mut string = |skipped: usize| {
        let (length, after) = rest.get(skipped..)?.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let string = after.get(..length)?;
        rest = &after[length..];
        Some(string)
    };
    let (_cipher, _kdf, _options) = (string(0)?, string(0)?, string(0)?);
    let public = string(4)?;
    let (length, after) = public.split_first_chunk::<4>()?;
    after.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_sign_is_called_by_its_name() {
        for (oid, name) in [
            ("1.3.132.0.10", "secp256k1"),
            ("1.3.132.0.33", "P-224"),
            ("1.3.132.0.35", "P-521"),
            ("1.2.840.10045.3.1.1", "P-192"),
            ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
            ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
            ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
            ("1.2.156.10197.1.301", "SM2"),
            ("1.3.101.113", "Ed448"),
            ("2.16.840.1.101.3.4.3.18", "ML-DSA"),
            ("1.3.101.110", "X25519, which agrees on secrets"),
            ("1.3.101.111", "X448, which agrees on secrets"),
            ("1.2.840.113549.1.3.1", "Diffie-Hellman, which agrees on secrets"),
            ("1.2.3.4", "an unknown kind (1.2.3.4)"),
        ] {
            let refusal = other_algorithm(&ObjectIdentifier::new_unwrap(oid));
            assert!(refusal.sentence.contains(name), "{oid}: {}", refusal.sentence);
        }
    }

    #[test]
    fn an_rsa_key_has_a_size_and_an_exponent_that_are_safe() {
        const E: &[u8] = &[1, 0, 1];
        let modulus = |bits: usize, last: u8| {
            let mut bytes = vec![0xff; bits.div_ceil(8)];
            bytes[0] = 0xff >> ((8 - bits % 8) % 8);
            *bytes.last_mut().expect("bytes") = last;
            bytes
        };
        let judge = |bits, last, exponent: &[u8]| rsa(&modulus(bits, last), exponent).map_err(|(shape, _)| shape);
        for bits in [2048, 3072, 4096] {
            assert_eq!(judge(bits, 0xff, E), Ok(()), "{bits}");
        }
        assert_eq!(judge(2047, 0xff, E), Err("rsa-too-small"));
        assert_eq!(judge(4097, 0xff, E), Err("rsa-too-large"));
        assert_eq!(judge(2048, 0xff, &[0xff, 0xff]), Err("rsa-exponent"));
        assert_eq!(judge(2048, 0xff, &[3]), Err("rsa-exponent"));
        assert_eq!(judge(2048, 0xff, &[1, 0, 2]), Err("rsa-exponent"));
        assert_eq!(judge(2048, 0xfe, E), Err("rsa-exponent"));
        assert_eq!(judge(2048, 0xff, &[1, 0xff, 0xff, 0xff, 0xff]), Ok(()));
        assert_eq!(judge(2048, 0xff, &[3, 0xff, 0xff, 0xff, 0xff]), Err("rsa-exponent"));
        assert_eq!(judge(2048, 0xff, &[1, 0, 0, 0, 0, 0, 0, 0, 1]), Err("rsa-exponent"));
    }

    #[test]
    fn der_is_told_by_its_first_two_fields() {
        for (der, expected) in [
            (&[0x30, 5, 2, 1, 3, 0x30, 0][..], Some(Shape::Pkcs12)),
            (&[0x30, 5, 2, 1, 0, 0x30, 0], Some(Shape::DerPrivate)),
            (&[0x30, 5, 2, 1, 1, 4, 0], Some(Shape::DerPrivate)),
            (&[0x30, 6, 2, 1, 0, 2, 1, 1], Some(Shape::DerPrivate)),
            (&[0x30, 4, 0x30, 0, 4, 0], Some(Shape::DerEncrypted)),
            (&[0x30, 5, 0x30, 0, 3, 1, 0], Some(Shape::DerPublic)),
            (&[0x30, 4, 0x30, 0, 0x30, 0], Some(Shape::DerCertificate)),
            (&[0x30, 4, 4, 0, 4, 0], Some(Shape::Garbage)),
            // Cut off, longer, or no sequence: not DER.
            (&[0x30, 5, 0x30, 0, 4, 0], None),
            (&[0x30, 4, 0x30, 0, 4, 0, 0], None),
            (&[0x31, 4, 0x30, 0, 4, 0], None),
        ] {
            assert_eq!(der_shape(der), expected, "{der:02x?}");
        }
    }
}
