//! Adding a published release to the catalog beside it: in its directory, or in a branch of its
//! repository.
//!
//! [`Catalogue::find`] looks whether there is one, [`Catalogue::list`] adds the release to it. A branch
//! is changed ([`InBranch::change`]) by one commit that comes after what was read; where somebody else was
//! quicker, everything begins anew from what they wrote, so that nothing is lost. What a catalog says is
//! made and signed in [`crate::catalog`].

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::catalog::edit::{self, Ending, Hand, Listed, Listing, Outcome};
use crate::catalog::repository::{self, Repository};
use crate::catalog::source::DIRECTORY;
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName, Release, text};
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
    Branch(InBranch),
}

/// The catalog in the branch [`BRANCH`] of a repository.
pub struct InBranch {
    github: GitHub,
    page: String,
}

/// A branch as it was read, in a directory here.
struct Copy<'a> {
    branch: Branch<'a>,
    files: BTreeMap<String, Vec<u8>>,
    directory: scratch::Directory,
}

impl Catalogue {
    /// The catalog that a release is to be listed in, if there is one at the place. One that cannot list it
    /// is a failure.
    pub fn find(release: &Release, place: &Target) -> Result<Option<Self>> {
        match place {
            Target::Directory(path) => {
                let place = provider::directory::place_of(&release.directory()?, path)?;
                let repository = Repository::at(place.parent().unwrap_or(&place));
                Ok(repository.exists().then_some(Self::Directory(repository, place)))
            }
            Target::Github(target) => {
                let branch = InBranch::at(target)?;
                if target.token.is_none() || branch.github.branch(BRANCH)?.is_none() {
                    return Ok(None);
                }
                // Readers go from the name in the catalog to the address of the files, where the tag stands.
                if release.directory()?.as_str() != release.tag {
                    let (tag, page) = (text::shown(&release.tag), &branch.page);
                    let instead = text::shown(release.directory()?.as_str()).into_owned();
                    let message = format!("the catalog at {page} cannot list the tag `{tag}`: it has a slash");
                    return Err(Failure::new(Code::NameInvalid, message)
                        .subject(tag)
                        .hint(format!("tag the release `{instead}`, which is the same version of the same package")));
                }
                Ok(Some(Self::Branch(branch)))
            }
        }
    }

    /// Whether the keys at hand can add a release, before anything becomes visible.
    pub fn require(&self, hand: &Hand<'_>) -> Result<()> {
        match self {
            Self::Directory(repository, _) => edit::require(repository, hand),
            Self::Branch(branch) => branch.look(|repository| edit::require(repository, hand)),
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
            Self::Branch(branch) => {
                let mut listing = Listing::of(bundle, "".into(), None)?;
                listing.files.extend(published_evidence(provider, upload)?);
                let message = format!("catalog: add {}", listing.release);
                branch.change(&message, |repository| edit::add(repository, std::slice::from_ref(&listing), hand))
            }
        }
    }

    /// Where it is, for people.
    pub fn shown(&self) -> String {
        match self {
            Self::Directory(repository, _) => text::shown(repository.target().as_str()).into_owned(),
            Self::Branch(branch) => branch.page.clone(),
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
            Self::Branch(InBranch { page, .. }) => {
                format!(
                    "the catalog at {page} does not list this release yet: set CONSIGN_CATALOG_KEY and publish again"
                )
            }
        }
    }
}

impl InBranch {
    /// The catalog of a repository. Nothing is asked yet.
    pub fn at(target: &github::Target) -> Result<Self> {
        let page = format!("{}/tree/{BRANCH}", target.page());
        Ok(Self { github: GitHub::connect(target, github::Options::default())?, page })
    }

    /// Where people see it.
    pub fn page(&self) -> &str {
        &self.page
    }

    /// Looks at a copy of it.
    pub fn look<T>(&self, look: impl FnOnce(&Repository) -> Result<T>) -> Result<T> {
        let copy = read(&self.github, &self.page)?;
        look(&Repository::at(copy.directory.path()))
    }

    /// Changes a copy of it and makes that a commit, as often as somebody else is quicker.
    pub fn change(&self, message: &str, deed: impl Fn(&Repository) -> Result<Outcome>) -> Result<Outcome> {
        let page = &self.page;
        for _ in 0..TRIES {
            let copy = read(&self.github, page)?;
            let mut outcome = deed(&Repository::at(copy.directory.path()))?;
            page.clone_into(&mut outcome.catalog);
            let changes = changes(&copy)?;
            if changes.is_empty() || outcome.status == Ending::Unchanged {
                return Ok(outcome);
            }
            if copy.branch.commit(&changes, message)? {
                return Ok(outcome);
            }
        }
        Err(Failure::new(Code::RemoteUnavailable, format!("{page} is changed by others all the time"))
            .subject(page)
            .hint("do it again: nothing of it was done"))
    }
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
