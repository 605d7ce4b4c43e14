//! The programs that this host can run, run once.
//!
//! Commands from the configuration have to end with success. The default ones (`--version`,
//! `--help`) are a question that not every program understands; a program passes them when it
//! starts, answers in time and is not killed, and a refusal is a warning.

use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;

use super::build::{self, Built};
use super::plan::{Plan, PlatformPlan};
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Failure, Platform};
use crate::world::files;
use crate::world::process::Program;

/// What was run.
#[derive(Debug, Serialize)]
pub struct Smoked {
    /// Always `consign.smoke/v1`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The bare version.
    pub version: String,
    /// The commands, in order.
    pub commands: Vec<SmokedCommand>,
    /// The platforms that this host cannot run.
    pub skipped: Vec<Platform>,
}

/// One command that was run.
#[derive(Debug, Serialize)]
pub struct SmokedCommand {
    /// The platform.
    pub platform: Platform,
    /// The program and its arguments.
    pub command: String,
    /// `passed`, `warned` or `failed`.
    pub status: &'static str,
    /// How it ended.
    pub detail: String,
}

/// Runs the smoke commands and writes `dist/smoke/host.log`.
pub fn smoke(plan: &Plan, built: &Built, listener: &dyn Listener) -> Result<Smoked> {
    let mut smoked = Smoked {
        kind: "consign.smoke/v1",
        version: plan.release.version.to_string(),
        commands: Vec::new(),
        skipped: Vec::new(),
    };
    let mut log = String::new();
    for (platform, built) in plan.platforms.iter().zip(&built.platforms) {
        if platform.runner.is_empty() && !runs_here(&plan.host, platform) {
            smoked.skipped.push(platform.platform);
            continue;
        }
        for binary in &built.metadata.binaries {
            for arguments in &plan.smoke.commands {
                let program = program(plan, platform, built.directory.join(binary.file.as_str()).as_str(), arguments);
                smoked.commands.push(run(plan, platform.platform, &program, &mut log, listener));
            }
        }
    }
    files::write(&plan.places.dist.join("smoke").join("host.log"), log.as_bytes())?;
    match smoked.commands.iter().find(|command| command.status == "failed") {
        Some(failed) => Err(Failure::new(
            Code::SmokeFailed,
            format!("`{}` failed on {}: {}", failed.command, failed.platform, failed.detail),
        )
        .subject(failed.command.clone())
        .hint(format!("the whole log is in `{}`", plan.places.dist.join("smoke/host.log")))),
        None => Ok(smoked),
    }
}

/// A musl program runs on a glibc host of the same processor; nothing else crosses.
fn runs_here(host: &str, platform: &PlatformPlan) -> bool {
    let without_library = |target: &str| target.replace("-musl", "-gnu");
    without_library(host) == without_library(&platform.target)
}

fn program(plan: &Plan, platform: &PlatformPlan, path: &str, arguments: &[String]) -> Program {
    let program = match platform.runner.split_first() {
        Some((runner, rest)) => Program::new(runner).args(rest).arg(path),
        None => Program::new(path),
    };
    // Whatever the program prints goes into the log.
    let program = plan.withheld.iter().fold(build::with_less(program), Program::env_remove);
    program.args(arguments).directory(plan.places.root.clone()).contained(plan.smoke.timeout)
}

fn run(plan: &Plan, platform: Platform, program: &Program, log: &mut String, listener: &dyn Listener) -> SmokedCommand {
    let begun = Instant::now();
    let command = program.shown().replace(plan.places.root.as_str(), ".");
    listener.hear(&Event::TaskStarted { stage: Stage::Smoke, task: command.clone() });
    let outcome = program.output();
    let (status, detail) = match &outcome {
        Ok(output) if output.status.success() => ("passed", "ended with success".to_owned()),
        // A code of its own means that the program was loaded and answered; 126 and 127 come from loaders.
        Ok(output) if !plan.smoke.is_configured && output.status.code().is_some_and(|code| code < 126) => {
            ("warned", format!("the program does not know this command ({})", output.status))
        }
        Ok(output) => ("failed", format!("{}; {}", output.status, output.complaint())),
        Err(failure) => ("failed", failure.chain().join(": ")),
    };
    // Writing into a String cannot fail.
    let _ = writeln!(log, "$ {command}");
    if let Ok(output) = &outcome {
        log.push_str(&String::from_utf8_lossy(&output.stdout));
        log.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    let _ = writeln!(log, "[{status}] {detail}");
    if status == "warned" {
        listener.hear(&Event::Warning { message: format!("`{command}`: {detail}") });
    }
    listener.hear(&Event::TaskFinished {
        stage: Stage::Smoke,
        task: command.clone(),
        bytes: 0,
        duration: begun.elapsed(),
    });
    SmokedCommand { platform, command, status, detail }
}
