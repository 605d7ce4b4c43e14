//! Where a catalog is read from: an address, a directory, or a parcel.
//!
//! [`Source`] turns the names of documents and targets into places and brings bounded bytes. A name
//! from a document never becomes a path or an address unchecked. Nothing is believed here.

use std::io::{ErrorKind, Read, Write as _};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::failure::Result;
use crate::model::text::{shown, without_credentials};
use crate::model::{Code, Failure};
use crate::world::http::{Client, ClientOptions};
use crate::world::parcel::Parcel;
use crate::world::place::quoted;
use crate::world::{files, place};

/// The directory of the metadata beside the versions.
pub const DIRECTORY: &str = "tuf";

/// Where a catalog is read from.
#[derive(Debug)]
pub struct Source {
    place: Place,
    client: Client,
}

#[derive(Debug)]
enum Place {
    /// Addresses without a slash at their ends.
    Web {
        metadata: String,
        targets: String,
    },
    Directory {
        metadata: Utf8PathBuf,
        targets: Utf8PathBuf,
    },
    Parcel(Arc<Parcel>),
}

/// Where the releases of a repository on GitHub are, for a catalog that lies in one of its branches:
/// `https://raw.githubusercontent.com/OWNER/REPOSITORY/BRANCH`, or `…/OWNER/REPOSITORY/raw/BRANCH` on any
/// such server.
fn releases_beside(catalog: &str) -> Option<String> {
    let (scheme, rest) = catalog.split_once("://")?;
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        ["raw.githubusercontent.com", owner, repository, _] => {
            Some(format!("{scheme}://github.com/{owner}/{repository}/releases/download"))
        }
        [server, owner, repository, "raw", _] => {
            Some(format!("{scheme}://{server}/{owner}/{repository}/releases/download"))
        }
        _ => None,
    }
}

impl Source {
    /// The catalog beside the versions at an address (https, http of this machine, `file://`) or a
    /// path: the directory that holds `tuf/`, or that `tuf/` itself, or a parcel.
    pub fn of_catalog(given: &str) -> Result<Self> {
        let place = match Place::parse(given)? {
            Place::Web { metadata, .. } => {
                let beside = metadata.strip_suffix("/tuf").unwrap_or(&metadata);
                let targets = releases_beside(beside).unwrap_or_else(|| beside.to_owned());
                Place::Web { metadata: format!("{beside}/{DIRECTORY}"), targets }
            }
            Place::Directory { metadata, .. } => match metadata.parent() {
                Some(parent) if metadata.file_name() == Some(DIRECTORY) => {
                    Place::Directory { targets: parent.to_owned(), metadata }
                }
                _ => Place::Directory { metadata: metadata.join(DIRECTORY), targets: metadata },
            },
            parcel @ Place::Parcel(_) => parcel,
        };
        Ok(Self { place, client: Client::new(ClientOptions::default()) })
    }

    /// The catalog in a parcel.
    pub fn of_parcel(parcel: Arc<Parcel>) -> Self {
        Self { place: Place::Parcel(parcel), client: Client::new(ClientOptions::default()) }
    }

    /// Any TUF repository: where its metadata is, and where its targets are.
    pub fn of_repository(metadata: &str, targets: &str) -> Result<Self> {
        let place = match (Place::parse(metadata)?, Place::parse(targets)?) {
            (Place::Web { metadata, .. }, Place::Web { targets, .. }) => Place::Web { metadata, targets },
            (Place::Directory { metadata, .. }, Place::Directory { targets, .. }) => {
                Place::Directory { metadata, targets }
            }
            _ => {
                return Err(Failure::new(Code::Usage, "metadata and targets are not both on the web or both here")
                    .hint("name two addresses or two directories"));
            }
        };
        Ok(Self { place, client: Client::new(ClientOptions::default()) })
    }

    /// The same, with other patience.
    #[must_use]
    pub fn with_options(self, options: ClientOptions) -> Self {
        Self { client: Client::new(options), ..self }
    }

    /// Where the targets are.
    pub fn files(&self) -> place::Place {
        match &self.place {
            Place::Web { targets, .. } => place::Place::Web(targets.clone()),
            Place::Directory { targets, .. } => place::Place::Directory(targets.clone()),
            Place::Parcel(parcel) => place::Place::of_parcel(Arc::clone(parcel)),
        }
    }

    /// Where the metadata is, without credentials.
    pub fn shown(&self) -> String {
        match &self.place {
            Place::Web { metadata, .. } => without_credentials(metadata).into_owned(),
            Place::Directory { metadata, .. } => metadata.to_string(),
            Place::Parcel(parcel) => parcel.path().to_string(),
        }
    }

    /// The document of a role, if it is there: its newest version or the one that is named.
    pub fn metadata(&self, role: &str, version: Option<u64>, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        match &self.place {
            Place::Web { metadata, .. } => {
                let name = document_name(&quoted(role), version);
                match self.client.get(&format!("{metadata}/{name}"), max_bytes) {
                    Err(failure) if failure.code() == Code::RemoteNotFound => Ok(None),
                    fetched => fetched.map(Some),
                }
            }
            Place::Directory { metadata, .. } => {
                // Some repositories quote the names on the disk as well.
                let plain = is_plain_name(role).then(|| role.to_owned());
                for name in plain.into_iter().chain([quoted(role)]) {
                    if let Some(bytes) = read_document(&metadata.join(document_name(&name, version)), max_bytes)? {
                        return Ok(Some(bytes));
                    }
                }
                Ok(None)
            }
            Place::Parcel(parcel) => {
                let Some((content, size)) = parcel.file(&metadata_path(role, version)) else { return Ok(None) };
                if size > max_bytes {
                    return Err(too_large(parcel.path(), max_bytes));
                }
                read_all(content, parcel.path()).map(Some)
            }
        }
    }

    /// Brings a target of at most `max_bytes` to a place where nothing is yet. Where names begin with
    /// digests, the digest is handed in.
    pub fn target(&self, path: &str, digest: Option<&str>, max_bytes: u64, to: &Utf8Path) -> Result<()> {
        let mut segments = segments(path)?;
        let last = segments.pop().unwrap_or_default();
        let last = digest.map_or_else(|| last.to_owned(), |digest| format!("{digest}.{last}"));
        segments.push(&last);
        match &self.place {
            Place::Web { targets, .. } => {
                let path: Vec<_> = segments.into_iter().map(quoted).collect();
                self.client.download(&format!("{targets}/{}", path.join("/")), max_bytes, to).map(|_| ())
            }
            Place::Directory { targets, .. } => {
                let path = targets.join(segments.join("/"));
                copy(open(&path)?.ok_or_else(|| not_there(path.as_str()))?, &path, max_bytes, to)
            }
            Place::Parcel(parcel) => {
                let path = segments.join("/");
                let (content, _) = parcel.file(&path).ok_or_else(|| not_there(&path))?;
                copy(content, parcel.path(), max_bytes, to)
            }
        }
    }

    /// The failure of a catalog without its first document.
    pub(super) fn nothing_there(&self, file: &str) -> Failure {
        let code = match &self.place {
            Place::Web { .. } => Code::RemoteNotFound,
            Place::Directory { .. } | Place::Parcel(_) => Code::CatalogMissing,
        };
        Failure::new(code, format!("there is no `{file}` at `{}`", shown(&self.shown())))
            .subject(self.shown())
            .hint("name the place that holds `tuf/timestamp.json`")
    }
}

impl Place {
    /// One place, for metadata and targets alike.
    fn parse(given: &str) -> Result<Self> {
        Ok(match place::Place::parse(given, "tuf/")? {
            place::Place::Web(base) => Self::Web { metadata: base.clone(), targets: base },
            place::Place::Directory(path) => Self::Directory { metadata: path.clone(), targets: path },
            place::Place::Parcel { parcel, .. } => Self::Parcel(parcel),
        })
    }
}

/// Where a document is in a parcel, and in any directory of versions.
pub fn metadata_path(role: &str, version: Option<u64>) -> String {
    format!("{DIRECTORY}/{}", document_name(&quoted(role), version))
}

fn document_name(role: &str, version: Option<u64>) -> String {
    version.map_or_else(|| format!("{role}.json"), |version| format!("{version}.{role}.json"))
}

/// Whether a name is a file name on every system.
fn is_plain_name(name: &str) -> bool {
    !name.chars().any(|character| character.is_control() || "/\\:*?\"<>|%".contains(character))
}

/// The pieces of a target's path, none of which leads anywhere else.
fn segments(path: &str) -> Result<Vec<&str>> {
    let segments: Vec<_> = path.split('/').collect();
    let is_name = |segment: &&str| {
        !matches!(*segment, "" | "." | "..")
            && !segment.chars().any(|one| one.is_control() || matches!(one, '\\' | ':'))
    };
    if segments.iter().all(is_name) {
        return Ok(segments);
    }
    Err(Failure::new(Code::CatalogInvalid, format!("the catalog lists {path:?}, which is no path below a directory"))
        .subject(shown(path))
        .hint("such a file is never fetched: ask the publisher"))
}

fn read_document(path: &Utf8Path, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let bytes = read_all(file.take(max_bytes.saturating_add(1)), path)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(path, max_bytes));
    }
    Ok(Some(bytes))
}

fn read_all(mut from: impl Read, path: &Utf8Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(|error| files::failed("read", path, error))?;
    Ok(bytes)
}

fn not_there(path: &str) -> Failure {
    Failure::new(Code::FileMissing, format!("the catalog lists `{}`, which is not there", shown(path)))
        .subject(shown(path))
        .hint("ask the publisher")
}

fn copy(file: impl Read, path: &Utf8Path, max_bytes: u64, to: &Utf8Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut place = options.open(to).map_err(|error| files::failed("create", to, error))?;
    let copied = std::io::copy(&mut file.take(max_bytes.saturating_add(1)), &mut place)
        .and_then(|copied| place.flush().map(|()| copied))
        .map_err(|error| files::failed("copy", path, error));
    let outcome = copied.and_then(|copied| if copied > max_bytes { Err(too_large(path, max_bytes)) } else { Ok(()) });
    outcome.inspect_err(|_| {
        // What is left is the failure that is already being told.
        let _ = fs_err::remove_file(to);
    })
}

/// Opens a regular file, if there is one.
fn open(path: &Utf8Path) -> Result<Option<std::fs::File>> {
    match path.symlink_metadata() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        // A name that no file can have.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidFilename | ErrorKind::InvalidInput) => return Ok(None),
        _ => {}
    }
    files::open_regular(path)?.map(Some).ok_or_else(|| {
        Failure::new(Code::FileIrregular, format!("`{path}` is not a regular file"))
            .subject(path.as_str())
            .hint("a catalog holds regular files only")
    })
}

fn too_large(path: &Utf8Path, max_bytes: u64) -> Failure {
    Failure::new(Code::FileTooLarge, format!("`{path}` is larger than {max_bytes} bytes"))
        .subject(path.as_str())
        .hint("ask the publisher")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_catalog_in_a_branch_are_the_releases_of_its_repository() {
        for (catalog, files) in [
            ("https://raw.githubusercontent.com/o/r/catalog", "https://github.com/o/r/releases/download"),
            ("https://raw.githubusercontent.com/o/r/catalog/tuf", "https://github.com/o/r/releases/download"),
            ("https://github.com/o/r/raw/catalog/", "https://github.com/o/r/releases/download"),
            ("https://ghe.example.com/o/r/raw/catalog", "https://ghe.example.com/o/r/releases/download"),
            ("https://example.com/releases/tuf", "https://example.com/releases"),
            ("https://example.com/o/r/raw", "https://example.com/o/r/raw"),
            ("https://example.com/o/r/raw/branch/main", "https://example.com/o/r/raw/branch/main"),
        ] {
            let source = Source::of_catalog(catalog).expect(catalog);
            assert_eq!(source.files().shown(), files, "{catalog}");
        }
    }

    #[test]
    fn names_never_lead_anywhere_else() {
        for (name, expected) in [
            ("targets", "targets"),
            ("../a", "..%2Fa"),
            ("?", "%3F"),
            ("/a#b", "%2Fa%23b"),
            ("a b\u{e9}", "a%20b%C3%A9"),
            ("%2e%2e", "%252e%252e"),
        ] {
            assert_eq!(quoted(name), expected);
        }
        for good in ["a", "v1.0.0/a b.tar.gz", "..a/b..", "\u{e9}/'\""] {
            assert!(segments(good).is_ok(), "{good}");
        }
        for wrong in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/..", ".", "a\\b", "C:a", "a\0b", "a\nb"] {
            assert_eq!(segments(wrong).expect_err(wrong).code(), Code::CatalogInvalid, "{wrong}");
        }
    }

    #[test]
    fn the_versions_lie_beside_the_metadata() {
        for (given, metadata, targets) in [
            ("https://a.example/x", "https://a.example/x/tuf", "https://a.example/x"),
            ("https://a.example/x/", "https://a.example/x/tuf", "https://a.example/x"),
            ("https://a.example/x/tuf/", "https://a.example/x/tuf", "https://a.example/x"),
        ] {
            let Place::Web { metadata: found, targets: base } = Source::of_catalog(given).expect("good").place else {
                panic!("{given}")
            };
            assert_eq!((found.as_str(), base.as_str()), (metadata, targets));
        }
        for (given, metadata, targets) in [("r", "r/tuf", "r"), ("r/tuf", "r/tuf", "r"), ("tuf", "tuf", "")] {
            let Place::Directory { metadata: found, targets: base } = Source::of_catalog(given).expect("good").place
            else {
                panic!("{given}")
            };
            assert_eq!((found.as_str(), base.as_str()), (metadata, targets));
        }
        for wrong in ["https://a.example/x?y", "file://host/x", "ftp://a.example/", "http://a.example/"] {
            assert!(Source::of_catalog(wrong).is_err(), "{wrong}");
        }
    }
}
