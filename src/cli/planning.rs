//! From flags to a plan, the same way for every verb that has one.

use clap::Args;

use super::Context;
use super::selection::{PublishArgs, ReleaseArgs};
use crate::config::environment;
use crate::model::failure::Result;
use crate::pipeline::plan::{self, Plan, Selection};
use crate::pipeline::request::{Mode, Request};
use crate::pipeline::surroundings::{self, Surroundings};
use crate::pipeline::{Tools, guard::Guard, verify::Requirements};
use crate::provider::Target;
use crate::trust::key::Signer;
use crate::world::clock;

/// A plan and what it was made from.
pub struct Planned {
    /// The request.
    pub request: Request,
    /// What there is.
    pub around: Surroundings,
    /// The plan.
    pub plan: Plan,
    /// What signs the catalog.
    pub catalog_signers: Vec<Box<dyn Signer>>,
}

impl Planned {
    /// What the pipeline needs besides the plan.
    pub fn tools<'a>(&'a self, context: &'a Context, guard: Guard) -> Tools<'a> {
        Tools {
            repository: self.around.repository.as_ref(),
            guard,
            requirements: requirements(context),
            signers: &[],
            registry: None,
            catalog_signers: &self.catalog_signers,
            step_summary: context.step_summary(),
            listener: context.listener(),
            now: &clock::now,
        }
    }
}

/// What every verification demands besides integrity.
pub fn requirements(context: &Context) -> Requirements {
    Requirements { require_signatures: context.requires_signatures(), ..Requirements::default() }
}

/// Makes the plan of a verb.
pub fn plan(
    context: &Context,
    release: &ReleaseArgs,
    publish: Option<&PublishArgs>,
    mode: Option<Mode>,
    selection: &Selection,
) -> Result<Planned> {
    let mut overrides = release.overrides();
    overrides.mode = mode;
    overrides.smoke.clone_from(&selection.smoke);
    overrides.register.clone_from(&selection.register);
    overrides.smoke_bases = (!selection.smoke_bases.is_empty()).then(|| selection.smoke_bases.clone());
    if let Some(publish) = publish {
        publish.apply(&mut overrides);
    }
    let request = context.request(&overrides)?;
    let around = surroundings::look(&request)?;
    let has_key = context.environment.get(environment::CONSIGN_SIGNING_KEY).is_some();
    let selection = Selection { signs: selection.signs || has_key, ..selection.clone() };
    let plan = plan::plan(&request, &around, &selection)?;
    let target = plan.publish.as_ref().filter(|_| mode == Some(Mode::Release)).map(|to| &to.place);
    let catalog_signers = match publish.zip(target) {
        Some((publish, Target::Directory(path))) => publish.catalog_signers(context, Some(&context.path(path)))?,
        Some((publish, Target::Github(_))) => publish.catalog_signers(context, None)?,
        None => Vec::new(),
    };
    Ok(Planned { request, around, plan, catalog_signers })
}

/// The rules of the version guard, as flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Guard options")]
pub struct GuardArgs {
    /// The tag has to start with `v`
    #[arg(long)]
    pub require_v_prefix: bool,
    /// The tag has to be the current ref: `--ref`, or `GITHUB_REF_NAME`
    #[arg(long)]
    pub require_ref_match: bool,
    /// The current ref [default: `GITHUB_REF_NAME`]
    #[arg(long = "ref", value_name = "REF")]
    pub reference: Option<String>,
    /// The tag has to exist, at the current commit
    #[arg(long)]
    pub require_tag: bool,
    /// The commit has to be part of this branch
    #[arg(long, value_name = "BRANCH")]
    pub require_branch: Option<String>,
}

impl GuardArgs {
    /// The rules.
    pub fn guard(&self, context: &Context) -> Guard {
        Guard {
            require_v_prefix: self.require_v_prefix,
            reference: self.reference.clone().or_else(|| context.current_ref()),
            require_ref_match: self.require_ref_match,
            require_tag: self.require_tag,
            require_branch: self.require_branch.clone(),
        }
    }
}
