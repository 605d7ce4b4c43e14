//! What was trusted last time, so that nothing older is believed again.
//!
//! A [`State`] is one file per pinned root, in a directory named by the digest of that root and never
//! by an address. It is written whole and only after an update has fully succeeded. What it holds is
//! verified again by whoever reads it, from the pinned root on: it can make a client stricter, never
//! more trusting.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::model::failure::Result;
use crate::model::{Digest, pretty};
use crate::trust::tuf::roles::{Signed, TimestampRole};
use crate::world::files;

/// The `type` of the file.
pub const TYPE: &str = "consign.catalog-state/v1";
const FILE_NAME: &str = "trusted.json";
const LOCK_NAME: &str = "lock";
/// The largest file that is read. A larger one is not written.
const MAX_BYTES: usize = 256 << 20;

/// Documents that were trusted, as they were fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// The roots after the one that is pinned, each following the other.
    pub roots: Vec<Vec<u8>>,
    /// The timestamp.
    pub timestamp: Option<Vec<u8>>,
    /// The snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// Everything that speaks about targets, by the name of the role.
    pub targets: BTreeMap<String, Vec<u8>>,
}

/// Where the documents of one pinned root are kept.
#[derive(Clone, Debug)]
pub struct State {
    directory: Utf8PathBuf,
}

/// The file. Every document is JSON and therefore text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "type")]
    kind: String,
    roots: Vec<String>,
    timestamp: Option<String>,
    snapshot: Option<String>,
    targets: BTreeMap<String, String>,
}

impl State {
    /// The state of a pinned root below the directory for all of them.
    pub fn of(all: &Utf8Path, pinned_root: &[u8]) -> Self {
        Self { directory: all.join(Digest::of(pinned_root).to_string()) }
    }

    /// Where it is.
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// What was trusted last time, and what a user should know if that cannot be used.
    pub fn load(&self) -> Result<(Documents, Option<String>)> {
        let path = self.directory.join(FILE_NAME);
        if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(Default::default());
        }
        let bytes = files::read_bounded(&path, MAX_BYTES)?;
        let written = serde_json::from_slice::<Written>(&bytes).ok().filter(|written| written.kind == TYPE);
        Ok(match written {
            Some(written) => (written.into_documents(), None),
            None => (Documents::default(), Some(unusable(&path))),
        })
    }

    /// Keeps what is trusted now, unless that is what was loaded, or somebody kept something newer
    /// in the meantime.
    pub fn save(&self, loaded: &Documents, documents: &Documents) -> Result<()> {
        let path = self.directory.join(FILE_NAME);
        if loaded == documents && path.is_file() {
            return Ok(());
        }
        files::create_directory(&self.directory)?;
        let lock = self.directory.join(LOCK_NAME);
        let _held = hold(&lock).map_err(|error| files::failed("lock", &lock, error))?;
        let (current, _) = self.load()?;
        if current.is_newer_than(documents) {
            return Ok(());
        }
        files::write(&path, &pretty(&Written::of(documents)))?;
        files::sync_directory(&self.directory)
    }
}

/// Waits for the turn of this process. Where the file system has no locks, nobody waits.
fn hold(path: &Utf8Path) -> std::io::Result<std::fs::File> {
    let mut options = fs_err::OpenOptions::new();
    let (file, _) = options.create(true).truncate(false).write(true).open(path)?.into_parts();
    match file.lock() {
        Err(error) if error.kind() != ErrorKind::Unsupported => Err(error),
        _ => Ok(file),
    }
}

fn unusable(path: &Utf8Path) -> String {
    format!(
        "`{path}` cannot be used and is made anew: a catalog older than the one seen last would not be noticed this time"
    )
}

impl Documents {
    /// By the roots, which only grow, then by the timestamps, which only grow under one root.
    fn is_newer_than(&self, other: &Self) -> bool {
        let age = |documents: &Self| {
            let timestamp = documents.timestamp.as_deref().and_then(|bytes| Signed::<TimestampRole>::parse(bytes).ok());
            (documents.roots.len(), timestamp.map(|timestamp| timestamp.signed.version))
        };
        age(self) > age(other)
    }
}

impl Written {
    fn of(documents: &Documents) -> Self {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        Self {
            kind: TYPE.to_owned(),
            roots: documents.roots.iter().map(text).collect(),
            timestamp: documents.timestamp.as_ref().map(text),
            snapshot: documents.snapshot.as_ref().map(text),
            targets: documents.targets.iter().map(|(role, bytes)| (role.clone(), text(bytes))).collect(),
        }
    }

    fn into_documents(self) -> Documents {
        Documents {
            roots: self.roots.into_iter().map(String::into_bytes).collect(),
            timestamp: self.timestamp.map(String::into_bytes),
            snapshot: self.snapshot.map(String::into_bytes),
            targets: self.targets.into_iter().map(|(role, text)| (role, text.into_bytes())).collect(),
        }
    }
}
