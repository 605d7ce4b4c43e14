//! A place in memory, for tests: of the story of publishing, and of what a place promises.
//!
//! [`Memory`] keeps what every provider keeps, in the plainest way there is. It can be told to fail at
//! any of its operations, as a machine does whose power fails. It is never a choice of the command line.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use super::{Address, Asset, Draft, Look, Provider, Shelf, State, Stored, Turn, Upload};
use crate::model::events::Listener;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, Release, index};
use crate::world::files;

/// The files of one release by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A place in memory.
#[derive(Debug, Default)]
pub struct Memory {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    published: BTreeMap<String, Files>,
    drafts: Vec<Unseen>,
    /// Every operation that has changed something.
    writes: Vec<String>,
    /// How many operations are still to succeed.
    power: Option<usize>,
}

#[derive(Debug)]
struct Unseen {
    tag: String,
    index: Option<Digest>,
    files: Files,
}

impl Memory {
    /// Lets so many operations succeed from now on, and no more.
    pub fn fail_after(&self, operations: Option<usize>) {
        self.lock().power = operations;
    }

    /// What everybody can see of a release.
    pub fn visible(&self, tag: &str) -> Option<Files> {
        self.lock().published.get(tag).cloned()
    }

    /// Puts a file into a published release, or takes one out of it.
    pub fn tamper(&self, tag: &str, name: &str, bytes: Option<Vec<u8>>) {
        let mut contents = self.lock();
        let files = contents.published.entry(tag.to_owned()).or_default();
        match bytes {
            Some(bytes) => drop(files.insert(name.to_owned(), bytes)),
            None => drop(files.remove(name)),
        }
    }

    /// Every operation so far that has changed something.
    pub fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    /// How many drafts there are.
    pub fn drafts(&self) -> usize {
        self.lock().drafts.len()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one operation, while there is power.
    fn operate<T>(&self, deed: impl FnOnce(&mut Contents) -> T) -> Result<T> {
        let mut contents = self.lock();
        if contents.power == Some(0) {
            return Err(Failure::new(Code::RemoteUnavailable, "the power has failed"));
        }
        contents.power = contents.power.map(|power| power - 1);
        Ok(deed(&mut contents))
    }

    fn shelf(&self, tag: &str) -> Option<Box<dyn Shelf + '_>> {
        let files = self.lock().published.get(tag).cloned();
        files.map(|files| -> Box<dyn Shelf> { Box::new(Seen { tag: tag.to_owned(), files }) })
    }
}

impl Provider for Memory {
    fn preflight(&self, release: &Release, _commit: Option<&str>) -> Vec<Look> {
        let found = if self.visible(&release.tag).is_some() { "published" } else { "free" };
        vec![Look { name: "publishing target", outcome: Ok(found.to_owned()) }]
    }

    fn address(&self, release: &Release) -> Result<Address> {
        let url = format!("memory:{}", release.tag);
        Ok(Address { page: url.clone(), base: url })
    }

    fn find(&self, upload: &Upload<'_>) -> Result<Option<Box<dyn Shelf + '_>>> {
        self.operate(|_| ())?;
        Ok(self.shelf(&upload.release.tag))
    }

    fn draft(&self, upload: &Upload<'_>) -> Result<Turn<'_>> {
        let tag = &upload.release.tag;
        if let Some(shelf) = self.shelf(tag) {
            return Ok(Turn::Published(shelf));
        }
        let index = upload.file(index::FILE_NAME).map(|asset| asset.sha256);
        self.operate(|contents| {
            if !contents.drafts.iter().any(|draft| draft.tag == *tag && draft.index == index) {
                contents.writes.push(format!("draft {tag}"));
                contents.drafts.push(Unseen { tag: tag.clone(), index, files: Files::new() });
            }
        })?;
        Ok(Turn::Draft(Box::new(Filling { place: self, tag: tag.clone(), index })))
    }

    fn fetch_closed(&self, release: &Release, into: &Utf8Path) -> Result<Option<()>> {
        write_all(&self.visible(&release.tag).unwrap_or_default(), into).map(Some)
    }
}

/// A published release.
struct Seen {
    tag: String,
    files: Files,
}

impl Shelf for Seen {
    fn name(&self) -> String {
        format!("`memory:{}`", self.tag)
    }

    fn list(&self) -> Result<Vec<Stored>> {
        Ok(list(&self.files))
    }

    fn digest(&self, stored: &Stored) -> Result<Digest> {
        Ok(digest(&self.files, stored))
    }
}

/// A draft.
struct Filling<'a> {
    place: &'a Memory,
    tag: String,
    index: Option<Digest>,
}

impl Filling<'_> {
    fn operate<T>(&self, deed: impl FnOnce(&mut Unseen, &mut Vec<String>) -> T) -> Result<T> {
        self.place
            .operate(|contents| {
                let Contents { drafts, writes, .. } = contents;
                let draft = drafts.iter_mut().find(|draft| draft.tag == self.tag && draft.index == self.index);
                draft.map(|draft| deed(draft, writes))
            })?
            .ok_or_else(|| Failure::new(Code::RemoteNotFound, format!("the draft of `{}` is gone", self.tag)))
    }
}

impl Shelf for Filling<'_> {
    fn name(&self) -> String {
        format!("the draft of `memory:{}`", self.tag)
    }

    fn list(&self) -> Result<Vec<Stored>> {
        self.operate(|draft, _| list(&draft.files))
    }

    fn digest(&self, stored: &Stored) -> Result<Digest> {
        self.operate(|draft, _| digest(&draft.files, stored))
    }
}

impl Draft for Filling<'_> {
    fn store(&mut self, upload: &Upload<'_>, files: &[&Asset], _listener: &dyn Listener) -> Result<()> {
        for asset in files {
            let path = upload.directory.join(asset.name.as_str());
            let bytes = fs_err::read(&path).map_err(|error| files::failed("read", &path, error))?;
            if Digest::of(&bytes) != asset.sha256 {
                return Err(Failure::new(Code::DigestMismatch, format!("`{path}` was changed after it was verified"))
                    .subject(asset.name.as_str()));
            }
            self.operate(|draft, writes| {
                writes.push(format!("store {}", asset.name));
                draft.files.insert(asset.name.to_string(), bytes);
            })?;
        }
        Ok(())
    }

    fn remove(&mut self, stored: &Stored) -> Result<()> {
        self.operate(|draft, writes| {
            writes.push(format!("remove {}", stored.name));
            draft.files.remove(&stored.name);
        })
    }

    fn fetch(&mut self, into: &Utf8Path) -> Result<Utf8PathBuf> {
        let files = self.operate(|draft, _| draft.files.clone())?;
        write_all(&files, into)?;
        Ok(into.to_owned())
    }

    fn flip(self: Box<Self>, _upload: &Upload<'_>) -> Result<bool> {
        self.place.operate(|contents| {
            let at = contents.drafts.iter().position(|draft| draft.tag == self.tag && draft.index == self.index);
            if contents.published.contains_key(&self.tag) {
                return false;
            }
            let Some(at) = at else { return false };
            let draft = contents.drafts.remove(at);
            contents.writes.push(format!("flip {}", self.tag));
            contents.published.insert(draft.tag, draft.files);
            true
        })
    }
}

fn list(files: &Files) -> Vec<Stored> {
    let stored = |(name, bytes): (&String, &Vec<u8>)| Stored {
        name: name.clone(),
        id: None,
        state: State::Whole { size_bytes: bytes.len() as u64, sha256: None },
    };
    files.iter().map(stored).collect()
}

fn digest(files: &Files, stored: &Stored) -> Digest {
    Digest::of(files.get(&stored.name).map(Vec::as_slice).unwrap_or_default())
}

fn write_all(files: &Files, into: &Utf8Path) -> Result<()> {
    files.iter().try_for_each(|(name, bytes)| files::write(&into.join(name), bytes))
}
