//! What policies are asked about: a service's policies, its holds, approvals, and what is where.
//!
//! [`Facts`] are read as one transaction sees them. Whoever writes one of them takes the lock of the
//! audit log first, as everybody does who rules over releases.

use jiff::Timestamp;

use super::audit::{append, lock_log};
use super::errands::{NewErrand, keep_errand};
use super::releases::{ReleaseRow, Target};
use super::{Change, Store, broken, digest, instant, microseconds, reading, writing};
use crate::model::Digest;
use crate::model::failure::Result;

/// Everything that a ruling is made from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The artifact.
    pub artifact: Option<ArtifactFact>,
    /// Whether nothing like it, from its branch and by its kind of event, was pushed after it.
    pub is_latest: bool,
    /// What became of it where it was released.
    pub tried: Vec<Tried>,
    /// The service's own policies, as JSON.
    pub policies: Option<String>,
    /// The hold on the place.
    pub hold: Option<HoldRow>,
    /// What was said about the artifact's digest in the environment, in its order.
    pub approvals: Vec<ApprovalRow>,
    /// What the service has, in every place, and the place of each.
    pub live: Vec<(Target, ReleaseRow)>,
    /// What is on its way to the place, in its order.
    pub waiting: Vec<ReleaseRow>,
}

/// An artifact, as far as rulings look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFact {
    /// Its record.
    pub record: String,
    /// The digest of that.
    pub sha256: Digest,
    /// What came of verifying its bundle.
    pub verdict: String,
    /// By what that was verified.
    pub policy: Digest,
}

/// What became of an artifact in a place that it reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The namespace.
    pub namespace: String,
    /// The environment.
    pub environment: String,
    /// Whether one of its releases there neither failed nor was rolled back.
    pub has_stayed: bool,
    /// Whether such a one was reported to run as it should.
    pub was_healthy: bool,
}

/// A hold, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRow {
    /// The namespace.
    pub namespace: String,
    /// The environment.
    pub environment: String,
    /// The artifact that is held off.
    pub candidate: Option<String>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub set_at: Timestamp,
    /// By whom.
    pub set_by: String,
}

/// What somebody said about a digest in an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Who, as JSON.
    pub voter: String,
    /// Whether it is a yes.
    pub is_approval: bool,
    /// What else they said.
    pub comment: Option<String>,
    /// When.
    pub given_at: Timestamp,
    /// About which digest.
    pub artifact_sha256: Digest,
}

/// What somebody says about a digest in an environment.
#[derive(Clone, Debug)]
pub struct NewApproval {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The digest of the artifact's record.
    pub artifact_sha256: Digest,
    /// Who they are, as JSON.
    pub voter: String,
    /// Whether it is a yes.
    pub is_approval: bool,
    /// What else they say.
    pub comment: Option<String>,
}

/// What becomes of a service's policies.
#[derive(Clone, Debug)]
pub struct Amended {
    /// The policies that there should be, as JSON.
    pub document: String,
    /// The line in the audit log.
    pub change: Change,
    /// What has to be written elsewhere.
    pub errands: Vec<NewErrand>,
    /// The environments whose holds have lost their object, each with a line in the audit log.
    pub lifts: Vec<(String, Change)>,
}

/// What became of writing a service's policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoliciesWritten {
    /// They are as they were.
    Unchanged,
    /// They are new.
    Changed,
}

pub(super) type HoldColumns = (String, String, Option<String>, String, i64, String);
pub(super) type ApprovalColumns = (String, i64, Option<String>, i64, String);

impl Tried {
    pub(super) fn of((namespace, environment, has_stayed, was_healthy): (String, String, i64, i64)) -> Self {
        Self { namespace, environment, has_stayed: has_stayed != 0, was_healthy: was_healthy != 0 }
    }
}

impl HoldRow {
    pub(super) fn of((namespace, environment, candidate, reason, at, set_by): HoldColumns) -> Result<Self> {
        Ok(Self { namespace, environment, candidate, reason, set_at: instant(at)?, set_by })
    }
}

impl ApprovalRow {
    pub(super) fn of((voter, is_approval, comment, at, sha256): ApprovalColumns) -> Result<Self> {
        Ok(Self {
            voter,
            is_approval: is_approval != 0,
            comment,
            given_at: instant(at)?,
            artifact_sha256: digest(&sha256)?,
        })
    }
}

pub(super) const HOLDS: &str =
    "SELECT namespace, environment, candidate, reason, set_at, set_by FROM hold WHERE service = $1";
pub(super) const APPROVALS: &str = "SELECT voter, is_approval, comment, given_at, artifact_sha256 FROM approval \
     WHERE service = $1 AND environment = $2";
pub(super) type PlacedColumns = (
    String,
    String,
    String,
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
/// The columns of a row behind those of its place.
pub(super) const PLACED: &str = "SELECT namespace, environment, artifact, sequence, document, state, code, reason, \
     commit_id, decision, due_at, attempts, pushed_at, ended_at, gives_way FROM release";
/// What became of an artifact in every place that it reached.
pub(super) const TRIED: &str = "SELECT namespace, environment, \
     MAX(CASE WHEN state IN ('failed', 'rolled-back') THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END), \
     MAX(CASE WHEN state NOT IN ('failed', 'rolled-back') AND EXISTS (SELECT 1 FROM release_step s \
       WHERE s.release = release.sequence AND s.state = 'healthy') THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END) \
     FROM release WHERE service = $1 AND artifact = $2 AND pushed_at IS NOT NULL GROUP BY namespace, environment";

pub(super) fn placed(service: &str, columns: PlacedColumns) -> Result<(Target, ReleaseRow)> {
    let (
        namespace,
        environment,
        artifact,
        sequence,
        order,
        state,
        code,
        reason,
        commit,
        decision,
        due,
        attempts,
        pushed,
        ended,
        gives_way,
    ) = columns;
    let target = Target { service: service.to_owned(), namespace, environment, artifact };
    let row = ReleaseRow::of((
        sequence, order, state, code, reason, commit, decision, due, attempts, pushed, ended, gives_way,
    ))?;
    Ok((target, row))
}

/// Reads the facts about one place and one artifact, on a connection or in a transaction.
macro_rules! facts {
    ($connection:ident, $service:expr, $namespace:expr, $environment:expr, $artifact:expr) => {{
        let artifact: Option<(String, String, String, String, i64)> = sqlx::query_as(
            "SELECT a.record, a.sha256, a.verdict, a.policy, CASE WHEN EXISTS (SELECT 1 FROM artifact n \
               WHERE n.service = a.service AND n.branch = a.branch AND n.event = a.event AND n.sequence > a.sequence) \
             OR (a.branch IS NULL AND EXISTS (SELECT 1 FROM artifact n WHERE n.service = a.service \
               AND n.branch IS NULL AND n.event = a.event AND n.sequence > a.sequence)) \
             THEN CAST(0 AS BIGINT) ELSE CAST(1 AS BIGINT) END \
             FROM artifact a WHERE a.service = $1 AND a.id = $2",
        )
        .bind(&$service)
        .bind(&$artifact)
        .fetch_optional(&mut *$connection)
        .await
        .map_err($crate::store::broken)?;
        let is_latest = artifact.as_ref().is_some_and(|(.., is_latest)| *is_latest == 1);
        let artifact = match artifact {
            Some((record, sha256, verdict, policy, _)) => Some($crate::store::facts::ArtifactFact {
                record,
                sha256: $crate::store::digest(&sha256)?,
                verdict,
                policy: $crate::store::digest(&policy)?,
            }),
            None => None,
        };
        let tried: Vec<(String, String, i64, i64)> = sqlx::query_as($crate::store::facts::TRIED)
            .bind(&$service)
            .bind(&$artifact)
            .fetch_all(&mut *$connection)
            .await
            .map_err($crate::store::broken)?;
        let policies: Option<(String,)> = sqlx::query_as("SELECT document FROM policy_set WHERE service = $1")
            .bind(&$service)
            .fetch_optional(&mut *$connection)
            .await
            .map_err($crate::store::broken)?;
        let hold: Option<$crate::store::facts::HoldColumns> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{} AND namespace = $2 AND environment = $3",
            $crate::store::facts::HOLDS
        )))
        .bind(&$service)
        .bind(&$namespace)
        .bind(&$environment)
        .fetch_optional(&mut *$connection)
        .await
        .map_err($crate::store::broken)?;
        let approvals: Vec<$crate::store::facts::ApprovalColumns> = match &artifact {
            Some(artifact) => sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "{} AND artifact_sha256 = $3 ORDER BY sequence",
                $crate::store::facts::APPROVALS
            )))
            .bind(&$service)
            .bind(&$environment)
            .bind(artifact.sha256.to_string())
            .fetch_all(&mut *$connection)
            .await
            .map_err($crate::store::broken)?,
            None => Vec::new(),
        };
        let live: Vec<$crate::store::facts::PlacedColumns> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{} WHERE service = $1 AND state IN ('pushed', 'applying', 'healthy') ORDER BY sequence",
            $crate::store::facts::PLACED
        )))
        .bind(&$service)
        .fetch_all(&mut *$connection)
        .await
        .map_err($crate::store::broken)?;
        let waiting: Vec<$crate::store::releases::Columns> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{} WHERE service = $1 AND state IN ('requested', 'queued', 'committing') AND namespace = $2 \
             AND environment = $3 ORDER BY sequence",
            $crate::store::releases::COLUMNS
        )))
        .bind(&$service)
        .bind(&$namespace)
        .bind(&$environment)
        .fetch_all(&mut *$connection)
        .await
        .map_err($crate::store::broken)?;
        $crate::store::facts::Facts {
            artifact,
            is_latest,
            tried: tried.into_iter().map($crate::store::facts::Tried::of).collect(),
            policies: policies.map(|(document,)| document),
            hold: hold.map($crate::store::facts::HoldRow::of).transpose()?,
            approvals: approvals.into_iter().map($crate::store::facts::ApprovalRow::of).collect::<Result<_>>()?,
            live: live.into_iter().map(|row| $crate::store::facts::placed(&$service, row)).collect::<Result<_>>()?,
            waiting: waiting.into_iter().map($crate::store::releases::ReleaseRow::of).collect::<Result<_>>()?,
        }
    }};
}
pub(super) use facts;

impl Store {
    /// The facts about one place and one artifact, for whoever only wants to know.
    pub async fn facts(&self, target: &Target) -> Result<Facts> {
        Ok(reading!(self, pool => {
            let mut connection = pool.begin().await.map_err(broken)?;
            facts!(connection, target.service, target.namespace, target.environment, target.artifact)
        }))
    }

    /// The policies of a service, as JSON.
    pub async fn policies(&self, service: &str) -> Result<Option<String>> {
        let row: Option<(String,)> = reading!(self, pool => {
            sqlx::query_as("SELECT document FROM policy_set WHERE service = $1").bind(service).fetch_optional(pool).await
        })
        .map_err(broken)?;
        Ok(row.map(|(document,)| document))
    }

    /// Changes the policies of a service: `amend` is shown those that there are and says what there should be.
    pub async fn change_policies(
        &self,
        service: &str,
        at: Timestamp,
        amend: impl FnOnce(Option<&str>) -> Result<Amended> + Send,
    ) -> Result<PoliciesWritten> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let there: Option<(String,)> = sqlx::query_as("SELECT document FROM policy_set WHERE service = $1")
                .bind(service)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(broken)?;
            let there = there.map(|(document,)| document);
            let Amended { document, change, errands, lifts } = amend(there.as_deref())?;
            if there.as_deref() == Some(document.as_str()) {
                PoliciesWritten::Unchanged
            } else {
                let sequence = append!(transaction, frontier, change);
                for errand in &errands {
                    let cause = format!("policies/{sequence}/{}", errand.deployer);
                    keep_errand!(transaction, sequence, cause, errand, at);
                }
                sqlx::query(
                    "INSERT INTO policy_set (service, document, changed_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (service) DO UPDATE SET document = excluded.document, changed_at = excluded.changed_at",
                )
                .bind(service)
                .bind(document)
                .bind(microseconds(at))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
                for (environment, change) in &lifts {
                    let lifted =
                        sqlx::query("DELETE FROM hold WHERE service = $1 AND environment = $2")
                            .bind(service)
                            .bind(environment)
                            .execute(&mut *transaction)
                            .await
                            .map_err(broken)?;
                    if lifted.rows_affected() > 0 {
                        append!(transaction, frontier, change);
                    }
                }
                PoliciesWritten::Changed
            }
        }))
    }

    /// Sets a hold, unless there is one.
    pub async fn hold(&self, target: &Target, reason: &str, change: &Change) -> Result<()> {
        writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let done = sqlx::query(
                "INSERT INTO hold (service, namespace, environment, candidate, reason, set_at, set_by) \
                 VALUES ($1, $2, $3, NULL, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(&target.service)
            .bind(&target.namespace)
            .bind(&target.environment)
            .bind(reason)
            .bind(microseconds(change.at))
            .bind(&change.subject)
            .execute(&mut *transaction)
            .await
            .map_err(broken)?;
            if done.rows_affected() == 1 {
                append!(transaction, frontier, change);
            }
        });
        Ok(())
    }

    /// Lifts a hold, and says whether there was one.
    pub async fn resume(&self, target: &Target, change: &Change) -> Result<bool> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let done = sqlx::query("DELETE FROM hold WHERE service = $1 AND namespace = $2 AND environment = $3")
                .bind(&target.service)
                .bind(&target.namespace)
                .bind(&target.environment)
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
            if done.rows_affected() == 1 {
                append!(transaction, frontier, change);
            }
            done.rows_affected() == 1
        }))
    }

    /// The holds of a service.
    pub async fn holds(&self, service: &str) -> Result<Vec<HoldRow>> {
        let rows: Vec<HoldColumns> = reading!(self, pool => {
            sqlx::query_as(HOLDS).bind(service).fetch_all(pool).await
        })
        .map_err(broken)?;
        rows.into_iter().map(HoldRow::of).collect()
    }

    /// Keeps what somebody says about a digest. Said again it changes nothing.
    pub async fn approve(&self, new: &NewApproval, change: &Change) -> Result<()> {
        writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let last: Option<(i64,)> = sqlx::query_as(
                "SELECT is_approval FROM approval WHERE service = $1 AND environment = $2 AND artifact_sha256 = $3 \
                 AND subject = $4 ORDER BY sequence DESC LIMIT 1",
            )
            .bind(&new.service)
            .bind(&new.environment)
            .bind(new.artifact_sha256.to_string())
            .bind(&change.subject)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(broken)?;
            if last != Some((i64::from(new.is_approval),)) {
                let sequence = append!(transaction, frontier, change);
                sqlx::query(
                    "INSERT INTO approval (sequence, service, environment, artifact_sha256, subject, voter, is_approval, \
                     comment, given_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                )
                .bind(sequence)
                .bind(&new.service)
                .bind(&new.environment)
                .bind(new.artifact_sha256.to_string())
                .bind(&change.subject)
                .bind(&new.voter)
                .bind(i64::from(new.is_approval))
                .bind(new.comment.as_deref())
                .bind(microseconds(change.at))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
            }
        });
        Ok(())
    }
}
