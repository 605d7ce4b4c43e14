//! Building a published release again: the same bytes, or the file and the cause.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use camino::Utf8Path;
use serde_json::Value;

use super::support::{Scratch, commit, consign, git, missing_unless, small_workspace, succeed};
use super::workspaces::{bundle, configured, json, rehearse, run, workspace_of};

/// Rebuilds the one bundle of a workspace from the workspace's own repository.
fn rebuilt(workspace: &Utf8Path) -> (i32, Value) {
    let index = bundle(workspace).join("index.json");
    let ran = json(workspace, &["rebuild", "--index", index.as_str(), "--source", "."]);
    (ran.code, ran.json())
}

#[track_caller]
fn differs(workspace: &Utf8Path, file: &str, cause: &str) -> Value {
    let (code, report) = rebuilt(workspace);
    assert_eq!((code, report["status"].as_str()), (4, Some("different")), "{report:#}");
    let files = report["files"].as_array().unwrap();
    assert!(files.iter().any(|compared| compared["name"] == file && compared["identical"] == false), "{report:#}");
    assert_eq!(report["causes"][0]["kind"], cause, "{report:#}");
    report
}

const ARCHIVE: &str = "tool-1.2.3-linux-amd64.tar.gz";

fn on_linux_amd64() -> bool {
    missing_unless(cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")), "linux-amd64")
}

#[test]
fn the_recorded_commit_gives_the_same_bytes() {
    for mode in ["validate", "release"] {
        let scratch = small_workspace("tool", "1.2.3");
        rehearse(scratch.path(), &["--mode", mode]).passed();
        // The program stays where it is, but what is compared does not.
        let published = Scratch::new();
        fs_err::rename(bundle(scratch.path()), published.path().join("release")).unwrap();
        scratch.write("src/main.rs", "fn main() { /* not committed */ }\n");
        let index = published.path().join("release/index.json");
        let report = json(scratch.path(), &["rebuild", "--index", index.as_str(), "--source", "."]).passed().json();
        assert_eq!(report["type"], "consign.rebuild/v1");
        assert_eq!(report["status"], "identical");
        assert_eq!(report["causes"], serde_json::json!([]));
        assert_eq!(report["files"].as_array().unwrap().len(), 4, "{report:#}");
    }
}

#[test]
fn settings_that_were_chosen_are_chosen_again() {
    let scratch = workspace_of(&[
        (
            "Cargo.toml",
            "[package]\nname = \"tool\"\nversion = \"1.2.3\"\nedition = \"2021\"\n[features]\ndefault = [\"a\"]\na = []\nb = []\n[[bin]]\nname = \"tool\"\npath = \"src/main.rs\"\n[[bin]]\nname = \"other\"\npath = \"src/main.rs\"\n[profile.small]\ninherits = \"release\"\nopt-level = \"z\"\n",
        ),
        ("src/main.rs", "fn main() { println!(\"{} {}\", cfg!(feature = \"a\"), cfg!(feature = \"b\")); }\n"),
        ("docs/guide.md", "guide"),
        (
            "consign.toml",
            "name = \"product\"\nbinaries = [\"tool\"]\n[build]\nprofile = \"small\"\nfeatures = [\"b\"]\nno-default-features = true\n[archive]\nname-pattern = \"{name}-v{version}-{target}\"\ninclude = [\"docs/**\"]\nlevel = 3\nformat = \"zip\"\n",
        ),
    ]);
    rehearse(scratch.path(), &[]).passed();
    let index = bundle(scratch.path()).join("index.json");
    let (code, report) = rebuilt(scratch.path());
    assert_eq!(code, 0, "{report:#}");
    // The settings of the place where it is done do not matter.
    let elsewhere = Scratch::new();
    elsewhere.write("consign.toml", "name = \"other\"\nplatforms = [\"windows-amd64\"]\n[archive]\nformat = \"tar.zst\"\n[build]\nprofile = \"dev\"\nall-features = true\n[hooks]\nbefore-build = [\"false\"]\n");
    let source = scratch.path().as_str();
    json(elsewhere.path(), &["rebuild", "--index", index.as_str(), "--source", source]).passed();
    let empty = Scratch::new();
    json(empty.path(), &["rebuild", "--index", index.as_str(), "--source", source]).passed();
    // Without the defaults and with everything.
    for flags in [
        &["--all-features", "--config", "empty.toml"][..],
        &["--config", "empty.toml"],
        &["--config", "empty.toml", "1.2.3"],
    ] {
        scratch.write("empty.toml", "");
        scratch.write(".git/info/exclude", "empty.toml\n");
        fs_err::remove_dir_all(scratch.path().join("dist")).unwrap();
        rehearse(scratch.path(), flags).passed();
        let (code, report) = rebuilt(scratch.path());
        assert_eq!(code, 0, "{flags:?} {report:#}");
    }
}

#[test]
fn a_workspace_below_the_repository_s_root_is_found_again() {
    let scratch = Scratch::new();
    let inner = small_workspace("tool", "1.2.3");
    fs_err::remove_dir_all(inner.path().join(".git")).unwrap();
    succeed(Command::new("cp").arg("-R").arg(inner.path()).arg(scratch.path().join("tool dir")));
    scratch.write("README.md", "# the repository\n");
    git(scratch.path(), &["init", "-q"]);
    commit(scratch.path(), "feat: begin");
    let workspace = scratch.path().join("tool dir");
    rehearse(&workspace, &[]).passed();
    let (code, report) = rebuilt(&workspace);
    assert_eq!(code, 0, "{report:#}");
    let index = bundle(&workspace).join("index.json");
    json(scratch.path(), &["rebuild", "--index", index.as_str(), "--source", "."]).passed();
}

#[test]
fn a_package_of_its_own_is_built_again_alone() {
    let package = |name: &str, version: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n")
    };
    let scratch = workspace_of(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"left\", \"right\"]\nresolver = \"2\"\n"),
        ("left/Cargo.toml", &package("left", "1.2.3")),
        ("left/src/main.rs", "fn main() {}\n"),
        ("right/Cargo.toml", &package("right", "0.9.0")),
        ("right/src/main.rs", "fn main() {}\n"),
    ]);
    for arguments in [&["left-v1.2.3"][..], &["left/v1.2.3"], &["-p", "right"]] {
        let _ = fs_err::remove_dir_all(scratch.path().join("dist"));
        rehearse(scratch.path(), arguments).passed();
        let (code, report) = rebuilt(scratch.path());
        assert_eq!(code, 0, "{arguments:?} {report:#}");
    }
}

#[test]
fn a_changed_source_is_the_cause() {
    if !on_linux_amd64() {
        return;
    }
    // Made from a tree with changes.
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("src/main.rs", "fn main() { println!(\"tool 1.2.4\"); }\n");
    rehearse(scratch.path(), &[]).passed();
    let report = differs(scratch.path(), ARCHIVE, "source");
    let archive = report["files"].as_array().unwrap().iter().find(|file| file["name"] == ARCHIVE).unwrap();
    assert_eq!(archive["parts"], serde_json::json!(["bin/tool"]));
    // A bundle that names another commit than its own.
    git(scratch.path(), &["checkout", "-q", "."]);
    let before = git(scratch.path(), &["rev-parse", "HEAD"]);
    scratch.write("src/main.rs", "fn main() { println!(\"one byte more\"); }\n");
    commit(scratch.path(), "feat: one byte more");
    let after = git(scratch.path(), &["rev-parse", "HEAD"]);
    rehearse(scratch.path(), &[]).passed();
    for name in ["index.json", "provenance.json"] {
        let path = bundle(scratch.path()).join(name);
        fs_err::write(&path, fs_err::read_to_string(&path).unwrap().replace(&after, &before)).unwrap();
    }
    let report = differs(scratch.path(), ARCHIVE, "source");
    let archive = report["files"].as_array().unwrap().iter().find(|file| file["name"] == ARCHIVE).unwrap();
    assert!(archive["parts"].as_array().unwrap().contains(&"bin/tool".into()), "{report:#}");
    // A commit that is not there.
    let path = bundle(scratch.path()).join("index.json");
    fs_err::write(&path, fs_err::read_to_string(&path).unwrap().replace(&before, &"0".repeat(40))).unwrap();
    let ran = json(scratch.path(), &["rebuild", "--index", path.as_str(), "--source", "."]);
    ran.failed(6, "source_unknown");
}

#[test]
fn a_changed_dependency_is_the_cause() {
    if !on_linux_amd64() {
        return;
    }
    let scratch = workspace_of(&[
        (
            "Cargo.toml",
            "[package]\nname = \"tool\"\nversion = \"1.2.3\"\nedition = \"2021\"\n[dependencies]\ndep = { path = \"dep\" }\n[workspace]\n",
        ),
        ("src/main.rs", "fn main() { println!(\"{}\", dep::NAME); }\n"),
        ("dep/Cargo.toml", "[package]\nname = \"dep\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("dep/src/lib.rs", "pub const NAME: &str = env!(\"CARGO_PKG_VERSION\");\n"),
    ]);
    scratch.write("dep/Cargo.toml", "[package]\nname = \"dep\"\nversion = \"0.1.1\"\nedition = \"2021\"\n");
    let lock = fs_err::read_to_string(scratch.path().join("Cargo.lock")).unwrap();
    scratch.write("Cargo.lock", lock.replace("0.1.0", "0.1.1"));
    // Not marked as dirty: this is the bundle of somebody who hides it.
    rehearse(scratch.path(), &[]).passed();
    for name in ["index.json", "provenance.json"] {
        let path = bundle(scratch.path()).join(name);
        let text = fs_err::read_to_string(&path).unwrap();
        fs_err::write(
            &path,
            text.replace("\"dirty\": true", "\"dirty\": false").replace("\"dirty\":true", "\"dirty\":false"),
        )
        .unwrap();
    }
    let report = differs(scratch.path(), ARCHIVE, "dependency");
    assert!(report["causes"][0]["detail"].as_str().unwrap().contains("Cargo.lock"), "{report:#}");
}

#[test]
fn another_compiler_is_the_cause() {
    let other = "/usr/bin/rustc";
    let version = |rustc: &str| Command::new(rustc).arg("-V").output().ok().map(|output| output.stdout);
    if !missing_unless(version(other).is_some_and(|other| Some(other) != version("rustc")), "a second compiler")
        || !on_linux_amd64()
    {
        return;
    }
    let scratch = small_workspace("tool", "1.2.3");
    rehearse(scratch.path(), &[]).passed();
    let index = bundle(scratch.path()).join("index.json");
    let ran = run(consign(scratch.path()).env("RUSTC", other).args([
        "--format",
        "json",
        "rebuild",
        "--index",
        index.as_str(),
        "--source",
        ".",
    ]));
    let report = ran.json();
    assert_eq!((ran.code, report["causes"][0]["kind"].as_str()), (4, Some("compiler")), "{report:#}");
}

#[test]
fn a_hook_that_changed_the_program_is_the_cause() {
    if !on_linux_amd64() {
        return;
    }
    let scratch = configured(
        "[hooks]\nafter-build = [\"sed\", \"-i\", \"$ a signed\", \"dist/releases/v1.2.3/linux-amd64/tool\"]\n",
    );
    rehearse(scratch.path(), &[]).passed();
    let report = differs(scratch.path(), ARCHIVE, "hook");
    assert!(report["causes"][0]["detail"].as_str().unwrap().contains("after-build"), "{report:#}");
}

#[test]
fn another_time_is_the_cause() {
    if !on_linux_amd64() {
        return;
    }
    let scratch = small_workspace("tool", "1.2.3");
    rehearse(scratch.path(), &[]).passed();
    // The documents name one time, the archives were made with another.
    let path = bundle(scratch.path()).join("provenance.json");
    let text = fs_err::read_to_string(&path).unwrap();
    let spoiled = text.replace("1735787045", "1735787047");
    assert!(text != spoiled);
    fs_err::write(&path, spoiled).unwrap();
    differs(scratch.path(), ARCHIVE, "time");
}

#[test]
fn a_recorded_path_is_the_cause() {
    if !on_linux_amd64() {
        return;
    }
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("src/main.rs", "fn main() { println!(\"{}\", env!(\"CARGO_MANIFEST_DIR\")); }\n");
    commit(scratch.path(), "feat: tell the path");
    rehearse(scratch.path(), &[]).passed();
    let report = differs(scratch.path(), ARCHIVE, "path");
    assert!(report["causes"][0]["detail"].as_str().unwrap().contains("CARGO_MANIFEST_DIR"), "{report:#}");
}

#[test]
fn a_hostile_bundle_is_not_built() {
    let scratch = small_workspace("tool", "1.2.3");
    rehearse(scratch.path(), &[]).passed();
    let path = bundle(scratch.path()).join("provenance.json");
    let text = fs_err::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"workspace\": \"\"", "\"workspace\": \"../..\""),
        ("\"workspace\": \"\"", "\"workspace\": \"/etc\""),
        ("\"profile\": \"release\"", "\"profile\": \"--config=build.rustc-wrapper='false'\""),
        ("\"target\": \"x86_64-unknown-linux-gnu\"", "\"target\": \"--config=x\""),
        ("\"arguments\": []", "\"arguments\": [\"--config=build.rustc-wrapper='touch'\"]"),
        ("\"builder\": \"cargo\"", "\"builder\": \"command\""),
        ("\"include\": []", "\"include\": [\"/etc/**\"]"),
        ("\"name\": \"tool\"", "\"name\": \"../tool\""),
        ("\"tool\"\n", "\"--config=x\"\n"),
    ] {
        let spoiled = text.replace(from, to);
        if spoiled == text {
            continue;
        }
        fs_err::write(&path, &spoiled).unwrap();
        let (code, report) = rebuilt(scratch.path());
        assert_ne!(code, 0, "{to}: {report:#}");
    }
}
