//! `consign-install`, the program with nothing but installing in it.
//!
//! Without more these are tests of the build that cargo makes beside the others. To test the one that is
//! released, name it in `CONSIGN_TEST_INSTALLER`; the tests of installing use it too then.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use consign::install::host::Host;

use crate::support::{self, Scratch, commit, git, small_workspace, succeed};
use crate::workspaces::{Ran, files_below, json, run};

fn installer(directory: &Utf8Path, line: &str) -> Ran {
    run(support::installer(directory).args(line.split_whitespace()))
}

#[test]
fn it_has_the_verbs_of_installing_and_no_other() {
    let scratch = Scratch::new();
    let help = installer(scratch.path(), "--help").passed().out;
    let verbs: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Verbs:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(verbs, ["install", "upgrade", "revert", "uninstall", "installed", "help"]);
    for verb in ["package", "sign", "catalog", "config", "verify"] {
        let error = installer(scratch.path(), &format!("--format json {verb}")).failed(2, "usage");
        assert!(error["message"].as_str().unwrap().contains(verb), "{error}");
    }
    // There is no settings file for it.
    installer(scratch.path(), "--format json --config consign.toml installed").failed(2, "usage");
    let version = installer(scratch.path(), "--version").passed().out;
    assert_eq!(version, format!("consign-install {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn its_examples_are_its_own() {
    let scratch = Scratch::new();
    for verb in ["install", "upgrade", "revert", "uninstall", "installed"] {
        let help = installer(scratch.path(), &format!("{verb} --help")).passed().out;
        assert!(help.contains("\n  consign-install "), "{help}");
        assert!(!help.contains("\n  consign "), "{help}");
    }
}

#[test]
fn a_line_without_a_verb_installs() {
    let scratch = Scratch::new();
    let prefix = scratch.path().join("prefix");
    let tool = scratch.write("tool", "#!/bin/sh\necho tool 1.0.0\n");
    let done = installer(scratch.path(), &format!("--format json --from {tool} --prefix {prefix}")).passed().json();
    assert_eq!((&done["status"], &done["version"]), (&"installed".into(), &"1.0.0".into()));
    // `--version` names a version here, and is not the wish to know one's own.
    let line = format!("--version 2.0.0 --format json --from {tool} --prefix {prefix}");
    assert_eq!(installer(scratch.path(), &line).passed().json()["version"], "2.0.0");
    let there = installer(scratch.path(), &format!("installed --format json --prefix {prefix}")).passed().json();
    assert_eq!(there["products"][0]["current"], "2.0.0");
    installer(scratch.path(), "--format json --prefix x").failed(2, "usage");
}

/// The installer itself as a product: a workspace of its name, whose program was built elsewhere.
struct Product {
    workspace: Scratch,
    programs: Utf8PathBuf,
}

impl Product {
    fn new() -> Self {
        let workspace = small_workspace("consign-install", "1.0.0");
        workspace.write("consign.toml", "[archive]\nformat = \"tar.zst\"\nlevel = 1\n");
        commit(workspace.path(), "chore: settings");
        git(workspace.path(), &["tag", "-f", "v1.0.0"]);
        let programs = workspace.path().join("target/programs");
        let here = programs.join(Host::look().platforms()[0].name());
        fs_err::create_dir_all(&here).unwrap();
        let own = support::installer(workspace.path()).get_program().to_owned();
        fs_err::copy(Utf8Path::from_path(own.as_ref()).unwrap(), here.join("consign-install")).unwrap();
        Self { workspace, programs }
    }

    /// Packs a version, and gives back its index.
    fn release(&self, version: &str) -> Utf8PathBuf {
        let root = self.workspace.path();
        for file in ["Cargo.toml", "Cargo.lock"] {
            let text = fs_err::read_to_string(root.join(file)).unwrap();
            self.workspace.write(file, text.replace("\nversion = \"1.0.0\"", &format!("\nversion = \"{version}\"")));
        }
        if version != "1.0.0" {
            commit(root, "chore: release");
            git(root, &["tag", &format!("v{version}")]);
        }
        json(root, &["package", "--binaries", self.programs.as_str()]).passed();
        root.join(format!("dist/packages/v{version}/index.json"))
    }
}

#[test]
fn an_installed_program_puts_a_newer_one_in_its_own_place() {
    let product = Product::new();
    let (old, new) = (product.release("1.0.0"), product.release("1.1.0"));
    let user = Scratch::new();
    let prefix = user.path().join("prefix");
    let mut first = support::installer(user.path());
    run(first.env("XDG_STATE_HOME", user.path().join("state")).args([
        "--index",
        old.as_str(),
        "--prefix",
        prefix.as_str(),
    ]))
    .passed();
    // From now on the installed one works on itself, by the name that a user calls it by.
    let own = prefix.join("bin/consign-install");
    let itself = |line: &str| {
        let mut command = Command::new(&own);
        support::clean(&mut command);
        command.current_dir(user.path()).env("XDG_STATE_HOME", user.path().join("state"));
        run(command.args(line.split_whitespace()).args(["--format", "json", "--prefix", prefix.as_str()]))
            .passed()
            .json()
    };
    let running = fs_err::canonicalize(&own).unwrap();
    let done = itself(&format!("install --index {new}"));
    assert_eq!((&done["status"], &done["previous"]), (&"replaced".into(), &"1.0.0".into()));
    assert!(running.exists() && fs_err::canonicalize(&own).unwrap() != running);
    let there = itself("installed");
    assert_eq!(there["products"][0]["current"], "1.1.0");
    assert_eq!(itself(&format!("install --index {old} --allow-downgrade"))["status"], "replaced");
    assert_eq!(itself("revert consign-install")["version"], "1.1.0");
    // Even the version that runs can go: a file lives as long as somebody has it open.
    itself("uninstall consign-install");
    assert!(!own.exists());
    assert_eq!(files_below(&prefix), Vec::<Utf8PathBuf>::new());
}

/// What is compiled into it, as `cargo tree` prints crates in a format.
fn tree(format: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    support::clean(&mut cargo);
    let arguments = ["tree", "--offline", "--locked", "--package", "consign", "--no-default-features"];
    let tree = ["--edges", "normal", "--target", "all", "--prefix", "none", "--format", format];
    succeed(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).args(tree))
}

#[test]
fn nothing_of_the_toolchain_is_compiled_into_it() {
    let crates = tree("{p}");
    let has = |name: &str| crates.lines().any(|line| line.split(' ').next() == Some(name));
    for needed in ["reqwest", "ring", "rustls", "tar", "zstd"] {
        assert!(has(needed), "{needed} is not there: is this the right tree?\n{crates}");
    }
    for other in [
        "bollard",
        "blake2",
        "cargo_metadata",
        "clap_complete",
        "clap_mangen",
        "globset",
        "jsonwebtoken",
        "libdeflater",
        "minijinja",
        "octocrab",
        "rpassword",
        "schemars",
        "scrypt",
        "spdx",
        "toml",
        "aws-lc-rs",
        "openssl-sys",
    ] {
        assert!(!has(other), "{other} is compiled into consign-install");
    }
    // The HTTP client runs on one thread of tokio; nothing else of that is asked for.
    let tokio = tree("{p} {f}").lines().find(|line| line.starts_with("tokio v")).unwrap().to_owned();
    for feature in ["rt-multi-thread", "fs", "process", "signal", "macros", "full"] {
        let features = tokio.rsplit(' ').next().unwrap();
        assert!(features.split(',').all(|one| one != feature), "tokio is compiled with {feature}: {tokio}");
    }
}
