//! `artifact track`: how far an artifact is, and waiting for it.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::super::Context;
use super::look::Which;
use crate::model::failure::Result;
use crate::model::registry::{Outcome, Shown};
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure};

/// How long it is waited between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// The arguments of `artifact track`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact track main-0123456789-1a2b3c4d --service web
  consign artifact track main-0123456789-1a2b3c4d --wait --timeout 600

With `--wait` it ends with 0 where the run was successful, and with 1 where it failed or the time is up.")]
pub(super) struct TrackArgs {
    #[command(flatten)]
    which: Which,
    /// Wait until the run that builds it has ended
    #[arg(long)]
    wait: bool,
    /// For how many seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    timeout: u64,
}

/// How far an artifact is.
#[derive(Serialize)]
struct Progress {
    /// `missing`, `pushed`, `successful` or `failed`.
    status: &'static str,
    artifact: Option<Shown>,
}

impl TrackArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let server = self.which.server(context)?;
        let began = Instant::now();
        let progress = loop {
            let progress = match self.which.find(&server) {
                Ok(known) => Progress::of(known),
                Err(failure) if failure.code() == Code::ArtifactUnknown => {
                    Progress { status: "missing", artifact: None }
                }
                Err(failure) => return Err(failure),
            };
            let over = progress.outcome().is_some() || !self.wait;
            if over || began.elapsed().as_secs() >= self.timeout {
                break progress;
            }
            std::thread::sleep(PAUSE.min(Duration::from_secs(self.timeout).saturating_sub(began.elapsed())));
        };
        context.output.result(&progress, || format!("{}: {}", self.which.id, progress.describe()))?;
        if !self.wait {
            return Ok(Exit::Done);
        }
        match progress.outcome() {
            Some(Outcome::Successful) => Ok(Exit::Done),
            Some(Outcome::Failed) => {
                Err(Failure::new(Code::ArtifactFailed, format!("the run that built `{}` failed", self.which.id)))
            }
            None => Err(Failure::new(
                Code::ArtifactUnfinished,
                format!(
                    "timed out: the run that builds `{}` did not end within {} seconds",
                    self.which.id, self.timeout
                ),
            )
            .hint(
                "wait longer with `--timeout SECONDS`; the run has to say `consign artifact successful` or `failure`",
            )),
        }
    }
}

impl Progress {
    fn of(known: Shown) -> Self {
        let status = known.outcome.as_ref().map_or("pushed", |ended| ended.outcome.as_str());
        Self { status, artifact: Some(known) }
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.artifact.as_ref()?.outcome.as_ref()?.outcome)
    }

    fn describe(&self) -> String {
        let Some(known) = &self.artifact else { return "not pushed yet".to_owned() };
        let verdict = shown(&known.verdict);
        match &known.outcome {
            None => format!("pushed {}, verification {verdict}, its run has not ended", known.pushed_at),
            Some(ended) => {
                let note = ended.note.as_deref().map(|note| format!(": {}", shown(note))).unwrap_or_default();
                format!(
                    "pushed {}, verification {verdict}, its run was {}{note}",
                    known.pushed_at,
                    ended.outcome.as_str()
                )
            }
        }
    }
}
