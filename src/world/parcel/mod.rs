//! A parcel: one file that carries releases to a machine without a network.
//!
//! ```text
//! <stem>/parcel.json                  size and digest of every other file in it
//! <stem>/tuf/…                        the catalog's metadata, where there is a catalog
//! <stem>/<release>/index.json …       the files of each release
//! ```
//!
//! It is a tar file without compression in the strict form of our archives, so that `tar xf` makes
//! a directory of it that can be installed from as well. [`Parcel::open`] reads all of it once:
//! a parcel that was damaged on its way is refused before anything of it is used. Nothing is unpacked,
//! and nothing of it is believed: the list says that it is whole, not who made it. [`Packing`] makes one.

#[cfg(feature = "toolchain")]
mod packing;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::files;
use crate::archive::Entry;
use crate::archive::stream::{self, Refused};
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, pretty, text};

#[cfg(feature = "toolchain")]
pub use packing::{Packing, Written};

/// The document type of the list.
pub const TYPE: &str = "consign.parcel/v1";
/// The name of the list.
pub const LIST: &str = "parcel.json";
/// How the name of a parcel ends.
pub const ENDING: &str = ".tar";
/// The largest list that is read, in bytes.
const MAX_LIST_BYTES: u64 = 8 << 20;

/// The list of what is in a parcel.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(rename = "type")]
    kind: String,
    files: Vec<Listed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    path: String,
    size_bytes: u64,
    sha256: Digest,
}

/// A parcel that is whole.
#[derive(Debug)]
pub struct Parcel {
    path: Utf8PathBuf,
    file: Mutex<File>,
    members: BTreeMap<String, Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    offset: u64,
    size: u64,
}

impl PartialEq for Parcel {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.members) == (&other.path, &other.members)
    }
}

impl Eq for Parcel {}

impl Parcel {
    /// Reads a parcel to its end.
    pub fn open(path: &Utf8Path) -> Result<Arc<Self>> {
        let mut file = files::open_regular(path)?.ok_or_else(|| {
            Failure::new(Code::FileIrregular, format!("`{path}` is not a regular file")).subject(path.as_str())
        })?;
        let read = stream::read_plain(&mut file).map_err(|refused| match refused {
            Refused::Archive(problem) => invalid(path, &problem.to_string()),
            Refused::Source(error) | Refused::Sink(error) => files::failed("read", path, error),
        })?;
        let entries = read.accepted.entries;
        let members = entries.iter().zip(&read.offsets);
        let members = members.map(|(Entry { path, size_bytes, .. }, offset)| {
            (path.clone(), Member { offset: *offset, size: *size_bytes })
        });
        let parcel = Arc::new(Self { path: path.to_owned(), file: Mutex::new(file), members: members.collect() });
        parcel.compare(&entries)?;
        Ok(parcel)
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Whether there is a file of this path.
    pub fn has(&self, path: &str) -> bool {
        self.members.contains_key(path)
    }

    /// The paths of all files in it, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// The directories that hold a file of this name.
    pub fn directories_with<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.members.keys().filter_map(move |path| path.strip_suffix(name)?.strip_suffix('/'))
    }

    /// A file in it, if there is one of this path, and its size.
    pub fn file(self: &Arc<Self>, path: &str) -> Option<(Content, u64)> {
        let Member { offset, size } = *self.members.get(path)?;
        Some((Content { parcel: Arc::clone(self), at: offset, left: size }, size))
    }

    /// Sees that every file is the one that the list tells of.
    fn compare(self: &Arc<Self>, entries: &[Entry]) -> Result<()> {
        let damaged = |problem: &str| invalid(&self.path, problem);
        let (mut list, size) = self.file(LIST).ok_or_else(|| damaged(&format!("it holds no `{LIST}`")))?;
        if size > MAX_LIST_BYTES {
            return Err(damaged("its list of files is too long"));
        }
        let mut bytes = Vec::new();
        list.read_to_end(&mut bytes).map_err(|error| files::failed("read", &self.path, error))?;
        let list: Option<List> = serde_json::from_slice(&bytes).ok();
        let list = list.filter(|list| list.kind == TYPE && pretty(list) == bytes);
        let list = list.ok_or_else(|| damaged("its list of files cannot be read"))?;
        let found: Vec<Listed> = entries.iter().filter(|entry| entry.path != LIST).map(Listed::of).collect();
        if let Some((listed, _)) = list.files.iter().zip(&found).find(|(listed, found)| listed != found) {
            return Err(damaged(&format!("`{}` is not what its list says", text::shown(&listed.path))));
        }
        if list.files.len() != found.len() || entries.iter().any(|entry| entry.executable) {
            return Err(damaged("it does not hold what its list says"));
        }
        Ok(())
    }
}

impl Listed {
    fn of(entry: &Entry) -> Self {
        Self { path: entry.path.clone(), size_bytes: entry.size_bytes, sha256: entry.sha256 }
    }
}

fn invalid(path: &Utf8Path, problem: &str) -> Failure {
    Failure::new(Code::ArchiveInvalid, format!("`{path}` is refused: {problem}"))
        .subject(path.as_str())
        .hint("it was damaged on its way, or is no file that `consign bundle export` wrote: copy it again")
}

/// The content of one file.
#[derive(Debug)]
pub struct Content {
    parcel: Arc<Parcel>,
    at: u64,
    left: u64,
}

impl Read for Content {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let piece = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if piece == 0 {
            return Ok(0);
        }
        // Others may have moved the one file's position in the meantime.
        let mut file = self.parcel.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(&mut out[..piece])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
