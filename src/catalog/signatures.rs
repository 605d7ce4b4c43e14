//! One holder's signature after another under a document of a catalog.
//!
//! [`add`] signs with whichever of the given keys have the role, keeps what others have signed, and
//! refuses a document whose signatures do not hold. [`missing`] says what is not there yet.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::key::{self, PublicKey, Signer};
use crate::trust::tuf::roles::{Key, Role, RoleKeys, RoleName, Root, Signature, Signed, name_of};

/// Who may sign: keys with their ids, and those of them that have the role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appointed<'a> {
    pub(super) keys: &'a BTreeMap<String, Key>,
    pub(super) role: &'a RoleKeys,
    /// Whose word it is: `root 2`.
    pub(super) by: u64,
}

impl<'a> Appointed<'a> {
    /// Who may sign for a role by the word of a root.
    pub(super) fn by(root: &'a Root, role: RoleName) -> Self {
        Self { keys: &root.keys, role: root.roles.get(role), by: root.version }
    }

    /// The ids that a key has among those that have the role.
    fn ids_of(&self, key: &'a PublicKey) -> impl Iterator<Item = &'a String> {
        let keys = self.keys;
        self.role.keyids.iter().filter(move |id| keys.get(*id).and_then(Key::public).as_ref() == Some(key))
    }
}

/// How many signatures a document has of those that it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signatures {
    /// The role whose keys are meant.
    pub role: String,
    /// The version of the root that appoints them.
    pub by_root: u64,
    /// How many different keys have signed.
    pub have: u64,
    /// How many have to.
    pub need: u64,
    /// The names of the keys that could still sign.
    pub could_sign: Vec<String>,
}

impl Signatures {
    /// Whether there are enough.
    pub fn are_enough(&self) -> bool {
        self.have >= self.need && self.need >= 1
    }
}

impl std::fmt::Display for Signatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.json has {} of {} signatures; readers see it when it has all", self.role, self.have, self.need)
    }
}

/// Counts the signatures of a document by the word of one root.
pub(super) fn count<T: Role>(document: &Signed<T>, appointed: Appointed<'_>) -> Signatures {
    let signers = appointed.role.signers(appointed.keys, document);
    let is_open = |id: &&String| {
        let public = appointed.keys.get(*id).and_then(Key::public);
        public.is_some_and(|public| !signers.contains(&public))
    };
    Signatures {
        role: T::NAME.to_string(),
        by_root: appointed.by,
        have: signers.len() as u64,
        need: appointed.role.threshold,
        could_sign: appointed.role.keyids.iter().filter(is_open).map(|id| name_of(appointed.keys, id)).collect(),
    }
}

/// Adds the signatures of those signers that have the role and have not signed; gives the names of
/// the keys that signed now.
pub(super) fn add<T: Role + Clone>(
    document: &mut Signed<T>,
    appointed: &[Appointed<'_>],
    signers: &[&dyn Signer],
) -> Result<Vec<String>> {
    refuse_broken(document, appointed)?;
    let message = document.canonical();
    let mut added = Vec::new();
    for signer in signers {
        for id in appointed.iter().flat_map(|appointed| appointed.ids_of(signer.public())) {
            if document.signatures.iter().any(|signature| signature.keyid == *id) {
                continue;
            }
            let sig = HEXLOWER.encode(&key::sign(*signer, &message)?);
            document.signatures.push(Signature { keyid: id.clone(), sig });
            added.push(signer.public().id().to_string());
        }
    }
    Ok(added)
}

/// Takes over the signatures of another copy of the same document; gives the names of those taken.
pub(super) fn merge<T: Role + Clone>(
    document: &mut Signed<T>,
    other: &Signed<T>,
    appointed: &[Appointed<'_>],
) -> Result<Vec<String>> {
    if document.canonical() != other.canonical() {
        return Err(Failure::new(Code::CatalogInvalid, format!("the other file is not the same {}", T::NAME))
            .hint("have its holder sign the newest copy of the file"));
    }
    refuse_broken(other, appointed)?;
    let mut taken = Vec::new();
    for signature in &other.signatures {
        let by = appointed.iter().find(|appointed| appointed.role.keyids.contains(&signature.keyid));
        if let Some(by) = by
            && !document.signatures.iter().any(|known| known.keyid == signature.keyid)
        {
            document.signatures.push(signature.clone());
            taken.push(name_of(by.keys, &signature.keyid));
        }
    }
    Ok(taken)
}

/// A signature of a key that has the role, and that is not one over this document, shows that the
/// document was changed after it was signed.
fn refuse_broken<T: Role + Clone>(document: &Signed<T>, appointed: &[Appointed<'_>]) -> Result<()> {
    for signature in &document.signatures {
        let mut alone = document.clone();
        alone.signatures = vec![signature.clone()];
        let mut appoints = appointed.iter().filter(|appointed| appointed.role.keyids.contains(&signature.keyid));
        let holds = |appointed: &Appointed<'_>| !appointed.role.signers(appointed.keys, &alone).is_empty();
        let is_listed = appoints.clone().next().is_some();
        let twice = document.signatures.iter().filter(|other| other.keyid == signature.keyid).count() > 1;
        if twice || (is_listed && !appoints.all(holds)) {
            let what = if twice { "is there twice" } else { "does not hold" };
            let key = appointed.first().map_or_else(String::new, |by| name_of(by.keys, &signature.keyid));
            let message = format!("the signature of key {key} {what} under this {}", T::NAME);
            return Err(Failure::new(Code::SignatureInvalid, message).subject(key).hint(
                "the file was changed after it was signed, or damaged on its way: get it again from its author",
            ));
        }
    }
    Ok(())
}

/// The failure of keys none of which has a role.
pub(super) fn without_role(role: RoleName, signers: &[&dyn Signer], appointed: &[Appointed<'_>]) -> Failure {
    let given: Vec<_> = signers.iter().map(|signer| signer.public().id().to_string()).collect();
    let names = |by: &Appointed<'_>| by.role.keyids.iter().map(|id| name_of(by.keys, id)).collect::<Vec<_>>();
    let mut have: Vec<_> = appointed.iter().flat_map(names).collect();
    have.sort();
    have.dedup();
    let message = match given.as_slice() {
        [] => format!("no key was given that may sign for {role}"),
        [one] => format!("key {one} may not sign for {role}"),
        several => format!("none of the keys {} may sign for {role}", several.join(", ")),
    };
    let subject = given.first().cloned().unwrap_or_else(|| role.to_string());
    Failure::new(Code::KeyUntrusted, message)
        .subject(subject)
        .hint(format!("the role has the keys {}; `consign trust show` lists all of them", have.join(", ")))
}
