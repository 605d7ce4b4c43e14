//! Building a published release again: the same bytes, or the file and the cause.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use camino::Utf8Path;
use consign::model::Digest;
use serde_json::Value;

use super::support::{Scratch, commit, consign, git, missing_unless, small_workspace, succeed};
use super::workspaces::{bundle, configured, index, json, rehearse, run, workspace_of};

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

/// Changes both documents as somebody would who makes up a bundle: the provenance pins the changed index.
fn forge(workspace: &Utf8Path, change: impl Fn(&str) -> String) {
    let [index, provenance] = ["index.json", "provenance.json"].map(|name| bundle(workspace).join(name));
    let before = fs_err::read_to_string(&index).unwrap();
    let after = change(&before);
    assert!(before != after);
    let digests = [&before, &after].map(|text| Digest::of(text.as_bytes()).to_string());
    fs_err::write(&index, after).unwrap();
    let text = change(&fs_err::read_to_string(&provenance).unwrap());
    fs_err::write(&provenance, text.replace(&digests[0], &digests[1])).unwrap();
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
        assert_eq!(report["files"].as_array().unwrap().len(), 5, "{report:#}");
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
    forge(scratch.path(), |text| text.replace(&after, &before));
    let report = differs(scratch.path(), ARCHIVE, "source");
    let archive = report["files"].as_array().unwrap().iter().find(|file| file["name"] == ARCHIVE).unwrap();
    assert!(archive["parts"].as_array().unwrap().contains(&"bin/tool".into()), "{report:#}");
    // A commit that is not there.
    let path = bundle(scratch.path()).join("index.json");
    forge(scratch.path(), |text| text.replace(&before, &"0".repeat(40)));
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
    forge(scratch.path(), |text| text.replace(",\n        \"dirty\": true", "").replace(",\"dirty\":true", ""));
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

#[test]
fn a_file_that_is_damaged_or_absent_is_not_the_same() {
    let scratch = small_workspace("tool", "1.2.3");
    rehearse(scratch.path(), &[]).passed();
    let archive = fs_err::read_dir(bundle(scratch.path()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("tool-"))
        .unwrap();
    let place = bundle(scratch.path());
    let mut bytes = fs_err::read(place.join(&archive)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(place.join(&archive), &bytes).unwrap();
    fs_err::remove_file(place.join("sbom.spdx.json")).unwrap();
    let mut text = fs_err::read_to_string(place.join("sbom.cdx.json")).unwrap();
    text.push(' ');
    fs_err::write(place.join("sbom.cdx.json"), text).unwrap();
    let (code, report) = rebuilt(scratch.path());
    assert_eq!((code, report["status"].as_str()), (4, Some("different")), "{report:#}");
    let status = |name: &str| {
        let file = report["files"].as_array().unwrap().iter().find(|file| file["name"] == name).unwrap().clone();
        file["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&archive), "damaged");
    assert_eq!(status("sbom.spdx.json"), "missing");
    assert_eq!(status("sbom.cdx.json"), "damaged");
    assert_eq!(status("index.json"), "same");
    // The program is not to blame for it.
    let kinds: Vec<_> = report["causes"].as_array().unwrap().iter().map(|cause| cause["kind"].clone()).collect();
    assert_eq!(kinds, ["download", "download", "download"]);
}

#[test]
fn a_provenance_of_another_bundle_gives_no_instructions() {
    let scratch = small_workspace("tool", "1.2.3");
    rehearse(scratch.path(), &[]).passed();
    let path = bundle(scratch.path()).join("provenance.json");
    let text = fs_err::read_to_string(&path).unwrap();
    let digest = Digest::of(&fs_err::read(bundle(scratch.path()).join("index.json")).unwrap()).to_string();
    fs_err::write(&path, text.replace(&digest, &"0".repeat(64))).unwrap();
    let index = bundle(scratch.path()).join("index.json");
    let ran = json(scratch.path(), &["rebuild", "--index", index.as_str(), "--source", "."]);
    ran.failed(4, "subject_mismatch");
}

#[test]
fn an_argument_that_could_run_a_program_is_not_passed_on_unless_the_commit_asks_for_it() {
    let settings = r#"arguments = ["--config", "profile.release.opt-level=1"]"#;
    let platforms = ["linux-amd64", "linux-arm64", "macos-arm64", "macos-amd64"];
    let tables = platforms.map(|platform| format!("[platform.{platform}]\n{settings}\n")).concat();
    let scratch = configured(&tables);
    rehearse(scratch.path(), &[]).passed();
    let (code, report) = rebuilt(scratch.path());
    assert_eq!(code, 0, "{report:#}");
    let traps = Scratch::new();
    let mark = traps.path().join("ran");
    let wrapper = traps.write("wrapper", format!("#!/bin/sh\ntouch '{mark}'\nexec \"$@\"\n"));
    succeed(Command::new("chmod").args(["+x", wrapper.as_str()]));
    let path = bundle(scratch.path()).join("provenance.json");
    let text = fs_err::read_to_string(&path).unwrap();
    let spoiled = text.replace("profile.release.opt-level=1", &format!("build.rustc-wrapper='{wrapper}'"));
    assert!(spoiled != text);
    fs_err::write(&path, spoiled).unwrap();
    let index = bundle(scratch.path()).join("index.json");
    let ran = json(scratch.path(), &["rebuild", "--index", index.as_str(), "--source", "."]);
    let failure = ran.failed(3, "config_invalid");
    assert!(failure["message"].as_str().unwrap().contains("--config"), "{failure:#}");
    assert!(!mark.exists());
}

#[test]
fn a_mirror_without_the_tag_gives_the_same_bytes() {
    let scratch = small_workspace("tool", "1.2.3");
    // Nothing but the clone's own address says where it comes from.
    let manifest = fs_err::read_to_string(scratch.path().join("Cargo.toml")).unwrap();
    scratch.write("Cargo.toml", manifest.replace("repository", "homepage"));
    commit(scratch.path(), "chore: no repository");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    git(scratch.path(), &["remote", "add", "origin", "git@github.com:example/tool.git"]);
    rehearse(scratch.path(), &["--mode", "release"]).passed();
    let document = index(scratch.path());
    assert_eq!(document.source.repository.as_deref(), Some("https://github.com/example/tool"));
    assert_eq!(document.source.reference.as_deref(), Some("refs/tags/v1.2.3"));
    let mirror = Scratch::new();
    let place = mirror.path().join("mirror");
    git(mirror.path(), &["clone", "-q", "--no-tags", scratch.path().as_str(), place.as_str()]);
    git(&place, &["remote", "set-url", "origin", "https://mirror.example.com/else/where.git"]);
    let path = bundle(scratch.path()).join("index.json");
    let report = json(mirror.path(), &["rebuild", "--index", path.as_str(), "--source", place.as_str()]).passed();
    assert_eq!(report.json()["status"], "identical");
}

#[test]
fn the_manifest_s_repository_counts_for_more_than_the_clone_s() {
    let scratch = small_workspace("tool", "1.2.3");
    git(scratch.path(), &["remote", "add", "origin", "https://mirror.example.com/else/where.git"]);
    git(scratch.path(), &["tag", "-d", "v1.2.3"]);
    rehearse(scratch.path(), &[]).passed();
    let document = index(scratch.path());
    assert_eq!(document.source.repository.as_deref(), Some("https://github.com/example/tool"));
    assert_eq!(document.source.reference, None, "there is no such tag");
    // An index that names another one differs, and the program is not to blame for it.
    forge(scratch.path(), |text| text.replace("https://github.com/example/tool", "https://github.com/other/tool"));
    let report = differs(scratch.path(), "index.json", "repository");
    assert!(report["files"].as_array().unwrap().iter().any(|file| file["status"] == "same"), "{report:#}");
}

#[test]
fn other_flags_are_the_cause() {
    if !on_linux_amd64() {
        return;
    }
    for (name, value) in [("RUSTFLAGS", "-Coverflow-checks=on -Copt-level=0"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")]
    {
        let scratch = small_workspace("tool", "1.2.3");
        let arguments = ["--format", "json", "release-pipeline", "--skip", "test"];
        run(consign(scratch.path()).env(name, value).args(arguments)).passed();
        let report = differs(scratch.path(), ARCHIVE, "flags");
        assert!(report["causes"][0]["detail"].as_str().unwrap().contains(value), "{report:#}");
        // With the same flags it is the same.
        let path = bundle(scratch.path()).join("index.json");
        let arguments = ["--format", "json", "rebuild", "--source", ".", "--index", path.as_str()];
        run(consign(scratch.path()).env(name, value).args(arguments)).passed();
    }
}

#[test]
fn a_path_dependency_beside_the_workspace_is_warned_of_and_named() {
    if !on_linux_amd64() {
        return;
    }
    let scratch = Scratch::new();
    let package = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"1.2.3\"\nedition = \"2021\"\n");
    scratch.write("other/Cargo.toml", package("other"));
    scratch.write("other/src/lib.rs", "pub fn pick(list: &[u8], at: usize) -> u8 { list[at] }\n");
    let dependency = "[dependencies]\nother = { path = \"../../other\" }\n";
    scratch.write("inner/tool/Cargo.toml", format!("{}{dependency}", package("tool")));
    scratch.write(
        "inner/tool/src/main.rs",
        "fn main() { println!(\"{}\", other::pick(b\"x\", std::env::args().count())); }\n",
    );
    scratch.write(".gitignore", "dist\ntarget\n");
    let workspace = scratch.path().join("inner/tool");
    succeed(Command::new("cargo").args(["generate-lockfile", "--offline"]).current_dir(&workspace));
    git(scratch.path(), &["init", "-q"]);
    commit(scratch.path(), "feat: begin");
    let plan = json(&workspace, &["plan"]).passed().json();
    assert!(plan["warnings"].to_string().contains("path dependency outside"), "{plan:#}");
    rehearse(&workspace, &[]).passed();
    let program = fs_err::read(workspace.join("dist/releases/v1.2.3/linux-amd64/tool")).unwrap();
    let holds = |text: &str| program.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!holds(scratch.path().as_str()), "the program holds the place of its repository");
    assert!(holds("/repository/other/src/lib.rs"));
    // The names of its symbols depend on where it is; whether that shows is up to the linker.
    let (code, report) = rebuilt(&workspace);
    assert!(code == 0 || report["causes"][0]["kind"] == "path", "{report:#}");
}
