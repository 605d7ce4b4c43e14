//! What was installed, from where, and how far it was verified.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::current::REPLACEMENT;
use super::lock::Turn;
use super::prefix::{self, Prefix};
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, FileName, Platform, pretty, text};
use crate::trust::Anchor;
use crate::world::files;

/// The document type.
pub const TYPE: &str = "consign.receipt/v1";
/// The largest receipt that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// A receipt. It is written before the version that it is about is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The product.
    pub name: FileName,
    /// Its version.
    pub version: Version,
    /// The release's tag, where there was an index.
    pub tag: Option<String>,
    /// The platform that it was built for, where that is known.
    pub platform: Option<Platform>,
    /// Where it came from.
    pub origin: Origin,
    /// How far it was verified; nothing less is accepted afterwards.
    pub trust: Trust,
    /// The digest of the index, where there was one.
    pub index: Option<Digest>,
    /// The digest of the archive, where there was one.
    pub archive: Option<Digest>,
    /// Every file below the version's directory, sorted by path.
    pub files: Vec<InstalledFile>,
    /// The names in `<prefix>/bin` that lead to it, sorted.
    pub programs: Vec<FileName>,
    /// When.
    pub installed_at: Timestamp,
    /// By what: `consign 0.1.0`.
    pub installed_by: String,
}

/// Where an installation came from. No address has credentials in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Origin {
    /// An index.
    Index {
        /// Its address or path.
        place: String,
    },
    /// A catalog.
    Catalog {
        /// Its address or path.
        place: String,
        /// What was asked for: a version, a range, or nothing for the latest.
        wanted: Option<String>,
    },
    /// An archive, a directory or a program without an index.
    Loose {
        /// Its address or path.
        place: String,
    },
}

/// How far it is known who made what was installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Trust {
    /// Nobody was asked for: whoever could change the files could have changed all of them.
    Unchecked,
    /// A key that was given has signed the index.
    Keys {
        /// The names of the keys that are believed.
        keys: Vec<String>,
    },
    /// The catalog under a pinned root lists it.
    Catalog {
        /// The version of the root that was the newest.
        root_version: u64,
        /// The time that the catalog was judged at, where that was not the present.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        judged_at: Option<Timestamp>,
    },
}

impl Trust {
    /// The same, if those who vouched for it then are trusted now: all of one or more keys.
    pub fn still(&self, anchor: &Anchor) -> Option<Self> {
        let Self::Keys { keys } = self else { return None };
        let trusted: Vec<_> = anchor.keys().map(|key| key.id().to_string()).collect();
        let enough = keys.len() as u64 >= anchor.threshold() && keys.iter().all(|key| trusted.contains(key));
        (enough && !keys.is_empty()).then(|| self.clone())
    }

    /// How much it is worth beside another: nothing less than before is accepted.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Unchecked => 0,
            Self::Keys { .. } => 1,
            Self::Catalog { .. } => 2,
        }
    }
}

/// One installed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledFile {
    /// Its path below the version's directory.
    pub path: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it may be run.
    pub executable: bool,
}

/// Every receipt under a prefix.
pub fn all(prefix: &Prefix) -> Result<Vec<Receipt>> {
    let mut all = Vec::new();
    if prefix::look(&prefix.all_receipts())?.is_none() {
        return Ok(all);
    }
    for (entry, regular) in files::list(&prefix.all_receipts())? {
        let Some(name) = entry.parse().ok().filter(|_| !regular) else { continue };
        for version in versions(prefix, &name)? {
            all.extend(read(prefix, &name, &version)?);
        }
    }
    Ok(all)
}

/// The receipt of one version, if that version is there.
pub fn read(prefix: &Prefix, name: &FileName, version: &Version) -> Result<Option<Receipt>> {
    let path = prefix.receipt(name, version);
    if prefix::look(&path)?.is_none() || !is_directory(&prefix.version(name, version))? {
        return Ok(None);
    }
    parse(&path, name, version).map(Some)
}

/// Where a receipt waits for the version that takes another one's place.
pub fn pending(prefix: &Prefix, name: &FileName, version: &Version) -> Utf8PathBuf {
    prefix.receipts(name).join(format!("{REPLACEMENT}{version}.json"))
}

/// Writes a receipt, whole or not at all.
pub fn write(turn: &Turn, receipt: &Receipt, path: &Utf8Path) -> Result<()> {
    let directory = turn.prefix().receipts(turn.name());
    prefix::create(&turn.prefix().all_receipts())?;
    prefix::create(&directory)?;
    files::write(path, &pretty(receipt))?;
    files::sync_directory(&directory)
}

/// The versions that are there and have a receipt, in no order.
pub fn versions(prefix: &Prefix, name: &FileName) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    for version in receipted(prefix, name)? {
        if is_directory(&prefix.version(name, &version))? {
            versions.push(version);
        }
    }
    Ok(versions)
}

/// The versions that have a receipt, whether or not they are there.
pub fn receipted(prefix: &Prefix, name: &FileName) -> Result<Vec<Version>> {
    let directory = prefix.receipts(name);
    if prefix::look(&directory)?.is_none() {
        return Ok(Vec::new());
    }
    let version = |(name, regular): (String, bool)| {
        let version = name.strip_suffix(".json")?.parse().ok()?;
        regular.then_some(version)
    };
    Ok(files::list(&directory)?.into_iter().filter_map(version).collect())
}

/// What differs between a version's directory and its receipt, one line each.
pub fn damage(directory: &Utf8Path, receipt: &Receipt) -> Result<Vec<String>> {
    let listed: BTreeMap<&str, &InstalledFile> = receipt.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut damage = Vec::new();
    let mut found = walk(directory)?;
    for (path, file) in &listed {
        match found.remove(*path) {
            None => damage.push(format!("`{path}` is missing")),
            Some(place) => damage.extend(differs(&place, file)?.map(|problem| format!("`{path}` {problem}"))),
        }
    }
    damage.extend(found.into_keys().map(|path| format!("`{}` is not in the receipt", text::shown(&path))));
    Ok(damage)
}

fn parse(path: &Utf8Path, name: &FileName, version: &Version) -> Result<Receipt> {
    let wrong = |problem: &str| {
        Failure::new(Code::DocumentInvalid, format!("the receipt `{path}` {problem}"))
            .subject(path.as_str())
            .hint("install the version again")
    };
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    let receipt: Receipt =
        serde_json::from_slice(&bytes).map_err(|error| wrong("is not in the form of one").because(error))?;
    if receipt.kind != TYPE || receipt.name != *name || receipt.version != *version {
        return Err(wrong("is about something else"));
    }
    Ok(receipt)
}

fn is_directory(path: &Utf8Path) -> Result<bool> {
    Ok(prefix::look(path)?.is_some_and(|metadata| metadata.is_dir()))
}

/// Everything below a directory that is not a directory, by its path from there.
fn walk(directory: &Utf8Path) -> Result<BTreeMap<String, Utf8PathBuf>> {
    let mut found = BTreeMap::new();
    let mut left = vec![(String::new(), directory.to_owned())];
    while let Some((below, directory)) = left.pop() {
        let entries = fs_err::read_dir(&directory).map_err(|error| prefix::failed("list", &directory, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| prefix::failed("list", &directory, error))?;
            let kind = entry.file_type().map_err(|error| prefix::failed("list", &directory, error))?;
            let place = files::utf8(entry.path())?;
            let path = format!("{below}{}", place.file_name().unwrap_or_default());
            if kind.is_dir() {
                left.push((format!("{path}/"), place));
            } else {
                found.insert(path, place);
            }
        }
    }
    Ok(found)
}

fn differs(place: &Utf8Path, file: &InstalledFile) -> Result<Option<&'static str>> {
    let Some(mut opened) = files::open_regular(place)? else {
        return Ok(Some("is not a regular file"));
    };
    let metadata = opened.metadata().map_err(|error| prefix::failed("look at", place, error))?;
    if metadata.len() != file.size_bytes {
        return Ok(Some("has another size"));
    }
    if !has_mode(&metadata, file.executable) {
        return Ok(Some("has another mode"));
    }
    let mut hasher = Hasher::default();
    let mut piece = vec![0; 256 << 10];
    loop {
        match opened.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => hasher.update(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(prefix::failed("read", place, error)),
        }
    }
    Ok((hasher.finish() != file.sha256).then_some("has other bytes"))
}

#[cfg(unix)]
fn has_mode(metadata: &std::fs::Metadata, executable: bool) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    (metadata.permissions().mode() & 0o111 != 0) == executable
}

#[cfg(not(unix))]
fn has_mode(_metadata: &std::fs::Metadata, _executable: bool) -> bool {
    true
}
