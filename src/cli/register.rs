//! `register`: make what was published an artifact of the registry.

use clap::Args;

use super::anchor::AnchorArgs;
use super::registry::{RegistryArgs, token};
use super::selection::ReleaseArgs;
use super::{Context, planning};
use crate::client::Server;
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure, FileName};
use crate::pipeline::guard::Guard;
use crate::pipeline::plan::{Plan, Selection};
use crate::pipeline::request::{Mode, Register};
use crate::pipeline::run::Run;
use crate::pipeline::{Tools, package, register, stages};
use crate::world::clock;

/// The arguments of `register`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign register                                        what `consign publish` has just put somewhere
  consign register v1.2.3 --server https://registry.example.com
  consign register v1.2.3 --service web --pubkey release.pub

The registry is that of `--server`, else that of `[registry]` in consign.toml. Registering again changes nothing.")]
pub struct RegisterArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// What the artifact is one of [default: that of consign.toml, else the product's name]
    #[arg(long, value_name = "NAME")]
    service: Option<FileName>,
    #[command(flatten)]
    anchor: AnchorArgs,
}

impl RegisterArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let planned = planning::plan(context, &self.release, None, Some(Mode::Release), &Selection::default())?;
        let requirements = self.anchor.requirements(context)?;
        let (plan, tools) = (&planned.plan, Tools { requirements, ..planned.tools(context, Guard::default()) });
        let settings = plan.register.as_ref().filter(|_| self.registry.server.is_none());
        let server = match settings {
            Some(registry) => with_token(context, &registry.address)?,
            None => self.registry.server(context)?,
        };
        let of_settings = plan.register.as_ref().and_then(|registry| registry.service.clone());
        let service = self.service.clone().or(of_settings);
        let registry = Register { address: server.address().to_owned(), service };
        let mut run = Run::alone(plan, tools.listener, tools.now)?;
        let packed = package::recall(plan)?;
        let verified = run.stage(Stage::Verify, || stages::verify(plan, &packed, &tools), || Ok(None))?;
        let Some(verified) = verified else { return Ok(Exit::Done) };
        let work = || {
            let done = register::register(&verified, plan, &registry, &server, clock::now())?;
            let detail = done.detail();
            Ok((done, detail))
        };
        let done = run.demanded(Stage::Register, work)?;
        run.end()?;
        context.output.result(&done, || {
            let (status, verdict) = (done.status.as_str(), shown(&done.verdict).into_owned());
            format!("{}/{} {status}: {} files sent, verification {verdict}", done.service, done.id, done.files_sent)
        })?;
        Ok(Exit::Done)
    }
}

/// The registry of a plan that registers, as whoever the token says.
pub(super) fn registry(context: &Context, plan: &Plan) -> Result<Option<Server>> {
    let registers = plan.stages.iter().any(|planned| planned.stage == Stage::Register && planned.runs);
    let registry = plan.register.as_ref().filter(|_| registers);
    registry.map(|registry| with_token(context, &registry.address)).transpose()
}

/// A registry that is going to be pushed to: that nobody may do so without a token is known before
/// anything is published.
fn with_token(context: &Context, address: &str) -> Result<Server> {
    let token = token(context, address)?.ok_or_else(|| {
        Failure::new(Code::TokenMissing, format!("there is no token for the registry {}", shown(address)))
            .subject(address)
            .hint("run `consign login`, or set `CONSIGN_TOKEN`")
    })?;
    Server::at(address, Some(token))
}
