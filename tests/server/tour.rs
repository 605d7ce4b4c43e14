//! The tour: from a workspace to an artifact in the registry, through the real programs.

#![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::place::{Kind, Place, Running, consign};
use crate::support::{Scratch, both, small_workspace, succeed};

fn log_in(home: &Scratch, server: &Running, token: &str) {
    let mut child =
        consign(home.path(), server, &["login"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&succeed(command.args(["--format", "json"]))).unwrap()
}

#[test]
fn a_release_becomes_an_artifact_that_is_found_and_trusted() {
    let workspace = small_workspace("tool", "1.2.3");
    let at_work = |arguments: &[&str]| succeed(crate::support::consign(workspace.path()).args(arguments));
    let keys = Scratch::new();
    let (key, public) = (keys.path().join("release.pem"), keys.path().join("release.pub.pem"));
    at_work(&["key", "generate", "--out", key.as_str()]);
    assert!(public.is_file(), "{public}");
    at_work(&["release-pipeline", "--skip", "test", "--key", key.as_str()]);
    let bundle = workspace.path().join("dist/packages/v1.2.3");
    for kind in Kind::ALL {
        let Some(mut place) = Place::new(kind, &[]) else { continue };
        place.believe(public.as_str());
        let server = place.start();
        let home = Scratch::new();
        log_in(&home, &server, &place.token("push:tool audit:*"));
        let record = workspace.path().join(format!("../{}.json", home.path().file_name().unwrap()));
        let run = |arguments: &[&str]| {
            let mut command = consign(home.path(), &server, arguments);
            command.current_dir(workspace.path());
            command
        };
        let file = ["--file", record.as_str()];
        let with_file = |arguments: &[&str]| run(&[arguments, &file].concat());
        let created = json(&mut with_file(&["artifact", "create", "--service", "tool"]));
        assert_eq!(created["source"]["branch"], Value::Null);
        succeed(&mut with_file(&["artifact", "add", "test", "--passed", "7", "--failed", "0", "--skipped", "1"]));
        succeed(&mut with_file(&["artifact", "add", "bundle", bundle.as_str()]));
        succeed(&mut with_file(&["artifact", "end"]));
        let pushed = json(&mut with_file(&["artifact", "push", "--bundle", bundle.as_str()]));
        assert_eq!((pushed["is_new"].as_bool(), pushed["verdict"].as_str()), (Some(true), Some("passed")));
        let again = json(&mut with_file(&["artifact", "push"]));
        assert_eq!((again["is_new"].as_bool(), again["files_sent"].as_u64()), (Some(false), Some(0)));
        succeed(&mut with_file(&["artifact", "successful"]));
        let id = created["id"].as_str().unwrap();
        let listed = succeed(&mut run(&["artifact", "list", "--service", "tool"]));
        assert!(listed.contains(id) && listed.contains("passed") && listed.contains("successful"), "{listed}");
        let shown = succeed(&mut run(&["artifact", "show", id]));
        // The chain, link by link.
        let index = consign::model::Digest::of(&fs_err::read(bundle.join("index.json")).unwrap());
        let key = consign::trust::key::PublicKey::from_pem(&fs_err::read(&public).unwrap()).unwrap().id().to_string();
        let links = [
            ("commit", created["source"]["sha"].as_str().unwrap()),
            ("-> run", "not recorded"),
            ("-> test", "7 passed, 0 failed, 1 skipped"),
            ("-> bundle", &format!("sha256:{index}")),
            ("-> signature", &key[..16]),
            ("-> verdict", "verification passed by consign:keys"),
        ];
        let lines: Vec<_> = shown.lines().skip(1).take(links.len()).collect();
        for (line, (link, what)) in lines.iter().zip(links) {
            assert!(line.starts_with(link) && line.contains(what), "{link}: {what} is not in {shown}");
        }
        succeed(&mut run(&["artifact", "track", id, "--wait", "--timeout", "5"]));
        let first = json(&mut run(&["audit", "verify"]));
        assert_eq!(first["grown_from"], Value::Null);
        let changes = json(&mut run(&["audit", "list"]));
        let verbs: Vec<_> = changes.as_array().unwrap().iter().map(|change| change["verb"].as_str().unwrap()).collect();
        assert_eq!(verbs, ["token.create", "token.create", "artifact.push", "artifact.outcome"]);
        assert_eq!(json(&mut run(&["audit", "verify"]))["grown_from"], first["size"]);
        fs_err::remove_file(record).unwrap();
        server.stop();
        assert_eq!(place.sound(), 1);
    }
}

/// The tour of the README: a server with no configuration, the bundle of the pipeline, the chain.
#[test]
fn the_tour_of_the_readme_ends_in_the_registry() {
    let workspace = small_workspace("tool", "1.2.3");
    let outside = Scratch::new();
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let home = Scratch::new();
    log_in(&home, &server, &server.admin.clone().unwrap());
    let run = |arguments: &[&str]| {
        let mut command = consign(home.path(), &server, arguments);
        // What was kept by `login` lies below the state's directory; cargo needs the machine's own home.
        succeed(command.current_dir(workspace.path()).env("HOME", std::env::var("HOME").unwrap()))
    };
    let target = outside.path().join("releases");
    run(&[
        "release-pipeline",
        "v1.2.3",
        "--mode",
        "release",
        "--skip",
        "test",
        "--require-tag",
        "--provider",
        "directory",
        "--target",
        target.as_str(),
        "--register",
        &server.address,
    ]);
    let listed = run(&["artifact", "list", "--service", "tool"]);
    let id = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(id.starts_with("v1.2.3-"), "{listed}");
    let shown = run(&["artifact", "show", &id]);
    let commit = crate::support::git(workspace.path(), &["rev-parse", "HEAD"]);
    let index = consign::model::Digest::of(&fs_err::read(target.join("v1.2.3/index.json")).unwrap());
    for part in [
        format!("{commit} (tag, tag v1.2.3)"),
        "programs tool".to_owned(),
        format!("publish: url file://{target}/v1.2.3"),
        format!("sha256:{index}"),
        // This server was told to believe nobody.
        "verification unchecked".to_owned(),
    ] {
        assert!(shown.contains(&part), "{part} is not in {shown}");
    }
    run(&["register"]);
    assert!(run(&["audit", "verify"]).contains("are those of the signed checkpoint"));
}

#[test]
fn a_log_that_lost_a_line_is_not_the_one_that_was_seen() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let home = Scratch::new();
    log_in(&home, &server, &server.admin.clone().unwrap());
    let _ = place.token("read:*");
    succeed(&mut consign(home.path(), &server, &["audit", "verify"]));
    server.stop();
    // Another database with the same key: as if somebody had begun again and said nothing.
    for name in ["consign.sqlite", "consign.sqlite-wal", "consign.sqlite-shm"] {
        let _ = fs_err::remove_file(place.data().join(name));
    }
    let server = place.start();
    log_in(&home, &server, &server.admin.clone().unwrap());
    // What is remembered is remembered of an address, and this one has another port.
    let state = home.path().join("state/consign/audit");
    let old = consign::world::files::list(&state).unwrap().remove(0).0;
    let name = consign::model::Digest::of(server.address.as_bytes());
    fs_err::rename(state.join(old), state.join(format!("{name}.json"))).unwrap();
    let output = consign(home.path(), &server, &["audit", "verify", "--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    assert!(both(&output).contains("store_damaged"), "{}", both(&output));
}

#[test]
fn whoever_waits_learns_how_the_run_ended() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let home = Scratch::new();
    log_in(&home, &server, &server.admin.clone().unwrap());
    let run = |arguments: &[&str]| consign(home.path(), &server, arguments).output().unwrap();
    let code = |arguments: &[&str]| run(arguments).status.code();
    assert_eq!(code(&["artifact", "track", "one", "--service", "web"]), Some(0));
    assert_eq!(code(&["artifact", "track", "one", "--service", "web", "--wait", "--timeout", "0"]), Some(1));
    assert_eq!(code(&["artifact", "create", "--service", "web", "--id", "one", "--sha", "0123456789"]), Some(0));
    assert_eq!(code(&["artifact", "failure"]), Some(0), "a build does not fail because the registry was not told");
    assert_eq!(code(&["artifact", "push"]), Some(0));
    assert_eq!(code(&["artifact", "failure", "--note", "no tests"]), Some(0));
    assert_eq!(code(&["artifact", "track", "one", "--wait"]), Some(1));
    assert_eq!(code(&["artifact", "show", "two"]), Some(5));
    let document: Value =
        serde_json::from_slice(&run(&["artifact", "show", "two", "--format", "json"]).stdout).unwrap();
    assert_eq!(document["code"], "artifact_unknown");
}

#[test]
fn a_backup_is_a_server_again() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let record = crate::place::record("web", "one").to_string();
    server.ask("POST", "/api/v1/artifacts", Some(&admin), record).is(201);
    let copy = place.scratch.path().join("copy");
    // While it runs.
    succeed(place.command(&["backup", copy.as_str()]).args(["--format", "json"]));
    let refused = place.command(&["backup", copy.as_str(), "--format", "json"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(6), "{}", both(&refused));
    let again = Place::new(Kind::Sqlite, &[]).unwrap();
    succeed(&mut again.command(&["restore", copy.as_str()]));
    assert_eq!(again.sound(), 1);
    let restored = again.start();
    assert!(restored.admin.is_none());
    restored.ask("GET", "/api/v1/services/web/artifacts/one", Some(&admin), "").is(200);
}

#[test]
fn what_is_damaged_is_found() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let home = Scratch::new();
    log_in(&home, &server, &server.admin.clone().unwrap());
    home.write("deploy/dev/a.yaml", "a: 1\n");
    let run = |arguments: &[&str]| succeed(&mut consign(home.path(), &server, arguments));
    run(&["artifact", "create", "--service", "web", "--id", "one", "--sha", "0123456789"]);
    run(&["artifact", "push", "--payload", "deploy"]);
    server.stop();
    assert_eq!(place.sound(), 1);
    let directory = place.data().join("blobs/sha256");
    let (below, _) = consign::world::files::list(&directory).unwrap().remove(0);
    let (blob, _) = consign::world::files::list(&directory.join(&below)).unwrap().remove(0);
    fs_err::write(directory.join(below).join(blob), "something else").unwrap();
    let output = place.command(&["fsck", "--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(both(&output).contains("not those of its digest"), "{}", both(&output));
}
