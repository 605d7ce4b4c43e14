//! The audit log from outside: its tiles are those of the C2SP, and whoever edits, deletes, swaps or cuts
//! off lines is found by whoever verifies.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use consign::model::Digest;
use consign::trust::key::PublicKey;
use consign::trust::transparency::{Checkpoint, leaf_hash};
use consign::trust::tree::Frontier;
use serde_json::Value;

use crate::place::{Kind, Place, Running, consign, record};
use crate::support::{Scratch, both, need, succeed};

fn filled(place: &Place, artifacts: usize) -> (Running, String) {
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    for number in 0..artifacts {
        let record = record("web", &format!("a{number}")).to_string();
        server.ask("POST", "/api/v1/artifacts", Some(&admin), record).is(201);
    }
    (server, admin)
}

#[test]
fn the_tiles_are_those_of_the_checkpoint() {
    for kind in Kind::ALL {
        let Some(place) = Place::new(kind, &[]) else { continue };
        let (server, admin) = filled(&place, 260);
        let get = |path: &str| server.ask("GET", path, Some(&admin), "");
        let note = get("/checkpoint").is(200);
        assert_eq!(note.headers["cache-control"], "no-cache");
        let key = PublicKey::from_pem(&get("/api/v1/key").is(200).body).unwrap();
        let checkpoint = Checkpoint::parse(&note.text()).unwrap();
        checkpoint.verify(&key).unwrap();
        // The admin token is a line too.
        assert_eq!(checkpoint.size, 261);
        let full = get("/tile/0/000").is(200);
        assert_eq!(full.headers["cache-control"], "private, max-age=31536000, immutable");
        assert_eq!(full.headers["content-type"], "application/octet-stream");
        let rest = get("/tile/0/001.p/5").is(200);
        let hashes: Vec<Digest> = [full.body.clone(), rest.body]
            .concat()
            .chunks(32)
            .map(|it| Digest::from(<[u8; 32]>::try_from(it).unwrap()))
            .collect();
        let mut log = Frontier::default();
        let mut above = None;
        for hash in &hashes {
            above = log.append(*hash).into_iter().find(|(node, _)| node.level == 8).or(above);
        }
        assert_eq!((log.size(), log.root()), (checkpoint.size, checkpoint.root));
        assert_eq!(get("/tile/1/000.p/1").is(200).body, above.unwrap().1.as_bytes());
        // The lines themselves: what their hashes are over.
        let mut entries = get("/tile/entries/001.p/5").is(200).body;
        for hash in &hashes[256..] {
            let length = usize::from(u16::from_be_bytes([entries[0], entries[1]]));
            assert_eq!(leaf_hash(&entries[2..2 + length]), *hash);
            entries.drain(..2 + length);
        }
        assert!(entries.is_empty());
        // Every narrower one is a part of it, and none is wider than the log.
        assert_eq!(get("/tile/0/000.p/3").is(200).body, full.body[..96]);
        for missing in ["0/001.p/6", "0/001", "0/002.p/1", "1/000", "2/000.p/1", "entries/001", "9/000.p/1"] {
            get(&format!("/tile/{missing}")).refuses(404, "route_unknown");
        }
        for wrong in ["0/0", "0/000.p/256", "0/000.p/0", "x/000", "00/000", "0/..%2f000", "0/x000/000", "%ff", "0/000/"]
        {
            get(&format!("/tile/{wrong}")).refuses(400, "request_invalid");
        }
        // A tile stays as it is when the log grows.
        server.ask("POST", "/api/v1/artifacts", Some(&admin), record("web", "more").to_string()).is(201);
        assert_eq!(get("/tile/0/000").is(200).body, full.body);
        get("/tile/0/001.p/5").is(200);
        get("/tile/0/001.p/6").is(200);
    }
}

/// A server on SQLite whose rows somebody else can change, and a client that verifies.
struct Scene {
    place: Place,
    home: Scratch,
    token: String,
}

impl Scene {
    fn new(artifacts: usize) -> Option<Self> {
        if !need("sqlite3") {
            return None;
        }
        let place = Place::new(Kind::Sqlite, &[]).unwrap();
        let (server, token) = filled(&place, artifacts);
        server.stop();
        Some(Self { place, home: Scratch::new(), token })
    }

    /// Another server with the same rows.
    fn copy(&self) -> Self {
        let place = Place::new(Kind::Sqlite, &[]).unwrap();
        succeed(Command::new("cp").args(["-a", self.place.data().as_str(), place.data().as_str()]));
        Self { place, home: Scratch::new(), token: self.token.clone() }
    }

    fn sql(&self, statements: &str) -> String {
        let mut command = Command::new("sqlite3");
        succeed(command.arg(self.place.data().join("consign.sqlite")).arg(statements))
    }

    /// Verifies with a client that remembers under one name, whatever the port; gives what it says.
    fn verify(&self, exit: i32) -> Value {
        let server = self.place.start();
        let state = self.home.path().join("state/consign/audit");
        let name = format!("{}.json", Digest::of(server.address.as_bytes()));
        if let Some((old, _)) =
            state.exists().then(|| consign::world::files::list(&state).unwrap()).and_then(|mut all| all.pop())
        {
            fs_err::rename(state.join(old), state.join(name)).unwrap();
        }
        let mut command = consign(self.home.path(), &server, &["audit", "verify", "--format", "json"]);
        let output = command.env("CONSIGN_TOKEN", &self.token).output().unwrap();
        assert_eq!(output.status.code(), Some(exit), "{}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn names(&self, line: &str) {
        let failure = self.verify(4);
        assert_eq!(
            (failure["code"].as_str(), failure["subject"].as_str()),
            (Some("store_damaged"), Some(line)),
            "{failure}"
        );
        let output = self.place.command(&["fsck", "--format", "json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(4));
        assert!(both(&output).contains(&format!("audit log, line {line}")), "{}", both(&output));
    }
}

#[test]
fn the_first_line_that_was_edited_deleted_or_swapped_is_named() {
    let Some(whole) = Scene::new(262) else { return };
    for (statements, line) in [
        ("UPDATE audit_leaf SET leaf = replace(leaf, 'a3', 'b3') WHERE number IN (4, 6)", "4"),
        ("UPDATE audit_leaf SET leaf = replace(leaf, 'a259', 'b259') WHERE number = 260", "260"),
        ("UPDATE audit_leaf SET leaf = '{}' WHERE number = 2", "2"),
        ("DELETE FROM audit_leaf WHERE number IN (5, 7)", "5"),
        ("DELETE FROM audit_leaf WHERE number = 0", "0"),
        (
            "UPDATE audit_leaf SET number = -1 WHERE number = 3; UPDATE audit_leaf SET number = 3 WHERE number = 4; \
             UPDATE audit_leaf SET number = 4 WHERE number = -1",
            "3",
        ),
        ("DELETE FROM audit_leaf WHERE number >= 259", "259"),
    ] {
        let scene = whole.copy();
        scene.sql(statements);
        scene.names(line);
    }
}

#[test]
fn a_checkpoint_that_is_held_finds_a_log_that_was_cut_off_or_split() {
    let Some(scene) = Scene::new(6) else { return };
    let early = scene.sql("SELECT size || '|' || roots FROM audit_head");
    let (size, roots) = early.trim().split_once('|').unwrap();
    let admin = scene.token.clone();
    let more = |id: &str| {
        let server = scene.place.start();
        server.ask("POST", "/api/v1/artifacts", Some(&admin), record("web", id).to_string()).is(201);
        server.stop();
    };
    more("later");
    assert_eq!(scene.verify(0)["size"], 8);
    // Whoever can write into the database takes back its last line, and everything agrees again.
    scene.sql(&format!(
        "DELETE FROM artifact WHERE sequence >= {size}; DELETE FROM audit_leaf WHERE number >= {size}; \
         DELETE FROM audit_node WHERE ((number + 1) << level) > {size}; \
         UPDATE audit_head SET size = {size}, roots = '{roots}'"
    ));
    assert_eq!(scene.place.sound(), 6);
    let failure = scene.verify(4);
    assert!(failure["message"].as_str().unwrap().contains("it has 7 lines, and had 8"), "{failure}");
    // And writes another one in its place: as long, signed, and another log.
    more("other");
    assert_eq!(scene.place.sound(), 7);
    let failure = scene.verify(4);
    assert!(failure["message"].as_str().unwrap().contains("its first 8 lines are others"), "{failure}");
    more("and-another");
    scene.verify(4);
}

#[test]
fn the_log_is_listed_by_who_did_what_to_what_and_when() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let (server, admin) = filled(&place, 5);
    let home = Scratch::new();
    let mut child =
        consign(home.path(), &server, &["login"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(admin.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let list = |arguments: &[&str]| -> Vec<Value> {
        let line = [&["audit", "list", "--format", "json"], arguments].concat();
        let text = succeed(&mut consign(home.path(), &server, &line));
        serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
    };
    let all = list(&[]);
    assert_eq!(all.len(), 6);
    assert_eq!(list(&["--verb", "artifact.push"]).len(), 5);
    assert_eq!(list(&["--verb", "artifact"]).len(), 0);
    assert_eq!(list(&["--object", "web/a3"]), [all[4].clone()]);
    assert_eq!(list(&["--object", "web/", "--limit", "2"]), all[1..3]);
    let pusher = all[1]["subject"].as_str().unwrap();
    assert_eq!(list(&["--subject", pusher]).len(), 5);
    let third = all[3]["at"].as_str().unwrap();
    assert_eq!(list(&["--since", third]), all[3..]);
    assert_eq!(list(&["--until", third]), all[..3]);
    assert_eq!(list(&["--from", "4", "--until", third]).len(), 0);
}
