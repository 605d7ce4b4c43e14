//! What each stage of a plan does, or why it does not run.

use serde::Serialize;

use super::super::choice;
use super::super::request::{Mode, Request};
use super::super::surroundings::Surroundings;
use super::Selection;
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Failure, text};

/// What one stage does.
#[derive(Clone, Debug, Serialize)]
pub struct StagePlan {
    /// The stage.
    pub stage: Stage,
    /// Whether it runs.
    pub runs: bool,
    /// What it does, or why it does not run.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub does: String,
    /// Commands before it.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub before: Vec<Vec<String>>,
    /// Commands after it.
    #[serde(serialize_with = "text::serialize_without_credentials")]
    pub after: Vec<Vec<String>>,
}

/// Every stage, in order.
pub(super) fn stages(request: &Request, around: &Surroundings, selection: &Selection) -> Result<Vec<StagePlan>> {
    Stage::ALL
        .into_iter()
        .map(|stage| {
            let left_out = left_out(request, selection, stage)?;
            let hooks = |when: &str| request.hooks.get(&format!("{when}-{stage}")).cloned().unwrap_or_default();
            Ok(StagePlan {
                stage,
                runs: left_out.is_none(),
                does: left_out.unwrap_or_else(|| describe(request, around, stage)),
                before: hooks("before"),
                after: hooks("after"),
            })
        })
        .collect()
}

/// Why a stage does not run, if it does not.
fn left_out(request: &Request, selection: &Selection, stage: Stage) -> Result<Option<String>> {
    let skipped = selection.skip.contains(&stage);
    if skipped && request.mode == Mode::Release && !stage.can_be_skipped_in_release() {
        return Err(Failure::new(Code::StageRequired, format!("stage `{stage}` cannot be skipped in release mode"))
            .subject(stage.as_str())
            .hint("leave `--skip` out, or rehearse with `--mode validate`"));
    }
    if skipped {
        return Ok(Some("skipped on request".into()));
    }
    // A later start never leaves out what makes a release trustworthy and takes no time.
    let cheap = matches!(stage, Stage::Guard | Stage::Preflight | Stage::Verify | Stage::Notes | Stage::Smoke);
    let always = request.mode == Mode::Release && cheap;
    if let Some(from) = selection.from.filter(|from| stage < *from && !always) {
        let taken = matches!(stage, Stage::Build | Stage::Package | Stage::Sign);
        return Ok(Some(if taken {
            "what is in dist/ is taken".into()
        } else {
            format!("the run starts at `{from}`")
        }));
    }
    let publishes = request.mode == Mode::Release && request.publish.is_some();
    Ok(match stage {
        Stage::Sign if !selection.signs => Some("no key is given; see `--key`".into()),
        Stage::Register if request.register.is_none() => Some("no registry is named; see `--register`".into()),
        Stage::Publish | Stage::RemoteVerify | Stage::Summary | Stage::Register if request.mode == Mode::Validate => {
            Some("a rehearsal publishes nothing; `--mode release` does".into())
        }
        Stage::Publish | Stage::RemoteVerify | Stage::Summary | Stage::Register if !publishes => {
            Some("no provider is named; see `--provider`".into())
        }
        _ => None,
    })
}

fn describe(request: &Request, around: &Surroundings, stage: Stage) -> String {
    match stage {
        Stage::Guard => "check that this version may be released".into(),
        Stage::Preflight => "check tools, compilers, lock file and working tree".into(),
        Stage::Test => choice::test_command(request, around).join(" "),
        Stage::Build => "one release build per platform".into(),
        Stage::Package => "archives, SBOMs, index, provenance and checksums".into(),
        Stage::Sign => "detached signatures over every file of the bundle".into(),
        Stage::Verify => "check every file against every document".into(),
        Stage::Notes => "release notes from the commits since the last tag".into(),
        Stage::Smoke => match (request.smoke.on_host, &request.smoke.containers) {
            (true, None) => "run the programs that this host can run".into(),
            (true, Some(on)) => {
                format!(
                    "run the programs that this host can run, and {} services in containers",
                    on.matrix.services.len()
                )
            }
            (false, Some(on)) => format!("run {} services in containers", on.matrix.services.len()),
            (false, None) => "nothing is chosen".into(),
        },
        Stage::Publish => match &request.publish {
            Some(publish) => {
                format!("to the {} `{}`", publish.provider.as_str(), text::without_credentials(&publish.target))
            }
            None => String::new(),
        },
        Stage::RemoteVerify => {
            let again = request.smoke.containers.as_ref().and_then(|on| on.published.as_ref());
            let again =
                again.map_or_else(String::new, |on| format!(", and run {} services in containers", on.services.len()));
            format!("fetch what was published as a stranger would, and verify it{again}")
        }
        Stage::Summary => "expected against published assets".into(),
        Stage::Register => match &request.register {
            Some(registry) => format!("the bundle becomes an artifact of `{}`", registry.address),
            None => String::new(),
        },
    }
}
