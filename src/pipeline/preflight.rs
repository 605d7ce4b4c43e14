//! What would make a run fail later, found before anything is built.
//!
//! [`examine`] looks at tools, compilers, linkers, the lock file and the working tree, and returns
//! everything that is missing at once, each with the command that mends it. `consign doctor` prints
//! it; the stage `preflight` stops at the first thing that is needed.

use serde::Serialize;

use super::cataloguing::Catalogue;
use super::linker;
use super::plan::{Plan, PlatformPlan};
use super::request::{Builder, Mode};
use super::verify::Requirements;
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Failure};
use crate::provider::{self, Target};
use crate::world::cargo;
use crate::world::process::{self, Program, safe_line};

/// What was looked at, and what came of it.
#[derive(Debug, Serialize)]
pub struct Examination {
    /// Always `consign.doctor/v1`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether a run can start.
    pub ready: bool,
    /// Each thing that was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What it is: `git`, `linker linux-arm64`…
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// The stable code of what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Looks at everything that the plan needs, and at the place to publish to, if one is given.
pub fn examine(plan: &Plan, place: Option<&Target>) -> Examination {
    let mut outcomes: Vec<(String, Result<String>)> = vec![
        ("cargo".into(), version(plan.environment.get("CARGO").map_or("cargo", String::as_str), "-V")),
        ("compiler".into(), compiler(plan)),
        ("Cargo.lock".into(), lock_file(plan)),
        ("source".into(), source(plan)),
        ("output directory".into(), output(plan)),
    ];
    for platform in &plan.platforms {
        outcomes.push((format!("builder {}", platform.platform), builder(plan, platform)));
        if matches!(platform.builder, Builder::Cargo | Builder::Zigbuild) {
            outcomes.push((format!("standard library {}", platform.platform), standard_library(plan, platform)));
        }
        if platform.builder == Builder::Cargo {
            outcomes.push((format!("linker {}", platform.platform), linker(plan, platform)));
        }
    }
    for stage in plan.stages.iter().filter(|stage| stage.runs) {
        for (when, commands) in [("before", &stage.before), ("after", &stage.after)] {
            for command in commands {
                outcomes.push((format!("hook {when}-{}", stage.stage), hook(plan, command)));
            }
        }
    }
    if let Some(place) = place {
        outcomes.extend(publishing(plan, place));
    }
    let checks: Vec<Check> = outcomes.into_iter().map(|(name, outcome)| check(name, outcome)).collect();
    Examination { kind: "consign.doctor/v1", ready: checks.iter().all(|check| check.ok), checks }
}

/// Looks at everything and fails with the first thing that is missing; all of them are its causes.
pub fn require(plan: &Plan) -> Result<Examination> {
    let publishes = plan.stages.iter().any(|planned| planned.stage == Stage::Publish && planned.runs);
    let place = plan.publish.as_ref().filter(|_| publishes).map(|publish| &publish.place);
    let examination = examine(plan, place);
    let wrong: Vec<_> = examination.checks.iter().filter(|check| !check.ok).collect();
    let Some(first) = wrong.first() else { return Ok(examination) };
    let mut failure =
        Failure::new(first.code.unwrap_or(Code::ToolMissing), first.found.clone()).subject(first.name.clone());
    if let Some(hint) = &first.hint {
        failure = failure.hint(hint.clone());
    }
    if wrong.len() > 1 {
        let others: Vec<_> = wrong[1..].iter().map(|check| format!("also: {}", check.found)).collect();
        failure = failure.because(others.join("\n"));
    }
    Err(failure)
}

/// Fails where signatures are demanded of a bundle that this run packs and nothing will sign.
pub fn require_key(plan: &Plan, requirements: &Requirements) -> Result<()> {
    let demanded = requirements.require_signatures || requirements.anchor.is_checked();
    let stage = |wanted: Stage| plan.stages.iter().find(|planned| planned.stage == wanted);
    let runs = |wanted: Stage| stage(wanted).is_some_and(|planned| planned.runs);
    // A hook may hand the bundle to whoever has the key.
    let is_signed_by_hook = stage(Stage::Package).is_some_and(|planned| !planned.after.is_empty())
        || stage(Stage::Verify).is_some_and(|planned| !planned.before.is_empty());
    if !demanded || !runs(Stage::Verify) || !runs(Stage::Package) || runs(Stage::Sign) || is_signed_by_hook {
        return Ok(());
    }
    Err(Failure::new(Code::KeyMissing, "signatures are demanded, and there is no key to make them with")
        .subject("sign")
        .hint("give `--key FILE`, or set CONSIGN_SIGNING_KEY"))
}

/// What the place itself has to say.
fn publishing(plan: &Plan, place: &Target) -> Vec<(String, Result<String>)> {
    match provider::open(place) {
        Ok(provider) => {
            let looks = provider.preflight(&plan.release, plan.source.commit.as_deref());
            let mut looks: Vec<_> = looks.into_iter().map(|look| (look.name.to_owned(), look.outcome)).collect();
            // What does not answer was told already.
            if matches!(place, Target::Github(_)) && looks.iter().all(|(_, outcome)| outcome.is_ok()) {
                let found = Catalogue::find(&plan.release, place);
                let told = |found: Option<Catalogue>| found.map_or("none".to_owned(), |catalogue| catalogue.shown());
                looks.push(("github catalog".to_owned(), found.map(told)));
            }
            looks
        }
        Err(failure) => vec![("publishing target".to_owned(), Err(failure))],
    }
}

fn check(name: String, outcome: Result<String>) -> Check {
    match outcome {
        Ok(found) => Check { name, ok: true, found, code: None, hint: None },
        Err(failure) => Check {
            name,
            ok: false,
            found: failure.to_string(),
            code: Some(failure.code()),
            hint: failure.way_out().map(str::to_owned),
        },
    }
}

fn version(program: &str, flag: &str) -> Result<String> {
    let told = Program::new(program).arg(flag).read()?;
    Ok(told.lines().next().unwrap_or_default().to_owned())
}

fn compiler(plan: &Plan) -> Result<String> {
    let compiler = cargo::compiler(rustc(plan, None), &plan.places.root)?;
    let number = cargo::compiler_number(&compiler);
    if let (Some(needed), Some(number)) = (&plan.build.rust_version, number)
        && number < *needed
    {
        return Err(Failure::new(
            Code::CompilerTooOld,
            format!("the workspace needs Rust {needed}, and this is {}", compiler.version),
        )
        .hint("`rustup update`, or install a newer Rust"));
    }
    Ok(format!("{} on {}", compiler.version, compiler.host))
}

fn rustc<'a>(plan: &'a Plan, platform: Option<&'a PlatformPlan>) -> &'a str {
    platform
        .and_then(|platform| platform.environment.get("RUSTC"))
        .or_else(|| plan.environment.get("RUSTC"))
        .map_or("rustc", String::as_str)
}

fn lock_file(plan: &Plan) -> Result<String> {
    if plan.build.locked {
        return cargo::check_lock(plan.environment.get("CARGO").map_or("cargo", String::as_str), &plan.places.root)
            .map(|()| "fits the manifests".into());
    }
    if plan.mode == Mode::Release {
        return Err(Failure::new(Code::LockMissing, "there is no Cargo.lock, so the release could never be rebuilt")
            .subject("Cargo.lock")
            .hint("run `cargo generate-lockfile` and commit the file"));
    }
    Ok("missing; cargo writes one".into())
}

fn source(plan: &Plan) -> Result<String> {
    let commit = plan.source.commit.as_deref();
    if plan.mode == Mode::Release {
        if commit.is_none() {
            return Err(Failure::new(Code::SourceUnknown, "a release needs a commit, and there is none")
                .hint("commit the workspace with git"));
        }
        if plan.source.dirty {
            return Err(Failure::new(Code::TreeDirty, "the working tree has changes that are not committed")
                .hint(plan.source.way_out()));
        }
    }
    let state = if plan.source.dirty { ", with changes" } else { "" };
    Ok(commit.map_or_else(|| "no commit".into(), |commit| format!("commit {commit}{state}")))
}

fn output(plan: &Plan) -> Result<String> {
    let dist = &plan.places.dist;
    crate::world::files::create_directory(dist)?;
    tempfile::tempfile_in(dist).map_err(|error| crate::world::files::failed("write into", dist, error))?;
    Ok(dist.to_string())
}

fn builder(plan: &Plan, platform: &PlatformPlan) -> Result<String> {
    let missing = |what: &str, hint: &str| {
        Err(Failure::new(
            Code::ToolMissing,
            format!("{} is built with {what}, which is not installed", platform.platform),
        )
        .subject(what)
        .hint(hint))
    };
    match platform.builder {
        Builder::Cargo => Ok("cargo".into()),
        Builder::Zigbuild => match version("cargo-zigbuild", "--version") {
            Ok(found)
                if version("zig", "version")
                    .or_else(|_| version("python-zig", "version"))
                    .or_else(|_| python_zig())
                    .is_ok() =>
            {
                Ok(found)
            }
            Ok(_) => missing("zig", "`pip install ziglang`, or install zig"),
            Err(_) => {
                missing("cargo-zigbuild", "`pip install cargo-zigbuild ziglang`, or `cargo install cargo-zigbuild`")
            }
        },
        Builder::Cross => version("cross", "--version")
            .or_else(|_| missing("cross", "`cargo install cross`, and start Docker or Podman")),
        Builder::Command => match platform.command.first() {
            Some(program) if is_there(plan, program) => Ok(platform.command.join(" ")),
            Some(program) => missing(&format!("`{program}`"), "install it, or correct `command` in consign.toml"),
            None => Err(Failure::new(
                Code::ConfigInvalid,
                format!("the builder of {} is `command`, but there is no command", platform.platform),
            )
            .subject("build.command")
            .hint("set `command = [\"…\"]` in `[build]` or in the platform's table")),
        },
    }
}

fn hook(plan: &Plan, command: &[String]) -> Result<String> {
    let program = command.first().map(String::as_str).unwrap_or_default();
    if is_there(plan, program) {
        return Ok(program.to_owned());
    }
    Err(Failure::new(Code::ToolMissing, format!("a hook runs `{}`, which is not installed", safe_line(program)))
        .subject(safe_line(program))
        .hint("install it, or correct the hook in consign.toml"))
}

fn python_zig() -> Result<String> {
    Program::new("python3").args(["-m", "ziglang", "version"]).read()
}

/// Whether a program is installed. It is not started: nobody knows what it would do.
fn is_there(plan: &Plan, program: &str) -> bool {
    if program.contains('/') {
        return plan.places.root.join(program).is_file();
    }
    process::is_on_path(plan.environment.get("PATH").map(String::as_str).unwrap_or_default(), program)
}

fn standard_library(plan: &Plan, platform: &PlatformPlan) -> Result<String> {
    if platform.arguments.iter().any(|argument| argument.contains("build-std")) {
        return Ok("built from its source".into());
    }
    if cargo::has_standard_library(rustc(plan, Some(platform)), &plan.places.root, &platform.target)? {
        return Ok("installed".into());
    }
    Err(Failure::new(Code::TargetMissing, format!("the standard library of `{}` is not installed", platform.target))
        .subject(platform.target.clone())
        .hint(format!("run `rustup target add {}`, or install it with your system's packages", platform.target)))
}

fn linker(plan: &Plan, platform: &PlatformPlan) -> Result<String> {
    let evident = linker::evident(plan, platform);
    let Some(program) = platform.linker.clone().or(evident) else {
        let foreign_os = platform.target.contains("apple") || platform.target.ends_with("-msvc");
        if foreign_os
            && plan.host != platform.target
            && !linker::is_named(plan, platform)
            && !same_system(&plan.host, &platform.target)
        {
            return Err(Failure::new(
                Code::LinkerMissing,
                format!("`{}` cannot be linked on {} by cargo alone", platform.target, plan.host),
            )
            .subject(platform.target.clone())
            .hint("build it on such a machine, or with `builder = \"zigbuild\"` or `builder = \"cross\"`"));
        }
        return Ok("the compiler's own".into());
    };
    if is_there(plan, &program) {
        return Ok(program);
    }
    Err(Failure::new(Code::LinkerMissing, format!("the linker `{program}` of {} is not installed", platform.platform))
        .subject(program)
        .hint(linker::way_to_install(&platform.target)))
}

fn same_system(host: &str, target: &str) -> bool {
    ["apple", "windows"].iter().any(|system| host.contains(system) && target.contains(system))
}
