//! The pipeline's last stage: what was published becomes an artifact, once, and stays published whatever
//! becomes of that.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::{Command, Output};

use serde_json::Value;

use crate::place::{Kind, Place, Running, consign};
use crate::support::{Scratch, both, git, small_workspace, succeed};

/// A workspace with a key, a place to publish to, and somebody who releases.
struct Scene {
    workspace: Scratch,
    home: Scratch,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { workspace: small_workspace("tool", "1.2.3"), home: Scratch::new() };
        scene.ok(None, &["key", "generate", "--out", scene.path("release.pem").as_str()]);
        scene
    }

    fn path(&self, name: &str) -> camino::Utf8PathBuf {
        self.home.path().join(name)
    }

    /// A server that believes the key, and a token for it.
    fn server(&self, kind: Kind) -> Option<(Place, Running, String)> {
        let mut place = Place::new(kind, &[])?;
        place.believe(self.path("release.pub.pem").as_str());
        let server = place.start();
        let token = place.token("push:tool");
        Some((place, server, token))
    }

    fn run(&self, token: Option<&str>, arguments: &[&str]) -> Output {
        let mut command = crate::support::consign(self.workspace.path());
        command.args(arguments).env("XDG_STATE_HOME", self.path("state"));
        if let Some(token) = token {
            command.env("CONSIGN_TOKEN", token);
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn ok(&self, token: Option<&str>, arguments: &[&str]) -> Value {
        let output = self.run(token, &[arguments, &["--format", "json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    #[track_caller]
    fn fails(&self, token: Option<&str>, exit: i32, code: &str, arguments: &[&str]) -> Value {
        let output = self.run(token, &[arguments, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", both(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["code"], code, "{document}");
        document
    }

    fn release(&self, more: &[&str]) -> Vec<String> {
        let fixed = ["release-pipeline", "v1.2.3", "--mode", "release", "--skip", "test,smoke"];
        let (key, target) = (self.path("release.pem"), self.path("releases"));
        let mut line: Vec<_> = fixed.map(str::to_owned).to_vec();
        line.extend(["--key", key.as_str(), "--provider", "directory", "--target", target.as_str()].map(str::to_owned));
        line.extend(more.iter().map(|word| (*word).to_owned()));
        line
    }
}

fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

fn stage<'a>(journal: &'a Value, name: &str) -> &'a Value {
    journal["stages"].as_array().unwrap().iter().find(|record| record["stage"] == name).unwrap()
}

fn artifacts(server: &Running, token: &str) -> Vec<Value> {
    let listed = server.ask("GET", "/api/v1/artifacts", Some(token), "").is(200).json();
    listed["artifacts"].as_array().unwrap().clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("nobody")
}

#[test]
fn a_published_bundle_becomes_an_artifact_once() {
    let scene = Scene::new();
    for kind in Kind::ALL {
        let Some((place, server, token)) = scene.server(kind) else { continue };
        let line = scene.release(&["--register", &server.address]);
        let planned = scene.ok(None, &[&words(&line)[..], &["--dry-run"]].concat());
        assert_eq!(stage(&planned, "register")["runs"], true);
        assert!(stage(&planned, "register")["does"].as_str().unwrap().contains(&server.address));
        let rehearsal = scene.ok(Some(&token), &["plan", "--provider", "directory", "--target", "x"]);
        assert_eq!(stage(&rehearsal, "register")["runs"], false);
        // In a job of a forge, for a tag.
        let mut command = crate::support::consign(scene.workspace.path());
        command.args(&line).args(["--format", "json"]).env("CONSIGN_TOKEN", &token);
        command.env("GITHUB_REPOSITORY", "example/tool").env("GITHUB_RUN_ID", "7");
        command.env("GITHUB_REF", "refs/tags/v1.2.3").env("XDG_STATE_HOME", scene.path("state"));
        let journal: Value = serde_json::from_str(&succeed(&mut command)).unwrap();
        let detail = stage(&journal, "register")["detail"].as_str().unwrap();
        assert!(detail.starts_with("registered tool/v1.2.3-") && detail.ends_with("verification passed"), "{detail}");
        let found = artifacts(&server, &token);
        let [known] = found.as_slice() else { panic!("{found:?}") };
        let artifact = &known["artifact"];
        let commit = git(scene.workspace.path(), &["rev-parse", "HEAD"]);
        assert_eq!(artifact["source"]["sha"], *commit);
        let said = git(scene.workspace.path(), &["show", "--no-patch", "--format=%an <%ae> %cn <%ce> %B", "HEAD"]);
        let source = &artifact["source"];
        let person = |who: &str| format!("{} <{}>", text(&source[who]["name"]), text(&source[who]["email"]));
        assert_eq!(format!("{} {} {}", person("author"), person("committer"), text(&source["message"])), said.trim());
        assert_eq!((&artifact["source"]["event"], &artifact["source"]["tag"]), (&"tag".into(), &"v1.2.3".into()));
        assert_eq!(artifact["ci"]["job_url"], "https://github.com/example/tool/actions/runs/7");
        let bundle = scene.workspace.path().join("dist/packages/v1.2.3");
        for name in ["provenance.json", "index.json", "checksums.txt"] {
            let digest = consign::model::Digest::of(&fs_err::read(bundle.join(name)).unwrap()).to_string();
            assert_eq!(artifact["digests"][name], *digest);
            assert_eq!(artifact["bundle"]["files"][name]["sha256"], *digest);
        }
        let url = artifact["bundle"]["index_url"].as_str().unwrap();
        assert!(url.ends_with("v1.2.3/index.json"), "{url}");
        assert!(scene.workspace.path().join("dist/releases/v1.2.3/register.json").is_file());
        // Again, in another job at another time, by either verb: nothing changes.
        let again = scene.ok(Some(&token), &words(&line));
        let detail = stage(&again, "register")["detail"].as_str().unwrap();
        assert!(detail.starts_with("unchanged tool/v1.2.3-"), "{detail}");
        let alone = scene.ok(Some(&token), &["register", "v1.2.3", "--server", &server.address]);
        assert_eq!((&alone["status"], &alone["files_sent"]), (&"unchanged".into(), &0.into()));
        assert_eq!(artifacts(&server, &token), found);
        server.stop();
        assert_eq!(place.sound(), 1);
    }
}

#[test]
fn a_release_stays_published_when_the_registry_is_away() {
    let scene = Scene::new();
    let (_gone_place, gone, _) = scene.server(Kind::Sqlite).unwrap();
    let nowhere = gone.address.clone();
    gone.stop();
    let line = scene.release(&["--register", &nowhere]);
    // Whoever has no token learns it before anything is published.
    scene.fails(None, 3, "token_missing", &words(&line));
    assert!(!scene.path("releases").exists());
    let failure = scene.fails(Some("rel_x"), 5, "remote_unavailable", &words(&line));
    let (message, hint) = (failure["message"].as_str().unwrap(), failure["hint"].as_str().unwrap());
    assert!(message.contains("v1.2.3 is published, and was not registered"), "{message}");
    assert!(hint.contains("consign register v1.2.3"), "{hint}");
    let published = scene.path("releases/v1.2.3");
    assert!(published.join("index.json").is_file());
    scene.ok(None, &["remote-verify", "--base-url", published.as_str()]);
    let summary = scene.workspace.path().join("dist/releases/v1.2.3/release-summary.json");
    assert!(summary.is_file(), "the summary of what was published does not wait for the registry");
    // Later, as the hint says.
    let (_place, server, token) = scene.server(Kind::Sqlite).unwrap();
    let done = scene.ok(Some(&token), &["register", "v1.2.3", "--server", &server.address]);
    assert_eq!((&done["status"], &done["verdict"]), (&"registered".into(), &"passed".into()));
    // Or by the stage alone.
    let line = scene.release(&["--from", "register", "--register", &server.address]);
    let journal = scene.ok(Some(&token), &words(&line));
    assert_eq!(stage(&journal, "publish")["status"], "skipped");
    assert!(stage(&journal, "register")["detail"].as_str().unwrap().starts_with("unchanged"));
}

#[test]
fn what_is_not_published_or_not_allowed_does_not_become_an_artifact() {
    let scene = Scene::new();
    let (place, server, token) = scene.server(Kind::Sqlite).unwrap();
    scene.ok(None, &["release-pipeline", "v1.2.3", "--skip", "test,smoke"]);
    let register = ["register", "v1.2.3", "--server", &server.address];
    scene.fails(Some(&token), 3, "build_missing", &register);
    let other = place.token("push:other");
    let line = scene.release(&["--register", &server.address]);
    let failure = scene.fails(Some(&other), 6, "forbidden", &words(&line));
    assert!(failure["hint"].as_str().unwrap().contains("registers it later"), "{failure}");
    assert!(scene.path("releases/v1.2.3/index.json").is_file());
    // The settings may name registry and service.
    let settings = format!("[registry]\nurl = \"{}\"\nservice = \"other\"\n", server.address);
    let file = scene.home.write("consign.toml", settings);
    let done = scene.ok(Some(&other), &["register", "v1.2.3", "--config", file.as_str()]);
    assert_eq!(done["service"], "other");
    // What was built anew, with other bytes, is not what was published.
    let index = scene.workspace.path().join("dist/releases/v1.2.3/publish.json");
    let report = fs_err::read_to_string(&index).unwrap();
    let digest = consign::model::Digest::of(b"other").to_string();
    let known = done["sha256"].as_str().unwrap().to_owned();
    assert_ne!(known, digest);
    let bundle = scene.workspace.path().join("dist/packages/v1.2.3/index.json");
    let of_index = consign::model::Digest::of(&fs_err::read(bundle).unwrap()).to_string();
    fs_err::write(&index, report.replace(&of_index, &digest)).unwrap();
    scene.fails(Some(&other), 3, "build_missing", &["register", "v1.2.3", "--config", file.as_str()]);
}

#[test]
fn the_registry_is_named_by_an_address_that_is_one() {
    let scene = Scene::new();
    for wrong in ["http://example.com", "x", "https://u:canary@example.com"] {
        let line = scene.release(&["--register", wrong]);
        let output = scene.run(Some("rel_x"), &words(&line));
        assert!(matches!(output.status.code(), Some(2 | 3 | 5)), "{wrong}: {}", both(&output));
        assert!(!both(&output).contains("canary"), "{}", both(&output));
        assert!(!scene.path("releases").exists());
    }
    let file = scene.home.write("consign.toml", "[registry]\nurl = \"nowhere\"\n");
    scene.fails(None, 3, "config_invalid", &["plan", "--config", file.as_str()]);
}

/// The same command twice is one artifact, even where both run at once.
#[test]
fn two_runs_at_once_make_one_artifact() {
    let scene = Scene::new();
    let (place, server, token) = scene.server(Kind::Sqlite).unwrap();
    scene.ok(None, &words(&scene.release(&[])));
    // The output directory has one user at a time, so the other one has a copy of it.
    let other = Scratch::new();
    let copied = Command::new("cp").args(["-a", scene.workspace.path().as_str(), other.path().as_str()]).status();
    assert!(copied.unwrap().success());
    let copy = other.path().join(scene.workspace.path().file_name().unwrap());
    let start = |directory: &camino::Utf8Path| {
        let mut command = consign(directory, &server, &["register", "v1.2.3"]);
        command.env("CONSIGN_TOKEN", &token).spawn().unwrap()
    };
    let mut both = [start(scene.workspace.path()), start(&copy)];
    let ended = both.each_mut().map(|child| child.wait().unwrap().success());
    assert_eq!(ended, [true, true]);
    assert_eq!(artifacts(&server, &token).len(), 1);
    server.stop();
    assert_eq!(place.sound(), 1);
}
