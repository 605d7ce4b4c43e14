//! Adding a published release to the catalog beside it: in its directory, or in a branch of its
//! repository.
//!
//! [`Catalogue::find`] looks whether there is one, [`Catalogue::list`] adds the release to it. A branch
//! is changed by one commit that comes after what was read; where somebody else was quicker, everything
//! begins anew from what they wrote, so that nothing is lost. What a catalog says is made and signed in
//! [`crate::catalog`].

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use super::request::Publish;
use crate::catalog::edit::{self, Ending, Hand, Listed, Listing, Outcome};
use crate::catalog::repository::{self, Repository};
use crate::catalog::source::DIRECTORY;
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName, text};
use crate::provider::github::{self, Branch, GitHub};
use crate::provider::{self, Provider, State, Target, Upload};
use crate::trust::documents::is_evidence;
use crate::trust::{Bundle, Verified};
use crate::world::{files, scratch};

/// The branch of a repository that holds its catalog.
pub const BRANCH: &str = "catalog";
/// How often a branch is read anew because somebody else was quicker.
const TRIES: usize = 8;

/// The catalog beside the releases.
pub enum Catalogue {
    /// Beside the directories of the releases, and where this release lies.
    Directory(Repository, Utf8PathBuf),
    /// In a branch of the repository.
    Branch(GitHub, String),
}

/// A branch as it was read, in a directory here.
struct Copy<'a> {
    branch: Branch<'a>,
    files: BTreeMap<String, Vec<u8>>,
    directory: scratch::Directory,
}

impl Catalogue {
    /// The catalog, if there is one.
    pub fn find(upload: &Upload<'_>, target: &Publish) -> Result<Option<Self>> {
        match &target.place {
            Target::Directory(path) => {
                let place = provider::directory::place_of(&upload.release.directory()?, path)?;
                let repository = Repository::at(place.parent().unwrap_or(&place));
                Ok(repository.exists().then_some(Self::Directory(repository, place)))
            }
            Target::Github(target) => {
                let github = GitHub::connect(target, github::Options::default())?;
                let page = format!("{}/tree/{BRANCH}", target.page());
                let is_there = target.token.is_some() && github.branch(BRANCH)?.is_some();
                Ok(is_there.then_some(Self::Branch(github, page)))
            }
        }
    }

    /// Whether the keys at hand can add a release, before anything becomes visible.
    pub fn require(&self, hand: &Hand<'_>) -> Result<()> {
        match self {
            Self::Directory(repository, _) => edit::require(repository, hand),
            Self::Branch(github, page) => {
                let copy = read(github, page)?;
                edit::require(&Repository::at(copy.directory.path()), hand)
            }
        }
    }

    /// Adds a release that is published.
    pub fn list(
        &self,
        bundle: &Verified<Bundle>,
        upload: &Upload<'_>,
        provider: &dyn Provider,
        hand: &Hand<'_>,
    ) -> Result<Outcome> {
        match self {
            Self::Directory(repository, place) => edit::add(repository, &[Listing::of(bundle, place, None)?], hand),
            Self::Branch(github, page) => {
                if upload.release.directory()?.as_str() != upload.release.tag {
                    let tag = text::shown(&upload.release.tag);
                    return Err(Failure::new(Code::NameInvalid, format!("the catalog cannot list the tag `{tag}`"))
                        .subject(tag)
                        .hint("in a catalog on GitHub, tags have no slash: release `<package>-v<version>`"));
                }
                let mut listing = Listing::of(bundle, "".into(), None)?;
                listing.files.extend(published_evidence(provider, upload)?);
                add(github, page, &listing, hand)
            }
        }
    }

    /// What to say where no key is at hand.
    pub fn advice(&self) -> String {
        match self {
            Self::Directory(repository, place) => {
                let (place, target) = (text::shown(place.as_str()), text::shown(repository.target().as_str()));
                format!(
                    "the catalog does not list this release yet: run `consign catalog add {place} --target {target} \
                     --key FILE`, or set CONSIGN_CATALOG_KEY"
                )
            }
            Self::Branch(_, page) => {
                format!(
                    "the catalog at {page} does not list this release yet: set CONSIGN_CATALOG_KEY and publish again"
                )
            }
        }
    }
}

/// Adds a release to the catalog of a branch, as often as somebody else is quicker.
fn add(github: &GitHub, page: &str, listing: &Listing, hand: &Hand<'_>) -> Result<Outcome> {
    for _ in 0..TRIES {
        let copy = read(github, page)?;
        let mut outcome = edit::add(&Repository::at(copy.directory.path()), std::slice::from_ref(listing), hand)?;
        page.clone_into(&mut outcome.catalog);
        let changes = changes(&copy)?;
        if changes.is_empty() || outcome.status == Ending::Unchanged {
            return Ok(outcome);
        }
        if copy.branch.commit(&changes, &format!("catalog: add {}", listing.release))? {
            return Ok(outcome);
        }
    }
    Err(Failure::new(Code::RemoteUnavailable, format!("{page} is changed by others all the time"))
        .subject(page)
        .hint("publish again: what is published already stays as it is"))
}

fn read<'a>(github: &'a GitHub, page: &str) -> Result<Copy<'a>> {
    let missing = || {
        Failure::new(Code::CatalogMissing, format!("there is no catalog at {page}"))
            .subject(page)
            .hint("make one with `consign trust init` in a clone of that branch, and push it")
    };
    let branch = github.branch(BRANCH)?.ok_or_else(missing)?;
    let mut files = branch.files(DIRECTORY, repository::MAX_BYTES)?;
    // Whatever else lies there is none of ours.
    files.retain(|name, _| name.parse::<FileName>().is_ok());
    let directory = scratch::Directory::new("consign-catalog-")?;
    files::create_directory(&directory.path().join(DIRECTORY))?;
    for (name, bytes) in &files {
        files::write(&directory.path().join(DIRECTORY).join(name), bytes)?;
    }
    if !Repository::at(directory.path()).exists() {
        return Err(missing());
    }
    Ok(Copy { branch, files, directory })
}

/// What is different from what was read, by its path in the branch.
fn changes(copy: &Copy<'_>) -> Result<BTreeMap<String, Option<Vec<u8>>>> {
    let place = copy.directory.path().join(DIRECTORY);
    let mut now = BTreeMap::new();
    for (name, _) in files::list(&place)? {
        let bytes = files::read_bounded(&place.join(&name), repository::MAX_BYTES)?;
        now.insert(name, bytes);
    }
    let gone = copy.files.keys().filter(|name| !now.contains_key(*name)).map(|name| (name.clone(), None));
    let gone: Vec<_> = gone.collect();
    let changed = now.into_iter().filter(|(name, bytes)| copy.files.get(name) != Some(bytes));
    let changed = changed.map(|(name, bytes)| (name, Some(bytes)));
    Ok(changed.chain(gone).map(|(name, bytes)| (format!("{DIRECTORY}/{name}"), bytes)).collect())
}

/// The evidence as it is published: that of an earlier run may have stayed.
fn published_evidence(provider: &dyn Provider, upload: &Upload<'_>) -> Result<BTreeMap<String, Listed>> {
    let mut found = BTreeMap::new();
    let Some(shelf) = provider.find(upload)? else { return Ok(found) };
    for stored in shelf.list()? {
        let State::Whole { size_bytes, sha256 } = stored.state else { continue };
        if is_evidence(&stored.name) {
            let sha256 = sha256.map_or_else(|| shelf.digest(&stored), Ok)?;
            found.insert(stored.name, Listed { size_bytes, sha256, is_evidence: true });
        }
    }
    Ok(found)
}
