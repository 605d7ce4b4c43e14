//! The rows of errands: what else than releases is written into environments.
//!
//! Something goes with its branch, or the copy of a service's policies is brought up to date. An errand is done
//! when it is its turn among the releases of its place, and it stays as a row, so that whatever caused it causes
//! no second one. A rollback that a policy wants is one, too, until it has become a release; nothing waits for it.

use jiff::Timestamp;

use super::audit::{append, lock_log};
use super::release_views::FAILED_AND_THERE;
use super::releases::Target;
use super::{Change, Store, broken, microseconds, reading, signed, unsigned, writing};
use crate::model::failure::Result;

/// What is removed from an environment.
pub const REMOVAL: &str = "removal";
/// The copy of a service's policies.
pub const POLICIES: &str = "policies";
/// A release that failed, and that a policy wants to be rolled back.
pub const ROLLBACK: &str = "rollback";

/// An errand that is to be run.
#[derive(Clone, Debug)]
pub struct NewErrand {
    /// [`REMOVAL`], [`POLICIES`] or [`ROLLBACK`].
    pub kind: &'static str,
    /// How its environment is changed.
    pub deployer: String,
    /// What it is about. There is one place for each, and without an environment none for policies.
    pub target: Target,
    /// What the commit says; of a rollback, the release that failed.
    pub subject: String,
    /// The branch that is gone.
    pub branch: String,
}

/// An errand as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrandRow {
    /// What caused it: each cause has one errand.
    pub cause: String,
    /// Its place in the order of all changes.
    pub sequence: u64,
    /// [`REMOVAL`], [`POLICIES`] or [`ROLLBACK`].
    pub kind: String,
    /// The service.
    pub service: String,
    /// The namespace; empty for policies.
    pub namespace: String,
    /// The environment; empty for policies.
    pub environment: String,
    /// What the commit says; of a rollback, the release that failed.
    pub subject: String,
    /// The branch that is gone; empty otherwise.
    pub branch: String,
    /// How often it was tried.
    pub attempts: u32,
}

type Columns = (String, i64, String, String, String, String, String, String, i64);

impl ErrandRow {
    fn of(columns: Columns) -> Result<Self> {
        let (cause, sequence, kind, service, namespace, environment, subject, branch, attempts) = columns;
        Ok(Self {
            cause,
            sequence: unsigned(sequence)?,
            kind,
            service,
            namespace,
            environment,
            subject,
            branch,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        })
    }
}

/// Keeps an errand, unless its cause has one already.
macro_rules! keep_errand {
    ($transaction:ident, $sequence:expr, $cause:expr, $errand:expr, $at:expr) => {
        sqlx::query(
            "INSERT INTO errand (cause, sequence, kind, deployer, service, namespace, environment, subject, branch, \
             due_at, attempts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0) ON CONFLICT (cause) DO NOTHING",
        )
        .bind($cause)
        .bind($sequence)
        .bind($errand.kind)
        .bind(&$errand.deployer)
        .bind(&$errand.target.service)
        .bind(&$errand.target.namespace)
        .bind(&$errand.target.environment)
        .bind(&$errand.subject)
        .bind(&$errand.branch)
        .bind($crate::store::microseconds($at))
        .execute(&mut *$transaction)
        .await
        .map_err($crate::store::broken)?
    };
}
pub(super) use keep_errand;

impl Store {
    /// Keeps an errand with a line in the audit log, unless its cause has one already. Says whether it is new.
    pub async fn keep_errand(&self, cause: &str, errand: &NewErrand, change: &Change) -> Result<bool> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let known: Option<(i64,)> = sqlx::query_as("SELECT sequence FROM errand WHERE cause = $1")
                .bind(cause)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(broken)?;
            if known.is_none() {
                let sequence = append!(transaction, frontier, change);
                keep_errand!(transaction, sequence, cause, errand, change.at);
            }
            known.is_none()
        }))
    }

    /// The rollbacks that are still to become releases, of every deployer, once it is time to look at them.
    pub async fn rollbacks(&self, now: Timestamp, most: u32) -> Result<Vec<ErrandRow>> {
        let rows: Vec<Columns> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT cause, sequence, kind, service, namespace, environment, subject, branch, attempts FROM errand \
                 WHERE kind = 'rollback' AND done_at IS NULL AND due_at <= $1 ORDER BY sequence LIMIT $2",
            )
            .bind(microseconds(now))
            .bind(i64::from(most))
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter().map(ErrandRow::of).collect()
    }

    /// The errands of a deployer whose turn has come: in their place nothing waits that was asked for before.
    pub async fn errands(&self, deployer: &str, now: Timestamp, most: u32) -> Result<Vec<ErrandRow>> {
        let rows: Vec<Columns> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT cause, sequence, kind, service, namespace, environment, subject, branch, attempts FROM errand \
                 WHERE deployer = $1 AND kind <> 'rollback' AND done_at IS NULL AND due_at <= $2 \
                   AND NOT EXISTS (SELECT 1 FROM release r \
                   WHERE r.service = errand.service AND r.namespace = errand.namespace \
                   AND r.environment = errand.environment AND r.state IN ('queued', 'committing') \
                   AND r.sequence < errand.sequence) \
                 AND NOT EXISTS (SELECT 1 FROM errand e WHERE e.deployer = $3 AND e.done_at IS NULL AND e.kind <> 'rollback' \
                   AND e.service = errand.service AND e.namespace = errand.namespace \
                   AND e.environment = errand.environment AND e.sequence < errand.sequence) \
                 ORDER BY sequence LIMIT $4",
            )
            .bind(deployer)
            .bind(microseconds(now))
            .bind(deployer)
            .bind(i64::from(most))
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter().map(ErrandRow::of).collect()
    }

    /// Notes that errands are tried, and when they are to be tried again unless they are done.
    pub async fn try_errands(
        &self,
        errands: &[ErrandRow],
        again_at: impl Fn(&ErrandRow) -> Timestamp + Send,
    ) -> Result<()> {
        writing!(self, transaction => {
            for errand in errands {
                sqlx::query("UPDATE errand SET attempts = attempts + 1, due_at = $1 WHERE cause = $2")
                    .bind(microseconds(again_at(errand)))
                    .bind(&errand.cause)
                    .execute(&mut *transaction)
                    .await
                    .map_err(broken)?;
            }
        });
        Ok(())
    }

    /// Notes that an errand is done. What was live in a place from which it was removed is so no longer.
    pub async fn end_errand(&self, errand: &ErrandRow, is_removed: bool, change: &Change) -> Result<()> {
        let at = microseconds(change.at);
        writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let done = sqlx::query("UPDATE errand SET done_at = $1 WHERE cause = $2 AND done_at IS NULL")
                .bind(at)
                .bind(&errand.cause)
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
            if done.rows_affected() == 1 {
                append!(transaction, frontier, change);
            }
            if is_removed && done.rows_affected() == 1 {
                let live: Vec<(i64,)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
                    "SELECT sequence FROM release WHERE service = $1 AND (state IN ('pushed', 'applying', 'healthy') \
                     OR {FAILED_AND_THERE}) AND namespace = $2 AND environment = $3 AND sequence < $4"
                )))
                .bind(&errand.service)
                .bind(&errand.namespace)
                .bind(&errand.environment)
                .bind(signed(errand.sequence))
                .fetch_all(&mut *transaction)
                .await
                .map_err(broken)?;
                for (sequence,) in live {
                    sqlx::query("UPDATE release SET state = 'superseded', reason = $1, ended_at = $2 WHERE sequence = $3")
                        .bind(change.note.as_deref())
                        .bind(at)
                        .bind(sequence)
                        .execute(&mut *transaction)
                        .await
                        .map_err(broken)?;
                    super::releases::step!(transaction, sequence, "superseded", at, change.note.as_deref());
                }
            }
        });
        Ok(())
    }
}
