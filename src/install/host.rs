//! What this machine can run.
//!
//! [`Host::look`] asks the machine, and [`Host::platforms`] turns what it says into platforms, the
//! best first. A program that was linked statically against musl runs on every Linux of its processor.

use std::time::Duration;

use crate::model::Platform;
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
    /// The GNU C library.
    Glibc,
    /// Another, or none that could be seen.
    Other,
}

impl Host {
    /// This machine.
    pub fn look() -> Self {
        let libc = if cfg!(target_os = "linux") && has_glibc() { Libc::Glibc } else { Libc::Other };
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
            ("linux", Libc::Glibc) => {
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

/// Whether the GNU C library is here. Others bring a loader of its name along, so it has to be asked.
///
/// Which version of it a program needs, that program tells best: it is run once before it is used.
fn has_glibc() -> bool {
    let asked = Program::new("getconf").arg("GNU_LIBC_VERSION").timeout(PATIENCE).read();
    asked.is_ok_and(|answer| answer.starts_with("glibc ")) || {
        let answer = Program::new("ldd").arg("--version").timeout(PATIENCE).read().unwrap_or_default();
        answer.lines().next().is_some_and(|first| first.contains("GLIBC") || first.contains("GNU libc"))
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
        assert_eq!(host("linux", "x86_64", Libc::Glibc), ["linux-amd64", "linux-amd64-musl"]);
        assert_eq!(host("linux", "aarch64", Libc::Other), ["linux-arm64-musl"]);
        assert_eq!(host("linux", "riscv64", Libc::Glibc), ["linux-riscv64"]);
        assert_eq!(host("macos", "aarch64", Libc::Other), ["macos-arm64", "macos-amd64"]);
        assert_eq!(host("windows", "x86_64", Libc::Other), ["windows-amd64", "windows-amd64-gnu", "windows-386"]);
        assert_eq!(host("plan9", "x86_64", Libc::Other), [""; 0]);
    }
}
