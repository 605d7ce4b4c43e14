//! Environments that want proof: what is not proven, or is no longer what was proven, never reaches one, whenever it
//! was changed.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::{Child, Command, Stdio};

use camino::Utf8PathBuf;
use consign::model::Digest;
use consign::trust::key::{Algorithm, Signer};
use consign::trust::private::PrivateKey;
use serde_json::{Value, json};

use crate::fixture::{COMMIT, Files, bundle_fixture, signed_with};
use crate::manager::Managed;
use crate::place::{Kind, Place};
use crate::support::{need, succeed};

const WANTED: &str = "[[policy]]\nkind = \"evidence\"\nenvironment = \"prod\"\nverified_bundle = true\n";

struct Scene {
    managed: Managed,
    bundle: Files,
    token: String,
}

impl Scene {
    /// A server that believes one key, and wants its signature for `prod`.
    fn new() -> Self {
        let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let path = place.scratch.write("release.pub", key.public().to_pem());
        place.believe(path.as_str());
        succeed(Command::new("git").current_dir(place.scratch.path()).args([
            "init",
            "--quiet",
            "--bare",
            "config.git",
        ]));
        let key: Box<dyn Signer> = Box::new(key);
        let bundle = signed_with(&bundle_fixture(), &[key]);
        let token = place.token("admin:*");
        let scene = Self { managed: Managed::over(place, "repository = \"config.git\"\n", WANTED), bundle, token };
        for bytes in scene.bundle.values() {
            let path = format!("/api/v1/blobs/{}", Digest::of(bytes));
            scene.managed.server.ask("PUT", &path, Some(&scene.token), bytes.clone()).is(201);
        }
        scene
    }

    /// Pushes an artifact with manifests and the bundle that is signed.
    fn push(&self, id: &str) {
        let listed = self
            .bundle
            .iter()
            .map(|(name, bytes)| (name.clone(), json!({ "sha256": Digest::of(bytes), "size_bytes": bytes.len() })));
        let files: serde_json::Map<_, _> = listed.collect();
        self.managed.push_with("tool", id, &["dev", "prod"], |record| {
            record["source"]["sha"] = COMMIT.into();
            record["bundle"] = json!({ "files": files });
        });
    }

    fn release(&self, id: &str) -> Child {
        let mut command =
            self.managed.run(&["release", "--service", "tool", "--env", "prod", "--artifact", id, "--wait"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The release of an artifact that was asked for last.
    fn last(&self, id: &str) -> Value {
        let path = format!("/api/v1/releases?service=tool&artifact={id}&limit=1");
        self.managed.server.ask("GET", &path, Some(&self.token), "").is(200).json()["releases"][0].clone()
    }

    /// Whether the repository takes anything.
    fn open(&self, is_open: bool) {
        let hook = self.managed.place.scratch.path().join("config.git/hooks/pre-receive");
        if is_open {
            fs_err::remove_file(hook).unwrap();
        } else {
            fs_err::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs_err::set_permissions(hook, mode).unwrap();
        }
    }

    fn sql(&self, statement: &str) {
        let file = self.managed.place.data().join("consign.sqlite");
        succeed(Command::new("sqlite3").args(["-cmd", ".timeout 10000", file.as_str(), statement]));
    }

    /// Where the payload of an artifact is kept.
    fn payload(&self, id: &str) -> Utf8PathBuf {
        let path = format!("/api/v1/services/tool/artifacts/{id}");
        let shown = self.managed.server.ask("GET", &path, Some(&self.token), "").is(200).json();
        let sha256 = shown["artifact"]["payload"]["sha256"].as_str().unwrap().to_owned();
        self.managed.place.data().join("blobs/sha256").join(&sha256[..2]).join(sha256)
    }

    /// Has a release judged, keeps it from being written, changes something, and lets it be written: gives what it
    /// came to.
    fn changed_on_its_way(&self, id: &str, change: impl FnOnce(&Self)) -> Value {
        self.push(id);
        self.open(false);
        let mut releasing = self.release(id);
        let is_held_up = |release: &Value| release["reason"].as_str().is_some_and(|why| why.contains("tried again"));
        while !is_held_up(&self.last(id)) {
            std::thread::yield_now();
        }
        change(self);
        self.open(true);
        let ended = releasing.wait().unwrap();
        let release = self.last(id);
        assert_eq!(ended.success(), release["state"] == "pushed", "{release}");
        release
    }
}

#[test]
fn what_is_changed_between_the_check_and_the_commit_is_not_committed() {
    if !need("sqlite3") {
        return;
    }
    let scene = Scene::new();
    let row = |set: &str, id: &str| format!("UPDATE artifact SET {set} WHERE id = '{id}'");
    let other = "0".repeat(64);
    let changes = [
        ("verdict", "verdict = 'unchecked'".to_owned(), "policy_refused"),
        ("belief", format!("policy = '{other}'"), "policy_refused"),
        ("record", "record = replace(record, 'Change ', 'Changed ')".to_owned(), "store_damaged"),
        ("digest", format!("sha256 = '{other}'"), "artifact_unknown"),
    ];
    for (id, set, code) in changes {
        let release = scene.changed_on_its_way(id, |scene| scene.sql(&row(&set, id)));
        assert_eq!(
            (release["state"].as_str(), release["code"].as_str()),
            (Some("failed"), Some(code)),
            "{id}: {release}"
        );
    }
    let release = scene.changed_on_its_way("payload", |scene| {
        let path = scene.payload("payload");
        let bytes = fs_err::read(&path).unwrap();
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs_err::write(&path, bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()).unwrap();
    });
    assert_eq!(
        (release["state"].as_str(), release["code"].as_str()),
        (Some("failed"), Some("store_damaged")),
        "{release}"
    );
    assert!(scene.managed.config(&["for-each-ref"]).is_empty(), "something was committed");
    // What is still what it was goes on when the repository takes it.
    let release = scene.changed_on_its_way("good", |_| {});
    assert_eq!(release["state"], "pushed", "{release}");
    assert_eq!(scene.managed.subjects().len(), 1);
}

#[test]
fn what_is_not_proven_is_refused_where_proof_is_wanted() {
    let scene = Scene::new();
    scene.push("proven");
    scene.managed.push_of("tool", "bare", "main", &["dev", "prod"]);
    let release = |id: &str, environment: &str| {
        let arguments = ["release", "--service", "tool", "--env", environment, "--artifact", id, "--wait"];
        scene.managed.run(&arguments).output().unwrap()
    };
    assert!(release("bare", "dev").status.success());
    let refused = release("bare", "prod");
    let said = crate::support::both(&refused);
    assert!(refused.status.code() == Some(6) && said.contains("no bundle that could be verified"), "{said}");
    // Neither by promoting nor backwards.
    let promoted = scene.managed.refused(&["promote", "--service", "tool", "--env", "prod"]);
    assert_eq!(promoted.0, 6, "{}", promoted.1);
    assert!(release("proven", "prod").status.success());
    assert_eq!(scene.managed.subjects().len(), 2);
}

#[test]
fn what_is_damaged_keeps_automation_from_nothing_else() {
    if !need("sqlite3") {
        return;
    }
    let scene = Scene::new();
    let apply = ["policy", "apply", "auto-release", "--service", "web", "--branch", "main", "--env", "dev"];
    succeed(&mut scene.managed.run(&apply));
    scene.managed.push("main-1", "main");
    scene.managed.until("dev", "main-1");
    // Everything is gone through once more, and begins with what cannot be read.
    scene.sql(
        "BEGIN IMMEDIATE; UPDATE artifact SET record = 'x' WHERE id = 'main-1'; UPDATE bookmark SET position = 0; COMMIT",
    );
    scene.managed.push("main-2", "main");
    scene.managed.until("dev", "main-2");
}
