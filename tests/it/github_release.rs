//! Releases on GitHub through the command itself, against the stand-in.

use std::process::Command;

use camino::Utf8Path;
use serde_json::json;

use crate::github_server::{Files, GitHub, Harm, REPOSITORY, TOKEN};
use crate::support::{Scratch, consign, git, small_workspace};
use crate::workspaces::{Ran, bundle, files_below, run};

const ON_GITHUB: [&str; 4] = ["--provider", "github", "--target", REPOSITORY];
const RELEASE: [&str; 5] = ["release-pipeline", "--skip", "test", "--mode", "release"];

/// A workspace, and a stand-in that has its tag.
fn scene() -> (Scratch, GitHub) {
    let (scratch, server) = (small_workspace("tool", "1.2.3"), GitHub::start());
    server.state().tag("v1.2.3", &git(scratch.path(), &["rev-parse", "HEAD"]));
    (scratch, server)
}

/// The command as it is run by a workflow on that server.
fn command(directory: &Utf8Path, server: &GitHub) -> Command {
    let mut command = consign(directory);
    command.env("GH_TOKEN", TOKEN).env("GITHUB_API_URL", server.api.url("api/v3"));
    command.env("GITHUB_SERVER_URL", server.web.url("").trim_end_matches('/'));
    command.args(["--format", "json"]);
    command
}

#[track_caller]
fn ask(directory: &Utf8Path, server: &GitHub, arguments: &[&str]) -> Ran {
    let ran = run(command(directory, server).args(arguments));
    assert!(!ran.out.contains(TOKEN) && !ran.err.contains(TOKEN), "{}{}", ran.out, ran.err);
    ran
}

fn here(workspace: &Utf8Path) -> Files {
    let files = files_below(&bundle(workspace)).into_iter();
    files.map(|path| (path.file_name().unwrap().to_owned(), fs_err::read(&path).unwrap())).collect()
}

#[test]
fn a_release_reaches_github_and_is_verified_as_a_stranger_finds_it() {
    let (scratch, server) = scene();
    let at = scratch.path();
    let ran = ask(at, &server, &[&RELEASE[..], &ON_GITHUB, &["-vv"]].concat()).passed();
    for stage in ["publish", "remote-verify", "summary"] {
        let stages = ran.json()["stages"].clone();
        let record = stages.as_array().unwrap().iter().find(|record| record["stage"] == stage).unwrap().clone();
        assert_eq!(record["status"], "passed", "{record}");
    }
    assert_eq!(server.visible("v1.2.3"), Some(here(at)));
    let page = format!("{REPOSITORY}/releases/tag/v1.2.3");
    let reports = at.join("dist/releases/v1.2.3");
    assert_eq!(
        fs_err::read_to_string(reports.join("release-url.txt")).unwrap(),
        format!("{}\n", server.web.url(&page))
    );
    let published: serde_json::Value =
        serde_json::from_slice(&fs_err::read(reports.join("publish.json")).unwrap()).unwrap();
    let base = server.web.url(&format!("{REPOSITORY}/releases/download/v1.2.3"));
    assert_eq!((&published["provider"], &published["base_url"]), (&json!("github"), &json!(base)));
    let notes = fs_err::read_to_string(reports.join("release-notes.md")).unwrap();
    assert!(server.state().releases[0].body.starts_with(notes.trim_end()));
    // Everybody else fetches it without a token: the stand-in looks.
    assert!(server.state().log.iter().any(|seen| seen.door == "web" && seen.path.ends_with("/index.json")));
    for path in files_below(&at.join("dist")) {
        assert!(!String::from_utf8_lossy(&fs_err::read(&path).unwrap()).contains(TOKEN), "{path}");
    }
    let before = server.writes();
    let again = ask(at, &server, &[&["publish"], &ON_GITHUB[..]].concat()).passed().json();
    assert_eq!((&again["status"], server.writes()), (&json!("unchanged"), before));
    let verified = ask(at, &server, &[&["remote-verify", "v1.2.3"], &ON_GITHUB[..]].concat()).passed().json();
    assert_eq!((&verified["status"], &verified["base_url"]), (&json!("passed"), &json!(base)));
    server.check();
}

#[test]
fn what_is_wrong_with_the_place_is_found_before_anything_is_built() {
    let (scratch, server) = scene();
    let at = scratch.path();
    let arguments = [&RELEASE[..], &ON_GITHUB].concat();
    let doctor = [&["doctor", "--mode", "release"], &ON_GITHUB[..]].concat();
    assert_eq!(ask(at, &server, &doctor).passed().json()["ready"], true);
    let without = run(command(at, &server).env_remove("GH_TOKEN").args(&arguments));
    without.failed(3, "token_missing");
    server.state().tags.clear();
    let failed = ask(at, &server, &arguments).failed(6, "guard_tag");
    assert!(failed["hint"].as_str().unwrap().contains("git push origin v1.2.3"), "{failed}");
    let told = ask(at, &server, &doctor);
    assert_eq!((told.code, &told.json()["ready"]), (6, &json!(false)));
    assert!(!at.join("dist/packages").exists(), "something was built");
    assert_eq!(server.writes(), [""; 0]);
    // A rehearsal asks nobody.
    let before = server.state().log.len();
    ask(at, &server, &[&["plan"], &ON_GITHUB[..]].concat()).passed();
    assert_eq!(server.state().log.len(), before);
    let wrong = ask(at, &server, &["plan", "--provider", "github", "--target", "https://user:canary@x/o/r"]);
    assert!(!wrong.failed(3, "config_invalid").to_string().contains("canary"));
}

#[test]
fn stored_bytes_that_do_not_verify_are_never_visible() {
    let (scratch, server) = scene();
    let at = scratch.path();
    server.fault("GET", "/blob/", Harm::Answer("200 OK", String::new(), json!("spoiled")));
    let failed = ask(at, &server, &[&RELEASE[..], &ON_GITHUB].concat());
    assert_eq!(failed.code, 4, "{}{}", failed.out, failed.err);
    assert_eq!(server.visible("v1.2.3"), None);
    // What is published by somebody else under the same version stays, and is told.
    server.state().releases.clear();
    let mut files = here(at);
    files.get_mut("checksums.txt").unwrap()[0] ^= 1;
    server.state().put("v1.2.3", false, "", files.clone());
    let before = server.writes();
    let refused = ask(at, &server, &[&["publish"], &ON_GITHUB[..]].concat()).failed(6, "version_published");
    assert_eq!((&refused["subject"], server.writes()), (&json!("checksums.txt"), before));
    assert_eq!(server.visible("v1.2.3"), Some(files));
}

#[test]
fn a_private_repository_is_verified_by_those_who_may() {
    let (scratch, server) = scene();
    let at = scratch.path();
    server.state().private = true;
    // The repository is the workflow's own where none is named.
    let ran =
        run(command(at, &server).env("GITHUB_REPOSITORY", REPOSITORY).args(RELEASE).args(["--provider", "github"]));
    ran.passed();
    assert_eq!(server.visible("v1.2.3"), Some(here(at)));
    assert!(server.state().log.iter().all(|seen| seen.door != "web"), "nobody else may look");
    let verified = ask(at, &server, &[&["remote-verify", "v1.2.3"], &ON_GITHUB[..]].concat()).passed().json();
    assert_eq!(verified["status"], "passed");
    server.check();
}
