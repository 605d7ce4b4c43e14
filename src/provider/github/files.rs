//! The files of a release: sent, taken away, and brought back.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use octocrab::OctoBody;
use reqwest::Url;
use tokio::task::JoinSet;

use super::body::FileBody;
use super::wire::{Call, Progress, Source, Trouble, Wire};
use super::{Files, GitHub, documents};
use crate::model::digest::Hasher;
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Digest, Failure, FileName, text};
use crate::provider::publish::is_same;
use crate::provider::{Asset, Shelf, State, Stored, Upload};
use crate::world::place::quoted;
use crate::world::{files, scratch};

/// How often one file is sent or fetched before that is given up.
const TRIES: u32 = 4;
/// How many files are fetched at a time.
const PARALLEL_FETCHES: usize = 12;
/// How much is hashed at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Sends files, several at a time.
pub(super) fn store(
    github: &GitHub,
    shelf: &Files<'_>,
    upload_url: &str,
    upload: &Upload<'_>,
    wanted: &[&Asset],
    listener: &dyn Listener,
) -> Result<()> {
    let shipment = Shipment { github, door: door(github, upload_url)?, upload, wanted, listener };
    let mut waiting: Vec<usize> = (0..wanted.len()).collect();
    for tried in 1..=TRIES {
        let unsure = github.runtime.block_on(shipment.send(&waiting))?;
        waiting.clear();
        if unsure.is_empty() {
            return Ok(());
        }
        github.runtime.block_on(github.wire.pause(tried));
        // Their answers were lost, or there was a file of that name: only the list knows.
        let there = shelf.list()?;
        for number in unsure {
            let asset = wanted[number];
            match there.iter().find(|stored| stored.name == asset.name.as_str()) {
                Some(stored) if is_same(shelf, stored, asset)? => continue,
                Some(stored) => remove(github, &github.target.route(&format!("/releases/{}", shelf.release)), stored)?,
                None => {}
            }
            waiting.push(number);
        }
        if waiting.is_empty() {
            return Ok(());
        }
    }
    let name = waiting.first().map(|number| wanted[*number].name.to_string()).unwrap_or_default();
    Err(Failure::new(Code::RemoteUnavailable, format!("`{name}` could not be uploaded"))
        .subject(name)
        .hint("run it again: what is there already is not sent twice"))
}

/// Where files are sent to.
fn door(github: &GitHub, upload_url: &str) -> Result<String> {
    let plain = upload_url.split('{').next().unwrap_or_default();
    let address = Url::parse(plain).ok().filter(|address| github.target.takes_uploads_at(address));
    address.map(|_| plain.to_owned()).ok_or_else(|| {
        let shown = text::shown(&text::without_credentials(plain)).into_owned();
        let message = format!("GitHub wants files to be sent to `{shown}`, which is another server");
        Failure::new(Code::RedirectRefused, message)
            .subject(shown)
            .hint("nothing was sent there; check the address of the API")
    })
}

/// Files on their way to a draft.
struct Shipment<'a> {
    github: &'a GitHub,
    door: String,
    upload: &'a Upload<'a>,
    wanted: &'a [&'a Asset],
    listener: &'a dyn Listener,
}

/// What became of one file.
enum Sent {
    Stored,
    /// Nobody knows.
    Unsure,
    /// It has another name there.
    Renamed(documents::Asset),
}

impl Shipment<'_> {
    /// Sends each file once; gives back those of which nobody knows what became of them.
    async fn send(&self, numbers: &[usize]) -> Result<Vec<usize>> {
        let (mut waiting, mut running, mut unsure) = (numbers.iter().copied(), JoinSet::new(), Vec::new());
        loop {
            while running.len() < self.github.wire.options().parallel.max(1) {
                let Some(number) = waiting.next() else { break };
                self.start(number, &mut running);
            }
            let Some(ended) = running.join_next().await else { return Ok(unsure) };
            let (number, began, sent) =
                ended.map_err(|error| Failure::new(Code::Io, "an upload ended before its end").because(error))?;
            let asset = self.wanted[number];
            match sent? {
                Sent::Stored => {
                    let (task, bytes, duration) = (asset.name.to_string(), asset.size_bytes, began.elapsed());
                    self.listener.hear(&Event::TaskFinished { stage: Stage::Publish, task, bytes, duration });
                }
                Sent::Unsure => unsure.push(number),
                Sent::Renamed(stored) => {
                    let address = self.github.target.route(&format!("/releases/assets/{}", stored.id));
                    self.github.wire.call(&Call::delete(address)).await.map_err(Trouble::into_failure)?;
                    let (name, there) = (&asset.name, text::shown(&stored.name));
                    return Err(Failure::new(Code::NameInvalid, format!("GitHub has stored `{name}` as `{there}`"))
                        .subject(name.as_str())
                        .hint(
                            "it was deleted again; choose a name that GitHub leaves as it is (`archive.name-pattern`)",
                        ));
                }
            }
        }
    }

    fn start(&self, number: usize, running: &mut JoinSet<(usize, Instant, Result<Sent>)>) {
        let (asset, began) = (self.wanted[number].clone(), Instant::now());
        self.listener.hear(&Event::TaskStarted { stage: Stage::Publish, task: asset.name.to_string() });
        let address = format!("{}?name={}", self.door, quoted(asset.name.as_str()));
        let path = self.upload.directory.join(asset.name.as_str());
        let wire = Arc::clone(&self.github.wire);
        running.spawn(async move { (number, began, send(&wire, &address, &path, &asset).await) });
    }
}

async fn send(wire: &Wire, address: &str, path: &Utf8Path, asset: &Asset) -> Result<Sent> {
    let (is_changed, progress) = (Arc::new(AtomicBool::new(false)), Progress::default());
    let changed = || {
        Failure::new(Code::DigestMismatch, format!("`{path}` was changed after it was verified"))
            .subject(asset.name.as_str())
            .hint("verify the bundle again; package it again if that fails")
    };
    let open = || {
        let body = FileBody::open(path, asset, Arc::clone(&is_changed), progress.clone())?;
        if is_changed.load(Ordering::Relaxed) { Err(changed()) } else { Ok(OctoBody::new(body)) }
    };
    let outcome = wire.upload(address, asset.size_bytes, &progress, open).await;
    if is_changed.load(Ordering::Relaxed) {
        return Err(changed());
    }
    match outcome {
        Ok(answer) if answer.status.is_success() => {
            let stored: documents::Asset = answer.document(&format!("the file `{}`", asset.name))?;
            if stored.name != asset.name.as_str() {
                return Ok(Sent::Renamed(stored));
            }
            let is_whole = match Stored::from(stored).state {
                State::Whole { size_bytes, sha256 } => {
                    size_bytes == asset.size_bytes && sha256.is_none_or(|digest| digest == asset.sha256)
                }
                State::Unfinished | State::Irregular => false,
            };
            Ok(if is_whole { Sent::Stored } else { Sent::Unsure })
        }
        Ok(answer) if answer.names_error("already_exists") => Ok(Sent::Unsure),
        Ok(answer) => Err(answer.failure(&format!("the file `{}`", asset.name))),
        Err(Trouble::Unsure(_)) => Ok(Sent::Unsure),
        Err(Trouble::Failed(failure)) => Err(failure),
    }
}

/// Takes a file out of a draft, and never out of anything else.
pub(super) fn remove(github: &GitHub, release: &str, stored: &Stored) -> Result<()> {
    let found: documents::Release = github.ask(&Call::get(release))?.accept("the draft")?;
    let name = text::shown(&stored.name);
    if !found.draft {
        let message = format!("`{name}` would have been replaced, but its release is published already");
        return Err(Failure::new(Code::VersionPublished, message)
            .subject(name)
            .hint("what is published is never changed: release a new version"));
    }
    let address = github.target.route(&format!("/releases/assets/{}", stored.id.unwrap_or_default()));
    let answer = github.ask(&Call::delete(address))?;
    if answer.status.is_success() || answer.status == http::StatusCode::NOT_FOUND {
        return Ok(());
    }
    Err(answer.failure(&format!("to take `{name}` out of the draft")))
}

/// Brings every file of a list here, several at a time.
pub(super) fn fetch(github: &GitHub, stored: &[Stored], into: &Utf8Path) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL_FETCHES.min(stored.len()) {
            scope.spawn(|| {
                while let Some(one) = stored.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let fetched = path_of(one, into).and_then(|path| fetch_one(github, one, &path));
                    if let Err(failure) = fetched {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
                        // The others are of no use any more.
                        next.store(stored.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn path_of(stored: &Stored, into: &Utf8Path) -> Result<Utf8PathBuf> {
    let name: FileName = stored.name.parse().map_err(|error| {
        Failure::new(Code::TargetForeign, "a file of the release has a name that no bundle has").because(error)
    })?;
    Ok(into.join(name.as_str()))
}

/// The digest of a stored file, for servers that do not tell it.
pub(super) fn digest(github: &GitHub, stored: &Stored) -> Result<Digest> {
    let scratch = scratch::Directory::new("consign-digest-")?;
    let path = scratch.path().join("file");
    fetch_one(github, stored, &path)?;
    let read_failed = |error| files::failed("read", &path, error);
    let mut file = fs_err::File::open(&path).map_err(read_failed)?;
    let (mut hasher, mut piece) = (Hasher::default(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece).map_err(read_failed)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&piece[..read]),
        }
    }
}

/// Brings one file here. The address that GitHub names for it is good for a short time only, so each
/// try asks for it again.
fn fetch_one(github: &GitHub, stored: &Stored, to: &Utf8Path) -> Result<()> {
    let State::Whole { size_bytes, .. } = stored.state else {
        let name = text::shown(&stored.name);
        return Err(Failure::new(Code::FileMissing, format!("`{name}` was never wholly uploaded")).subject(name));
    };
    let address = github.target.route(&format!("/releases/assets/{}", stored.id.unwrap_or_default()));
    let mut tried = 1;
    loop {
        let failure = match github.runtime.block_on(github.wire.open(&address)) {
            Ok(Source::Elsewhere(place)) => match github.anonymous.download_in_parts(place.as_str(), size_bytes, to) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            },
            Ok(Source::Here(response)) => {
                match github.runtime.block_on(save(github, &address, response, size_bytes, to)) {
                    Ok(()) => return Ok(()),
                    Err(Trouble::Failed(failure)) => return Err(failure),
                    Err(Trouble::Unsure(failure)) => failure,
                }
            }
            Err(Trouble::Failed(failure)) => return Err(failure),
            Err(Trouble::Unsure(failure)) => failure,
        };
        if tried >= TRIES || matches!(failure.code(), Code::Io | Code::FileTooLarge | Code::RedirectRefused) {
            return Err(failure);
        }
        github.runtime.block_on(github.wire.pause(tried));
        tried += 1;
    }
}

/// Writes an answer's body to a new file, as far as it may go.
async fn save(
    github: &GitHub,
    address: &str,
    mut response: super::wire::Response,
    max_bytes: u64,
    to: &Utf8Path,
) -> Result<(), Trouble> {
    let here = |error| Trouble::Failed(files::failed("write", to, error));
    let mut file = fs_err::File::create(to).map_err(here)?;
    let mut left = max_bytes;
    while let Some(piece) = github.wire.piece(address, &mut response).await? {
        left = left.checked_sub(piece.len() as u64).ok_or_else(|| {
            let message = format!("`{to}` is larger than GitHub says it is");
            Trouble::Failed(Failure::new(Code::FileTooLarge, message).hint("try again later"))
        })?;
        file.write_all(&piece).map_err(here)?;
    }
    Ok(())
}
