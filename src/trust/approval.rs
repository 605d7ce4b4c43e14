//! Whether one document is approved by whoever is trusted, before anybody reads it.
//!
//! This is for whoever fetches one file of a release and not the whole bundle: an installer asks it
//! about the index, which pins everything else. The bytes that were approved come back wrapped in
//! [`Verified`].

use std::collections::BTreeSet;

use super::Verified;
use super::anchor::{Anchor, distinct};
use super::key::{KeyId, PublicKey};
use super::signatures::{self, Signatures};
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, text};

/// A document, and who approves of it.
#[derive(Debug)]
pub struct Approved {
    /// The document.
    pub bytes: Vec<u8>,
    /// The trusted keys whose signatures hold.
    pub signed_by: BTreeSet<KeyId>,
}

/// The signatures that were found of a document.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The list of signatures of its release.
    pub list: Option<Vec<u8>>,
    /// A signature for itself, where there is no list.
    pub raw: Option<Vec<u8>>,
}

/// Verifies that enough trusted keys have signed a document.
pub fn approve(anchor: &Anchor, name: &str, bytes: Vec<u8>, found: &Found) -> Result<Verified<Approved>> {
    let signers = match (&found.list, &found.raw) {
        (Some(list), _) => listed(anchor, name, &bytes, list)?,
        (None, Some(raw)) => vec![alone(anchor, name, &bytes, raw)?],
        (None, None) => {
            return Err(refused(Code::Unsigned, name, "is not signed, and signatures are required")
                .hint("ask the publisher for a signed release, or for its public key if that is another one"));
        }
    };
    let (has, needs) = (distinct(&signers), anchor.threshold());
    if has == 0 {
        return Err(refused(Code::KeyUntrusted, name, "is not signed by a key that is trusted")
            .hint("name the key that the releases are signed with, as its owner publishes it"));
    }
    if has < needs {
        let problem = format!("is signed by {has} of the {needs} trusted keys that have to sign");
        return Err(refused(Code::KeyUntrusted, name, &problem).hint("ask the publisher for the missing signatures"));
    }
    Ok(Verified::vouch(Approved { bytes, signed_by: signers.iter().map(PublicKey::id).collect() }))
}

/// The trusted keys that sign the document by the word of a list.
fn listed(anchor: &Anchor, name: &str, bytes: &[u8], list: &[u8]) -> Result<Vec<PublicKey>> {
    let list = Signatures::read(list).map_err(|problem| {
        refused(Code::DocumentInvalid, signatures::FILE_NAME, &format!("cannot be read: {problem}"))
            .hint("ask the publisher; a list of signatures is never edited")
    })?;
    let digest = Digest::of(bytes);
    let mut signers = Vec::new();
    for entry in list.of(name) {
        let Some(key) = anchor.key(entry.key_id) else { continue };
        if entry.algorithm != key.algorithm() || entry.sha256 != digest || key.verify(bytes, &entry.signature).is_err()
        {
            return Err(invalid(name, &format!("by the key {} ", key.id())));
        }
        signers.push(key.clone());
    }
    Ok(signers)
}

fn alone(anchor: &Anchor, name: &str, bytes: &[u8], raw: &[u8]) -> Result<PublicKey> {
    let key = anchor.keys().find(|key| key.verify(bytes, raw).is_ok());
    key.cloned().ok_or_else(|| invalid(name, ""))
}

fn invalid(name: &str, whose: &str) -> Failure {
    let message =
        format!("signature verification failed for `{}`: its signature {whose}does not hold", text::shown(name));
    Failure::new(Code::SignatureInvalid, message)
        .subject(text::shown(name))
        .hint("do not use it; fetch it again, and check that the key is the right one")
}

fn refused(code: Code, name: &str, problem: &str) -> Failure {
    let name = text::shown(name);
    Failure::new(code, format!("`{name}` {problem}")).subject(name)
}
