//! What is removed, and what is not.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::blobs::{path, payload};
use crate::bucket::Bucket;
use crate::place::{Answer, Kind, Place, Running, record};

/// Lets go of everything but the last two of each service and branch.
const RULES: &str = "[[rule]]\nservice = \"*\"\nkeep_last = 2\nkeep_days = 0\nkeep = [\"v*\"]\n";

struct Stage {
    place: Place,
    server: Running,
    admin: String,
}

impl Stage {
    fn new(kind: Kind) -> Option<Self> {
        Some(Self::of(Place::new(kind, &[])?))
    }

    fn of(place: Place) -> Self {
        let server = place.start();
        let admin = server.admin.clone().unwrap();
        place.scratch.write("rules.toml", RULES);
        Self { place, server, admin }
    }

    fn record(id: &str) -> (Vec<u8>, Value) {
        let (bytes, described) = payload(id);
        let mut record = record("web", id);
        record["payload"] = described;
        (bytes, record)
    }

    fn push(&self, id: &str) -> Answer {
        let (bytes, record) = Self::record(id);
        self.server.ask("PUT", &path(&bytes), Some(&self.admin), bytes);
        self.server.ask("POST", "/api/v1/artifacts", Some(&self.admin), record.to_string())
    }

    fn prune(&self, more: &[&str]) -> Value {
        self.place.json(&[&["prune", "--rules", "rules.toml"], more].concat())
    }

    fn ids(&self) -> Vec<String> {
        let page = self.server.ask("GET", "/api/v1/artifacts?limit=100", Some(&self.admin), "").is(200).json();
        let ids = page["artifacts"].as_array().unwrap().iter().map(|shown| shown["artifact"]["id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    }

    fn has_blob_of(&self, id: &str) -> bool {
        let (bytes, _) = payload(id);
        self.server.ask("HEAD", &path(&bytes), Some(&self.admin), "").status == 200
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|removed| removed["id"].as_str().unwrap()).collect()
}

#[test]
fn rules_let_go_what_is_old_and_never_what_is_in_use() {
    for kind in Kind::ALL {
        let Some(stage) = Stage::new(kind) else { continue };
        for id in ["v1", "a1", "a2", "a3", "a4", "a5"] {
            stage.push(id).is(201);
        }
        stage.place.json(&["pin", "web", "a2", "--note", "runs somewhere"]);
        let would = stage.prune(&["--dry-run"]);
        assert_eq!((names(&would["removed"]), names(&would["in_use"])), (vec!["a3", "a1"], vec!["a2"]));
        assert_eq!(stage.ids().len(), 6);
        let did = stage.prune(&[]);
        assert_eq!((names(&did["removed"]), names(&did["in_use"])), (vec!["a3", "a1"], vec!["a2"]));
        assert_eq!(stage.ids(), ["a5", "a4", "a2", "v1"]);
        // The files of what was removed stay for a while, for somebody may just have been told that they are there.
        assert!(stage.has_blob_of("a1"));
        assert_eq!(stage.place.sound(), 4);
        stage.place.json(&["unpin", "web", "a2"]);
        assert_eq!(names(&stage.prune(&["--grace-hours", "0"])["removed"]), ["a2"]);
        for (id, there) in [("a1", false), ("a2", false), ("a3", false), ("a4", true), ("v1", true)] {
            assert_eq!(stage.has_blob_of(id), there, "{id}");
        }
        assert_eq!(stage.place.sound(), 3);
        // Who removed what stands in the log.
        let leaves = stage.server.ask("GET", "/api/v1/audit/leaves?limit=100", Some(&stage.admin), "").text();
        for verb in ["artifact.pin", "artifact.unpin", "artifact.prune", "blobs.prune"] {
            assert!(leaves.contains(verb), "{verb}: {leaves}");
        }
    }
}

#[test]
fn the_id_of_what_was_removed_never_stands_for_anything_else() {
    for kind in Kind::ALL {
        let Some(stage) = Stage::new(kind) else { continue };
        for id in ["a1", "a2", "a3"] {
            stage.push(id).is(201);
        }
        assert_eq!(names(&stage.prune(&["--grace-hours", "0"])["removed"]), ["a1"]);
        let mut other = record("web", "a1");
        other["context"] = json!({ "other": "content" });
        let push =
            |record: &Value| stage.server.ask("POST", "/api/v1/artifacts", Some(&stage.admin), record.to_string());
        push(&other).refuses(409, "artifact_exists");
        push(&Stage::record("a1").1).refuses(422, "blob_missing");
        stage.push("a1").is(201);
        assert_eq!(stage.place.sound(), 3);
    }
}

#[test]
fn a_blob_that_nobody_names_stays_for_a_while() {
    let places = Kind::ALL.into_iter().filter_map(|kind| Place::new(kind, &[]));
    let in_bucket = Bucket::new().and_then(|bucket| bucket.place(Kind::Sqlite, &bucket.endpoint));
    for place in places.chain(in_bucket) {
        let stage = Stage::of(place);
        let (bytes, record) = Stage::record("a1");
        let upload = || stage.server.ask("PUT", &path(&bytes), Some(&stage.admin), bytes.clone());
        upload().is(201);
        let condition = stage.place.json(&["fsck"]);
        assert_eq!((&condition["unreferenced"], &condition["problems"]), (&json!(1), &json!([])));
        assert_eq!(stage.prune(&[])["blobs"], 0);
        stage.server.ask("POST", "/api/v1/artifacts", Some(&stage.admin), record.to_string()).is(201);
        assert_eq!(stage.prune(&["--grace-hours", "0"])["blobs"], 0);
        let (stray, _) = payload("stray");
        stage.server.ask("PUT", &path(&stray), Some(&stage.admin), stray).is(201);
        assert_eq!(stage.prune(&["--grace-hours", "0", "--dry-run"])["blobs"], 1);
        assert!(stage.has_blob_of("stray"));
        assert_eq!(stage.prune(&["--grace-hours", "0"])["blobs"], 1);
        assert!(!stage.has_blob_of("stray") && stage.has_blob_of("a1"));
        assert_eq!(stage.place.sound(), 1);
    }
}

#[test]
fn whoever_counts_on_a_blob_again_keeps_it() {
    let stage = Stage::new(Kind::Sqlite).unwrap();
    let (bytes, record) = Stage::record("a1");
    let upload = || stage.server.ask("PUT", &path(&bytes), Some(&stage.admin), bytes.clone());
    upload().is(201);
    let name = consign::model::Digest::of(&bytes).to_string();
    let file = stage.place.data().join("blobs/sha256").join(&name[..2]).join(&name);
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs_err::File::options().write(true).open(&file).unwrap().into_parts().0.set_modified(old).unwrap();
    // It is years old, and somebody was told a moment ago that it need not be sent.
    upload().is(200);
    assert_eq!(stage.prune(&[])["blobs"], 0);
    stage.server.ask("POST", "/api/v1/artifacts", Some(&stage.admin), record.to_string()).is(201);
    assert_eq!(stage.place.sound(), 1);
}

/// Pushes until it is over, as somebody would whose blobs may be taken away before the record is there.
fn push_on(stage: &Stage, first: u64, over: &AtomicBool, acknowledged: &Mutex<Vec<String>>) {
    for number in first.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        // Two clients have the same payloads, each with records of its own.
        let (bytes, described) = payload(&format!("p{}", number % 50_000));
        let id = format!("v{number}");
        let mut record = record("web", &id);
        record["payload"] = described;
        let upload = stage.server.ask("PUT", &path(&bytes), Some(&stage.admin), bytes);
        assert!(matches!(upload.status, 200 | 201 | 409), "{}", upload.text());
        let push = stage.server.ask("POST", "/api/v1/artifacts", Some(&stage.admin), record.to_string());
        assert!(matches!(push.status, 201 | 422 | 503), "{}", push.text());
        if push.status == 201 {
            acknowledged.lock().unwrap().push(id);
        }
    }
}

/// Removes without any grace while others push, and is killed now and then.
fn prune_among_pushes(kind: Kind, rounds: u64) {
    let Some(stage) = Stage::new(kind) else { return };
    let (over, acknowledged) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (stage, over, acknowledged) = (&stage, &over, &acknowledged);
            scope.spawn(move || push_on(stage, client * 50_000, over, acknowledged));
        }
        for round in 0..rounds {
            let mut command = stage.place.command(&["prune", "--rules", "rules.toml", "--grace-hours", "0"]);
            let mut pruning = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            if round % 3 == 2 {
                // The kill comes at a moment that nobody has prepared for; there is no event to wait for.
                std::thread::sleep(Duration::from_millis(10 + round * 7 % 120));
                let _ = pruning.kill();
                pruning.wait().unwrap();
            } else {
                assert!(pruning.wait().unwrap().success());
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(!acknowledged.is_empty());
    for id in &acknowledged {
        let file = format!("/api/v1/services/web/artifacts/{id}/files/payload.tar.gz");
        stage.server.ask("GET", &file, Some(&stage.admin), "").is(200);
    }
    assert_eq!(stage.place.sound(), acknowledged.len() as u64);
    stage.prune(&["--grace-hours", "0"]);
    assert_eq!(stage.place.json(&["fsck"])["unreferenced"], 0);
    assert_eq!(stage.place.sound(), acknowledged.len() as u64);
    eprintln!("{} pushes acknowledged among {rounds} prunings", acknowledged.len());
}

#[test]
fn nothing_that_is_being_pushed_is_removed() {
    for kind in Kind::ALL {
        prune_among_pushes(kind, 12);
    }
}
