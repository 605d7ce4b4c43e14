//! The queue of a deployer: what waits its turn is judged again, written, and noted.
//!
//! Of all replicas one works on a deployer, while it keeps the lease. Everything that is waiting goes into
//! as few pushes as possible. A release that was begun and of which nothing more is known is begun again:
//! the environment itself knows whether it was written.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::deployer::Land;
use super::deployer::git::{Change as Changed, ConfigRepository, Decision as Say, Landed, Landing, Place, Settings};
use super::landing::landing;
use super::plan::{Deployer, GitSettings};
use super::{Manager, ruling};
use crate::artifacts;
use crate::model::delivery::{Order, State};
use crate::model::failure::Result;
use crate::model::policy::HoldChange;
use crate::model::{Code, Failure};
use crate::store::{Change, Ending, Facts, NewHold, Next, ReleaseRow, Ruling, Target};

/// How many releases are written at once.
const TOGETHER: u32 = 1000;
/// How long a lease counts after it was taken or kept.
const LEASE: SignedDuration = SignedDuration::from_secs(6);
/// How often it is kept.
const KEEP_EVERY: Duration = Duration::from_secs(2);
/// The pause after the first try that came to nothing; it doubles, up to the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// How often something is tried before it is given up: the better part of an hour.
const TRIES: u32 = 50;
/// How many characters of what went wrong are kept.
const MAX_REASON: usize = 1000;
/// How many are tried alone where none is taken.
const REFUSALS: usize = 3;

/// What one pass over the queue did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// How many releases were looked at.
    pub looked_at: usize,
    /// How many reached their environment.
    pub pushed: usize,
}

/// A release that is being written.
struct Begun {
    row: ReleaseRow,
    order: Order,
    /// Somebody began it before and was not heard of again.
    is_unsure: bool,
    hold: HoldChange,
    candidate: Option<String>,
}

/// What is said to a release just before it would be written once more.
enum Again {
    Commit,
    /// Policies do not let it go yet. What comes after it in its place need not wait for it.
    Later(Failure),
    /// It has come to its end.
    Over(Failure),
}

/// Where something is tried again that came first, so that nothing goes past it.
#[derive(Default)]
struct Queues(HashSet<Place>);

impl Queues {
    fn stop(&mut self, order: &Order) {
        self.0.insert(place(order));
    }

    fn is_stopped(&self, order: &Order) -> bool {
        self.0.contains(&place(order))
    }

    fn stop_at(&mut self, landing: &Landing) {
        if let Changed::Release { place, .. } = &landing.change {
            self.0.insert(place.clone());
        }
    }

    fn is_stopped_at(&self, landing: &Landing) -> bool {
        matches!(&landing.change, Changed::Release { place, .. } if self.0.contains(place))
    }
}

impl Manager {
    /// Works on a deployer's queue for ever.
    pub(super) async fn work(self, name: String) {
        let mut repository = None;
        loop {
            match self.keep_lease(&name).await {
                Ok(true) => match self.turn_with(&name, &mut repository).await {
                    Ok(Turn { looked_at: 0, .. }) => {}
                    Ok(_) => continue,
                    Err(failure) => {
                        tracing::warn!(
                            deployer = name,
                            cause = failure.chain().join(": "),
                            "a turn of the queue failed"
                        );
                    }
                },
                Ok(false) => {}
                Err(failure) => {
                    tracing::warn!(deployer = name, cause = failure.chain().join(": "), "the queue cannot be read");
                }
            }
            self.rest().await;
        }
    }

    async fn keep_lease(&self, deployer: &str) -> Result<bool> {
        let now = self.now();
        let until = now.saturating_add(LEASE).unwrap_or(Timestamp::MAX);
        self.registry().store.take_lease(&format!("deployer/{deployer}"), &self.0.owner, now, until).await
    }

    async fn turn_with(&self, deployer: &str, repository: &mut Option<ConfigRepository>) -> Result<Turn> {
        let mut opened = match repository.take() {
            Some(repository) => repository,
            None => self.open(deployer)?,
        };
        let keeper = tokio::spawn({
            let (manager, deployer) = (self.clone(), deployer.to_owned());
            async move {
                loop {
                    tokio::time::sleep(KEEP_EVERY).await;
                    // Who loses it goes on: what is written twice is seen in the environment.
                    let _ = manager.keep_lease(&deployer).await;
                }
            }
        });
        let done = self.turn(deployer, &mut opened).await;
        keeper.abort();
        *repository = Some(opened);
        done
    }

    fn open(&self, deployer: &str) -> Result<ConfigRepository> {
        match self.plan().deployers().get(deployer) {
            Some(Deployer::Git(git)) => ConfigRepository::open(self.settings(deployer, git)),
            None => Err(Failure::new(Code::ConfigInvalid, format!("there is no deployer `{deployer}`"))),
        }
    }

    /// What a deployer's copy needs to know.
    pub(super) fn settings(&self, deployer: &str, git: &GitSettings) -> Settings {
        Settings {
            directory: self.0.data.join(format!("{deployer}.git")),
            address: git.address.clone(),
            branch: git.branch.clone(),
            committer: git.committer.clone(),
            signing: git.signing.clone(),
            credentials: git.credentials.clone(),
        }
    }

    /// One pass over the queue of a deployer: releases, and then what else there is to write.
    pub async fn turn(&self, deployer: &str, repository: &mut impl Land) -> Result<Turn> {
        let turn = self.release_turn(deployer, repository).await?;
        let errands = self.run_errands(deployer, repository).await?;
        Ok(Turn { looked_at: turn.looked_at + errands, ..turn })
    }

    async fn release_turn(&self, deployer: &str, repository: &mut impl Land) -> Result<Turn> {
        let now = self.now();
        let rows = fair(self.registry().store.in_turn(deployer, now, TOGETHER).await?)?;
        if rows.is_empty() {
            return Ok(Turn::default());
        }
        let looked_at = rows.len();
        let begun = self.begin(rows, now).await?;
        let (landings, begun, mut endings) = self.prepare(begun, now).await;
        let unsure = begun.iter().filter(|begun| begun.is_unsure).map(|begun| begun.order.id.clone()).collect();
        let landed = self.land(repository, &landings, unsure);
        let at = self.now();
        let (mut pushed, mut told) = (0, Vec::new());
        match landed {
            Ok(landed) => {
                for (begun, landed) in begun.into_iter().zip(landed) {
                    let Some(ending) = ended(&begun, landed, at) else { continue };
                    pushed += usize::from(ending.next.state == State::Pushed);
                    told.push((begun.order.clone(), ending.next.state));
                    endings.push((ending, target(&begun.order)));
                }
            }
            Err(failure) => {
                tracing::warn!(
                    deployer,
                    cause = failure.chain().join(": "),
                    "nothing could be written; it is tried again"
                );
                endings.extend(begun.iter().map(|begun| (again(begun, &failure, at), target(&begun.order))));
            }
        }
        self.registry().store.end(&endings, at, "manager").await?;
        for (order, state) in &told {
            match state {
                State::Pushed => self.tell(order, "pushed", at.duration_since(order.requested_at).try_into().ok()),
                State::Failed => self.tell(order, "failed", None),
                _ => {}
            }
        }
        Ok(Turn { looked_at, pushed })
    }

    /// Judges everything once more, in the transaction that says that it is being written. What somebody
    /// began already may be written: that has to be known before it is judged again.
    async fn begin(&self, rows: Vec<(ReleaseRow, Order)>, now: Timestamp) -> Result<Vec<Begun>> {
        let asked: Vec<_> = rows.iter().map(|(row, order)| (row.sequence, target(order))).collect();
        let mut orders: BTreeMap<u64, Order> = rows.into_iter().map(|(row, order)| (row.sequence, order)).collect();
        let mut said: BTreeMap<u64, (bool, HoldChange, Option<String>)> = BTreeMap::new();
        let (ground, known) = (self.ground().await, orders.clone());
        let judge = |row: &ReleaseRow, facts: &Facts| {
            let Some(order) = known.get(&row.sequence) else { return Ok(Ruling::Pass) };
            let is_unsure = row.state == State::Committing.as_str();
            // A later one may have arrived: once that is known this one is too late, or free to go.
            if !is_unsure && is_overtaken(row, facts) {
                return Ok(Ruling::Pass);
            }
            let ruled = ruling::proceed(&ground, order, row, facts)?;
            said.insert(row.sequence, (is_unsure, ruled.hold, ruled.candidate));
            Ok(if is_unsure { Ruling::Pass } else { Ruling::Go(ruled.next) })
        };
        let rows = self.registry().store.proceed(&asked, now, judge).await?;
        let mut begun = Vec::new();
        for row in rows {
            if row.state != State::Committing.as_str() {
                if let Some(order) = orders.get(&row.sequence).filter(|_| row.state == State::Failed.as_str()) {
                    self.tell(order, "refused", None);
                }
                continue;
            }
            if let (Some(order), Some((is_unsure, hold, candidate))) =
                (orders.remove(&row.sequence), said.remove(&row.sequence))
            {
                begun.push(Begun { row, order, is_unsure, hold, candidate });
            }
        }
        Ok(begun)
    }

    /// Reads what is to be written. What cannot be read will not come to anything.
    async fn prepare(&self, begun: Vec<Begun>, now: Timestamp) -> (Vec<Landing>, Vec<Begun>, Vec<(Ending, Target)>) {
        let (mut landings, mut ready, mut endings) = (Vec::new(), Vec::new(), Vec::new());
        let mut queues = Queues::default();
        for begun in begun {
            let tried_before = begun.is_unsure || begun.row.attempts > 0;
            let read = if queues.is_stopped(&begun.order) {
                Err(waits())
            } else {
                self.read(&begun.order, tried_before).await
            };
            match read {
                Ok(landing) => {
                    landings.push(landing);
                    ready.push(begun);
                }
                Err(failure) if failure.code() == Code::StoreUnavailable => {
                    queues.stop(&begun.order);
                    endings.push((again(&begun, &failure, now), target(&begun.order)));
                }
                Err(failure) => endings.push((failed(&begun, &failure, now), target(&begun.order))),
            }
        }
        (landings, ready, endings)
    }

    async fn read(&self, order: &Order, tried_before: bool) -> Result<Landing> {
        let row = self.registry().find(&order.service, &order.artifact).await?;
        let row = row.filter(|row| row.sha256 == order.artifact_sha256).ok_or_else(|| {
            Failure::new(
                Code::StoreDamaged,
                format!("the artifact `{}` is not the one that was asked for", order.artifact),
            )
        })?;
        let artifact = artifacts::read_pushed(&row.record, row.sha256)?;
        landing(self.registry(), order, &artifact, tried_before).await
    }

    /// Writes. What was judged just now is written at once; what has to be tried again is judged again.
    fn land(&self, repository: &mut impl Land, landings: &[Landing], unsure: HashSet<String>) -> Result<Vec<Landed>> {
        if landings.is_empty() {
            return Ok(Vec::new());
        }
        let (manager, handle) = (self.clone(), tokio::runtime::Handle::current());
        let (mut again, now, mut queues) = (unsure, self.now(), Queues::default());
        let mut ask = |landing: &Landing| {
            if queues.is_stopped_at(landing) {
                return Say::LeaveOut(waits());
            }
            if again.insert(landing.release_id.clone()) {
                return Say::Commit;
            }
            match handle.block_on(manager.judge_again(&landing.release_id)) {
                Ok(Again::Commit) => Say::Commit,
                Ok(Again::Over(failure) | Again::Later(failure)) => Say::LeaveOut(failure),
                Err(failure) => {
                    queues.stop_at(landing);
                    Say::LeaveOut(failure)
                }
            }
        };
        // The task that drives this one waits for it, and others go on meanwhile.
        tokio::task::block_in_place(|| {
            let landed = match repository.land(landings, now, &mut ask) {
                // Whatever the host does not take must not keep the others from it.
                Err(failure) if failure.code() == Code::PushRefused && landings.len() > 1 => {
                    Ok(one_by_one(repository, landings, now, &mut ask))
                }
                landed => landed,
            };
            if let Err(failure) = repository.tidy() {
                tracing::warn!(
                    cause = failure.chain().join(": "),
                    "a copy of a configuration repository cannot be tidied"
                );
            }
            landed
        })
    }

    /// Whether a release that is being written still may be.
    async fn judge_again(&self, id: &str) -> Result<Again> {
        let gone = || Failure::new(Code::StoreDamaged, format!("the release `{id}` is not there"));
        let row = self.registry().store.release(id).await?.ok_or_else(gone)?;
        let (order, ground) = (read_order(&row)?, self.ground().await);
        let rows = self
            .registry()
            .store
            .proceed(&[(row.sequence, target(&order))], ground.now, |row, facts| {
                let next = ruling::proceed(&ground, &order, row, facts)?.next;
                Ok(if next.state == State::Committing { Ruling::Pass } else { Ruling::Go(next) })
            })
            .await?;
        let row = rows.into_iter().next().ok_or_else(gone)?;
        let why = row.reason.unwrap_or_else(|| "the policies have changed".to_owned());
        let failure = Failure::new(Code::PolicyRefused, why);
        Ok(match State::parse(&row.state) {
            Some(State::Committing) => Again::Commit,
            Some(state) if state.is_waiting() => Again::Later(failure),
            _ => Again::Over(failure),
        })
    }
}

/// Whether something is being written that was asked for later in the same place.
fn is_overtaken(row: &ReleaseRow, facts: &Facts) -> bool {
    facts.waiting.iter().any(|other| other.sequence > row.sequence && other.state == State::Committing.as_str())
}

/// Writes what was refused together each by itself. What comes after a refused one in its place waits for it; where
/// nothing at all is taken, no more than some are tried.
fn one_by_one(
    repository: &mut impl Land,
    landings: &[Landing],
    now: Timestamp,
    ask: &mut dyn FnMut(&Landing) -> Say,
) -> Vec<Landed> {
    let (mut queues, mut refused, mut is_any_taken) = (Queues::default(), 0, false);
    let mut alone = |landing: &Landing| {
        if queues.is_stopped_at(landing) || (refused >= REFUSALS && !is_any_taken) {
            queues.stop_at(landing);
            return Landed::LeftOut(waits());
        }
        match repository.land(std::slice::from_ref(landing), now, ask) {
            Ok(mut landed) => {
                is_any_taken |= matches!(landed[..], [Landed::Pushed(_)]);
                landed.pop().unwrap_or(Landed::AlreadyUpToDate(None))
            }
            Err(failure) => {
                refused += 1;
                queues.stop_at(landing);
                Landed::LeftOut(failure)
            }
        }
    };
    landings.iter().map(&mut alone).collect()
}

/// What was asked for, as it is kept.
pub(super) fn read_order(row: &ReleaseRow) -> Result<Order> {
    serde_json::from_str(&row.order)
        .map_err(|error| Failure::new(Code::StoreDamaged, "a release that is kept cannot be read").because(error))
}

/// Where a release goes, and what with.
pub(super) fn target(order: &Order) -> Target {
    Target {
        service: order.service.to_string(),
        namespace: order.namespace.to_string(),
        environment: order.environment.to_string(),
        artifact: order.artifact.to_string(),
    }
}

/// The place of an order, as deployers have it.
fn place(order: &Order) -> Place {
    Place {
        environment: order.environment.to_string(),
        namespace: order.namespace.to_string(),
        service: order.service.to_string(),
    }
}

/// Why something is not written that could be: nothing is wrong with it.
fn waits() -> Failure {
    Failure::new(Code::StoreUnavailable, "what was asked for before it waits")
}

/// One release of each service after the other, so that none waits for all of another one's.
fn fair(rows: Vec<ReleaseRow>) -> Result<Vec<(ReleaseRow, Order)>> {
    let mut services: Vec<(String, VecDeque<(ReleaseRow, Order)>)> = Vec::new();
    for row in rows {
        let order = read_order(&row)?;
        let service = order.service.to_string();
        match services.iter_mut().find(|(name, _)| *name == service) {
            Some((_, queue)) => queue.push_back((row, order)),
            None => services.push((service, VecDeque::from([(row, order)]))),
        }
    }
    let mut fair = Vec::new();
    while services.iter().any(|(_, queue)| !queue.is_empty()) {
        fair.extend(services.iter_mut().filter_map(|(_, queue)| queue.pop_front()));
    }
    Ok(fair)
}

/// Where a release goes from here. Nothing, where it was judged otherwise just before: that is noted already.
fn ended(begun: &Begun, landed: Landed, at: Timestamp) -> Option<Ending> {
    let (commit, note) = match landed {
        Landed::Pushed(commit) | Landed::Before(commit) => (Some(commit.to_string()), None),
        Landed::AlreadyUpToDate(commit) => {
            (commit.map(|commit| commit.to_string()), Some("the repository had it already".to_owned()))
        }
        Landed::LeftOut(failure) if failure.code() == Code::PolicyRefused => return None,
        Landed::LeftOut(failure) if may_pass(failure.code()) => return Some(again(begun, &failure, at)),
        Landed::LeftOut(failure) => return Some(failed(begun, &failure, at)),
    };
    let Order { id, artifact, environment, namespace, service, intent, .. } = &begun.order;
    let is_rollback = matches!(intent, crate::model::intent::Intent::Rollback { .. });
    Some(Ending {
        sequence: begun.row.sequence,
        next: Next { state: State::Pushed, code: None, reason: note, due_at: at, decision: None, gives_way: false },
        replaces: Some(if is_rollback { State::RolledBack } else { State::Superseded }),
        holds: (begun.hold == HoldChange::Sets).then(|| NewHold {
            candidate: begun.candidate.clone(),
            reason: if is_rollback {
                format!("rolled back to {artifact}")
            } else {
                format!("{artifact} was released in place of the latest one")
            },
        }),
        lifts: begun.hold == HoldChange::Lifts,
        change: Some(Change {
            at,
            subject: begun.order.actor.subject.clone(),
            verb: "release.push",
            object: format!("{environment}/{namespace}/{service}"),
            sha256: Some(begun.order.artifact_sha256),
            note: Some(format!(
                "{id} {artifact} {}{}",
                commit.as_deref().unwrap_or("without a commit"),
                overridden(&begun.row).map(|over| format!(", {over}")).unwrap_or_default()
            )),
        }),
        commit,
    })
}

/// Which freezes it was written in, and why.
fn overridden(row: &ReleaseRow) -> Option<String> {
    ruling::over(&serde_json::from_str(&row.decision).ok()?)
}

/// Whether it is worth another try.
fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::StoreUnavailable
            | Code::PushRefused
            | Code::PushRejected
            | Code::RemoteUnavailable
            | Code::RemoteForbidden
            | Code::CommandTimeout
            | Code::CommandFailed
            | Code::GitUnusable
            | Code::Io
    )
}

/// A failure in one line, with what it came from: that is often what a host has said.
fn told(failure: &Failure) -> String {
    let lines: Vec<_> = failure.chain().iter().map(|cause| cause.replace('\n', "; ")).collect();
    lines.join(": ").chars().take(MAX_REASON).collect()
}

/// It cannot be written, whatever is tried.
fn failed(begun: &Begun, failure: &Failure, at: Timestamp) -> Ending {
    let Order { id, environment, namespace, service, .. } = &begun.order;
    let reason = told(failure);
    Ending {
        sequence: begun.row.sequence,
        next: Next {
            state: State::Failed,
            code: Some(failure.code().as_str()),
            reason: Some(reason.clone()),
            due_at: at,
            decision: None,
            gives_way: false,
        },
        commit: None,
        replaces: None,
        holds: None,
        lifts: false,
        change: Some(Change {
            at,
            subject: "manager".to_owned(),
            verb: "release.fail",
            object: format!("{environment}/{namespace}/{service}"),
            sha256: None,
            note: Some(format!("{id} {reason}")),
        }),
    }
}

/// It was not written this time: the repository is out of reach, or does not take it. That may change.
fn again(begun: &Begun, failure: &Failure, at: Timestamp) -> Ending {
    if begun.row.attempts >= TRIES {
        return failed(begun, failure, at);
    }
    let doubled = 1_i32.checked_shl(begun.row.attempts.min(16)).unwrap_or(i32::MAX);
    let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    let due_at = at.saturating_add(pause).unwrap_or(Timestamp::MAX);
    let reason = Some(format!("{}; it is tried again", told(failure)));
    // What may have arrived is not judged before that is known.
    let is_known = matches!(
        failure.code(),
        Code::PushRefused | Code::PushRejected | Code::RemoteForbidden | Code::StoreUnavailable
    );
    let state = if is_known && !begun.is_unsure { State::Queued } else { State::Committing };
    let next = Next { state, code: Some(failure.code().as_str()), reason, due_at, decision: None, gives_way: false };
    Ending { sequence: begun.row.sequence, next, commit: None, replaces: None, holds: None, lifts: false, change: None }
}
