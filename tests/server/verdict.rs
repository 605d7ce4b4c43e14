//! A verdict is about digests and about what was believed when it was made: another root makes another
//! verdict, and nothing but `passed` is ever shown as that.

use std::process::Command;

use camino::Utf8PathBuf;
use consign::model::Digest;
use consign::trust::key::Signer;
use consign::trust::private::PrivateKey;
use serde_json::{Value, json};

use crate::fixture::{COMMIT, Files, bundle_fixture, signed_with};
use crate::place::{Kind, Place, Running, record};
use crate::support::{self, Scratch, both, succeed};

/// Keys and the root of a catalog, which can be replaced.
struct Holder {
    scratch: Scratch,
}

impl Holder {
    fn new() -> Self {
        let holder = Self { scratch: Scratch::new() };
        for name in ["holder", "release", "new", "ci"] {
            holder.ok(&["key", "generate", "--out", &format!("{name}.pem")]);
        }
        holder.ok(&[
            "trust",
            "init",
            "releases",
            "--root-key",
            "holder.pem",
            "--targets-key",
            "release.pem",
            "--snapshot-key",
            "ci.pem",
            "--timestamp-key",
            "ci.pem",
        ]);
        fs_err::copy(holder.path("releases/tuf/root.json"), holder.path("pinned.json")).unwrap();
        holder
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.scratch.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = support::consign(self.scratch.path());
        command.args(arguments).env("XDG_STATE_HOME", self.path("state")).env("HOME", self.scratch.path());
        command
    }

    fn ok(&self, arguments: &[&str]) -> String {
        succeed(&mut self.command(arguments))
    }

    /// Puts a new root in the place of the one that the server reads.
    fn replace_root(&self) {
        let signer = self.key_id("release.pub.pem");
        self.ok(&[
            "trust",
            "rotate",
            "--role",
            "targets",
            "--old",
            &signer,
            "--new",
            "new.pub.pem",
            "--target",
            "releases",
            "--key",
            "holder.pem",
            "--key",
            "new.pem",
            "--key",
            "ci.pem",
        ]);
        fs_err::copy(self.path("releases/tuf/root.json"), self.path("pinned.json")).unwrap();
    }

    fn key_id(&self, name: &str) -> String {
        let pem = fs_err::read(self.path(name)).unwrap();
        consign::trust::key::PublicKey::from_pem(&pem).unwrap().id().to_string()
    }

    fn signed(&self, name: &str) -> Files {
        let pem = fs_err::read(self.path(name)).unwrap();
        let key: Box<dyn Signer> = Box::new(PrivateKey::from_pem(&pem).unwrap());
        signed_with(&bundle_fixture(), &[key])
    }
}

fn push(server: &Running, admin: &str, id: &str, files: &Files) -> crate::place::Answer {
    for bytes in files.values() {
        let path = format!("/api/v1/blobs/{}", Digest::of(bytes));
        assert!(matches!(server.ask("PUT", &path, Some(admin), bytes.clone()).status, 200 | 201));
    }
    let listed: serde_json::Map<_, _> = files
        .iter()
        .map(|(name, bytes)| (name.clone(), json!({ "sha256": Digest::of(bytes), "size_bytes": bytes.len() })))
        .collect();
    let mut record = record("tool", id);
    record["source"]["sha"] = COMMIT.into();
    record["bundle"] = json!({ "files": listed });
    server.ask("POST", "/api/v1/artifacts", Some(admin), record.to_string())
}

fn listed(server: &Running, admin: &str) -> Vec<(String, String)> {
    let page = server.ask("GET", "/api/v1/artifacts", Some(admin), "").is(200).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |known: &Value| (text(&known["artifact"]["id"]), text(&known["verdict"]));
    page["artifacts"].as_array().unwrap().iter().map(row).collect()
}

fn shown(server: &Running, admin: &str, id: &str) -> Value {
    server.ask("GET", &format!("/api/v1/services/tool/artifacts/{id}"), Some(admin), "").is(200).json()
}

fn policy(shown: &Value) -> String {
    let envelope: consign::trust::dsse::Envelope = serde_json::from_str(shown["summary"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&envelope.body().unwrap()).unwrap();
    statement["predicate"]["policy"]["uri"].as_str().unwrap().to_owned()
}

#[test]
fn another_version_of_the_root_makes_another_verdict() {
    let holder = Holder::new();
    let (old, other) = (holder.signed("release.pem"), holder.signed("new.pem"));
    for kind in Kind::ALL {
        let Some(mut place) = Place::new(kind, &[]) else { continue };
        let first = fs_err::read(holder.path("releases/tuf/1.root.json")).unwrap();
        fs_err::write(holder.path("pinned.json"), &first).unwrap();
        place.option("--trust-root", holder.path("pinned.json").as_str());
        let server = place.start();
        let admin = server.admin.clone().unwrap();
        push(&server, &admin, "old", &old).is(201);
        push(&server, &admin, "new", &other).refuses(422, "key_untrusted");
        push(&server, &admin, "plain", &bundle_fixture()).refuses(422, "unsigned");
        let before = shown(&server, &admin, "old");
        assert_eq!((before["verdict"].as_str(), policy(&before)), (Some("passed"), "consign:trust-root/1".to_owned()));
        // While the server runs, somebody else may sign from now on.
        if holder.path("releases/tuf/2.root.json").is_file() {
            fs_err::copy(holder.path("releases/tuf/2.root.json"), holder.path("pinned.json")).unwrap();
        } else {
            holder.replace_root();
        }
        assert_eq!(listed(&server, &admin), [("old".to_owned(), "outdated".to_owned())]);
        let after = shown(&server, &admin, "old");
        assert_eq!((after["verdict"].as_str(), after.get("summary")), (Some("failed"), None));
        assert_eq!(listed(&server, &admin), [("old".to_owned(), "failed".to_owned())]);
        // The same record again is the same record, and no better for it.
        assert_eq!(push(&server, &admin, "old", &old).is(200).json()["verdict"], "failed");
        let new = push(&server, &admin, "new", &other).is(201).json();
        assert_eq!(policy(&new), "consign:trust-root/2");
        // And back: the verdict of before was of version 1, and is made again all the same.
        fs_err::write(holder.path("pinned.json"), &first).unwrap();
        let verdicts = listed(&server, &admin);
        assert!(verdicts.iter().all(|(_, verdict)| verdict == "outdated"), "{verdicts:?}");
        assert_eq!(shown(&server, &admin, "old")["verdict"], "passed");
        assert_eq!(shown(&server, &admin, "new")["verdict"], "failed");
        // A root that cannot be read believes nobody.
        fs_err::write(holder.path("pinned.json"), "{}").unwrap();
        let verdicts = listed(&server, &admin);
        assert!(verdicts.iter().all(|(_, verdict)| verdict == "outdated"), "{verdicts:?}");
        assert_eq!(shown(&server, &admin, "old")["verdict"], "failed");
        fs_err::remove_file(holder.path("pinned.json")).unwrap();
        assert_eq!(shown(&server, &admin, "old")["verdict"], "outdated");
        let changes = server.ask("GET", "/api/v1/audit/leaves", Some(&admin), "").is(200).json().to_string();
        for note in ["bundle failed: key_untrusted", "bundle passed"] {
            assert!(changes.contains(note), "{note} is not in {changes}");
        }
        server.stop();
        assert_eq!(place.sound(), 2);
    }
}

#[test]
fn other_keys_make_another_verdict_and_none_make_none() {
    let holder = Holder::new();
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    push(&server, &admin, "one", &holder.signed("release.pem")).is(201);
    server.ask("POST", "/api/v1/artifacts", Some(&admin), record("tool", "bare").to_string()).is(201);
    assert_eq!(shown(&server, &admin, "one")["verdict"], "unchecked");
    server.stop();
    place.believe(holder.path("release.pub.pem").as_str());
    let server = place.start();
    let word = |id: &str, verdict: &str| (id.to_owned(), verdict.to_owned());
    assert_eq!(listed(&server, &admin), [word("bare", "none"), word("one", "outdated")]);
    // Many who ask at once are answered from one judgement.
    let seen: Vec<_> = std::thread::scope(|scope| {
        let ask = || shown(&server, &admin, "one")["verdict"].as_str().unwrap().to_owned();
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(seen, ["passed"; 8]);
    let leaves = server.ask("GET", "/api/v1/audit/leaves", Some(&admin), "").is(200).json();
    let judged =
        leaves["leaves"].as_array().unwrap().iter().filter(|leaf| leaf.as_str().unwrap().contains("artifact.judge"));
    assert_eq!(judged.count(), 1);
    assert_eq!(shown(&server, &admin, "bare")["verdict"], "none");
    server.stop();
    assert_eq!(place.sound(), 2);
}

#[test]
fn a_tag_that_moves_takes_no_verdict_along() {
    let holder = Holder::new();
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    place.believe(holder.path("release.pub.pem").as_str());
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    push(&server, &admin, "one", &holder.signed("release.pem")).is(201);
    // The same names with other bytes, under the same tag and commit.
    let mut moved = holder.signed("release.pem");
    moved.insert("checksums.txt".to_owned(), b"other".to_vec());
    push(&server, &admin, "one", &moved).refuses(409, "artifact_exists");
    let refused = push(&server, &admin, "two", &moved);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(listed(&server, &admin), [("one".to_owned(), "passed".to_owned())]);
    let unsigned = push(&server, &admin, "three", &bundle_fixture());
    unsigned.refuses(422, "unsigned");
    let output = holder.command(&["key", "generate", "--out", "release.pem"]).output().unwrap();
    assert!(!output.status.success(), "{}", both(&output));
}
