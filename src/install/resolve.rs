//! Which package is installed: from an index or a catalog, for this machine, by whose word.
//!
//! The exact bytes of the index are approved before they are read. Nothing is written here.

use std::sync::Arc;

use camino::Utf8Path;
use semver::{Version, VersionReq};

use super::host::Host;
use super::receipt::{Origin, Receipt, Trust};
use crate::catalog::client::Catalog;
use crate::catalog::entry::{Entry, Status, path_of, release_of};
use crate::model::failure::Result;
use crate::model::index::{self, Index, Package};
use crate::model::{Code, Digest, Failure, FileName, Platform, Release, text};
use crate::trust::approval::{Approved, Found, approve};
use crate::trust::tuf::view::View;
use crate::trust::{Anchor, documents, signatures};
use crate::world::http::Client;
use crate::world::parcel::Parcel;
use crate::world::place::Place;
use crate::world::scratch;

/// The largest raw signature that is fetched, in bytes.
const MAX_SIGNATURE_BYTES: usize = 16 << 10;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The product, where there may be several.
    pub name: Option<FileName>,
    /// The versions that will do, and how they were asked for; none: the latest.
    pub version: Option<(VersionReq, String)>,
    /// The platform; none: the best for this machine.
    pub platform: Option<Platform>,
    /// The digest that the archive has to have.
    pub sha256: Option<Digest>,
    /// Whether a version that was withdrawn will do.
    pub allow_yanked: bool,
    /// The version in use, which will do where a catalog has nothing newer, even if it was withdrawn.
    pub installed: Option<Version>,
}

/// A release that was found, and its index, which was approved.
#[derive(Debug)]
pub struct Resolved {
    /// The index.
    pub index: Index,
    /// Its digest.
    pub digest: Digest,
    /// Where its files are.
    pub place: Place,
    /// Where it came from.
    pub origin: Origin,
    /// By whose word.
    pub trust: Trust,
    /// Why it was withdrawn, if it was.
    pub withdrawn: Option<String>,
}

/// Reads the index at a place. One that is known from a receipt was approved then, and is still if the
/// same keys are trusted.
pub fn from_index(place: Place, anchor: &Anchor, known: &[Receipt], client: &Client) -> Result<Resolved> {
    // Where nothing is installed yet, its signatures are going to be needed: they are fetched meanwhile.
    let (bytes, early) = if anchor.is_checked() && known.is_empty() && matches!(place, Place::Web(_)) {
        index_and_signatures(&place, client)?
    } else {
        (place.get(client, index::FILE_NAME, index::MAX_BYTES)?, None)
    };
    let digest = Digest::of(&bytes);
    let by =
        known.iter().filter(|receipt| receipt.index == Some(digest)).find_map(|receipt| receipt.trust.still(anchor));
    let (bytes, trust) = match by {
        Some(trust) => (bytes, trust),
        None if !anchor.is_checked() => (bytes, Trust::Unchecked),
        None => {
            let found = early.map_or_else(|| signatures_of(&place, client), Ok)?;
            let Approved { bytes, signed_by } = approve(anchor, index::FILE_NAME, bytes, &found)?.into_inner();
            (bytes, Trust::Keys { keys: signed_by.iter().map(ToString::to_string).collect() })
        }
    };
    let index = read(&bytes, &place.shown())?;
    let origin = Origin::Index { place: place.shown() };
    Ok(Resolved { index, digest, place, origin, trust, withdrawn: None })
}

/// An index and its signatures, at once.
fn index_and_signatures(place: &Place, client: &Client) -> Result<(Vec<u8>, Option<Found>)> {
    std::thread::scope(|scope| {
        let signatures = scope.spawn(|| signatures_of(place, client));
        let bytes = place.get(client, index::FILE_NAME, index::MAX_BYTES);
        let signatures = signatures.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((bytes?, Some(signatures?)))
    })
}

/// The signatures of an index: one list of all of them or, where there is none, the one beside it.
fn signatures_of(place: &Place, client: &Client) -> Result<Found> {
    let list = place.get_if_there(client, signatures::FILE_NAME, signatures::MAX_BYTES)?;
    if list.is_some() {
        return Ok(Found { list, raw: None });
    }
    let name = signatures::file_name(index::FILE_NAME, None, signatures::ENDING);
    Ok(Found { list: None, raw: place.get_if_there(client, &name, MAX_SIGNATURE_BYTES)? })
}

/// Chooses a version from a catalog and reads its index, which the catalog vouches for.
pub fn from_catalog(catalog: &mut Catalog<'_>, place: &Place, request: &Request) -> Result<Resolved> {
    let view = catalog.view();
    let (release, entry) = choose(&view, request)?;
    let found = catalog.find(&path_of(&release, index::FILE_NAME))?;
    let directory = scratch::Directory::new("consign-install-")?;
    let file = directory.path().join(index::FILE_NAME);
    drop(catalog.download(&found, &file)?);
    let bytes = crate::world::files::read_bounded(&file, index::MAX_BYTES)?;
    let wanted = request.version.as_ref().map(|(_, given)| given.clone());
    let origin = Origin::Catalog { place: place.shown(), wanted };
    let place = place.below(&release);
    let index = read(&bytes, &place.shown())?;
    let agrees =
        Release::parse(&index.tag).and_then(|read| read.directory()).is_ok_and(|name| name.as_str() == release);
    let said = (&entry.name, &entry.version, &entry.channel);
    if !agrees || said != (&index.name, &index.version, &index.channel) {
        let message =
            format!("the catalog lists `{}`, and its index is that of another release", text::shown(&release));
        return Err(Failure::new(Code::CatalogInvalid, message).subject(release).hint("ask the publisher"));
    }
    compare(&view, &release, &index)?;
    Ok(Resolved {
        digest: Digest::of(&bytes),
        index,
        place,
        origin,
        trust: Trust::Catalog { root_version: view.root_version(), judged_at: None },
        withdrawn: match entry.status {
            Status::Active => None,
            Status::Yanked => Some(entry.reason.unwrap_or_else(|| "no reason is given".to_owned())),
        },
    })
}

/// Sees that catalog and index speak of the same archives.
fn compare(view: &View, release: &str, index: &Index) -> Result<()> {
    let is_listed = |package: &&Package| {
        let Some(found) = view.find(&path_of(release, package.archive.as_str())) else { return false };
        let digest = found.hashes().get("sha256").and_then(|hex| hex.parse().ok());
        (found.length(), digest) == (package.size_bytes, Some(package.sha256))
    };
    match index.packages.iter().find(|package| !is_listed(package)) {
        None => Ok(()),
        Some(package) => {
            let message = format!("the catalog and the index do not agree about `{}`", package.archive);
            Err(Failure::new(Code::CatalogInvalid, message)
                .subject(package.archive.as_str())
                .hint("do not use it: ask the publisher"))
        }
    }
}

/// The newest version that will do, with the name of its directory.
fn choose(view: &View, request: &Request) -> Result<(String, Entry)> {
    let listed: Vec<(&str, Entry)> =
        view.targets().iter().filter_map(|(path, target)| Some((release_of(path)?, Entry::of(target)?))).collect();
    let mut names: Vec<&FileName> = listed.iter().map(|(_, entry)| &entry.name).collect();
    names.sort();
    names.dedup();
    let name = match (&request.name, names.as_slice()) {
        (Some(name), _) => name,
        (None, [one]) => *one,
        (None, []) => return Err(nothing("the catalog lists no release", "publish one first")),
        (None, several) => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            let message = format!("the catalog lists several products: {}", several.join(", "));
            return Err(Failure::new(Code::Usage, message).hint("name one with `--name`"));
        }
    };
    let is_wanted = |entry: &Entry| match &request.version {
        Some((range, _)) => range.matches(&entry.version),
        None => entry.version.pre.is_empty(),
    };
    let of_name = || listed.iter().filter(|(_, entry)| entry.name == *name);
    let fitting = || of_name().filter(|(_, entry)| is_wanted(entry));
    let newest = |yanked: bool| {
        let able = fitting().filter(|(_, entry)| yanked || entry.status == Status::Active);
        able.max_by(|(_, one), (_, other)| one.version.cmp(&other.version))
    };
    let found = newest(false).or_else(|| newest(true).filter(|_| request.allow_yanked));
    let used = request.installed.as_ref().and_then(|used| of_name().find(|(_, entry)| entry.version == *used));
    let found = match (found, used) {
        (Some(found), Some(used)) if found.1.version < used.1.version => Some(used),
        (None, used) => used,
        (found, _) => found,
    };
    if let Some((release, entry)) = found {
        return suits(release, entry);
    }
    if let Some((_, Entry { version, reason, .. })) = newest(true) {
        let reason = reason.as_deref().unwrap_or("no reason is given");
        let message = format!("{name} {version} was withdrawn: {}", text::shown(reason));
        return Err(Failure::new(Code::Yanked, message)
            .subject(version.to_string())
            .hint("take another version, or add `--allow-yanked`"));
    }
    let wanted = request.version.as_ref().map_or("a stable version", |(_, given)| given.as_str());
    let mut versions: Vec<_> = of_name().map(|(_, entry)| &entry.version).collect();
    versions.sort();
    let versions: Vec<_> = versions.into_iter().rev().take(10).map(ToString::to_string).collect();
    let message = format!("the catalog lists no {name} that is {}", text::shown(wanted));
    let there = if versions.is_empty() { "nothing of that name".to_owned() } else { versions.join(", ") };
    Err(nothing(&message, &format!("there is {there}; a prerelease is taken only where it is named with `--version`")))
}

/// Whether this program knows how to install it.
fn suits(release: &str, entry: &Entry) -> Result<(String, Entry)> {
    let own: semver::Version = env!("CARGO_PKG_VERSION").parse().expect("cargo takes nothing else");
    match &entry.minimum_client_version {
        Some(needed) if *needed > own => {
            let message = format!("{} {} has to be installed by Consign {needed} or newer", entry.name, entry.version);
            Err(Failure::new(Code::ClientTooOld, message).subject(needed.to_string()).hint("upgrade Consign first"))
        }
        _ => Ok((release.to_owned(), entry.clone())),
    }
}

fn nothing(message: &str, hint: &str) -> Failure {
    Failure::new(Code::TargetUnknown, message).hint(hint)
}

fn read(bytes: &[u8], place: &str) -> Result<Index> {
    documents::read_index(bytes).map_err(|problem| {
        Failure::new(Code::DocumentInvalid, format!("the index at `{}` is refused: {problem}", text::shown(place)))
            .subject(index::FILE_NAME)
            .hint("check that it is the address of a release that Consign made")
    })
}

impl Resolved {
    /// The packages that a machine can run, the best first, or the one that was named.
    pub fn packages(&self, request: &Request, host: &Host) -> Result<Vec<&Package>> {
        if let Some(name) = request.name.as_ref().filter(|name| **name != self.index.name) {
            let message = format!("the index is that of `{}` and not of `{name}`", self.index.name);
            return Err(Failure::new(Code::TargetUnknown, message).subject(name.as_str()).hint("leave `--name` out"));
        }
        if let Some((_, given)) = request.version.as_ref().filter(|(range, _)| !range.matches(&self.index.version)) {
            let message = format!("the index is that of {} and not of {}", self.index.version, text::shown(given));
            return Err(nothing(&message, "give the index of that version, or a catalog"));
        }
        let wanted = request.platform.map_or_else(|| host.platforms(), |platform| vec![platform]);
        let of = |platform: &Platform| self.index.packages.iter().find(|package| package.platform == *platform);
        let found: Vec<&Package> = wanted.iter().filter_map(of).collect();
        let Some(first) = found.first() else { return Err(self.no_package(&wanted, host)) };
        match request.sha256 {
            Some(wanted) if wanted != first.sha256 => {
                let message = format!("sha256 mismatch for `{}`: the index says {}", first.archive, first.sha256);
                Err(Failure::new(Code::DigestMismatch, message)
                    .subject(first.archive.as_str())
                    .hint("check the digest, the version and the platform"))
            }
            Some(_) => Ok(vec![first]),
            None => Ok(found),
        }
    }

    fn no_package(&self, wanted: &[Platform], host: &Host) -> Failure {
        let there: Vec<_> = self.index.packages.iter().map(|package| package.platform.name()).collect();
        let wanted = wanted.iter().map(|platform| platform.name()).collect::<Vec<_>>().join(" or ");
        let message = if wanted.is_empty() {
            format!("no platform is known for {} on {}", host.system, host.processor)
        } else {
            format!("platform not found in release index: {wanted}")
        };
        Failure::new(Code::PlatformMissing, message)
            .subject(wanted)
            .hint(format!("the release is for {}; name one with `--platform`", there.join(", ")))
    }
}

/// The place of an index, by its address or path, or by that of a parcel.
pub fn place_of_index(given: &str, below: &Utf8Path) -> Result<Place> {
    let located = crate::world::place::located(given, below);
    let directory = crate::world::place::parent_of(&located, index::FILE_NAME).unwrap_or(&located);
    match Place::parse(directory, index::FILE_NAME)? {
        Place::Parcel { parcel, .. } => place_in(&parcel),
        place => Ok(place),
    }
}

/// Where the one release of a parcel is.
pub fn place_in(parcel: &Arc<Parcel>) -> Result<Place> {
    let mut releases = parcel.directories_with(index::FILE_NAME);
    match (releases.next(), releases.next()) {
        (Some(one), None) => Ok(Place::of_parcel(Arc::clone(parcel)).below(one)),
        (None, _) => Err(nothing(&format!("`{}` holds no release", parcel.path()), "ask whoever exported it")),
        (Some(_), Some(_)) => {
            let message = format!("`{}` holds several releases, and only its catalog can choose", parcel.path());
            Err(Failure::new(Code::Usage, message)
                .subject(parcel.path().as_str())
                .hint("name the root of the catalog with `--trust-root FILE`"))
        }
    }
}

/// The product that the releases of a parcel say to be: only to look up whom it was verified by before.
pub fn product_in(parcel: &Arc<Parcel>) -> Option<FileName> {
    let release = parcel.directories_with(index::FILE_NAME).next()?;
    let place = Place::of_parcel(Arc::clone(parcel)).below(release);
    let bytes = place.get(&Client::default(), index::FILE_NAME, index::MAX_BYTES).ok()?;
    documents::read_index(&bytes).ok().map(|index| index.name)
}
