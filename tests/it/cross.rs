//! Platforms other than this host: built where the tools are there, named before building where not.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use super::support::{clean, consign, missing_unless, need, succeed};
use super::workspaces::{configured, contents, json, rehearse, run};

const ARM64: &str = "aarch64-unknown-linux-gnu";

/// A compiler that has the standard library of a target, if there is one here.
fn compiler_for(target: &str) -> Option<&'static str> {
    ["rustc", "/usr/bin/rustc"].into_iter().find(|rustc| {
        let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
        asked.is_ok_and(|output| {
            let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            std::fs::read_dir(directory).is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
            })
        })
    })
}

#[test]
fn a_program_for_another_processor_is_built_and_run() {
    let Some(rustc) = compiler_for(ARM64) else {
        missing_unless(false, "the standard library of aarch64-unknown-linux-gnu");
        return;
    };
    if !need("aarch64-linux-gnu-gcc") || !need("qemu-aarch64-static") {
        return;
    }
    let scratch = configured(
        "platforms = [\"linux-amd64\", \"linux-arm64\"]\n[platform.linux-arm64]\nrunner = [\"qemu-aarch64-static\", \"-L\", \"/usr/aarch64-linux-gnu\"]\n[smoke]\ncommands = [[]]\n",
    );
    let ran = run(consign(scratch.path()).env("RUSTC", rustc).args([
        "--format",
        "json",
        "release-pipeline",
        "--skip",
        "test",
    ]))
    .passed();
    let smoke =
        ran.json()["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "smoke").unwrap().clone();
    assert_eq!(smoke["detail"], "2 commands ran");
    let log = fs_err::read_to_string(scratch.path().join("dist/smoke/host.log")).unwrap();
    assert!(log.contains("qemu-aarch64-static") && log.matches("\ntool 1.2.3\n").count() == 2, "{log}");
    let archives: Vec<_> = contents(scratch.path()).into_keys().collect();
    assert_eq!(archives, ["tool-1.2.3-linux-amd64.tar.gz", "tool-1.2.3-linux-arm64.tar.gz"]);
    let program = fs_err::read(scratch.path().join("dist/releases/v1.2.3/linux-arm64/tool")).unwrap();
    // The ELF header's machine: AArch64.
    assert_eq!(&program[18..20], [183, 0]);
    // Without the runner it is left out, and that is said.
    scratch.write("consign.toml", "platforms = [\"linux-amd64\", \"linux-arm64\"]\n");
    let ran = run(consign(scratch.path()).env("RUSTC", rustc).args(["--format", "json", "smoke"])).passed();
    assert_eq!(ran.json()["skipped"], serde_json::json!(["linux-arm64"]));
}

#[test]
fn a_missing_standard_library_is_named_before_building() {
    let scratch = configured("");
    for (platform, target) in [
        ("linux-s390x", "s390x-unknown-linux-gnu"),
        ("windows-amd64-gnu", "x86_64-pc-windows-gnu"),
        ("macos-arm64", "aarch64-apple-darwin"),
    ] {
        let has = |rustc: &str| compiler_for(target) == Some(rustc);
        if has("rustc") {
            eprintln!("skipped: {target} is installed here");
            continue;
        }
        let error = rehearse(scratch.path(), &["--platform", platform]).failed(3, "target_missing");
        assert!(error["hint"].as_str().unwrap().contains(&format!("rustup target add {target}")), "{error}");
        assert!(!scratch.path().join("target").exists());
        let doctor = json(scratch.path(), &["doctor", "--platform", platform]);
        assert!(doctor.out.contains("target_missing"), "{}", doctor.out);
    }
}

#[test]
fn a_missing_linker_is_named_before_building() {
    // The host's own target under another platform's table, so that the library is there.
    let scratch = configured("[platform.linux-amd64]\nlinker = \"no-such-linker\"\n");
    if !missing_unless(cfg!(all(target_os = "linux", target_arch = "x86_64")), "linux-amd64") {
        return;
    }
    let error = rehearse(scratch.path(), &["--platform", "linux-amd64"]).failed(3, "linker_missing");
    assert!(error["message"].as_str().unwrap().contains("no-such-linker"), "{error}");
    assert!(!scratch.path().join("target").exists());
    // The usual linker, taken off the path.
    let Some(rustc) = compiler_for(ARM64) else {
        missing_unless(false, "the standard library of aarch64-unknown-linux-gnu");
        return;
    };
    let tools = super::support::Scratch::new();
    for tool in ["cargo", "git"] {
        std::os::unix::fs::symlink(on_path(tool), tools.path().join(tool)).unwrap();
    }
    let rustc = on_path(rustc);
    let mut command = consign(scratch.path());
    let ran = run(command.env("PATH", tools.path()).env("RUSTC", rustc).args([
        "--format",
        "json",
        "release-pipeline",
        "--skip",
        "test",
        "--platform",
        "linux-arm64",
    ]));
    let error = ran.failed(3, "linker_missing");
    assert!(error["hint"].as_str().unwrap().contains("apt-get install gcc-aarch64-linux-gnu"), "{error}");
}

#[test]
fn zig_links_for_an_old_glibc() {
    if !need("cargo-zigbuild") {
        return;
    }
    let scratch =
        configured("[platform.linux-amd64]\nbuilder = \"zigbuild\"\ntarget = \"x86_64-unknown-linux-gnu.2.17\"\n");
    rehearse(scratch.path(), &["--platform", "linux-amd64"]).passed();
    let program = scratch.path().join("dist/releases/v1.2.3/linux-amd64/tool");
    if need("objdump") {
        let told = succeed(Command::new("objdump").arg("-T").arg(&program));
        let newest = told
            .lines()
            .filter_map(|line| line.split("GLIBC_2.").nth(1))
            .filter_map(|rest| rest.split([')', ' ', '.']).next()?.parse::<u32>().ok())
            .max();
        assert!(newest.is_some_and(|newest| newest <= 17), "{told}");
    }
    let mut command = Command::new(&program);
    clean(&mut command);
    assert_eq!(succeed(&mut command), "tool 1.2.3\n");
}

#[test]
fn a_builder_that_is_not_installed_is_named_before_building() {
    let scratch = configured("");
    let tools = super::support::Scratch::new();
    for tool in ["cargo", "git", "rustc"] {
        std::os::unix::fs::symlink(on_path(tool), tools.path().join(tool)).unwrap();
    }
    for (builder, hint) in [("zigbuild", "pip install cargo-zigbuild"), ("cross", "cargo install cross")] {
        let mut command = consign(scratch.path());
        let arguments = ["--format", "json", "release-pipeline", "--skip", "test", "--builder", builder];
        let error = run(command.env("PATH", tools.path()).args(arguments)).failed(3, "tool_missing");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
        assert!(!scratch.path().join("target").exists());
    }
}

/// Where a program is.
fn on_path(program: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file()).unwrap()
}
