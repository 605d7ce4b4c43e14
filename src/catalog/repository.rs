//! The files of a catalog: found, read and verified, locked, and written so that readers are safe.
//!
//! A [`Repository`] is a place; [`Repository::roots`] and [`Repository::state`] give what is there
//! after checking it. [`Repository::place`] writes what is found last by a reader first, so that a
//! reader in between sees something that does not fit together, and reads again.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::root::{follow, sound};
use super::source::DIRECTORY;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};
use crate::provider::directory::{self, Lock};
use crate::trust::tuf::roles::{Meta, Role, RoleName, Root, Signed, Snapshot, Target, Targets, TimestampRole};
use crate::world::files;

/// The root that waits for signatures.
pub const PROPOSED_ROOT: &str = "proposed.root.json";
/// The largest document of a catalog that is read, in bytes.
pub const MAX_BYTES: usize = 64 << 20;
/// The most roots that are followed.
const MAX_ROOTS: u64 = 1024;
/// The largest version that is gone on from. A larger one can only be meant to wear out the numbers.
const MAX_VERSION: u64 = 1 << 31;

/// The file of a role.
pub fn file_of(role: RoleName) -> String {
    format!("{role}.json")
}

/// The file of a role that waits for signatures.
pub fn proposed_file_of(role: RoleName) -> String {
    format!("proposed.{role}.json")
}

/// Where a catalog is, or will be.
#[derive(Clone, Debug)]
pub struct Repository {
    target: Utf8PathBuf,
    metadata: Utf8PathBuf,
}

/// A document with its bytes.
#[derive(Clone, Debug)]
pub struct Document<T> {
    /// What it says.
    pub signed: Signed<T>,
    /// The file.
    pub bytes: Vec<u8>,
}

impl<T: Role> Document<T> {
    /// How another document names this one.
    pub fn meta(&self) -> Meta {
        let sha256 = Digest::of(&self.bytes).to_string();
        Meta {
            version: self.signed.signed.version(),
            length: Some(self.bytes.len() as u64),
            hashes: Some([("sha256".to_owned(), sha256)].into()),
        }
    }

    /// Whether another document means this one.
    pub fn is_named_by(&self, meta: &Meta) -> bool {
        let own = self.meta();
        let fits = |given: &BTreeMap<String, String>| {
            given
                .get("sha256")
                .is_none_or(|digest| own.hashes.as_ref().and_then(|own| own.get("sha256")) == Some(digest))
        };
        meta.version == own.version
            && meta.length.is_none_or(|length| Some(length) == own.length)
            && meta.hashes.as_ref().is_none_or(fits)
    }
}

/// Every root of a catalog, each accepted by itself and by the one before it.
#[derive(Clone, Debug)]
pub struct Chain(Vec<Signed<Root>>);

impl Chain {
    /// The newest root.
    pub fn current(&self) -> &Root {
        &self.last().signed
    }

    /// The newest root with its signatures.
    pub fn last(&self) -> &Signed<Root> {
        self.0.last().expect("a chain has at least its first root")
    }

    /// Every root, the first one first.
    pub fn roots(&self) -> &[Signed<Root>] {
        &self.0
    }

    /// Goes on with a root that follows the last.
    #[must_use]
    pub fn extended(mut self, next: Signed<Root>) -> Self {
        self.0.push(next);
        self
    }
}

/// Under which root a document is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The newest.
    Current,
    /// An older one: its keys have been replaced since.
    Former,
}

/// A document that is signed.
#[derive(Clone, Debug)]
pub struct Standed<T> {
    /// The document.
    pub document: Document<T>,
    /// Under which root.
    pub standing: Standing,
}

impl<T: Role> Standed<T> {
    /// The version that follows.
    pub fn next_version(&self) -> u64 {
        match (self.document.signed.signed.version(), self.standing) {
            // Clients forget the numbers of a key that was replaced, so they may start anew.
            (version, Standing::Former) if version >= MAX_VERSION => 1,
            (version, _) => version.saturating_add(1),
        }
    }
}

/// What a catalog lists, as far as it is there.
#[derive(Clone, Debug)]
pub struct State {
    /// Which files there are.
    pub targets: Option<Standed<Targets>>,
    /// Which targets metadata is meant.
    pub snapshot: Option<Standed<Snapshot>>,
    /// Which snapshot is the newest.
    pub timestamp: Option<Standed<TimestampRole>>,
}

impl Repository {
    /// The catalog of a directory of versions, which may also be named by its `tuf` itself.
    pub fn at(given: &Utf8Path) -> Self {
        match given.parent() {
            Some(target) if given.file_name() == Some(DIRECTORY) => {
                Self { target: target.to_owned(), metadata: given.to_owned() }
            }
            _ => Self { target: given.to_owned(), metadata: given.join(DIRECTORY) },
        }
    }

    /// The catalog that a file belongs to, if there is one around it.
    pub fn of_file(path: &Utf8Path) -> Option<Self> {
        let metadata = path.parent().filter(|parent| parent.file_name() == Some(DIRECTORY))?;
        Some(Self::at(metadata))
    }

    /// The directory of the versions.
    pub fn target(&self) -> &Utf8Path {
        &self.target
    }

    /// The directory of the metadata.
    pub fn metadata(&self) -> &Utf8Path {
        &self.metadata
    }

    /// The path of one of its files.
    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.metadata.join(name)
    }

    /// Whether there is a catalog.
    pub fn exists(&self) -> bool {
        self.path("1.root.json").is_file()
    }

    /// Waits until nobody else changes the catalog or publishes beside it.
    pub fn lock(&self) -> Result<Turn> {
        directory::create_root(&self.target)?;
        let lock = Lock::take(&self.target)?;
        if lock.is_some() {
            files::sweep(&self.metadata)?;
        }
        Ok(Turn { _lock: lock })
    }

    /// Reads a document, whose signatures nobody has looked at yet.
    pub fn read<T: Role>(&self, name: &str) -> Result<Option<Document<T>>> {
        let path = self.path(name);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        read(&path).map(Some)
    }

    /// Reads every root and follows it from the first to the last.
    pub fn roots(&self) -> Result<Chain> {
        let first: Document<Root> = self.read("1.root.json")?.ok_or_else(|| {
            Failure::new(Code::CatalogMissing, format!("there is no catalog in `{}`", self.target))
                .subject(self.metadata.as_str())
                .hint("make one with `consign trust init`, or name the directory that holds `tuf`")
        })?;
        let mut chain = Chain(vec![first.signed]);
        self.accept(1, None, chain.last())?;
        for number in 2..=MAX_ROOTS {
            let Some(next) = self.read::<Root>(&format!("{number}.root.json"))? else { break };
            self.accept(number, Some(chain.current()), &next.signed)?;
            chain = chain.extended(next.signed);
        }
        Ok(chain)
    }

    fn accept(&self, number: u64, previous: Option<&Root>, next: &Signed<Root>) -> Result<()> {
        let file = self.path(&format!("{number}.root.json"));
        if next.signed.version != number {
            return Err(invalid(&file, &format!("it is root {}, not {number}", next.signed.version)));
        }
        sound(&next.signed).map_err(|failure| invalid(&file, "its roles cannot be used").because(failure))?;
        follow(previous, next).map_err(|problem| invalid(&file, &problem))
    }

    /// Reads what the catalog lists, and verifies it under its roots.
    pub fn state(&self, chain: &Chain) -> Result<State> {
        let state =
            State { targets: self.standed(chain)?, snapshot: self.standed(chain)?, timestamp: self.standed(chain)? };
        state.refuse_rollback(self)?;
        Ok(state)
    }

    fn standed<T: Role>(&self, chain: &Chain) -> Result<Option<Standed<T>>> {
        let name = file_of(T::NAME);
        let Some(document) = self.read::<T>(&name)? else { return Ok(None) };
        let by = chain.roots().iter().rposition(|root| root.signed.accepts(&document.signed)).ok_or_else(|| {
            let problem = format!("it is not signed by the keys that a root appoints for {}", T::NAME);
            invalid(&self.path(&name), &problem).hint("restore the file from a backup or a mirror")
        })?;
        let standing = if by + 1 == chain.roots().len() { Standing::Current } else { Standing::Former };
        if standing == Standing::Current && document.signed.signed.version() >= MAX_VERSION {
            return Err(invalid(&self.path(&name), "its version is absurdly large")
                .hint(format!("its key was abused: replace it with `consign trust rotate --role {}`", T::NAME)));
        }
        Ok(Some(Standed { document, standing }))
    }

    /// Writes finished documents in their order: each is there whole or not at all.
    pub fn place(&self, documents: &[(String, Vec<u8>)]) -> Result<()> {
        directory::create_root(&self.metadata)?;
        for (name, bytes) in documents {
            files::write(&self.path(name), bytes)?;
        }
        files::sync_directory(&self.metadata)
    }

    /// Removes files that nobody needs any more.
    pub fn remove(&self, names: &[String]) -> Result<()> {
        for name in names {
            let path = self.path(name);
            match fs_err::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(files::failed("remove", &path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// One writer's turn in a catalog; others wait until it goes.
#[derive(Debug)]
pub struct Turn {
    _lock: Option<Lock>,
}

/// Reads a document of a catalog from anywhere.
pub fn read<T: Role>(path: &Utf8Path) -> Result<Document<T>> {
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    let signed = Signed::parse(&bytes)
        .map_err(|problem| invalid(path, &format!("it is no {} of a catalog", T::NAME)).because(problem))?;
    Ok(Document { signed, bytes })
}

impl State {
    /// Every file that is listed.
    pub fn listed(&self) -> &BTreeMap<String, Target> {
        static NOTHING: BTreeMap<String, Target> = BTreeMap::new();
        self.targets.as_ref().map_or(&NOTHING, |targets| &targets.document.signed.signed.targets)
    }

    /// The versions of what is there.
    pub fn versions(&self) -> impl Iterator<Item = (String, u64)> {
        let targets = self.targets.as_ref().map(|known| (RoleName::Targets, known.document.signed.signed.version));
        let snapshot = self.snapshot.as_ref().map(|known| (RoleName::Snapshot, known.document.signed.signed.version));
        let timestamp =
            self.timestamp.as_ref().map(|known| (RoleName::Timestamp, known.document.signed.signed.version));
        [targets, snapshot, timestamp].into_iter().flatten().map(|(role, version)| (role.to_string(), version))
    }

    /// The version of the next snapshot, which is above every one that readers were told of.
    pub(super) fn next_snapshot(&self) -> u64 {
        let own = self.snapshot.as_ref().map_or(1, Standed::next_version);
        let named = self.timestamp.as_ref().filter(|known| known.standing == Standing::Current).and_then(|known| {
            known.document.signed.signed.meta.get("snapshot.json").map(|meta| meta.version.saturating_add(1))
        });
        own.max(named.unwrap_or(1))
    }

    /// Somebody has put an older document in the place of a newer one.
    fn refuse_rollback(&self, repository: &Repository) -> Result<()> {
        let refuse = |role: RoleName, found: u64, named: u64, by: RoleName| {
            let message = format!("`{role}.json` has version {found}, and `{by}.json` names version {named}");
            Err(Failure::new(Code::CatalogRollback, message)
                .subject(repository.path(&file_of(role)).as_str())
                .hint("restore the newer file from a backup or a mirror"))
        };
        if let (Some(targets), Some(snapshot)) = (&self.targets, &self.snapshot) {
            let (found, named) =
                (targets.document.signed.signed.version, named(&snapshot.document.signed.signed.meta, "targets.json"));
            if found < named {
                return refuse(RoleName::Targets, found, named, RoleName::Snapshot);
            }
        }
        if let (Some(snapshot), Some(timestamp)) = (&self.snapshot, &self.timestamp) {
            let (found, named) = (
                snapshot.document.signed.signed.version,
                named(&timestamp.document.signed.signed.meta, "snapshot.json"),
            );
            if found < named && timestamp.standing == snapshot.standing {
                return refuse(RoleName::Snapshot, found, named, RoleName::Timestamp);
            }
        }
        Ok(())
    }

    /// Whether the snapshot names the targets metadata that is there.
    pub fn is_targets_named(&self) -> bool {
        match (&self.targets, &self.snapshot) {
            (Some(targets), Some(snapshot)) => {
                let meta = &snapshot.document.signed.signed.meta;
                meta.get("targets.json").is_some_and(|meta| targets.document.is_named_by(meta))
            }
            _ => false,
        }
    }
}

fn named(meta: &BTreeMap<String, Meta>, file: &str) -> u64 {
    meta.get(file).map(|meta| meta.version).unwrap_or_default()
}

/// A document that cannot be believed.
pub(super) fn invalid(path: &Utf8Path, problem: &str) -> Failure {
    Failure::new(Code::CatalogInvalid, format!("`{path}` cannot be used: {problem}"))
        .subject(path.as_str())
        .hint("restore it from a backup or a mirror, or get it again from its author")
}
