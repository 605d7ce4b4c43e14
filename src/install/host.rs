//! What this machine can run.
//!
//! [`Host::look`] asks the machine, and [`Host::platforms`] turns what it says into platforms, the
//! best first. A program that was linked statically against musl runs on every Linux of its processor.

use std::sync::OnceLock;
use std::time::Duration;

use super::glibc;
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
    /// The GNU C library, in a version if that could be seen.
    Glibc(Option<glibc::Version>),
    /// Another, or none that could be seen.
    Other,
}

impl Host {
    /// This machine, at which is looked once.
    pub fn look() -> Self {
        static SEEN: OnceLock<Host> = OnceLock::new();
        let look = || {
            let libc = if cfg!(target_os = "linux") { look_for_glibc() } else { Libc::Other };
            Self { system: std::env::consts::OS.to_owned(), processor: processor(), libc }
        };
        SEEN.get_or_init(look).clone()
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
            ("linux", Libc::Glibc(_)) => {
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
fn look_for_glibc() -> Libc {
    let asked = Program::new("getconf").arg("GNU_LIBC_VERSION").timeout(PATIENCE).read().unwrap_or_default();
    if let Some(version) = asked.strip_prefix("glibc ") {
        return Libc::Glibc(glibc::Version::parse(version.trim()));
    }
    let told = Program::new("ldd").arg("--version").timeout(PATIENCE).read().unwrap_or_default();
    of_loader(told.lines().next().unwrap_or_default())
}

/// What the first line of `ldd --version` says: `ldd (Debian GLIBC 2.36-9+deb12u4) 2.36`.
fn of_loader(line: &str) -> Libc {
    if line.contains("GLIBC") || line.contains("GNU libc") {
        Libc::Glibc(line.split_whitespace().next_back().and_then(glibc::Version::parse))
    } else {
        Libc::Other
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
        let glibc = Libc::Glibc(None);
        assert_eq!(host("linux", "x86_64", glibc), ["linux-amd64", "linux-amd64-musl"]);
        assert_eq!(host("linux", "aarch64", Libc::Other), ["linux-arm64-musl"]);
        assert_eq!(host("linux", "riscv64", glibc), ["linux-riscv64"]);
        assert_eq!(host("macos", "aarch64", Libc::Other), ["macos-arm64", "macos-amd64"]);
        assert_eq!(host("windows", "x86_64", Libc::Other), ["windows-amd64", "windows-amd64-gnu", "windows-386"]);
        assert_eq!(host("plan9", "x86_64", Libc::Other), [""; 0]);
    }

    #[test]
    fn the_loader_says_whose_it_is() {
        let glibc = |version| Libc::Glibc(glibc::Version::parse(version));
        for (line, libc) in [
            ("ldd (Debian GLIBC 2.36-9+deb12u4) 2.36", glibc("2.36")),
            ("ldd (GNU libc) 2.17", glibc("2.17")),
            ("ldd (GNU libc) unknown", Libc::Glibc(None)),
            ("musl libc (x86_64)", Libc::Other),
            ("", Libc::Other),
        ] {
            assert_eq!(of_loader(line), libc, "{line}");
        }
    }
}
