//! A server that is killed while many push: nothing that was acknowledged is lost, nothing half done is
//! seen, and what was broken off is done by doing it again.
//!
//! `CONSIGN_TEST_KILLS` says how often, where 20 times is not enough.

#![expect(clippy::disallowed_methods, reason = "tests read their own environment")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use consign::model::Digest;
use serde_json::{Value, json};

use crate::place::{Answer, Kind, Place, Running, consign, record};
use crate::support::{Scratch, succeed};

/// How often the servers of each database are killed, if nobody says otherwise.
const KILLS: u64 = 20;
/// How many pushes are acknowledged between two kills, at most, before the next one is near.
const MOST_BETWEEN: u64 = 40;
/// How long a push may take before the test is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many push at once.
const CLIENTS: u64 = 8;

/// Numbers that look random and are the same in every run.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// The payload that every one of these records has: packed once, uploaded under its digest.
fn payload(number: u64) -> (Vec<u8>, Value) {
    use consign::archive::{Options, Writer};
    let date = "1980-01-01T00:00:00Z".parse().unwrap();
    let options = Options { format: consign::model::index::ArchiveFormat::TarGz, level: None, date };
    let mut writer = Writer::new(&"payload".parse().unwrap(), options);
    let text = format!("number: {number}\n");
    writer.append("dev/a.yaml", false, text.len() as u64, &mut text.as_bytes()).unwrap();
    let packed = writer.finish().unwrap();
    let described = json!({
        "sha256": Digest::of(&packed.bytes),
        "size_bytes": packed.bytes.len(),
        "unpacked_size_bytes": packed.unpacked_size_bytes,
        "environments": ["dev"],
    });
    (packed.bytes, described)
}

/// The servers, and what they have acknowledged.
struct Scene {
    token: String,
    /// Where each server is, which stays the same, for whoever remembers what it said.
    servers: Vec<Running>,
    addresses: Vec<String>,
    acknowledged: Mutex<Vec<Value>>,
    one_more: Condvar,
    reported: Mutex<Vec<String>>,
    broken_off: Mutex<Vec<Value>>,
    contested: AtomicU64,
}

impl Scene {
    fn new(place: &Place, replicas: usize) -> Self {
        // No connection ever comes from such an address, so that nobody takes its port between two servers.
        let own = std::process::id();
        let addresses = (0..replicas).map(|number| format!("127.{}.{}.{}:0", 77 + number, own >> 8 & 255, own & 255));
        let servers: Vec<_> = addresses.map(|address| place.start_on(&address)).collect();
        let token = servers[0].admin.clone().unwrap();
        let addresses = servers.iter().map(|server| server.address.strip_prefix("http://").unwrap().to_owned());
        Self {
            token,
            addresses: addresses.collect(),
            servers,
            acknowledged: Mutex::default(),
            one_more: Condvar::new(),
            reported: Mutex::default(),
            broken_off: Mutex::default(),
            contested: AtomicU64::new(0),
        }
    }

    fn ask(&self, number: u64, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Option<Answer> {
        let server = &self.servers[usize::try_from(number).unwrap() % self.servers.len()];
        server.try_ask(method, path, Some(&self.token), headers, body).ok()
    }

    /// Uploads and pushes one record; nothing, where no answer came.
    fn push(&self, number: u64, record: &Value, bytes: Vec<u8>) -> Option<u16> {
        let path = format!("/api/v1/blobs/{}", Digest::of(&bytes));
        if number.is_multiple_of(3) {
            let (half, size) = (bytes.len() / 2, bytes.len());
            for (first, piece) in [(0, &bytes[..half]), (half, &bytes[half..])] {
                let range = format!("bytes {first}-{}/{size}", first + piece.len() - 1);
                self.ask(number, "PUT", &path, &[("content-range", &range)], piece.to_vec())?;
            }
            // Another server has its own pieces, and what was broken off has some already.
            let there = self.ask(number, "HEAD", &path, &[], Vec::new())?;
            if there.status != 200 {
                self.ask(number, "PUT", &path, &[], bytes)?;
            }
        } else {
            self.ask(number, "PUT", &path, &[], bytes)?;
        }
        let answer = self.ask(number, "POST", "/api/v1/artifacts", &[], record.to_string().into_bytes())?;
        Some(answer.status)
    }

    /// Pushes until it is over, to one server after the other, and notes what was acknowledged.
    fn push_on(&self, first: u64, over: &AtomicBool) {
        for number in first.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let (bytes, described) = payload(number);
            let mut record = record("web", &format!("a{number}"));
            record["payload"] = described;
            match self.push(number, &record, bytes) {
                Some(201) => {}
                None | Some(503) => {
                    self.broken_off.lock().unwrap().push(record);
                    continue;
                }
                Some(other) => panic!("{other} for {record}"),
            }
            let id = record["id"].as_str().unwrap().to_owned();
            self.acknowledge(record);
            if number.is_multiple_of(4) {
                let path = format!("/api/v1/services/web/artifacts/{id}/outcome");
                let body = br#"{"outcome":"successful"}"#.to_vec();
                if self.ask(number, "PUT", &path, &[], body).is_some_and(|answer| answer.status == 200) {
                    self.reported.lock().unwrap().push(id);
                }
            }
            // All clients want the same id now and then, each with a record of its own.
            let mut contested =
                crate::place::record("web", &format!("c{}", self.contested.load(Ordering::Relaxed) / 8));
            contested["context"] = json!({ "by": number.to_string() });
            let answer = self.ask(number, "POST", "/api/v1/artifacts", &[], contested.to_string().into_bytes());
            if let Some(answer) = answer {
                assert!(matches!(answer.status, 201 | 409 | 503), "{}", answer.text());
                if answer.status == 201 {
                    self.acknowledge(contested);
                }
                self.contested.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until so many pushes were acknowledged.
    fn wait_for(&self, count: usize) {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        while acknowledged.len() < count {
            let (guard, wait) = self.one_more.wait_timeout(acknowledged, PATIENCE).unwrap();
            assert!(!wait.timed_out(), "nothing was acknowledged for {PATIENCE:?}");
            acknowledged = guard;
        }
    }

    fn acknowledge(&self, record: Value) {
        self.acknowledged.lock().unwrap().push(record);
        self.one_more.notify_all();
    }

    /// Everything that was acknowledged is there, with its file.
    fn look_for(&self, acknowledged: &[Value]) {
        for (number, record) in acknowledged.iter().enumerate() {
            let path = format!("/api/v1/services/web/artifacts/{}", record["id"].as_str().unwrap());
            let number = number as u64;
            let shown = self.ask(number, "GET", &path, &[], Vec::new()).unwrap().is(200).json();
            assert_eq!(shown["artifact"].get("context"), record.get("context"), "another one was acknowledged");
            if let Some(sha256) = record["payload"]["sha256"].as_str() {
                let path = format!("{path}/files/payload.tar.gz");
                let file = self.ask(number, "GET", &path, &[], Vec::new()).unwrap().is(200);
                assert_eq!(Digest::of(&file.body).to_string(), sha256);
            }
        }
    }

    /// What got no answer is pushed again, and is there then.
    fn do_again(&self) {
        for record in std::mem::take(&mut *self.broken_off.lock().unwrap()) {
            let number: u64 = record["id"].as_str().unwrap()[1..].parse().unwrap();
            let status = self.push(number, &record, payload(number).0);
            assert!(matches!(status, Some(200 | 201)), "{status:?} for {record}");
            self.acknowledge(record);
        }
    }
}

fn kills() -> u64 {
    std::env::var("CONSIGN_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

/// Kills one server after the other while all are pushed to, and looks each time at what is left.
fn kill_in_turn(place: &Place, replicas: usize, kills: u64) {
    let mut random = Seeded(20_260_101);
    let mut scene = Scene::new(place, replicas);
    let home = Scratch::new();
    let mut seen = 0;
    for round in 0..kills {
        let over = AtomicBool::new(false);
        let killed = usize::try_from(round).unwrap() % replicas;
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (scene, over) = (&scene, &over);
                scope.spawn(move || scene.push_on((round * CLIENTS + client) * 100_000, over));
            }
            // However fast this machine is, some pushes come to their end first and others are broken off.
            scene.wait_for(seen + 1 + usize::try_from(random.next() % MOST_BETWEEN).unwrap());
            // The kill comes at a moment that nobody has prepared for; there is no event to wait for.
            std::thread::sleep(Duration::from_millis(random.next() % 30));
            scene.servers[killed].end_now();
            over.store(true, Ordering::Relaxed);
        });
        // Nobody has mended anything yet.
        let acknowledged = scene.acknowledged.lock().unwrap().clone();
        assert!(place.sound() >= acknowledged.len() as u64);
        scene.servers[killed].wait();
        scene.servers[killed] = place.start_on(&scene.addresses[killed]);
        scene.look_for(&acknowledged[seen..]);
        scene.do_again();
        // The log is the one that was seen before this kill, and more.
        let verify = &mut consign(home.path(), &scene.servers[0], &["audit", "verify"]);
        succeed(verify.env("CONSIGN_TOKEN", &scene.token));
        seen = acknowledged.len();
    }
    let acknowledged = scene.acknowledged.lock().unwrap().clone();
    let reported = scene.reported.lock().unwrap().clone();
    assert!(!acknowledged.is_empty());
    scene.look_for(&acknowledged);
    for id in &reported {
        let path = format!("/api/v1/services/web/artifacts/{id}");
        let shown = scene.ask(0, "GET", &path, &[], Vec::new()).unwrap().is(200).json();
        assert_eq!(shown["outcome"]["outcome"], "successful");
    }
    assert!(place.sound() >= acknowledged.len() as u64);
    eprintln!("{kills} kills, {} pushes and {} reports acknowledged", acknowledged.len(), reported.len());
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let Some(place) = Place::new(Kind::Sqlite, &[]) else { return };
    kill_in_turn(&place, 1, kills());
}

#[test]
fn what_was_acknowledged_survives_every_kill_on_postgresql() {
    let Some(place) = Place::new(Kind::Postgres, &[]) else { return };
    kill_in_turn(&place, 1, kills());
}

#[test]
fn of_three_servers_on_one_database_any_may_die() {
    let Some(place) = Place::new(Kind::Postgres, &[]) else { return };
    kill_in_turn(&place, 3, kills());
}
