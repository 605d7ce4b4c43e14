//! Whether a catalog holds together: its roots, its lists, and every file that it lists.
//!
//! [`roots`] follows the roots, [`files`] reads what is listed. The lists themselves are judged by the
//! client ([`super::client`]). What is wrong with a file is a finding; what is wrong with a document is
//! a failure, for then nobody knows what should be there.

use std::collections::BTreeMap;
use std::io::Read as _;

use camino::Utf8Path;
use jiff::Timestamp;
use serde::Serialize;

use super::repository::{Chain, Repository, file_of, read};
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Exit, Failure, FileName, Finding, text};
use crate::trust::tuf::roles::{RoleName, Root, Target};
use crate::world::files as disk;

/// The document type of an [`Audit`].
pub const TYPE: &str = "consign.catalog-verify/v1";
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// What came of looking at a catalog.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where its documents are.
    pub catalog: String,
    /// The version of the newest root.
    pub root: u64,
    /// The version of the root that was pinned.
    pub pinned_root: u64,
    /// How many files are listed.
    pub files: usize,
    /// How many of them were read; a catalog on the web is not fetched whole.
    pub files_read: usize,
    /// Everything that is wrong with them.
    pub findings: Vec<Finding>,
}

impl Audit {
    /// The exit code of a command whose result it is.
    pub fn exit(&self) -> Exit {
        self.findings.first().map_or(Exit::Done, |finding| finding.code.exit())
    }
}

/// Follows the roots to the newest, from the one that is pinned; it must not have ended.
pub fn roots(repository: &Repository, pinned: Option<&Utf8Path>, now: Timestamp) -> Result<(Chain, Option<u64>)> {
    let chain = repository.roots()?;
    let pinned = match pinned {
        None => None,
        Some(path) => Some(pinned_in(&chain, path)?),
    };
    let current = chain.current();
    let last = repository.read::<Root>("root.json")?;
    if last.is_none_or(|last| last.signed.canonical() != chain.last().canonical()) {
        let message = format!("`root.json` is not root {}, the newest", current.version);
        return Err(Failure::new(Code::CatalogInvalid, message)
            .subject(repository.path("root.json").as_str())
            .hint(format!("copy `{}.root.json` over it; a run was killed there", current.version)));
    }
    if current.expires <= now {
        let message = format!("root {} ended {}", current.version, current.expires.strftime("%Y-%m-%d"));
        return Err(Failure::new(Code::CatalogExpired, message)
            .subject(repository.path(&file_of(RoleName::Root)).as_str())
            .hint("its holders make the next one with `consign trust renew`"));
    }
    Ok((chain, pinned))
}

fn pinned_in(chain: &Chain, path: &Utf8Path) -> Result<u64> {
    let pinned = read::<Root>(path)?.signed;
    let version = pinned.signed.version;
    let same = chain.roots().iter().any(|root| root.canonical() == pinned.canonical());
    if same {
        return Ok(version);
    }
    let message = format!("the catalog's root {version} is not the one that `{path}` pins");
    Err(Failure::new(Code::CatalogInvalid, message)
        .subject(path.as_str())
        .hint("this is another catalog, or one that was made anew: ask its owners before trusting it"))
}

/// Reads every listed file below a directory of versions.
pub fn files(directory: &Utf8Path, listed: &BTreeMap<String, Target>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (path, target) in listed {
        findings.extend(examine(directory, path, target)?);
    }
    Ok(findings)
}

/// Whether a listed file is there as it is listed.
fn examine(directory: &Utf8Path, path: &str, target: &Target) -> Result<Option<Finding>> {
    let shown = text::shown(path);
    let hint = "publish the bundle there again; what is listed is never changed";
    let finding = |code, message: &str| Ok(Some(Finding::new(code, shown.clone(), message, hint)));
    if path.split('/').any(|part| part.parse::<FileName>().is_err()) {
        return finding(Code::DocumentInvalid, "its path cannot be one of a bundle");
    }
    let place = directory.join(path);
    if place.symlink_metadata().is_err() {
        return finding(Code::FileMissing, "it is listed and not there");
    }
    let Some(file) = disk::open_regular(&place)? else {
        return finding(Code::FileIrregular, "it is not a regular file");
    };
    let (size, digest) = hash(file, target.length).map_err(|error| disk::failed("read", &place, error))?;
    if size != target.length {
        return finding(Code::SizeMismatch, "it has another size than is listed");
    }
    match target.hashes.get("sha256") {
        Some(listed) if *listed == digest.to_string() => Ok(None),
        Some(_) => finding(Code::DigestMismatch, "it has another digest than is listed"),
        None => finding(Code::DocumentInvalid, "it is listed without its SHA-256"),
    }
}

/// The size and digest of a file, read to one byte more than it may have.
pub(super) fn hash(file: std::fs::File, size: u64) -> std::io::Result<(u64, Digest)> {
    let (mut file, mut piece) = (file.take(size.saturating_add(1)), vec![0; PIECE_BYTES]);
    let (mut hasher, mut total) = (Hasher::default(), 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((total, hasher.finish())),
            Ok(read) => {
                hasher.update(&piece[..read]);
                total += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
