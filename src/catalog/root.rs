//! Who may sign what: the rules that a root keeps, and the changes that can be made to one.
//!
//! [`change`] makes the next root from the newest one; [`follow`] is TUF's rule for accepting it.
//! Nothing here reads or writes a file.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::signatures::{Appointed, Signatures, count};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::trust::key::PublicKey;
use crate::trust::tuf::roles::{Key, RoleKeys, RoleName, Roles, Root, Signed, name_of};

/// A role's keys as they are wanted.
#[derive(Clone, Debug)]
pub struct Appointment {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// How many of them have to sign.
    pub threshold: u64,
}

/// Something that is different in the next root.
#[derive(Clone, Debug)]
pub enum Change {
    /// A key gets a role.
    Add {
        /// The role.
        role: RoleName,
        /// The key.
        key: PublicKey,
    },
    /// A key loses a role.
    Remove {
        /// The role.
        role: RoleName,
        /// The id of the key, or the beginning of it.
        key: String,
    },
    /// A key takes the place of another in a role.
    Rotate {
        /// The role.
        role: RoleName,
        /// The id of the old key, or the beginning of it.
        old: String,
        /// The new key.
        new: PublicKey,
    },
    /// A key loses every role; another one takes its places, if it is named.
    Revoke {
        /// The id of the key, or the beginning of it.
        key: String,
        /// Who takes its places.
        replacement: Option<PublicKey>,
    },
    /// Another number of keys has to sign.
    Threshold {
        /// The role.
        role: RoleName,
        /// The number.
        threshold: u64,
    },
    /// Nothing but the time that it ends.
    Renew,
}

/// The first root of a catalog.
pub fn first(expires: Timestamp, appoint: impl Fn(RoleName) -> Appointment) -> Result<Root> {
    let mut keys = BTreeMap::new();
    let mut role = |name| appointed(name, &appoint(name), &mut keys);
    let roles = Roles {
        root: role(RoleName::Root)?,
        targets: role(RoleName::Targets)?,
        snapshot: role(RoleName::Snapshot)?,
        timestamp: role(RoleName::Timestamp)?,
    };
    let root = Root::new(1, expires, keys, roles);
    sound(&root)?;
    Ok(root)
}

fn appointed(role: RoleName, wanted: &Appointment, keys: &mut BTreeMap<String, Key>) -> Result<RoleKeys> {
    let mut appointed = RoleKeys { keyids: Vec::new(), threshold: wanted.threshold };
    wanted.keys.iter().try_for_each(|key| appoint(role, key, keys, &mut appointed))?;
    Ok(appointed)
}

fn appoint(role: RoleName, key: &PublicKey, keys: &mut BTreeMap<String, Key>, into: &mut RoleKeys) -> Result<()> {
    let written = Key::of(key).ok_or_else(|| {
        let message =
            format!("key {} is for {}, and a catalog takes P-256 and Ed25519 keys", key.id(), key.algorithm());
        Failure::new(Code::KeyInvalid, message)
            .subject(key.id().to_string())
            .hint("make one with `consign key generate`; every TUF client reads its signatures")
    })?;
    // Somebody else's root may have the key under another id.
    let known = keys.iter().find(|(_, known)| known.public().as_ref() == Some(key)).map(|(id, _)| id.clone());
    let id = known.unwrap_or_else(|| written.id());
    if into.keyids.contains(&id) {
        return Err(usage(format!("key {} is there twice for the role {role}", key.id()))
            .subject(key.id().to_string())
            .hint("a key counts once, however often it is named"));
    }
    keys.insert(id.clone(), written);
    into.keyids.push(id);
    Ok(())
}

/// The next root: the newest one with changes, and with another end.
pub fn change(current: &Root, version: u64, changes: &[Change], expires: Timestamp) -> Result<Root> {
    let (mut keys, mut roles) = (current.keys.clone(), current.roles.clone());
    for change in changes {
        apply(change, &mut keys, &mut roles)?;
    }
    let used: BTreeSet<_> = RoleName::ALL.iter().flat_map(|role| roles.get(*role).keyids.clone()).collect();
    keys.retain(|id, _| used.contains(id));
    let root = Root::new(version, expires, keys, roles);
    sound(&root)?;
    Ok(root)
}

fn apply(change: &Change, keys: &mut BTreeMap<String, Key>, roles: &mut Roles) -> Result<()> {
    match change {
        Change::Add { role, key } => appoint(*role, key, keys, roles.get_mut(*role)),
        Change::Remove { role, key } => {
            let id = find(key, &roles.get(*role).keyids, keys, &format!("has the role {role}"))?;
            roles.get_mut(*role).keyids.retain(|known| *known != id);
            Ok(())
        }
        Change::Rotate { role, old, new } => {
            let id = find(old, &roles.get(*role).keyids, keys, &format!("has the role {role}"))?;
            roles.get_mut(*role).keyids.retain(|known| *known != id);
            appoint(*role, new, keys, roles.get_mut(*role))
        }
        Change::Revoke { key, replacement } => {
            let known: Vec<_> = keys.keys().cloned().collect();
            let id = find(key, &known, keys, "is in the root")?;
            for role in
                RoleName::ALL.into_iter().filter(|role| roles.get(*role).keyids.contains(&id)).collect::<Vec<_>>()
            {
                let appointed = roles.get_mut(role);
                appointed.keyids.retain(|known| *known != id);
                if let Some(new) = replacement {
                    appoint(role, new, keys, appointed)?;
                }
            }
            Ok(())
        }
        Change::Threshold { role, threshold } => {
            roles.get_mut(*role).threshold = *threshold;
            Ok(())
        }
        Change::Renew => Ok(()),
    }
}

/// The one key whose name, or whose id in the catalog, begins so.
fn find(given: &str, among: &[String], keys: &BTreeMap<String, Key>, what: &str) -> Result<String> {
    let given = given.to_ascii_lowercase();
    let mut found = among.iter().filter(|id| id.starts_with(&given) || name_of(keys, id).starts_with(&given));
    let refuse = |message: String| usage(message).subject(given.clone()).hint("`consign trust show` lists every key");
    match (found.next(), found.next()) {
        (Some(id), None) if given.len() >= 8 => Ok(id.clone()),
        (Some(_), _) => Err(refuse(format!("`{}` does not name one key", text::shown(&given)))),
        (None, _) => Err(refuse(format!("no key `{}` {what}", text::shown(&given)))),
    }
}

/// Whether enough keys can sign for every role: each is known, counts once, and there are as many
/// as have to.
pub fn sound(root: &Root) -> Result<()> {
    for role in RoleName::ALL {
        let appointed = root.roles.get(role);
        if appointed.threshold == 0 {
            return Err(usage(format!("the role {role} has the threshold 0, with which anybody could sign"))
                .subject(role.as_str())
                .hint("a threshold is 1 or more"));
        }
        let mut different = BTreeSet::new();
        for id in &appointed.keyids {
            let key = root.keys.get(id).and_then(Key::public).ok_or_else(|| {
                let message = format!("the role {role} names key {}, which cannot be used", text::shown(id));
                Failure::new(Code::KeyInvalid, message).subject(id.clone())
            })?;
            different.insert(key);
        }
        if (different.len() as u64) < appointed.threshold {
            return Err(too_few(role, different.len(), appointed.threshold));
        }
    }
    Ok(())
}

fn too_few(role: RoleName, keys: usize, threshold: u64) -> Failure {
    let message = format!("the role {role} would have {keys} of the {threshold} keys that have to sign");
    let hint = match role {
        RoleName::Root => {
            "add a key or lower the threshold first; each new root needs the signatures of the one before it, so \
             when too few root keys are left no client can be led on: make a new catalog with `consign trust init` \
             and give its root to everybody"
        }
        _ => "add a key first, or lower the threshold with `consign trust set-threshold`",
    };
    Failure::new(Code::ThresholdUnmet, message).subject(role.as_str()).hint(hint)
}

/// TUF's rule for a new root: it is the next one, and both its own keys and those of the root before
/// it have signed.
pub fn follow(previous: Option<&Root>, next: &Signed<Root>) -> Result<(), String> {
    if let Some(previous) = previous
        && next.signed.version != previous.version + 1
    {
        return Err(format!("it is root {}, and root {} is next", next.signed.version, previous.version + 1));
    }
    let open = signatures_of(previous, next).into_iter().find(|signatures| !signatures.are_enough());
    match open {
        None => Ok(()),
        Some(open) => {
            Err(format!("it has {} of {} signatures by the keys of root {}", open.have, open.need, open.by_root))
        }
    }
}

/// How many signatures a new root has, by the word of the root before it and by its own.
pub fn signatures_of(previous: Option<&Root>, next: &Signed<Root>) -> Vec<Signatures> {
    appointed_for(previous, &next.signed).into_iter().map(|appointed| count(next, appointed)).collect()
}

/// Who may sign a new root.
pub(super) fn appointed_for<'a>(previous: Option<&'a Root>, next: &'a Root) -> Vec<Appointed<'a>> {
    previous.into_iter().chain([next]).map(|root| Appointed::by(root, RoleName::Root)).collect()
}

/// What is different between two roots, one sentence each.
pub fn differences(previous: Option<&Root>, next: &Root) -> Vec<String> {
    let mut out = Vec::new();
    for role in RoleName::ALL {
        let (old, new) = (previous.map(|root| root.roles.get(role)), next.roles.get(role));
        let had = |id: &String| old.is_some_and(|old| old.keyids.contains(id));
        let shown = |root: &Root, id: &str| {
            let algorithm = root.keys.get(id).and_then(Key::public).map(|key| key.algorithm());
            format!("{} ({})", name_of(&root.keys, id), algorithm.map_or("unknown", |algorithm| algorithm.as_str()))
        };
        out.extend(new.keyids.iter().filter(|id| !had(id)).map(|id| format!("{role}: key {} added", shown(next, id))));
        if let Some(previous) = previous {
            let gone = previous.roles.get(role).keyids.iter().filter(|id| !new.keyids.contains(id));
            out.extend(gone.map(|id| format!("{role}: key {} removed", shown(previous, id))));
        }
        let before = old.map(|old| old.threshold);
        if before != Some(new.threshold) {
            let from = before.map_or_else(String::new, |before| format!(" (was {before})"));
            out.push(format!("{role}: {} of {} keys have to sign{from}", new.threshold, new.keyids.len()));
        }
    }
    out.push(format!("it ends {}", next.expires.strftime("%Y-%m-%d")));
    out
}

fn usage(message: String) -> Failure {
    Failure::new(Code::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::key::{Algorithm, Signer};
    use crate::trust::private::PrivateKey;

    fn key(algorithm: Algorithm) -> PublicKey {
        PrivateKey::generate(algorithm).expect("random numbers").public().clone()
    }

    fn root_with(keys: &[PublicKey], threshold: u64) -> Result<Root> {
        let one = key(Algorithm::Ed25519);
        first("2030-01-01T00:00:00Z".parse().expect("a time"), |role| match role {
            RoleName::Root => Appointment { keys: keys.to_vec(), threshold },
            _ => Appointment { keys: vec![one.clone()], threshold: 1 },
        })
    }

    #[test]
    fn a_role_without_enough_different_keys_is_refused() {
        let (one, two) = (key(Algorithm::EcdsaP256), key(Algorithm::Ed25519));
        let both = [one.clone(), two.clone()];
        assert!(root_with(&both, 2).is_ok());
        for (keys, threshold, code) in [
            (both.to_vec(), 3, Code::ThresholdUnmet),
            (both.to_vec(), 0, Code::Usage),
            (Vec::new(), 1, Code::ThresholdUnmet),
            (vec![one.clone(), one.clone()], 2, Code::Usage),
            (vec![key(Algorithm::EcdsaP384)], 1, Code::KeyInvalid),
        ] {
            let failure = root_with(&keys, threshold).expect_err("refused");
            assert_eq!(failure.code(), code, "{failure}");
            assert!(failure.way_out().is_some());
        }
    }

    #[test]
    fn a_change_keeps_every_role_able_to_sign() {
        let (one, two) = (key(Algorithm::EcdsaP256), key(Algorithm::Ed25519));
        let root = root_with(&[one.clone(), two.clone()], 2).expect("sound");
        let remove = |key: &PublicKey| Change::Remove { role: RoleName::Root, key: key.id().to_string() };
        let to = |changes: &[Change]| change(&root, 2, changes, root.expires);
        assert_eq!(to(&[remove(&one)]).expect_err("too few").code(), Code::ThresholdUnmet);
        let lower = Change::Threshold { role: RoleName::Root, threshold: 1 };
        let next = to(&[lower, remove(&one)]).expect("sound");
        assert_eq!((next.version, next.keys.len()), (2, 2), "the key that nobody needs is gone");
        let unknown = Change::Remove { role: RoleName::Targets, key: one.id().to_string() };
        assert_eq!(to(&[unknown]).expect_err("not its role").code(), Code::Usage);
        let short = Change::Revoke { key: one.id().to_string()[..4].to_owned(), replacement: None };
        assert_eq!(to(&[short]).expect_err("too short").code(), Code::Usage);
    }
}
