//! Where bundles are published to: one file per kind of place, behind one trait.
//!
//! [`publish()`] is the story of publishing, the same for every [`Provider`]: look, draft, upload what
//! is missing, verify the draft's own bytes, make it visible. A provider only knows how its place does
//! each of these. It decides nothing about what may be published; the same bytes again are a success,
//! other bytes are refused.
//!
//! To add a provider is to write its file, and to add its variant to [`ProviderKind`] and [`Target`].

pub mod directory;
pub mod github;
pub mod memory;
mod publish;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::model::events::Listener;
use crate::model::failure::Result;
use crate::model::{Digest, FileName, Release};

pub use publish::{Check, publish};

/// The kinds of places that bundles go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// A directory, local or mounted.
    Directory,
    /// The releases of a repository on GitHub, or on a GitHub Enterprise server.
    Github,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Directory, Self::Github];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Github => "github",
        }
    }
}

/// One place, with everything that is needed to reach it.
#[derive(Clone, Debug)]
pub enum Target {
    /// A directory.
    Directory(Utf8PathBuf),
    /// A repository.
    Github(github::Target),
}

/// Opens a place. Nothing is asked of it yet.
pub fn open(target: &Target) -> Result<Box<dyn Provider + '_>> {
    Ok(match target {
        Target::Directory(path) => Box::new(directory::Directory::at(path)),
        Target::Github(target) => Box::new(github::GitHub::connect(target, github::Options::default())?),
    })
}

/// What is to be published: the files of one verified bundle, and what is said of them.
#[derive(Clone, Debug)]
pub struct Upload<'a> {
    /// Which release it is.
    pub release: Release,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// The notes for people, as Markdown.
    pub notes: String,
    /// Where the files are.
    pub directory: &'a Utf8Path,
    /// Every asset, sorted by name.
    pub assets: Vec<Asset>,
    /// Every file of evidence. It is published too, and never a reason to refuse.
    pub evidence: Vec<Asset>,
}

impl Upload<'_> {
    /// Every file, assets first.
    pub fn files(&self) -> impl Iterator<Item = &Asset> {
        self.assets.iter().chain(&self.evidence)
    }

    /// The asset or file of evidence with a name.
    pub fn file(&self, name: &str) -> Option<&Asset> {
        self.files().find(|file| file.name.as_str() == name)
    }
}

/// One file of a published release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asset {
    /// Its name.
    pub name: FileName,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Where a release can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The page for people.
    pub page: String,
    /// What the names of the files are put behind to fetch them.
    pub base: String,
}

/// A place for releases.
///
/// Everything that it is asked may have been interrupted before, at any point, and may be done by
/// somebody else at this very moment.
pub trait Provider {
    /// Whatever would make publishing fail, looked at before anything is built.
    fn preflight(&self, release: &Release, commit: Option<&str>) -> Vec<Look>;

    /// Where a release is, or will be.
    fn address(&self, release: &Release) -> Result<Address>;

    /// The release as everybody can see it, if they can. Changes nothing.
    fn find(&self, upload: &Upload<'_>) -> Result<Option<Box<dyn Shelf + '_>>>;

    /// The place where the release is put together, unseen: the one that an earlier run began, or a new
    /// one. Between [`Self::find`] and this, somebody else may have published it.
    fn draft(&self, upload: &Upload<'_>) -> Result<Turn<'_>>;

    /// Brings a published release here, where a stranger may not fetch it from [`Address::base`]. Nothing
    /// where a stranger may.
    fn fetch_closed(&self, release: &Release, into: &Utf8Path) -> Result<Option<()>>;
}

/// One thing that was looked at before publishing.
#[derive(Debug)]
pub struct Look {
    /// What it is.
    pub name: &'static str,
    /// What was found, or what is wrong with it.
    pub outcome: Result<String>,
}

/// Whose turn it is.
pub enum Turn<'a> {
    /// This is ours to fill.
    Draft(Box<dyn Draft + 'a>),
    /// Somebody has published it meanwhile.
    Published(Box<dyn Shelf + 'a>),
}

/// Something that holds the files of a release.
pub trait Shelf {
    /// How it is called in a message.
    fn name(&self) -> String;

    /// What is there.
    fn list(&self) -> Result<Vec<Stored>>;

    /// The digest of what is there, read anew.
    fn digest(&self, stored: &Stored) -> Result<Digest>;
}

/// A release that nobody sees yet.
pub trait Draft: Shelf {
    /// Puts files there, several at a time; each has to be the one that was verified.
    fn store(&mut self, upload: &Upload<'_>, files: &[&Asset], listener: &dyn Listener) -> Result<()>;

    /// Takes a file away.
    fn remove(&mut self, stored: &Stored) -> Result<()>;

    /// The files themselves as they are stored, in a directory: `into`, or where they are.
    fn fetch(&mut self, into: &Utf8Path) -> Result<Utf8PathBuf>;

    /// Makes the release visible, as the last deed. `false`: somebody else was quicker, or has taken
    /// the draft away.
    fn flip(self: Box<Self>, upload: &Upload<'_>) -> Result<bool>;
}

/// A file as its place describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name there.
    pub name: String,
    /// The number that the place knows it by, if it has one.
    pub id: Option<u64>,
    /// What it is.
    pub state: State,
}

/// What a stored file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A whole file.
    Whole {
        /// Its size.
        size_bytes: u64,
        /// Its digest, where the place tells it.
        sha256: Option<Digest>,
    },
    /// The upload of it has not come to an end.
    Unfinished,
    /// No file at all.
    Irregular,
}

/// How publishing ended, when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where the release is.
    pub address: Address,
    /// Every file that is there, sorted by name. Evidence may be that of an earlier run.
    pub files: Vec<Asset>,
    /// Whether anything had to be done.
    pub status: Status,
}

/// Whether anything had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The release is visible now and was not before.
    Published,
    /// The same release was there already; nothing was touched.
    Unchanged,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unchanged => "unchanged",
        }
    }
}
