//! Which catalog is read, what vouches for it, and at which time: the options of every verb that
//! reads one, and the update that follows from them.
//!
//! [`CatalogArgs`] are flattened into a verb's arguments; [`CatalogArgs::place`] and
//! [`Place::update`] do the rest. The directory of the state is found here and handed down.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use jiff::Timestamp;

use super::Context;
use crate::catalog::client::{self, Catalog, Patience};
use crate::catalog::source::Source;
use crate::catalog::state::State;
use crate::config::environment;
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::tuf::trusted::MAX_ROOT_BYTES;
use crate::world::place::located;
use crate::world::{clock, files};

/// The options of every verb that reads a catalog.
#[derive(Clone, Debug, Default, Args)]
pub struct CatalogArgs {
    /// The catalog: the address or path of the directory that holds `tuf/`, or of a parcel
    #[arg(long, value_name = "PATH|URL")]
    pub catalog: Option<String>,
    /// The root that is trusted, which vouches for every later one
    #[arg(long, value_name = "FILE")]
    pub trust_root: Option<Utf8PathBuf>,
    /// Judge the catalog as at this time, such as 2026-01-31T00:00:00Z, and not as at the present
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
}

/// A catalog that can be read.
#[derive(Debug)]
pub struct Place {
    source: Source,
    pinned_root: Vec<u8>,
    state: Option<State>,
    now: Timestamp,
}

impl CatalogArgs {
    /// What is needed to read the catalog. Nothing is fetched yet.
    pub fn place(&self, context: &Context) -> Result<Place> {
        let missing = |what: &str, flag: &str| {
            Failure::new(Code::Usage, format!("it is not said {what}")).hint(format!("add `{flag}`"))
        };
        let given = self.catalog.as_deref().ok_or_else(|| missing("which catalog is read", "--catalog PATH|URL"))?;
        let root = self.root(context)?.ok_or_else(|| missing("which root is trusted", "--trust-root FILE"))?;
        let located = located(given, &context.directory);
        Self::place_by(context, &located, root, self.at)
    }

    /// The root that was named, if one was.
    pub fn root(&self, context: &Context) -> Result<Option<Vec<u8>>> {
        self.trust_root.as_ref().map(|path| pinned_root(&context.path(path))).transpose()
    }

    /// What is needed to read a catalog by the word of a root.
    pub fn place_by(context: &Context, located: &str, pinned_root: Vec<u8>, at: Option<Timestamp>) -> Result<Place> {
        let source = Source::of_catalog(located)?.with_options(context.client_options()?);
        Place::of(context, source, pinned_root, at)
    }
}

impl Place {
    /// A source that is read by the word of a root.
    pub fn of(context: &Context, source: Source, pinned_root: Vec<u8>, at: Option<Timestamp>) -> Result<Self> {
        let place = Self { source, pinned_root, state: None, now: at.unwrap_or_else(clock::now) };
        // What was seen since then would forbid to look at an older catalog.
        if at.is_some() { Ok(place) } else { place.remembering(context) }
    }

    /// The same, and whatever the time is, nothing older is read than what was seen before.
    pub fn remembering(self, context: &Context) -> Result<Self> {
        let state = State::of(&state_directory(context)?.join("tuf"), &self.pinned_root);
        Ok(Self { state: Some(state), ..self })
    }

    /// Brings the catalog up to date, and tells what a user should know about it.
    pub fn update(&self, context: &Context) -> Result<Catalog<'_>> {
        let catalog =
            client::update(&self.source, &self.pinned_root, self.state.as_ref(), self.now, Patience::default())?;
        for note in catalog.notes() {
            context.warn(note);
        }
        Ok(catalog)
    }

    /// Where the files are that the catalog lists.
    pub fn files(&self) -> crate::world::place::Place {
        self.source.files()
    }

    /// What it is read from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The root that was named.
    pub fn pinned_root(&self) -> &[u8] {
        &self.pinned_root
    }

    /// Where the catalog's metadata is, without credentials.
    pub fn shown(&self) -> String {
        self.source.shown()
    }
}

fn pinned_root(path: &Utf8Path) -> Result<Vec<u8>> {
    if !path.exists() {
        return Err(Failure::new(Code::CatalogMissing, format!("there is no root `{path}`"))
            .subject(path.as_str())
            .hint("get the catalog's `root.json` from somebody you trust"));
    }
    files::read_bounded(path, usize::try_from(MAX_ROOT_BYTES).unwrap_or(usize::MAX))
}

/// The directory of what is remembered from run to run: `$XDG_STATE_HOME/consign`.
pub fn state_directory(context: &Context) -> Result<Utf8PathBuf> {
    let get = |name| context.environment.get(name).map(Utf8Path::new).filter(|path| path.is_absolute());
    let base = get(environment::XDG_STATE_HOME)
        .map(Utf8Path::to_owned)
        .or_else(|| get(environment::HOME).map(|home| home.join(".local/state")))
        .or_else(|| get(environment::LOCALAPPDATA).map(Utf8Path::to_owned));
    base.map(|base| base.join("consign")).ok_or_else(|| {
        Failure::new(Code::ConfigInvalid, "there is no place to remember what was seen of a catalog")
            .hint("set `XDG_STATE_HOME` to a directory that is kept")
    })
}
