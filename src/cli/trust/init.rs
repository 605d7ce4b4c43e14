//! `trust init`: a catalog and its first root.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::{lifetimes, tell};
use crate::catalog::proposal;
use crate::catalog::repository::Repository;
use crate::catalog::root::{self, Appointment};
use crate::cli::Context;
use crate::cli::catalog::place::{ForCatalog, HandArgs, hand};
use crate::cli::pubkeys::PubkeyArgs;
use crate::model::Exit;
use crate::model::failure::Result;
use crate::trust::key::{PublicKey, Signer};
use crate::trust::tuf::roles::RoleName;
use crate::world::keys;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The directory of the versions; the catalog is made in its `tuf/`
    #[arg(id = "catalog-root", value_name = "DIR")]
    root: Utf8PathBuf,
    /// Who may replace the root (repeatable): people, offline
    #[arg(long, value_name = "FILE", required = true)]
    root_key: Vec<Utf8PathBuf>,
    /// How many of them have to sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    root_threshold: u64,
    /// Who may say which files there are (repeatable): the release key
    #[arg(long, value_name = "FILE", required = true)]
    targets_key: Vec<Utf8PathBuf>,
    /// How many of them have to sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    targets_threshold: u64,
    /// Who may say which lists belong together (repeatable): a key of the build server
    #[arg(long, value_name = "FILE", required = true)]
    snapshot_key: Vec<Utf8PathBuf>,
    /// Who may say what is the newest (repeatable): a key of the build server
    #[arg(long, value_name = "FILE", required = true)]
    timestamp_key: Vec<Utf8PathBuf>,
    /// How long the root is good for [default: 365d]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    hand: HandArgs,
}

impl InitArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let lifetimes = lifetimes(context, self.expires.as_deref())?;
        let published = context.path(&self.root);
        let mut signers = self.hand.keys(context, ForCatalog::Ceremony, Some(&published))?;
        let mut publics = Vec::new();
        for paths in [&self.root_key, &self.targets_key, &self.snapshot_key, &self.timestamp_key] {
            let mut of_role = Vec::new();
            for path in paths {
                let (public, signer) = public_or_private(context, &self.hand, path, Some(&published))?;
                of_role.push(public);
                signers.extend(signer.filter(|new| signers.iter().all(|known| known.public() != new.public())));
            }
            publics.push(of_role);
        }
        let hand = hand(&signers, &lifetimes, self.hand.act());
        let first = root::first(hand.expires(RoleName::Root)?, |role| {
            let (at, threshold) = match role {
                RoleName::Root => (0, self.root_threshold),
                RoleName::Targets => (1, self.targets_threshold),
                RoleName::Snapshot => (2, 1),
                RoleName::Timestamp => (3, 1),
            };
            Appointment { keys: publics[at].clone(), threshold }
        })?;
        let signing = proposal::init(&Repository::at(&published), first, &hand)?;
        tell(context, &signing)
    }
}

/// Reads a key that is there to be named, and to sign if it is a private one.
pub(super) fn public_or_private(
    context: &Context,
    hand: &HandArgs,
    path: &Utf8Path,
    published: Option<&Utf8Path>,
) -> Result<(PublicKey, Option<Box<dyn Signer>>)> {
    let text = keys::read_any(&context.path(path))?;
    if memchr::memmem::find(&text, b"PRIVATE KEY").is_none() {
        let args = PubkeyArgs { pubkeys: vec![path.to_owned()] };
        let key = args.keys(context)?.remove(0);
        return Ok((key, None));
    }
    let signer = hand.key_of(context, path, published)?;
    Ok((signer.public().clone(), Some(signer)))
}
