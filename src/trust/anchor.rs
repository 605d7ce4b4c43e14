//! Whom to believe: the keys that a verification starts from.
//!
//! An [`Anchor`] comes from outside of what is verified, always: a key file, or the root of a
//! catalog. Nothing that lies in a bundle becomes one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::key::{Algorithm, KeyId, PublicKey};
use super::tuf::roles::{RoleName, Root, Signed};
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, FileName};

/// The largest root that is read, in bytes.
pub const MAX_ROOT_BYTES: usize = 512 << 10;

/// What a bundle has to prove.
#[derive(Clone, Debug, Default)]
pub enum Anchor {
    /// That it is whole; who made it is not asked.
    #[default]
    Unchecked,
    /// That any one of these keys has signed every asset.
    Keys(Vec<PublicKey>),
    /// That a role of a catalog has signed every asset.
    Role {
        /// The keys of the role.
        keys: BTreeSet<PublicKey>,
        /// How many different ones have to sign.
        threshold: u64,
        /// The version of the root that names them.
        root_version: u64,
        /// What the catalog lists, by the name of the release, where it was read. Assets that it lists
        /// need no detached signatures, and those that are there have to be valid.
        releases: Option<BTreeMap<String, Listed>>,
    },
}

/// What a catalog says of one release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Size and digest of every file.
    pub files: BTreeMap<FileName, (u64, Digest)>,
    /// Why nobody should choose it, where it was withdrawn.
    pub withdrawn: Option<String>,
}

/// What a catalog says of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum InCatalog {
    /// No catalog was read: whether the release was withdrawn, and whether the keys of the root are
    /// still trusted, is not known.
    NotRead,
    /// The catalog does not list it, and its signatures count.
    NotListed,
    /// The catalog lists it.
    Listed,
    /// The catalog lists it, and says that nobody should choose it.
    Withdrawn {
        /// Why.
        reason: String,
    },
}

impl Anchor {
    /// The keys that the root of a catalog trusts with releases, at an instant.
    pub fn of_root(bytes: &[u8], at: Timestamp) -> Result<Self> {
        let refuse = |why: &str| {
            Failure::new(Code::CatalogInvalid, format!("the trust root is refused: {why}"))
                .hint("fetch root.json again from whoever publishes the releases")
        };
        if bytes.len() > MAX_ROOT_BYTES {
            return Err(refuse(&format!("it is larger than {MAX_ROOT_BYTES} bytes")));
        }
        let document = Signed::<Root>::parse(bytes).map_err(|problem| refuse("it cannot be read").because(problem))?;
        let root = &document.signed;
        for role in RoleName::ALL {
            let (threshold, keys) = (root.roles.get(role).threshold, role_keys(root, role));
            if threshold == 0 || threshold > distinct(&keys) {
                let count = distinct(&keys);
                return Err(refuse(&format!("the role `{role}` has {count} keys and a threshold of {threshold}")));
            }
        }
        if !root.accepts(&document) {
            return Err(refuse("it is not signed by enough of its own keys"));
        }
        if root.expires <= at {
            return Err(Failure::new(Code::CatalogExpired, format!("the trust root expired at {}", root.expires))
                .hint("fetch the newest root.json; to look at an old release, name a time with `--at`"));
        }
        Ok(Self::releases_of(root, None))
    }

    /// The keys that a root trusts with releases, and what they list. Whoever calls this believes the root.
    pub fn releases_of(root: &Root, releases: Option<BTreeMap<String, Listed>>) -> Self {
        let threshold = root.roles.targets.threshold;
        Self::Role { keys: role_keys(root, RoleName::Targets), threshold, root_version: root.version, releases }
    }

    /// Whether anything is trusted, so that signatures are demanded.
    pub fn is_checked(&self) -> bool {
        !matches!(self, Self::Unchecked)
    }

    /// The trusted keys.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        let (listed, of_role) = match self {
            Self::Unchecked => (None, None),
            Self::Keys(keys) => (Some(keys), None),
            Self::Role { keys, .. } => (None, Some(keys)),
        };
        listed.into_iter().flatten().chain(of_role.into_iter().flatten())
    }

    /// The trusted key of this name.
    pub fn key(&self, id: KeyId) -> Option<&PublicKey> {
        self.keys().find(|key| key.id() == id)
    }

    /// How many different keys have to sign each asset; never none, whatever a document says.
    pub fn threshold(&self) -> u64 {
        match self {
            Self::Role { threshold, .. } => (*threshold).max(1),
            Self::Unchecked | Self::Keys(_) => 1,
        }
    }
}

fn role_keys(root: &Root, role: RoleName) -> BTreeSet<PublicKey> {
    let ids = &root.roles.get(role).keyids;
    ids.iter().filter_map(|id| root.keys.get(id)?.public()).collect()
}

/// How many different keys there are, whatever their wrapping.
pub(super) fn distinct<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> u64 {
    let different: BTreeSet<(Algorithm, &[u8])> = keys.into_iter().map(|key| (key.algorithm(), key.raw())).collect();
    different.len() as u64
}

#[cfg(feature = "toolchain")]
#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::Release;
    use crate::trust::key::{self, Signer as _};
    use crate::trust::private::PrivateKey;
    use crate::trust::tuf::roles::{Key, RoleKeys, Roles, Signature};
    use data_encoding::HEXLOWER;

    fn generate() -> PrivateKey {
        PrivateKey::generate(Algorithm::EcdsaP256).expect("random numbers")
    }

    /// A root whose other roles are its owner's, and whose targets role has these keys.
    fn root(owner: &PrivateKey, signer: &PrivateKey, targets: &[&PrivateKey], threshold: u64) -> Vec<u8> {
        let mut keys = BTreeMap::new();
        let mut role = |holders: &[&PrivateKey], threshold| {
            let rows: Vec<_> = holders.iter().map(|key| Key::of(key.public()).expect("P-256")).collect();
            keys.extend(rows.iter().map(|key| (key.id(), key.clone())));
            RoleKeys { keyids: rows.iter().map(Key::id).collect(), threshold }
        };
        let (own, targets) = (role(&[owner], 1), role(targets, threshold));
        let roles = Roles { root: own.clone(), targets, snapshot: own.clone(), timestamp: own.clone() };
        let expires = "2030-01-01T00:00:00Z".parse().expect("a time");
        let mut document = Signed::new(Root::new(7, expires, keys, roles));
        let signature = key::sign(signer, &document.canonical()).expect("signs");
        document.signatures.push(Signature { keyid: own.keyids[0].clone(), sig: HEXLOWER.encode(&signature) });
        document.render()
    }

    #[test]
    fn a_root_is_signed_can_be_met_and_has_not_expired() {
        let (owner, one, two) = (generate(), generate(), generate());
        let at = |time: &str| time.parse::<Timestamp>().expect("a time");
        let now = at("2029-12-31T23:59:59Z");
        let code = |bytes: &[u8], at| Anchor::of_root(bytes, at).err().map(|failure| failure.code());
        for (threshold, expected) in
            [(0, Some(Code::CatalogInvalid)), (1, None), (2, None), (3, Some(Code::CatalogInvalid))]
        {
            assert_eq!(code(&root(&owner, &owner, &[&one, &two], threshold), now), expected, "{threshold}");
        }
        let good = root(&owner, &owner, &[&one, &two], 2);
        assert_eq!(code(&root(&owner, &one, &[&one, &two], 2), now), Some(Code::CatalogInvalid));
        assert_eq!(code(&good, at("2030-01-01T00:00:00Z")), Some(Code::CatalogExpired));
        let anchor = Anchor::of_root(&good, now).expect("good");
        assert!(anchor.is_checked());
        let release = Release::parse("v1.0.0").expect("a tag");
        assert_eq!(anchor.says_of(Some(&release)), Some(InCatalog::NotRead));
        assert_eq!(anchor.threshold(), 2);
        assert_eq!(anchor.keys().count(), 2);
        assert_eq!(anchor.key(two.public().id()), Some(two.public()));
        assert_eq!(anchor.key(owner.public().id()), None);
        let Anchor::Role { root_version, .. } = anchor else { panic!("a root makes a role") };
        assert_eq!(root_version, 7);
        let mut longer = good.clone();
        longer.resize(MAX_ROOT_BYTES, b' ');
        assert_eq!(code(&longer, now), None);
        longer.push(b' ');
        assert_eq!(code(&longer, now), Some(Code::CatalogInvalid));
    }
}
