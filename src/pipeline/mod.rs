//! From a commit to a published, verified bundle: the whole story on one screen.
//!
//! Each stage takes what the stage before it made, so that no other order compiles. What is left
//! out by the plan is taken from what an earlier run left in `dist/`, after looking at it again.

pub mod arguments;
pub mod attestation;
pub mod build;
pub mod cataloguing;
mod choice;
pub mod describe;
pub mod docker_smoke;
pub mod guard;
pub mod include;
pub mod installer;
pub mod interop;
pub mod linker;
mod marks;
pub mod matrix;
pub mod merge;
mod merge_checks;
pub mod notes;
pub mod package;
pub mod plan;
pub mod preflight;
pub mod publish;
pub mod rebuild;
pub mod register;
pub mod remap;
pub mod remote_verify;
pub mod request;
pub mod run;
pub mod sign;
pub mod smoke;
pub(crate) mod stages;
pub mod surroundings;
pub mod verify;
pub mod workflows;

use jiff::Timestamp;

use crate::client::Server;
use crate::model::events::Listener;
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::trust::key::Signer;
use crate::world::git::Repository;
use guard::Guard;
use plan::Plan;
use run::{Journal, Run};
use summary::RemoteStatus;

/// What a run needs besides its plan.
pub struct Tools<'a> {
    /// The repository, if there is one.
    pub repository: Option<&'a Repository>,
    /// The rules that the version has to keep.
    pub guard: Guard,
    /// What the verifier demands besides integrity.
    pub requirements: verify::Requirements,
    /// What signs the catalog beside the releases; nothing: it is left as it is.
    pub catalog_signers: &'a [Box<dyn Signer>],
    /// Whatever signs, the first key first.
    pub signers: &'a [Box<dyn Signer>],
    /// The registry that what was published becomes an artifact of, if there is one.
    pub registry: Option<&'a Server>,
    /// Where GitHub wants the summary of a job, if it does.
    pub step_summary: Option<&'a camino::Utf8Path>,
    /// Whoever hears what happens.
    pub listener: &'a dyn Listener,
    /// The clock, for the journal and reports; nothing in a bundle depends on it.
    pub now: &'a dyn Fn() -> Timestamp,
}

/// Does everything that the plan says, in order.
pub fn release(plan: &Plan, tools: &Tools<'_>) -> Result<Journal> {
    let mut run = Run::begin(plan, tools.listener, tools.now)?;
    run.stage(Stage::Guard, || stages::guard(plan, tools), || Ok(()))?;
    run.stage(Stage::Preflight, || stages::preflight(plan, tools), || Ok(()))?;
    run.stage(Stage::Test, || stages::test(plan, tools), || Ok(()))?;
    let built = run.stage(Stage::Build, || stages::build(plan, tools), || build::recall(plan))?;
    let built = build::settle(plan, built)?;
    let packed = run.stage(Stage::Package, || stages::package(plan, &built, tools), || package::recall(plan))?;
    run.stage(Stage::Sign, || stages::sign(plan, &packed, tools), || Ok(()))?;
    let verified = run.stage(Stage::Verify, || stages::verify(plan, &packed, tools), || Ok(None))?;
    run.stage(Stage::Notes, || stages::notes(plan, tools), || Ok(()))?;
    run.stage(Stage::Smoke, || stages::smoke(plan, &built, verified.as_ref(), tools), || Ok(()))?;
    let published = run.stage(Stage::Publish, || stages::publish(plan, verified.as_ref(), tools), || Ok(None))?;
    let fetched = run.stage(
        Stage::RemoteVerify,
        || stages::remote_verify(plan, published.as_ref(), tools),
        || Ok(RemoteStatus::Unchecked),
    )?;
    run.stage(Stage::Summary, || stages::summarise(plan, fetched, tools), || Ok(()))?;
    run.stage(Stage::Register, || stages::register(plan, verified.as_ref(), tools), || Ok(None))?;
    run.end()
}
pub mod summary;
