//! The door: what is taken in, what is refused, and that a refusal leaves nothing.

use std::collections::BTreeMap;

use consign::archive::{Options, Writer};
use consign::model::Digest;
use consign::model::index::ArchiveFormat;
use consign::trust::dsse::Envelope;
use consign::trust::key::{Algorithm, PublicKey, Signer};
use consign::trust::private::PrivateKey;
use serde_json::{Value, json};

use crate::fixture::{COMMIT, Files, bundle_fixture, signed_with};
use crate::place::{Answer, Kind, Place, Running, record};

struct Door {
    place: Place,
    server: Running,
    admin: String,
}

impl Door {
    /// A server that believes whoever has this key.
    fn believing(kind: Kind, key: &PrivateKey) -> Option<Self> {
        let mut place = Place::new(kind, &[])?;
        let path = place.scratch.write("release.pub", key.public().to_pem());
        place.believe(path.as_str());
        Some(Self::of(place))
    }

    fn new() -> Self {
        Self::of(Place::new(Kind::Sqlite, &[]).unwrap())
    }

    fn of(place: Place) -> Self {
        let server = place.start();
        let admin = server.admin.clone().unwrap();
        Self { place, server, admin }
    }

    fn upload(&self, bytes: &[u8]) -> Answer {
        self.server.ask("PUT", &format!("/api/v1/blobs/{}", Digest::of(bytes)), Some(&self.admin), bytes)
    }

    fn piece(&self, whole: &[u8], range: std::ops::Range<usize>) -> Answer {
        let header = format!("bytes {}-{}/{}", range.start, range.end - 1, whole.len());
        let path = format!("/api/v1/blobs/{}", Digest::of(whole));
        self.server.ask_with("PUT", &path, Some(&self.admin), &[("content-range", &header)], &whole[range])
    }

    fn push(&self, record: &Value) -> Answer {
        self.server.ask("POST", "/api/v1/artifacts", Some(&self.admin), record.to_string())
    }

    /// Uploads a bundle and pushes a record with it.
    fn push_bundle(&self, id: &str, files: &Files) -> Answer {
        for bytes in files.values() {
            let status = self.upload(bytes).status;
            assert!(matches!(status, 200 | 201), "{status}");
        }
        self.push(&with_bundle(id, files))
    }
}

fn with_bundle(id: &str, files: &Files) -> Value {
    let listed: BTreeMap<_, _> = files
        .iter()
        .map(|(name, bytes)| (name, json!({ "sha256": Digest::of(bytes), "size_bytes": bytes.len() })))
        .collect();
    let mut record = record("tool", id);
    record["source"]["sha"] = COMMIT.into();
    record["bundle"] = json!({ "files": listed });
    record
}

fn generate() -> PrivateKey {
    PrivateKey::generate(Algorithm::EcdsaP256).unwrap()
}

fn signed(files: &Files, key: &PrivateKey) -> Files {
    let key: Box<dyn Signer> = Box::new(PrivateKey::from_pkcs8(key.pkcs8()).unwrap());
    signed_with(files, &[key])
}

#[test]
fn a_signed_bundle_is_verified_and_the_server_signs_what_it_found() {
    let key = generate();
    for kind in Kind::ALL {
        let Some(door) = Door::believing(kind, &key) else { continue };
        let files = signed(&bundle_fixture(), &key);
        let shown = door.push_bundle("one", &files).is(201).json();
        assert_eq!(shown["verdict"], "passed");
        let envelope: Envelope = serde_json::from_str(shown["summary"].as_str().unwrap()).unwrap();
        let own = door.server.ask("GET", "/api/v1/key", None, "").is(200);
        let own = PublicKey::from_pem(&own.body).unwrap();
        assert_eq!(envelope.signers(std::iter::once(&own)), [&own]);
        let statement: Value = serde_json::from_slice(&envelope.body().unwrap()).unwrap();
        assert_eq!(statement["predicate"]["verificationResult"], "PASSED");
        assert_eq!(statement["predicate"]["resourceUri"], "consign:tool/one");
        let index = Digest::of(&files["index.json"]).to_string();
        let subjects = statement["subject"].as_array().unwrap();
        assert!(subjects.iter().any(|subject| subject["digest"]["sha256"] == index));
        let fetched =
            door.server.ask("GET", "/api/v1/services/tool/artifacts/one/files/index.json", Some(&door.admin), "");
        assert_eq!(fetched.is(200).body, files["index.json"]);
        door.push_bundle("one", &files).is(200);
        assert_eq!(door.place.sound(), 1);
    }
}

#[test]
fn a_bundle_that_does_not_verify_is_refused_and_nothing_is_kept() {
    let key = generate();
    let door = Door::believing(Kind::Sqlite, &key).unwrap();
    let good = signed(&bundle_fixture(), &key);
    door.push_bundle("unsigned", &bundle_fixture()).refuses(422, "unsigned");
    door.push_bundle("stranger", &signed(&bundle_fixture(), &generate())).refuses(422, "key_untrusted");
    let archive = good.keys().find(|name| name.ends_with("linux-amd64.tar.gz")).unwrap().clone();
    let spoiled = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut files = good.clone();
        change(files.get_mut(name).unwrap());
        files
    };
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    door.push_bundle("flipped", &spoiled(&archive, &flip)).refuses(422, "digest_mismatch");
    door.push_bundle("cut", &spoiled(&archive, &|bytes| bytes.truncate(100))).refuses(422, "size_mismatch");
    assert_eq!(door.push_bundle("index", &spoiled("index.json", &|bytes| bytes.push(b'\n'))).status, 422);
    let mut less = good.clone();
    less.remove(&archive);
    door.push_bundle("less", &less).refuses(422, "file_missing");
    let mut more = good.clone();
    more.insert("more.txt".to_owned(), b"more".to_vec());
    door.push_bundle("more", &more).refuses(422, "file_unlisted");
    let mut other = with_bundle("other", &good);
    other["source"]["sha"] = "fedcba9876543210".into();
    door.push(&other).refuses(422, "documents_disagree");
    let listed = door.server.ask("GET", "/api/v1/artifacts", Some(&door.admin), "").json();
    assert_eq!(listed["artifacts"], json!([]));
    assert_eq!(door.place.sound(), 0);
}

#[test]
fn where_nobody_is_believed_the_verdict_says_so() {
    let door = Door::new();
    let shown = door.push_bundle("one", &bundle_fixture()).is(201).json();
    assert_eq!((shown["verdict"].as_str(), shown.get("summary")), (Some("unchecked"), None));
}

#[test]
fn a_record_is_pushed_again_unchanged_and_never_changed() {
    let door = Door::new();
    let mut record = record("web", "one");
    let first = door.push(&record).is(201).json();
    assert_eq!(door.push(&record).is(200).json(), first);
    record["context"] = json!({ "a": "b" });
    door.push(&record).refuses(409, "artifact_exists");
    let again = door.server.ask("GET", "/api/v1/services/web/artifacts/one", Some(&door.admin), "").is(200).json();
    assert_eq!(again, first);
    let named = |record: &Value| {
        door.server.ask_with(
            "POST",
            "/api/v1/artifacts",
            Some(&door.admin),
            &[("idempotency-key", "job")],
            record.to_string(),
        )
    };
    let mut other = record.clone();
    (other["id"], record["id"]) = ("two".into(), "three".into());
    named(&other).is(201);
    named(&other).is(200);
    named(&record).refuses(422, "idempotency_key_reused");
}

#[test]
fn an_upload_has_to_be_what_its_digest_says() {
    let door = Door::new();
    let bytes = b"some bytes".to_vec();
    let path = format!("/api/v1/blobs/{}", Digest::of(&bytes));
    door.server.ask("PUT", &path, Some(&door.admin), "other bytes").refuses(422, "digest_mismatch");
    assert_eq!(door.server.ask("HEAD", &path, Some(&door.admin), "").status, 204);
    for wrong in ["x", "..%2f..%2fx", &Digest::of(b"").to_string().to_uppercase()] {
        let answer = door.server.ask("PUT", &format!("/api/v1/blobs/{wrong}"), Some(&door.admin), "");
        answer.refuses(400, "request_invalid");
    }
    door.upload(&bytes).is(201);
    door.upload(&bytes).is(200);
    assert_eq!(door.server.ask("HEAD", &path, Some(&door.admin), "").status, 200);
    let mut missing = record("web", "one");
    missing["payload"] =
        json!({ "sha256": Digest::of(b"nowhere"), "size_bytes": 7, "unpacked_size_bytes": 7, "environments": ["dev"] });
    door.push(&missing).refuses(422, "blob_missing");
    missing["payload"]["sha256"] = Digest::of(&bytes).to_string().into();
    door.push(&missing).refuses(422, "size_mismatch");
    // What was refused has left no file behind.
    let left = consign::world::files::list(&door.place.data().join("blobs/uploads")).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn too_much_is_refused_before_it_is_read() {
    let door = Door::of(Place::new(Kind::Sqlite, &["--max-blob-bytes", "1000"]).unwrap());
    door.upload(&[7; 1000]).is(201);
    door.upload(&[7; 1001]).refuses(413, "file_too_large");
    let path = format!("/api/v1/blobs/{}", Digest::of(b"x"));
    let pieces = [("content-range", "bytes 0-9/2000")];
    let answer = door.server.ask_with("PUT", &path, Some(&door.admin), &pieces, [0; 10]);
    answer.refuses(413, "file_too_large");
}

#[test]
fn a_large_upload_goes_on_where_it_was_broken_off() {
    let door = Door::new();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let path = format!("/api/v1/blobs/{}", Digest::of(&bytes));
    let there = || {
        let length = bytes.len().to_string();
        let answer = door.server.ask_with("HEAD", &path, Some(&door.admin), &[("upload-length", &length)], "");
        (answer.status, answer.headers.get("upload-offset").map(|value| value.to_str().unwrap().to_owned()))
    };
    assert_eq!(there(), (204, Some("0".to_owned())));
    door.piece(&bytes, 0..1_000_000).is(202);
    assert_eq!(there(), (204, Some("1000000".to_owned())));
    door.piece(&bytes, 2_000_000..3_000_000).refuses(409, "upload_misplaced");
    door.piece(&bytes, 0..1_000_000).refuses(409, "upload_misplaced");
    // Another caller's upload of the same is another upload.
    let other = door.place.token("push:web");
    let range = [("content-range", "bytes 1000000-1999999/3000000")];
    let answer = door.server.ask_with("PUT", &path, Some(&other), &range, &bytes[1_000_000..2_000_000]);
    answer.refuses(409, "upload_misplaced");
    door.piece(&bytes, 1_000_000..2_500_000).is(202);
    door.piece(&bytes, 2_500_000..3_000_000).is(201);
    assert_eq!(there(), (200, None));
    for wrong in ["bytes 5-1/10", "bytes 0-10/10", "bytes 0-/10", "items 0-1/10", "bytes 0-9/99999999999999999999"] {
        let answer = door.server.ask_with(
            "PUT",
            &format!("/api/v1/blobs/{}", Digest::of(b"y")),
            Some(&door.admin),
            &[("content-range", wrong)],
            [0; 10],
        );
        answer.refuses(400, "request_invalid");
    }
}

#[test]
fn a_payload_has_the_environments_that_its_record_says() {
    let door = Door::new();
    let pack = |paths: &[&str]| {
        let options =
            Options { format: ArchiveFormat::TarGz, level: None, date: "1980-01-01T00:00:00Z".parse().unwrap() };
        let mut writer = Writer::new(&"payload".parse().unwrap(), options);
        for path in paths {
            writer.append(path, false, 2, &mut b"a\n".as_slice()).unwrap();
        }
        writer.finish().unwrap()
    };
    let push = |id: &str, bytes: &[u8], unpacked: u64, environments: &[&str]| {
        assert!(matches!(door.upload(bytes).status, 200 | 201));
        let mut record = record("web", id);
        record["payload"] = json!({ "sha256": Digest::of(bytes), "size_bytes": bytes.len(), "unpacked_size_bytes": unpacked, "environments": environments });
        door.push(&record)
    };
    let good = pack(&["dev/a.yaml", "prod/a.yaml"]);
    push("good", &good.bytes, good.unpacked_size_bytes, &["dev", "prod"]).is(201);
    push("fewer", &good.bytes, good.unpacked_size_bytes, &["dev"]).refuses(422, "archive_invalid");
    push("more", &good.bytes, good.unpacked_size_bytes, &["dev", "prod", "test"]).refuses(422, "archive_invalid");
    push("size", &good.bytes, good.unpacked_size_bytes + 512, &["dev", "prod"]).refuses(422, "archive_invalid");
    push("bomb", &good.bytes, 1 << 40, &["dev", "prod"]).refuses(413, "file_too_large");
    let loose = pack(&["a.yaml"]);
    push("loose", &loose.bytes, loose.unpacked_size_bytes, &["dev"]).refuses(422, "archive_invalid");
    push("text", b"no archive", 10, &["dev"]).refuses(422, "archive_invalid");
    push("unsorted", &good.bytes, good.unpacked_size_bytes, &["prod", "dev"]).refuses(400, "artifact_invalid");
}

#[test]
fn the_first_word_on_how_a_run_ended_stands() {
    let door = Door::new();
    door.push(&record("web", "one")).is(201);
    let report =
        |body: &str| door.server.ask("PUT", "/api/v1/services/web/artifacts/one/outcome", Some(&door.admin), body);
    for wrong in ["", "{}", r#"{"outcome":"maybe"}"#, r#"{"outcome":"failed","more":1}"#] {
        report(wrong).refuses(400, "request_invalid");
    }
    let shown = report(r#"{"outcome":"failed","note":"tests"}"#).is(200).json();
    assert_eq!(
        (shown["outcome"]["outcome"].as_str(), shown["outcome"]["note"].as_str()),
        (Some("failed"), Some("tests"))
    );
    report(r#"{"outcome":"failed"}"#).is(200);
    report(r#"{"outcome":"successful"}"#).refuses(409, "artifact_exists");
    let missing = door.server.ask(
        "PUT",
        "/api/v1/services/web/artifacts/two/outcome",
        Some(&door.admin),
        r#"{"outcome":"failed"}"#,
    );
    missing.refuses(404, "artifact_unknown");
}
