//! The client workflow of TUF 1.0 (section 5 of the specification) as a chain of values.
//!
//! [`Roots`] walks from a root that is trusted to the newest one; [`Roots::settle`] and what follows
//! take one document each and give the next value, so that no step can be left out or come too early.
//! At the end stands [`Trusted`]. Every document is judged at the one time that is handed in. Nothing
//! is fetched or kept here: whoever does that is told how much to fetch and what to forget.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::Timestamp;

use super::delegations::{DelegatedRole, Delegations};
use super::hashes;
use super::roles::{Invalid, Key, Meta, Role, RoleKeys, RoleName, Root, Signed, Snapshot, Targets, TimestampRole};
use super::view::{Found, View};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Failure};
use crate::trust::Verified;

/// The largest root that is read.
pub const MAX_ROOT_BYTES: u64 = 512 << 10;
/// The largest timestamp that is read.
pub const MAX_TIMESTAMP_BYTES: u64 = 16 << 10;
/// The largest snapshot that is read if the timestamp does not say its length.
pub const MAX_SNAPSHOT_BYTES: u64 = 2 << 20;
/// The largest targets metadata that is read if the snapshot does not say its length.
pub const MAX_TARGETS_BYTES: u64 = 5 << 20;
/// The largest document that is read even if its length is signed.
pub const MAX_SIGNED_BYTES: u64 = 64 << 20;
/// How many new roots are taken in one update.
pub const MAX_ROOTS: u64 = 256;
/// How many delegated roles are asked about one path.
pub const MAX_DELEGATIONS: usize = 32;

/// A root that is trusted, on the way to the newest one.
#[derive(Clone, Debug)]
pub struct Roots {
    root: Signed<Root>,
    rotated: bool,
}

impl Roots {
    /// Begins with a root that is trusted because somebody says so. It has to be signed by its own keys.
    pub fn begin(bytes: &[u8]) -> Result<Self> {
        let root: Signed<Root> = read("root.json", bytes)?;
        root_signed_by(&root.signed, &root)?;
        Ok(Self { root, rotated: false })
    }

    /// The newest root so far.
    pub fn current(&self) -> &Root {
        &self.root.signed
    }

    /// From here on it matters whether keys are replaced: what was kept is younger than this root.
    pub fn begin_update(&mut self) {
        self.rotated = false;
    }

    /// Takes the next root: signed by enough keys of the one before it and by enough of its own.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<()> {
        let wanted = self.root.signed.version + 1;
        let file = format!("{wanted}.root.json");
        let next: Signed<Root> = read(&file, bytes)?;
        root_signed_by(&self.root.signed, &next)?;
        root_signed_by(&next.signed, &next)?;
        if next.signed.version != wanted {
            let code = if next.signed.version < wanted { Code::CatalogRollback } else { Code::CatalogInvalid };
            let message = format!("`{file}` is version {}: one root must follow the other", next.signed.version);
            return Err(refuse(code, "root.json", message)
                .hint("ask the publisher for every root since the one that is trusted"));
        }
        let removed = |role: RoleName| {
            let kept = next.signed.keys_of(role);
            self.root.signed.keys_of(role).iter().any(|key| !kept.contains(key))
        };
        self.rotated |= removed(RoleName::Timestamp) || removed(RoleName::Snapshot);
        self.root = next;
        Ok(())
    }

    /// No further root is there: the last one must not have expired.
    pub fn settle(self, now: Timestamp) -> Result<Settled> {
        fresh("root.json", &self.root.signed, now)?;
        Ok(Settled { root: self.root, rotated: self.rotated, now })
    }
}

/// The newest root is known.
#[derive(Clone, Debug)]
pub struct Settled {
    root: Signed<Root>,
    rotated: bool,
    now: Timestamp,
}

/// Why what an earlier update trusted is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// Keys of the timestamp or the snapshot were replaced, which is how a repository recovers.
    Rotated,
    /// The documents cannot be read, or their signatures do not count any more.
    Unusable,
}

impl Settled {
    /// The newest root.
    pub fn root(&self) -> &Root {
        &self.root.signed
    }

    /// What an earlier update trusted, expired or not: nothing older is taken from now on.
    ///
    /// If keys of the timestamp or the snapshot were replaced, both documents are forgotten, so that
    /// a repository can recover from versions that were counted up by a thief.
    pub fn remember(self, timestamp: Option<&[u8]>, snapshot: Option<&[u8]>) -> (Remembering, Option<Forgotten>) {
        let Self { root, rotated, now } = self;
        let there = timestamp.is_some() || snapshot.is_some();
        let nothing =
            |root, why: Forgotten| (Remembering { root, now, timestamp: None, snapshot: None }, there.then_some(why));
        if rotated {
            return nothing(root, Forgotten::Rotated);
        }
        let earlier = timestamp
            .map(|bytes| signed_by_root::<TimestampRole>(&root.signed, "timestamp.json", bytes))
            .transpose()
            .and_then(|timestamp| {
                let snapshot = snapshot.map(|bytes| signed_by_root::<Snapshot>(&root.signed, "snapshot.json", bytes));
                Ok((timestamp, snapshot.transpose()?))
            });
        match earlier {
            Ok((timestamp, snapshot)) => (Remembering { root, now, timestamp, snapshot }, None),
            Err(_) => nothing(root, Forgotten::Unusable),
        }
    }
}

/// The newest root, and what an earlier update trusted.
#[derive(Clone, Debug)]
pub struct Remembering {
    root: Signed<Root>,
    now: Timestamp,
    timestamp: Option<Signed<TimestampRole>>,
    snapshot: Option<Signed<Snapshot>>,
}

impl Remembering {
    /// The newest root.
    pub fn root(&self) -> &Root {
        &self.root.signed
    }

    /// Takes the timestamp. One of the version that is known already says nothing new.
    pub fn timestamp(self, bytes: &[u8]) -> Result<Timed> {
        const FILE: &str = "timestamp.json";
        let Self { root, now, timestamp: earlier, snapshot } = self;
        let next: Signed<TimestampRole> = signed_by_root(&root.signed, FILE, bytes)?;
        let (timestamp, is_new) = match earlier {
            Some(earlier) if next.signed.version == earlier.signed.version => (earlier, false),
            Some(earlier) => {
                not_older(FILE, next.signed.version, earlier.signed.version)?;
                not_older("snapshot.json", snapshot_of(&next.signed).version, snapshot_of(&earlier.signed).version)?;
                (next, true)
            }
            None => (next, true),
        };
        fresh(FILE, &timestamp.signed, now)?;
        Ok(Timed { root, now, timestamp, is_new, earlier: snapshot })
    }
}

/// The newest timestamp is known.
#[derive(Clone, Debug)]
pub struct Timed {
    root: Signed<Root>,
    now: Timestamp,
    timestamp: Signed<TimestampRole>,
    is_new: bool,
    earlier: Option<Signed<Snapshot>>,
}

/// What is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The version that it has to be.
    pub version: u64,
    /// How much of it is read.
    pub max_bytes: u64,
}

impl Wanted {
    fn of(meta: &Meta, usual: u64) -> Self {
        Self { version: meta.version, max_bytes: meta.length.map_or(usual, |length| length.min(MAX_SIGNED_BYTES)) }
    }
}

impl Timed {
    /// Whether the timestamp is not the one that was known before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The snapshot that the timestamp names.
    pub fn wanted(&self) -> Wanted {
        Wanted::of(snapshot_of(&self.timestamp.signed), MAX_SNAPSHOT_BYTES)
    }

    /// Takes the snapshot.
    pub fn snapshot(self, bytes: &[u8]) -> Result<Snapped> {
        const FILE: &str = "snapshot.json";
        let Self { root, now, timestamp, earlier, .. } = self;
        let meta = snapshot_of(&timestamp.signed);
        named_by(FILE, "timestamp.json", meta, bytes)?;
        let snapshot: Signed<Snapshot> = signed_by_root(&root.signed, FILE, bytes)?;
        version_is(FILE, "timestamp.json", meta, snapshot.signed.version)?;
        for (file, meta) in earlier.iter().flat_map(|earlier| &earlier.signed.meta) {
            let Some(next) = snapshot.signed.meta.get(file) else {
                let message = format!("`{FILE}` version {} does not name {file:?} any more", snapshot.signed.version);
                return Err(refuse(Code::CatalogRollback, FILE, message).hint(ROLLBACK_HINT));
            };
            not_older(file, next.version, meta.version)?;
        }
        fresh(FILE, &snapshot.signed, now)?;
        Ok(Snapped { root, now, timestamp, snapshot })
    }
}

/// The newest snapshot is known.
#[derive(Clone, Debug)]
pub struct Snapped {
    root: Signed<Root>,
    now: Timestamp,
    timestamp: Signed<TimestampRole>,
    snapshot: Signed<Snapshot>,
}

impl Snapped {
    /// The newest root.
    pub fn root(&self) -> &Root {
        &self.root.signed
    }

    /// The document of a role that speaks about targets.
    pub fn wanted(&self, role: &str) -> Result<Wanted> {
        self.meta(role).map(|meta| Wanted::of(meta, MAX_TARGETS_BYTES))
    }

    /// Takes the top-level targets metadata.
    pub fn targets(self, bytes: &[u8]) -> Result<Trusted> {
        let role = RoleName::Targets.as_str();
        let root = &self.root.signed;
        let by = format!("`root.json` version {}", root.version);
        let targets = self.spoken(role, root.roles.get(RoleName::Targets), &root.keys, &by, bytes)?;
        Ok(Trusted { base: self, targets: Rc::new(targets) })
    }

    fn meta(&self, role: &str) -> Result<&Meta> {
        let file = format!("{role}.json");
        self.snapshot.signed.meta.get(&file).ok_or_else(|| {
            let message = format!("`snapshot.json` does not name {file:?}");
            refuse(Code::CatalogInvalid, &file, message).hint(PUBLISHER_HINT)
        })
    }

    fn spoken(
        &self,
        role: &str,
        appointed: &RoleKeys,
        keys: &BTreeMap<String, Key>,
        by: &str,
        bytes: &[u8],
    ) -> Result<Targets> {
        let (file, meta) = (format!("{role}.json"), self.meta(role)?);
        named_by(&file, "snapshot.json", meta, bytes)?;
        let targets: Signed<Targets> = read(&file, bytes)?;
        signed_by(appointed, keys, &file, by, &targets)?;
        version_is(&file, "snapshot.json", meta, targets.signed.version)?;
        fresh(&file, &targets.signed, self.now)?;
        Ok(targets.signed)
    }
}

/// Everything that the top-level roles say, all of it checked.
#[derive(Clone, Debug)]
pub struct Trusted {
    base: Snapped,
    targets: Rc<Targets>,
}

/// A delegation that was followed: who is asked, and whose keys decide whether it is the answer.
#[derive(Clone, Debug)]
pub struct Branch {
    role: DelegatedRole,
    delegator: String,
    keys: Rc<BTreeMap<String, Key>>,
}

impl Branch {
    /// The name of the role that is asked.
    pub fn role(&self) -> &str {
        &self.role.name
    }
}

impl Trusted {
    /// The newest root.
    pub fn root(&self) -> &Root {
        self.base.root()
    }

    /// What the catalog says, with the proof that it was checked.
    pub fn view(&self) -> Verified<View> {
        let Snapped { root, timestamp, snapshot, .. } = &self.base;
        Verified::vouch(View::new(&root.signed, &timestamp.signed, &snapshot.signed, &self.targets))
    }

    /// The document of a delegated role.
    pub fn wanted(&self, branch: &Branch) -> Result<Wanted> {
        self.base.wanted(branch.role())
    }

    /// Takes the document of a delegated role. Whoever else delegates to it vouches for nothing here.
    pub fn delegated(&self, branch: &Branch, bytes: &[u8]) -> Result<Targets> {
        let by = format!("the delegation by `{}`", shown(&branch.delegator));
        self.base.spoken(branch.role(), &branch.role.appointed, &branch.keys, &by, bytes)
    }

    /// Looks for a file: in the targets metadata, then in what it delegates to, depth first.
    ///
    /// `open` brings the document of a delegated role and has it checked by [`Self::delegated`].
    pub fn find(
        &self,
        path: &str,
        mut open: impl FnMut(&Branch) -> Result<Targets>,
    ) -> Result<Option<Verified<Found>>> {
        let mut visited = BTreeSet::new();
        let mut waiting = Vec::new();
        let mut asked = (RoleName::Targets.as_str().to_owned(), Rc::clone(&self.targets));
        loop {
            let (name, targets) = asked;
            if let Some(target) = targets.targets.get(path) {
                return Ok(Some(Verified::vouch(Found::new(path, target, &name))));
            }
            if let Some(delegations) = &targets.delegations {
                branch_out(&name, delegations, path, &mut waiting);
            }
            visited.insert(name);
            let next = loop {
                match waiting.pop() {
                    // A role that was asked already is not asked again, so that no circle is endless.
                    Some(branch) if visited.contains(branch.role()) => {}
                    Some(branch) if visited.len() <= MAX_DELEGATIONS => break branch,
                    _ => return Ok(None),
                }
            };
            asked = (next.role().to_owned(), Rc::new(open(&next)?));
        }
    }
}

/// Puts the roles that may speak about a path before those that wait, the first of them last.
fn branch_out(delegator: &str, delegations: &Delegations, path: &str, waiting: &mut Vec<Branch>) {
    let (roles, terminates) = delegations.responsible_for(path);
    if terminates {
        waiting.clear();
    }
    let keys = Rc::new(delegations.keys.clone());
    let branch =
        |role: &DelegatedRole| Branch { role: role.clone(), delegator: delegator.to_owned(), keys: Rc::clone(&keys) };
    waiting.extend(roles.into_iter().rev().map(branch));
}

const ROLLBACK_HINT: &str = "something old is served: try again later or from another mirror, and ask the publisher";
const PUBLISHER_HINT: &str = "the catalog is broken or was tampered with: ask the publisher";

/// A refusal of a document.
fn refuse(code: Code, file: &str, message: String) -> Failure {
    Failure::new(code, message).subject(shown(file))
}

fn read<T: Role>(file: &str, bytes: &[u8]) -> Result<Signed<T>> {
    Signed::parse(bytes).map_err(|Invalid(why)| {
        let why = Invalid(shown(&why).into_owned());
        refuse(Code::CatalogInvalid, file, format!("`{}` is not a document of its kind", shown(file)))
            .because(why)
            .hint(PUBLISHER_HINT)
    })
}

fn root_signed_by(root: &Root, next: &Signed<Root>) -> Result<()> {
    let (file, by) = (format!("root.json version {}", next.signed.version), root.version);
    signed_by(&root.roles.root, &root.keys, &file, &format!("`root.json` version {by}"), next)
}

fn signed_by_root<T: Role>(root: &Root, file: &str, bytes: &[u8]) -> Result<Signed<T>> {
    let document = read(file, bytes)?;
    let by = format!("`root.json` version {}", root.version);
    signed_by(root.roles.get(T::NAME), &root.keys, file, &by, &document)?;
    Ok(document)
}

fn signed_by<T: Role>(
    appointed: &RoleKeys,
    keys: &BTreeMap<String, Key>,
    file: &str,
    by: &str,
    document: &Signed<T>,
) -> Result<()> {
    let signers = appointed.signers(keys, document);
    if signers.len() as u64 >= appointed.threshold {
        return Ok(());
    }
    let usable = appointed.keyids.iter().filter(|id| keys.get(*id).and_then(Key::public).is_some()).count();
    let message = format!(
        "`{}` is signed by {} of the {} keys that {by} asks for",
        shown(file),
        signers.len(),
        appointed.threshold
    );
    let ids: Vec<_> = appointed.keyids.iter().map(|id| format!("`{}`", shown(id))).collect();
    let hint = if (usable as u64) < appointed.threshold {
        format!("only {usable} of its keys can be used ({}): ask the publisher", ids.join(", "))
    } else {
        format!("the keys that count are {}; ask the publisher", ids.join(", "))
    };
    Err(refuse(Code::CatalogInvalid, file, message).hint(hint))
}

fn snapshot_of(timestamp: &TimestampRole) -> &Meta {
    timestamp.meta.get("snapshot.json").expect("a timestamp without it is no timestamp")
}

fn named_by(file: &str, by: &str, meta: &Meta, bytes: &[u8]) -> Result<()> {
    hashes::fits(meta.length, meta.hashes.as_ref(), bytes).map_err(|why| {
        refuse(Code::CatalogInvalid, file, format!("`{}` is not the one that `{by}` names", shown(file)))
            .because(why)
            .hint("an update may be under way, or the catalog is broken: try again, then ask the publisher")
    })
}

fn version_is(file: &str, by: &str, meta: &Meta, version: u64) -> Result<()> {
    if version == meta.version {
        return Ok(());
    }
    let message = format!("`{}` is version {version}, and `{by}` names version {}", shown(file), meta.version);
    Err(refuse(Code::CatalogInvalid, file, message)
        .hint("an update may be under way, or the catalog is broken: try again, then ask the publisher"))
}

fn not_older(file: &str, next: u64, earlier: u64) -> Result<()> {
    if next >= earlier {
        return Ok(());
    }
    let message = format!("`{}` is version {next}, and version {earlier} was seen before", shown(file));
    Err(refuse(Code::CatalogRollback, file, message).hint(ROLLBACK_HINT))
}

fn fresh<T: Role>(file: &str, document: &T, now: Timestamp) -> Result<()> {
    if document.expires() > now {
        return Ok(());
    }
    let message = format!("`{}` version {} expired on {}", shown(file), document.version(), document.expires());
    Err(refuse(Code::CatalogExpired, file, message)
        .hint("ask the publisher to refresh the catalog; `--at TIME` looks at it as it was at another time"))
}
