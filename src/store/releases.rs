//! The rows of releases: ordered, begun in their turn, ended.
//!
//! Whoever writes one is asked for a [`Ruling`] in the transaction that writes it, over the [`Facts`]
//! that this transaction sees. Policies, holds and approvals change under the same lock, so nothing
//! can change between the ruling and what follows from it.

use jiff::Timestamp;

use super::audit::{append, lock_log};
use super::errands::{NewErrand, keep_errand};
use super::facts::{Facts, facts};
use super::{Change, Store, broken, instant, microseconds, reading, signed, unsigned, writing};
use crate::model::delivery::State;
use crate::model::failure::Result;
use crate::model::{Code, Digest};

/// A release as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRow {
    /// Its place in the order of all changes.
    pub sequence: u64,
    /// What was asked for, as JSON.
    pub order: String,
    /// How far it has come.
    pub state: String,
    /// Why it failed, as a stable word.
    pub code: Option<String>,
    /// Why it waits or failed, in words.
    pub reason: Option<String>,
    /// The commit that it is written with.
    pub commit: Option<String>,
    /// What the policies said last, as JSON.
    pub decision: String,
    /// Not before this instant.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was written.
    pub pushed_at: Option<Timestamp>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// Whether it waits because policies say so.
    pub gives_way: bool,
}

pub(super) type Columns = (
    i64,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    i64,
);

/// What of a row [`ReleaseRow::of`] reads.
pub(super) const COLUMNS: &str = "SELECT sequence, document, state, code, reason, commit_id, decision, due_at, attempts, pushed_at, ended_at, \
     gives_way FROM release";

impl ReleaseRow {
    pub(super) fn of(columns: Columns) -> Result<Self> {
        let (sequence, order, state, code, reason, commit, decision, due, attempts, pushed, ended, gives_way) = columns;
        Ok(Self {
            sequence: unsigned(sequence)?,
            order,
            state,
            code,
            reason,
            commit,
            decision,
            due_at: instant(due)?,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            pushed_at: pushed.map(instant).transpose()?,
            ended_at: ended.map(instant).transpose()?,
            gives_way: gives_way != 0,
        })
    }
}

/// One place that a release goes to, and what with.
#[derive(Clone, Debug)]
pub struct Target {
    /// The service.
    pub service: String,
    /// The namespace.
    pub namespace: String,
    /// The environment.
    pub environment: String,
    /// The artifact's id.
    pub artifact: String,
}

/// What is to be done with an order, or with a release whose turn it is.
#[derive(Clone, Debug)]
pub enum Ruling {
    /// Nothing is written.
    Pass,
    /// An order is kept as a release.
    Keep(Box<NewRelease>),
    /// A release goes on in this state.
    Go(Next),
}

/// A release that is to be kept.
#[derive(Clone, Debug)]
pub struct NewRelease {
    /// What it is called.
    pub id: String,
    /// How its environment is changed.
    pub deployer: String,
    /// What was asked for, as JSON.
    pub order: String,
    /// The digest of the artifact's record.
    pub artifact_sha256: Digest,
    /// What else is said of it in the audit log.
    pub note: Option<String>,
    /// Whether it waits for its turn or for more.
    pub next: Next,
}

/// Where a release goes from where it is.
#[derive(Clone, Debug)]
pub struct Next {
    /// The state.
    pub state: State,
    /// Why it failed, as a stable word.
    pub code: Option<&'static str>,
    /// Why it waits or failed.
    pub reason: Option<String>,
    /// Not before this instant.
    pub due_at: Timestamp,
    /// What the policies said, as JSON; as before, where they were not asked.
    pub decision: Option<String>,
    /// Whether it waits because they said so: then nothing waits for it.
    pub gives_way: bool,
}

/// What became of orders.
#[derive(Clone, Debug)]
pub enum Ordered {
    /// They were judged, and what was to be kept is kept. This is the answer.
    Now(String),
    /// They had been made before under this name. That was the answer.
    Before(String),
    /// The name of the request was used for another one.
    OtherRequest,
}

/// A request under its caller's own name: who, the name, the digest of what is asked for.
#[derive(Clone, Debug)]
pub struct Named {
    /// The caller.
    pub subject: String,
    /// The name.
    pub name: String,
    /// What is asked for.
    pub request: Digest,
}

/// Who rules over orders. It is asked within the transaction, and so it must not wait for anything.
pub trait Judge: Send {
    /// The ruling on the order of this number.
    fn rule(&mut self, number: usize, facts: &Facts) -> Result<Ruling>;
    /// The answer, once every order was ruled on.
    fn answer(&self) -> String;
}

/// How writing a release into its environment ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Which.
    pub sequence: u64,
    /// Where it goes from here.
    pub next: Next,
    /// The commit, where there is one.
    pub commit: Option<String>,
    /// What becomes of the release that was live in its place.
    pub replaces: Option<State>,
    /// The hold that it sets.
    pub holds: Option<NewHold>,
    /// Whether it lifts the hold that there is.
    pub lifts: bool,
    /// The line in the audit log.
    pub change: Option<Change>,
}

/// A hold that is to be set.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// The artifact that is held off.
    pub candidate: Option<String>,
    /// Why.
    pub reason: String,
}

/// Writes that a release has come to a state.
macro_rules! step {
    ($transaction:ident, $sequence:expr, $state:expr, $at:expr, $note:expr) => {
        sqlx::query(
            "INSERT INTO release_step (release, number, state, at, note) \
             SELECT $1, COUNT(*), $2, $3, $4 FROM release_step WHERE release = $5",
        )
        .bind($sequence)
        .bind($state)
        .bind($at)
        .bind($note)
        .bind($sequence)
        .execute(&mut *$transaction)
        .await
        .map_err($crate::store::broken)?
    };
}

pub(super) use step;

/// Brings a release to its next state.
macro_rules! go {
    ($transaction:ident, $sequence:expr, $next:expr, $at:expr, $commit:expr) => {{
        let (next, at): (&Next, Timestamp) = ($next, $at);
        let state = next.state.as_str();
        let ended = matches!(next.state, State::Healthy | State::Failed | State::Superseded | State::RolledBack);
        sqlx::query(
            "UPDATE release SET state = $1, code = $2, reason = $3, due_at = $4, decision = COALESCE($5, decision), \
             commit_id = COALESCE($6, commit_id), attempts = attempts + $7, \
             pushed_at = CASE WHEN $8 = 1 THEN $9 ELSE pushed_at END, \
             ended_at = CASE WHEN $10 = 1 THEN $11 ELSE ended_at END, gives_way = $12 WHERE sequence = $13",
        )
        .bind(state)
        .bind(next.code)
        .bind(next.reason.as_deref())
        .bind(microseconds(next.due_at))
        .bind(next.decision.as_deref())
        .bind($commit)
        .bind(i64::from(next.state == State::Committing))
        .bind(i64::from(next.state == State::Pushed))
        .bind(microseconds(at))
        .bind(i64::from(ended))
        .bind(microseconds(at))
        .bind(i64::from(next.gives_way))
        .bind($sequence)
        .execute(&mut *$transaction)
        .await
        .map_err(broken)?;
        step!($transaction, $sequence, state, microseconds(at), next.reason.as_deref());
    }};
}

/// Notes that a release stays where it is, and until when.
macro_rules! stay {
    ($transaction:ident, $sequence:expr, $next:expr) => {{
        let next: &Next = $next;
        sqlx::query(
            "UPDATE release SET decision = COALESCE($1, decision), reason = $2, due_at = $3, gives_way = $4 \
             WHERE sequence = $5",
        )
        .bind(next.decision.as_deref())
        .bind(next.reason.as_deref())
        .bind(microseconds(next.due_at))
        .bind(i64::from(next.gives_way))
        .bind($sequence)
        .execute(&mut *$transaction)
        .await
        .map_err(broken)?;
    }};
}

/// Ends what was asked for before in the place of a release that is live now, and has not gone yet.
macro_rules! overtake {
    ($transaction:ident, $frontier:ident, $sequence:expr, $target:expr, $at:expr) => {{
        let (target, at): (&Target, Timestamp) = ($target, $at);
        let late: Vec<(i64, String)> = sqlx::query_as(
            "SELECT sequence, id FROM release WHERE service = $1 AND state IN ('requested', 'queued') \
             AND namespace = $2 AND environment = $3 AND sequence < $4 ORDER BY sequence",
        )
        .bind(&target.service)
        .bind(&target.namespace)
        .bind(&target.environment)
        .bind($sequence)
        .fetch_all(&mut *$transaction)
        .await
        .map_err(broken)?;
        let reason = format!("`{}`, which was asked for later, is live", target.artifact);
        let next = Next {
            state: State::Superseded,
            code: Some(Code::ReleaseFailed.as_str()),
            reason: Some(reason.clone()),
            due_at: at,
            decision: None,
            gives_way: false,
        };
        for (late, id) in late {
            let change = Change {
                at,
                subject: "manager".to_owned(),
                verb: "release.supersede",
                object: format!("{}/{}/{}", target.environment, target.namespace, target.service),
                sha256: None,
                note: Some(format!("{id} {reason}")),
            };
            append!($transaction, $frontier, change);
            go!($transaction, late, &next, at, None::<&str>);
        }
    }};
}

impl Store {
    /// Has orders judged, and keeps those that are to be kept: all of them or none.
    pub async fn order(
        &self,
        targets: &[Target],
        named: Option<&Named>,
        at: Timestamp,
        subject: &str,
        judge: &mut dyn Judge,
    ) -> Result<Ordered> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            if let Some(Named { subject, name, request }) = named {
                let there: Option<(String, String)> =
                    sqlx::query_as("SELECT request, answer FROM release_request WHERE subject = $1 AND name = $2")
                        .bind(subject)
                        .bind(name)
                        .fetch_optional(&mut *transaction)
                        .await
                        .map_err(broken)?;
                match there {
                    Some((known, answer)) if known == request.to_string() => return Ok(Ordered::Before(answer)),
                    Some(_) => return Ok(Ordered::OtherRequest),
                    None => {}
                }
            }
            for (number, target) in targets.iter().enumerate() {
                let facts = facts!(transaction, target.service, target.namespace, target.environment, target.artifact);
                let Ruling::Keep(new) = judge.rule(number, &facts)? else { continue };
                let change = Change {
                    at,
                    subject: subject.to_owned(),
                    verb: "release.request",
                    object: format!("{}/{}/{}", target.environment, target.namespace, target.service),
                    sha256: Some(new.artifact_sha256),
                    note: Some(match &new.note {
                        Some(note) => format!("{} {}, {note}", new.id, target.artifact),
                        None => format!("{} {}", new.id, target.artifact),
                    }),
                };
                let sequence = append!(transaction, frontier, change);
                sqlx::query(
                    "INSERT INTO release (sequence, id, service, namespace, environment, deployer, artifact, document, \
                     decision, state, due_at, attempts, gives_way) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '{}', $9, $10, 0, 0)",
                )
                .bind(sequence)
                .bind(&new.id)
                .bind(&target.service)
                .bind(&target.namespace)
                .bind(&target.environment)
                .bind(&new.deployer)
                .bind(&target.artifact)
                .bind(&new.order)
                .bind(State::Requested.as_str())
                .bind(microseconds(at))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
                step!(transaction, sequence, State::Requested.as_str(), microseconds(at), None::<&str>);
                if new.next.state == State::Requested {
                    stay!(transaction, sequence, &new.next);
                } else {
                    go!(transaction, sequence, &new.next, at, None::<&str>);
                }
            }
            let answer = judge.answer();
            if let Some(Named { subject, name, request }) = named {
                sqlx::query("INSERT INTO release_request (subject, name, request, answer, created_at) VALUES ($1, $2, $3, $4, $5)")
                    .bind(subject)
                    .bind(name)
                    .bind(request.to_string())
                    .bind(&answer)
                    .bind(microseconds(at))
                    .execute(&mut *transaction)
                    .await
                    .map_err(broken)?;
            }
            Ordered::Now(answer)
        }))
    }

    /// The releases of a deployer whose turn has come, the ones that were begun already first, and each
    /// place in its order: none goes while an older one is tried again, or while it is not known whether a later one
    /// has arrived. An older one that policies do not let go keeps nobody.
    pub async fn in_turn(&self, deployer: &str, now: Timestamp, most: u32) -> Result<Vec<ReleaseRow>> {
        let rows: Vec<Columns> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "{COLUMNS} WHERE deployer = $1 AND state IN ('queued', 'committing') AND due_at <= $2 \
                 AND NOT EXISTS (SELECT 1 FROM release e WHERE e.deployer = $3 AND e.state IN ('queued', 'committing') \
                   AND e.due_at > $4 AND e.gives_way = 0 AND e.service = release.service \
                   AND e.namespace = release.namespace AND e.environment = release.environment \
                   AND e.sequence < release.sequence) \
                 AND (state = 'committing' OR NOT EXISTS (SELECT 1 FROM release l WHERE l.state = 'committing' \
                   AND l.service = release.service AND l.namespace = release.namespace \
                   AND l.environment = release.environment AND l.sequence > release.sequence)) \
                 AND NOT EXISTS (SELECT 1 FROM errand e WHERE e.done_at IS NULL AND e.kind <> 'rollback' \
                   AND e.service = release.service AND e.namespace = release.namespace \
                   AND e.environment = release.environment AND e.sequence < release.sequence \
                   AND NOT EXISTS (SELECT 1 FROM release w WHERE w.state = 'queued' AND w.gives_way = 1 \
                     AND w.service = e.service AND w.namespace = e.namespace AND w.environment = e.environment \
                     AND w.sequence < e.sequence)) \
                 ORDER BY CASE state WHEN 'committing' THEN 0 ELSE 1 END, sequence LIMIT $5"
            )))
            .bind(deployer)
            .bind(microseconds(now))
            .bind(deployer)
            .bind(microseconds(now))
            .bind(i64::from(most))
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter().map(ReleaseRow::of).collect()
    }

    /// Asks once more about releases that wait or are being written, and brings each to its next state.
    /// Gives the rows as they are then.
    pub async fn proceed(
        &self,
        releases: &[(u64, Target)],
        at: Timestamp,
        mut judge: impl FnMut(&ReleaseRow, &Facts) -> Result<Ruling> + Send,
    ) -> Result<Vec<ReleaseRow>> {
        let mut now = Vec::with_capacity(releases.len());
        writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            for (sequence, target) in releases {
                let sequence = signed(*sequence);
                let found: Option<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE sequence = $1")))
                    .bind(sequence)
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(broken)?;
                let Some(row) = found.map(ReleaseRow::of).transpose()? else { continue };
                if !State::parse(&row.state).is_some_and(State::is_waiting) {
                    now.push(row);
                    continue;
                }
                let facts = facts!(transaction, target.service, target.namespace, target.environment, target.artifact);
                let Ruling::Go(next) = judge(&row, &facts)? else {
                    now.push(row);
                    continue;
                };
                if next.state == State::Failed {
                    let change = Change {
                        at,
                        subject: "manager".to_owned(),
                        verb: "release.refused",
                        object: format!("{}/{}/{}", target.environment, target.namespace, target.service),
                        sha256: None,
                        note: next.reason.clone(),
                    };
                    append!(transaction, frontier, change);
                }
                if row.state != next.state.as_str() || row.reason != next.reason {
                    go!(transaction, sequence, &next, at, None::<&str>);
                } else {
                    stay!(transaction, sequence, &next);
                }
                now.push(ReleaseRow {
                    state: next.state.as_str().to_owned(),
                    code: next.code.map(str::to_owned),
                    reason: next.reason,
                    decision: next.decision.unwrap_or(row.decision),
                    due_at: next.due_at,
                    gives_way: next.gives_way,
                    ..row
                });
            }
        });
        Ok(now)
    }

    /// Notes how writing ended, for all of them or none. What had come to its end meanwhile stays so.
    pub async fn end(&self, endings: &[(Ending, Target)], at: Timestamp, subject: &str) -> Result<()> {
        writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            for (ending, target) in endings {
                let sequence = signed(ending.sequence);
                let found: Option<(String,)> = sqlx::query_as("SELECT state FROM release WHERE sequence = $1")
                    .bind(sequence)
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(broken)?;
                if !found.and_then(|(state,)| State::parse(&state)).is_some_and(State::is_waiting) {
                    continue;
                }
                if let Some(state) = ending.replaces {
                    let older: Vec<(i64,)> = sqlx::query_as(
                        "SELECT sequence FROM release WHERE service = $1 AND state IN ('pushed', 'applying', 'healthy') \
                         AND namespace = $2 AND environment = $3 AND sequence <> $4 ORDER BY sequence",
                    )
                    .bind(&target.service)
                    .bind(&target.namespace)
                    .bind(&target.environment)
                    .bind(sequence)
                    .fetch_all(&mut *transaction)
                    .await
                    .map_err(broken)?;
                    let next = Next { state, code: None, reason: None, due_at: at, decision: None, gives_way: false };
                    for (older,) in older {
                        go!(transaction, older, &next, at, None::<&str>);
                    }
                    overtake!(transaction, frontier, sequence, target, at);
                }
                go!(transaction, sequence, &ending.next, at, ending.commit.as_deref());
                if ending.lifts {
                    sqlx::query("DELETE FROM hold WHERE service = $1 AND namespace = $2 AND environment = $3")
                        .bind(&target.service)
                        .bind(&target.namespace)
                        .bind(&target.environment)
                        .execute(&mut *transaction)
                        .await
                        .map_err(broken)?;
                }
                if let Some(NewHold { candidate, reason }) = &ending.holds {
                    sqlx::query(
                        "INSERT INTO hold (service, namespace, environment, candidate, reason, set_at, set_by) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (service, namespace, environment) \
                         DO UPDATE SET candidate = excluded.candidate, reason = excluded.reason",
                    )
                    .bind(&target.service)
                    .bind(&target.namespace)
                    .bind(&target.environment)
                    .bind(candidate.as_deref())
                    .bind(reason)
                    .bind(microseconds(at))
                    .bind(subject)
                    .execute(&mut *transaction)
                    .await
                    .map_err(broken)?;
                }
                if let Some(change) = &ending.change {
                    append!(transaction, frontier, change);
                }
            }
        });
        Ok(())
    }

    /// Notes what was reported of a release, while it is what its place has; says whether anything is new. What
    /// follows from it is kept with it.
    pub async fn observed(
        &self,
        sequence: u64,
        next: &Next,
        change: &Change,
        follows: Option<(String, NewErrand)>,
    ) -> Result<bool> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let sequence = signed(sequence);
            let found: Option<(String,)> = sqlx::query_as("SELECT state FROM release WHERE sequence = $1")
                .bind(sequence)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(broken)?;
            let state = found.and_then(|(state,)| State::parse(&state));
            let is_new = state.is_some_and(State::is_live) && state != Some(next.state);
            if is_new {
                let number = append!(transaction, frontier, change);
                go!(transaction, sequence, next, change.at, None::<&str>);
                if let Some((cause, errand)) = &follows {
                    keep_errand!(transaction, number, cause, errand, change.at);
                }
            }
            is_new
        }))
    }
}
