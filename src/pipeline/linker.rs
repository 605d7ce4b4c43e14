//! The linkers of cross targets: which one is evident, and how to get it.

use super::plan::{Plan, PlatformPlan};
use super::request::Builder;

/// What is known of linking for one target from a Linux host.
struct Known {
    target: &'static str,
    program: &'static str,
    package: &'static str,
}

static KNOWN: &[Known] = &[
    Known { target: "aarch64-unknown-linux-gnu", program: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu" },
    Known {
        target: "armv7-unknown-linux-gnueabihf",
        program: "arm-linux-gnueabihf-gcc",
        package: "gcc-arm-linux-gnueabihf",
    },
    Known { target: "i686-unknown-linux-gnu", program: "i686-linux-gnu-gcc", package: "gcc-i686-linux-gnu" },
    Known { target: "x86_64-unknown-linux-gnu", program: "x86_64-linux-gnu-gcc", package: "gcc-x86-64-linux-gnu" },
    Known { target: "riscv64gc-unknown-linux-gnu", program: "riscv64-linux-gnu-gcc", package: "gcc-riscv64-linux-gnu" },
    Known {
        target: "powerpc64le-unknown-linux-gnu",
        program: "powerpc64le-linux-gnu-gcc",
        package: "gcc-powerpc64le-linux-gnu",
    },
    Known { target: "s390x-unknown-linux-gnu", program: "s390x-linux-gnu-gcc", package: "gcc-s390x-linux-gnu" },
    Known { target: "x86_64-pc-windows-gnu", program: "x86_64-w64-mingw32-gcc", package: "gcc-mingw-w64-x86-64" },
];

/// The linker of a cross target, when nothing names one and there is a usual one.
///
/// The host's own target links with the compiler's default.
pub fn evident(plan: &Plan, platform: &PlatformPlan) -> Option<String> {
    if platform.builder != Builder::Cargo || is_named(plan, platform) || plan.host == platform.target {
        return None;
    }
    KNOWN.iter().find(|known| known.target == platform.target).map(|known| known.program.to_owned())
}

/// The Debian package that links for a target on another machine, if one is known.
pub fn debian_package(target: &str) -> Option<&'static str> {
    let known = KNOWN.iter().find(|known| known.target == target).map(|known| known.package);
    known.or_else(|| target.ends_with("-linux-musl").then_some("musl-tools"))
}

/// How to install the usual linker of a target.
pub fn way_to_install(target: &str) -> String {
    match KNOWN.iter().find(|known| known.target == target) {
        Some(known) => format!(
            "install it (`apt-get install {}` on Debian), or build with `builder = \"zigbuild\"`",
            known.package
        ),
        None => "name one with `linker` in the platform's table, or build with `builder = \"zigbuild\"`".to_owned(),
    }
}

/// Whether the environment or the plan already names a linker.
pub fn is_named(plan: &Plan, platform: &PlatformPlan) -> bool {
    let variable = format!("CARGO_TARGET_{}_LINKER", platform.target.to_ascii_uppercase().replace(['-', '.'], "_"));
    platform.linker.is_some()
        || platform.environment.contains_key(&variable)
        || plan.environment.contains_key(&variable)
}
