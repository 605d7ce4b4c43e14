//! The rows of artifacts: pushed once, never changed, listed by what they say of their source.

use jiff::Timestamp;
use sqlx::QueryBuilder;

use super::audit::{append, lock_log};
use super::{Change, Store, broken, digest, instant, microseconds, reading, signed, unsigned, writing};
use crate::model::Digest;
use crate::model::artifact::{Artifact, Blob, Event};
use crate::model::failure::Result;

/// An artifact that was judged and is to be kept.
#[derive(Clone, Debug)]
pub struct NewArtifact<'a> {
    /// The record.
    pub artifact: &'a Artifact,
    /// Its one form.
    pub record: &'a str,
    /// The digest of that.
    pub sha256: Digest,
    /// What came of verifying its bundle.
    pub verdict: &'static str,
    /// The digest of what was believed then.
    pub policy: Digest,
    /// The signed summary of that.
    pub summary: Option<String>,
    /// The name under which the request may be made again, and the digest of the request.
    pub idempotency: Option<(String, Digest)>,
    /// What [`Store::sweeps`] said before its blobs were looked for.
    pub sweeps: u64,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The registry has it now.
    New,
    /// There is one by its id already, with this digest.
    There(Digest),
    /// The name of the request was used for another one.
    OtherRequest,
    /// There was another one by its id, which was removed by rule.
    Pruned,
    /// Blobs were condemned since its own were looked for.
    Swept,
}

/// An artifact as it is kept.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its place in the order of all changes.
    pub sequence: u64,
    /// The one form of the record.
    pub record: String,
    /// The digest of that.
    pub sha256: Digest,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// Who pushed it.
    pub pushed_by: String,
    /// What came of verifying its bundle.
    pub verdict: String,
    /// The digest of what was believed then.
    pub policy: Digest,
    /// The signed summary of that.
    pub summary: Option<String>,
    /// How the run that built it ended, where that was reported: the word, a note, when and by whom.
    pub outcome: Option<(String, Option<String>, Timestamp, String)>,
}

/// What came of verifying a bundle under another belief.
#[derive(Clone, Debug)]
pub struct NewVerdict {
    /// What was believed when the verdict was made that this one takes the place of.
    pub before: Digest,
    /// What is believed now.
    pub policy: Digest,
    /// What came of it.
    pub verdict: &'static str,
    /// The signed summary of that.
    pub summary: Option<String>,
}

/// How the run that built an artifact ended.
#[derive(Clone, Debug)]
pub struct NewOutcome {
    /// The word for it.
    pub outcome: &'static str,
    /// What else there is to say.
    pub note: Option<String>,
}

/// Which artifacts are listed.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these services only, where they are named.
    pub services: Option<Vec<String>>,
    /// Of exactly this branch.
    pub branch: Option<String>,
    /// Made by this event.
    pub event: Option<Event>,
    /// Of one of these commits.
    pub shas: Vec<String>,
    /// By this id.
    pub id: Option<String>,
    /// Pushed at this instant or later.
    pub since: Option<Timestamp>,
    /// Pushed before this instant.
    pub until: Option<Timestamp>,
    /// Before this one in the order of all changes.
    pub before: Option<u64>,
    /// How many at most.
    pub most: u32,
}

type Columns = (
    i64,
    String,
    String,
    i64,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
);

const COLUMNS: &str = "SELECT a.sequence, a.record, a.sha256, a.created_at, a.pushed_by, a.verdict, a.policy, a.summary, \
     o.outcome, o.note, o.reported_at, o.reported_by \
     FROM artifact a LEFT JOIN outcome o ON o.sequence = a.sequence WHERE 1 = 1";

impl Row {
    fn of(columns: Columns) -> Result<Self> {
        let (sequence, record, sha256, created, pushed_by, verdict, policy, summary, outcome, note, reported, by) =
            columns;
        let outcome = match (outcome, reported, by) {
            (Some(outcome), Some(at), Some(by)) => Some((outcome, note, instant(at)?, by)),
            _ => None,
        };
        Ok(Self {
            sequence: unsigned(sequence)?,
            record,
            sha256: digest(&sha256)?,
            created_at: instant(created)?,
            pushed_by,
            verdict,
            policy: digest(&policy)?,
            summary,
            outcome,
        })
    }
}

impl Store {
    /// Keeps an artifact, unless there is one by its id.
    pub async fn push(&self, new: &NewArtifact<'_>, change: &Change) -> Result<Pushed> {
        let (service, id) = (new.artifact.service.as_str(), new.artifact.id.as_str());
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            if let Some((name, request)) = &new.idempotency {
                sqlx::query("INSERT INTO idempotency (subject, name, request, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
                    .bind(&change.subject)
                    .bind(name)
                    .bind(request.to_string())
                    .bind(microseconds(change.at))
                    .execute(&mut *transaction)
                    .await
                    .map_err(broken)?;
                let (known,): (String,) = sqlx::query_as("SELECT request FROM idempotency WHERE subject = $1 AND name = $2")
                    .bind(&change.subject)
                    .bind(name)
                    .fetch_one(&mut *transaction)
                    .await
                    .map_err(broken)?;
                if digest(&known)? != *request {
                    return Ok(Pushed::OtherRequest);
                }
            }
            let there: Option<(String,)> = sqlx::query_as("SELECT sha256 FROM artifact WHERE service = $1 AND id = $2")
                .bind(service)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(broken)?;
            if let Some((sha256,)) = there {
                return Ok(Pushed::There(digest(&sha256)?));
            }
            let pruned: Option<(String,)> = sqlx::query_as("SELECT sha256 FROM pruned WHERE service = $1 AND id = $2")
                .bind(service)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(broken)?;
            if let Some((sha256,)) = pruned && digest(&sha256)? != new.sha256 {
                return Ok(Pushed::Pruned);
            }
            // Behind the head's lock nothing is condemned any more until this is done.
            let (sweeps,): (i64,) = sqlx::query_as("SELECT number FROM sweep WHERE one = 1")
                .fetch_one(&mut *transaction)
                .await
                .map_err(broken)?;
            if unsigned(sweeps)? != new.sweeps {
                return Ok(Pushed::Swept);
            }
            let number = append!(transaction, frontier, change);
            sqlx::query(
                "INSERT INTO artifact (sequence, service, id, branch, event, sha, created_at, pushed_by, sha256, \
                 record, verdict, summary, policy) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            )
            .bind(number)
            .bind(service)
            .bind(id)
            .bind(new.artifact.source.branch.as_deref())
            .bind(new.artifact.source.event.as_str())
            .bind(&new.artifact.source.sha)
            .bind(microseconds(change.at))
            .bind(&change.subject)
            .bind(new.sha256.to_string())
            .bind(new.record)
            .bind(new.verdict)
            .bind(new.summary.as_deref())
            .bind(new.policy.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(broken)?;
            for (name, Blob { sha256, size_bytes }) in new.artifact.blobs() {
                sqlx::query("INSERT INTO artifact_blob (sequence, name, sha256, size_bytes) VALUES ($1, $2, $3, $4)")
                    .bind(number)
                    .bind(name)
                    .bind(sha256.to_string())
                    .bind(signed(size_bytes))
                    .execute(&mut *transaction)
                    .await
                    .map_err(broken)?;
            }
            Pushed::New
        }))
    }

    /// One artifact.
    pub async fn artifact(&self, service: &str, id: &str) -> Result<Option<Row>> {
        let filter =
            Filter { services: Some(vec![service.to_owned()]), id: Some(id.to_owned()), most: 1, ..Filter::default() };
        Ok(self.artifacts(&filter).await?.pop())
    }

    /// The artifacts that a filter lets through, the one that was pushed last first.
    pub async fn artifacts(&self, filter: &Filter) -> Result<Vec<Row>> {
        let rows: Vec<Columns> = reading!(self, pool => {
            let mut query = QueryBuilder::new(COLUMNS);
            if let Some(services) = &filter.services {
                // One service is the common case, and the one that an index answers best.
                match services.as_slice() {
                    [] => { query.push(" AND 1 = 0"); }
                    [one] => { query.push(" AND a.service = ").push_bind(one); }
                    several => {
                        let mut list = query.push(" AND a.service IN (").separated(", ");
                        for service in several {
                            list.push_bind(service);
                        }
                        query.push(")");
                    }
                }
            }
            if let Some(branch) = &filter.branch {
                query.push(" AND a.branch = ").push_bind(branch);
            }
            if let Some(event) = filter.event {
                query.push(" AND a.event = ").push_bind(event.as_str());
            }
            if let Some(id) = &filter.id {
                query.push(" AND a.id = ").push_bind(id);
            }
            if !filter.shas.is_empty() {
                let mut list = query.push(" AND a.sha IN (").separated(", ");
                for sha in &filter.shas {
                    list.push_bind(sha);
                }
                query.push(")");
            }
            if let Some(since) = filter.since {
                query.push(" AND a.created_at >= ").push_bind(microseconds(since));
            }
            if let Some(until) = filter.until {
                query.push(" AND a.created_at < ").push_bind(microseconds(until));
            }
            if let Some(before) = filter.before {
                query.push(" AND a.sequence < ").push_bind(signed(before));
            }
            query.push(" ORDER BY a.sequence DESC LIMIT ").push_bind(i64::from(filter.most));
            query.build_query_as().fetch_all(pool).await
        })
        .map_err(broken)?;
        rows.into_iter().map(Row::of).collect()
    }

    /// Puts a verdict in the place of the one that it was made of, unless another one stands there by now.
    pub async fn judge_again(&self, sequence: u64, new: &NewVerdict, change: &Change) -> Result<()> {
        writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let done = sqlx::query(
                "UPDATE artifact SET verdict = $1, policy = $2, summary = $3 WHERE sequence = $4 AND policy = $5",
            )
            .bind(new.verdict)
            .bind(new.policy.to_string())
            .bind(new.summary.as_deref())
            .bind(signed(sequence))
            .bind(new.before.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(broken)?;
            if done.rows_affected() == 1 {
                append!(transaction, frontier, change);
            }
        });
        Ok(())
    }

    /// Notes how the run that built an artifact ended, once; gives the word that stands there now.
    pub async fn report(&self, sequence: u64, new: &NewOutcome, change: &Change) -> Result<String> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let done = sqlx::query(
                "INSERT INTO outcome (sequence, outcome, note, reported_at, reported_by) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(signed(sequence))
            .bind(new.outcome)
            .bind(new.note.as_deref())
            .bind(microseconds(change.at))
            .bind(&change.subject)
            .execute(&mut *transaction)
            .await
            .map_err(broken)?;
            if done.rows_affected() == 1 {
                append!(transaction, frontier, change);
            }
            let (outcome,): (String,) = sqlx::query_as("SELECT outcome FROM outcome WHERE sequence = $1")
                .bind(signed(sequence))
                .fetch_one(&mut *transaction)
                .await
                .map_err(broken)?;
            outcome
        }))
    }

    /// The artifacts that were pushed behind a place in the order of all changes, the first one first.
    pub async fn artifacts_after(&self, sequence: u64, most: u32) -> Result<Vec<Row>> {
        let rows: Vec<Columns> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "{COLUMNS} AND a.sequence > $1 ORDER BY a.sequence LIMIT $2"
            )))
            .bind(signed(sequence))
            .bind(i64::from(most))
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter().map(Row::of).collect()
    }

    /// The place of the artifact that was pushed last.
    pub async fn last_artifact(&self) -> Result<Option<u64>> {
        let (last,): (Option<i64>,) = reading!(self, pool => {
            sqlx::query_as("SELECT MAX(sequence) FROM artifact").fetch_one(pool).await
        })
        .map_err(broken)?;
        last.map(unsigned).transpose()
    }

    /// Every blob that any artifact names, each once, behind a digest: so that all can be gone through.
    pub async fn blobs_after(&self, after: &str, most: u32) -> Result<Vec<Blob>> {
        let rows: Vec<(String, i64)> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT sha256, MAX(size_bytes) FROM artifact_blob WHERE sha256 > $1 GROUP BY sha256 ORDER BY sha256 LIMIT $2",
            )
            .bind(after)
            .bind(i64::from(most))
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter()
            .map(|(sha256, size)| Ok(Blob { sha256: digest(&sha256)?, size_bytes: unsigned(size)? }))
            .collect()
    }
}
