//! The digests by which TUF metadata names a file: those that are known have to fit, every one.
//!
//! [`Expected`] takes the bytes in as they come. Names of algorithms that are not known prove nothing.

use std::collections::BTreeMap;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::digest::{Algorithm, Context, SHA256, SHA512};

use super::roles::Invalid;

const KNOWN: [(&str, &Algorithm); 2] = [("sha256", &SHA256), ("sha512", &SHA512)];

/// What the bytes of a file should be.
pub struct Expected {
    length: Option<u64>,
    taken: u64,
    digests: Vec<(&'static str, Context, Vec<u8>)>,
}

impl Expected {
    /// Reads a list of digests, of which at least one has to be of a kind that is known.
    pub fn new(length: Option<u64>, hashes: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        let mut digests = Vec::new();
        for (name, algorithm) in KNOWN {
            let Some(text) = hashes.get(name) else { continue };
            let raw = HEXLOWER_PERMISSIVE
                .decode(text.as_bytes())
                .ok()
                .filter(|raw| raw.len() == algorithm.output_len())
                .ok_or_else(|| Invalid(format!("{text:?} is no {name} digest")))?;
            digests.push((name, Context::new(algorithm), raw));
        }
        if digests.is_empty() {
            return Err(Invalid("it is named by no digest that is known (sha256 or sha512)".to_owned()));
        }
        Ok(Self { length, taken: 0, digests })
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        self.digests.iter_mut().for_each(|(_, context, _)| context.update(bytes));
    }

    /// Whether it was what it should be.
    pub fn finish(self) -> Result<(), Invalid> {
        check_length(self.length, self.taken)?;
        for (name, context, wanted) in self.digests {
            let found = context.finish();
            if found.as_ref() != wanted {
                let (found, wanted) = (HEXLOWER.encode(found.as_ref()), HEXLOWER.encode(&wanted));
                return Err(Invalid(format!("its {name} digest is {found}, not {wanted}")));
            }
        }
        Ok(())
    }

    /// The digest that a file's name begins with where snapshots are consistent.
    pub fn prefix(&self) -> String {
        self.digests.first().map(|(.., wanted)| HEXLOWER.encode(wanted)).unwrap_or_default()
    }
}

/// Whether bytes are what a length and digests say, if anything is said.
pub(super) fn fits(
    length: Option<u64>,
    hashes: Option<&BTreeMap<String, String>>,
    bytes: &[u8],
) -> Result<(), Invalid> {
    check_length(length, bytes.len() as u64)?;
    let Some(hashes) = hashes else { return Ok(()) };
    let mut expected = Expected::new(length, hashes)?;
    expected.update(bytes);
    expected.finish()
}

fn check_length(length: Option<u64>, found: u64) -> Result<(), Invalid> {
    match length {
        Some(length) if length != found => Err(Invalid(format!("it has {found} bytes, not {length}"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect()
    }

    #[test]
    fn every_known_digest_has_to_fit_and_one_has_to_be_there() {
        let good = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let long = HEXLOWER.encode(ring::digest::digest(&SHA512, b"abc").as_ref());
        let check = |list: &[(&str, &str)], length| fits(length, Some(&hashes(list)), b"abc").is_ok();
        assert!(check(&[("sha256", good)], Some(3)));
        assert!(check(&[("sha256", good), ("sha512", &long), ("blake9", "00")], None));
        assert!(!check(&[("sha256", good)], Some(4)));
        assert!(!check(&[("sha256", good), ("sha512", &long.replace('a', "b"))], None));
        assert!(!check(&[("sha256", &good[2..])], None));
        assert!(!check(&[("sha256", "")], None));
        assert!(!check(&[("blake9", "00")], None));
        assert!(!check(&[], None));
    }
}
