//! Publishing into a directory, local or mounted.
//!
//! A [`Directory`] puts a release together in a staging directory beside its destination and renames
//! that as one, so that a reader sees all of a version or nothing of it. Where a directory cannot be
//! renamed (some mounted buckets) the files come first and `index.json` last: a version exists only
//! when its index does. A run that is killed anywhere leaves nothing that the next one does not
//! clear away. What is published is never changed.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use reqwest::Url;

use super::{Address, Asset, Draft, Look, Provider, Shelf, State, Stored, Turn, Upload};
use crate::model::digest::Hasher;
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Digest, Failure, FileName, Release, index, text};
use crate::world::{files, lock};

/// How the name of a staging directory begins.
const STAGING_PREFIX: &str = ".consign-staging-";
/// The file that one publisher at a time holds a lock on, and that goes away with it.
const LOCK_NAME: &str = ".consign-publish.lock";
/// How much is copied at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// How a file or directory gets its final name.
type Rename<'a> = &'a dyn Fn(&Utf8Path, &Utf8Path) -> std::io::Result<()>;

/// A directory of releases, or of the one release that it is named after.
pub struct Directory<'a> {
    target: &'a Utf8Path,
    rename: Rename<'a>,
}

impl<'a> Directory<'a> {
    /// Releases go into `<target>/<version>/`, or into `target` itself when that is its name.
    pub fn at(target: &'a Utf8Path) -> Self {
        Self { target, rename: &rename }
    }
}

fn rename(from: &Utf8Path, to: &Utf8Path) -> std::io::Result<()> {
    fs_err::rename(from, to)
}

impl Provider for Directory<'_> {
    fn preflight(&self, release: &Release, _commit: Option<&str>) -> Vec<Look> {
        let look = || {
            let destination = place_of(&release.directory()?, self.target)?;
            Ok(if destination.join(index::FILE_NAME).is_file() {
                format!(
                    "`{}` is published in `{destination}` already: the same bytes will be left, others refused",
                    release.tag
                )
            } else {
                format!("`{destination}` is free")
            })
        };
        vec![Look { name: "publishing target", outcome: look() }]
    }

    fn address(&self, release: &Release) -> Result<Address> {
        let url = file_url(&place_of(&release.directory()?, self.target)?);
        Ok(Address { page: url.clone(), base: url })
    }

    fn find(&self, upload: &Upload<'_>) -> Result<Option<Box<dyn Shelf + '_>>> {
        let destination = destination(upload, self.target)?;
        if inspect(upload, &destination)? != Found::Release {
            return Ok(None);
        }
        // A publisher that was killed as its very last deed has left its lock, which goes with the next
        // turn. Where that cannot be taken, nothing is the worse for it.
        let root = root_of(&destination);
        if root.join(LOCK_NAME).exists() {
            drop(Lock::take(root));
        }
        Ok(Some(Box::new(Place(destination))))
    }

    fn draft(&self, upload: &Upload<'_>) -> Result<Turn<'_>> {
        let destination = destination(upload, self.target)?;
        let root = root_of(&destination).to_owned();
        create_root(&root)?;
        let lock = Lock::take(&root)?;
        // Another publisher may have been at work while this one waited.
        let found = inspect(upload, &destination)?;
        if found == Found::Release {
            return Ok(Turn::Published(Box::new(Place(destination))));
        }
        // Without a lock, what looks left over may be somebody's work in progress.
        if lock.is_some() {
            remove_leftovers(&root)?;
        }
        let staging = tempfile::Builder::new()
            .prefix(&format!("{STAGING_PREFIX}{}-", upload.release.directory()?))
            .tempdir_in(&root)
            .map_err(|error| files::failed("create a directory in", &root, error))?;
        let directory = files::utf8(staging.path().to_owned())?;
        let draft = Staging {
            staging,
            directory,
            root,
            destination,
            found,
            stored: BTreeMap::new(),
            rename: self.rename,
            lock,
        };
        Ok(Turn::Draft(Box::new(draft)))
    }

    fn fetch_closed(&self, _release: &Release, _into: &Utf8Path) -> Result<Option<()>> {
        Ok(None)
    }
}

/// A published release.
struct Place(Utf8PathBuf);

impl Shelf for Place {
    fn name(&self) -> String {
        format!("`{}`", self.0)
    }

    fn list(&self) -> Result<Vec<Stored>> {
        let entries = files::list(&self.0)?.into_iter();
        let stored = entries.map(|(name, regular)| {
            let state = if regular {
                let path = self.0.join(&name);
                let size_bytes = fs_err::metadata(&path).map_err(|error| files::failed("read", &path, error))?.len();
                State::Whole { size_bytes, sha256: None }
            } else {
                State::Irregular
            };
            Ok(Stored { name, id: None, state })
        });
        stored.collect()
    }

    fn digest(&self, stored: &Stored) -> Result<Digest> {
        let path = self.0.join(&stored.name);
        let read_failed = |error| files::failed("read", &path, error);
        let file = fs_err::File::open(&path).map_err(read_failed)?;
        copy(file, std::io::sink(), PIECE_BYTES as u64).map(|(_, digest)| digest).map_err(read_failed)
    }
}

/// A release that is put together beside its destination. The directory goes before the lock does.
struct Staging<'a> {
    staging: tempfile::TempDir,
    directory: Utf8PathBuf,
    root: Utf8PathBuf,
    destination: Utf8PathBuf,
    found: Found,
    /// What was copied there, as it was read.
    stored: BTreeMap<String, (u64, Digest)>,
    rename: Rename<'a>,
    lock: Option<Lock>,
}

impl Shelf for Staging<'_> {
    fn name(&self) -> String {
        format!("`{}`", self.directory)
    }

    fn list(&self) -> Result<Vec<Stored>> {
        let whole = |(name, &(size_bytes, digest)): (&String, &(u64, Digest))| Stored {
            name: name.clone(),
            id: None,
            state: State::Whole { size_bytes, sha256: Some(digest) },
        };
        Ok(self.stored.iter().map(whole).collect())
    }

    fn digest(&self, stored: &Stored) -> Result<Digest> {
        Place(self.directory.clone()).digest(stored)
    }
}

impl Draft for Staging<'_> {
    fn store(&mut self, upload: &Upload<'_>, files: &[&Asset], listener: &dyn Listener) -> Result<()> {
        for asset in files {
            let (began, name) = (Instant::now(), asset.name.as_str());
            listener.hear(&Event::TaskStarted { stage: Stage::Publish, task: name.to_owned() });
            copy_verified(&upload.directory.join(name), &self.directory.join(name), asset)?;
            self.stored.insert(name.to_owned(), (asset.size_bytes, asset.sha256));
            let (bytes, duration) = (asset.size_bytes, began.elapsed());
            listener.hear(&Event::TaskFinished { stage: Stage::Publish, task: name.to_owned(), bytes, duration });
        }
        set_mode(&self.directory, 0o755)?;
        sync(&self.directory)
    }

    fn remove(&mut self, stored: &Stored) -> Result<()> {
        let path = self.directory.join(&stored.name);
        fs_err::remove_file(&path).map_err(|error| files::failed("remove", &path, error))?;
        self.stored.remove(&stored.name);
        Ok(())
    }

    fn fetch(&mut self, _into: &Utf8Path) -> Result<Utf8PathBuf> {
        Ok(self.directory.clone())
    }

    fn flip(self: Box<Self>, upload: &Upload<'_>) -> Result<bool> {
        // The lock is let go last.
        let Self { lock, staging, directory, root, destination, found, rename, .. } = *self;
        if lock.is_some() && found == Found::Incomplete {
            clear_incomplete(upload, &destination)?;
        }
        if rename(&directory, &destination).is_ok() {
            // It has another name now, under which nobody may remove it.
            let _ = staging.keep();
        } else {
            if inspect(upload, &destination)? == Found::Release {
                return Ok(false);
            }
            place_one_by_one(upload, &directory, &destination, rename)?;
        }
        sync(&root)?;
        Ok(true)
    }
}

/// What is at the destination, where it is nothing that forbids publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// What a killed run left: some of our files, and no index.
    Incomplete,
    /// A release, whether ours or another one.
    Release,
}

/// Where a release goes, as an absolute path. Its parent is the directory of all versions.
pub fn place_of(release: &FileName, target: &Utf8Path) -> Result<Utf8PathBuf> {
    let target = camino::absolute_utf8(target).map_err(|error| files::failed("find", target, error))?;
    Ok(if target.file_name() == Some(release.as_str()) { target } else { target.join(release.as_str()) })
}

/// The same, which must have nothing to do with the bundle's own path.
fn destination(upload: &Upload<'_>, target: &Utf8Path) -> Result<Utf8PathBuf> {
    let destination = place_of(&upload.release.directory()?, target)?;
    let (ours, theirs) = (resolved(upload.directory), resolved(&destination));
    if theirs.starts_with(&ours) || ours.starts_with(&theirs) {
        return Err(foreign(&destination, "is the bundle itself, or a directory in or around it")
            .hint("publish to a directory outside of `dist/packages`"));
    }
    Ok(destination)
}

/// A path with every link on its way followed, as far as it exists.
fn resolved(path: &Utf8Path) -> Utf8PathBuf {
    path.ancestors()
        .find_map(|known| {
            let real = known.canonicalize_utf8().ok()?;
            Some(path.strip_prefix(known).map_or(real.clone(), |rest| real.join(rest)))
        })
        .unwrap_or_else(|| path.to_owned())
}

fn file_url(directory: &Utf8Path) -> String {
    let real = resolved(directory);
    Url::from_directory_path(&real).map_or_else(|()| format!("file://{real}/"), String::from)
}

/// Looks at the destination without touching it.
fn inspect(upload: &Upload<'_>, destination: &Utf8Path) -> Result<Found> {
    match fs_err::symlink_metadata(destination) {
        Ok(_) if !destination.is_dir() => return Err(foreign(destination, "is not a directory")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(foreign(destination, "is below something that is not a directory"));
        }
        Err(error) => return Err(files::failed("look at", destination, error)),
    }
    let there: BTreeMap<String, bool> = files::list(destination)?.into_iter().collect();
    if there.contains_key(index::FILE_NAME) {
        return Ok(Found::Release);
    }
    match there.iter().find(|(name, regular)| !**regular || upload.file(name).is_none()) {
        Some((name, _)) => Err(foreign(destination, &format!("holds `{}` and no release", text::shown(name)))),
        None => Ok(Found::Incomplete),
    }
}

fn root_of(destination: &Utf8Path) -> &Utf8Path {
    destination.parent().unwrap_or(Utf8Path::new("/"))
}

/// Makes the directory of all versions, readable for everybody whatever the umask.
pub fn create_root(root: &Utf8Path) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    if let Some(parent) = root.parent() {
        create_root(parent)?;
    }
    match fs_err::create_dir(root) {
        Ok(()) => set_mode(root, 0o755),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && root.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(foreign(root, "is not a directory")),
        Err(error) => Err(files::failed("create directory", root, error)),
    }
}

/// Removes what killed runs left. The lock is held, so none of it is in use.
fn remove_leftovers(root: &Utf8Path) -> Result<()> {
    for (name, regular) in files::list(root)? {
        if !regular && name.starts_with(STAGING_PREFIX) {
            files::remove_directory(&root.join(name))?;
        }
    }
    Ok(())
}

/// What is copied is what was verified, or nothing is.
fn copy_verified(from: &Utf8Path, to: &Utf8Path, asset: &Asset) -> Result<()> {
    let source = fs_err::File::open(from).map_err(|error| files::failed("read", from, error))?;
    let write_failed = |error| files::failed("write", to, error);
    let mut file = fs_err::File::create(to).map_err(write_failed)?;
    // One byte more than there should be shows that a file has grown.
    let (size, digest) =
        copy(source.take(asset.size_bytes.saturating_add(1)), &mut file, asset.size_bytes).map_err(write_failed)?;
    if (size, digest) != (asset.size_bytes, asset.sha256) {
        let message = format!("`{from}` was changed after it was verified");
        return Err(Failure::new(Code::DigestMismatch, message)
            .subject(asset.name.as_str())
            .hint("verify the bundle again; package it again if that fails"));
    }
    set_mode(to, 0o644)?;
    file.sync_all().map_err(write_failed)
}

/// Takes the files of a killed run away, so that the finished directory can have its place.
fn clear_incomplete(upload: &Upload<'_>, destination: &Utf8Path) -> Result<()> {
    for asset in upload.files() {
        let path = destination.join(asset.name.as_str());
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(files::failed("remove", &path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// For places where a directory cannot be renamed: the files first, and the index last.
fn place_one_by_one(upload: &Upload<'_>, staged: &Utf8Path, destination: &Utf8Path, rename: Rename<'_>) -> Result<()> {
    create_root(destination)?;
    let (index, others): (Vec<_>, Vec<_>) = upload.files().partition(|asset| asset.name.as_str() == index::FILE_NAME);
    for group in [others, index] {
        for asset in group {
            let (from, to) = (staged.join(asset.name.as_str()), destination.join(asset.name.as_str()));
            if rename(&from, &to).is_err() {
                copy_verified(&from, &to, asset)?;
            }
        }
        sync(destination)?;
    }
    Ok(())
}

/// Copies a stream and gives its size and digest.
fn copy(mut from: impl std::io::Read, mut to: impl std::io::Write, size: u64) -> std::io::Result<(u64, Digest)> {
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(size).unwrap_or(PIECE_BYTES).max(1))];
    let (mut hasher, mut copied) = (Hasher::default(), 0);
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return Ok((copied, hasher.finish()));
        }
        hasher.update(&piece[..read]);
        to.write_all(&piece[..read])?;
        copied += read as u64;
    }
}

/// Syncs a directory where its file system can do that.
fn sync(directory: &Utf8Path) -> Result<()> {
    match files::sync_directory(directory) {
        Err(failure) if is_unsupported(&failure) => Ok(()),
        other => other,
    }
}

fn is_unsupported(failure: &Failure) -> bool {
    let cause = std::error::Error::source(failure).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| matches!(cause.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput))
}

/// One writer's turn in a directory of releases: a publisher's, or that of whoever changes its catalog.
#[derive(Debug)]
pub struct Lock {
    _lock: lock::Lock,
}

impl Lock {
    /// Waits for the turn. Nothing where the file system has no locks.
    pub fn take(root: &Utf8Path) -> Result<Option<Self>> {
        let path = root.join(LOCK_NAME);
        let taken = lock::Lock::take(&path, &|_| ()).map_err(|error| files::failed("lock", &path, error))?;
        Ok(taken.map(|lock| Self { _lock: lock }))
    }
}

#[cfg(unix)]
fn set_mode(path: &Utf8Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| files::failed("set the permissions of", path, error))
}

#[cfg(not(unix))]
fn set_mode(_path: &Utf8Path, _mode: u32) -> Result<()> {
    Ok(())
}

fn foreign(path: &Utf8Path, problem: &str) -> Failure {
    Failure::new(Code::TargetForeign, format!("the publishing target `{path}` {problem}"))
        .subject(path.as_str())
        .hint("publish to a directory that holds nothing but releases")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::events::Silence;
    use crate::provider::{Published, Status, publish};
    use std::cell::Cell;

    struct Scene {
        _directory: tempfile::TempDir,
        bundle: Utf8PathBuf,
        target: Utf8PathBuf,
    }

    const FILES: [&str; 4] = ["a.tar.gz", "checksums.txt", "index.json", "sbom.spdx.json"];

    impl Scene {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
            let (bundle, target) = (root.join("bundle"), root.join("target"));
            fs_err::create_dir(&bundle).expect("a directory");
            for name in FILES {
                fs_err::write(bundle.join(name), name).expect("a file");
            }
            Self { _directory: directory, bundle, target }
        }

        fn upload(&self) -> Upload<'_> {
            let asset = |name: &str| Asset {
                name: name.parse().expect("a name"),
                size_bytes: name.len() as u64,
                sha256: Digest::of(name.as_bytes()),
            };
            Upload {
                release: Release::parse("v1.0.0").expect("a release"),
                commit: None,
                notes: String::new(),
                directory: &self.bundle,
                assets: FILES.map(asset).to_vec(),
                evidence: Vec::new(),
            }
        }

        fn there(&self) -> Vec<String> {
            let list = files::list(&self.target.join("v1.0.0")).unwrap_or_default();
            list.into_iter().map(|(name, _)| name).collect()
        }
    }

    fn publish_by(upload: &Upload<'_>, target: &Utf8Path, rename: Rename<'_>) -> Result<Published> {
        publish(&Directory { target, rename }, upload, &|_| Ok(()), &Silence)
    }

    fn refuse(_: &Utf8Path, _: &Utf8Path) -> std::io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    #[test]
    fn where_nothing_can_be_renamed_the_index_comes_last() {
        let place = Scene::new();
        let files_only = |from: &Utf8Path, to: &Utf8Path| {
            if to.file_name() == Some("index.json") {
                assert_eq!(place.there(), ["a.tar.gz", "checksums.txt", "sbom.spdx.json"]);
            }
            if from.is_dir() { refuse(from, to) } else { fs_err::rename(from, to) }
        };
        let done = publish_by(&place.upload(), &place.target, &files_only).expect("published");
        assert_eq!((done.status, place.there()), (Status::Published, FILES.map(str::to_owned).to_vec()));
        let nothing = Scene::new();
        let done = publish_by(&nothing.upload(), &nothing.target, &refuse).expect("published");
        assert_eq!((done.status, nothing.there()), (Status::Published, FILES.map(str::to_owned).to_vec()));
        assert_eq!(files::list(&nothing.target).expect("a list").len(), 1, "no staging directory, no lock");
    }

    #[test]
    fn a_run_that_died_while_placing_files_is_finished_by_the_next() {
        for renames in [0, 1] {
            for survives in 0..FILES.len() {
                let place = Scene::new();
                let count = Cell::new(0);
                let dies = |from: &Utf8Path, to: &Utf8Path| {
                    if from.is_dir() {
                        return refuse(from, to);
                    }
                    count.set(count.get() + 1);
                    assert!(count.get() <= survives, "the power fails");
                    fs_err::rename(from, to)
                };
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    publish_by(&place.upload(), &place.target, &dies).map(drop)
                }));
                assert!(outcome.is_err());
                assert_eq!(place.there().len(), survives);
                assert!(!place.there().iter().any(|name| name == "index.json"), "the version exists already");
                // Half a file, as a copy that was cut off leaves it.
                fs_err::write(place.target.join("v1.0.0/a.tar.gz"), "a.t").expect("a file");
                let next: Rename<'_> = if renames == 1 { &|from, to| fs_err::rename(from, to) } else { &refuse };
                publish_by(&place.upload(), &place.target, next).expect("published");
                let again = publish_by(&place.upload(), &place.target, next).expect("good");
                assert_eq!(again.status, Status::Unchanged);
            }
        }
    }

    #[test]
    fn whoever_publishes_the_same_in_the_meantime_is_no_trouble() {
        let place = Scene::new();
        let meanwhile = |_: &Utf8Path, to: &Utf8Path| {
            fs_err::create_dir(to)?;
            FILES.into_iter().try_for_each(|name| fs_err::write(to.join(name), name))?;
            Err(ErrorKind::DirectoryNotEmpty.into())
        };
        let done = publish_by(&place.upload(), &place.target, &meanwhile).expect("published");
        assert_eq!(done.status, Status::Unchanged);
        assert_eq!(files::list(&place.target).expect("a list").len(), 1);
    }
}
