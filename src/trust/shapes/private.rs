//! What is inside a private key: whether ring is going to sign with it.
//!
//! [`algorithm`] looks at a key before ring does, which says less about what is wrong. Nothing is
//! decrypted or computed here.

use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::Decode as _;
use pkcs8::spki::ObjectIdentifier;

use super::inner::{RSA_PSS, damaged, ec_private, other_algorithm, pkcs1};
use super::sentences::{EC_TO_PKCS8, NEW_KEY};
use super::{Refusal, Remedy, Shape, Wanted};
use crate::trust::key::{self, Algorithm};

const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");

/// The algorithm of a PKCS#8 private key that ring may take, or why it does not.
pub(crate) fn algorithm(der: &[u8]) -> Result<Algorithm, Refusal> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| damaged())?;
    let private = info.private_key.as_bytes();
    match info.algorithm.oid {
        key::EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
            Ok(key::P256) => sec1(private).map(|()| Algorithm::EcdsaP256),
            Ok(key::P384) => sec1(private).map(|()| Algorithm::EcdsaP384),
            Ok(other) => Err(other_algorithm(&other)),
            Err(_) => Err(explicit_curve()),
        },
        key::ED25519 if info.algorithm.parameters.is_none() => Ok(Algorithm::Ed25519),
        key::RSA => pkcs1(private).map(|()| Algorithm::Rsa),
        RSA_PSS => Err(rsa_pss(der, private)),
        DSA => Err(Shape::Dsa.refuse(Wanted::Private)),
        other => Err(other_algorithm(&other)),
    }
}

fn explicit_curve() -> Refusal {
    Refusal {
        shape: "explicit-curve",
        sentence: "is an EC key that spells out its curve instead of naming it".to_owned(),
        remedy: Remedy::command(EC_TO_PKCS8),
    }
}

/// openssl will not change what such a key is for; the key inside it is the same.
fn rsa_pss(der: &[u8], private: &[u8]) -> Refusal {
    let sentence = "is an RSA key for PSS signatures only, and RSA signatures are PKCS#1 v1.5 here";
    let remedy = octets_at(der, private).map_or(Remedy::command(NEW_KEY), |offset| {
        Remedy::Command(format!(
            "openssl asn1parse -in {{in}} -strparse {offset} -noout -out /dev/stdout | openssl pkcs8 -topk8 -nocrypt -inform DER -out {{out}}"
        ))
    });
    Refusal { shape: "rsa-pss", sentence: sentence.to_owned(), remedy }
}

/// Where the octet string with these contents begins, its header included.
fn octets_at(der: &[u8], contents: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(der, contents)?;
    let header = match contents.len() {
        0..128 => 2,
        128..256 => 3,
        _ => 4,
    };
    at.checked_sub(header)
}

/// Whether the inside of an EC key has its public half as ring needs it.
fn sec1(der: &[u8]) -> Result<(), Refusal> {
    let (_, public) = ec_private(der).map_err(|_| damaged())?;
    let refuse =
        |shape, sentence: &str| Refusal { shape, sentence: sentence.to_owned(), remedy: Remedy::command(EC_TO_PKCS8) };
    match public.map(|public| public.raw_bytes().first().copied()) {
        Some(Some(4)) => Ok(()),
        Some(Some(2 | 3)) => Err(refuse("ec-compressed", "is an EC private key whose public half is compressed")),
        Some(_) => Err(damaged()),
        None => Err(refuse("ec-without-public", "is an EC private key without its public half")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_octet_string_begins_at_its_header_however_long_that_is() {
        for (header, length) in [(&[4, 127][..], 127), (&[4, 0x81, 200], 200), (&[4, 0x82, 1, 0], 256)] {
            let contents = vec![7; length];
            assert_eq!(octets_at(&[&[0, 0, 0], header, &contents].concat(), &contents), Some(3), "{length}");
        }
        assert_eq!(octets_at(b"abc", b"d"), None);
    }

    #[test]
    fn an_ed25519_key_has_no_parameters() {
        let good = include_bytes!("../../../fuzz/corpus/private_key/ed25519.der");
        assert_eq!(algorithm(good), Ok(Algorithm::Ed25519));
        let mut with_null = good.to_vec();
        with_null.splice(12..12, [5, 0]);
        (with_null[1], with_null[6]) = (with_null[1] + 2, with_null[6] + 2);
        assert_eq!(algorithm(&with_null).map_err(|refusal| refusal.shape), Err("other-algorithm"));
    }
}
