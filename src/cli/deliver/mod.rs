//! The verbs of the release manager: what goes where, why not, and by which rules.
//!
//! Each asks the server and prints its answer. [`Subject`] says what is meant, [`answer`] prints what became
//! of a request and ends with the code of what was refused, [`Waiting`] waits until nothing more will come.

mod approve;
mod describe;
mod explain;
mod hold;
mod policy;
mod promote;
mod release;
mod report;
mod rollback;
mod status;

use std::time::{Duration, Instant};

use clap::Args;

use super::Context;
use super::registry::RegistryArgs;
use crate::client::Server;
use crate::model::delivery::{Granted, Granting, Release, ReleaseRequest, State, Verdict};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure, FileName};
use crate::world::git;

pub use approve::{ApproveArgs, RejectArgs};
pub use describe::DescribeArgs;
pub use explain::ExplainArgs;
pub use hold::{HoldArgs, ResumeArgs};
pub use policy::PolicyArgs;
pub use promote::PromoteArgs;
pub use release::ReleaseArgs;
pub use report::ReportArgs;
pub use rollback::RollbackArgs;
pub use status::StatusArgs;

/// How long it is waited between two questions.
const PAUSE: Duration = Duration::from_millis(500);

/// What is meant. Its name is also the id of a group.
#[derive(Clone, Debug, Args)]
pub(super) struct Subject {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The service
    #[arg(long, value_name = "NAME")]
    pub(super) service: FileName,
    /// The namespace [default: the artifact's, else the environment's name]
    #[arg(long, short = 'n', value_name = "NAME")]
    pub(super) namespace: Option<FileName>,
}

/// How it is asked for, and whether it is waited for. Its name is also the id of a group.
#[derive(Clone, Debug, Args)]
pub(super) struct Waiting {
    /// Wait until each release has come to its end
    #[arg(long)]
    wait: bool,
    /// For how many seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    timeout: u64,
    /// A name for the request: made again under it, nothing happens twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Pass a freeze, and say why; it takes the grant `override`, and is in the audit log
    #[arg(long, value_name = "REASON")]
    override_freeze: Option<String>,
    /// Only say what would become of it
    #[arg(long)]
    dry_run: bool,
}

impl Subject {
    pub(super) fn server(&self, context: &Context) -> Result<Server> {
        self.registry.server(context)
    }
}

impl Waiting {
    /// Asks, prints what became of it, and waits if that is wanted.
    pub(super) fn make(
        &self,
        context: &Context,
        server: &Server,
        request: ReleaseRequest,
        heading: impl FnOnce(&Granted) -> String,
    ) -> Result<Exit> {
        // What a machine without git is called, its token says.
        let person = git::user(&context.directory).ok().flatten();
        let request =
            ReleaseRequest { override_reason: self.override_freeze.clone(), person, dry_run: self.dry_run, ..request };
        let granted = server.request(&request, self.idempotency_key.as_deref())?;
        let ends = if self.wait { self.until_the_end(server, &granted)? } else { Vec::new() };
        context.output.result(&Answer { granted: &granted, ends: &ends }, || {
            let mut lines = vec![heading(&granted)];
            lines.extend(granted.results.iter().map(line));
            lines.extend(ends.iter().map(end));
            lines.join("\n")
        })?;
        if let Some(refused) = granted.results.iter().find(|granting| granting.result == Verdict::Refused) {
            let count = granted.results.iter().filter(|granting| granting.result == Verdict::Refused).count();
            let code = code(refused.code.as_deref()).unwrap_or(Code::PolicyRefused);
            let hint = refused.hint.as_deref().unwrap_or(match code {
                Code::PolicyRefused => "`consign explain` says what has to become true",
                _ => "the lines marked [X] say why; `consign status` shows what is where",
            });
            return Err(Failure::new(code, format!("refused in {count} of {} environments", granted.results.len()))
                .subject(refused.environment.as_str())
                .hint(shown(hint)));
        }
        ended(&ends, self.timeout)
    }

    /// Asks until nothing more will come, or the time is up.
    fn until_the_end(&self, server: &Server, granted: &Granted) -> Result<Vec<Release>> {
        let began = Instant::now();
        let mut ends = Vec::new();
        for id in granted.results.iter().filter_map(|granting| granting.release.as_deref()) {
            ends.push(loop {
                let release = server.release(id)?;
                if release.is_end || began.elapsed().as_secs() >= self.timeout {
                    break release;
                }
                std::thread::sleep(PAUSE.min(Duration::from_secs(self.timeout).saturating_sub(began.elapsed())));
            });
        }
        Ok(ends)
    }
}

/// What a script reads.
#[derive(serde::Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    granted: &'a Granted,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ends: &'a [Release],
}

/// What became of a request in one environment, on a line.
pub(super) fn line(granting: &Granting) -> String {
    let Granting { environment, artifact, result, release, reason, .. } = granting;
    let artifact = artifact.as_ref().map_or("an artifact", FileName::as_str);
    let release = release.as_deref().map(|id| format!(" ({})", shown(id))).unwrap_or_default();
    let reason = reason.as_deref().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
    match result {
        Verdict::Accepted => format!("[✓] Release of {artifact} to {environment} initialized{release}"),
        Verdict::NeedsApproval => {
            format!("[✓] Release of {artifact} to {environment} waits for approval{release}{reason}")
        }
        Verdict::UpToDate if !reason.is_empty() => {
            format!("[✓] Release of {artifact} to {environment} is on its way already{release}{reason}")
        }
        Verdict::UpToDate => format!("[✓] Environment {environment} is already up-to-date{release}"),
        Verdict::WouldBeAccepted => format!("[✓] Release of {artifact} to {environment} would be accepted"),
        Verdict::Refused => format!("[X] Release of {artifact} to {environment} refused{reason}"),
    }
}

fn end(release: &Release) -> String {
    let reason = release.reason.as_deref().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
    let mark = if release.is_end && !is_failed(release) { "✓" } else { "X" };
    format!("[{mark}] {} in {}: {}{reason}", release.order.artifact, release.order.environment, release.state)
}

/// Whether it has not come to run; so does what a later one overtakes before it is written.
fn is_failed(release: &Release) -> bool {
    release.state == State::Failed || release.state == State::Superseded && release.pushed_at.is_none()
}

/// How a command ends that has waited for releases.
fn ended(ends: &[Release], timeout: u64) -> Result<Exit> {
    if let Some(failed) = ends.iter().find(|release| is_failed(release)) {
        let reason = failed.reason.as_deref().map(|reason| shown(reason).into_owned());
        let code = code(failed.code.as_deref()).unwrap_or(Code::ReleaseFailed);
        return Err(Failure::new(code, reason.unwrap_or_else(|| "the release failed".to_owned()))
            .subject(failed.order.environment.as_str())
            .hint(match code {
                Code::PolicyRefused => "`consign explain` says what has to become true",
                _ => "`consign describe release --id ID` shows every step, and `consign rollback` goes back",
            }));
    }
    if let Some(unfinished) = ends.iter().find(|release| !release.is_end) {
        return Err(Failure::new(
            Code::ReleaseUnfinished,
            format!("process timed out: the release is {} after {timeout} seconds", unfinished.state),
        )
        .subject(unfinished.order.environment.as_str())
        .hint("wait longer with `--timeout SECONDS`"));
    }
    Ok(Exit::Done)
}

/// Refuses an environment that the server does not manage.
pub(super) fn known_environment(server: &Server, name: &FileName) -> Result<()> {
    let known = server.environments()?.environments;
    if known.iter().any(|environment| environment.name == *name) {
        return Ok(());
    }
    let names: Vec<_> = known.iter().map(|environment| environment.name.as_str()).collect();
    Err(Failure::new(Code::EnvironmentUnknown, format!("unknown environment: {name}"))
        .subject(name.as_str())
        .hint(format!("there are {}", names.join(", "))))
}

/// A branch on the command line: a blank one is none.
pub(super) fn branch(text: &str) -> std::result::Result<String, String> {
    if text.trim().is_empty() {
        return Err("the branch is empty".to_owned());
    }
    Ok(text.to_owned())
}

/// A code that the server names, as far as this client knows it.
fn code(word: Option<&str>) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| Some(code.as_str()) == word)
}
