//! The rows of events: what others have told this server, until somebody has acted on it.
//!
//! An event is a hint that something may have changed elsewhere, and never the change itself.

use jiff::Timestamp;

use super::audit::{append, lock_log};
use super::{Change, Store, broken, instant, microseconds, reading, signed, unsigned, writing};
use crate::model::Digest;
use crate::model::failure::Result;

/// An event that is to be kept.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Who tells it: `github`, `flux`, `daemon`.
    pub source: &'static str,
    /// The sender's name for this delivery, if it has one: each counts once.
    pub delivery: Option<String>,
    /// The digest of what was sent, where the same bytes mean the same event.
    pub sha256: Option<Digest>,
    /// What it is about.
    pub kind: &'static str,
    /// The service that it is about, where it names one.
    pub service: Option<String>,
    /// What it says, as a [`Hint`](crate::model::hint::Hint).
    pub payload: String,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its number, which grows.
    pub sequence: u64,
    /// Who told it.
    pub source: String,
    /// The sender's name for the delivery.
    pub delivery: Option<String>,
    /// What it is about.
    pub kind: String,
    /// The service that it is about.
    pub service: Option<String>,
    /// What it says.
    pub payload: String,
    /// When it came.
    pub received_at: Timestamp,
}

type Columns = (i64, String, Option<String>, String, Option<String>, String, i64);

impl Store {
    /// Keeps an event, and says whether it was not there before.
    pub async fn add_event(&self, event: &NewEvent, change: &Change) -> Result<bool> {
        let sha256 = event.sha256.map(|sha256| sha256.to_string());
        let is_new = writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let (there,): (i64,) =
                sqlx::query_as("SELECT COUNT(*) FROM event WHERE source = $1 AND (delivery = $2 OR sha256 = $3)")
                    .bind(event.source)
                    .bind(&event.delivery)
                    .bind(&sha256)
                    .fetch_one(&mut *transaction)
                    .await
                    .map_err(broken)?;
            if there == 0 {
                let number = append!(transaction, frontier, change);
                sqlx::query(
                    "INSERT INTO event (sequence, source, delivery, sha256, kind, service, payload, received_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(number)
                .bind(event.source)
                .bind(&event.delivery)
                .bind(&sha256)
                .bind(event.kind)
                .bind(&event.service)
                .bind(&event.payload)
                .bind(microseconds(change.at))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
            }
            there == 0
        });
        Ok(is_new)
    }

    /// The oldest event that nobody has handled, behind a number where one is given. It stays until
    /// [`Store::event_handled`], so that whoever handles it may be killed meanwhile.
    pub async fn next_event(&self, after: Option<u64>) -> Result<Option<EventRow>> {
        let row: Option<Columns> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT sequence, source, delivery, kind, service, payload, received_at FROM event \
                 WHERE handled_at IS NULL AND sequence > $1 ORDER BY sequence LIMIT 1",
            )
            .bind(after.map_or(-1, signed))
            .fetch_optional(pool)
            .await
        })
        .map_err(broken)?;
        let Some((sequence, source, delivery, kind, service, payload, received)) = row else { return Ok(None) };
        let (sequence, received_at) = (unsigned(sequence)?, instant(received)?);
        Ok(Some(EventRow { sequence, source, delivery, kind, service, payload, received_at }))
    }

    /// Notes that an event was handled, and says whether nobody had done so before.
    pub async fn event_handled(&self, sequence: u64, at: Timestamp) -> Result<bool> {
        let done = writing!(self, transaction => {
            sqlx::query("UPDATE event SET handled_at = $1 WHERE sequence = $2 AND handled_at IS NULL")
                .bind(microseconds(at))
                .bind(signed(sequence))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?
                .rows_affected()
        });
        Ok(done == 1)
    }

    /// Forgets the events that were handled before an instant, and says how many. Their lines in the audit log
    /// stay; a delivery that comes again after this counts as a new one.
    pub async fn forget_events(&self, handled_before: Timestamp) -> Result<u64> {
        Ok(writing!(self, transaction => {
            sqlx::query("DELETE FROM event WHERE handled_at < $1")
                .bind(microseconds(handled_before))
                .execute(&mut *transaction)
                .await
                .map_err(broken)?
                .rows_affected()
        }))
    }
}
