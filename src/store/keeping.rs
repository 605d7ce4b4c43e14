//! What is removed again: artifacts by rule, and blobs that none names any more.
//!
//! Artifacts that something needs ([`Store::artifacts_in_use`]) are looked for in the very transaction
//! that would remove them. Blobs go in two steps. [`Store::condemn`] says, behind the lock of the log,
//! which ones go, and counts itself; [`Store::expunge`] removes them one by one, each with its row. A push
//! asks for the count before it looks for its blobs and compares it behind the same lock, so that it
//! either sees what was condemned or keeps it from being condemned. Whoever is killed in between leaves
//! rows that anybody can go on with.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use jiff::Timestamp;
use sqlx::QueryBuilder;

use super::audit::{append, lock_log};
use super::{Change, Store, broken, digest, instant, microseconds, reading, signed, unsigned, writing};
use crate::model::Digest;
use crate::model::artifact::Blob;
use crate::model::failure::Result;

/// How many digests are asked for in one statement.
const TOGETHER: usize = 500;

/// What is known of a blob besides whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An artifact names it.
    Named,
    /// None does.
    Unnamed,
    /// It is being removed.
    Condemned,
}

/// What rules of retention look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Light {
    /// Its place in the order of all changes.
    pub sequence: u64,
    /// The service.
    pub service: String,
    /// The id.
    pub id: String,
    /// The branch, if it has one.
    pub branch: Option<String>,
    /// What made it.
    pub event: String,
    /// The digest of its record.
    pub sha256: Digest,
    /// When it was pushed.
    pub created_at: Timestamp,
}

/// A blob that could be removed.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Which.
    pub blob: Blob,
    /// When it was put where it is. Nothing, where that is not known, and then it stays for now.
    pub changed: Option<Timestamp>,
}

type LightColumns = (i64, String, String, Option<String>, String, String, i64);

/// The digests among some that a query gives.
macro_rules! among {
    ($connection:expr, $sql:literal, $end:literal, $digests:expr, $row:ty) => {{
        let mut rows: Vec<$row> = Vec::new();
        for some in $digests.chunks(TOGETHER) {
            let mut query = QueryBuilder::new($sql);
            let mut list = query.separated(", ");
            for digest in some {
                list.push_bind(digest.to_string());
            }
            query.push($end);
            rows.extend(query.build_query_as::<$row>().fetch_all($connection).await.map_err(broken)?);
        }
        rows
    }};
}

const LIGHT: &str = "SELECT sequence, service, id, branch, event, sha256, created_at FROM artifact \
     WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2";

impl Store {
    /// The artifacts before one in the order of all changes, the one that was pushed last first, without
    /// their records.
    pub async fn artifacts_before(&self, before: u64, most: u32) -> Result<Vec<Light>> {
        let rows: Vec<LightColumns> = reading!(self, pool => {
            sqlx::query_as(LIGHT).bind(signed(before)).bind(i64::from(most)).fetch_all(pool).await
        })
        .map_err(broken)?;
        rows.into_iter()
            .map(|(sequence, service, id, branch, event, sha256, created)| {
                let (sequence, sha256, created_at) = (unsigned(sequence)?, digest(&sha256)?, instant(created)?);
                Ok(Light { sequence, service, id, branch, event, sha256, created_at })
            })
            .collect()
    }

    /// Every artifact that something needs, as service and id. Rules never remove these.
    pub async fn artifacts_in_use(&self) -> Result<BTreeSet<(String, String)>> {
        let rows: Vec<(String, String)> = reading!(self, pool => {
            sqlx::query_as("SELECT service, id FROM artifact_in_use").fetch_all(pool).await
        })
        .map_err(broken)?;
        Ok(rows.into_iter().collect())
    }

    /// Removes those artifacts that nothing needs, all or none, each with a line in the log. Gives which.
    pub async fn prune(&self, artifacts: &[Light], at: Timestamp, subject: &str, note: &str) -> Result<Vec<u64>> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let mut removed = Vec::new();
            for artifact in artifacts {
                let needed: Option<(String,)> =
                    sqlx::query_as("SELECT id FROM artifact_in_use WHERE service = $1 AND id = $2 LIMIT 1")
                        .bind(&artifact.service)
                        .bind(&artifact.id)
                        .fetch_optional(&mut *transaction)
                        .await
                        .map_err(broken)?;
                // Somebody else may have removed it, and it may even have come back.
                let there: Option<(i64,)> = sqlx::query_as("SELECT sequence FROM artifact WHERE sequence = $1")
                    .bind(signed(artifact.sequence))
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(broken)?;
                if needed.is_some() || there.is_none() {
                    continue;
                }
                sqlx::query(
                    "INSERT INTO orphan (sha256, since, condemned) \
                     SELECT DISTINCT sha256, CAST($2 AS BIGINT), CAST(0 AS BIGINT) FROM artifact_blob WHERE sequence = $1 \
                     ON CONFLICT (sha256) DO UPDATE SET since = excluded.since",
                )
                .bind(signed(artifact.sequence))
                .bind(microseconds(at))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
                for table in [
                    "DELETE FROM artifact_blob WHERE sequence = $1",
                    "DELETE FROM outcome WHERE sequence = $1",
                    "DELETE FROM artifact WHERE sequence = $1",
                ] {
                    sqlx::query(table)
                        .bind(signed(artifact.sequence))
                        .execute(&mut *transaction)
                        .await
                        .map_err(broken)?;
                }
                sqlx::query(
                    "INSERT INTO pruned (service, id, sha256, pruned_at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (service, id) DO UPDATE SET pruned_at = excluded.pruned_at",
                )
                .bind(&artifact.service)
                .bind(&artifact.id)
                .bind(artifact.sha256.to_string())
                .bind(microseconds(at))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
                let change = Change {
                    at,
                    subject: subject.to_owned(),
                    verb: "artifact.prune",
                    object: format!("{}/{}", artifact.service, artifact.id),
                    sha256: Some(artifact.sha256),
                    note: Some(note.to_owned()),
                };
                append!(transaction, frontier, change);
                removed.push(artifact.sequence);
            }
            removed
        }))
    }

    /// How often blobs were condemned.
    pub async fn sweeps(&self) -> Result<u64> {
        let (number,): (i64,) = reading!(self, pool => {
            sqlx::query_as("SELECT number FROM sweep WHERE one = 1").fetch_one(pool).await
        })
        .map_err(broken)?;
        unsigned(number)
    }

    /// What is known of a blob.
    pub async fn standing(&self, sha256: &Digest) -> Result<Standing> {
        let (condemned, named): (Option<i64>, Option<i64>) = reading!(self, pool => {
            sqlx::query_as(
                "SELECT (SELECT condemned FROM orphan WHERE sha256 = $1), \
                 (SELECT sequence FROM artifact_blob WHERE sha256 = $1 LIMIT 1)",
            )
            .bind(sha256.to_string())
            .fetch_one(pool)
            .await
        })
        .map_err(broken)?;
        Ok(match (condemned, named) {
            (Some(1), _) => Standing::Condemned,
            (_, Some(_)) => Standing::Named,
            (_, None) => Standing::Unnamed,
        })
    }

    /// Notes that somebody counts on a blob that no artifact names, and says whether it can be counted on.
    pub async fn count_on(&self, sha256: &Digest, at: Timestamp) -> Result<bool> {
        Ok(writing!(self, transaction => {
            let done = sqlx::query(
                "INSERT INTO orphan (sha256, since, condemned) VALUES ($1, $2, 0) \
                 ON CONFLICT (sha256) DO UPDATE SET since = excluded.since WHERE orphan.condemned = 0",
            )
            .bind(sha256.to_string())
            .bind(microseconds(at))
            .execute(&mut *transaction)
            .await
            .map_err(broken)?;
            done.rows_affected() == 1
        }))
    }

    /// Those among some blobs that no artifact names.
    pub async fn unnamed(&self, digests: &[Digest]) -> Result<BTreeSet<Digest>> {
        let rows = reading!(self, pool => {
            among!(pool, "SELECT DISTINCT sha256 FROM artifact_blob WHERE sha256 IN (", ")", digests, (String,))
        });
        let named: BTreeSet<_> = rows.iter().map(|(sha256,)| digest(sha256)).collect::<Result<_>>()?;
        Ok(digests.iter().copied().filter(|digest| !named.contains(digest)).collect())
    }

    /// Those among some blobs that are being removed.
    pub async fn condemned_among(&self, digests: &[Digest]) -> Result<BTreeSet<Digest>> {
        let rows = reading!(self, pool => {
            among!(pool, "SELECT sha256 FROM orphan WHERE condemned = 1 AND sha256 IN (", ")", digests, (String,))
        });
        rows.iter().map(|(sha256,)| digest(sha256)).collect()
    }

    /// Which of some blobs nobody has needed since a time.
    pub async fn needless(&self, candidates: &[Candidate], before: Timestamp) -> Result<Vec<Blob>> {
        let digests = old(candidates, before);
        let (named, orphans) = reading!(self, pool => {
            (
                among!(pool, "SELECT DISTINCT sha256 FROM artifact_blob WHERE sha256 IN (", ")", digests, (String,)),
                among!(pool, "SELECT sha256, since, condemned FROM orphan WHERE sha256 IN (", ")", digests, (String, i64, i64)),
            )
        });
        choose(candidates, &digests, named, orphans, before)
    }

    /// Condemns those of some blobs that nobody has needed since a time, and gives which these are.
    pub async fn condemn(&self, candidates: &[Candidate], before: Timestamp, change: &Change) -> Result<Vec<Blob>> {
        let digests = old(candidates, before);
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let named = among!(&mut *transaction, "SELECT DISTINCT sha256 FROM artifact_blob WHERE sha256 IN (", ")", digests, (String,));
            let orphans = among!(&mut *transaction, "SELECT sha256, since, condemned FROM orphan WHERE sha256 IN (", ")", digests, (String, i64, i64));
            let chosen = choose(candidates, &digests, named, orphans, before)?;
            for blob in &chosen {
                sqlx::query(
                    "INSERT INTO orphan (sha256, since, condemned) VALUES ($1, $2, 1) \
                     ON CONFLICT (sha256) DO UPDATE SET condemned = 1",
                )
                .bind(blob.sha256.to_string())
                .bind(microseconds(change.at))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
            }
            if !chosen.is_empty() {
                sqlx::query("UPDATE sweep SET number = number + 1 WHERE one = 1")
                    .execute(&mut *transaction)
                    .await
                    .map_err(broken)?;
                let bytes: u64 = chosen.iter().map(|blob| blob.size_bytes).sum();
                let note = Some(format!("{} blobs, {bytes} bytes", chosen.len()));
                let change = Change { note, ..change.clone() };
                append!(transaction, frontier, change);
            }
            chosen
        }))
    }

    /// Some of the blobs that are being removed.
    pub async fn condemned(&self, after: &str, most: u32) -> Result<Vec<Digest>> {
        let rows: Vec<(String,)> = reading!(self, pool => {
            sqlx::query_as("SELECT sha256 FROM orphan WHERE condemned = 1 AND sha256 > $1 ORDER BY sha256 LIMIT $2")
                .bind(after)
                .bind(i64::from(most))
                .fetch_all(pool)
                .await
        })
        .map_err(broken)?;
        rows.iter().map(|(sha256,)| digest(sha256)).collect()
    }

    /// Removes a condemned blob by what is handed in, together with its row, and says whether it was there
    /// to be removed. Of several who try at once, one does it, so that nobody's removal comes late and hits
    /// what was uploaded again.
    pub async fn expunge(&self, sha256: &Digest, removal: impl Future<Output = Result<()>>) -> Result<bool> {
        Ok(writing!(self, transaction => {
            let done = sqlx::query("DELETE FROM orphan WHERE sha256 = $1 AND condemned = 1")
                .bind(sha256.to_string())
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
            if done.rows_affected() == 1 {
                removal.await?;
            }
            done.rows_affected() == 1
        }))
    }

    /// Forgets what was noted of blobs that an artifact names again.
    pub async fn forget_orphans(&self) -> Result<()> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "DELETE FROM orphan WHERE condemned = 0 AND EXISTS \
                 (SELECT 1 FROM artifact_blob b WHERE b.sha256 = orphan.sha256)",
            );
            done.execute(&mut *transaction).await.map_err(broken)?;
        });
        Ok(())
    }
}

/// The candidates that were put where they are before a time.
fn old(candidates: &[Candidate], before: Timestamp) -> Vec<Digest> {
    let old = candidates.iter().filter(|candidate| candidate.changed.is_some_and(|changed| changed < before));
    old.map(|candidate| candidate.blob.sha256).collect()
}

fn choose(
    candidates: &[Candidate],
    old: &[Digest],
    named: Vec<(String,)>,
    orphans: Vec<(String, i64, i64)>,
    before: Timestamp,
) -> Result<Vec<Blob>> {
    let mut old: BTreeSet<_> = old.iter().copied().collect();
    for (sha256,) in named {
        old.remove(&digest(&sha256)?);
    }
    let mut since = BTreeMap::new();
    for (sha256, at, condemned) in orphans {
        since.insert(digest(&sha256)?, (instant(at)?, condemned));
    }
    let blobs = candidates.iter().map(|candidate| candidate.blob);
    Ok(blobs
        .filter(|blob| old.contains(&blob.sha256))
        // What is condemned already is gone on with by itself.
        .filter(|blob| since.get(&blob.sha256).is_none_or(|(since, condemned)| *condemned == 0 && *since < before))
        .collect())
}
