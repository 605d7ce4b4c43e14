//! Public keys and signatures as Wycheproof tries them: what is valid is accepted, and nothing else is.

#![expect(clippy::disallowed_methods, reason = "tests read their own environment")]

use std::path::PathBuf;

use consign::trust::key::PublicKey;
use data_encoding::HEXLOWER;
use serde::Deserialize;

use crate::support::missing_unless;

#[derive(Deserialize)]
struct Vectors {
    #[serde(rename = "testGroups")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "publicKeyDer")]
    der: String,
    #[serde(rename = "publicKeyPem")]
    pem: String,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "tcId")]
    id: u32,
    msg: String,
    sig: String,
    result: String,
    flags: Vec<String>,
}

const FILES: [&str; 6] = [
    "ecdsa_secp256r1_sha256_test.json",
    "ecdsa_secp384r1_sha384_test.json",
    "ed25519_test.json",
    "rsa_signature_2048_sha256_test.json",
    "rsa_signature_3072_sha256_test.json",
    "rsa_signature_4096_sha256_test.json",
];

/// Where the public test vectors are, if they are here.
fn vectors() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors"));
    let place = std::env::var_os("CONSIGN_VECTORS").map_or(beside, PathBuf::from).join("wycheproof");
    missing_unless(place.is_dir(), "the folder of test vectors").then_some(place)
}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

#[test]
fn every_case_of_wycheproof_ends_as_it_should() {
    let Some(place) = vectors() else { return };
    let (mut total, mut refused_keys, mut wrong) = (0, Vec::new(), Vec::new());
    for file in FILES {
        let text = fs_err::read_to_string(place.join(file)).unwrap();
        let vectors: Vectors = serde_json::from_str(&text).unwrap();
        for group in vectors.groups {
            total += group.tests.len();
            let key = match PublicKey::from_pem(group.pem.as_bytes()) {
                Ok(key) => key,
                Err(error) => {
                    assert_eq!(PublicKey::from_der(&bytes(&group.der)), Err(error.clone()));
                    refused_keys.extend(group.tests.iter().map(|case| (case.flags.clone(), error.to_string())));
                    continue;
                }
            };
            assert_eq!(key.spki(), bytes(&group.der));
            assert_eq!(PublicKey::from_der(&bytes(&group.der)).as_ref(), Ok(&key));
            for case in group.tests {
                let is_accepted = key.verify(&bytes(&case.msg), &bytes(&case.sig)).is_ok();
                let agrees = match case.result.as_str() {
                    "valid" => is_accepted,
                    "invalid" => !is_accepted,
                    // A DigestInfo without its NULL, which is no signature that anybody makes.
                    "acceptable" => !is_accepted && case.flags == ["MissingNull"],
                    other => panic!("{other}"),
                };
                if !agrees {
                    wrong.push(format!("{file} {}: {}", case.id, case.result));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(total, 1915);
    // Three cases have the public exponent 3, with which no key is taken, whatever it signed.
    assert_eq!(refused_keys.len(), 3);
    for (flags, why) in refused_keys {
        assert!(flags.contains(&"SmallPublicKey".to_owned()) && why.contains("public exponent 3"), "{flags:?} {why}");
    }
}
