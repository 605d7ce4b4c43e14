//! What readers find in an archive: its entries, their one date, or a problem.
//!
//! [`Gathering`] holds the rules about entries that do not depend on the format. Where the content
//! of an entry is, and what happens to it, is the business of the readers.

use crate::model::{Digest, FileName, text};

use super::layout::Layout;
use super::{MAX_DEPTH, ustar, zip};

/// Why an archive is not accepted: one sentence in lower case, safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

impl Problem {
    /// It goes beyond [`super::MAX_BYTES`].
    pub fn too_large() -> Self {
        Self::new("it is larger than an archive may be")
    }

    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(super) fn at(path: &str, problem: &str) -> Self {
        Self(format!("its entry `{}` is refused: {problem}", text::shown(path)))
    }
}

/// One file inside an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the stem.
    pub path: String,
    /// Whether it may be run.
    pub executable: bool,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// The time inside an archive, in its own form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date(pub(super) Stamp);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    Tar(u64),
    Zip(zip::Moment),
}

impl Date {
    /// Whether this is how an archive says that time.
    pub fn is(self, date: jiff::Timestamp) -> bool {
        match self.0 {
            Stamp::Tar(seconds) => seconds == ustar::seconds(date),
            Stamp::Zip(moment) => moment == zip::Moment::of(date),
        }
    }
}

/// Collects entries and sees that the directories are where the writer puts them.
pub(super) struct Gathering {
    /// The archive's one directory. Where it is not known, the first entry tells.
    stem: Option<String>,
    date: Option<Stamp>,
    layout: Layout,
    directories: Vec<String>,
    entries: Vec<Entry>,
}

/// All that was gathered.
pub(super) struct Gathered {
    pub(super) stem: String,
    pub(super) entries: Vec<Entry>,
    pub(super) date: Date,
}

impl Gathering {
    pub(super) fn new(stem: Option<&str>) -> Self {
        Self {
            stem: stem.map(str::to_owned),
            date: None,
            layout: Layout::default(),
            directories: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Takes the next path, and gives back what of it is below the stem if it is a file's.
    ///
    /// A file that was admitted is [pushed](Self::push) when its content has been read.
    pub(super) fn admit(&mut self, path: &str, date: Stamp) -> Result<Option<String>, Problem> {
        if *self.date.get_or_insert(date) != date {
            return Err(Problem::at(path, "its time is not that of the entries before it"));
        }
        let below = self
            .below(path)
            .ok_or_else(|| Problem::at(path, "it is not below the archive's one directory"))?
            .to_owned();
        if below.is_empty() || below.ends_with('/') {
            if self.directories.len() > MAX_DEPTH {
                return Err(Problem::at(path, "nothing is in the directories before it"));
            }
            self.directories.push(below);
            return Ok(None);
        }
        let expected = self.layout.admit(&below).map_err(|problem| Problem::at(path, &problem))?;
        if expected != self.directories {
            return Err(Problem::at(path, "the directories before it are not those that it needs"));
        }
        self.directories.clear();
        Ok(Some(below))
    }

    /// Keeps a file whose path was admitted.
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Ends it.
    pub(super) fn finish(self) -> Result<Gathered, Problem> {
        match (self.stem, self.date) {
            (Some(stem), Some(date)) if !self.entries.is_empty() && self.directories.is_empty() => {
                Ok(Gathered { stem, entries: self.entries, date: Date(date) })
            }
            _ => Err(Problem::new("it ends with a directory that nothing is in, or is empty")),
        }
    }

    fn below<'p>(&mut self, path: &'p str) -> Option<&'p str> {
        if self.stem.is_none() {
            let first: FileName = path.strip_suffix('/')?.parse().ok()?;
            self.stem = Some(first.as_str().to_owned());
        }
        path.strip_prefix(self.stem.as_deref()?)?.strip_prefix('/')
    }
}
