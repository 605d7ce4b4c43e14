//! Pins: artifacts that somebody said must stay.

use jiff::Timestamp;

use super::audit::{append, lock_log};
use super::{Change, Store, broken, instant, microseconds, reading, writing};
use crate::model::failure::Result;

/// A pin.
#[derive(Clone, Debug)]
pub struct Pin {
    /// The artifact's service.
    pub service: String,
    /// The artifact's id.
    pub id: String,
    /// Why.
    pub note: Option<String>,
    /// Since when.
    pub at: Timestamp,
    /// Who said so.
    pub by: String,
}

impl Store {
    /// Lets an artifact stay, and says whether it is there to be pinned. Pinned again it stays pinned.
    pub async fn pin(&self, (service, id): (&str, &str), note: Option<&str>, change: &Change) -> Result<bool> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let there: Option<(i64,)> = sqlx::query_as("SELECT sequence FROM artifact WHERE service = $1 AND id = $2")
                .bind(service)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(broken)?;
            if there.is_none() {
                return Ok(false);
            }
            let done = sqlx::query(
                "INSERT INTO pin (service, id, note, pinned_at, pinned_by) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(service)
            .bind(id)
            .bind(note)
            .bind(microseconds(change.at))
            .bind(&change.subject)
            .execute(&mut *transaction)
            .await
            .map_err(broken)?;
            if done.rows_affected() == 1 {
                append!(transaction, frontier, change);
            }
            true
        }))
    }

    /// Takes a pin away, and says whether there was one.
    pub async fn unpin(&self, (service, id): (&str, &str), change: &Change) -> Result<bool> {
        Ok(writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let done = sqlx::query("DELETE FROM pin WHERE service = $1 AND id = $2")
                .bind(service)
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
            if done.rows_affected() == 1 {
                append!(transaction, frontier, change);
            }
            done.rows_affected() == 1
        }))
    }

    /// Every pin.
    pub async fn pins(&self) -> Result<Vec<Pin>> {
        let rows: Vec<(String, String, Option<String>, i64, String)> = reading!(self, pool => {
            sqlx::query_as("SELECT service, id, note, pinned_at, pinned_by FROM pin ORDER BY service, id")
                .fetch_all(pool)
                .await
        })
        .map_err(broken)?;
        rows.into_iter()
            .map(|(service, id, note, at, by)| Ok(Pin { service, id, note, at: instant(at)?, by }))
            .collect()
    }
}
