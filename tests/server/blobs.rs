//! Blobs in a bucket: what a directory does, a bucket does too, and what it does besides.

use consign::model::Digest;
use serde_json::{Value, json};

use crate::bucket::{Bucket, Manner, Proxy};
use crate::place::{Answer, Kind, Place, Running, record};
use crate::support::both;

/// A payload, and how a record describes it.
pub fn payload(text: &str) -> (Vec<u8>, Value) {
    use consign::archive::{Options, Writer};
    let date = "1980-01-01T00:00:00Z".parse().unwrap();
    let options = Options { format: consign::model::index::ArchiveFormat::TarGz, level: None, date };
    let mut writer = Writer::new(&"payload".parse().unwrap(), options);
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

pub fn path(bytes: &[u8]) -> String {
    format!("/api/v1/blobs/{}", Digest::of(bytes))
}

/// Text that can hardly be made smaller.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..length).map(|_| next()).collect()
}

/// Where a blob is in the bucket.
fn key(bytes: &[u8]) -> String {
    let name = Digest::of(bytes).to_string();
    format!("some/where/sha256/{}/{name}", &name[..2])
}

fn with_payload(id: &str, described: &Value) -> String {
    let mut record = record("web", id);
    record["payload"] = described.clone();
    record.to_string()
}

fn admin(server: &Running) -> String {
    server.admin.clone().unwrap()
}

fn fetch(server: &Running, token: &str, id: &str) -> Answer {
    server.ask("GET", &format!("/api/v1/services/web/artifacts/{id}/files/payload.tar.gz"), Some(token), "")
}

#[test]
fn a_bucket_keeps_what_a_directory_keeps() {
    let Some(bucket) = Bucket::new() else { return };
    for kind in Kind::ALL {
        let Some(place) = bucket.place(kind, &bucket.endpoint) else { continue };
        let server = place.start();
        let admin = admin(&server);
        let (bytes, described) = payload(&format!("{kind:?}"));
        let push = || server.ask("POST", "/api/v1/artifacts", Some(&admin), with_payload("one", &described));
        push().refuses(422, "blob_missing");
        server.ask("PUT", &path(&bytes), Some(&admin), "other").refuses(422, "digest_mismatch");
        let half = bytes.len() / 2;
        let piece = |first: usize, last: usize| {
            let range = format!("bytes {first}-{}/{}", last - 1, bytes.len());
            server.ask_with("PUT", &path(&bytes), Some(&admin), &[("content-range", &range)], &bytes[first..last])
        };
        piece(0, half).is(202);
        assert_eq!(server.ask("HEAD", &path(&bytes), Some(&admin), "").status, 204);
        piece(half, bytes.len()).is(201);
        server.ask("PUT", &path(&bytes), Some(&admin), bytes.clone()).is(200);
        push().is(201);
        push().is(200);
        assert_eq!(fetch(&server, &admin, "one").is(200).body, bytes);
        // Nothing stays behind on this machine.
        assert_eq!(consign::world::files::list(&place.data().join("blobs/uploads")).unwrap(), []);
        assert!(!place.data().join("blobs/sha256").exists());
        assert_eq!(place.sound(), 1);
        // Whoever changes an object is found, and its bytes are not handed on as if they were right.
        bucket.ask(reqwest::Method::PUT, &key(&bytes), vec![7; bytes.len()]);
        assert!(found(&place).contains("its bytes are not those of its digest"));
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fetch(&server, &admin, "one").body));
        assert!(broken.is_err(), "the answer should have been broken off");
        bucket.ask(reqwest::Method::DELETE, &key(&bytes), Vec::new());
        assert!(found(&place).contains("it is missing"));
        fetch(&server, &admin, "one").refuses(500, "store_damaged");
    }
}

/// What `fsck` says is wrong.
fn found(place: &Place) -> String {
    let output = place.command(&["fsck", "--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    let condition: Value = serde_json::from_slice(&output.stdout).unwrap();
    condition["problems"].to_string()
}

#[test]
fn a_backup_goes_from_a_bucket_into_a_directory_and_back() {
    let (Some(bucket), Some(other)) = (Bucket::new(), Bucket::new()) else { return };
    let place = bucket.place(Kind::Sqlite, &bucket.endpoint).unwrap();
    let server = place.start();
    let admin = admin(&server);
    let (bytes, described) = payload("kept");
    server.ask("PUT", &path(&bytes), Some(&admin), bytes.clone()).is(201);
    server.ask("POST", "/api/v1/artifacts", Some(&admin), with_payload("one", &described)).is(201);
    let copy = place.scratch.path().join("copy");
    assert_eq!(place.json(&["backup", copy.as_str()])["blobs"], 1);
    server.stop();
    let in_bucket = other.place(Kind::Sqlite, &other.endpoint).unwrap();
    let in_directory = Place::new(Kind::Sqlite, &[]).unwrap();
    for place in [in_bucket, in_directory] {
        assert_eq!(place.json(&["restore", copy.as_str()])["blobs"], 1);
        assert_eq!(place.sound(), 1);
        let server = place.start();
        assert_eq!(fetch(&server, &admin, "one").is(200).body, bytes);
    }
}

#[test]
fn a_bucket_that_fails_is_said_so_and_is_used_again_when_it_is_back() {
    let Some(bucket) = Bucket::new() else { return };
    let proxy = Proxy::before(&bucket.endpoint);
    let place = bucket.place(Kind::Sqlite, &proxy.address).unwrap();
    let server = place.start();
    let admin = admin(&server);
    let (bytes, described) = payload("kept");
    let upload = || server.ask("PUT", &path(&bytes), Some(&admin), bytes.clone());
    let push = |id: &str| server.ask("POST", "/api/v1/artifacts", Some(&admin), with_payload(id, &described));
    for manner in [Manner::Refuse, Manner::Break] {
        proxy.behave(manner);
        let problem = upload().refuses(503, "store_unavailable");
        assert!(!problem.to_string().contains("Canary") && !problem.to_string().contains("127.0.0.1"), "{problem}");
        push("one").refuses(503, "store_unavailable");
        // What needs no blobs goes on.
        server.ask("GET", "/readyz", None, "").is(200);
        server
            .ask("POST", "/api/v1/artifacts", Some(&admin), record("web", &format!("{manner:?}")).to_string())
            .is(201);
    }
    proxy.behave(Manner::Pass);
    upload().is(201);
    push("one").is(201);
    proxy.behave(Manner::Refuse);
    fetch(&server, &admin, "one").refuses(503, "store_unavailable");
    proxy.behave(Manner::Silent);
    let began = std::time::Instant::now();
    fetch(&server, &admin, "one").refuses(503, "store_unavailable");
    assert!(began.elapsed() < std::time::Duration::from_secs(40), "it was waited for too long");
    proxy.behave(Manner::Pass);
    assert_eq!(fetch(&server, &admin, "one").is(200).body, bytes);
    server.stop();
    assert_eq!(place.sound(), 3);
}

#[test]
fn an_upload_that_the_bucket_refused_at_its_end_goes_on_from_its_last_piece() {
    let Some(bucket) = Bucket::new() else { return };
    let proxy = Proxy::before(&bucket.endpoint);
    let place = bucket.place(Kind::Sqlite, &proxy.address).unwrap();
    let server = place.start();
    let admin = admin(&server);
    let bytes = b"0123456789".as_slice();
    let piece = |first: usize, last: usize| {
        let range = format!("bytes {first}-{}/10", last - 1);
        server.ask_with("PUT", &path(bytes), Some(&admin), &[("content-range", &range)], &bytes[first..last])
    };
    piece(0, 6).is(202);
    proxy.behave(Manner::Refuse);
    piece(6, 10).refuses(503, "store_unavailable");
    proxy.behave(Manner::Pass);
    let there = server.ask_with("HEAD", &path(bytes), Some(&admin), &[("upload-length", "10")], "");
    let there: usize = there.headers["upload-offset"].to_str().unwrap().parse().unwrap();
    assert_eq!(there, 6);
    piece(there, 10).is(201);
    assert_eq!(server.ask("HEAD", &path(bytes), Some(&admin), "").status, 200);
}

#[test]
fn a_large_blob_takes_no_more_memory_than_a_small_one() {
    let Some(bucket) = Bucket::new() else { return };
    let place = bucket.place(Kind::Sqlite, &bucket.endpoint).unwrap();
    let server = place.start();
    let admin = admin(&server);
    server.ask("PUT", &path(b"small"), Some(&admin), "small").is(201);
    let before = server.peak_memory_kib();
    let bytes: Vec<u8> = (0..48_u32 << 20).map(|number| (number % 251) as u8).collect();
    server.ask("PUT", &path(&bytes), Some(&admin), bytes).is(201);
    let more = server.peak_memory_kib() - before;
    assert!(more < 16 << 10, "{more} KiB more");
}

#[test]
fn a_slow_bucket_makes_nobody_else_wait_and_nothing_pile_up() {
    let Some(bucket) = Bucket::new() else { return };
    let proxy = Proxy::before(&bucket.endpoint);
    let place = bucket.place(Kind::Sqlite, &proxy.address).unwrap();
    let server = place.start();
    let admin = admin(&server);
    let blobs: Vec<_> = (1..=4).map(|client| payload(&noise(client, 8 << 20))).collect();
    let total: usize = blobs.iter().map(|(bytes, _)| bytes.len()).sum();
    let in_little_memory = |deed: &(dyn Fn(usize) + Sync)| {
        let before = server.forget_peak_memory();
        all_at_once(blobs.len(), deed, || {
            // Whoever needs no blobs is answered meanwhile.
            server.ask("GET", "/api/v1/artifacts", Some(&admin), "").is(200);
        });
        let more = server.peak_memory_kib() - before;
        assert!(total > 16 << 20 && more < 12 << 10, "{more} KiB more for {total} bytes");
    };
    proxy.behave(Manner::Slow);
    in_little_memory(&|client| {
        let (bytes, _) = &blobs[client];
        server.ask("PUT", &path(bytes), Some(&admin), bytes.clone()).is(201);
    });
    for (client, (_, described)) in blobs.iter().enumerate() {
        let record = with_payload(&format!("slow-{client}"), described);
        server.ask("POST", "/api/v1/artifacts", Some(&admin), record).is(201);
    }
    in_little_memory(&|client| {
        assert!(fetch(&server, &admin, &format!("slow-{client}")).is(200).body == blobs[client].0);
    });
}

/// Does something for several at once, and something else again and again until that is done.
fn all_at_once(count: usize, deed: &(dyn Fn(usize) + Sync), meanwhile: impl Fn()) {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|number| scope.spawn(move || deed(number))).collect();
        let mut times = 0;
        while running.iter().any(|one| !one.is_finished()) {
            meanwhile();
            times += 1;
        }
        assert!(times > 50, "only {times} times");
    });
}

#[test]
fn a_bucket_that_cannot_be_used_is_found_before_the_server_starts() {
    let Some(bucket) = Bucket::new() else { return };
    let check = |place: &Place, code: &str| {
        let output = place.command(&["check-config", "--format", "json"]).output().unwrap();
        let said = both(&output);
        assert!(!said.contains("canary-secret"), "{said}");
        assert!(!output.status.success() && said.contains(code), "{said}");
    };
    let good = || bucket.place(Kind::Sqlite, &bucket.endpoint).unwrap();
    let checked = good().json(&["check-config"]);
    assert_eq!(checked["blobs"], format!("s3://{}/some/where/", bucket.name));
    let with = |name: &str, value: &str| {
        let mut place = good();
        place.variable(name, value);
        place
    };
    check(&with("CONSIGN_SERVER_BLOBS", "s3://nowhere-at-all"), "store_unavailable");
    check(&with("CONSIGN_SERVER_BLOBS", "s3://blobs/../other"), "config_invalid");
    check(&with("CONSIGN_SERVER_BLOBS", "gs://blobs"), "config_invalid");
    check(&with("AWS_SECRET_ACCESS_KEY", ""), "config_invalid");
    check(&with("AWS_ENDPOINT_URL_S3", "http://blobs.example"), "remote_refused");
    check(&with("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"), "store_unavailable");
}
