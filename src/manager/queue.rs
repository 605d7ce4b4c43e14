//! The queue of a deployer: what waits its turn is judged again, written, and noted.
//!
//! Of all replicas one works on a deployer, while it keeps the lease. Everything that is waiting goes into
//! as few pushes as possible. A release that was begun and of which nothing more is known is begun again:
//! the environment itself knows whether it was written.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::deployer::git::{ConfigRepository, Decision as Say, Landed, Landing, Settings};
use super::landing::landing;
use super::plan::Deployer;
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
const LEASE: SignedDuration = SignedDuration::from_secs(15);
/// How often it is kept.
const KEEP_EVERY: Duration = Duration::from_secs(4);
/// The pause after the first try that came to nothing; it doubles, up to the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// How often something is tried before it is given up: the better part of an hour.
const TRIES: u32 = 50;

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
            Some(Deployer::Git(git)) => ConfigRepository::open(Settings {
                directory: self.0.data.join(format!("{deployer}.git")),
                address: git.address.clone(),
                branch: git.branch.clone(),
                committer: git.committer.clone(),
                signing: git.signing.clone(),
                credentials: git.credentials.clone(),
            }),
            None => Err(Failure::new(Code::ConfigInvalid, format!("there is no deployer `{deployer}`"))),
        }
    }

    /// One pass over the queue of a deployer.
    pub async fn turn(&self, deployer: &str, repository: &mut ConfigRepository) -> Result<Turn> {
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
        let mut pushed = 0;
        match landed {
            Ok(landed) => {
                for (begun, landed) in begun.into_iter().zip(landed) {
                    let Some(ending) = ended(&begun, landed, at) else { continue };
                    pushed += usize::from(ending.next.state == State::Pushed);
                    endings.push((ending, target(&begun.order)));
                }
            }
            Err(failure) => {
                endings.extend(begun.iter().map(|begun| (again(begun, &failure, at), target(&begun.order))))
            }
        }
        self.registry().store.end(&endings, at, "manager").await?;
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
            let ruled = ruling::proceed(&ground, order, row, facts)?;
            let is_unsure = row.state == State::Committing.as_str();
            said.insert(row.sequence, (is_unsure, ruled.hold, ruled.candidate));
            Ok(if is_unsure { Ruling::Pass } else { Ruling::Go(ruled.next) })
        };
        let rows = self.registry().store.proceed(&asked, now, judge).await?;
        let mut begun = Vec::new();
        for row in rows {
            if row.state != State::Committing.as_str() {
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
        for begun in begun {
            let tried_before = begun.is_unsure || begun.row.attempts > 0;
            match self.read(&begun.order, tried_before).await {
                Ok(landing) => {
                    landings.push(landing);
                    ready.push(begun);
                }
                Err(failure) if failure.code() == Code::StoreUnavailable => {
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
                format!("the artifact `{}` is not the one that was wished for", order.artifact),
            )
        })?;
        let artifact = artifacts::read(&row)?;
        landing(self.registry(), order, &artifact, tried_before).await
    }

    /// Writes. What was judged just now is written at once; what has to be tried again is judged again.
    fn land(
        &self,
        repository: &mut ConfigRepository,
        landings: &[Landing],
        unsure: HashSet<String>,
    ) -> Result<Vec<Landed>> {
        if landings.is_empty() {
            return Ok(Vec::new());
        }
        let (manager, handle) = (self.clone(), tokio::runtime::Handle::current());
        let (mut again, now) = (unsure, self.now());
        let mut ask = |landing: &Landing| {
            if again.insert(landing.release_id.clone()) {
                return Say::Commit;
            }
            match handle.block_on(manager.judge_again(&landing.release_id)) {
                Ok(()) => Say::Commit,
                Err(failure) => Say::LeaveOut(failure),
            }
        };
        // The task that drives this one waits for it, and others go on meanwhile.
        tokio::task::block_in_place(|| match repository.land(landings, now, &mut ask) {
            // Whatever the host does not take must not keep the others from it.
            Err(failure) if failure.code() == Code::PushRefused && landings.len() > 1 => {
                let alone = |landing| match repository.land(std::slice::from_ref(landing), now, &mut ask) {
                    Ok(mut landed) => landed.pop().unwrap_or(Landed::AlreadyUpToDate(None)),
                    Err(failure) => Landed::LeftOut(failure),
                };
                Ok(landings.iter().map(alone).collect())
            }
            landed => {
                repository.tidy()?;
                landed
            }
        })
    }

    /// Whether a release that is being written still may be.
    async fn judge_again(&self, id: &str) -> Result<()> {
        let gone = || Failure::new(Code::StoreDamaged, format!("the release `{id}` is not there"));
        let row = self.registry().store.release(id).await?.ok_or_else(gone)?;
        let (order, ground) = (read_order(&row)?, self.ground().await);
        let rows = self
            .registry()
            .store
            .proceed(&[(row.sequence, target(&order))], ground.now, |row, facts| {
                Ok(Ruling::Go(ruling::proceed(&ground, &order, row, facts)?.next))
            })
            .await?;
        let row = rows.into_iter().next().ok_or_else(gone)?;
        if row.state == State::Committing.as_str() {
            return Ok(());
        }
        Err(Failure::new(Code::PolicyRefused, row.reason.unwrap_or_else(|| "the policies have changed".to_owned())))
    }
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
        next: Next { state: State::Pushed, code: None, reason: note, due_at: at, decision: None },
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
            note: Some(format!("{id} {artifact} {}", commit.as_deref().unwrap_or("without a commit"))),
        }),
        commit,
    })
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
    )
}

/// It cannot be written, whatever is tried.
fn failed(begun: &Begun, failure: &Failure, at: Timestamp) -> Ending {
    let Order { id, environment, namespace, service, .. } = &begun.order;
    let reason = failure.to_string();
    Ending {
        sequence: begun.row.sequence,
        next: Next {
            state: State::Failed,
            code: Some(failure.code().as_str()),
            reason: Some(reason.clone()),
            due_at: at,
            decision: None,
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
    let reason = Some(format!("{failure}; it is tried again"));
    let next = Next { state: State::Queued, code: None, reason, due_at, decision: None };
    Ending { sequence: begun.row.sequence, next, commit: None, replaces: None, holds: None, lifts: false, change: None }
}
