//! One run: the lock on `dist/`, the stages one after another with their hooks, and the journal.
//!
//! [`Run::stage`] does what the plan says of a stage: runs it between its hooks, or takes what an
//! earlier run left behind. The journal `dist/release-pipeline.json` is written after every stage.
//! It is for people and reports; no later run trusts it.

use std::time::Instant;

use camino::Utf8PathBuf;
use fs_err::File;
use jiff::Timestamp;
use serde::Serialize;

use super::plan::{Plan, StagePlan};
use crate::model::events::{Event, Listener, Outcome};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Failure, FileName, pretty};
use crate::world::files;
use crate::world::process::{Line, Program, safe_line};

/// A run that holds the output directory.
pub struct Run<'a> {
    plan: &'a Plan,
    listener: &'a dyn Listener,
    now: &'a dyn Fn() -> Timestamp,
    journal: Journal,
    writes_journal: bool,
    _lock: File,
}

/// What a run did: `dist/release-pipeline.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Journal {
    /// Always `consign.release-pipeline/v1`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The product's name.
    pub name: FileName,
    /// The bare version.
    pub version: String,
    /// The tag.
    pub tag: String,
    /// A rehearsal or the release.
    pub mode: &'static str,
    /// `running`, `passed` or `failed`.
    pub status: &'static str,
    /// Where the bundle is.
    pub bundle: Utf8PathBuf,
    /// What each stage did, in order.
    pub stages: Vec<StageRecord>,
}

/// What one stage did.
#[derive(Clone, Debug, Serialize)]
pub struct StageRecord {
    /// Which.
    pub stage: Stage,
    /// How it ended.
    pub status: Outcome,
    /// When it began.
    pub started_at: String,
    /// How long it took, hooks included.
    pub duration_ms: u64,
    /// One line about the result, or why it did not run.
    pub detail: String,
    /// What it read, below the workspace's root.
    pub inputs: Vec<String>,
    /// What it wrote, below the workspace's root.
    pub outputs: Vec<String>,
}

impl<'a> Run<'a> {
    /// A run of single stages, which leaves the journal of the last whole run alone.
    pub fn alone(plan: &'a Plan, listener: &'a dyn Listener, now: &'a dyn Fn() -> Timestamp) -> Result<Self> {
        Self::begin(plan, listener, now).map(|run| Self { writes_journal: false, ..run })
    }

    /// Takes the output directory; fails when another run has it.
    pub fn begin(plan: &'a Plan, listener: &'a dyn Listener, now: &'a dyn Fn() -> Timestamp) -> Result<Self> {
        let lock = lock(plan)?;
        sweep(plan)?;
        for message in &plan.warnings {
            listener.hear(&Event::Warning { message: message.clone() });
        }
        let journal = Journal {
            kind: "consign.release-pipeline/v1",
            name: plan.name.clone(),
            version: plan.release.version.to_string(),
            tag: plan.release.tag.clone(),
            mode: plan.mode.as_str(),
            status: "running",
            bundle: plan.places.bundle.clone(),
            stages: Vec::new(),
        };
        Ok(Self { plan, listener, now, journal, writes_journal: true, _lock: lock })
    }

    /// Runs a stage between its hooks, or takes what is there when the plan leaves it out.
    ///
    /// `work` returns the stage's result and one line about it.
    pub fn stage<T>(
        &mut self,
        stage: Stage,
        work: impl FnOnce() -> Result<(T, String)>,
        recall: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Some(planned) = self.plan.stages.iter().find(|planned| planned.stage == stage) else { return recall() };
        if !planned.runs {
            self.record(stage, (self.now)(), Instant::now(), Outcome::Skipped, &planned.does);
            return recall();
        }
        self.perform(planned, work)
    }

    /// Runs a stage between its hooks because somebody asked for it by its name, whether or not a whole run
    /// would come to it.
    pub fn demanded<T>(&mut self, stage: Stage, work: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        match self.plan.stages.iter().find(|planned| planned.stage == stage) {
            Some(planned) => self.perform(planned, work),
            None => work().map(|(value, _)| value),
        }
    }

    fn perform<T>(&mut self, planned: &StagePlan, work: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        let (stage, started_at, begun) = (planned.stage, (self.now)(), Instant::now());
        self.listener.hear(&Event::StageStarted { stage });
        let result =
            self.hooks(planned, "before", &planned.before).and_then(|()| work()).and_then(|(value, detail)| {
                self.hooks(planned, "after", &planned.after)?;
                Ok((value, detail))
            });
        match result {
            Ok((value, detail)) => {
                self.record(stage, started_at, begun, Outcome::Passed, &detail);
                self.write()?;
                Ok(value)
            }
            Err(failure) => {
                self.journal.status = "failed";
                self.record(stage, started_at, begun, Outcome::Failed, &failure.to_string());
                // The failure itself matters more than a journal that cannot be written.
                let _ = self.write();
                Err(failure)
            }
        }
    }

    /// Ends the run and gives back its journal.
    pub fn end(mut self) -> Result<Journal> {
        self.journal.status = "passed";
        self.write()?;
        Ok(self.journal)
    }

    fn record(&mut self, stage: Stage, started_at: Timestamp, begun: Instant, outcome: Outcome, detail: &str) {
        let duration = begun.elapsed();
        let detail = safe_line(detail);
        self.listener.hear(&Event::StageFinished { stage, outcome, duration, detail: detail.clone() });
        let (inputs, outputs) = traffic(self.plan, stage);
        self.journal.stages.push(StageRecord {
            stage,
            status: outcome,
            started_at: started_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            detail,
            inputs,
            outputs,
        });
    }

    fn write(&self) -> Result<()> {
        if self.writes_journal {
            files::write(&self.plan.places.dist.join("release-pipeline.json"), &pretty(&self.journal))?;
        }
        Ok(())
    }

    fn hooks(&self, planned: &StagePlan, when: &str, commands: &[Vec<String>]) -> Result<()> {
        commands.iter().try_for_each(|command| {
            let program = Program::of(command).ok_or_else(|| {
                Failure::new(Code::ConfigInvalid, format!("hook `{when}-{}` has no command", planned.stage))
                    .subject("hooks")
            })?;
            let program = program
                .env("CONSIGN_STAGE", planned.stage.as_str())
                .env("CONSIGN_TAG", &self.plan.release.tag)
                .env("CONSIGN_RELEASE_DIR", &self.plan.places.releases)
                .env("CONSIGN_BUNDLE_DIR", &self.plan.places.bundle);
            attend(
                self.plan,
                program,
                planned.stage,
                Code::HookFailed,
                &format!("hook `{when}-{}`", planned.stage),
                self.listener,
            )
        })
    }
}

/// What signing writes besides one file per asset and key.
const EVIDENCE: [&str; 3] = ["signatures.json", "index.json.sigstore.json", "provenance.intoto.jsonl"];

/// What a stage reads and writes, below the workspace's root.
fn traffic(plan: &Plan, stage: Stage) -> (Vec<String>, Vec<String>) {
    let below = |path: &Utf8PathBuf| path.strip_prefix(&plan.places.root).unwrap_or(path).to_string();
    let releases = || {
        plan.platforms
            .iter()
            .map(|platform| below(&plan.places.releases.join(platform.platform.name())))
            .collect::<Vec<_>>()
    };
    let bundle = || plan.files.iter().map(|name| below(&plan.places.bundle.join(name.as_str()))).collect::<Vec<_>>();
    let report = |names: &[&str]| names.iter().map(|name| below(&plan.places.releases.join(name))).collect::<Vec<_>>();
    match stage {
        Stage::Guard | Stage::Preflight | Stage::Test => (vec![], vec![]),
        Stage::Build => (vec![], releases()),
        Stage::Package => (releases(), bundle()),
        Stage::Sign => (bundle(), EVIDENCE.map(|name| below(&plan.places.bundle.join(name))).to_vec()),
        Stage::Verify => (bundle(), report(&["verify.json"])),
        Stage::Notes => (bundle(), report(&["release-notes.md"])),
        Stage::Smoke => {
            let host = plan.smoke.on_host.then_some("smoke/host.log");
            let containers = plan.smoke.containers.as_ref().map(|_| "docker-smoke/summary.json");
            let outputs = host.into_iter().chain(containers).map(|path| below(&plan.places.dist.join(path)));
            (releases(), outputs.collect())
        }
        Stage::Publish => (bundle(), report(&["release-assets.txt", "release-url.txt", "publish.json"])),
        Stage::RemoteVerify => {
            let again = plan.smoke_on_published().map(|_| "docker-smoke-published/summary.json");
            let again = again.map(|path| below(&plan.places.dist.join(path)));
            (vec![], report(&["remote-verify.json", "remote-verify.md"]).into_iter().chain(again).collect())
        }
        Stage::Summary => (report(&["release-assets.txt"]), report(&["release-summary.json", "release-summary.md"])),
        Stage::Register => (bundle(), report(&["register.json"])),
    }
}

/// Runs a program in the workspace's root, tells its lines as events, and demands success.
pub fn attend(
    plan: &Plan,
    program: Program,
    stage: Stage,
    code: Code,
    what: &str,
    listener: &dyn Listener,
) -> Result<()> {
    let program = program.directory(plan.places.root.clone());
    let last = std::sync::Mutex::new(String::new());
    let status = program.stream(&|line| {
        let (Line::Error(line) | Line::Output(line)) = line;
        let line = safe_line(line);
        if !line.trim().is_empty() {
            last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(&line);
        }
        listener.hear(&Event::Output { stage, line });
    })?;
    if status.success() {
        return Ok(());
    }
    let failure = Failure::new(code, format!("{what} failed ({status})"))
        .subject(program.name())
        .hint(format!("the command was `{}`", program.shown()));
    match last.into_inner().unwrap_or_default() {
        line if line.is_empty() => Err(failure),
        line => Err(failure.because(line)),
    }
}

/// Removes what killed runs left. This run holds the lock, so nobody else is at work.
fn sweep(plan: &Plan) -> Result<()> {
    let places = &plan.places;
    let parents = [&places.releases, &places.bundle].map(|place| place.parent().unwrap_or(&places.dist));
    let smoke = places.dist.join("smoke");
    [&places.dist, &places.releases, &smoke]
        .map(Utf8PathBuf::as_path)
        .into_iter()
        .chain(parents)
        .try_for_each(files::sweep)
}

fn lock(plan: &Plan) -> Result<File> {
    files::create_directory(&plan.places.dist)?;
    let path = plan.places.dist.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| files::failed("open", &path, error))?;
    match file.file().try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Failure::new(Code::Busy, format!("another run works in `{}`", plan.places.dist))
                .subject(path.as_str())
                .hint("wait for it to end, or use another directory with `--dist`"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(files::failed("lock", &path, error)),
    }
}
