//! Releases in a parcel, for machines without a network.
//!
//! ```text
//! catalog  -> its metadata as it was fetched, every root, and the files of the chosen versions
//! index    -> the files of that release, with the signatures over them
//! ```
//!
//! Everything is checked before it is packed, and nobody who installs from it has to believe that:
//! there it is checked again, as if it came from the web. The same releases give the same bytes.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::Serialize;

use super::resolve::{self, Request, Resolved};
use crate::catalog::client::Catalog;
use crate::catalog::source::{Source, metadata_path};
use crate::model::failure::Result;
use crate::model::index::{self, Index};
use crate::model::{Code, Digest, Failure, FileName, Platform, Release, checksums, provenance};
use crate::trust::documents::is_evidence;
use crate::trust::signatures::Signatures;
use crate::trust::tuf::roles::{RoleName, Root, Signed};
use crate::trust::tuf::trusted::MAX_ROOT_BYTES;
use crate::trust::{dsse, signatures, sigstore};
use crate::world::http::Client;
use crate::world::parcel::{Packing, Written};
use crate::world::place::Place;
use crate::world::{files, scratch};

/// The document type of an [`Exported`].
pub const TYPE: &str = "consign.export/v1";
/// The largest file of evidence that is packed, in bytes.
const MAX_EVIDENCE_BYTES: u64 = 16 << 20;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where it is.
    pub output: Utf8PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
    /// The product.
    pub name: FileName,
    /// The names of the releases in it, the oldest first.
    pub releases: Vec<FileName>,
    /// The platforms that it has archives for.
    pub platforms: Vec<Platform>,
    /// The number of files in it.
    pub files: usize,
    /// The newest root of the catalog, and until when it can be installed from.
    pub catalog: Option<Validity>,
}

/// How long a catalog in a parcel is believed, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Validity {
    /// The version of the newest root.
    pub root_version: u64,
    /// When the first of its documents expires.
    pub expires: Timestamp,
}

/// What is exported, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The platforms; none: everything of each release.
    pub platforms: &'a [Platform],
    /// The file.
    pub output: &'a Utf8Path,
}

/// The catalog that releases are exported from.
#[derive(Debug)]
pub struct Origin<'c, 's> {
    /// The catalog, brought up to date.
    pub catalog: &'c mut Catalog<'s>,
    /// Where it is read from.
    pub source: &'s Source,
    /// The root that is trusted.
    pub pinned_root: &'c [u8],
}

/// Exports versions that a catalog lists, with all that it takes to believe it.
pub fn of_catalog(from: Origin<'_, '_>, requests: &[Request], order: &Order<'_>) -> Result<Exported> {
    let Origin { catalog, source, pinned_root } = from;
    if catalog.view().root().consistent_snapshot {
        let message = "the files of this catalog are named by their digests, and no installer looks for them there";
        return Err(Failure::new(Code::CatalogInvalid, message).hint("export from a catalog that Consign keeps"));
    }
    let mut chosen = Vec::new();
    for request in requests {
        chosen.push(resolve::from_catalog(catalog, &source.files(), request)?);
    }
    let mut packing = Packing::default();
    pack_metadata(catalog, source, pinned_root, &mut packing)?;
    let scratch = scratch::Directory::new("consign-export-")?;
    let view = catalog.view();
    for resolved in &chosen {
        let release = release_of(&resolved.index)?;
        let wanted = Wanted::of(&resolved.index, order.platforms)?;
        let start = format!("{release}/");
        for path in view.targets().keys() {
            if path.strip_prefix(&start).is_some_and(|name| wanted.has(name)) {
                let found = catalog.find(path)?;
                let place = scratch.path().join(packing.len().to_string());
                catalog.download(&found, &place)?;
                add(&mut packing, path.clone(), place)?;
            }
        }
    }
    let expires = view.expires();
    let catalog = Validity { root_version: view.root_version(), expires };
    finish(packing, chosen.iter().map(|resolved| &resolved.index).collect(), order, Some(catalog))
}

/// Exports the release of an index that was approved.
pub fn of_index(resolved: &Resolved, client: &Client, order: &Order<'_>) -> Result<Exported> {
    let Resolved { index, place, .. } = resolved;
    let release = release_of(index)?;
    let wanted = Wanted::of(index, order.platforms)?;
    let scratch = scratch::Directory::new("consign-export-")?;
    let mut packing = Packing::default();
    packing.document(format!("{release}/{}", index::FILE_NAME), index.render());
    let packages = index.packages.iter().map(|package| (&package.archive, package.size_bytes, package.sha256));
    let listed = packages.chain(index.files.iter().map(|file| (&file.name, file.size_bytes, file.sha256)));
    for (name, size_bytes, sha256) in listed.filter(|(name, ..)| wanted.has(name.as_str())) {
        let at = scratch.path().join(packing.len().to_string());
        fetch(place, client, name.as_str(), size_bytes, &at)?;
        if files::measure(&at)? != (size_bytes, sha256) {
            let message = format!("`{name}` is not the file that the index lists");
            return Err(Failure::new(Code::DigestMismatch, message)
                .subject(name.as_str())
                .hint("what is published there was changed: ask the publisher"));
        }
        packing.file(format!("{release}/{name}"), at, size_bytes, sha256);
    }
    // What the index does not list is there or not, and vouches for itself.
    for name in beside(place, client)?.into_iter().filter(|name| wanted.has(name)) {
        let at = scratch.path().join(packing.len().to_string());
        match fetch(place, client, &name, MAX_EVIDENCE_BYTES, &at) {
            Err(failure) if failure.code() == Code::RemoteNotFound => {}
            fetched => {
                fetched?;
                add(&mut packing, format!("{release}/{name}"), at)?;
            }
        }
    }
    finish(packing, vec![index], order, None)
}

/// The names of the documents and the evidence that an index does not list.
fn beside(place: &Place, client: &Client) -> Result<BTreeSet<String>> {
    let of = |asset: &str, ending| signatures::file_name(asset, None, ending);
    let documents = [provenance::FILE_NAME, checksums::FILE_NAME, signatures::FILE_NAME, dsse::FILE_NAME];
    let mut names: BTreeSet<String> = documents.map(str::to_owned).into();
    names.extend([signatures::ENDING, sigstore::ENDING].map(|ending| of(index::FILE_NAME, ending)));
    let list = place.get_if_there(client, signatures::FILE_NAME, signatures::MAX_BYTES)?;
    let list = list.and_then(|bytes| Signatures::read(&bytes).ok());
    for entry in list.iter().flat_map(|list| &list.signatures) {
        names.insert(of(entry.file.as_str(), signatures::ENDING));
        // Only where there are several, a name has that of the key in it.
        if list.iter().flat_map(|list| list.of(entry.file.as_str())).nth(1).is_some() {
            names.insert(signatures::file_name(entry.file.as_str(), Some(entry.key_id), signatures::ENDING));
        }
    }
    Ok(names)
}

fn fetch(place: &Place, client: &Client, name: &str, max_bytes: u64, to: &Utf8Path) -> Result<()> {
    let mut from = place.open(client, name, max_bytes)?;
    files::write_with(to, |file| {
        std::io::copy(&mut std::io::Read::take(&mut from, max_bytes + 1), file)
            .map(|_| ())
            .map_err(|error| place.broken(name, error))
    })
}

fn add(packing: &mut Packing, path: String, at: Utf8PathBuf) -> Result<()> {
    let (size_bytes, sha256) = files::measure(&at)?;
    packing.file(path, at, size_bytes, sha256);
    Ok(())
}

/// Which files of a release are exported.
struct Wanted<'a> {
    index: &'a Index,
    platforms: &'a [Platform],
}

impl<'a> Wanted<'a> {
    fn of(index: &'a Index, platforms: &'a [Platform]) -> Result<Self> {
        let is_there = |platform: &Platform| index.packages.iter().any(|package| package.platform == *platform);
        if let Some(missing) = platforms.iter().find(|platform| !is_there(platform)) {
            let there: Vec<_> = index.packages.iter().map(|package| package.platform.name()).collect();
            let message = format!("{} {} has no archive for {missing}", index.name, index.version);
            return Err(Failure::new(Code::PlatformMissing, message)
                .subject(missing.name())
                .hint(format!("the release is for {}", there.join(", "))));
        }
        Ok(Self { index, platforms })
    }

    /// Everything; or the archives of the platforms, the index, and what vouches for these.
    fn has(&self, name: &str) -> bool {
        let of_platform = |name: &str| {
            let mut packages = self.index.packages.iter();
            packages.any(|package| package.archive.as_str() == name && self.platforms.contains(&package.platform))
        };
        let is_asset = |name: &str| name == index::FILE_NAME || of_platform(name);
        let is_about = |name: &str| name.match_indices('.').any(|(dot, _)| is_asset(&name[..dot]));
        self.platforms.is_empty()
            || is_asset(name)
            || name == signatures::FILE_NAME
            || is_evidence(name) && is_about(name)
    }
}

/// Everything that vouches for what the catalog says, as it is served.
fn pack_metadata(catalog: &Catalog<'_>, source: &Source, pinned_root: &[u8], packing: &mut Packing) -> Result<()> {
    let documents = catalog.documents();
    let version = |bytes: &[u8]| Signed::<Root>::parse(bytes).map(|root| root.signed.version).unwrap_or_default();
    let mut newest = pinned_root;
    for bytes in std::iter::once(pinned_root).chain(documents.roots.iter().map(Vec::as_slice)) {
        packing.document(metadata_path("root", Some(version(bytes))), bytes.to_vec());
        newest = bytes;
    }
    packing.document(metadata_path("root", None), newest.to_vec());
    // Those who trust an older root than this one go on from there.
    for earlier in 1..version(pinned_root) {
        if let Some(bytes) = source.metadata("root", Some(earlier), MAX_ROOT_BYTES)? {
            packing.document(metadata_path("root", Some(earlier)), bytes);
        }
    }
    let others = [(RoleName::Timestamp, &documents.timestamp), (RoleName::Snapshot, &documents.snapshot)];
    for (role, bytes) in others {
        packing.document(metadata_path(role.as_str(), None), bytes.clone().unwrap_or_default());
    }
    for (role, bytes) in &documents.targets {
        packing.document(metadata_path(role, None), bytes.clone());
    }
    Ok(())
}

fn finish(packing: Packing, indexes: Vec<&Index>, order: &Order<'_>, catalog: Option<Validity>) -> Result<Exported> {
    let mut indexes = indexes;
    indexes.sort_by(|one, other| (&one.version, &one.tag).cmp(&(&other.version, &other.tag)));
    indexes.dedup_by(|one, other| one.tag == other.tag);
    let newest = indexes.last().expect("something was asked for");
    let releases = indexes.iter().map(|index| release_of(index)).collect::<Result<Vec<_>>>()?;
    let mut platforms: Vec<Platform> =
        indexes.iter().flat_map(|index| &index.packages).map(|package| package.platform).collect();
    platforms.sort();
    platforms.dedup();
    platforms.retain(|platform| order.platforms.is_empty() || order.platforms.contains(platform));
    let name = newest.name.clone();
    let stem = if releases.len() == 1 { format!("{name}-{}", releases[0]) } else { name.to_string() };
    let stem = stem.parse().unwrap_or_else(|_| name.clone());
    let date = newest.created_at.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let files = packing.len();
    let Written { size_bytes, sha256 } = packing.write(order.output, &stem, date)?;
    let output = order.output.to_owned();
    Ok(Exported { kind: TYPE, output, size_bytes, sha256, name, releases, platforms, files, catalog })
}

/// The name of a release's directory.
fn release_of(index: &Index) -> Result<FileName> {
    Release::parse(&index.tag)?.directory()
}
