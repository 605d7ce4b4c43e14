//! From what is queued to what the remote has: one commit each, and one push.
//!
//! The main item is [`ConfigRepository::land`]. It can be killed between any two of its steps: until the remote
//! has taken the push nothing has happened, and afterwards the commits are found by the releases that they name.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::model::failure::Result;
use crate::model::release_commit::Message;
use crate::model::{Code, Failure};

use super::commits::{Commit, RELEASE_ID};
use super::directories::{Applied, Directories};
use super::landing::{Decision, Landed, Landing};
use super::objects::{Id, Kind};
use super::pack::Pack;
use super::patience::Patience;
use super::prepared::Prepared;
use super::remote::Pushed;
use super::repository::ConfigRepository;

impl ConfigRepository {
    /// Lands everything in one push, each landing as a commit of its own, in their order.
    ///
    /// `before_commit` is asked about each landing that changes something, just before each push: also when
    /// somebody else was faster and the commits are made anew on top of theirs. What came of each is given
    /// back in their order. A failure says that nothing is known to have landed; if the remote was out of reach
    /// it may have, and the next attempt has to say that there was one ([`Landing::tried_before`]). The
    /// failure's code tells [`Code::PushRejected`] (others kept being faster), [`Code::RemoteUnavailable`],
    /// [`Code::PushRefused`] and [`Code::RemoteForbidden`] apart; only the last two are worth a person's look.
    pub fn land(
        &mut self,
        landings: &[Landing],
        now: Timestamp,
        before_commit: &mut dyn FnMut(&Landing) -> Decision,
    ) -> Result<Vec<Landed>> {
        if landings.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.turn()?;
        let mut batch = Batch::of(landings);
        let mut patience = Patience::default();
        // Whether something was pushed of which nobody knows whether it arrived.
        let mut is_lost = false;
        let is_unsure = landings.iter().any(|landing| landing.tried_before);
        let mut is_fresh = !self.is_current || is_unsure;
        let mut trouble = if is_fresh { self.catch_up(&mut batch, is_unsure).err() } else { None };
        loop {
            if trouble.is_none() {
                let built = self.build(&mut batch, now, before_commit)?;
                let Some(head) = built.head else {
                    // What is up to date here may not be so at the remote.
                    if is_fresh {
                        return Ok(batch.finish(built.outcomes));
                    }
                    is_fresh = true;
                    trouble = self.catch_up(&mut batch, false).err();
                    continue;
                };
                self.keep(built.pack, &mut batch)?;
                match self.push(head, built.count)? {
                    Pushed::Done => {
                        self.warm = built.directories.into_warm(head, std::mem::take(&mut self.warm));
                        return Ok(batch.finish(built.outcomes));
                    }
                    Pushed::Refused(failure) => return Err(failure),
                    Pushed::Rejected(failure) => trouble = Some(failure),
                    Pushed::Unreachable(failure) => (is_lost, trouble) = (true, Some(failure)),
                }
            }
            let Some(failure) = trouble else { continue };
            pause(patience.after(failure).map_err(|failure| if is_lost { unsure(failure) } else { failure })?);
            is_fresh = true;
            trouble = self.catch_up(&mut batch, is_unsure).err();
            // Where it can be seen what is there, nothing is unknown any more.
            is_lost &= trouble.is_some();
        }
    }

    /// Fetches, and sees which landings others, or an earlier attempt, have brought there.
    fn catch_up(&mut self, batch: &mut Batch<'_>, is_unsure: bool) -> Result<()> {
        let before = self.tip;
        self.fetch()?;
        let Some(tip) = self.tip else { return Ok(()) };
        if is_unsure && !batch.is_searched {
            batch.found.extend(self.releases(tip, None)?);
            batch.is_searched = true;
        } else if before != Some(tip) {
            batch.found.extend(self.releases(tip, before)?);
        }
        Ok(())
    }

    /// The releases that commits name: those of a commit and all before it, but not of what another has.
    fn releases(&self, of: Id, but: Option<Id>) -> Result<HashMap<String, Id>> {
        let program = self.git().args(["log", "--fixed-strings", &format!("--grep={RELEASE_ID}: ")]);
        let program = program.args(["--format=%H%n%B%x00".to_owned(), of.to_string()]);
        let output = but.iter().fold(program, |program, but| program.arg(format!("^{but}"))).arg("--").output()?;
        if !output.status.success() {
            return Err(Failure::new(Code::GitUnusable, "the history of the config repository cannot be read")
                .because(output.complaint()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let commits = text.split('\0').filter_map(|commit| commit.trim_start_matches('\n').split_once('\n'));
        let named = commits.filter_map(|(id, message)| {
            let release = Message::parse(message).get(RELEASE_ID)?.to_owned();
            Some((release, id.parse().ok()?))
        });
        // The oldest commit is the one, should there be two.
        Ok(named.collect())
    }

    /// Makes the commits on top of the last known tip, without those that are left out.
    fn build(
        &self,
        batch: &mut Batch<'_>,
        now: Timestamp,
        before_commit: &mut dyn FnMut(&Landing) -> Decision,
    ) -> Result<Built> {
        let edits = batch.landings.iter().filter_map(|one| one.prepared.as_ref().ok()).flat_map(|one| &one.edits);
        let directories = Directories::read(self, edits)?;
        let mut asked = vec![false; batch.landings.len()];
        loop {
            let built = self.stack(batch, directories.clone(), now)?;
            let mut is_whole = true;
            let outcomes = built.outcomes.iter().zip(&mut asked);
            for (one, (outcome, asked)) in batch.landings.iter_mut().zip(outcomes) {
                if !matches!(outcome, Outcome::Commit(_)) || std::mem::replace(asked, true) {
                    continue;
                }
                if let Decision::LeaveOut(failure) = before_commit(one.landing) {
                    one.prepared = Err(failure);
                    is_whole = false;
                }
            }
            // Without one, another may make a commit that would have changed nothing: it is asked about too.
            if is_whole {
                return Ok(built);
            }
        }
    }

    fn stack(&self, batch: &Batch<'_>, mut directories: Directories, now: Timestamp) -> Result<Built> {
        let (mut pack, mut head, mut count) = (Pack::new(), None, 0);
        let mut here: HashMap<&str, Id> = HashMap::new();
        let mut outcomes = Vec::with_capacity(batch.landings.len());
        for one in &batch.landings {
            let Landing { release_id, message, author, .. } = one.landing;
            let Ok(prepared) = &one.prepared else {
                outcomes.push(Outcome::LeftOut);
                continue;
            };
            let known = batch.found.get(release_id).or_else(|| here.get(release_id.as_str()));
            if let Some(commit) = known {
                outcomes.push(Outcome::Before(*commit));
                continue;
            }
            let outcome = match directories.apply(&prepared.edits) {
                Applied::Unchanged => Outcome::UpToDate(head.or(self.tip)),
                Applied::Blocked(path) => Outcome::Blocked(path),
                Applied::Changed => {
                    for (kind, id, bytes) in &prepared.objects {
                        if !batch.stored.contains(id) {
                            pack.put(*kind, *id, bytes);
                        }
                    }
                    let committer = &self.settings.committer;
                    let commit = Commit {
                        tree: directories.put(&mut pack),
                        parent: head.or(self.tip),
                        author: author.as_ref().unwrap_or(committer),
                        committer,
                        at: now,
                        message,
                        release_id,
                    };
                    let bytes = commit.render(self.settings.signing.as_ref())?;
                    let id = Id::of(Kind::Commit, &bytes);
                    pack.put(Kind::Commit, id, &bytes);
                    here.insert(release_id, id);
                    head = Some(id);
                    count += 1;
                    Outcome::Commit(id)
                }
            };
            outcomes.push(outcome);
        }
        Ok(Built { pack, directories, head, count, outcomes })
    }

    fn keep(&self, pack: Pack, batch: &mut Batch<'_>) -> Result<()> {
        let stored: Vec<_> = pack.ids().collect();
        pack.store(&self.settings.directory.join("objects"))?;
        batch.stored.extend(stored);
        Ok(())
    }
}

/// Landings on their way, over all attempts.
struct Batch<'a> {
    landings: Vec<One<'a>>,
    /// Which releases are in the repository already, by which commits.
    found: HashMap<String, Id>,
    /// Whether the whole history was searched for them.
    is_searched: bool,
    /// Objects that an earlier attempt has left in the copy.
    stored: HashSet<Id>,
}

struct One<'a> {
    landing: &'a Landing,
    /// It, or why it is left out.
    prepared: Result<Prepared<'a>>,
}

/// Commits that have been made, and wait for the push.
struct Built {
    pack: Pack,
    directories: Directories,
    head: Option<Id>,
    count: usize,
    outcomes: Vec<Outcome>,
}

enum Outcome {
    Commit(Id),
    Before(Id),
    UpToDate(Option<Id>),
    Blocked(String),
    LeftOut,
}

impl<'a> Batch<'a> {
    fn of(landings: &'a [Landing]) -> Self {
        let landings = landings.iter().map(|landing| One { landing, prepared: Prepared::of(landing) }).collect();
        Self { landings, found: HashMap::new(), is_searched: false, stored: HashSet::new() }
    }

    fn finish(self, outcomes: Vec<Outcome>) -> Vec<Landed> {
        let landed = self.landings.into_iter().zip(outcomes).map(|(one, outcome)| match (outcome, one.prepared) {
            (_, Err(failure)) => Landed::LeftOut(failure),
            (Outcome::Commit(id), _) => Landed::Pushed(id),
            (Outcome::Before(id), _) => Landed::Before(id),
            (Outcome::UpToDate(id), _) => Landed::AlreadyUpToDate(id),
            (Outcome::Blocked(path), _) => Landed::LeftOut(blocked(&path)),
            (Outcome::LeftOut, _) => Landed::LeftOut(blocked("")),
        });
        landed.collect()
    }
}

fn blocked(path: &str) -> Failure {
    Failure::new(Code::TargetForeign, format!("the config repository has something else than a directory at `{path}`"))
        .subject(path)
        .hint("move it away in the config repository")
}

/// The failure of what may have arrived in spite of it.
fn unsure(failure: Failure) -> Failure {
    if [Code::RemoteUnavailable, Code::CommandTimeout].contains(&failure.code()) {
        return failure;
    }
    Failure::new(Code::RemoteUnavailable, "whether a push has arrived is not known").because(failure)
}

/// Waits, and never as long as somebody else who was just as slow.
fn pause(longest: Duration) {
    let mut dice = [0; 4];
    // Without dice it is the longest.
    let share = SystemRandom::new().fill(&mut dice).map_or(u32::MAX, |()| u32::from_be_bytes(dice));
    std::thread::sleep(longest.mul_f64(f64::from(share) / f64::from(u32::MAX)));
}
