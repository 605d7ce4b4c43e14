//! Changing what a catalog lists: versions are added, withdrawn and given back, and what is about to
//! end is signed anew.
//!
//! Listed is every file of a bundle that is published: its assets, which never change, and its
//! evidence, which may be remade (another key adds its signature) and is then listed as it is now.
//! [`settle`] makes the documents that follow, in TUF's order: targets, snapshot, timestamp. Where a
//! role needs more signatures than the keys at hand can give, the document waits under another name
//! and nothing that readers see has changed. A run that was killed anywhere is mended by the next.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::entry::{Entry, Status, path_of, release_of};
use super::lifetimes::{Lifetimes, NEAR, Refresh, near};
pub use super::listing::{Listed, Listing};
use super::repository::{Chain, Document, Repository, Standed, Standing, State, file_of, proposed_file_of};
use super::signatures::{Appointed, Signatures, add as sign, count, without_role};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::trust::documents::is_evidence;
use crate::trust::key::Signer;
use crate::trust::tuf::roles::{Meta, Role, RoleName, Root, Signed, Snapshot, Target, Targets, TimestampRole};
use crate::trust::tuf::trusted::Roots;

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

impl State {
    /// Every file that is listed.
    pub fn listed(&self) -> &BTreeMap<String, Target> {
        static NOTHING: BTreeMap<String, Target> = BTreeMap::new();
        self.targets.as_ref().map_or(&NOTHING, |targets| &targets.document.signed.signed.targets)
    }
}

/// What a change wants.
pub(super) struct Wanted {
    /// The files; nothing said: those that there are, or those of a finished proposal.
    pub(super) targets: Option<BTreeMap<String, Target>>,
    /// What is signed anew although nothing in it is different.
    pub(super) renew: Vec<RoleName>,
    /// The role without whose key there is no use in going on.
    pub(super) insists: Option<RoleName>,
}

/// A document on its way.
enum Draft<T> {
    /// It is as it should be.
    Kept(Document<T>),
    /// It is new, and signed.
    Done(Document<T>),
    /// It is new, and signatures are missing.
    Open(Signed<T>),
}

impl<T: Role> Draft<T> {
    fn finished(&self) -> Option<&Document<T>> {
        match self {
            Self::Kept(document) | Self::Done(document) => Some(document),
            Self::Open(_) => None,
        }
    }
}

/// Makes the documents that follow, and writes them.
pub(super) fn settle(
    repository: &Repository,
    chain: &Chain,
    state: &State,
    wanted: &Wanted,
    hand: &Hand<'_>,
) -> Result<Outcome> {
    refuse_lost(repository, chain, state)?;
    let root = chain.current();
    let mut desk =
        Desk { repository, root, hand, wanted, finished: Vec::new(), waiting: Vec::new(), missing: Vec::new() };
    let files = desk.files(state)?;
    let changes = differences(state.listed(), &files);
    let targets = desk.draft(
        state.targets.as_ref(),
        state.targets.as_ref().map_or(1, Standed::next_version),
        |known: &Targets| known.targets == files,
        |version, expires| Targets::new(version, expires, files.clone()),
    )?;
    let Some(targets) = targets.finished() else { return desk.finish(state, changes) };
    let meta = BTreeMap::from([("targets.json".to_owned(), targets.meta())]);
    let snapshot = desk.draft(
        state.snapshot.as_ref(),
        state.next_snapshot(),
        |known: &Snapshot| known.meta == meta,
        |version, expires| Snapshot::new(version, expires, meta.clone()),
    )?;
    let Some(snapshot) = snapshot.finished() else { return desk.finish(state, changes) };
    let meta: Meta = snapshot.meta();
    let timestamp = desk.draft(
        state.timestamp.as_ref(),
        state.timestamp.as_ref().map_or(1, Standed::next_version),
        |known: &TimestampRole| known.meta.get("snapshot.json") == Some(&meta) && known.meta.len() == 1,
        |version, expires| TimestampRole::new(version, expires, meta.clone()),
    )?;
    if let Some(timestamp) = timestamp.finished() {
        verify(chain, state, [&targets.bytes, &snapshot.bytes, &timestamp.bytes], hand.now)?;
    }
    desk.finish(state, changes)
}

impl State {
    fn next_snapshot(&self) -> u64 {
        let own = self.snapshot.as_ref().map_or(1, Standed::next_version);
        let named = self.timestamp.as_ref().filter(|known| known.standing == Standing::Current).and_then(|known| {
            known.document.signed.signed.meta.get("snapshot.json").map(|meta| meta.version.saturating_add(1))
        });
        own.max(named.unwrap_or(1))
    }
}

/// Where documents are made one after the other.
struct Desk<'a> {
    repository: &'a Repository,
    root: &'a Root,
    hand: &'a Hand<'a>,
    wanted: &'a Wanted,
    /// What readers will see.
    finished: Vec<(RoleName, u64, Vec<u8>)>,
    /// What waits for signatures, or for a document that does.
    waiting: Vec<(RoleName, u64, Vec<u8>)>,
    missing: Vec<Signatures>,
}

impl Desk<'_> {
    /// The files that are to be listed.
    fn files(&self, state: &State) -> Result<BTreeMap<String, Target>> {
        let next = state.targets.as_ref().map_or(1, Standed::next_version);
        let proposal = self.proposal::<Targets>()?.filter(|proposal| proposal.signed.version == next);
        let Some(files) = &self.wanted.targets else {
            let finished = proposal.filter(|proposal| self.root.accepts(proposal));
            return Ok(finished.map_or_else(|| state.listed().clone(), |proposal| proposal.signed.targets));
        };
        // What somebody has signed is not thrown away, and what nobody here asked for is not signed. A
        // proposal that changes nothing is no loss.
        if let Some(proposal) = proposal
            && proposal.signed.targets != *files
            && proposal.signed.targets != *state.listed()
            && *files != *state.listed()
            && count(&proposal, Appointed::by(self.root, RoleName::Targets)).have > 0
        {
            let file = self.repository.path(&proposed_file_of(RoleName::Targets));
            return Err(Failure::new(Code::ProposalPending, "another change of the catalog waits for signatures")
                .subject(file.as_str())
                .hint(format!("sign it with `consign trust sign {file} --key FILE`, or remove it")));
        }
        Ok(files.clone())
    }

    fn proposal<T: Role>(&self) -> Result<Option<Signed<T>>> {
        let proposal = self.repository.read::<T>(&proposed_file_of(T::NAME))?;
        Ok(proposal.map(|document| document.signed))
    }

    /// Keeps a document, or makes the one that follows.
    fn draft<T: Role + Clone>(
        &mut self,
        known: Option<&Standed<T>>,
        version: u64,
        is_wanted: impl Fn(&T) -> bool,
        make: impl FnOnce(u64, Timestamp) -> T,
    ) -> Result<Draft<T>> {
        let now = self.hand.now;
        let renew = self.wanted.renew.contains(&T::NAME);
        if let Some(known) = known {
            let signed = &known.document.signed.signed;
            let is_good = known.standing == Standing::Current && signed.expires() > now;
            if is_good && !renew && is_wanted(signed) {
                return Ok(Draft::Kept(known.document.clone()));
            }
        }
        let fits = |proposal: &Signed<T>| {
            let proposed = &proposal.signed;
            proposed.version() == version && proposed.expires() > now && is_wanted(proposed)
        };
        let mut document = match self.proposal::<T>()?.filter(fits) {
            Some(proposal) => proposal,
            None => Signed::new(make(version, self.hand.expires(T::NAME)?)),
        };
        let appointed = Appointed::by(self.root, T::NAME);
        if !count(&document, appointed).are_enough() {
            sign(&mut document, &[appointed], &self.hand.signers)?;
        }
        let signatures = count(&document, appointed);
        if signatures.have == 0 && self.wanted.insists == Some(T::NAME) {
            return Err(without_role(T::NAME, &self.hand.signers, &[appointed]));
        }
        let bytes = document.render();
        if signatures.are_enough() {
            self.finished.push((T::NAME, version, bytes.clone()));
            return Ok(Draft::Done(Document { signed: document, bytes }));
        }
        self.missing.push(signatures);
        self.waiting.push((T::NAME, version, bytes));
        Ok(Draft::Open(document))
    }

    /// Writes what is finished where readers see it, or all of it where it waits.
    fn finish(self, state: &State, changes: Vec<String>) -> Result<Outcome> {
        let is_open = !self.waiting.is_empty();
        let documents = self.finished.iter().chain(&self.waiting);
        let name = |role: RoleName| if is_open { proposed_file_of(role) } else { file_of(role) };
        // The timestamp comes last: a reader that finds the old one finds documents that do not fit
        // together and reads again, and one that finds the new one finds everything.
        let mut written: Vec<_> = documents.clone().map(|(role, _, bytes)| (name(*role), bytes.clone())).collect();
        // What nobody has signed can be made again by whoever does.
        if is_open && self.finished.is_empty() && self.missing.iter().all(|missing| missing.have == 0) {
            written.clear();
        }
        let mut versions = BTreeMap::from([("root".to_owned(), self.root.version)]);
        versions.extend(state.versions());
        if !is_open {
            versions.extend(self.finished.iter().map(|(role, version, _)| (role.to_string(), *version)));
        }
        if self.hand.act == Act::Write && !written.is_empty() {
            self.repository.place(&written)?;
            if !is_open {
                let roles = self.finished.iter().map(|(role, ..)| proposed_file_of(*role));
                self.repository.remove(&roles.collect::<Vec<_>>())?;
            }
        }
        let status = match (is_open, written.is_empty()) {
            (true, _) => Ending::Proposed,
            (false, true) => Ending::Unchanged,
            (false, false) => Ending::Published,
        };
        let warnings = self.short(documents.map(|(role, ..)| *role));
        Ok(Outcome {
            kind: TYPE,
            catalog: self.repository.target().to_string(),
            status,
            dry_run: self.hand.act == Act::Rehearse,
            changes,
            versions,
            written: written.into_iter().map(|(name, _)| name).collect(),
            missing: self.missing,
            warnings,
        })
    }

    fn short(&self, roles: impl Iterator<Item = RoleName>) -> Vec<String> {
        let lifetimes = self.hand.lifetimes;
        let near = Duration::from_secs(NEAR.as_secs().unsigned_abs());
        let is_short = |role: &RoleName| lifetimes.refresh == Refresh::ByHand && lifetimes.of(*role) < near;
        roles.filter(is_short).map(|role| short(role, lifetimes.of(role))).collect()
    }
}

/// A document that ends soon with nobody to sign it anew.
pub(super) fn short(role: RoleName, lifetime: Duration) -> String {
    let days = lifetime.as_secs() / (24 * 60 * 60);
    format!(
        "{role}.json ends in {days} days and nothing signs it anew: installations stop then; set `refresh` in \
         `[catalog]` and schedule `consign catalog refresh`, or let it last longer"
    )
}

impl State {
    /// The versions of what is there.
    pub fn versions(&self) -> impl Iterator<Item = (String, u64)> {
        let targets = self.targets.as_ref().map(|known| (RoleName::Targets, known.document.signed.signed.version));
        let snapshot = self.snapshot.as_ref().map(|known| (RoleName::Snapshot, known.document.signed.signed.version));
        let timestamp =
            self.timestamp.as_ref().map(|known| (RoleName::Timestamp, known.document.signed.signed.version));
        [targets, snapshot, timestamp].into_iter().flatten().map(|(role, version)| (role.to_string(), version))
    }
}

/// Documents that are gone, with which the number of the next one is lost too.
fn refuse_lost(repository: &Repository, chain: &Chain, state: &State) -> Result<()> {
    let lost = |role: RoleName, hint: String| {
        let path = repository.path(&file_of(role));
        Err(Failure::new(Code::CatalogMissing, format!("`{path}` is missing, and the catalog is not new"))
            .subject(path.as_str())
            .hint(hint))
    };
    let restore = "restore it from a backup or a mirror";
    if state.targets.is_none() && (state.snapshot.is_some() || state.timestamp.is_some()) {
        return lost(RoleName::Targets, restore.to_owned());
    }
    let began = state.snapshot.as_ref().is_some_and(|snapshot| snapshot.document.signed.signed.version > 1)
        || state.targets.as_ref().is_some_and(|targets| targets.document.signed.signed.version > 1);
    // Clients forget the numbers of a key that was replaced.
    let is_replaced = match chain.roots() {
        [.., before, last] => before.signed.roles.timestamp.keyids != last.signed.roles.timestamp.keyids,
        _ => false,
    };
    if state.timestamp.is_none() && began && !is_replaced {
        let hint = format!(
            "{restore}; where there is none, replace the key with `consign trust rotate --role timestamp`, which \
             lets every client start anew"
        );
        return lost(RoleName::Timestamp, hint);
    }
    // The stolen key of a list could have listed anything: only what the snapshot names is signed again.
    let is_former = state.targets.as_ref().is_some_and(|targets| targets.standing == Standing::Former);
    if is_former && !state.is_targets_named() {
        let path = repository.path(&file_of(RoleName::Targets));
        let problem = "it is signed by keys that were replaced, and the snapshot does not name it";
        return Err(super::repository::invalid(&path, problem)
            .hint("it may be the work of whoever has the old key: restore the version that `snapshot.json` names"));
    }
    Ok(())
}

/// What a client checks that has seen what is there now, before anybody sees the new documents.
fn verify(chain: &Chain, state: &State, new: [&[u8]; 3], now: Timestamp) -> Result<()> {
    let [targets, snapshot, timestamp] = new;
    let known = (
        state.timestamp.as_ref().map(|known| known.document.bytes.as_slice()),
        state.snapshot.as_ref().map(|known| known.document.bytes.as_slice()),
    );
    let read = || -> Result<()> {
        let settled = Roots::begin(&chain.last().render())?.settle(now)?;
        let (remembering, _) = settled.remember(known.0, known.1);
        remembering.timestamp(timestamp)?.snapshot(snapshot)?.targets(targets).map(|_| ())
    };
    read().map_err(|failure| {
        Failure::new(Code::CatalogInvalid, "no client would take the new documents of the catalog; nothing was written")
            .because(failure)
            .hint("`consign trust show` and `consign catalog verify` tell more of what is there")
    })
}

/// What is different between two lists, one sentence for each version or file.
pub(super) fn differences(old: &BTreeMap<String, Target>, new: &BTreeMap<String, Target>) -> Vec<String> {
    let releases = |list: &BTreeMap<String, Target>| -> BTreeMap<String, Option<Entry>> {
        list.iter().filter_map(|(path, target)| Some((release_of(path)?.to_owned(), Entry::of(target)))).collect()
    };
    let (before, after) = (releases(old), releases(new));
    let mut out = Vec::new();
    for (release, entry) in &after {
        let status = |entry: &Option<Entry>| entry.as_ref().map(|entry| (entry.status, entry.reason.clone()));
        match before.get(release) {
            None => out.push(format!("{} added", text::shown(release))),
            Some(known) if status(known) != status(entry) => match entry {
                Some(Entry { status: Status::Yanked, reason, .. }) => {
                    let reason = reason.as_deref().unwrap_or("no reason given");
                    out.push(format!("{} yanked: {}", text::shown(release), text::shown(reason)));
                }
                _ => out.push(format!("{} is active again", text::shown(release))),
            },
            Some(_) => {}
        }
    }
    out.extend(
        before
            .keys()
            .filter(|release| !after.contains_key(*release))
            .map(|release| format!("{} removed", text::shown(release))),
    );
    let is_of = |path: &str, releases: &BTreeMap<String, Option<Entry>>| {
        path.split_once('/').is_some_and(|(release, _)| releases.contains_key(release))
    };
    let bytes = |target: &Target| (target.length, target.hashes.clone());
    for (path, target) in new {
        let known = old.get(path).map(bytes);
        if known.as_ref() != Some(&bytes(target)) && (known.is_some() || is_of(path, &before) || !is_of(path, &after)) {
            out.push(format!("{} is {}", text::shown(path), if known.is_some() { "replaced" } else { "added" }));
        }
    }
    let gone = old.keys().filter(|path| !new.contains_key(*path) && (is_of(path, &after) || !is_of(path, &before)));
    out.extend(gone.map(|path| format!("{} removed", text::shown(path))));
    out
}
