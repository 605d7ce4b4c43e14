//! The documents that follow a change, one after the other: targets, snapshot, timestamp.
//!
//! Where a role needs more signatures than the keys at hand can give, its document and those after it
//! wait under another name. What is finished is judged by the client's rules before anybody sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::differences::differences;
use super::edit::{Act, Ending, Hand, Outcome, TYPE};
use super::lifetimes::{NEAR, Refresh};
use super::repository::{Chain, Document, Repository, Standed, Standing, State, file_of, proposed_file_of};
use super::signatures::{Appointed, Signatures, add as sign, count, without_role};
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::tuf::roles::{Meta, Role, RoleName, Root, Signed, Snapshot, Target, Targets, TimestampRole};
use crate::trust::tuf::trusted::Roots;

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
