//! Whether the engine can do what is asked of it, before anything is started.
//!
//! Whether it answers at all is found out by connecting (`world::docker`). Here it is asked what it
//! runs on, what it can emulate, and how much room it has.

use camino::Utf8Path;

use super::matrix::{Matrix, WithoutEmulation};
use super::report::Skipped;
use crate::model::failure::Result;
use crate::model::{Code, Failure, Platform};
use crate::world::docker::Engine;
use crate::world::files;

/// How much room the engine has to have at least, in bytes.
const MIN_FREE_BYTES: u64 = 256 << 20;

/// A platform in Docker's words: `linux/arm64`, `linux/arm/v7`.
pub(super) fn docker_platform(platform: Platform) -> String {
    match architecture(platform) {
        "arm" => "linux/arm/v7".to_owned(),
        architecture => format!("linux/{architecture}"),
    }
}

/// The architecture of a platform in Docker's words.
pub(super) fn architecture(platform: Platform) -> &'static str {
    match platform.name().split('-').nth(1).unwrap_or_default() {
        "armv7" => "arm",
        word => word,
    }
}

/// Takes out what the engine cannot run and what may be left out; fails for what may not.
pub(super) fn require(engine: &Engine, matrix: &mut Matrix, emulated: &dyn Fn(&str) -> bool) -> Result<Vec<Skipped>> {
    let about = engine.about();
    if about.os != "linux" {
        return Err(Failure::new(Code::EngineArchitecture, format!("the engine runs containers of {}", about.os))
            .hint("switch it to Linux containers"));
    }
    require_room(engine)?;
    let cannot_run = |platform: Platform| {
        let wanted = architecture(platform);
        let runs = wanted == about.architecture
            || (about.architecture == "amd64" && wanted == "386")
            || (about.architecture == "arm64" && wanted == "arm")
            // Docker Desktop brings emulation, and of an engine elsewhere nothing is known.
            || about.system.contains("Docker Desktop")
            || !engine.address().is_local()
            || emulated(wanted);
        !runs
    };
    let mut skipped = Vec::new();
    for (name, service) in &matrix.services {
        let Some(platform) = service.platform.filter(|platform| cannot_run(*platform)) else { continue };
        let reason = format!("the engine runs {} and cannot emulate {platform}", about.architecture);
        match service.without_emulation {
            WithoutEmulation::Skip => skipped.push(Skipped { service: name.clone(), reason }),
            WithoutEmulation::Fail => {
                return Err(Failure::new(Code::EngineArchitecture, format!("`{name}` cannot run here: {reason}"))
                    .subject(name.as_str())
                    .hint("install emulation (`qemu-user-static`, or `docker run --privileged tonistiigi/binfmt --install all`), or say `without-emulation = \"skip\"`"));
            }
        }
    }
    for left_out in &skipped {
        matrix.services.remove(&left_out.service);
    }
    skipped.extend(without_the_needed(matrix, &skipped));
    skipped.sort_by(|a, b| a.service.cmp(&b.service));
    Ok(skipped)
}

/// Fails where something is to be served and containers run on another machine.
pub(super) fn require_nearness(engine: &Engine, matrix: &Matrix) -> Result<()> {
    let served = matrix.services.iter().find(|(_, service)| service.serve.is_some());
    let Some((name, _)) = served.filter(|_| !engine.address().is_near()) else { return Ok(()) };
    let message =
        format!("`{name}` wants to be served, and the engine at `{}` is on another machine", engine.address());
    Err(Failure::new(Code::EngineFailed, message)
        .subject(name.as_str())
        .hint("use an engine of this machine, or `bundle = true` instead of `serve`"))
}

/// Services that need one that is left out are left out too.
fn without_the_needed(matrix: &mut Matrix, left_out: &[Skipped]) -> Vec<Skipped> {
    let mut gone: Vec<_> = left_out.iter().map(|skipped| skipped.service.clone()).collect();
    let mut more = Vec::new();
    loop {
        let next = matrix.services.iter().find_map(|(name, service)| {
            let needed = service.needs.iter().find(|needed| gone.contains(needed))?;
            Some(Skipped { service: name.clone(), reason: format!("it needs `{needed}`, which is left out") })
        });
        let Some(next) = next else { return more };
        matrix.services.remove(&next.service);
        gone.push(next.service.clone());
        more.push(next);
    }
}

fn require_room(engine: &Engine) -> Result<()> {
    let Some(root) = engine.about().root.as_deref().filter(|_| engine.address().is_local()) else { return Ok(()) };
    match files::free_bytes(root) {
        Some(free) if free < MIN_FREE_BYTES => Err(Failure::new(
            Code::EngineFull,
            format!("the engine's disk is nearly full: {} MiB are free in `{root}`", free >> 20),
        )
        .subject(root.as_str())
        .hint("`docker system df` shows what takes the space, `docker system prune` frees it")),
        _ => Ok(()),
    }
}

/// Whether this machine's kernel runs programs of an architecture by an emulator.
pub(super) fn is_emulated_here(architecture: &str) -> bool {
    let machine = match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "386" => "i386",
        "loong64" => "loongarch64",
        other => other,
    };
    let entry = Utf8Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{machine}"));
    // A few lines; `F` among the flags says that the emulator is found inside of containers too.
    let Ok(text) = files::read_bounded(&entry, 1 << 16) else { return false };
    let text = String::from_utf8_lossy(&text);
    let is_fixed = text.lines().any(|line| line.strip_prefix("flags:").is_some_and(|flags| flags.contains('F')));
    text.lines().next() == Some("enabled") && is_fixed
}
