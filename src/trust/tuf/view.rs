//! What a catalog says, once everything in it has been checked.
//!
//! A [`View`] comes out of [`super::trusted`] only, wrapped in [`crate::trust::Verified`].

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::hashes::Expected;
use super::json::Json;
use super::roles::{Invalid, Key, Role, RoleName, Root, Snapshot, Target, Targets, TimestampRole};
use crate::trust::key::PublicKey;

/// The newest state of a catalog.
#[derive(Clone, Debug)]
pub struct View {
    root: Root,
    targets: Targets,
    documents: Vec<Document>,
}

/// One of the four documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// Which.
    pub role: RoleName,
    /// Its version.
    pub version: u64,
    /// When it expires.
    pub expires: Timestamp,
}

impl View {
    pub(super) fn new(root: &Root, timestamp: &TimestampRole, snapshot: &Snapshot, targets: &Targets) -> Self {
        fn document<T: Role>(role: &T) -> Document {
            Document { role: T::NAME, version: role.version(), expires: role.expires() }
        }
        Self {
            root: root.clone(),
            targets: targets.clone(),
            documents: vec![document(root), document(targets), document(snapshot), document(timestamp)],
        }
    }

    /// The version of the newest root.
    pub fn root_version(&self) -> u64 {
        self.root.version
    }

    /// The newest root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The four documents, the most trusted first.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// When the first of them expires.
    pub fn expires(&self) -> Timestamp {
        self.documents.iter().map(|document| document.expires).min().unwrap_or(Timestamp::MIN)
    }

    /// The different keys of a role.
    pub fn keys(&self, role: RoleName) -> Vec<PublicKey> {
        self.root.keys_of(role)
    }

    /// How many keys of a role have to sign.
    pub fn threshold(&self, role: RoleName) -> u64 {
        self.root.roles.get(role).threshold
    }

    /// Every file that the targets role itself lists, by its path.
    pub fn targets(&self) -> &BTreeMap<String, Target> {
        &self.targets.targets
    }

    /// A file that the targets role itself lists; delegations are not followed.
    pub fn find(&self, path: &str) -> Option<Found> {
        self.targets().get(path).map(|target| Found::new(path, target, RoleName::Targets.as_str()))
    }
}

impl Root {
    /// The different keys of a role that can be used, in order.
    pub fn keys_of(&self, role: RoleName) -> Vec<PublicKey> {
        let ids = self.roles.get(role).keyids.iter();
        let mut keys: Vec<_> = ids.filter_map(|id| self.keys.get(id).and_then(Key::public)).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

/// A file that a catalog lists.
#[derive(Clone, Debug)]
pub struct Found {
    path: String,
    target: Target,
    role: String,
}

impl Found {
    pub(super) fn new(path: &str, target: &Target, role: &str) -> Self {
        Self { path: path.to_owned(), target: target.clone(), role: role.to_owned() }
    }

    /// Its path, which is a name and not a place on a disk.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its size in bytes.
    pub fn length(&self) -> u64 {
        self.target.length
    }

    /// Its digests, by the name of the algorithm.
    pub fn hashes(&self) -> &BTreeMap<String, String> {
        &self.target.hashes
    }

    /// What the catalog says about it besides.
    pub fn custom(&self) -> Option<&Json> {
        self.target.custom.as_ref()
    }

    /// The role that lists it.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// What its bytes have to be.
    pub fn expected(&self) -> Result<Expected, Invalid> {
        Expected::new(Some(self.target.length), &self.target.hashes)
    }
}

#[cfg(feature = "toolchain")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::key::{Algorithm, Signer as _};
    use crate::trust::private::PrivateKey;
    use crate::trust::tuf::roles::{Meta, RoleKeys, Roles};

    fn time(year: i16) -> Timestamp {
        format!("{year}-01-01T00:00:00Z").parse().expect("a time")
    }

    #[test]
    fn a_view_says_what_the_documents_say() {
        let key = PrivateKey::generate(Algorithm::Ed25519).expect("random numbers");
        let listed = Key::of(key.public()).expect("Ed25519");
        let role = |threshold| RoleKeys { keyids: vec![listed.id()], threshold };
        let roles = Roles { root: role(1), targets: role(3), snapshot: role(1), timestamp: role(2) };
        let root = Root::new(5, time(2033), BTreeMap::from([(listed.id(), listed.clone())]), roles);
        let hashes = BTreeMap::from([("sha256".to_owned(), "ab".repeat(32))]);
        let custom = Some(Json::Text("more".to_owned()));
        let target = Target { length: 42, hashes: hashes.clone(), custom: custom.clone() };
        let targets = Targets::new(6, time(2032), BTreeMap::from([("1.0.0/x".to_owned(), target)]));
        let meta = Meta { version: 6, length: None, hashes: None };
        let snapshot = Snapshot::new(7, time(2031), BTreeMap::from([("targets.json".to_owned(), meta.clone())]));
        let timestamp = TimestampRole::new(8, time(2034), meta);
        let view = View::new(&root, &timestamp, &snapshot, &targets);

        assert_eq!((view.root_version(), view.root()), (5, &root));
        let rows: Vec<_> = view.documents().iter().map(|row| (row.role, row.version, row.expires)).collect();
        let expected = [
            (RoleName::Root, 5, time(2033)),
            (RoleName::Targets, 6, time(2032)),
            (RoleName::Snapshot, 7, time(2031)),
            (RoleName::Timestamp, 8, time(2034)),
        ];
        assert_eq!(rows, expected);
        assert_eq!(view.expires(), time(2031));
        assert_eq!((view.threshold(RoleName::Targets), view.threshold(RoleName::Timestamp)), (3, 2));
        assert_eq!(view.keys(RoleName::Targets), [key.public().clone()]);
        assert_eq!(view.targets(), &targets.targets);
        let found = view.find("1.0.0/x").expect("listed");
        assert_eq!((found.path(), found.length(), found.role()), ("1.0.0/x", 42, "targets"));
        assert_eq!((found.hashes(), found.custom()), (&hashes, custom.as_ref()));
        assert_eq!(found.expected().map(|expected| expected.prefix()).ok(), Some("ab".repeat(32)));
        assert!(view.find("1.0.0/y").is_none());
    }
}
