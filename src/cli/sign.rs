//! `sign`: detached signatures over every file of a bundle.

use camino::Utf8PathBuf;
use clap::Args;

use super::pubkeys::PubkeyArgs;
use super::selection::ReleaseArgs;
use super::signing::SigningArgs;
use super::{Context, planning};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::text::shown;
use crate::pipeline::guard::Guard;
use crate::pipeline::plan::Selection;
use crate::pipeline::run::Run;
use crate::pipeline::sign::{self, Hand, Signed};
use crate::trust::Anchor;
use crate::trust::anchor::MAX_ROOT_BYTES;
use crate::world::{clock, files};

/// The arguments of `sign`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign sign --key release.pem                 the bundle of this workspace's version
  consign sign --key release.pem dist/packages/v1.2.3
  consign sign --key old.pem --key new.pem downloads/v1.2.3

A valid signature by the same key stays as it is. What is printed verifies without Consign.")]
pub struct SignArgs {
    /// The bundle's directory; one named after a release has to hold that release [default: that of this workspace's version]
    // The name is not that of the global `--directory`, which would take this value as its own.
    #[arg(id = "bundle", value_name = "DIR")]
    directory: Option<Utf8PathBuf>,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    pubkeys: PubkeyArgs,
    /// Sign every asset in minisign's form too; this takes an Ed25519 key
    #[arg(long)]
    minisign: bool,
    /// Refuse a key that this root.json does not let sign releases
    #[arg(long, value_name = "FILE")]
    trust_root: Option<Utf8PathBuf>,
}

impl SignArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let signed = match &self.directory {
            Some(directory) => {
                let directory = context.path(directory);
                let signers = self.signing.required_signers(context, &self.pubkeys, Some(&directory))?;
                self.require_role(context, &signers)?;
                sign::sign(&directory, None, Hand { signers: &signers, minisign: self.minisign }, context.listener())?
            }
            None => self.of_workspace(context)?,
        };
        context.output.result(&signed, || describe(&signed))?;
        Ok(Exit::Done)
    }

    fn of_workspace(&self, context: &Context) -> Result<Signed> {
        let selection = Selection { signs: true, ..Selection::default() };
        let planned = planning::plan(context, &ReleaseArgs::default(), None, None, &selection)?;
        let (plan, tools) = (&planned.plan, planned.tools(context, Guard::default()));
        let signers = self.signing.required_signers(context, &self.pubkeys, Some(&plan.places.dist))?;
        self.require_role(context, &signers)?;
        let mut run = Run::alone(plan, tools.listener, tools.now)?;
        let (directory, release) = (&plan.places.bundle, Some(&plan.release));
        let hand = Hand { signers: &signers, minisign: self.minisign || plan.interop.minisign };
        let mut signed = None;
        let work = || {
            let result = sign::sign(directory, release, hand, tools.listener)?;
            let detail = format!("{} files of evidence", result.evidence.len());
            signed = Some(result);
            Ok(((), detail))
        };
        run.stage(Stage::Sign, work, || Ok(()))?;
        run.end()?;
        signed.ok_or_else(|| super::usage("the stage `sign` did not run"))
    }

    fn require_role(&self, context: &Context, signers: &[Box<dyn crate::trust::key::Signer>]) -> Result<()> {
        let Some(path) = &self.trust_root else { return Ok(()) };
        let bytes = files::read_bounded(&context.path(path), MAX_ROOT_BYTES)?;
        sign::require_role(signers, &Anchor::of_root(&bytes, clock::now())?)
    }
}

fn describe(signed: &Signed) -> String {
    let mut out = format!("{} {} is signed: {}\n", signed.name, shown(&signed.tag), signed.directory);
    for key in &signed.keys {
        out.push_str(&format!(
            "  {} by {} key {}, {} kept\n",
            key.made + key.kept,
            key.algorithm,
            key.key_id,
            key.kept
        ));
    }
    out.push_str("Without Consign, where the public key is in pub.pem:\n");
    let commands: Vec<_> = signed.keys.iter().map(|key| format!("  {}", key.command)).collect();
    out + &commands.join("\n")
}
