//! Releases as they are looked at: one, pages of them, what a service has where, and their steps.

use jiff::Timestamp;
use sqlx::QueryBuilder;

use super::facts::{PLACED, PlacedColumns, placed};
use super::releases::{COLUMNS, Columns, ReleaseRow, Target};
use super::{Store, broken, instant, microseconds, reading, signed, unsigned, writing};
use crate::model::failure::Result;

/// Which releases are listed.
#[derive(Clone, Debug, Default)]
pub struct ReleaseFilter {
    /// Of these services only, where they are named.
    pub services: Option<Vec<String>>,
    /// Into this environment.
    pub environment: Option<String>,
    /// In this namespace.
    pub namespace: Option<String>,
    /// Of this artifact.
    pub artifact: Option<String>,
    /// Written with this commit.
    pub commit: Option<String>,
    /// In one of these states.
    pub states: Vec<&'static str>,
    /// Only those that reached their environment.
    pub was_pushed: bool,
    /// Only those that wait because policies say so.
    pub gives_way: bool,
    /// Asked for before this one in the order of all changes.
    pub before: Option<u64>,
    /// How many at most.
    pub most: u32,
}

/// A release that failed after it was written, and that nothing was written over: the place has it still.
pub(super) const FAILED_AND_THERE: &str = "state = 'failed' AND pushed_at IS NOT NULL AND NOT EXISTS \
     (SELECT 1 FROM release n WHERE n.service = release.service AND n.namespace = release.namespace \
     AND n.environment = release.environment AND n.sequence > release.sequence AND n.pushed_at IS NOT NULL)";

/// A state that a release had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// Which release.
    pub release: u64,
    /// The state.
    pub state: String,
    /// Since when.
    pub at: Timestamp,
    /// What else there is to say.
    pub note: Option<String>,
}

impl Store {
    /// One release.
    pub async fn release(&self, id: &str) -> Result<Option<ReleaseRow>> {
        let row: Option<Columns> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1"))).bind(id).fetch_optional(pool).await
        })
        .map_err(broken)?;
        row.map(ReleaseRow::of).transpose()
    }

    /// The releases that a filter lets through, the one that was asked for last first.
    pub async fn releases(&self, filter: &ReleaseFilter) -> Result<Vec<ReleaseRow>> {
        let rows: Vec<Columns> = reading!(self, pool => {
            let mut query = QueryBuilder::new(COLUMNS);
            query.push(" WHERE 1 = 1");
            if let Some(services) = &filter.services {
                match services.as_slice() {
                    [] => { query.push(" AND 1 = 0"); }
                    [one] => { query.push(" AND service = ").push_bind(one); }
                    several => {
                        let mut list = query.push(" AND service IN (").separated(", ");
                        for service in several {
                            list.push_bind(service);
                        }
                        query.push(")");
                    }
                }
            }
            let equal = [
                ("environment", &filter.environment),
                ("namespace", &filter.namespace),
                ("artifact", &filter.artifact),
                ("commit_id", &filter.commit),
            ];
            for (column, value) in equal {
                if let Some(value) = value {
                    query.push(" AND ").push(column).push(" = ").push_bind(value);
                }
            }
            if !filter.states.is_empty() {
                let mut list = query.push(" AND state IN (").separated(", ");
                for state in &filter.states {
                    list.push_bind(*state);
                }
                query.push(")");
            }
            if filter.was_pushed {
                query.push(" AND pushed_at IS NOT NULL");
            }
            if filter.gives_way {
                query.push(" AND gives_way = 1");
            }
            if let Some(before) = filter.before {
                query.push(" AND sequence < ").push_bind(signed(before));
            }
            query.push(" ORDER BY sequence DESC LIMIT ").push_bind(i64::from(filter.most));
            query.build_query_as().fetch_all(pool).await
        })
        .map_err(broken)?;
        rows.into_iter().map(ReleaseRow::of).collect()
    }

    /// What a service has, also where that has failed, and what is on its way, in every place.
    pub async fn places(&self, service: &str) -> Result<Vec<(Target, ReleaseRow)>> {
        let rows: Vec<PlacedColumns> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "{PLACED} WHERE service = $1 AND (state IN ('requested', 'queued', 'committing', 'pushed', 'applying', \
                 'healthy') OR {FAILED_AND_THERE}) ORDER BY sequence"
            )))
            .bind(service)
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter().map(|row| placed(service, row)).collect()
    }

    /// Every state that a release had, the first one first.
    pub async fn steps(&self, sequence: u64) -> Result<Vec<StepRow>> {
        let rows: Vec<(i64, String, i64, Option<String>)> = reading!(self, pool => {
            sqlx::query_as("SELECT release, state, at, note FROM release_step WHERE release = $1 ORDER BY number")
                .bind(signed(sequence))
                .fetch_all(pool)
                .await
        })
        .map_err(broken)?;
        rows.into_iter().map(step).collect()
    }

    /// The steps of every release between two instants, in the order of time.
    pub async fn steps_between(&self, since: Timestamp, until: Timestamp) -> Result<Vec<StepRow>> {
        let rows: Vec<(i64, String, i64, Option<String>)> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT release, state, at, note FROM release_step WHERE at >= $1 AND at < $2 ORDER BY at, release, number",
            )
            .bind(microseconds(since))
            .bind(microseconds(until))
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter().map(step).collect()
    }

    /// The release at a place in the order of all changes.
    pub async fn release_of(&self, sequence: u64) -> Result<ReleaseRow> {
        let row: Columns = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE sequence = $1")))
                .bind(signed(sequence))
                .fetch_one(pool)
                .await
        })
        .map_err(broken)?;
        ReleaseRow::of(row)
    }

    /// Takes or keeps what only one may have at a time, until an instant; says whether it is the owner's.
    pub async fn take_lease(&self, name: &str, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool> {
        Ok(writing!(self, transaction => {
            let done = sqlx::query(
                "INSERT INTO lease (name, owner, until) VALUES ($1, $2, $3) ON CONFLICT (name) \
                 DO UPDATE SET owner = excluded.owner, until = excluded.until \
                 WHERE lease.owner = excluded.owner OR lease.until <= $4",
            )
            .bind(name)
            .bind(owner)
            .bind(microseconds(until))
            .bind(microseconds(now))
            .execute(&mut *transaction)
            .await
            .map_err(broken)?;
            done.rows_affected() == 1
        }))
    }

    /// Lets go of a lease.
    pub async fn leave_lease(&self, name: &str, owner: &str) -> Result<()> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM lease WHERE name = $1 AND owner = $2")
                .bind(name)
                .bind(owner)
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
        });
        Ok(())
    }

    /// How far somebody has read.
    pub async fn bookmark(&self, name: &str) -> Result<Option<u64>> {
        let row: Option<(i64,)> = reading!(self, pool => {
            sqlx::query_as("SELECT position FROM bookmark WHERE name = $1").bind(name).fetch_optional(pool).await
        })
        .map_err(broken)?;
        row.map(|(position,)| unsigned(position)).transpose()
    }

    /// Notes how far somebody has read. It never goes back.
    pub async fn keep_bookmark(&self, name: &str, position: u64) -> Result<()> {
        writing!(self, transaction => {
            sqlx::query(
                "INSERT INTO bookmark (name, position) VALUES ($1, $2) ON CONFLICT (name) \
                 DO UPDATE SET position = excluded.position WHERE bookmark.position < excluded.position",
            )
            .bind(name)
            .bind(signed(position))
            .execute(&mut *transaction)
            .await
            .map_err(broken)?;
        });
        Ok(())
    }
}

fn step((release, state, at, note): (i64, String, i64, Option<String>)) -> Result<StepRow> {
    Ok(StepRow { release: unsigned(release)?, state, at: instant(at)?, note })
}
