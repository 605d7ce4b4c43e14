//! Whether a catalog holds together: its roots, its lists, and every file that it lists.
//!
//! [`roots`] follows the roots, [`files`] reads what is listed. What is wrong with a file is a
//! finding; what is wrong with a document is a failure, for then nobody knows what should be there.

use std::io::Read as _;

use camino::Utf8Path;
use jiff::Timestamp;
use serde::Serialize;

use super::repository::{Chain, Repository, Standing, read};
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
    /// The directory of the versions.
    pub catalog: String,
    /// The version of the newest root.
    pub root: u64,
    /// The version of the root that was pinned, if one was.
    pub pinned_root: Option<u64>,
    /// How many listed files were read.
    pub files: usize,
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
    refuse_expired(repository, RoleName::Root, current.version, current.expires, now)?;
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

fn refuse_expired(repository: &Repository, role: RoleName, version: u64, end: Timestamp, now: Timestamp) -> Result<()> {
    if end > now {
        return Ok(());
    }
    let message = format!("{role} {version} ended {}", end.strftime("%Y-%m-%d"));
    let way = if role == RoleName::Root { "consign trust renew" } else { "consign catalog refresh" };
    Err(Failure::new(Code::CatalogExpired, message)
        .subject(repository.path(&super::repository::file_of(role)).as_str())
        .hint(format!("its holders sign the next one with `{way}`")))
}

/// Looks at everything that a client would, and at every listed file.
pub fn audit(repository: &Repository, pinned: Option<&Utf8Path>, now: Timestamp) -> Result<Audit> {
    let (chain, pinned_root) = roots(repository, pinned, now)?;
    let state = repository.state(&chain)?;
    let ends = [
        (
            RoleName::Timestamp,
            state.timestamp.as_ref().map(|known| (known.document.signed.signed.expires, known.standing)),
        ),
        (
            RoleName::Snapshot,
            state.snapshot.as_ref().map(|known| (known.document.signed.signed.expires, known.standing)),
        ),
        (RoleName::Targets, state.targets.as_ref().map(|known| (known.document.signed.signed.expires, known.standing))),
    ];
    let versions: std::collections::BTreeMap<_, _> = state.versions().collect();
    for (role, end) in ends {
        let path = repository.path(&super::repository::file_of(role));
        let refuse = |code, problem: &str| {
            Failure::new(code, format!("`{path}` {problem}"))
                .subject(path.as_str())
                .hint("`consign catalog refresh` with the keys of the newest root mends it")
        };
        let (end, standing) = end.ok_or_else(|| refuse(Code::CatalogMissing, "is missing"))?;
        if standing == Standing::Former {
            return Err(refuse(Code::CatalogInvalid, "is not signed by the keys of the newest root"));
        }
        refuse_expired(repository, role, versions.get(role.as_str()).copied().unwrap_or_default(), end, now)?;
    }
    if !state.is_whole() {
        let message = format!("the documents in `{}` do not name each other", repository.metadata());
        return Err(Failure::new(Code::CatalogInvalid, message)
            .subject(repository.metadata().as_str())
            .hint("a run was killed there: `consign catalog refresh` mends it"));
    }
    let mut findings = Vec::new();
    for (path, target) in state.listed() {
        findings.extend(examine(repository.target(), path, target)?);
    }
    Ok(Audit {
        kind: TYPE,
        catalog: repository.target().to_string(),
        root: chain.current().version,
        pinned_root,
        files: state.listed().len(),
        findings,
    })
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
