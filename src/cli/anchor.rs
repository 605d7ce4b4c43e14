//! Flags that several verbs share: whom to believe.
//!
//! A verb that verifies flattens [`AnchorArgs`] and asks [`AnchorArgs::requirements`]. Flags stand
//! above the environment; where neither names anybody, only integrity is checked.

use camino::Utf8PathBuf;
use clap::Args;
use jiff::Timestamp;

use super::Context;
use super::signing::PubkeyArgs;
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
    /// The root.json of a catalog, whose keys have to have signed
    #[arg(long, value_name = "FILE", conflicts_with = "pubkey")]
    trust_root: Option<Utf8PathBuf>,
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
        Ok(Requirements {
            require_signatures: self.require_signatures || context.requires_signatures(),
            anchor: self.anchor(context)?,
            threads: None,
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

    fn anchor(&self, context: &Context) -> Result<Anchor> {
        if let Some(path) = &self.trust_root {
            let bytes = files::read_bounded(&context.path(path), MAX_ROOT_BYTES)?;
            return Anchor::of_root(&bytes, self.at.unwrap_or_else(clock::now));
        }
        let keys = self.pubkeys.keys(context)?;
        Ok(if keys.is_empty() { Anchor::Unchecked } else { Anchor::Keys(keys) })
    }
}
