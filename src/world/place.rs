//! A directory of published files: on the web, here, or in a parcel.

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use reqwest::Url;

use super::files;
use super::http::{self, Client};
use super::parcel::Parcel;
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};

/// A directory of published files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address without a slash at its end, with whatever credentials it was given.
    Web(String),
    /// A directory here.
    Directory(Utf8PathBuf),
    /// A directory in a parcel.
    Parcel {
        /// The parcel.
        parcel: Arc<Parcel>,
        /// The directory's path in it, with a slash at its end; nothing for the parcel's own.
        below: String,
    },
}

impl Place {
    /// Reads an address (https, http of this machine, `file://`) or a path; `holds` is what is looked
    /// for there, for whoever gives something else.
    pub fn parse(given: &str, holds: &str) -> Result<Self> {
        if !given.contains("://") {
            return Self::of_path(given.into());
        }
        let is_plain = |url: &Url| url.query().is_none() && url.fragment().is_none();
        if given.starts_with("file://") {
            let path = Url::parse(given).ok().filter(is_plain).and_then(|url| url.to_file_path().ok());
            let path = path.ok_or_else(|| {
                Failure::new(Code::Usage, format!("`{}` is nothing on this machine", text::shown(given)))
                    .hint("write it as `file:///path/to/directory`")
            })?;
            return files::utf8(path).and_then(Self::of_path);
        }
        let url = http::address(given)?;
        if !is_plain(&url) {
            let message = format!("the address `{}` has a query or a fragment", http::Shown(&url));
            return Err(Failure::new(Code::Usage, message).hint(format!("name the directory that holds `{holds}`")));
        }
        Ok(Self::Web(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// A directory; a file in its place has to be a parcel.
    fn of_path(path: Utf8PathBuf) -> Result<Self> {
        Ok(if path.is_file() { Self::of_parcel(Parcel::open(&path)?) } else { Self::Directory(path) })
    }

    /// What is in a parcel.
    pub fn of_parcel(parcel: Arc<Parcel>) -> Self {
        Self::Parcel { parcel, below: String::new() }
    }

    /// How it is shown: without credentials. A parcel is shown as one, wherever in it this is.
    pub fn shown(&self) -> String {
        match self {
            Self::Web(base) => text::without_credentials(base).into_owned(),
            Self::Directory(path) => path.to_string(),
            Self::Parcel { parcel, .. } => parcel.path().to_string(),
        }
    }

    /// A directory in it, by its name.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        match self {
            Self::Web(base) => Self::Web(format!("{base}/{}", quoted(name))),
            Self::Directory(path) => Self::Directory(path.join(name)),
            Self::Parcel { parcel, below } => {
                Self::Parcel { parcel: Arc::clone(parcel), below: format!("{below}{name}/") }
            }
        }
    }

    /// A document in it of at most `max_bytes`.
    pub fn get(&self, client: &Client, name: &str, max_bytes: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open(client, name, max_bytes as u64)?;
        file.take(max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(|error| self.broken(name, error))?;
        if bytes.len() <= max_bytes {
            return Ok(bytes);
        }
        let message = format!("`{}` at `{}` is larger than {max_bytes} bytes", text::shown(name), self.shown());
        Err(Failure::new(Code::FileTooLarge, message)
            .subject(text::shown(name))
            .hint("what is published there is not what it should be: ask the publisher"))
    }

    /// The same, where it may be missing.
    pub fn get_if_there(&self, client: &Client, name: &str, max_bytes: usize) -> Result<Option<Vec<u8>>> {
        match self.get(client, name, max_bytes) {
            Err(failure) if failure.code() == Code::RemoteNotFound => Ok(None),
            got => got.map(Some),
        }
    }

    /// A file in it, to be read while it comes.
    pub fn open<'a>(&self, client: &'a Client, name: &str, max_bytes: u64) -> Result<Box<dyn Read + 'a>> {
        let path = match self {
            Self::Web(base) => {
                return Ok(Box::new(client.open(&format!("{base}/{}", quoted(name)), max_bytes)?));
            }
            Self::Directory(path) => path.join(name),
            Self::Parcel { parcel, below } => {
                let (content, _) = parcel.file(&format!("{below}{name}")).ok_or_else(|| not_in(parcel, below, name))?;
                return Ok(Box::new(content));
            }
        };
        let missing = |error: &std::io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
        if path.symlink_metadata().is_err_and(|error| missing(&error)) {
            return Err(Failure::new(Code::RemoteNotFound, format!("there is no `{path}`"))
                .subject(path.as_str())
                .hint("check the path and the version"));
        }
        let file = files::open_regular(&path)?.ok_or_else(|| {
            Failure::new(Code::FileIrregular, format!("`{path}` is not a regular file"))
                .subject(path.as_str())
                .hint("copy what it leads to into a file of its own, if you trust it")
        })?;
        Ok(Box::new(file))
    }

    /// What went wrong while a file in it was read.
    pub fn broken(&self, name: &str, error: std::io::Error) -> Failure {
        error.downcast::<Failure>().unwrap_or_else(|error| match self {
            Self::Web(_) => {
                Failure::new(Code::RemoteUnavailable, format!("failed to read `{}`", text::shown(name))).because(error)
            }
            Self::Directory(path) => files::failed("read", &path.join(name), error),
            Self::Parcel { parcel, .. } => files::failed("read", parcel.path(), error),
        })
    }
}

fn not_in(parcel: &Parcel, below: &str, name: &str) -> Failure {
    let message = format!("there is no `{below}{}` in `{}`", text::shown(name), parcel.path());
    Failure::new(Code::RemoteNotFound, message)
        .subject(text::shown(name))
        .hint("ask whoever exported it for that version and platform")
}

/// A name as one segment of an address, and as a file name that is nothing else anywhere.
pub fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The directory that holds a file, by the file's address or path.
pub fn parent_of<'a>(given: &'a str, file: &str) -> Option<&'a str> {
    match given.strip_suffix(file)? {
        "" => Some("."),
        directory => directory.ends_with('/').then_some(directory),
    }
}

/// Whether something that was given is on the web and not here.
pub fn is_address(given: &str) -> bool {
    given.contains("://") && !given.starts_with("file://")
}

/// A path here that was given as such or as `file://`, below a directory where it is relative.
pub fn located(given: &str, below: &Utf8Path) -> String {
    if given.contains("://") { given.to_owned() } else { below.join(given).into_string() }
}
