//! Flags that several verbs share: whom to believe.
//!
//! A verb that verifies flattens [`AnchorArgs`] and asks [`AnchorArgs::requirements`]. Flags stand
//! above the environment; where neither names anybody, only integrity is checked.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use jiff::Timestamp;

use super::Context;
use super::catalog_source::CatalogArgs;
use super::pubkeys::PubkeyArgs;
use crate::catalog::repository::Repository;
use crate::model::failure::Result;
use crate::pipeline::verify::Requirements;
use crate::trust::Anchor;
use crate::trust::anchor::MAX_ROOT_BYTES;
use crate::trust::key::Signer;
use crate::world::{clock, files};

/// Whom to believe. Its name is also the id of a group.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Trust options")]
pub struct AnchorArgs {
    #[command(flatten)]
    pub(super) pubkeys: PubkeyArgs,
    /// The root.json that is trusted: the catalog that it vouches for has to list the release, or its keys to have signed it
    #[arg(long, value_name = "FILE", conflicts_with = "pubkey")]
    trust_root: Option<Utf8PathBuf>,
    /// The catalog: the address or path of the directory that holds `tuf/` [default: the one beside a release that is here]
    #[arg(long, value_name = "PATH|URL", requires = "trust_root")]
    catalog: Option<String>,
    /// Judge as at this time, `2026-01-31T00:00:00Z`, to audit an old release [default: now]
    #[arg(long, value_name = "TIME", requires = "trust_root")]
    at: Option<Timestamp>,
    /// Fail where nobody known has signed
    #[arg(long)]
    require_signatures: bool,
}

impl AnchorArgs {
    /// What every verification of the verb demands.
    pub fn requirements(&self, context: &Context) -> Result<Requirements> {
        self.requirements_in(context, None)
    }

    /// The same for a release in a directory, which may lie in a catalog.
    pub fn requirements_in(&self, context: &Context, release: Option<&Utf8Path>) -> Result<Requirements> {
        Ok(Requirements {
            require_signatures: self.require_signatures || context.requires_signatures(),
            anchor: self.anchor(context, release)?,
            threads: None,
            is_frugal: false,
        })
    }

    /// The same in a run that signs: where no other key is named, its own have to be found again.
    pub fn requirements_of(&self, context: &Context, signers: &[Box<dyn Signer>]) -> Result<Requirements> {
        let mut requirements = self.requirements(context)?;
        if !requirements.anchor.is_checked() && !signers.is_empty() {
            requirements.anchor = Anchor::Keys(signers.iter().map(|signer| signer.public().clone()).collect());
        }
        Ok(requirements)
    }

    fn anchor(&self, context: &Context, release: Option<&Utf8Path>) -> Result<Anchor> {
        let Some(path) = &self.trust_root else {
            let keys = self.pubkeys.keys(context)?;
            return Ok(if keys.is_empty() { Anchor::Unchecked } else { Anchor::Keys(keys) });
        };
        let beside = || release.and_then(Utf8Path::parent).filter(|place| Repository::at(place).exists());
        if let Some(catalog) = self.catalog.clone().or_else(|| beside().map(Utf8Path::to_string)) {
            let args = CatalogArgs { catalog: Some(catalog), trust_root: self.trust_root.clone(), at: self.at };
            return Ok(args.place(context)?.update(context)?.anchor());
        }
        let bytes = files::read_bounded(&context.path(path), MAX_ROOT_BYTES)?;
        Anchor::of_root(&bytes, self.at.unwrap_or_else(clock::now))
    }
}
