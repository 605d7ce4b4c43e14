//! `signatures.json`: every detached signature of a bundle in one list, and the names of their files.
//!
//! The list proves nothing that the `.sig` files do not prove; it says which key each of them is by,
//! and lets a reader see that none is missing.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::documents::strict;
use super::key::{Algorithm, KeyId};
use crate::model::{Digest, FileName, pretty};

/// The file's name in a bundle.
pub const FILE_NAME: &str = "signatures.json";
/// The document type.
pub const TYPE: &str = "consign.signatures/v1";
/// What is put behind a file's name.
pub const ENDING: &str = ".sig";
/// The largest list that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// The most signatures of one file.
pub const MAX_PER_FILE: usize = 64;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signatures {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The bare version of the release.
    pub version: Version,
    /// Every signature, sorted by file and key.
    pub signatures: Vec<Entry>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The file that is signed.
    pub file: FileName,
    /// Its digest.
    pub sha256: Digest,
    /// The signature.
    #[serde(with = "base64")]
    pub signature: Vec<u8>,
    /// How the key signs; it is the key that decides.
    #[serde(with = "word")]
    pub algorithm: Algorithm,
    /// Which key is said to have made it.
    pub key_id: KeyId,
}

impl Signatures {
    /// A list of signatures, in order.
    pub fn new(version: Version, mut signatures: Vec<Entry>) -> Self {
        signatures.sort_by(|one, other| (&one.file, one.key_id).cmp(&(&other.file, other.key_id)));
        Self { kind: TYPE.to_owned(), version, signatures }
    }

    /// Writes the list.
    pub fn render(&self) -> Vec<u8> {
        pretty(self)
    }

    /// Reads a list in exactly the form that [`Signatures::render`] writes.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let list = strict(bytes, MAX_BYTES, Self::render)?;
        let sorted = |one: &Entry, other: &Entry| (&one.file, one.key_id) < (&other.file, other.key_id);
        let mut counts: BTreeMap<&FileName, usize> = BTreeMap::new();
        for entry in &list.signatures {
            *counts.entry(&entry.file).or_default() += 1;
        }
        let problem = if list.kind != TYPE {
            "its type is another one"
        } else if !list.signatures.is_sorted_by(sorted) {
            "its signatures are not sorted by file and key, or one is there twice"
        } else if counts.values().any(|count| *count > MAX_PER_FILE) {
            "it has more signatures of one file than are looked at"
        } else {
            return Ok(list);
        };
        Err(problem.to_owned())
    }

    /// The signatures of one file.
    pub fn of<'a>(&'a self, file: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.signatures.iter().filter(move |entry| entry.file.as_str() == file)
    }
}

/// How the name of a key begins in the name of a file.
pub fn short(key: KeyId) -> String {
    key.to_string()[..8].to_owned()
}

/// The name of a file with evidence: of the first key, or of a further one.
pub fn file_name(asset: &str, further: Option<KeyId>, ending: &str) -> String {
    match further {
        Some(key) => format!("{asset}.{}{ending}", short(key)),
        None => format!("{asset}{ending}"),
    }
}

mod base64 {
    use super::{BASE64, Deserialize};

    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        if bytes.is_empty() { Err(serde::de::Error::custom("a signature is empty")) } else { Ok(bytes) }
    }
}

mod word {
    use super::{Algorithm, Deserialize};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
    pub(super) fn serialize<S: serde::Serializer>(algorithm: &Algorithm, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(algorithm.as_str())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        known.ok_or_else(|| serde::de::Error::custom("an algorithm is none of those that are known"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Signatures {
        let entry = |file: &str, key: &[u8]| Entry {
            file: file.parse().expect("a name"),
            sha256: Digest::of(file.as_bytes()),
            signature: vec![1, 2, 3, 4],
            algorithm: Algorithm::EcdsaP256,
            key_id: KeyId::of(key),
        };
        let rows = [("b.json", b"1"), ("a.tar.gz", b"1"), ("a.tar.gz", b"2")];
        Signatures::new("1.0.0".parse().expect("a version"), rows.map(|(file, key)| entry(file, key)).to_vec())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Signatures::read(&sample().render()), Ok(sample()));
        assert_eq!(sample().of("a.tar.gz").count(), 2);
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let good = String::from_utf8(sample().render()).expect("text");
        let pem = "\"algorithm\": \"ecdsa-p256-sha256\",\n      \"public_key\": \"-----BEGIN PUBLIC KEY-----\"";
        for wrong in [
            String::new(),
            good.replace("AQIDBA==", "AQIDBB=="),
            good.replace("AQIDBA==", "AQIDBA"),
            good.replace("AQIDBA==", ""),
            good.replace("ecdsa-p256-sha256", "none"),
            good.replacen("\"algorithm\": \"ecdsa-p256-sha256\"", pem, 1),
            good.replace("a.tar.gz", "../a.tar.gz"),
            good.replace("a.tar.gz", "c.tar.gz"),
            good.replace("signatures/v1", "signatures/v2"),
            good.replacen("\"type\"", "\"version\": \"1.0.0\",\n  \"type\"", 1),
            good.replace("  ", " "),
            format!("{good}\n"),
            format!("{good}{{}}"),
        ] {
            assert!(Signatures::read(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        let mut doubled = sample();
        doubled.signatures.push(doubled.signatures[2].clone());
        assert!(Signatures::read(&doubled.render()).is_err());
        for (count, is_read) in [(64, true), (65, false)] {
            let Signatures { version, signatures, .. } = sample();
            let row = |n: u32| Entry { key_id: KeyId::of(&n.to_le_bytes()), ..signatures[0].clone() };
            let many = Signatures::new(version, (0..count).map(row).collect());
            assert_eq!(Signatures::read(&many.render()).is_ok(), is_read, "{count}");
        }
    }
}
