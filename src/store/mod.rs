//! The database: SQLite in the data directory, or PostgreSQL, with one schema and the same statements.
//!
//! A [`Store`] has either. What it keeps are values that were judged elsewhere; every change and its
//! line in the audit log become visible together or not at all, in the one order of the log. No other
//! module knows SQL. It asks no clock: instants are handed in.

mod artifacts;
mod audit;
pub mod blobs;
pub mod errands;
mod events;
mod facts;
mod keeping;
mod pins;
mod release_views;
mod releases;
mod tokens;

use std::str::FromStr as _;
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlSafeStr as _};

use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};

pub use artifacts::{Filter, NewArtifact, NewOutcome, NewVerdict, Pushed, Row};
pub use audit::{Change, Damage};
pub use events::{EventRow, NewEvent};
pub use facts::{Amended, ApprovalRow, ArtifactFact, Facts, HoldRow, NewApproval, PoliciesWritten, Tried};
pub use keeping::{Candidate, Light, Standing};
pub use pins::Pin;
pub use release_views::{ReleaseFilter, StepRow};
pub use releases::{Ending, Judge, Named, NewHold, NewRelease, Next, Ordered, ReleaseRow, Ruling, Target};
pub use tokens::{NewToken, TokenRow};

/// The file in the data directory.
pub const FILE_NAME: &str = "consign.sqlite";
/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many connections read at once.
const READERS: u32 = 8;

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file, made where there is none.
    Sqlite(Utf8PathBuf),
    /// The address of a PostgreSQL database. It may hold a password and is never shown.
    Postgres(String),
}

/// A database that is open.
#[derive(Clone, Debug)]
pub struct Store {
    pools: Pools,
}

#[derive(Clone, Debug)]
enum Pools {
    /// One connection writes, so that nobody waits for a lock of the file; the others read beside it.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// Runs the same statements on whichever database there is, on a connection that reads.
macro_rules! reading {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite { read: $pool, .. } => $body,
            $crate::store::Pools::Postgres($pool) => $body,
        }
    };
}

/// Runs the same statements on whichever database there is, in one transaction. `?` in the body takes
/// everything back.
macro_rules! writing {
    ($store:expr, $transaction:ident => $body:block) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite { write, .. } => {
                let mut $transaction = write.begin_with("BEGIN IMMEDIATE").await.map_err($crate::store::broken)?;
                let done = $body;
                $transaction.commit().await.map_err($crate::store::broken)?;
                done
            }
            $crate::store::Pools::Postgres(pool) => {
                let mut $transaction = pool.begin().await.map_err($crate::store::broken)?;
                let done = $body;
                $transaction.commit().await.map_err($crate::store::broken)?;
                done
            }
        }
    };
}
use {reading, writing};

impl Store {
    /// Opens a database and brings its schema up to date.
    pub async fn open(place: &Place) -> Result<Self> {
        let pools = match place {
            Place::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    // What was acknowledged survives a power cut, and not only the end of the process.
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .busy_timeout(PATIENCE);
                let write = SqlitePoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(PATIENCE)
                    // Where the disk is full, SQLite ends a transaction by itself. The library believes for ever that
                    // the connection is still in it, and would let nobody write any more.
                    .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }));
                let write = write.connect_with(options.clone()).await.map_err(broken)?;
                migrator().run(&write).await.map_err(unfit)?;
                let read = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(PATIENCE);
                Pools::Sqlite { write, read: read.connect_lazy_with(options.read_only(true).create_if_missing(false)) }
            }
            Place::Postgres(address) => {
                let options = PgConnectOptions::from_str(address)
                    .map_err(|_| {
                        // What the library says may repeat the address, and with it the password.
                        Failure::new(Code::ConfigInvalid, "the address of the database cannot be understood")
                            .hint("it looks like `postgres://user:password@host/database`")
                    })?
                    .options([("statement_timeout", "30000"), ("idle_in_transaction_session_timeout", "30000")]);
                let pool = PgPoolOptions::new().max_connections(2 * READERS).acquire_timeout(PATIENCE);
                let pool = pool.connect_with(options).await.map_err(broken)?;
                migrator().run(&pool).await.map_err(unfit)?;
                Pools::Postgres(pool)
            }
        };
        Ok(Self { pools })
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<()> {
        reading!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop)).map_err(broken)
    }

    /// Lets go of every connection, when what runs has ended.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// Writes a copy of an embedded database that is whole, while others go on writing to the original.
    pub async fn copy_to(&self, path: &camino::Utf8Path) -> Result<()> {
        match &self.pools {
            Pools::Sqlite { read, .. } => {
                sqlx::query("VACUUM INTO $1").bind(path.as_str()).execute(read).await.map(drop).map_err(broken)
            }
            Pools::Postgres(_) => Err(Failure::new(Code::Usage, "a PostgreSQL database is not copied here")
                .hint("back it up with `pg_dump`, and the blobs as files")),
        }
    }
}

fn migrator() -> Migrator {
    let first = include_str!("schema.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(1, "begin".into(), MigrationType::Simple, first, false)])
}

/// The failure of a database that does not do what it is told. The cause is for the log alone.
fn broken(error: sqlx::Error) -> Failure {
    Failure::new(Code::StoreUnavailable, "the database did not answer")
        .because(error)
        .hint("try again in a moment; the server's log says why")
}

fn unfit(error: sqlx::migrate::MigrateError) -> Failure {
    Failure::new(Code::StoreUnavailable, "the schema of the database cannot be brought up to date")
        .because(error)
        .hint("a database that a newer server has written is not read by an older one")
}

/// The failure of a row that cannot have been written here.
fn damaged(what: impl Into<String>) -> Failure {
    Failure::new(Code::StoreDamaged, what).hint("run `consign-server fsck`, and restore a backup if it agrees")
}

/// An instant as it is kept.
fn microseconds(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn instant(microseconds: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(microseconds).map_err(|error| damaged("an instant is out of range").because(error))
}

fn digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|error| damaged("a digest cannot be read").because(error))
}

/// Sizes and numbers stay far below this bound; a row that does not was not written here.
fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|error| damaged("a number is below nought").because(error))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
