//! `trust add-key`, `remove-key`, `rotate`, `revoke`, `set-threshold`, `renew`: the next root.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::init::public_or_private;
use super::{lifetimes, roles, tell};
use crate::catalog::proposal::{self, Base};
use crate::catalog::root::Change;
use crate::cli::Context;
use crate::cli::catalog::place::{ForCatalog, HandArgs, TargetArgs, hand};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::trust::key::{PublicKey, Signer};
use crate::trust::tuf::roles::RoleName;

/// What every proposal takes.
#[derive(Debug, Args)]
struct ProposalArgs {
    /// Write the proposal to this file instead of `tuf/proposed.root.json`
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    /// Change the proposal that is there already; it loses its signatures
    #[arg(long)]
    amend: bool,
    /// How long the root is good for [default: 365d]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    hand: HandArgs,
}

#[derive(Debug, Args)]
pub(super) struct AddKeyArgs {
    /// The role
    #[arg(long, value_name = "ROLE", value_parser = roles())]
    role: RoleName,
    /// The new key (repeatable); a private one also signs
    #[arg(long, value_name = "FILE", required = true)]
    new: Vec<Utf8PathBuf>,
    #[command(flatten)]
    proposal: ProposalArgs,
}

#[derive(Debug, Args)]
pub(super) struct RemoveKeyArgs {
    /// The role
    #[arg(long, value_name = "ROLE", value_parser = roles())]
    role: RoleName,
    /// The id of the key, or its first eight digits or more (repeatable)
    #[arg(long, value_name = "KEYID", required = true)]
    old: Vec<String>,
    #[command(flatten)]
    proposal: ProposalArgs,
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The role
    #[arg(long, value_name = "ROLE", value_parser = roles())]
    role: RoleName,
    /// The id of the old key, or its first eight digits or more
    #[arg(long, value_name = "KEYID")]
    old: String,
    /// The new key; a private one also signs
    #[arg(long, value_name = "FILE")]
    new: Utf8PathBuf,
    #[command(flatten)]
    proposal: ProposalArgs,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// The id of the key, or its first eight digits or more
    #[arg(value_name = "KEYID")]
    key: String,
    /// The key that takes its places; a private one also signs
    #[arg(long, value_name = "FILE")]
    new: Option<Utf8PathBuf>,
    #[command(flatten)]
    proposal: ProposalArgs,
}

#[derive(Debug, Args)]
pub(super) struct SetThresholdArgs {
    /// How many keys have to sign
    #[arg(value_name = "N")]
    threshold: u64,
    /// The role
    #[arg(long, value_name = "ROLE", value_parser = roles())]
    role: RoleName,
    #[command(flatten)]
    proposal: ProposalArgs,
}

#[derive(Debug, Args)]
pub(super) struct RenewArgs {
    #[command(flatten)]
    proposal: ProposalArgs,
}

impl ProposalArgs {
    fn propose(&self, context: &Context, changes: &[Change], new: Vec<Box<dyn Signer>>) -> Result<Exit> {
        let repository = self.target.repository(context)?;
        let lifetimes = lifetimes(context, self.expires.as_deref())?;
        let mut keys = self.hand.keys(context, ForCatalog::Ceremony, Some(repository.target()))?;
        keys.extend(new);
        let base = if self.amend { Base::Proposal } else { Base::InForce };
        let out = self.out.as_ref().map(|path| context.path(path));
        let hand = hand(&keys, &lifetimes, self.hand.act());
        let signing = proposal::propose(&repository, changes, base, out.as_deref(), &hand)?;
        tell(context, &signing)
    }
}

impl AddKeyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let (mut changes, mut signers) = (Vec::new(), Vec::new());
        for path in &self.new {
            let key = read(context, &self.proposal, path, &mut signers)?;
            changes.push(Change::Add { role: self.role, key });
        }
        self.proposal.propose(context, &changes, signers)
    }
}

impl RemoveKeyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let remove = |key: &String| Change::Remove { role: self.role, key: key.clone() };
        self.proposal.propose(context, &self.old.iter().map(remove).collect::<Vec<_>>(), Vec::new())
    }
}

impl RotateArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let mut signers = Vec::new();
        let new = read(context, &self.proposal, &self.new, &mut signers)?;
        let change = Change::Rotate { role: self.role, old: self.old.clone(), new };
        self.proposal.propose(context, &[change], signers)
    }
}

impl RevokeArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let mut signers = Vec::new();
        let replacement =
            self.new.as_ref().map(|path| read(context, &self.proposal, path, &mut signers)).transpose()?;
        self.proposal.propose(context, &[Change::Revoke { key: self.key.clone(), replacement }], signers)
    }
}

impl SetThresholdArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let change = Change::Threshold { role: self.role, threshold: self.threshold };
        self.proposal.propose(context, &[change], Vec::new())
    }
}

impl RenewArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        self.proposal.propose(context, &[Change::Renew], Vec::new())
    }
}

fn read(
    context: &Context,
    proposal: &ProposalArgs,
    path: &Utf8Path,
    signers: &mut Vec<Box<dyn Signer>>,
) -> Result<PublicKey> {
    let repository = proposal.target.repository(context)?;
    let (public, signer) = public_or_private(context, &proposal.hand, path, Some(repository.target()))?;
    signers.extend(signer);
    Ok(public)
}
