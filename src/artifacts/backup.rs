//! Copies of everything while the server goes on, and the way back.
//!
//! The database is copied first and the blobs afterwards: while nothing is removed ([`turn`]), blobs are only
//! ever added, so the copy has all that its database names. A copy keeps its blobs in a directory, wherever
//! the original has them; the way back leads to wherever the settings say.

use camino::Utf8Path;
use serde::Serialize;

use super::Registry;
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::store::blobs::{self, Blobs};
use crate::store::{FILE_NAME, Place, Store};
use crate::world::files;
use crate::world::lock::Lock;

/// How many blobs are copied between two questions to the database.
const TOGETHER: u32 = 500;

/// What was copied.
#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// How many blobs.
    pub blobs: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Registry {
    /// Copies the embedded database and every blob that it names into a directory that is new or empty.
    pub async fn back_up(&self, directory: &Utf8Path) -> Result<Backup> {
        require_empty(directory)?;
        files::create_directory(directory)?;
        let database = directory.join(FILE_NAME);
        self.store.copy_to(&database).await?;
        let copied = Store::open(&Place::Sqlite(database)).await?;
        let done = copy_blobs(&copied, &self.blobs, &Blobs::in_directory(&directory.join("blobs"))?).await;
        copied.close().await;
        done
    }
}

/// Copies a backup into a data directory that is new or empty.
pub async fn restore(backup: &Utf8Path, data: &Utf8Path, blobs: &blobs::Place) -> Result<Backup> {
    let database = backup.join(FILE_NAME);
    if !database.is_file() {
        return Err(Failure::new(Code::FileMissing, format!("there is no backup at `{backup}`"))
            .subject(backup.as_str())
            .hint("name the directory that `consign-server backup` wrote"));
    }
    require_empty(data)?;
    files::create_directory(data)?;
    let store = Store::open(&Place::Sqlite(database)).await?;
    let place = data.join(FILE_NAME);
    let done = async {
        let done = copy_blobs(&store, &Blobs::in_directory(&backup.join("blobs"))?, &Blobs::open(blobs)?).await?;
        // With the database the directory is complete, so it comes last.
        store.copy_to(&place).await?;
        Ok(done)
    };
    let done = done.await;
    store.close().await;
    done
}

async fn copy_blobs(store: &Store, from: &Blobs, to: &Blobs) -> Result<Backup> {
    let mut done = Backup { blobs: 0, bytes: 0 };
    let mut after = String::new();
    loop {
        let blobs = store.blobs_after(&after, TOGETHER).await?;
        let Some(last) = blobs.last() else { return Ok(done) };
        after = last.sha256.to_string();
        for blob in blobs {
            let missing = || Failure::new(Code::StoreDamaged, format!("the blob {} is missing", blob.sha256));
            let source = from.read(blob).await?.ok_or_else(missing)?;
            let mut incoming = to.receive(blob).await?;
            incoming.copy_from(source).await?;
            incoming.finish().await?;
            done.blobs += 1;
            done.bytes += blob.size_bytes;
        }
    }
}

/// The turn of whoever copies or removes what is kept with a data directory: nobody does both at once.
pub fn turn(data: &Utf8Path) -> Result<Option<Lock>> {
    let path = data.join("keeping.lock");
    Lock::take(&path, &|_| ()).map_err(|error| files::failed("lock", &path, error))
}

fn require_empty(directory: &Utf8Path) -> Result<()> {
    if directory.is_dir() && !files::list(directory)?.is_empty() {
        return Err(Failure::new(Code::FileExists, format!("`{directory}` is not empty"))
            .subject(directory.as_str())
            .hint("name a directory that is not there yet"));
    }
    Ok(())
}
