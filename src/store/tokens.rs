//! The rows of tokens. A token itself is never kept, only its digest.

use jiff::Timestamp;

use super::audit::{append, lock_log};
use super::{Change, Store, broken, instant, microseconds, reading, writing};
use crate::model::Digest;
use crate::model::failure::Result;

/// Writes the row of a token.
macro_rules! insert {
    ($transaction:ident, $token:ident) => {
        sqlx::query(
            "INSERT INTO token (id, sha256, name, grants, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&$token.id)
        .bind($token.sha256.to_string())
        .bind(&$token.name)
        .bind(&$token.grants)
        .bind(microseconds($token.created_at))
        .bind($token.expires_at.map(microseconds))
        .execute(&mut *$transaction)
        .await
        .map_err(broken)?
    };
}

/// A token that is to be kept.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is called in lists and in the audit log.
    pub id: String,
    /// The digest of the token.
    pub sha256: Digest,
    /// What people call it.
    pub name: String,
    /// What it allows, as text.
    pub grants: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it counts no more.
    pub expires_at: Option<Timestamp>,
}

/// A token as it is kept.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// What it is called in lists and in the audit log.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it allows, as text.
    pub grants: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it counts no more.
    pub expires_at: Option<Timestamp>,
    /// Since when it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

type Columns = (String, String, String, i64, Option<i64>, Option<i64>, Option<i64>);

impl TokenRow {
    fn of((id, name, grants, created, expires, revoked, used): Columns) -> Result<Self> {
        Ok(Self {
            id,
            name,
            grants,
            created_at: instant(created)?,
            expires_at: expires.map(instant).transpose()?,
            revoked_at: revoked.map(instant).transpose()?,
            last_used_at: used.map(instant).transpose()?,
        })
    }
}

impl Store {
    /// Keeps a new token.
    pub async fn add_token(&self, token: &NewToken, change: &Change) -> Result<()> {
        writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            insert!(transaction, token);
            append!(transaction, frontier, change);
        });
        Ok(())
    }

    /// Keeps the very first token, and says whether it was. Of several replicas that start together, one
    /// makes it.
    pub async fn add_first_token(&self, token: &NewToken, change: &Change) -> Result<bool> {
        let is_first = writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let (there,): (i64,) =
                sqlx::query_as("SELECT COUNT(*) FROM token").fetch_one(&mut *transaction).await.map_err(broken)?;
            if there == 0 {
                insert!(transaction, token);
                append!(transaction, frontier, change);
            }
            there == 0
        });
        Ok(is_first)
    }

    /// Takes a token back, and says whether there was one that still counted.
    pub async fn revoke_token(&self, id: &str, change: &Change) -> Result<bool> {
        let revoked = writing!(self, transaction => {
            let mut frontier = lock_log!(transaction);
            let done = sqlx::query("UPDATE token SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
                .bind(microseconds(change.at))
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
            if done.rows_affected() == 1 {
                append!(transaction, frontier, change);
            }
            done.rows_affected() == 1
        });
        Ok(revoked)
    }

    /// The token with this digest, whether it still counts or not.
    pub async fn token(&self, sha256: &Digest) -> Result<Option<TokenRow>> {
        let row: Option<Columns> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT id, name, grants, created_at, expires_at, revoked_at, last_used_at FROM token WHERE sha256 = $1",
            )
            .bind(sha256.to_string())
            .fetch_optional(pool)
            .await
        })
        .map_err(broken)?;
        row.map(TokenRow::of).transpose()
    }

    /// Every token, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>> {
        let rows: Vec<Columns> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT id, name, grants, created_at, expires_at, revoked_at, last_used_at FROM token \
                 ORDER BY created_at, id",
            )
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter().map(TokenRow::of).collect()
    }

    /// Notes that a token was used. It is no change that the audit log should have.
    pub async fn touch_token(&self, id: &str, at: Timestamp) -> Result<()> {
        writing!(self, transaction => {
            sqlx::query("UPDATE token SET last_used_at = $1 WHERE id = $2")
                .bind(microseconds(at))
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(broken)?;
        });
        Ok(())
    }
}
