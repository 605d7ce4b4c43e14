//! `publish`: make a verified bundle visible.

use camino::Utf8PathBuf;
use clap::Args;

use super::anchor::AnchorArgs;
use super::selection::{PublishArgs, ReleaseArgs};
use super::{Context, planning};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Exit, Failure};
use crate::pipeline::guard::Guard;
use crate::pipeline::plan::Selection;
use crate::pipeline::request::Mode;
use crate::pipeline::run::Run;
use crate::pipeline::verify::Requirements;
use crate::pipeline::{Tools, attestation, notes, package, stages};
use crate::provider::ProviderKind;

/// The arguments of `publish`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign publish --provider directory --target /srv/releases
  consign publish v1.2.3 --provider directory --target /mnt/mirror/v1.2.3 --pubkey release.pub
  consign publish v1.2.3 --provider github --target owner/tool     with the token of GH_TOKEN")]
pub struct PublishVerbArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    publish: PublishArgs,
    /// The forge's attestation of this bundle, or a directory that holds it alone, to be published with it
    #[arg(long, value_name = "PATH")]
    attestation: Option<Utf8PathBuf>,
    #[command(flatten)]
    anchor: AnchorArgs,
}

impl PublishVerbArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned =
            planning::plan(context, &self.release, Some(&self.publish), Some(Mode::Release), &Selection::default())?;
        // Sending takes longer than verifying, and may run beside much else.
        let requirements = Requirements { is_frugal: true, ..self.anchor.requirements(context)? };
        let (plan, tools) = (&planned.plan, Tools { requirements, ..planned.tools(context, Guard::default()) });
        if plan.publish.is_none() {
            return Err(Failure::new(Code::ProviderMissing, "there is nowhere to publish to")
                .hint("name a place with `--provider directory --target DIR` or `--provider github --target OWNER/REPOSITORY`, or in `[publish]` of consign.toml"));
        }
        let mut run = Run::alone(plan, tools.listener, tools.now)?;
        run.stage(Stage::Guard, || stages::guard(plan, &tools), || Ok(()))?;
        let packed = package::recall(plan)?;
        if let Some(path) = &self.attestation {
            attestation::attach(plan, &context.path(path), tools.listener)?;
        }
        let verified = run.stage(Stage::Verify, || stages::verify(plan, &packed, &tools), || Ok(None))?;
        // A release on GitHub is a page as well; notes that are there already may have been edited.
        let is_page = plan.publish.as_ref().is_some_and(|publish| publish.provider == ProviderKind::Github);
        if is_page && !plan.places.releases.join(notes::FILE_NAME).exists() {
            run.stage(Stage::Notes, || stages::notes(plan, &tools), || Ok(()))?;
        }
        let published = run.stage(Stage::Publish, || stages::publish(plan, verified.as_ref(), &tools), || Ok(None))?;
        run.end()?;
        let Some(published) = published else { return Ok(Exit::Done) };
        context.output.result(&published, || format!("{} {}", published.status.as_str(), published.url))?;
        Ok(Exit::Done)
    }
}
