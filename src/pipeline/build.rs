//! One release build per platform.
//!
//! [`build`] runs the planned command of each platform, copies the programs to
//! `dist/releases/<version>/<platform>/` and writes `metadata.json` beside them. It never decides
//! anything: the command stands in the plan. Builds of several platforms run one after another,
//! because cargo already uses every core for one.

use std::collections::BTreeMap;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::Message;

use super::plan::{Plan, PlatformPlan};
use super::remap;
use super::request::Builder;
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::metadata::{BuildMetadata, BuiltBinary, Compiler, FILE_NAME};
use crate::model::stage::Stage;
use crate::model::{Code, Digest, Failure, FileName, Platform, pretty, text};
use crate::world::process::{Line, Program};
use crate::world::{cargo, files};

/// The programs of every platform, built.
#[derive(Clone, Debug)]
pub struct Built {
    /// One entry per platform, sorted.
    pub platforms: Vec<BuiltPlatform>,
}

/// The programs of one platform.
#[derive(Clone, Debug)]
pub struct BuiltPlatform {
    /// The directory that holds them.
    pub directory: Utf8PathBuf,
    /// What the build left behind.
    pub metadata: BuildMetadata,
}

/// The user's own compiler flags, and variables for the cargo profile.
type UsersOwn = (Vec<String>, BTreeMap<String, String>);

/// How many of a failing build's last lines are part of the failure.
const SHOWN_LINES: usize = 30;
/// The largest program that is packed, in bytes.
pub const MAX_BINARY_BYTES: usize = 2 << 30;

/// Builds every platform of the plan.
pub fn build(plan: &Plan, listener: &dyn Listener) -> Result<Built> {
    let platforms =
        plan.platforms.iter().map(|platform| build_platform(plan, platform, listener)).collect::<Result<_>>()?;
    Ok(Built { platforms })
}

fn build_platform(plan: &Plan, platform: &PlatformPlan, listener: &dyn Listener) -> Result<BuiltPlatform> {
    let begun = Instant::now();
    listener.hear(&Event::TaskStarted { stage: Stage::Build, task: platform.platform.to_string() });
    let rustc =
        platform.environment.get("RUSTC").or_else(|| plan.environment.get("RUSTC")).map_or("rustc", String::as_str);
    let compiler = match platform.builder {
        // What a container or another build system compiles with is not this machine's to know.
        Builder::Cross | Builder::Command => None,
        Builder::Cargo | Builder::Zigbuild => Some(cargo::compiler(rustc, &plan.places.root)?),
    };
    let output = tempfile::Builder::new()
        .prefix(files::STAGING_BUILD)
        .tempdir_in(made(&plan.places.releases)?)
        .map_err(|error| files::failed("create a directory in", &plan.places.releases, error))?;
    let output = files::utf8(output.path().to_owned()).map(|path| (output, path))?;
    let program = program(plan, platform, rustc, compiler.as_ref(), &output.1)?;
    let executables = run(plan, platform, &program, listener)?;
    let own = match platform.builder {
        Builder::Cargo | Builder::Zigbuild => remap::users_own(plan, platform, rustc)?,
        Builder::Cross | Builder::Command => Default::default(),
    };
    let built = collect(plan, platform, compiler, own, &executables, &output.1)?;
    let bytes = built.metadata.binaries.iter().map(|binary| binary.size_bytes).sum();
    listener.hear(&Event::TaskFinished {
        stage: Stage::Build,
        task: platform.platform.to_string(),
        bytes,
        duration: begun.elapsed(),
    });
    Ok(built)
}

fn made(directory: &Utf8Path) -> Result<&Utf8Path> {
    files::create_directory(directory)?;
    Ok(directory)
}

/// The planned command with the environment of the build.
fn program(
    plan: &Plan,
    platform: &PlatformPlan,
    rustc: &str,
    compiler: Option<&Compiler>,
    output: &Utf8Path,
) -> Result<Program> {
    let mut program = Program::of(&platform.command).ok_or_else(|| {
        Failure::new(
            Code::ConfigInvalid,
            format!("the builder of {} is `command`, but there is no command", platform.platform),
        )
        .subject("build.command")
        .hint("set `command = [\"…\"]` in `[build]` or in the platform's table")
    })?;
    program = program.directory(plan.places.root.clone());
    for (name, value) in facts(plan, platform, compiler) {
        program = program.env(name, value);
    }
    program = with_less(program);
    // The platform's own variables come first: what is added to the user's flags below starts from them.
    program = platform.environment.iter().fold(program, |program, (name, value)| program.env(name, value));
    if platform.builder == Builder::Command {
        return Ok(program.env("CONSIGN_BUILD_OUTPUT", output));
    }
    let triple = platform.target.to_ascii_uppercase().replace(['-', '.'], "_");
    let linker = platform.linker.clone().or_else(|| super::linker::evident(plan, platform));
    if let Some(linker) = linker.filter(|_| platform.builder == Builder::Cargo) {
        program = program.env(format!("CARGO_TARGET_{triple}_LINKER"), linker);
    }
    // What is left of an earlier build must not show in this one.
    program = program.env("CARGO_INCREMENTAL", "0");
    program = program.args(["--message-format", "json-render-diagnostics"]);
    if platform.builder != Builder::Cross {
        program = remap::apply(program, plan, platform, rustc)?;
    }
    Ok(program)
}

/// What no build, test or program is handed on.
///
/// Signing is a stage of its own, and nothing before it has any business with the keys. The rest is
/// what `cargo run` tells its own program: build scripts that read it would run again each time.
const WITHHELD: [&str; 13] = [
    "CONSIGN_SIGNING_KEY",
    "CONSIGN_CATALOG_KEY",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_PKG_REPOSITORY",
    "CARGO_BIN_NAME",
    "OUT_DIR",
];

/// The program without what it has no business with.
pub fn with_less(program: Program) -> Program {
    WITHHELD.into_iter().fold(program, Program::env_remove)
}

/// What a build may know of its release, for `option_env!`.
fn facts(plan: &Plan, platform: &PlatformPlan, compiler: Option<&Compiler>) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("CONSIGN_BUILD_VERSION", plan.release.version.to_string()),
        ("CONSIGN_BUILD_TAG", plan.release.tag.clone()),
        ("CONSIGN_BUILD_PLATFORM", platform.platform.to_string()),
        ("CONSIGN_BUILD_TARGET", platform.target.clone()),
        ("CONSIGN_BUILD_COMMIT", plan.source.commit.clone().unwrap_or_default()),
        ("SOURCE_DATE_EPOCH", plan.source.date.as_second().to_string()),
    ];
    facts.extend(compiler.map(|compiler| ("CONSIGN_BUILD_RUSTC", compiler.version.clone())));
    facts
}

/// Runs it; gives back where cargo says that it put each program.
fn run(
    plan: &Plan,
    platform: &PlatformPlan,
    program: &Program,
    listener: &dyn Listener,
) -> Result<BTreeMap<String, Utf8PathBuf>> {
    let executables = std::sync::Mutex::new(BTreeMap::new());
    let last = std::sync::Mutex::new(std::collections::VecDeque::new());
    let tell = |line: &str| {
        let mut last = lock(&last);
        if last.len() == SHOWN_LINES {
            last.pop_front();
        }
        last.push_back(line.to_owned());
        drop(last);
        listener.hear(&Event::Output { stage: Stage::Build, line: line.to_owned() });
    };
    let status = program.stream(&|line| match line {
        Line::Error(line) => tell(line),
        Line::Output(line) if platform.builder == Builder::Command => tell(&crate::world::process::safe_line(line)),
        Line::Output(line) => {
            if let Ok(Message::CompilerArtifact(artifact)) = serde_json::from_str(line)
                && artifact.target.is_bin()
                && let Some(executable) = artifact.executable
            {
                lock(&executables).insert(artifact.target.name, executable);
            }
        }
    })?;
    if !status.success() {
        let lines: Vec<String> = lock(&last).drain(..).collect();
        return Err(Failure::new(Code::BuildFailed, format!("the build of {} failed ({status})", platform.platform))
            .subject(platform.platform.name())
            .because(lines.join("\n"))
            .hint(format!("the command was `{}`", program.shown())));
    }
    let mut found = executables.into_inner().unwrap_or_default();
    found.retain(|name, _| plan.binaries.contains(name));
    Ok(found)
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A thread that panicked while it held a list of lines has not broken the list.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Copies the programs beside each other, writes what is known of them, and puts both in place.
fn collect(
    plan: &Plan,
    platform: &PlatformPlan,
    compiler: Option<Compiler>,
    own: UsersOwn,
    executables: &BTreeMap<String, Utf8PathBuf>,
    output: &Utf8Path,
) -> Result<BuiltPlatform> {
    let sources = plan
        .binaries
        .iter()
        .map(|name| {
            let file = program_file(name, platform.platform)?;
            let place = match platform.builder {
                Builder::Command => output.join(file.as_str()),
                // The paths that cross prints are those inside its container.
                _ => executables.get(name).filter(|path| path.is_file()).cloned().unwrap_or_else(|| {
                    plan.places
                        .target
                        .join(&platform.target)
                        .join(profile_directory(&plan.build.profile))
                        .join(file.as_str())
                }),
            };
            Ok((file, place))
        })
        .collect::<Result<Vec<_>>>()?;
    keep(plan, platform, (compiler, own), platform.builder.as_str(), &sources)
}

fn profile_directory(profile: &str) -> &str {
    match profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        other => other,
    }
}

/// The file name of a program on a platform.
pub fn program_file(name: &str, platform: Platform) -> Result<FileName> {
    format!("{name}{}", platform.exe_suffix()).parse().map_err(|error| {
        Failure::new(Code::NameInvalid, "a program's name cannot be a file name of a release").because(error)
    })
}

/// Puts programs that lie anywhere into `dist/releases/<version>/<platform>/`.
fn keep(
    plan: &Plan,
    platform: &PlatformPlan,
    (compiler, (rustflags, cargo_profile)): (Option<Compiler>, UsersOwn),
    builder: &str,
    sources: &[(FileName, Utf8PathBuf)],
) -> Result<BuiltPlatform> {
    let staging = tempfile::Builder::new()
        .prefix(files::STAGING_BUILD)
        .tempdir_in(made(&plan.places.releases)?)
        .map_err(|error| files::failed("create a directory in", &plan.places.releases, error))?;
    let place = files::utf8(staging.path().to_owned())?;
    let mut binaries = Vec::new();
    for (file, source) in sources {
        if !source.is_file() {
            return Err(Failure::new(
                Code::BuildMissing,
                format!("there is no program `{file}` for {} at `{source}`", platform.platform),
            )
            .subject(file.as_str())
            .hint(format!("the builder `{builder}` has to leave it there")));
        }
        let (sha256, size_bytes) = files::copy_program(source, &place.join(file.as_str()), MAX_BINARY_BYTES as u64)?;
        binaries.push(BuiltBinary { file: file.clone(), sha256, size_bytes });
    }
    binaries.sort_by(|a, b| a.file.cmp(&b.file));
    let metadata = BuildMetadata {
        kind: BuildMetadata::TYPE.to_owned(),
        name: plan.name.clone(),
        version: plan.release.version.clone(),
        tag: plan.release.tag.clone(),
        platform: platform.platform,
        target: platform.target.clone(),
        commit: plan.source.commit.clone(),
        dirty: plan.source.dirty,
        builder: builder.to_owned(),
        profile: plan.build.profile.clone(),
        features: platform.features.clone(),
        arguments: platform.arguments.clone(),
        rustflags,
        cargo_profile,
        compiler,
        binaries,
    };
    files::write(&place.join(FILE_NAME), &pretty(&metadata))?;
    let directory = plan.places.releases.join(platform.platform.name());
    files::replace_directory(&place, &directory)?;
    Ok(BuiltPlatform { directory, metadata })
}

/// Takes in programs that were built elsewhere, from `<directory>/<platform>/`,
/// `<directory>/<target>/`, `<directory>/<target>/release/`, or the directory itself where there is
/// only one platform.
pub fn take_in(plan: &Plan, directory: &Utf8Path) -> Result<Built> {
    // Copying needs next to no memory, so every platform has its own thread.
    let platforms = std::thread::scope(|scope| {
        let copies: Vec<_> = plan
            .platforms
            .iter()
            .map(|platform| scope.spawn(move || take_in_platform(plan, platform, directory)))
            .collect();
        let ended_early = |_| Err(Failure::new(Code::Io, "a thread that copies programs ended early"));
        copies.into_iter().map(|copy| copy.join().unwrap_or_else(ended_early)).collect::<Result<_>>()
    })?;
    Ok(Built { platforms })
}

fn take_in_platform(plan: &Plan, platform: &PlatformPlan, directory: &Utf8Path) -> Result<BuiltPlatform> {
    let mut places = vec![
        directory.join(platform.platform.name()),
        directory.join(&platform.target),
        directory.join(&platform.target).join(profile_directory(&plan.build.profile)),
    ];
    if plan.platforms.len() == 1 {
        places.push(directory.to_owned());
    }
    let find = |name| {
        let file = program_file(name, platform.platform)?;
        let found = places.iter().map(|place| place.join(file.as_str())).find(|path| path.is_file());
        found.map(|path| (file.clone(), path)).ok_or_else(|| {
            Failure::new(
                Code::BuildMissing,
                format!("there is no program `{file}` for {} in `{directory}`", platform.platform),
            )
            .subject(file.as_str())
            .hint(format!("put it at `{}`", places[0].join(file.as_str())))
        })
    };
    let sources = plan.binaries.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
    keep(plan, platform, Default::default(), "elsewhere", &sources)
}

/// Records the programs again where a hook after the build may have changed them, as platform
/// signing does.
pub fn settle(plan: &Plan, built: Built) -> Result<Built> {
    let hooked = plan.stages.iter().any(|stage| stage.stage == Stage::Build && stage.runs && !stage.after.is_empty());
    if !hooked {
        return Ok(built);
    }
    let platforms = built
        .platforms
        .into_iter()
        .map(|mut platform| {
            for binary in &mut platform.metadata.binaries {
                let bytes = files::read_bounded(&platform.directory.join(binary.file.as_str()), MAX_BINARY_BYTES)?;
                binary.sha256 = Digest::of(&bytes);
                binary.size_bytes = bytes.len() as u64;
            }
            files::write(&platform.directory.join(FILE_NAME), &pretty(&platform.metadata))?;
            Ok(platform)
        })
        .collect::<Result<_>>()?;
    Ok(Built { platforms })
}

/// What an earlier build of the same release left behind, checked against its own record.
pub fn recall(plan: &Plan) -> Result<Built> {
    let platforms = plan.platforms.iter().map(|platform| recall_platform(plan, platform)).collect::<Result<_>>()?;
    Ok(Built { platforms })
}

fn recall_platform(plan: &Plan, platform: &PlatformPlan) -> Result<BuiltPlatform> {
    let directory = plan.places.releases.join(platform.platform.name());
    let again = || format!("run `consign build --platform {}`", platform.platform);
    let path = directory.join(FILE_NAME);
    if !path.is_file() {
        return Err(Failure::new(Code::BuildMissing, format!("{} has not been built", platform.platform))
            .subject(path.as_str())
            .hint(again()));
    }
    let metadata: BuildMetadata = serde_json::from_slice(&files::read_bounded(&path, 1 << 20)?).map_err(|error| {
        Failure::new(Code::BuildStale, format!("failed to read `{path}`")).because(error).hint(again())
    })?;
    let stale = |what: String| Err(Failure::new(Code::BuildStale, what).subject(path.as_str()).hint(again()));
    if metadata.commit != plan.source.commit {
        let shown = |commit: &Option<String>| commit.clone().unwrap_or_else(|| "no commit".to_owned());
        return stale(format!(
            "{} was built from {}, and this is {}",
            platform.platform,
            shown(&metadata.commit),
            shown(&plan.source.commit)
        ));
    }
    if metadata.tag != plan.release.tag || metadata.target != platform.target || metadata.name != plan.name {
        return stale(format!(
            "{} was built as {} {} for {}",
            platform.platform, metadata.name, metadata.tag, metadata.target
        ));
    }
    if metadata.dirty && !plan.source.dirty {
        return stale(format!("{} was built from a working tree with changes, which are gone", platform.platform));
    }
    let settings = |profile: &str, features: &[String], arguments: &[String]| {
        text::without_credentials(&[&[format!("profile {profile}")], features, arguments].concat().join(", "))
            .into_owned()
    };
    let (then, now) = (
        settings(&metadata.profile, &metadata.features, &metadata.arguments),
        settings(&plan.build.profile, &platform.features, &platform.arguments),
    );
    if then != now {
        return stale(format!("{} was built with other settings ({then}, and now {now})", platform.platform));
    }
    let expected =
        plan.binaries.iter().map(|name| program_file(name, platform.platform)).collect::<Result<Vec<_>>>()?;
    if metadata.binaries.iter().map(|binary| &binary.file).ne(sorted(&expected)) {
        return stale(format!("{} was built with other programs", platform.platform));
    }
    Ok(BuiltPlatform { directory, metadata })
}

fn sorted(names: &[FileName]) -> Vec<&FileName> {
    let mut names: Vec<_> = names.iter().collect();
    names.sort();
    names
}
