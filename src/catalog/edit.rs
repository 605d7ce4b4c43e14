//! Changing what a catalog lists: versions are added, withdrawn and given back, and what is about to
//! end is signed anew.
//!
//! Listed is every file of a bundle that is published: its assets, which never change, and its
//! evidence, which may be remade (another key adds its signature) and is then listed as it is now.
//! [`super::settle`] makes the documents that follow. A run that was killed anywhere is mended by the
//! next.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::entry::{Entry, Status, path_of, release_of};
use super::lifetimes::{Lifetimes, NEAR, near};
pub use super::listing::{Listed, Listing};
use super::repository::{Chain, Repository, State};
use super::settle::{Wanted, settle};
use super::signatures::{Appointed, Signatures, without_role};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::trust::documents::is_evidence;
use crate::trust::key::Signer;
use crate::trust::tuf::roles::{RoleName, Root, Target};

/// The document type of an [`Outcome`].
pub const TYPE: &str = "consign.catalog-change/v1";

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is.
    Write,
    /// Everything is done but writing.
    Rehearse,
}

/// Who changes a catalog, when, and with what in mind.
pub struct Hand<'a> {
    /// The keys at hand.
    pub signers: Vec<&'a dyn Signer>,
    /// The time.
    pub now: Timestamp,
    /// How long documents are good for.
    pub lifetimes: &'a Lifetimes,
    /// Whether anything is written.
    pub act: Act,
}

impl Hand<'_> {
    /// When a document of a role ends that is made now.
    pub fn expires(&self, role: RoleName) -> Result<Timestamp> {
        let span = SignedDuration::try_from(self.lifetimes.of(role)).ok();
        let end = span.and_then(|span| self.now.checked_add(span).ok());
        // Ten thousand years have one digit too many for the way times are written.
        let end = end.filter(|end| end.strftime("%Y").to_string().len() == 4);
        let end = end.ok_or_else(|| Failure::new(Code::Usage, format!("the {role} would end too far from now")))?;
        Timestamp::from_second(end.as_second())
            .map_err(|error| Failure::new(Code::Usage, format!("the {role} would end too far from now")).because(error))
    }

    fn has(&self, root: &Root, role: RoleName) -> bool {
        let appointed = root.roles.get(role);
        let publics: Vec<_> = appointed.keyids.iter().filter_map(|id| root.keys.get(id)?.public()).collect();
        self.signers.iter().any(|signer| publics.contains(signer.public()))
    }
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Readers see it.
    Published,
    /// It waits for signatures.
    Proposed,
    /// There was nothing to do.
    Unchanged,
}

impl Ending {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Proposed => "proposed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What came of a change.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The directory of the versions.
    pub catalog: String,
    /// How it ended.
    pub status: Ending,
    /// Whether it was only rehearsed.
    pub dry_run: bool,
    /// What is different in the list of files, one sentence each.
    pub changes: Vec<String>,
    /// The versions of the documents that readers see now.
    pub versions: BTreeMap<String, u64>,
    /// The files that were written.
    pub written: Vec<String>,
    /// The signatures that are missing.
    pub missing: Vec<Signatures>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Whether versions can be added with the keys at hand.
pub fn require(repository: &Repository, hand: &Hand<'_>) -> Result<()> {
    let looking = Hand { signers: Vec::new(), now: hand.now, lifetimes: hand.lifetimes, act: Act::Rehearse };
    let (_, chain, _) = open(repository, &looking)?;
    let root = chain.current();
    if hand.has(root, RoleName::Targets) {
        return Ok(());
    }
    Err(without_role(RoleName::Targets, &hand.signers, &[Appointed::by(root, RoleName::Targets)]))
}

/// Adds versions.
pub fn add(repository: &Repository, listings: &[Listing], hand: &Hand<'_>) -> Result<Outcome> {
    change(repository, hand, |targets| listings.iter().try_for_each(|listing| add_one(targets, listing)))
}

fn add_one(targets: &mut BTreeMap<String, Target>, listing: &Listing) -> Result<()> {
    let release = &listing.release;
    let prefix = format!("{release}/");
    let is_known = targets.contains_key(&path_of(release, crate::model::index::FILE_NAME));
    let refuse = |name: &str, problem: &str| {
        Failure::new(Code::VersionPublished, format!("the catalog already lists `{release}`, and `{name}` {problem}"))
            .subject(name)
            .hint("what is published is never changed: release a new version")
    };
    let mut gone = targets.keys().filter_map(|path| path.strip_prefix(&prefix));
    let gone = gone.find(|name| !listing.files.contains_key(*name) && !is_evidence(name));
    if let Some(name) = gone {
        return Err(refuse(name, "is not part of this bundle"));
    }
    for (name, file) in &listing.files {
        let path = path_of(release, name);
        let hashes = BTreeMap::from([("sha256".to_owned(), file.sha256.to_string())]);
        let known = targets.get(&path);
        if known.is_some_and(|known| known.length == file.size_bytes && known.hashes == hashes) {
            continue;
        }
        if !file.is_evidence && is_known {
            return Err(refuse(name, if known.is_some() { "has other bytes there" } else { "is not listed there" }));
        }
        let custom = (name == crate::model::index::FILE_NAME).then(|| listing.entry.to_json());
        targets.insert(path, Target { length: file.size_bytes, hashes, custom });
    }
    Ok(())
}

/// Withdraws a version, or gives it back.
pub fn mark(
    repository: &Repository,
    version: &str,
    status: Status,
    reason: Option<&str>,
    hand: &Hand<'_>,
) -> Result<Outcome> {
    change(repository, hand, |targets| {
        let path = find(targets, version)?;
        let target = targets.get_mut(&path).expect("it was just found");
        let mut entry = Entry::of(target).ok_or_else(|| unlisted(version))?;
        (entry.status, entry.reason) = (status, reason.map(str::to_owned));
        target.custom = Some(entry.to_json());
        Ok(())
    })
}

/// The path of a version's index, named by its directory or by its bare version.
fn find(targets: &BTreeMap<String, Target>, given: &str) -> Result<String> {
    let exact = path_of(given, crate::model::index::FILE_NAME);
    if release_of(&exact).is_some() && targets.contains_key(&exact) {
        return Ok(exact);
    }
    let is_it = |target: &Target| Entry::of(target).is_some_and(|entry| entry.version.to_string() == given);
    let mut found = targets.iter().filter(|(path, target)| release_of(path).is_some() && is_it(target));
    match (found.next(), found.next()) {
        (Some((path, _)), None) => Ok(path.clone()),
        _ => Err(unlisted(given)),
    }
}

fn unlisted(given: &str) -> Failure {
    let given = text::shown(given);
    Failure::new(Code::TargetUnknown, format!("the catalog does not list the version `{given}`"))
        .subject(given)
        .hint("`consign catalog show` lists every version")
}

/// Signs the timestamp anew, and whatever else is about to end or waits for it.
pub fn refresh(repository: &Repository, hand: &Hand<'_>) -> Result<Outcome> {
    let (_turn, chain, state) = open(repository, hand)?;
    let mut renew = vec![RoleName::Timestamp];
    let mut warnings = Vec::new();
    let root = chain.current();
    let ends = [
        (RoleName::Targets, state.targets.as_ref().map(|known| known.document.signed.signed.expires)),
        (RoleName::Snapshot, state.snapshot.as_ref().map(|known| known.document.signed.signed.expires)),
    ];
    for (role, end) in ends.into_iter().filter_map(|(role, end)| Some((role, end?))) {
        match (end.duration_since(hand.now) < NEAR, hand.has(root, role)) {
            (true, true) => renew.push(role),
            (true, false) => warnings.push(near(role, end)),
            (false, _) => {}
        }
    }
    if root.expires.duration_since(hand.now) < NEAR {
        warnings.push(near(RoleName::Root, root.expires));
    }
    let wanted = Wanted { targets: None, renew, insists: Some(RoleName::Timestamp) };
    let mut outcome = settle(repository, &chain, &state, &wanted, hand)?;
    outcome.warnings.extend(warnings);
    Ok(outcome)
}

/// Waits for its turn and reads what there is.
pub(super) fn open(
    repository: &Repository,
    hand: &Hand<'_>,
) -> Result<(Option<super::repository::Turn>, Chain, State)> {
    // Whoever only rehearses leaves no lock behind, and neither does a place without a catalog.
    let turn = (hand.act == Act::Write && repository.exists()).then(|| repository.lock()).transpose()?;
    let chain = repository.roots()?;
    let root = chain.current();
    if root.expires <= hand.now {
        let message = format!("root {} ended {}", root.version, root.expires.strftime("%Y-%m-%d"));
        return Err(Failure::new(Code::CatalogExpired, message)
            .subject(repository.path("root.json").as_str())
            .hint("its holders make the next one with `consign trust renew`; clients follow it all the same"));
    }
    let state = repository.state(&chain)?;
    Ok((turn, chain, state))
}

fn change(
    repository: &Repository,
    hand: &Hand<'_>,
    deed: impl FnOnce(&mut BTreeMap<String, Target>) -> Result<()>,
) -> Result<Outcome> {
    let (_turn, chain, state) = open(repository, hand)?;
    let mut targets = state.listed().clone();
    deed(&mut targets)?;
    let wanted = Wanted { targets: Some(targets), renew: Vec::new(), insists: Some(RoleName::Targets) };
    settle(repository, &chain, &state, &wanted, hand)
}
