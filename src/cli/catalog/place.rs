//! What every verb about a catalog takes: where it is, with which keys it is signed, and whether
//! anything is written.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::catalog::edit::{Act, Hand};
use crate::catalog::lifetimes::Lifetimes;
use crate::catalog::repository::Repository;
use crate::cli::pubkeys::PubkeyArgs;
use crate::cli::selection::provider_values;
use crate::cli::signing::SigningArgs;
use crate::cli::{Context, usage};
use crate::config::Overrides;
use crate::config::environment::CONSIGN_CATALOG_KEY;
use crate::model::failure::Result;
use crate::pipeline::cataloguing::InBranch;
use crate::provider::{ProviderKind, Target};
use crate::trust::key::Signer;
use crate::world::clock;

/// Where the catalog is.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// The directory of the versions, with `tuf/` in it [default: the publishing target]
    #[arg(id = "catalog-target", long = "target", value_name = "ROOT")]
    target: Option<Utf8PathBuf>,
}

impl TargetArgs {
    /// The catalog that is meant.
    pub fn repository(&self, context: &Context) -> Result<Repository> {
        repository(context, self.target.as_ref())
    }
}

/// Where the catalog is, and of which kind that place is.
#[derive(Clone, Debug, Default, Args)]
pub struct PlaceArgs {
    /// The kind of place the catalog is at; `github` is the branch `catalog` of a repository
    #[arg(id = "catalog-provider", long = "provider", value_name = "PROVIDER", value_parser = provider_values())]
    provider: Option<ProviderKind>,
    /// The directory of the versions, with `tuf/` in it, or the repository [default: the publishing target]
    #[arg(id = "catalog-target", long = "target", value_name = "TARGET")]
    target: Option<String>,
}

/// A catalog that can be changed.
pub enum Place {
    /// In a directory.
    Directory(Repository),
    /// In a branch of a repository.
    Branch(InBranch),
}

impl PlaceArgs {
    /// The catalog that is meant.
    pub fn place(&self, context: &Context) -> Result<Place> {
        let is_directory = self.provider.is_none_or(|provider| provider == ProviderKind::Directory);
        if let Some(target) = self.target.as_ref().filter(|_| is_directory) {
            return Ok(Place::Directory(Repository::at(&context.path(Utf8Path::new(target)))));
        }
        let overrides = Overrides { provider: self.provider, target: self.target.clone(), ..Overrides::default() };
        match context.request(&overrides)?.publish.map(|publish| publish.place) {
            Some(Target::Github(target)) => Ok(Place::Branch(InBranch::at(&target)?)),
            _ => repository(context, None).map(Place::Directory),
        }
    }
}

/// The catalog of a directory, or that of the publishing target where none is named.
pub fn repository(context: &Context, given: Option<&Utf8PathBuf>) -> Result<Repository> {
    if let Some(given) = given {
        return Ok(Repository::at(&context.path(given)));
    }
    let publish = context.request(&Overrides::default())?.publish;
    let publish = publish.ok_or_else(|| {
        usage("nobody said where the catalog is")
            .hint("name the directory of the versions, or set `[publish]` in consign.toml")
    })?;
    match &publish.place {
        Target::Directory(path) => Ok(Repository::at(&context.path(path))),
        Target::Github(_) => Err(usage("the publishing target is no directory")
            .hint(
                "name the directory of a clone of the branch that holds the catalog; `catalog refresh`, `yank` and `unyank` need none",
            )),
    }
}

/// The private keys that sign, and how carefully.
#[derive(Debug, Default, Args)]
pub struct HandArgs {
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    pubkeys: PubkeyArgs,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl HandArgs {
    /// The keys that were named; for everyday work also that of `CONSIGN_CATALOG_KEY`. None of them may lie
    /// in what is published.
    pub fn keys(
        &self,
        context: &Context,
        for_catalog: ForCatalog,
        published: Option<&Utf8Path>,
    ) -> Result<Vec<Box<dyn Signer>>> {
        // A key of the environment has no business in a ceremony.
        let named = !self.signing.keys.is_empty() || self.signing.signer_cmd.is_some();
        let mut keys = match for_catalog {
            ForCatalog::Ceremony if !named => Vec::new(),
            ForCatalog::Ceremony | ForCatalog::Everyday => self.signing.signers(context, &self.pubkeys, published)?,
        };
        if for_catalog == ForCatalog::Everyday
            && let Some(key) = self.signing.of_variable(context, CONSIGN_CATALOG_KEY, published)?
            && keys.iter().all(|known| known.public() != key.public())
        {
            keys.push(key);
        }
        Ok(keys)
    }

    /// The private key of a file, opened as carefully as the others.
    pub fn key_of(&self, context: &Context, path: &Utf8Path, published: Option<&Utf8Path>) -> Result<Box<dyn Signer>> {
        let mut alone = self.signing.clone();
        alone.keys = vec![path.to_owned()];
        (alone.signer_cmd, alone.signer_args, alone.algorithm) = (None, Vec::new(), None);
        Ok(alone.required_signers(context, &PubkeyArgs::default(), published)?.remove(0))
    }

    /// Whether anything is written.
    pub fn act(&self) -> Act {
        if self.dry_run { Act::Rehearse } else { Act::Write }
    }
}

/// Which keys are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForCatalog {
    /// Those that lists are signed with, every day and by machines.
    Everyday,
    /// Those that a root is signed with, by people.
    Ceremony,
}

/// Who changes the catalog now.
pub fn hand<'a>(keys: &'a [Box<dyn Signer>], lifetimes: &'a Lifetimes, act: Act) -> Hand<'a> {
    Hand { signers: keys.iter().map(AsRef::as_ref).collect(), now: clock::now(), lifetimes, act }
}
