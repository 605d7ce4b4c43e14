//! The same source gives the same bundle, whoever builds it, wherever, and with whatever settings.

#![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use crate::published_crates::{Published, copy};
use crate::support::{self, Scratch};

/// A published program with C and assembly in it.
const WITH_C: Published = Published { name: "b3sum", version: "1.8.7" };
/// `nobody`, on every system that has such a user.
const NOBODY: &str = "65534";

/// How a build differs from another.
struct Circumstances<'a> {
    umask: &'a str,
    zone: &'a str,
    language: &'a str,
    jobs: &'a str,
    /// Another home and cargo home than the tests' own, empty at the start.
    home: Option<&'a Utf8Path>,
    /// A compiler that other users can read, and the wish to build as one.
    stranger: Option<&'a Utf8Path>,
}

/// Runs the pipeline; gives back the checksums of everything that it made.
fn checksums(directory: &Utf8Path, circumstances: &Circumstances<'_>) -> String {
    let shell = format!("umask {}; exec \"$@\"", circumstances.umask);
    let mut command = if circumstances.stranger.is_some() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "sh", "-c"]);
        command
    } else {
        let mut command = Command::new("sh");
        command.arg("-c");
        command
    };
    // Another user may not see where the tests were built; beside the compiler lies a copy.
    let consign = circumstances.stranger.map(|toolchain| toolchain.join("bin/consign").into_string());
    let consign = consign.as_deref().unwrap_or(env!("CARGO_BIN_EXE_consign"));
    command.args([&shell, "sh", consign, "release-pipeline", "--skip", "test"]);
    support::clean(&mut command);
    command.current_dir(directory);
    command.env("TZ", circumstances.zone).env("LANG", circumstances.language).env("LC_ALL", circumstances.language);
    command.env("CARGO_BUILD_JOBS", circumstances.jobs);
    if let Some(home) = circumstances.home {
        command.env("HOME", home).env("CARGO_HOME", home.join("of-cargo"));
    }
    if let Some(toolchain) = circumstances.stranger {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{toolchain}/bin:{path}")).env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC");
        command.env_remove("CARGO");
    }
    support::succeed(&mut command);
    fs_err::read_to_string(directory.join(format!("dist/packages/v{}/checksums.txt", WITH_C.version))).unwrap()
}

/// The compiler at a place where everybody can read it, if this user can give away files.
fn toolchain_for_everybody(place: &Utf8Path) -> Option<Utf8PathBuf> {
    let user = Command::new("id").arg("-u").output().ok()?;
    if user.stdout.trim_ascii() != b"0" {
        return None;
    }
    let sysroot = support::succeed(Command::new("rustc").args(["--print", "sysroot"]));
    let toolchain = place.join("toolchain");
    fs_err::set_permissions(place, PermissionsExt::from_mode(0o755)).unwrap();
    // Links cost no space; they are impossible where the scratch directory is on another disk.
    let linked = Command::new("cp").args(["-al", sysroot.trim_end(), toolchain.as_str()]).output().ok()?;
    if !linked.status.success() {
        return None;
    }
    fs_err::copy(env!("CARGO_BIN_EXE_consign"), toolchain.join("bin/consign")).unwrap();
    let runs = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .arg(toolchain.join("bin/rustc"))
        .arg("-vV")
        .output();
    runs.is_ok_and(|output| output.status.success()).then_some(toolchain)
}

#[test]
fn a_published_program_with_c_in_it_is_the_same_from_two_places_users_and_settings() {
    let source = WITH_C.source();
    if !support::missing_unless(source.is_ok(), "the package registry") {
        return;
    }
    let one = source.unwrap();
    let other = Scratch::new();
    let deeper = other.path().join("somewhere/quite/different");
    copy(one.path(), &deeper);
    let first = checksums(
        one.path(),
        &Circumstances { umask: "022", zone: "UTC", language: "C", jobs: "2", home: None, stranger: None },
    );

    let place = Scratch::new();
    let toolchain = toolchain_for_everybody(place.path());
    let home = other.path().join("home");
    fs_err::create_dir(&home).unwrap();
    if toolchain.is_some() {
        support::succeed(Command::new("chown").args(["-R", &format!("{NOBODY}:{NOBODY}"), other.path().as_str()]));
    } else {
        eprintln!("skipped: building as another user needs root, and a compiler that others can read");
    }
    let second = checksums(
        &deeper,
        &Circumstances {
            umask: "077",
            zone: "Asia/Kathmandu",
            language: "tr_TR.UTF-8",
            jobs: "1",
            home: Some(&home),
            stranger: toolchain.as_deref(),
        },
    );
    assert_eq!(first, second);
}

/// The pipeline under a clock that somebody else set; gives back the checksums of what it made.
fn under_the_clock(rustc: &str, directory: &Utf8Path, clock: &str) -> String {
    let mut command = Command::new("faketime");
    command.args(["-f", clock, env!("CARGO_BIN_EXE_consign"), "release-pipeline", "--skip", "test"]);
    support::clean(&mut command);
    support::succeed(command.current_dir(directory).env("RUSTC", rustc));
    fs_err::read_to_string(directory.join("dist/packages/v1.2.3/checksums.txt")).unwrap()
}

#[test]
fn the_clock_of_the_machine_is_in_no_byte() {
    // Under faketime the official compiler waits for ever for its own allocator, which asks for the time.
    let rustc = "/usr/bin/rustc";
    let there = Command::new(rustc).arg("-V").output().is_ok_and(|output| output.status.success());
    if !support::need("faketime") || !support::missing_unless(there, "a compiler from the distribution") {
        return;
    }
    let workspace = support::small_workspace("tool", "1.2.3");
    // The fake clock is one that programs believe in.
    let asked = |clock: &str| support::succeed(Command::new("faketime").args(["-f", clock, "date", "+%Y"]));
    assert_eq!((asked("@1999-02-03 04:05:06").trim(), asked("@2031-12-30 23:59:58").trim()), ("1999", "2031"));
    let other = Scratch::new();
    copy(workspace.path(), &other.path().join("copy"));
    let early = under_the_clock(rustc, workspace.path(), "@1999-02-03 04:05:06");
    let late = under_the_clock(rustc, &other.path().join("copy"), "@2031-12-30 23:59:58");
    assert_eq!(early, late);
}
