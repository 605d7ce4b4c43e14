//! A server that is killed while many push: nothing that was acknowledged is lost, nothing half done is
//! seen.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consign::model::Digest;
use serde_json::json;

use crate::place::{Kind, Place, Running, record};

/// How often the server of each database is killed.
const KILLS: u64 = 10;
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
fn payload(number: u64) -> (Vec<u8>, serde_json::Value) {
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

/// Pushes until it is over, to one server after the other, and notes what was acknowledged.
fn push_on(servers: &[Running], token: &str, first: u64, over: &AtomicBool, acknowledged: &Mutex<Vec<String>>) {
    for number in first.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let server = &servers[usize::try_from(number).unwrap() % servers.len()];
        let (bytes, described) = payload(number);
        let path = format!("/api/v1/blobs/{}", Digest::of(&bytes));
        let mut record = record("web", &format!("a{number}"));
        record["payload"] = described;
        let sent = server.try_ask("PUT", &path, Some(token), &[], bytes).and_then(|_| {
            server.try_ask("POST", "/api/v1/artifacts", Some(token), &[], record.to_string().into_bytes())
        });
        if sent.is_ok_and(|answer| answer.status == 201) {
            acknowledged.lock().unwrap().push(format!("a{number}"));
        }
    }
}

/// Kills one server after the other while all are pushed to, and looks at what is left.
fn kill_in_turn(place: &Place, replicas: usize, kills: u64) {
    let mut random = Seeded(20_260_101);
    let first = place.start();
    let token = first.admin.clone().unwrap();
    let mut servers = vec![first];
    servers.extend((1..replicas).map(|_| place.start()));
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..kills {
        let over = AtomicBool::new(false);
        let killed = usize::try_from(round).unwrap() % replicas;
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (servers, token, over, acknowledged) = (&servers, &token, &over, &acknowledged);
                scope.spawn(move || push_on(servers, token, (round * CLIENTS + client) * 100_000, over, acknowledged));
            }
            // The kill comes at a moment that nobody has prepared for; there is no event to wait for.
            std::thread::sleep(Duration::from_millis(50 + random.next() % 400));
            servers[killed].end_now();
            over.store(true, Ordering::Relaxed);
        });
        servers[killed] = place.start();
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(!acknowledged.is_empty());
    for (number, id) in acknowledged.iter().enumerate() {
        let server = &servers[number % replicas];
        let path = format!("/api/v1/services/web/artifacts/{id}");
        server.ask("GET", &path, Some(&token), "").is(200);
        server.ask("GET", &format!("{path}/files/payload.tar.gz"), Some(&token), "").is(200);
    }
    assert!(place.sound() >= acknowledged.len() as u64);
    eprintln!("{} pushes were acknowledged between {kills} kills", acknowledged.len());
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    for kind in Kind::ALL {
        let Some(place) = Place::new(kind, &[]) else { continue };
        kill_in_turn(&place, 1, KILLS);
    }
}

#[test]
fn of_three_servers_on_one_database_any_may_die() {
    let Some(place) = Place::new(Kind::Postgres, &[]) else { return };
    kill_in_turn(&place, 3, KILLS);
}
