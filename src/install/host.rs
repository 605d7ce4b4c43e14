//! What this machine can run.
//!
//! [`Host::look`] asks the machine, and [`Host::platforms`] turns what it says into platforms, the
//! best first. A program that was linked statically against musl runs on every Linux of its processor.

use std::time::Duration;

use crate::model::{Code, Failure, Platform};
use crate::world::process::Program;

/// How long the machine's own tools may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A machine, as far as programs depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The operating system, as Rust names it.
    pub system: String,
    /// The processor, as Rust names it.
    pub processor: String,
    /// The C library that is there, on Linux.
    pub libc: Libc,
}

/// A C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// The GNU C library, with its version.
    Glibc(u32, u32),
    /// Another, or none that could be seen.
    Other,
}

impl Host {
    /// This machine.
    pub fn look() -> Self {
        let libc = if cfg!(target_os = "linux") { glibc().unwrap_or(Libc::Other) } else { Libc::Other };
        Self { system: std::env::consts::OS.to_owned(), processor: processor(), libc }
    }

    /// The platforms whose programs it runs, the best first.
    pub fn platforms(&self) -> Vec<Platform> {
        let system = self.system.as_str();
        let processor = match self.processor.as_str() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "arm" => "armv7",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        let mut names = Vec::new();
        match (system, self.libc) {
            ("linux", Libc::Glibc(..)) => {
                names.extend([format!("linux-{processor}"), format!("linux-{processor}-musl")]);
            }
            ("linux", Libc::Other) => names.push(format!("linux-{processor}-musl")),
            _ => names.push(format!("{system}-{processor}")),
        }
        // Both run programs for the other processor, the native ones first.
        match (system, processor) {
            ("macos", "arm64") => names.push("macos-amd64".to_owned()),
            ("windows", "arm64") => names.extend(["windows-amd64", "windows-amd64-gnu"].map(str::to_owned)),
            ("windows", "amd64") => names.extend(["windows-amd64-gnu", "windows-386"].map(str::to_owned)),
            _ => {}
        }
        names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The failure of a machine that nothing is released for.
    pub fn unknown(&self) -> Failure {
        let message = format!("no platform is known for {} on {}", self.system, self.processor);
        Failure::new(Code::PlatformUnknown, message).hint("name one with `--platform`")
    }
}

/// The processor; one that is only imitated for this program is seen through.
fn processor() -> String {
    let own = std::env::consts::ARCH;
    if cfg!(all(target_os = "macos", target_arch = "x86_64")) {
        let translated = Program::new("/usr/sbin/sysctl").args(["-n", "sysctl.proc_translated"]).timeout(PATIENCE);
        if translated.read().is_ok_and(|answer| answer.trim() == "1") {
            return "aarch64".to_owned();
        }
    }
    own.to_owned()
}

/// The GNU C library of this machine. Others have a loader of that name, so the version has to be told.
fn glibc() -> Option<Libc> {
    let asked = Program::new("getconf").args(["GNU_LIBC_VERSION"]).timeout(PATIENCE).read();
    let told = asked.ok().and_then(|answer| version_in(answer.strip_prefix("glibc ")?));
    let told = told.or_else(|| {
        let answer = Program::new("ldd").args(["--version"]).timeout(PATIENCE).read().ok()?;
        let first = answer.lines().next()?;
        let is_glibc = first.contains("GLIBC") || first.contains("GNU libc");
        version_in(first.rsplit(' ').next().filter(|_| is_glibc)?)
    });
    told.map(|(major, minor)| Libc::Glibc(major, minor))
}

fn version_in(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Whether a machine with this C library runs a program that asks for a version of glibc.
pub fn is_new_enough(libc: Libc, needs: &str) -> bool {
    match (libc, version_in(needs)) {
        (Libc::Glibc(major, minor), Some(needs)) => (major, minor) >= needs,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(system: &str, processor: &str, libc: Libc) -> Vec<&'static str> {
        let host = Host { system: system.to_owned(), processor: processor.to_owned(), libc };
        host.platforms().into_iter().map(Platform::name).collect()
    }

    #[test]
    fn the_best_platform_comes_first() {
        assert_eq!(host("linux", "x86_64", Libc::Glibc(2, 36)), ["linux-amd64", "linux-amd64-musl"]);
        assert_eq!(host("linux", "aarch64", Libc::Other), ["linux-arm64-musl"]);
        assert_eq!(host("linux", "riscv64", Libc::Glibc(2, 39)), ["linux-riscv64"]);
        assert_eq!(host("macos", "aarch64", Libc::Other), ["macos-arm64", "macos-amd64"]);
        assert_eq!(host("windows", "x86_64", Libc::Other), ["windows-amd64", "windows-amd64-gnu", "windows-386"]);
        assert_eq!(host("plan9", "x86_64", Libc::Other), [""; 0]);
    }

    #[test]
    fn versions_are_numbers_and_not_words() {
        assert!(is_new_enough(Libc::Glibc(2, 36), "2.4"));
        assert!(is_new_enough(Libc::Glibc(2, 36), "2.36"));
        assert!(!is_new_enough(Libc::Glibc(2, 9), "2.36"));
        assert!(!is_new_enough(Libc::Other, "2.4") && !is_new_enough(Libc::Glibc(2, 36), "new"));
    }
}
