//! The story of publishing, the same for every place.
//!
//! [`publish`] can be killed between any two lines and run again: it believes nothing but what the
//! place says now. Nothing becomes visible before the stored bytes themselves have been verified, and
//! making it visible is the last deed. It does not know what a valid bundle is; its caller does.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use super::{Asset, Draft, Provider, Published, Shelf, State, Status, Stored, Turn, Upload};
use crate::model::events::Listener;
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure, index, text};
use crate::trust::documents::is_evidence;
use crate::world::scratch;

/// How often a draft is looked at and mended before that is given up.
const ROUNDS: usize = 4;

/// Whatever verifies a bundle in a directory.
pub type Check<'a> = &'a dyn Fn(&Utf8Path) -> Result<()>;

/// Publishes a bundle, unless the same is published already.
pub fn publish(
    provider: &dyn Provider,
    upload: &Upload<'_>,
    check: Check<'_>,
    listener: &dyn Listener,
) -> Result<Published> {
    let done = |files, status| Ok(Published { address: provider.address(&upload.release)?, files, status });
    for _ in 0..ROUNDS {
        if let Some(shelf) = provider.find(upload)? {
            return done(require_same(&*shelf, upload)?, Status::Unchanged);
        }
        let mut draft = match provider.draft(upload)? {
            Turn::Draft(draft) => draft,
            Turn::Published(shelf) => return done(require_same(&*shelf, upload)?, Status::Unchanged),
        };
        let files = prove(&mut *draft, upload, check, listener)?;
        if draft.flip(upload)? {
            return done(files, Status::Published);
        }
    }
    Err(unsettled(upload, "somebody else keeps changing it"))
}

/// Fills a draft until what it holds is what was verified here, by its own bytes; gives what it holds.
fn prove(draft: &mut dyn Draft, upload: &Upload<'_>, check: Check<'_>, listener: &dyn Listener) -> Result<Vec<Asset>> {
    fill(draft, upload, Evidence::Kept, listener)?;
    let first = examine(draft, check);
    match first {
        // Evidence that an earlier run left may be worth nothing.
        Err(failure) if failure.code().exit() == Exit::Verification && differs_in_evidence(draft, upload)? => {
            fill(draft, upload, Evidence::Ours, listener)?;
            examine(draft, check)?;
        }
        examined => examined?,
    }
    // Fetching takes its time, in which somebody may have changed what is there.
    let stored = draft.list()?;
    match differences(draft, upload, &stored)?.iter().find(|difference| difference.is_of_asset()) {
        Some(difference) => Err(unsettled(upload, &format!("`{}` was changed meanwhile", difference.name()))),
        None => files(draft, upload, &stored),
    }
}

/// What becomes of evidence that is there in another form than here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// It stays, where all of it is there: signatures of one key are never the same twice.
    Kept,
    /// It is replaced.
    Ours,
}

/// Takes away what is wrong and uploads what is missing, the index last.
fn fill(draft: &mut dyn Draft, upload: &Upload<'_>, evidence: Evidence, listener: &dyn Listener) -> Result<()> {
    for _ in 0..ROUNDS {
        let mut found = differences(draft, upload, &draft.list()?)?;
        if let Some(Difference::Foreign(stored)) = found.iter().find(|one| matches!(one, Difference::Foreign(_))) {
            let (name, draft) = (text::shown(&stored.name), draft.name());
            return Err(Failure::new(
                Code::TargetForeign,
                format!("{draft} holds `{name}`, which is not of this bundle"),
            )
            .subject(name)
            .hint("take that file away there, or the whole draft, and publish again"));
        }
        let is_whole = !found.iter().any(|one| one.is_of_evidence() && !matches!(one, Difference::Other(..)));
        if evidence == Evidence::Kept && is_whole {
            found.retain(|one| !one.is_of_evidence());
        }
        if found.is_empty() {
            return Ok(());
        }
        let mut missing = Vec::new();
        for difference in found {
            match difference {
                Difference::Missing(asset) => missing.push(asset),
                Difference::Other(stored, asset) | Difference::Unfinished(stored, asset) => {
                    draft.remove(&stored)?;
                    missing.push(asset);
                }
                Difference::Foreign(_) => {}
            }
        }
        let (index, others): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|asset| asset.name.as_str() == index::FILE_NAME);
        for group in [others, index].iter().filter(|group| !group.is_empty()) {
            draft.store(upload, group, listener)?;
        }
    }
    Err(unsettled(upload, "what is stored never becomes what was sent"))
}

/// Puts the draft's own bytes through the verifier.
fn examine(draft: &mut dyn Draft, check: Check<'_>) -> Result<()> {
    let scratch = scratch::Directory::new("consign-draft-")?;
    let place = draft.fetch(scratch.path())?;
    check(&place)
}

fn differs_in_evidence(draft: &dyn Draft, upload: &Upload<'_>) -> Result<bool> {
    Ok(differences(draft, upload, &draft.list()?)?.iter().any(Difference::is_of_evidence))
}

/// One file that is not as it is here.
enum Difference<'a> {
    Missing(&'a Asset),
    Other(Stored, &'a Asset),
    Unfinished(Stored, &'a Asset),
    /// Nothing of ours.
    Foreign(Stored),
}

impl Difference<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Missing(asset) => asset.name.as_str(),
            Self::Other(stored, _) | Self::Unfinished(stored, _) | Self::Foreign(stored) => &stored.name,
        }
    }

    fn is_of_evidence(&self) -> bool {
        is_evidence(self.name())
    }

    fn is_of_asset(&self) -> bool {
        !self.is_of_evidence()
    }
}

/// Compares what is stored with what is here. More evidence than ours is no difference.
fn differences<'a>(
    shelf: &(impl Shelf + ?Sized),
    upload: &'a Upload<'_>,
    stored: &[Stored],
) -> Result<Vec<Difference<'a>>> {
    let there: BTreeMap<&str, &Stored> = stored.iter().map(|stored| (stored.name.as_str(), stored)).collect();
    let ours: BTreeMap<&str, &Asset> = upload.files().map(|asset| (asset.name.as_str(), asset)).collect();
    let names: BTreeSet<&str> = there.keys().chain(ours.keys()).copied().collect();
    let mut found = Vec::new();
    for name in names {
        let difference = match (there.get(name).copied().cloned(), ours.get(name)) {
            (None, Some(asset)) => Difference::Missing(asset),
            (None, None) => continue,
            (Some(stored), None) if is_evidence(name) && matches!(stored.state, State::Whole { .. }) => continue,
            (Some(stored), None) => Difference::Foreign(stored),
            (Some(stored), Some(asset)) => match stored.state {
                State::Irregular => Difference::Foreign(stored),
                State::Unfinished => Difference::Unfinished(stored, asset),
                State::Whole { .. } if is_same(shelf, &stored, asset)? => continue,
                State::Whole { .. } => Difference::Other(stored, asset),
            },
        };
        found.push(difference);
    }
    Ok(found)
}

/// Whether a stored file has the bytes of an asset. They are read only where nothing else can tell.
pub(super) fn is_same(shelf: &(impl Shelf + ?Sized), stored: &Stored, asset: &Asset) -> Result<bool> {
    match stored.state {
        State::Whole { size_bytes, .. } if size_bytes != asset.size_bytes => Ok(false),
        State::Whole { sha256: Some(digest), .. } => Ok(digest == asset.sha256),
        State::Whole { sha256: None, .. } => Ok(shelf.digest(stored)? == asset.sha256),
        State::Unfinished | State::Irregular => Ok(false),
    }
}

/// Every whole file of a shelf whose assets are ours.
fn files(shelf: &(impl Shelf + ?Sized), upload: &Upload<'_>, stored: &[Stored]) -> Result<Vec<Asset>> {
    let mut files = Vec::new();
    for one in stored {
        let (State::Whole { size_bytes, sha256 }, Ok(name)) = (&one.state, one.name.parse()) else { continue };
        let known = if is_evidence(&one.name) { *sha256 } else { upload.file(&one.name).map(|asset| asset.sha256) };
        let sha256 = known.map_or_else(|| shelf.digest(one), Ok)?;
        files.push(Asset { name, size_bytes: *size_bytes, sha256 });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// Refuses a published release that is another one than ours; gives what it holds.
fn require_same(shelf: &(impl Shelf + ?Sized), upload: &Upload<'_>) -> Result<Vec<Asset>> {
    let stored = shelf.list()?;
    let found = differences(shelf, upload, &stored)?;
    // Signatures may have been added or made again, and are never a reason to refuse.
    let mut wrong = found.iter().filter(|one| one.is_of_asset() || matches!(one, Difference::Foreign(_)));
    let Some(first) = wrong.next() else { return files(shelf, upload, &stored) };
    let problem = match first {
        Difference::Missing(_) => "is not among the published files",
        Difference::Other(..) => "has other bytes there",
        Difference::Unfinished(..) => "was never wholly uploaded there",
        Difference::Foreign(stored) if stored.state == State::Irregular => "is not a regular file there",
        Difference::Foreign(_) => "is published and not part of this bundle",
    };
    let name = text::shown(first.name()).into_owned();
    let message = format!("`{}` is already published in {}, and `{name}` {problem}", upload.release.tag, shelf.name());
    Err(Failure::new(Code::VersionPublished, message)
        .subject(name)
        .hint("what is published is never changed: release a new version"))
}

fn unsettled(upload: &Upload<'_>, problem: &str) -> Failure {
    Failure::new(Code::RemoteUnavailable, format!("`{}` could not be published: {problem}", upload.release.tag))
        .subject(upload.release.tag.clone())
        .hint("let one publisher at a time do it, and run it again")
}
