//! `cargo xtask installer`: `consign-install` as users get it, static and small.
//!
//! It is linked with musl and without the toolchain's modules, and the standard library is compiled with
//! it: as that comes, it is made for speed and carries what prints backtraces. [`build`] needs
//! `cargo-zigbuild`, zig and a compiler that has the library's source beside it.

use anyhow::{Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::model::Platform;
use consign::world::cargo;
use consign::world::process::{Line, Program};

use crate::repository;

/// The name of the program, and of its profile in Cargo.toml.
const NAME: &str = "consign-install";
const PROFILE: &str = "small";

/// Compilers that may have the source: the one in use, and Debian's.
const COMPILERS: [&str; 2] = ["rustc", "/usr/bin/rustc"];

/// The musl of the compiler is not used, for zig brings its own; nobody unwinds, for a panic ends the
/// program; and what it says then does not name a file of whoever built it.
const FLAGS: &str = "-Clink-self-contained=no -Cforce-unwind-tables=no -Zlocation-detail=none";

/// Builds it for this machine's processor and gives back its path.
pub(crate) fn build() -> Result<Utf8PathBuf> {
    let root = repository::root();
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    ensure!(Platform::of_target(&target).is_some(), "`{target}` is no platform that it is made for");
    ensure!(
        Program::new("cargo-zigbuild").arg("--version").output().is_ok(),
        "`cargo-zigbuild` is not installed: `pip install cargo-zigbuild ziglang`"
    );
    let rustc = compiler()?;
    let program = Program::new("cargo")
        .args(["zigbuild", "--locked", "--package", "consign", "--no-default-features", "--bin", NAME])
        .args(["--profile", PROFILE, "--target", &target])
        .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"])
        .directory(&root)
        // The library can be compiled by this compiler alone, which takes unstable flags then.
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS);
    let status = program.stream(&|line| match line {
        Line::Output(line) | Line::Error(line) => eprintln!("{line}"),
    })?;
    ensure!(status.success(), "`{}` failed", program.shown());
    let workspace = cargo::workspace("cargo", &root)?;
    Ok(workspace.target_directory.join(target).join(PROFILE).join(NAME))
}

/// A compiler that has the source of its standard library.
fn compiler() -> Result<&'static str> {
    let has_source = |rustc: &str| {
        let sysroot = Program::new(rustc).args(["--print", "sysroot"]).read();
        sysroot.is_ok_and(|sysroot| Utf8Path::new(&sysroot).join("lib/rustlib/src/rust/library/Cargo.lock").is_file())
    };
    let found = COMPILERS.into_iter().find(|rustc| has_source(rustc));
    found.ok_or_else(|| {
        anyhow::anyhow!(
            "no compiler has the source of its standard library: `apt-get install rustc-web rust-web-src`, or `rustup component add rust-src`"
        )
    })
}
