//! From a verified bundle to what the catalog lists of it.

use std::collections::BTreeMap;

use camino::Utf8Path;
use semver::Version;

use super::audit::hash;
use super::entry::{Entry, Status};
use crate::model::failure::Result;
use crate::trust::documents::is_evidence;
use crate::trust::{Bundle, Verified};
use crate::world::files;

/// The largest file of evidence that is listed, in bytes.
const MAX_EVIDENCE_BYTES: u64 = 16 << 20;

/// One version as it is to be listed.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The name of its directory.
    pub release: String,
    /// What is said of it.
    pub entry: Entry,
    /// Its files by name.
    pub files: BTreeMap<String, Listed>,
}

/// One file as it is to be listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: crate::model::Digest,
    /// Whether it may be remade.
    pub is_evidence: bool,
}

impl Listing {
    /// What is to be listed of a bundle. Evidence is listed as it lies in the directory that readers
    /// fetch from, for what was published first is what they get.
    pub fn of(bundle: &Verified<Bundle>, published: &Utf8Path, minimum_client: Option<Version>) -> Result<Self> {
        let listed = |asset: &crate::trust::Asset, is_evidence| {
            let file = Listed { size_bytes: asset.size_bytes, sha256: asset.sha256, is_evidence };
            (asset.name.to_string(), file)
        };
        let mut all: BTreeMap<_, _> = bundle.assets.iter().map(|asset| listed(asset, false)).collect();
        if published.is_dir() {
            for (name, is_regular) in files::list(published)? {
                if is_regular && is_evidence(&name) {
                    let path = published.join(&name);
                    let Some(file) = files::open_regular(&path)? else { continue };
                    let (size_bytes, sha256) =
                        hash(file, MAX_EVIDENCE_BYTES).map_err(|error| files::failed("read", &path, error))?;
                    if size_bytes <= MAX_EVIDENCE_BYTES {
                        all.insert(name, Listed { size_bytes, sha256, is_evidence: true });
                    }
                }
            }
        } else {
            all.extend(bundle.evidence.iter().map(|asset| listed(asset, true)));
        }
        let entry = Entry {
            name: bundle.index.name.clone(),
            version: bundle.release.version.clone(),
            channel: bundle.release.channel(),
            status: Status::Active,
            reason: None,
            minimum_client_version: minimum_client,
        };
        Ok(Self { release: bundle.release.directory()?.to_string(), entry, files: all })
    }
}
