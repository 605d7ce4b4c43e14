//! The four roles of TUF 1.0 as they are written, and the one check of their signatures.
//!
//! A [`Signed`] is read from bytes that somebody else may have written: unknown members are kept in
//! what is verified and ignored otherwise, doubled ones are refused. Whether the signatures count is
//! asked of the role's [`RoleKeys`], and each key counts once, under however many names it appears.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use jiff::Timestamp;
use ring::signature::{self, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::delegations::Delegations;
use super::json::Json;
use crate::model::Digest;
use crate::model::text::shown;
use crate::trust::key::{Algorithm, PublicKey};

/// The version of the specification that is written and read.
pub const SPEC_VERSION: &str = "1.0.33";

/// The largest number of signatures in one document that is looked at.
const MAX_SIGNATURES: usize = 64;

/// Why a document is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// The name of a top-level role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// Which keys may sign for which role.
    Root,
    /// Which files there are.
    Targets,
    /// Which versions of the targets metadata belong together.
    Snapshot,
    /// Which snapshot is the newest.
    Timestamp,
}

impl RoleName {
    /// Every role, the most trusted first.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];

    /// The name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

impl std::fmt::Display for RoleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What every role has.
pub trait Role: Serialize + DeserializeOwned {
    /// Its `_type`.
    const NAME: RoleName;
    /// The type that is written in it.
    fn kind(&self) -> &str;
    /// The version of the specification that it follows.
    fn spec_version(&self) -> &str;
    /// Its own version.
    fn version(&self) -> u64;
    /// When it ends.
    fn expires(&self) -> Timestamp;
    /// Whether it says something that no document of its role may say.
    fn check(&self) -> Result<(), Invalid>;
}

/// One signature under a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The id of the key in the document that appoints it.
    pub keyid: String,
    /// The signature in hexadecimal digits.
    pub sig: String,
}

/// A document with its signatures, none of which has been looked at.
#[derive(Clone, Debug)]
pub struct Signed<T> {
    /// What it says.
    pub signed: T,
    /// The signatures under it.
    pub signatures: Vec<Signature>,
    /// What was signed: the value with everything that stands in it, known or not.
    value: Json,
}

impl<T: Role> Signed<T> {
    /// A new document without signatures.
    pub fn new(signed: T) -> Self {
        let text = serde_json::to_vec(&signed).expect("a role is plain data with text keys");
        let value = Json::parse(&text).expect("a role has whole numbers and no doubled keys");
        Self { signed, signatures: Vec::new(), value }
    }

    /// Reads a document of this role.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let invalid = |error: serde_json::Error| Invalid(error.to_string());
        let document = Json::parse(bytes).map_err(invalid)?;
        let value = document.get("signed").ok_or_else(|| Invalid("it has no `signed`".to_owned()))?.clone();
        let Envelope { signed, signatures } = serde_json::from_slice::<Envelope<T>>(bytes).map_err(invalid)?;
        if signed.kind() != T::NAME.as_str() {
            return Err(Invalid(format!("its type is {:?}, not {:?}", signed.kind(), T::NAME.as_str())));
        }
        // A later minor version is read, another major one is not.
        if signed.spec_version().split('.').next() != Some("1") {
            return Err(Invalid(format!("it follows version {:?} of the specification", signed.spec_version())));
        }
        if signed.version() == 0 {
            return Err(Invalid("its version is 0".to_owned()));
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(Invalid(format!("it has more than {MAX_SIGNATURES} signatures")));
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = signatures.iter().find(|signature| !ids.insert(&signature.keyid)) {
            return Err(Invalid(format!("it has two signatures by the key {:?}", twice.keyid)));
        }
        signed.check()?;
        Ok(Self { signed, signatures, value })
    }

    /// The bytes that are signed.
    pub fn canonical(&self) -> Vec<u8> {
        self.value.canonical()
    }

    /// Writes the document.
    pub fn render(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written<'a> {
            signed: &'a Json,
            signatures: &'a [Signature],
        }
        crate::model::pretty(&Written { signed: &self.value, signatures: &self.signatures })
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    signed: T,
    signatures: Vec<Signature>,
}

/// A key as a document writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `ecdsa`, `ed25519` or `rsa`.
    pub keytype: String,
    /// How it signs.
    pub scheme: String,
    /// The key itself.
    pub keyval: KeyValue,
}

/// The key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// PEM, or hexadecimal digits for Ed25519.
    pub public: String,
}

/// What people call the key that stands under an id: the digest of its `SubjectPublicKeyInfo`, as
/// everywhere outside of a catalog, or the id itself where the key is of a kind that is not known.
pub fn name_of(keys: &BTreeMap<String, Key>, id: &str) -> String {
    keys.get(id).and_then(Key::public).map_or_else(|| shown(id).into_owned(), |key| key.id().to_string())
}

impl Key {
    /// How a public key is written here.
    ///
    /// RSA and P-384 have no scheme that every TUF client reads; such a key cannot be in a catalog.
    pub fn of(key: &PublicKey) -> Option<Self> {
        let (keytype, scheme, public) = match key.algorithm() {
            Algorithm::EcdsaP256 => ("ecdsa", "ecdsa-sha2-nistp256", key.to_pem()),
            Algorithm::Ed25519 => ("ed25519", "ed25519", HEXLOWER.encode(key.raw())),
            Algorithm::EcdsaP384 | Algorithm::Rsa => return None,
        };
        Some(Self { keytype: keytype.to_owned(), scheme: scheme.to_owned(), keyval: KeyValue { public } })
    }

    /// The id that TUF gives it: the digest of its canonical form.
    pub fn id(&self) -> String {
        let text = serde_json::to_vec(self).expect("a key is plain data with text keys");
        let value = Json::parse(&text).expect("a key has no doubled members");
        Digest::of(&value.canonical()).to_string()
    }

    /// Reads a key that stands under an id.
    ///
    /// Kinds of keys that are not known may look different, and are not a key here. Neither is one
    /// whose id is not its own. The id is that of the specification, over the key with or without
    /// the members that are not known, or the digest of the DER `SubjectPublicKeyInfo`.
    fn read(id: &str, value: &Json) -> Option<Self> {
        let key: Self = serde_json::from_slice(&serde_json::to_vec(value).ok()?).ok()?;
        let is_its_own = Digest::of(&value.canonical()).to_string() == id
            || key.id() == id
            || key.public().is_some_and(|public| public.id().to_string() == id);
        is_its_own.then_some(key)
    }

    /// The public key, if it is of a kind that is known.
    pub fn public(&self) -> Option<PublicKey> {
        if self.keytype == "ed25519" && self.scheme == "ed25519" {
            const PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
            let raw = HEXLOWER_PERMISSIVE.decode(self.keyval.public.as_bytes()).ok()?;
            return PublicKey::from_der(&[PREFIX, &raw].concat()).ok();
        }
        let key = PublicKey::from_pem(self.keyval.public.as_bytes()).ok()?;
        let fits = match (self.keytype.as_str(), self.scheme.as_str()) {
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => key.algorithm() == Algorithm::EcdsaP256,
            ("ecdsa" | "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384") => key.algorithm() == Algorithm::EcdsaP384,
            ("rsa", "rsassa-pss-sha256" | "rsa-pkcs1v15-sha256") => key.algorithm() == Algorithm::Rsa,
            _ => false,
        };
        fits.then_some(key)
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        if self.scheme == "rsassa-pss-sha256" {
            return UnparsedPublicKey::new(&signature::RSA_PSS_2048_8192_SHA256, key.raw())
                .verify(message, signature)
                .is_ok();
        }
        key.verify(message, signature).is_ok()
    }
}

/// Reads keys by their ids, without those that cannot be used.
pub(super) fn usable_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Key>, D::Error> {
    let all = BTreeMap::<String, Json>::deserialize(deserializer)?;
    Ok(all.into_iter().filter_map(|(id, value)| Key::read(&id, &value).map(|key| (id, key))).collect())
}

/// Which keys may sign for a role, and how many of them have to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// The ids of the keys.
    pub keyids: Vec<String>,
    /// How many different keys have to sign.
    pub threshold: u64,
}

impl RoleKeys {
    /// The different keys that have signed, out of those that may.
    pub fn signers<T: Role>(&self, keys: &BTreeMap<String, Key>, document: &Signed<T>) -> BTreeSet<PublicKey> {
        let message = document.canonical();
        let valid = document.signatures.iter().filter_map(|signature| {
            let listed = self.keyids.contains(&signature.keyid).then(|| keys.get(&signature.keyid))??;
            let public = listed.public()?;
            let raw = HEXLOWER_PERMISSIVE.decode(signature.sig.as_bytes()).ok()?;
            listed.verifies(&public, &message, &raw).then_some(public)
        });
        valid.collect()
    }

    /// Whether it can be meant: some key has to sign, and none is named twice.
    pub(super) fn check(&self, role: &str) -> Result<(), Invalid> {
        if self.threshold == 0 {
            return Err(Invalid(format!("its threshold for {role:?} is 0")));
        }
        let mut ids = BTreeSet::new();
        match self.keyids.iter().find(|id| !ids.insert(*id)) {
            Some(twice) => Err(Invalid(format!("it names the key {twice:?} twice for {role:?}"))),
            None => Ok(()),
        }
    }

    /// Whether enough different keys have signed.
    pub fn accepts<T: Role>(&self, keys: &BTreeMap<String, Key>, document: &Signed<T>) -> bool {
        self.threshold >= 1 && self.signers(keys, document).len() as u64 >= self.threshold
    }
}

/// `root.json`: which keys may sign for which role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    #[serde(rename = "_type")]
    kind: String,
    spec_version: String,
    /// Its version; each follows the one before it.
    pub version: u64,
    /// When it ends.
    #[serde(with = "seconds")]
    pub expires: Timestamp,
    /// Whether files are also found under names with their digest or version.
    #[serde(default)]
    pub consistent_snapshot: bool,
    /// Every key that can be used, by the id that it has here.
    #[serde(deserialize_with = "usable_keys")]
    pub keys: BTreeMap<String, Key>,
    /// The roles.
    pub roles: Roles,
}

/// The four roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// Who may replace the root.
    pub root: RoleKeys,
    /// Who may say which files there are.
    pub targets: RoleKeys,
    /// Who may say which metadata belongs together.
    pub snapshot: RoleKeys,
    /// Who may say what is the newest.
    pub timestamp: RoleKeys,
}

impl Roles {
    /// The keys of one role.
    pub fn get(&self, role: RoleName) -> &RoleKeys {
        match role {
            RoleName::Root => &self.root,
            RoleName::Targets => &self.targets,
            RoleName::Snapshot => &self.snapshot,
            RoleName::Timestamp => &self.timestamp,
        }
    }

    /// The keys of one role, to be changed.
    pub fn get_mut(&mut self, role: RoleName) -> &mut RoleKeys {
        match role {
            RoleName::Root => &mut self.root,
            RoleName::Targets => &mut self.targets,
            RoleName::Snapshot => &mut self.snapshot,
            RoleName::Timestamp => &mut self.timestamp,
        }
    }
}

impl Root {
    /// A root of a new repository.
    pub fn new(version: u64, expires: Timestamp, keys: BTreeMap<String, Key>, roles: Roles) -> Self {
        let (kind, spec_version) = written(RoleName::Root);
        Self { kind, spec_version, version, expires, consistent_snapshot: false, keys, roles }
    }

    /// Whether enough of a role's keys have signed a document.
    pub fn accepts<T: Role>(&self, document: &Signed<T>) -> bool {
        self.roles.get(T::NAME).accepts(&self.keys, document)
    }
}

/// `targets.json`: which files there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    #[serde(rename = "_type")]
    kind: String,
    spec_version: String,
    /// Its version.
    pub version: u64,
    /// When it ends.
    #[serde(with = "seconds")]
    pub expires: Timestamp,
    /// Every file, by its path.
    pub targets: BTreeMap<String, Target>,
    /// Who else may say which files there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
}

/// One file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its size.
    pub length: u64,
    /// Its digests, by the name of the algorithm.
    pub hashes: BTreeMap<String, String>,
    /// What the repository says about it besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Json>,
}

impl Targets {
    /// The files of a repository.
    pub fn new(version: u64, expires: Timestamp, targets: BTreeMap<String, Target>) -> Self {
        let (kind, spec_version) = written(RoleName::Targets);
        Self { kind, spec_version, version, expires, targets, delegations: None }
    }
}

/// Which version of another document is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Its version.
    pub version: u64,
    /// Its size, if it is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Its digests, if they are said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashes: Option<BTreeMap<String, String>>,
}

/// `snapshot.json`: which versions of the targets metadata belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(rename = "_type")]
    kind: String,
    spec_version: String,
    /// Its version.
    pub version: u64,
    /// When it ends.
    #[serde(with = "seconds")]
    pub expires: Timestamp,
    /// The documents, by file name.
    pub meta: BTreeMap<String, Meta>,
}

impl Snapshot {
    /// The documents that belong together.
    pub fn new(version: u64, expires: Timestamp, meta: BTreeMap<String, Meta>) -> Self {
        let (kind, spec_version) = written(RoleName::Snapshot);
        Self { kind, spec_version, version, expires, meta }
    }
}

/// `timestamp.json`: which snapshot is the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampRole {
    #[serde(rename = "_type")]
    kind: String,
    spec_version: String,
    /// Its version.
    pub version: u64,
    /// When it ends.
    #[serde(with = "seconds")]
    pub expires: Timestamp,
    /// `snapshot.json` alone.
    pub meta: BTreeMap<String, Meta>,
}

impl TimestampRole {
    /// What names the newest snapshot.
    pub fn new(version: u64, expires: Timestamp, snapshot: Meta) -> Self {
        let (kind, spec_version) = written(RoleName::Timestamp);
        Self { kind, spec_version, version, expires, meta: BTreeMap::from([("snapshot.json".to_owned(), snapshot)]) }
    }
}

fn written(role: RoleName) -> (String, String) {
    (role.as_str().to_owned(), SPEC_VERSION.to_owned())
}

macro_rules! role {
    ($type:ty, $name:expr, $check:expr) => {
        impl Role for $type {
            const NAME: RoleName = $name;
            fn kind(&self) -> &str {
                &self.kind
            }
            fn spec_version(&self) -> &str {
                &self.spec_version
            }
            fn version(&self) -> u64 {
                self.version
            }
            fn expires(&self) -> Timestamp {
                self.expires
            }
            fn check(&self) -> Result<(), Invalid> {
                $check(self)
            }
        }
    };
}
role!(Root, RoleName::Root, |root: &Root| {
    RoleName::ALL.into_iter().try_for_each(|role| root.roles.get(role).check(role.as_str()))
});
role!(Targets, RoleName::Targets, |targets: &Targets| {
    targets.delegations.as_ref().map_or(Ok(()), Delegations::check)
});
role!(Snapshot, RoleName::Snapshot, |snapshot: &Snapshot| listed(&snapshot.meta, "targets.json"));
role!(TimestampRole, RoleName::Timestamp, |timestamp: &TimestampRole| listed(&timestamp.meta, "snapshot.json"));

fn listed(meta: &BTreeMap<String, Meta>, name: &str) -> Result<(), Invalid> {
    if !meta.contains_key(name) {
        return Err(Invalid(format!("it does not name {name:?}")));
    }
    match meta.iter().find(|(_, meta)| meta.version == 0) {
        Some((name, _)) => Err(Invalid(format!("it names version 0 of {name:?}"))),
        None => Ok(()),
    }
}

/// Times as TUF writes them: whole seconds, UTC, `2030-01-01T00:00:00Z`.
mod seconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refuse = || de::Error::custom("a time is not written as `2030-01-01T00:00:00Z`");
        if text.len() != 20 || !text.ends_with('Z') || text.as_bytes()[10] != b'T' {
            return Err(refuse());
        }
        text.parse().map_err(|_| refuse())
    }
}
