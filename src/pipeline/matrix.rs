//! The plan's platforms in the form that a CI matrix takes.
//!
//! [`Matrix`] is the contract between the machines of a workflow: each row is a job that has what it needs
//! to build and package one platform. Its fields are documented in `docs/workflows.md` and keep their meaning.

use serde::Serialize;

use super::linker;
use super::plan::{Plan, PlatformPlan};
use super::request::Builder;
use crate::model::Platform;

/// A CI matrix.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// One job per platform.
    pub include: Vec<MatrixJob>,
}

/// One job of a CI matrix.
#[derive(Clone, Debug, Serialize)]
pub struct MatrixJob {
    /// The platform.
    pub platform: Platform,
    /// The label of a machine of the forge that can build it.
    pub os: &'static str,
    /// The Rust target triple.
    pub target: String,
    /// The builder.
    pub builder: Builder,
    /// What that machine lacks.
    pub install: Install,
}

/// What has to be installed on the machine of a job: words with spaces between them, or nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Install {
    /// Rust targets, for `rustup target add`.
    pub rust: String,
    /// Debian packages, for `apt-get install`.
    pub debian: String,
    /// Python packages, for `pip install`.
    pub python: String,
    /// Crates with a program, for `cargo install`.
    pub cargo: String,
}

/// What the builder zigbuild needs.
const ZIG: &str = "cargo-zigbuild==0.24.0 ziglang==0.17.0";
/// What the builder cross needs.
const CROSS: &str = "cross@0.2.5";
/// The machine for everything that is built from somewhere else.
const LINUX: &str = "ubuntu-24.04";

impl Matrix {
    /// One job for each platform, on a machine that can build it.
    pub(super) fn of(platforms: &[PlatformPlan]) -> Self {
        Self { include: platforms.iter().map(job).collect() }
    }
}

/// What a workflow's later jobs are told, one `name=value` on each line as `GITHUB_OUTPUT` takes it.
pub fn outputs(plan: &Plan) -> String {
    let matrix = serde_json::to_string(&plan.matrix).expect("plain data with text keys always serialises");
    let commit = plan.source.commit.as_deref().unwrap_or_default();
    // None of the values has a line feed: a tag, a version, a commit and JSON on one line.
    format!("tag={}\nversion={}\ncommit={commit}\nmatrix={matrix}\n", plan.release.tag, plan.release.version)
}

fn job(platform: &PlatformPlan) -> MatrixJob {
    let (os, native) = machine(platform);
    let mut install = Install::default();
    let compiles_here = matches!(platform.builder, Builder::Cargo | Builder::Zigbuild);
    if compiles_here && platform.target != native {
        install.rust.clone_from(&platform.target);
    }
    match platform.builder {
        Builder::Cargo if os.starts_with(LINUX) && platform.linker.is_none() && platform.target != native => {
            linker::debian_package(&platform.target).unwrap_or_default().clone_into(&mut install.debian);
        }
        Builder::Zigbuild => ZIG.clone_into(&mut install.python),
        Builder::Cross => CROSS.clone_into(&mut install.cargo),
        Builder::Cargo | Builder::Command => {}
    }
    MatrixJob { platform: platform.platform, os, target: platform.target.clone(), builder: platform.builder, install }
}

/// The label of the machine, and the target that its own compiler is for.
fn machine(platform: &PlatformPlan) -> (&'static str, &'static str) {
    if platform.builder != Builder::Cargo {
        return (LINUX, "x86_64-unknown-linux-gnu");
    }
    match platform.platform.name() {
        "linux-arm64" | "linux-arm64-musl" => ("ubuntu-24.04-arm", "aarch64-unknown-linux-gnu"),
        "macos-arm64" => ("macos-15", "aarch64-apple-darwin"),
        "macos-amd64" => ("macos-15-intel", "x86_64-apple-darwin"),
        "windows-arm64" => ("windows-11-arm", "aarch64-pc-windows-msvc"),
        // A compiler for Windows that links with GNU's tools is what Debian has.
        "windows-amd64-gnu" => (LINUX, "x86_64-unknown-linux-gnu"),
        name if name.starts_with("windows-") => ("windows-2025", "x86_64-pc-windows-msvc"),
        _ => (LINUX, "x86_64-unknown-linux-gnu"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::index::ArchiveFormat;

    fn plan_of(platform: &str, builder: Builder) -> PlatformPlan {
        let platform: Platform = platform.parse().expect(platform);
        let stem = format!("tool-1.0.0-{platform}");
        PlatformPlan {
            platform,
            target: platform.target().to_owned(),
            build_target: platform.target().to_owned(),
            builder,
            command: Vec::new(),
            linker: None,
            runner: Vec::new(),
            features: Vec::new(),
            arguments: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            archive: format!("{stem}.tar.gz").parse().expect("a name"),
            stem: stem.parse().expect("a name"),
            format: ArchiveFormat::TarGz,
        }
    }

    #[test]
    fn every_platform_has_a_machine_and_what_that_lacks() {
        for (platform, builder, expected) in [
            ("linux-amd64", Builder::Cargo, ["ubuntu-24.04", "", "", "", ""]),
            ("linux-arm64", Builder::Cargo, ["ubuntu-24.04-arm", "", "", "", ""]),
            ("linux-amd64-musl", Builder::Cargo, ["ubuntu-24.04", "x86_64-unknown-linux-musl", "musl-tools", "", ""]),
            (
                "linux-arm64-musl",
                Builder::Cargo,
                ["ubuntu-24.04-arm", "aarch64-unknown-linux-musl", "musl-tools", "", ""],
            ),
            (
                "linux-riscv64",
                Builder::Cargo,
                ["ubuntu-24.04", "riscv64gc-unknown-linux-gnu", "gcc-riscv64-linux-gnu", "", ""],
            ),
            ("linux-arm64", Builder::Zigbuild, ["ubuntu-24.04", "aarch64-unknown-linux-gnu", "", ZIG, ""]),
            ("linux-arm64", Builder::Cross, ["ubuntu-24.04", "", "", "", CROSS]),
            ("macos-arm64", Builder::Command, ["ubuntu-24.04", "", "", "", ""]),
            ("macos-arm64", Builder::Cargo, ["macos-15", "", "", "", ""]),
            ("windows-amd64", Builder::Cargo, ["windows-2025", "", "", "", ""]),
            ("windows-386", Builder::Cargo, ["windows-2025", "i686-pc-windows-msvc", "", "", ""]),
            (
                "windows-amd64-gnu",
                Builder::Cargo,
                ["ubuntu-24.04", "x86_64-pc-windows-gnu", "gcc-mingw-w64-x86-64", "", ""],
            ),
        ] {
            let MatrixJob { os, install, .. } = job(&plan_of(platform, builder));
            let Install { rust, debian, python, cargo } = install;
            assert_eq!([os, &rust, &debian, &python, &cargo], expected, "{platform} {builder:?}");
        }
    }

    #[test]
    fn the_form_of_a_row_is_a_promise() {
        let matrix = Matrix::of(&[plan_of("linux-386", Builder::Cargo)]);
        assert_eq!(
            serde_json::to_string(&matrix).expect("plain data"),
            r#"{"include":[{"platform":"linux-386","os":"ubuntu-24.04","target":"i686-unknown-linux-gnu","builder":"cargo","install":{"rust":"i686-unknown-linux-gnu","debian":"gcc-i686-linux-gnu","python":"","cargo":""}}]}"#
        );
    }
}
