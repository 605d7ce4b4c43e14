//! Workspaces, tags and settings that mean harm, and repositories in a bad state: a clear error or
//! the right result, never a shell and never a panic.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use super::support::{Scratch, commit, consign, git, missing_unless, small_workspace, succeed};
use super::workspaces::{bundle, configured, files_below, index, json, packed, rehearse, run, workspace_of};

const HOSTILE: &[&str] = &[
    "v1.0.0; rm -rf .",
    "--upload-pack=touch canary",
    "$(touch canary)",
    "`touch canary`",
    "v1.2.3\ntouch canary",
    "v1.2.3\n",
    "v1.2.3|touch canary",
    "../v1.2.3",
    "v1.2.3/../../x",
    "tool/../v1.2.3",
    "/v1.2.3",
    "v1.2.3\u{202e}",
    "v1.2.3\u{0}",
    "\u{1b}[2J",
    "v01.2.3",
    "v1.2",
    "v99999999999999999999.0.0",
    " ",
];

#[test]
fn a_version_is_a_version() {
    let scratch = small_workspace("tool", "1.2.3");
    for &version in HOSTILE {
        if version.contains('\0') {
            continue;
        }
        for verb in ["plan", "version-guard", "release-pipeline", "build", "package", "notes"] {
            let command = &mut consign(scratch.path());
            let ran = run(command.args(["--format", "json", verb, "--", version]));
            assert_eq!(ran.code, 2, "{verb} {version:?}: {}{}", ran.out, ran.err);
            assert!(!ran.json()["message"].as_str().unwrap().contains(|c: char| c.is_control() || c == '\u{202e}'));
            let text = run(consign(scratch.path()).args([verb, "--", version]));
            assert_eq!((text.code, &*text.out), (2, ""), "{verb} {version:?}");
            assert!(!text.err.contains(['\u{1b}', '\u{202e}']), "{}", text.err);
            let from_environment = run(consign(scratch.path()).env("CONSIGN_VERSION", version).args([verb]));
            assert!(verb == "version-guard" || version == " " || from_environment.code == 2, "{verb} {version:?}");
        }
        // As an option it is unknown, and that is all.
        assert_eq!(run(consign(scratch.path()).args(["plan", "--", version])).code, 2);
    }
    assert!(!scratch.path().join("canary").exists());
    assert!(scratch.path().join("Cargo.toml").exists());
    assert!(!scratch.path().join("dist").exists());
}

#[test]
fn refs_and_branches_are_never_options() {
    let scratch = small_workspace("tool", "1.2.3");
    for hostile in HOSTILE.iter().filter(|hostile| !hostile.contains('\0')) {
        for rule in ["--require-branch", "--ref"] {
            let rule = format!("{rule}={hostile}");
            let ran = json(scratch.path(), &["version-guard", "v1.2.3", "--require-ref-match", &rule]);
            assert_eq!(ran.code, 6, "{rule}: {}", ran.out);
        }
        let ran = run(consign(scratch.path()).env("GITHUB_REF_NAME", hostile).args([
            "version-guard",
            "v1.2.3",
            "--require-ref-match",
        ]));
        assert_eq!(ran.code, 6, "{hostile:?}");
    }
    assert!(!scratch.path().join("canary").exists());
}

#[test]
fn what_a_manifest_says_stays_text() {
    let hostile = "x\\\"y'\\n\\t\\u001b[31m\\u202e<b>`$(touch canary)`\\\\";
    let scratch = workspace_of(&[
        (
            "Cargo.toml",
            &format!(
                "[package]\nname = \"tool\"\nversion = \"1.2.3\"\nedition = \"2021\"\nlicense = \"MIT OR {hostile}\"\nauthors = [\"{hostile}\"]\ndescription = \"{hostile}\"\nrepository = \"https://u:canary@host/{hostile}\"\nhomepage = \"{hostile}\"\n"
            ),
        ),
        ("src/main.rs", "fn main() {}\n"),
        ("README.md", "# tool\n"),
    ]);
    let ran = rehearse(scratch.path(), &[]);
    if ran.code != 0 {
        // Cargo itself may refuse such a manifest; then its reason is shown, safely.
        ran.failed(3, "workspace_invalid");
        return;
    }
    for path in files_below(&scratch.path().join("dist")) {
        let bytes = fs_err::read(&path).unwrap();
        if path.extension().is_some_and(|extension| ["json", "md", "txt", "log"].contains(&extension)) {
            let text = String::from_utf8(bytes).unwrap();
            assert!(!text.contains("canary@") && !text.contains(['\u{1b}', '\u{202e}']), "{path}");
        }
    }
    let text = run(consign(scratch.path()).args(["release-pipeline", "--skip", "test", "-v"])).passed();
    assert!(!text.out.contains(['\u{1b}', '\u{202e}']) && !text.err.contains(['\u{1b}', '\u{202e}']));
    assert!(!scratch.path().join("canary").exists());
}

#[cfg(unix)]
#[test]
fn nothing_that_a_repository_configures_is_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = small_workspace("tool", "1.2.3");
    let outside = Scratch::new();
    let canary = outside.path().join("canary");
    let script = outside.write("script", format!("#!/bin/sh\necho \"$0 $*\" >> {canary}\n"));
    fs_err::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    for key in [
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "core.editor",
        "core.askPass",
        "diff.external",
        "gpg.program",
        "credential.helper",
        "pager.log",
        "pager.status",
        "interactive.diffFilter",
        "diff.x.textconv",
        "diff.x.command",
        "uploadpack.packObjectsHook",
        "remote.origin.uploadpack",
        "core.alternateRefsCommand",
        "alias.status",
        "alias.log",
    ] {
        let value = if key.starts_with("alias") { format!("!{script}") } else { script.to_string() };
        git(scratch.path(), &["config", key, &value]);
    }
    git(scratch.path(), &["config", "log.showSignature", "true"]);
    git(scratch.path(), &["config", "remote.origin.url", &format!("ext::{script} %S")]);
    scratch.write(".git/info/attributes", "* diff=x\n");
    for hook in [
        "post-checkout",
        "post-index-change",
        "pre-auto-gc",
        "reference-transaction",
        "post-commit",
        "fsmonitor-watchman",
    ] {
        fs_err::create_dir_all(scratch.path().join(".git/hooks")).unwrap();
        fs_err::copy(&script, scratch.path().join(".git/hooks").join(hook)).unwrap();
    }
    let mut pager = consign(scratch.path());
    run(pager
        .args(["release-pipeline", "--skip", "test", "--require-tag"])
        .env("GIT_PAGER", &script)
        .env("PAGER", &script))
    .passed();
    let index = bundle(scratch.path()).join("index.json");
    let rebuilt = json(scratch.path(), &["rebuild", "--index", index.as_str(), "--source", "."]);
    assert!([0, 4].contains(&rebuilt.code), "{}{}", rebuilt.out, rebuilt.err);
    let told = fs_err::read_to_string(&canary).unwrap_or_default();
    assert_eq!(told, "");
}

#[test]
fn a_repository_in_any_state_gives_a_bundle_that_says_so() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("src/main.rs", "fn main() { /* changed */ }\n");
    rehearse(scratch.path(), &[]).passed();
    assert!(index(scratch.path()).source.dirty);
    git(scratch.path(), &["checkout", "-q", "."]);
    git(scratch.path(), &["checkout", "-q", "--detach"]);
    git(scratch.path(), &["tag", "-d", "v1.2.3"]);
    rehearse(scratch.path(), &[]).passed();
    assert!(!index(scratch.path()).source.dirty);
    rehearse(scratch.path(), &["--require-tag"]).failed(6, "guard_tag");
    git(scratch.path(), &["checkout", "-q", "--orphan", "empty"]);
    rehearse(scratch.path(), &[]).passed();
    assert_eq!(index(scratch.path()).source.commit, None);
    assert!(index(scratch.path()).source.dirty);
    fs_err::remove_dir_all(scratch.path().join(".git")).unwrap();
    rehearse(scratch.path(), &[]).passed();
    assert_eq!(index(scratch.path()).source.commit, None);
}

#[test]
fn a_shallow_clone_is_enough() {
    let origin = small_workspace("tool", "1.2.3");
    for number in 0..3 {
        origin.write("notes", number.to_string());
        commit(origin.path(), "fix: more");
    }
    let clone = Scratch::new();
    git(clone.path(), &["clone", "-q", "--depth", "1", &format!("file://{}", origin.path()), "copy"]);
    let copy = clone.path().join("copy");
    rehearse(&copy, &[]).passed();
    assert_eq!(index(&copy).source.commit.as_deref(), Some(&*git(origin.path(), &["rev-parse", "HEAD"])));
    // The path of a clone's origin is this machine's business.
    let text = fs_err::read_to_string(bundle(&copy).join("index.json")).unwrap();
    assert!(!text.contains(origin.path().as_str()), "{text}");
}

#[test]
fn without_git_the_reason_is_named() {
    let scratch = small_workspace("tool", "1.2.3");
    let tools = Scratch::new();
    for tool in ["cargo", "rustc", "cc", "ld", "as"] {
        let Some(found) = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|path| path.join(tool))
            .find(|path| path.is_file())
        else {
            continue;
        };
        std::os::unix::fs::symlink(found, tools.path().join(tool)).unwrap();
    }
    let without = |arguments: &[&str]| {
        run(consign(scratch.path()).env("PATH", tools.path()).args(["--format", "json"]).args(arguments))
    };
    without(&["plan"]).failed(3, "git_unusable");
    fs_err::remove_dir_all(scratch.path().join(".git")).unwrap();
    without(&["plan"]).passed();
    // Without cargo there is nothing at all.
    run(consign(scratch.path()).env("PATH", "/nonexistent").args(["--format", "json", "plan"]))
        .failed(3, "tool_missing");
}

#[cfg(unix)]
#[test]
fn a_repository_of_somebody_else_is_not_trusted() {
    let scratch = small_workspace("tool", "1.2.3");
    let given = Command::new("chown").args(["-R", "65534:65534"]).arg(scratch.path()).output();
    if !missing_unless(given.is_ok_and(|output| output.status.success()), "the right to give files away") {
        return;
    }
    let error = json(scratch.path(), &["plan"]).failed(3, "git_unusable");
    assert!(error["hint"].as_str().unwrap().contains("safe.directory"), "{error}");
}

#[test]
fn hostile_settings_are_refused_with_their_place() {
    let scratch = small_workspace("tool", "1.2.3");
    let mut accepted = Vec::new();
    for settings in [
        "name = \"../x\"",
        "name = \"-x\"",
        "name = \"a b\"",
        "name = \"x\\u001b[2J\"",
        "name = \"\"",
        "name = 7",
        "binaries = [\"../tool\"]",
        "binaries = [\"--release\"]",
        "packages = [\"--manifest-path=/etc/passwd\"]",
        "packages = [\"\"]",
        "platforms = [\"linux-amd64; touch canary\"]",
        "platforms = [\"../linux-amd64\"]",
        "platforms = [\"\"]",
        "[archive]\nname-pattern = \"../{name}-{platform}\"",
        "[archive]\nname-pattern = \"/{name}-{platform}\"",
        "[archive]\nname-pattern = \"{name}/{platform}\"",
        "[archive]\nname-pattern = \"-{platform}\"",
        "[archive]\nname-pattern = \"index\"",
        "[archive]\nname-pattern = \"{platform}\\n\"",
        "[archive]\nname-pattern = \"{platform\"",
        "[archive]\nlevel = 300",
        "[archive]\nlevel = 0",
        "[archive]\nlevel = -1",
        "[archive]\nformat = \"rar\"",
        "[hooks]\nbefore-build = \"touch canary\"",
        "[hooks]\nbefore-build = [[]]",
        "[hooks]\nbefore-build = [\"\"]",
        "[hooks]\nbefore-build = [\"a\\u0000b\"]",
        "[test]\ncommand = []",
        "[test]\ncommand = \"touch canary\"",
        "[smoke]\ntimeout = \"1e99s\"",
        "[smoke]\ntimeout = \"0s\"",
        "[build]\nprofile = \"../x\"",
        "[build]\nprofile = \"--config=x\"",
        "[build]\nfeatures = [\"--config=x\", \"a b\"]",
        "[platform.linux-amd64]\ntarget = \"--config=x\"",
        "[platform.linux-amd64]\ntarget = \"../x\"",
        "[platform.linux-amd64]\ntarget = \"x86_64-unknown-linux-gnu.2.17; touch canary\"",
        "[platform.linux-amd64]\nenvironment = { \"A=B\" = \"c\" }",
        "[platform.linux-amd64]\nenvironment = { \"\" = \"c\" }",
        "[platform.linux-amd64]\nenvironment = { A = \"x\\u0000y\" }",
        "= 1",
        "a = [[[[[[[[[[[[[[[[[",
        "name = \"x\"\nname = \"y\"",
    ] {
        scratch.write("consign.toml", settings);
        let ran = rehearse(scratch.path(), &["--provider", "directory"]);
        if ![2, 3].contains(&ran.code) {
            accepted.push(format!("{settings}: {} {}", ran.code, ran.out));
        }
        let shown = run(consign(scratch.path()).arg("plan"));
        assert!(!shown.err.contains('\u{1b}') && !shown.out.contains('\u{1b}'), "{settings}: {}", shown.err);
        assert!(!scratch.path().join("canary").exists());
    }
    assert!(accepted.is_empty(), "{}", accepted.join("\n"));
    scratch.write("consign.toml", [0xff, 0xfe, 0, b'a']);
    rehearse(scratch.path(), &[]).failed(3, "config_invalid");
    scratch.write("consign.toml", vec![b'#'; (1 << 20) + 1]);
    assert_ne!(rehearse(scratch.path(), &[]).code, 0);
    fs_err::remove_file(scratch.path().join("consign.toml")).unwrap();
    fs_err::create_dir(scratch.path().join("consign.toml")).unwrap();
    assert!([0, 3].contains(&rehearse(scratch.path(), &[]).code));
}

#[test]
fn a_workspace_may_lie_anywhere() {
    let base = small_workspace("tool", "1.2.3");
    rehearse(base.path(), &[]).passed();
    let expected = fs_err::read(bundle(base.path()).join("tool-1.2.3-linux-amd64.tar.gz")).ok();
    for name in ["with space", "it's \"quoted\"", "ünïcode-日本", "a=b=c", "$(touch canary)", "-dash", "semi;colon&amp"]
    {
        let scratch = Scratch::new();
        let place = scratch.path().join(name);
        let mut copy = Command::new("cp");
        succeed(copy.arg("-R").arg("--").arg(base.path()).arg(&place));
        for left in ["target", "dist"] {
            fs_err::remove_dir_all(place.join(left)).unwrap();
        }
        rehearse(&place, &[]).passed();
        json(&place, &["verify"]).passed();
        assert!(!place.join("canary").exists() && !scratch.path().join("canary").exists());
        if let Some(expected) = &expected {
            assert!(fs_err::read(bundle(&place).join("tool-1.2.3-linux-amd64.tar.gz")).unwrap() == *expected, "{name}");
        }
    }
}

#[test]
fn a_lock_file_that_is_missing_empty_or_wrong_is_named() {
    let scratch = small_workspace("tool", "1.2.3");
    for (lock, code, word) in [
        ("version = 4\n", 3, "lock_outdated"),
        ("", 3, "lock_outdated"),
        ("garbage ][\u{1b}[2J", 3, "workspace_invalid"),
        ("version = 99\n", 3, "workspace_invalid"),
        ("version = 4\n[[package]]\nname = \"tool\"\nversion = \"9.9.9\"\n", 3, "lock_outdated"),
    ] {
        scratch.write("Cargo.lock", lock);
        let error = rehearse(scratch.path(), &[]).failed(code, word);
        assert!(error["hint"].is_string(), "{error}");
        assert!(!scratch.path().join("target").exists(), "{lock:?}");
    }
    fs_err::remove_file(scratch.path().join("Cargo.lock")).unwrap();
    rehearse(scratch.path(), &[]).passed();
    assert_eq!(packed(scratch.path()), ["LICENSE", "README.md", "bin/tool", "metadata.json"]);
}

#[cfg(unix)]
#[test]
fn an_output_directory_that_cannot_be_used_is_named() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("dist", "a file");
    rehearse(scratch.path(), &[]).failed(1, "io");
    fs_err::remove_file(scratch.path().join("dist")).unwrap();
    symlink("/nonexistent/place", scratch.path().join("dist")).unwrap();
    rehearse(scratch.path(), &[]).failed(1, "io");
    fs_err::remove_file(scratch.path().join("dist")).unwrap();
    // A link to a directory is a place like any other.
    let elsewhere = Scratch::new();
    symlink(elsewhere.path(), scratch.path().join("dist")).unwrap();
    rehearse(scratch.path(), &[]).passed();
    assert!(elsewhere.path().join("packages/v1.2.3/index.json").is_file());
    // The bundle's own place may be one too; it is replaced, and what it points to stays.
    let kept = Scratch::new();
    kept.write("precious", "x");
    fs_err::remove_dir_all(elsewhere.path().join("packages/v1.2.3")).unwrap();
    symlink(kept.path(), elsewhere.path().join("packages/v1.2.3")).unwrap();
    rehearse(scratch.path(), &[]).passed();
    assert_eq!(files_below(kept.path()).len(), 1);
    assert!(kept.path().join("precious").is_file());
    fs_err::remove_file(scratch.path().join("dist")).unwrap();
    fs_err::create_dir(scratch.path().join("dist")).unwrap();
    fs_err::set_permissions(scratch.path().join("dist"), std::fs::Permissions::from_mode(0o500)).unwrap();
    let writable = fs_err::write(scratch.path().join("dist/probe"), "").is_ok();
    if writable {
        eprintln!("skipped: root may write everywhere");
    } else {
        rehearse(scratch.path(), &[]).failed(1, "io");
    }
    fs_err::set_permissions(scratch.path().join("dist"), std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_program_that_prints_anything_is_shown_safely() {
    let scratch = configured(
        "[hooks]\nbefore-build = [\"printf\", \"\\\\033[2J\\\\033]0;title\\\\007 \\\\377\\\\376 https://u:canary@host/x\\n\"]\n",
    );
    let ran = run(consign(scratch.path()).args(["-vv", "release-pipeline", "--skip", "test"])).passed();
    assert!(!ran.err.contains(['\u{1b}', '\u{7}']) && !ran.err.contains("canary"), "{}", ran.err);
}
