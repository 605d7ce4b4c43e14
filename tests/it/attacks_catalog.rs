//! What an attacker tries with old, frozen and mixed catalogs and with servers that never end, against the
//! command itself; and that no reader of anything trusted takes what is no JSON.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::io::Write as _;

use consign::model::sbom::{cyclonedx, spdx};
use consign::model::{Code, Digest};
use consign::trust::bundle::{Case, Documents};
use consign::trust::dsse::{self, Envelope};
use consign::trust::key::{self, Algorithm};
use consign::trust::private::PrivateKey;
use consign::trust::signatures::Signatures;
use consign::trust::sigstore::Bundle;
use consign::trust::tuf::json::Json;
use consign::trust::tuf::roles::{Root, Signed, Snapshot, Targets, TimestampRole};
use consign::trust::tuf::trusted::Roots;
use consign::trust::{Anchor, documents};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};

use crate::attacked::{Bench, assert_plain, edited};
use crate::fixture::{Files, bundle_fixture, gather};
use crate::http::{Server, answer, good, send};
use crate::signed_verify::{archive, scene, trusting};
use crate::support::both;
use crate::trust::{Ceremony, tree};
use crate::verify::vectors;

const CATALOG: &str = "catalog verify releases --trust-root pinned.json";
const REFRESH: &str = "catalog refresh --target releases --key ci.pem";

/// A catalog with one version, read once, and the root that its readers have.
fn catalog() -> Ceremony {
    let ceremony = Ceremony::simple();
    ceremony.add();
    fs_err::copy(ceremony.path("releases/tuf/root.json"), ceremony.path("pinned.json")).unwrap();
    ceremony.ok(CATALOG);
    ceremony
}

fn metadata(ceremony: &Ceremony) -> BTreeMap<String, Vec<u8>> {
    tree(&ceremony.path("releases/tuf"))
}

fn put_back(ceremony: &Ceremony, files: &BTreeMap<String, Vec<u8>>, names: &[&str]) {
    for (name, bytes) in files.iter().filter(|(name, _)| names.is_empty() || names.contains(&name.as_str())) {
        fs_err::write(ceremony.path("releases/tuf").join(name), bytes).unwrap();
    }
}

/// Changes what a document says and signs that, whatever it is: even what no signer would sign.
pub fn resigned(
    ceremony: &Ceremony,
    file: &str,
    key: &str,
    change: impl Fn(&mut Value),
    spell: impl Fn(String) -> String,
) {
    let path = ceremony.path("releases/tuf").join(file);
    let mut document: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    change(&mut document["signed"]);
    let canonical = Json::parse(&serde_json::to_vec(&document["signed"]).unwrap()).unwrap().canonical();
    let canonical = spell(String::from_utf8(canonical).unwrap());
    let key = PrivateKey::from_pem(&fs_err::read(ceremony.path(key)).unwrap()).unwrap();
    let signature = key::sign(&key, canonical.as_bytes()).unwrap();
    document["signatures"] = json!([{"keyid": document["signatures"][0]["keyid"], "sig": HEXLOWER.encode(&signature)}]);
    fs_err::write(&path, spell(document.to_string())).unwrap();
}

#[test]
fn an_older_catalog_is_told_from_the_newest() {
    let ceremony = catalog();
    let old = metadata(&ceremony);
    ceremony.ok("catalog yank v1.0.0 --reason x --target releases --key release.pem --key ci.pem");
    ceremony.ok(CATALOG);
    let new = metadata(&ceremony);
    put_back(&ceremony, &old, &[]);
    let told = ceremony.refused(CATALOG, 4, "catalog_rollback");
    assert!(told.contains('1') && told.contains('2') || told.contains("version"), "{told}");
    // The old list beside the new words about it, and the other way round.
    for names in [&["targets.json"][..], &["snapshot.json"], &["snapshot.json", "targets.json"]] {
        put_back(&ceremony, &new, &[]);
        put_back(&ceremony, &old, names);
        // Whoever has seen neither asks for all of them.
        fs_err::remove_dir_all(ceremony.path("state")).unwrap();
        // Signatures differ in length, and no more is read of a file than is announced.
        let is_longer = old[names[0]].len() > new[names[0]].len();
        ceremony.refused(CATALOG, 4, if is_longer { "file_too_large" } else { "catalog_invalid" });
        put_back(&ceremony, &new, &[]);
        ceremony.ok(CATALOG);
    }
    // What was refused has left no trace: the newest is read as before, and the old one refused again.
    ceremony.ok(CATALOG);
    put_back(&ceremony, &old, &["timestamp.json"]);
    ceremony.refused(CATALOG, 4, "catalog_rollback");
}

#[test]
fn a_catalog_that_is_not_renewed_comes_to_an_end() {
    let ceremony = catalog();
    ceremony.refused(&format!("{CATALOG} --at 2200-01-01T00:00:00Z"), 4, "catalog_expired");
    let ended = |signed: &mut Value| {
        signed["expires"] = "2020-01-01T00:00:00Z".into();
        signed["version"] = 9.into();
    };
    resigned(&ceremony, "timestamp.json", "ci.pem", ended, |text| text);
    let told = ceremony.refused(CATALOG, 4, "catalog_expired");
    assert!(told.contains("2020-01-01"), "{told}");
}

#[test]
fn a_version_that_leaves_no_room_is_no_version() {
    let ceremony = catalog();
    let plain = metadata(&ceremony);
    for version in ["9223372036854775808", "18446744073709551615", "1e3", "2.0", "-1", "0", "\"2\"", "null", "NaN"] {
        put_back(&ceremony, &plain, &[]);
        let spell = |text: String| text.replace("4242424242", version);
        resigned(&ceremony, "timestamp.json", "ci.pem", |signed| signed["version"] = 4_242_424_242_u64.into(), spell);
        ceremony.refused(CATALOG, 4, "catalog_invalid");
    }
    // The greatest that is read locks readers out until the key is replaced, and no longer.
    put_back(&ceremony, &plain, &[]);
    resigned(&ceremony, "timestamp.json", "ci.pem", |signed| signed["version"] = i64::MAX.into(), |text| text);
    ceremony.ok(CATALOG);
    put_back(&ceremony, &plain, &[]);
    ceremony.refused(CATALOG, 4, "catalog_rollback");
    ceremony.key("new", Algorithm::EcdsaP256);
    let keys = "--key a.pem --key release.pem";
    ceremony.ok(&format!("trust revoke {} --new new.pem --target releases {keys}", ceremony.id("ci")));
    assert_eq!(ceremony.ok(CATALOG)["root"], 2);
    assert_eq!(ceremony.ok(&REFRESH.replace("ci.pem", "new.pem"))["status"], "published");
    ceremony.ok(CATALOG);
}

#[test]
fn roots_follow_each_other_by_one() {
    let ceremony = catalog();
    for _ in 0..2 {
        ceremony.ok("trust renew --expires 400d --target releases --key a.pem");
    }
    let tuf = ceremony.path("releases/tuf");
    let served = |name: &str| fs_err::read(tuf.join(name)).unwrap();
    assert_eq!(ceremony.ok(CATALOG)["root"], 3);
    fs_err::remove_dir_all(ceremony.path("state")).unwrap();
    let second = served("2.root.json");
    for (what, bytes) in [
        ("the third", served("3.root.json")),
        ("the first", served("1.root.json")),
        ("none", b"{}".to_vec()),
        ("of another catalog", fs_err::read(Ceremony::simple().path("releases/tuf/root.json")).unwrap()),
    ] {
        fs_err::write(tuf.join("2.root.json"), bytes).unwrap();
        let files = tree(&ceremony.target());
        let server = Server::start(move |request, stream| match files.get(request.path.trim_start_matches('/')) {
            Some(bytes) => send(stream, &good(bytes)),
            None => send(stream, &answer("404 Not Found", "", b"no")),
        });
        let line = format!("catalog verify {} --trust-root pinned.json", server.url("").trim_end_matches('/'));
        let code = if what == "the first" { "catalog_rollback" } else { "catalog_invalid" };
        ceremony.refused(&line, 4, code);
        assert!(!ceremony.path("state").exists() || tree(&ceremony.path("state")).is_empty(), "{what}");
    }
    fs_err::write(tuf.join("2.root.json"), second).unwrap();
    ceremony.ok(CATALOG);
}

#[test]
fn a_name_in_a_catalog_is_no_path() {
    for name in ["../x", "..", "/etc/x", "v1.0.0/../../x", "C:\\x", "a\u{1b}[2J", "v1.0.0/\u{202e}x", ".consign", ""] {
        let ceremony = catalog();
        let before = tree(ceremony.scratch.path());
        let add = |signed: &mut Value| {
            let target = signed["targets"].as_object().unwrap().values().next().unwrap().clone();
            signed["targets"][name] = target;
            signed["version"] = 3.into();
        };
        resigned(&ceremony, "targets.json", "release.pem", add, |text| text);
        let three = |signed: &mut Value| signed["meta"]["targets.json"] = json!({"version": 3});
        let newer = |signed: &mut Value| signed["version"] = 9.into();
        resigned(&ceremony, "snapshot.json", "ci.pem", |signed| (three(signed), newer(signed)).0, |text| text);
        let snapshot = |signed: &mut Value| signed["meta"]["snapshot.json"] = json!({"version": 9});
        resigned(&ceremony, "timestamp.json", "ci.pem", |signed| (snapshot(signed), newer(signed)).0, |text| text);
        let told = ceremony.run(&format!("{CATALOG} --format json"));
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(told["findings"][0]["code"], "document_invalid", "{name}: {told}");
        for format in ["json", "text"] {
            let output = ceremony.run(&format!("{CATALOG} --format {format}"));
            assert_eq!(output.status.code(), Some(4), "{name}: {}", both(&output));
            assert_plain(&output, name);
        }
        let files = |all: BTreeMap<String, Vec<u8>>| all.into_keys().collect::<Vec<_>>();
        assert_eq!(files(tree(ceremony.scratch.path())), files(before), "{name}");
    }
    // Neither is a word in an index.
    for word in ["../x", "/x", "x/../y", "C:x", "x\\\\y"] {
        let text = |text: &str| text.replacen("\"tool\"", &format!("\"{word}\""), 1);
        let files = edited(&bundle_fixture(), "index.json", text);
        let bench = Bench::new(&files);
        let line = "remote-verify --base-url bundle --report reports";
        let output = bench.command(line).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{word}: {}", both(&output));
        let written: Vec<_> = tree(&bench.path("reports")).into_keys().collect();
        assert_eq!(written, ["remote-verify.json", "remote-verify.md"], "{word}");
    }
}

#[test]
fn what_a_catalog_tells_moves_no_cursor() {
    let ceremony = catalog();
    let odd = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\u{61c}\u{feff}\r\u{8}b";
    let yank = ceremony
        .command("catalog yank v1.0.0 --target releases --key release.pem --key ci.pem --reason")
        .args([odd, "--format", "json"])
        .output()
        .unwrap();
    assert!(yank.status.success(), "{}", both(&yank));
    assert_plain(&yank, "yank");
    for format in ["json", "text", "ndjson"] {
        for line in ["catalog show releases", CATALOG, "trust show releases"] {
            let output = ceremony.run(&format!("{line} --format {format}"));
            assert!(output.status.success(), "{line}: {}", both(&output));
            assert_plain(&output, &format!("{line} as {format}"));
        }
    }
    // In JSON it is what was said.
    let shown = ceremony.ok("catalog show releases");
    assert_eq!(shown["versions"][0]["reason"], odd);
}

#[test]
fn what_a_server_pours_without_an_end_is_cut_off() {
    for name in [
        "index.json",
        "provenance.json",
        "checksums.txt",
        &archive(),
        "signatures.json",
        "index.json.sig",
        dsse::FILE_NAME,
    ] {
        let (name, files) = (name.to_owned(), scene().files.clone());
        let poured = name.clone();
        let server = Server::start(move |request, stream| {
            let wanted = request.path.rsplit('/').next().unwrap_or_default();
            match files.get(wanted) {
                Some(bytes) if wanted == poured => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(bytes);
                    // It ends when the other side hangs up.
                    while stream.write_all(&[b' '; 8 << 10]).is_ok() {}
                }
                Some(bytes) => send(stream, &good(bytes)),
                None => send(stream, &answer("404 Not Found", "", b"no")),
            }
        });
        let bench = Bench::new(&Files::new());
        let line = format!("remote-verify --base-url {} --pubkey key.pub", server.url("v1.0.0"));
        bench.refused(&name, &mut bench.command(&line), 4, &["file_too_large"]);
    }
}

type Reader = (&'static str, Box<dyn Fn(&[u8]) -> bool>);

/// Every reader of something trusted, and whether it takes these bytes.
fn readers() -> Vec<Reader> {
    let now = "2025-01-01T00:00:00Z".parse().unwrap();
    vec![
        ("index", Box::new(|bytes| documents::read_index(bytes).is_ok())),
        ("provenance", Box::new(|bytes| documents::read_provenance(bytes).is_ok())),
        ("checksums", Box::new(|bytes| documents::read_checksums(bytes).is_ok())),
        ("metadata", Box::new(|bytes| documents::read_metadata(bytes).is_ok())),
        ("SPDX", Box::new(|bytes| spdx::described(bytes).is_ok())),
        ("CycloneDX", Box::new(|bytes| cyclonedx::described(bytes).is_ok())),
        ("signatures", Box::new(|bytes| Signatures::read(bytes).is_ok())),
        ("Sigstore bundle", Box::new(|bytes| Bundle::parse(bytes).is_ok())),
        ("envelope", Box::new(|bytes| Envelope::read_own(bytes).is_ok())),
        ("statement in a bundle", Box::new(takes_statement)),
        ("body of a log entry", Box::new(takes_log_entry)),
        ("root", Box::new(|bytes| Signed::<Root>::parse(bytes).is_ok() || Roots::begin(bytes).is_ok())),
        ("trust root", Box::new(move |bytes| Anchor::of_root(bytes, now).is_ok())),
        ("targets", Box::new(|bytes| Signed::<Targets>::parse(bytes).is_ok())),
        ("snapshot", Box::new(|bytes| Signed::<Snapshot>::parse(bytes).is_ok())),
        ("timestamp", Box::new(|bytes| Signed::<TimestampRole>::parse(bytes).is_ok())),
    ]
}

/// Whether a Sigstore bundle around a signed payload is taken for one about the index.
fn takes_statement(payload: &[u8]) -> bool {
    let (key, index) = (scene().key.as_ref(), &scene().files["index.json"]);
    let signature = key::sign(key, &dsse::pae(dsse::IN_TOTO, payload)).unwrap();
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": BASE64.encode(key.public().id().as_bytes())}},
        "dsseEnvelope": {
            "payload": BASE64.encode(payload),
            "payloadType": dsse::IN_TOTO,
            "signatures": [{"sig": BASE64.encode(&signature)}],
        },
    });
    let bundle = Bundle::parse(&serde_json::to_vec(&bundle).unwrap()).unwrap();
    bundle.verify(index, key.public(), None).is_ok()
}

/// Whether the body of a log entry is taken for one about the index.
fn takes_log_entry(body: &[u8]) -> bool {
    let (key, index) = (scene().key.public(), &scene().files["index.json"]);
    let signature = &scene().files["index.json.sig"];
    let mut bundle: Value =
        serde_json::from_slice(&Bundle::of_signature(key.id(), Digest::of(index), signature).render()).unwrap();
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
    bundle["verificationMaterial"]["tlogEntries"] = json!([{
        "logId": null,
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
        "canonicalizedBody": BASE64.encode(body),
    }]);
    let bundle = Bundle::parse(&serde_json::to_vec(&bundle).unwrap()).unwrap();
    bundle.verify(index, key, None).is_ok()
}

/// A statement about the index, in the middle of which something stands.
fn statement(within: &[u8]) -> Vec<u8> {
    let index = Digest::of(&scene().files["index.json"]);
    let head = format!(
        "{{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{{\"digest\":{{\"sha256\":\"{index}\"}}}}],\
         \"predicateType\":\"x\",\"predicate\":"
    );
    [head.as_bytes(), within, b"}"].concat()
}

#[test]
fn no_reader_of_anything_trusted_takes_what_is_no_json() {
    let Some(vectors) = vectors("json/test_parsing") else { return };
    assert!(takes_statement(&statement(b"{\"a\":[1.5,null,true,\"x\"]}")));
    let mut seen = 0;
    for entry in fs_err::read_dir(vectors).unwrap() {
        let entry = entry.unwrap();
        let (name, bytes) = (entry.file_name().into_string().unwrap(), fs_err::read(entry.path()).unwrap());
        for (reader, takes) in readers() {
            assert!(!takes(&bytes), "{reader}: {name}");
        }
        if name.starts_with("n_") {
            assert!(!takes_statement(&statement(&bytes)), "within a statement: {name}");
            assert!(Json::parse(&bytes).is_err(), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 180, "{seen}");
    // What is JSON and says two things is no statement either, however deep it stands.
    for within in ["{\"a\":1,\"a\":1}", "[{\"b\":{\"a\":1,\"\\u0061\":2}}]"] {
        assert!(!takes_statement(&statement(within.as_bytes())), "{within}");
    }
    for (from, to) in [
        ("\"subject\":[{", "\"subject\":[{\"name\":\"a\",\"name\":\"b\","),
        ("\"digest\":{", "\"digest\":{\"sha512\":\"x\",\"sha512\":\"y\","),
        ("\"digest\":{", "\"digest\":{\"sha256\":\"x\","),
        ("{\"_type\"", "{\"subject\":[],\"_type\""),
    ] {
        let text = String::from_utf8(statement(b"{}")).unwrap();
        assert!(!takes_statement(text.replacen(from, to, 1).as_bytes()), "{to}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!takes_statement(&statement(deep.as_bytes())));
}

#[test]
fn a_file_that_fails_or_is_exchanged_on_the_way_is_found() {
    let anchor = trusting(scene().key.as_ref());
    let (listing, whole) = gather(&scene().files);
    let read = |name: &str| whole_file(&whole, name);
    let asked = std::cell::RefCell::new(Vec::new());
    Documents::gather(&listing, |name, _| {
        asked.borrow_mut().push(name.to_owned());
        Ok::<_, ()>(read(name))
    })
    .unwrap();
    let asked = asked.into_inner();
    assert!(asked.len() > 10);
    for lost in &asked {
        let failing = |name: &str, _| if name == lost { Err(()) } else { Ok(read(name)) };
        assert!(Documents::gather(&listing, failing).is_err(), "{lost}");
        let exchanged = |name: &str, _| Ok::<_, ()>(if name == lost { None } else { read(name) });
        for anchor in [&anchor, &Anchor::Unchecked] {
            let found = Documents::gather(&listing, exchanged).unwrap();
            let verdict = Case::open(&listing, &found, anchor).judge(Vec::new(), Vec::new());
            assert!(verdict.bundle.is_none(), "{lost}");
            let is_told = |code: Code| matches!(code, Code::FileIrregular | Code::FileTooLarge);
            let told = verdict.findings.iter().any(|row| row.file == *lost && is_told(row.code));
            assert!(told, "{lost}: {:?}", verdict.findings);
        }
    }
}

fn whole_file(documents: &Documents, name: &str) -> Option<Vec<u8>> {
    match name {
        "index.json" => documents.index.clone(),
        "provenance.json" => documents.provenance.clone(),
        "checksums.txt" => documents.checksums.clone(),
        _ => documents.evidence.get(name).cloned(),
    }
}
