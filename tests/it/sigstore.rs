//! Sigstore bundles and transparency logs, judged by what others published.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use consign::model::{Code, Digest};
use consign::trust::dsse;
use consign::trust::key::{self, Algorithm, PublicKey, Signer as _};
use consign::trust::private::PrivateKey;
use consign::trust::sigstore::Bundle;
use consign::trust::transparency::{Checkpoint, leaf_hash, verify_consistency, verify_inclusion};
use data_encoding::BASE64;
use serde_json::Value;

use crate::fixture::{bundle_fixture, signed_with};
use crate::signed_verify::generate;
use crate::support::{Scratch, consign, missing_unless, need, succeed};
use crate::verify::vectors;

fn json_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "json") {
            into.push(path);
        }
    }
}

/// A hash of a vector, if it is one at all.
fn hash(value: &Value) -> Option<Digest> {
    let raw = BASE64.decode(value.as_str()?.as_bytes()).ok()?;
    <[u8; 32]>::try_from(raw).ok().map(Digest::from)
}

/// A root hash of two trees; some vectors only care whether the two are the same.
fn root_hash(value: &Value) -> Option<Digest> {
    hash(value).or_else(|| Some(Digest::of(format!("no hash: {}", value.as_str()?).as_bytes())))
}

fn proof(vector: &Value) -> Option<Vec<Digest>> {
    vector["proof"].as_array().map_or(Some(Vec::new()), |list| list.iter().map(hash).collect())
}

fn included(vector: &Value) -> Option<()> {
    let (number, size) = (vector["leafIdx"].as_u64()?, vector["treeSize"].as_u64()?);
    let (leaf, root) = (hash(&vector["leafHash"])?, hash(&vector["root"])?);
    verify_inclusion(number, size, &leaf, &proof(vector)?, &root).ok()
}

fn consistent(vector: &Value) -> Option<()> {
    let sizes = (vector["size1"].as_u64()?, vector["size2"].as_u64()?);
    let (smaller, larger) = (root_hash(&vector["root1"])?, root_hash(&vector["root2"])?);
    verify_consistency(sizes, &proof(vector)?, (&smaller, &larger)).ok()
}

#[test]
fn every_published_proof_is_judged_as_it_should_be() {
    let Some(vectors) = vectors("merkle/testdata") else { return };
    for (kind, judge) in [("inclusion", included as fn(&Value) -> Option<()>), ("consistency", consistent)] {
        let mut files = Vec::new();
        json_files(&Path::new(&vectors).join(kind), &mut files);
        assert_eq!(files.len(), 98, "{kind}");
        for path in files {
            let vector: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
            let is_wrong = vector["wantErr"].as_bool().unwrap_or_default();
            assert_eq!(judge(&vector).is_none(), is_wrong, "{}: {}", path.display(), vector["desc"]);
        }
    }
}

/// The published cases: a directory each, and the file that they are about.
fn cases() -> Option<(PathBuf, Vec<u8>)> {
    let vectors = vectors("sigstore-conformance")?;
    let artifact = fs_err::read(vectors.join("a.txt")).unwrap();
    Some((vectors.join("bundle-verify"), artifact))
}

fn key_of(case: &Path) -> PublicKey {
    PublicKey::from_pem(&fs_err::read(case.join("key.pub")).unwrap()).unwrap()
}

#[test]
fn the_published_cases_end_as_they_should_on_the_command_line() {
    let Some((cases, _)) = cases() else { return };
    let scratch = Scratch::new();
    let managed = cases.join("managed-key-happy-path/key.pub");
    let artifact = cases.parent().unwrap().join("a.txt");
    for entry in fs_err::read_dir(&cases).unwrap() {
        let case = entry.unwrap().path();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let is_managed = name.starts_with("managed-key");
        // Where there is no key, what was made with certificates is refused: by another code than success.
        if !case.is_dir() || !is_managed && !name.ends_with("_fail") {
            continue;
        }
        let mut command = consign(scratch.path());
        command.arg("verify-blob").arg(&artifact).arg("--bundle").arg(case.join("bundle.sigstore.json"));
        if is_managed && case.join("key.pub").is_file() {
            command.arg("--pubkey").arg(case.join("key.pub"));
        } else if !is_managed {
            command.arg("--pubkey").arg(&managed);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.success(), !name.ends_with("_fail"), "{name}: {output:?}");
        assert!(output.status.code().is_some_and(|code| code < 10), "{name} panicked");
    }
}

#[test]
fn a_bundle_with_an_unknown_shape_is_refused_before_anything_else() {
    let Some((cases, _)) = cases() else { return };
    for name in [
        "bundle-unknown-version_fail",
        "bundle-malformed-json_fail",
        "bundle-empty-certificate-chain_fail",
        "bundle-invalid-base64-signature_fail",
        "bundle-negative-log-index_fail",
    ] {
        let bytes = fs_err::read(cases.join(name).join("bundle.sigstore.json")).unwrap();
        assert_eq!(Bundle::parse(&bytes).unwrap_err().code, Code::DocumentInvalid, "{name}");
    }
    for name in ["happy-path-v0.1", "happy-path-v0.2", "happy-path-v0.3", "rekor2-happy-path", "rekor2-dsse-happy-path"]
    {
        let bytes = fs_err::read(cases.join(name).join("bundle.sigstore.json")).unwrap();
        assert!(!Bundle::parse(&bytes).unwrap().is_keyed(), "{name}");
    }
}

/// The bundle of the case with a managed key whose log's key is known, and both keys.
fn logged() -> Option<(Value, Vec<u8>, PublicKey, PublicKey)> {
    let (cases, artifact) = cases()?;
    let case = cases.join("managed-key-and-trusted-root");
    let bundle = serde_json::from_slice(&fs_err::read(case.join("bundle.sigstore.json")).unwrap()).unwrap();
    let root: Value = serde_json::from_slice(&fs_err::read(case.join("trusted_root.json")).unwrap()).unwrap();
    Some((bundle, artifact, key_of(&case), log_key(&root, "https://rekor.sigstage.dev")))
}

fn log_key(root: &Value, url: &str) -> PublicKey {
    let log = root["tlogs"].as_array().unwrap().iter().find(|log| log["baseUrl"] == url).unwrap();
    let der = BASE64.decode(log["publicKey"]["rawBytes"].as_str().unwrap().as_bytes()).unwrap();
    PublicKey::from_der(&der).unwrap()
}

fn check(bundle: &Value, artifact: &[u8], key: &PublicKey, log: Option<&PublicKey>) -> Result<(), Code> {
    let bundle = Bundle::parse(&serde_json::to_vec(bundle).unwrap()).map_err(|why| why.code)?;
    bundle.verify(artifact, key, log).map_err(|why| why.code)
}

type Change<'a> = &'a dyn Fn(&mut Value);

#[test]
fn a_log_entry_has_to_be_about_this_signature_and_in_the_log() {
    let Some((good, artifact, key, log)) = logged() else { return };
    assert_eq!(check(&good, &artifact, &key, None), Ok(()));
    assert_eq!(check(&good, &artifact, &key, Some(&log)), Ok(()));
    let other_log = generate(Algorithm::EcdsaP256);
    assert_eq!(check(&good, &artifact, &key, Some(other_log.public())), Err(Code::SignatureInvalid));
    assert_eq!(check(&good, b"other", &key, None), Err(Code::SignatureInvalid));
    assert_eq!(check(&good, &artifact, other_log.public(), None), Err(Code::KeyUntrusted));

    let (cases, _) = cases().unwrap();
    let other = fs_err::read(cases.join("managed-key-happy-path/bundle.sigstore.json")).unwrap();
    let other: Value = serde_json::from_slice(&other).unwrap();
    let entry = |value: &Value| value["verificationMaterial"]["tlogEntries"][0].clone();
    let changes: &[(&str, Change<'_>)] = &[
        ("another bundle's entry", &|it| *it = entry(&other)),
        ("another bundle's proof", &|it| it["inclusionProof"] = entry(&other)["inclusionProof"].clone()),
        ("another bundle's body", &|it| it["canonicalizedBody"] = entry(&other)["canonicalizedBody"].clone()),
        ("no proof", &|it| _ = it.as_object_mut().unwrap().remove("inclusionProof")),
        ("no checkpoint", &|it| _ = it["inclusionProof"].as_object_mut().unwrap().remove("checkpoint")),
        ("a hash less", &|it| _ = it["inclusionProof"]["hashes"].as_array_mut().unwrap().pop()),
        ("a hash more", &|it| {
            let first = it["inclusionProof"]["hashes"][0].clone();
            it["inclusionProof"]["hashes"].as_array_mut().unwrap().push(first);
        }),
        ("another size", &|it| it["inclusionProof"]["treeSize"] = "20071234".into()),
        ("another place", &|it| it["inclusionProof"]["logIndex"] = "20071231".into()),
        ("a place beyond the end", &|it| it["inclusionProof"]["logIndex"] = "20071233".into()),
        ("no place", &|it| _ = it["inclusionProof"].as_object_mut().unwrap().remove("logIndex")),
        ("another root", &|it| it["inclusionProof"]["rootHash"] = BASE64.encode(&[7; 32]).into()),
        ("another kind", &|it| it["kindVersion"]["kind"] = "rekord".into()),
        ("another version", &|it| it["kindVersion"]["version"] = "0.0.2".into()),
    ];
    for (what, change) in changes {
        let mut spoiled = good.clone();
        change(&mut spoiled["verificationMaterial"]["tlogEntries"][0]);
        assert_eq!(check(&spoiled, &artifact, &key, None), Err(Code::SignatureInvalid), "{what}");
    }
    // The checkpoint's own lines: a part that is missing is noticed by everybody, a signature by who has the key.
    let note = good["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["envelope"].clone();
    let note = note.as_str().unwrap().to_owned();
    let lines: Vec<&str> = note.split('\n').collect();
    for number in 0..5 {
        let mut less = lines.clone();
        less.remove(number);
        let mut spoiled = good.clone();
        spoiled["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["envelope"] =
            less.join("\n").into();
        assert_eq!(check(&spoiled, &artifact, &key, Some(&log)), Err(Code::SignatureInvalid), "line {number}");
    }
    let resigned = note.replace("0y8wozBF", "0y8wpDBF");
    let forged = note.replace("g5E/6uRc", "g5E/6uRd");
    for changed in [resigned, forged, note.replace("rekor.sigstage.dev", "rekor.example.dev")] {
        assert_ne!(changed, note);
        let mut spoiled = good.clone();
        spoiled["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["envelope"] = changed.into();
        assert_eq!(check(&spoiled, &artifact, &key, Some(&log)), Err(Code::SignatureInvalid));
    }
    // A bundle that is in no log is not enough where a log is demanded.
    let mut bare = good.clone();
    bare["verificationMaterial"].as_object_mut().unwrap().remove("tlogEntries");
    assert_eq!(check(&bare, &artifact, &key, None), Ok(()));
    assert_eq!(check(&bare, &artifact, &key, Some(&log)), Err(Code::SignatureInvalid));
}

#[test]
fn checkpoints_of_the_second_kind_of_log_are_read_and_verified() {
    let Some((cases, _)) = cases() else { return };
    for entry in fs_err::read_dir(&cases).unwrap() {
        let case = entry.unwrap().path();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let kinds = ["rekor2-checkpoint-", "rekor2-happy", "inclusion-proof-corrupted", "checkpoint-wrong-roothash"];
        if !kinds.iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        let bundle: Value = serde_json::from_slice(&fs_err::read(case.join("bundle.sigstore.json")).unwrap()).unwrap();
        let entry = &bundle["verificationMaterial"]["tlogEntries"][0];
        let holds = holds(&case, entry);
        assert_eq!(holds.is_ok(), !name.ends_with("_fail"), "{name}: {holds:?}");
    }
}

/// Whether an entry is in the log that its checkpoint names.
fn holds(case: &Path, entry: &Value) -> Result<(), String> {
    let proof = &entry["inclusionProof"];
    let number = |value: &Value| value.as_str().unwrap_or("0").parse::<u64>().map_err(|error| error.to_string());
    let body = BASE64.decode(entry["canonicalizedBody"].as_str().unwrap().as_bytes()).unwrap();
    let hashes: Vec<Digest> = proof["hashes"].as_array().into_iter().flatten().filter_map(hash).collect();
    let (size, root) = (number(&proof["treeSize"])?, hash(&proof["rootHash"]).ok_or("no root hash")?);
    verify_inclusion(number(&proof["logIndex"])?, size, &leaf_hash(&body), &hashes, &root)
        .map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::parse(proof["checkpoint"]["envelope"].as_str().unwrap())?;
    if (checkpoint.size, checkpoint.root) != (size, root) {
        return Err("another tree".to_owned());
    }
    let Ok(root) = fs_err::read(case.join("trusted_root.json")) else { return Ok(()) };
    let root: Value = serde_json::from_slice(&root).unwrap();
    checkpoint.verify(&log_key(&root, "https://log2025-alpha1.rekor.sigstage.dev"))
}

/// Where npm puts what the test asks for, kept from run to run.
fn sigstore_js() -> Option<PathBuf> {
    if !need("npm") || !need("node") {
        return None;
    }
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sigstore-js");
    if !directory.join("node_modules/@sigstore/verify").is_dir() {
        fs_err::create_dir_all(&directory).unwrap();
        let mut install = Command::new("npm");
        install.current_dir(&directory).args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        install.args(["@sigstore/verify@2.1.1", "@sigstore/bundle@3.1.0"]);
        let installed = install.output().is_ok_and(|output| output.status.success());
        if !missing_unless(installed, "the npm package @sigstore/verify") {
            return None;
        }
    }
    Some(directory)
}

#[test]
fn sigstore_s_own_verifier_accepts_our_bundle() {
    let Some(directory) = sigstore_js() else { return };
    let key = generate(Algorithm::EcdsaP256);
    let pem = key.public().to_pem();
    let files = signed_with(&bundle_fixture(), &[key]);
    let scratch = Scratch::new();
    crate::fixture::write(&files, scratch.path());
    scratch.write("pub.pem", pem);
    let script = scratch.write(
        "check.cjs",
        r#"
const fs = require("node:fs"), crypto = require("node:crypto"), path = require("node:path");
const base = path.join(process.argv[2], "node_modules/@sigstore/");
const { bundleFromJSON } = require(base + "bundle");
const { toSignedEntity, toTrustMaterial, Verifier } = require(base + "verify");
const here = process.argv[3];
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(path.join(here, "index.json.sigstore.json"), "utf8")));
const key = crypto.createPublicKey(fs.readFileSync(path.join(here, "pub.pem")));
const id = crypto.createHash("sha256").update(key.export({ format: "der", type: "spki" })).digest("base64");
const find = (hint) => {
  if (hint !== id) throw new Error("unknown key " + hint);
  return { publicKey: { rawBytes: key.export({ format: "der", type: "spki" }), keyDetails: 5 }, validFor: () => true };
};
const root = { tlogs: [], ctlogs: [], timestampAuthorities: [], certificateAuthorities: [] };
const trust = toTrustMaterial(root, (hint) => ({ publicKey: key, validFor: () => find(hint) && true }));
const verifier = new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0, tsaThreshold: 0 });
const bytes = fs.readFileSync(path.join(here, process.argv[4]));
verifier.verify(toSignedEntity(bundle, bytes));
"#,
    );
    let run = |file: &str| {
        let mut command = Command::new("node");
        command.arg(&script).arg(&directory).args([scratch.path().as_str(), file]);
        command
    };
    succeed(&mut run("index.json"));
    assert!(!run("checksums.txt").output().unwrap().status.success());
}

/// A key that has signed what is in the fuzzer's corpus, and the key of the log in which that is.
fn corpus_key(name: &str) -> PrivateKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/private_key").join(name);
    PrivateKey::from_pkcs8(&fs_err::read(path).unwrap()).unwrap()
}

const MESSAGE: &[u8] = b"message";

/// A bundle over the message with one log entry, whose body is changed before it is logged.
fn logged_by_us(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/sigstore").join(name);
    let mut bundle: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    let log = corpus_key("ed25519.der");
    let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
    let body = BASE64.decode(entry["canonicalizedBody"].as_str().unwrap().as_bytes()).unwrap();
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    change(&mut body);
    let body = serde_json::to_vec(&body).unwrap();
    let other = hash(&entry["inclusionProof"]["hashes"][0]).unwrap();
    let root = Digest::of(&[&[1][..], other.as_bytes(), leaf_hash(&body).as_bytes()].concat());
    let root = BASE64.encode(root.as_bytes());
    let note = format!("log.example\n2\n{root}\n");
    let hint = log.public().id();
    let signature = [&hint.as_bytes()[..4], &key::sign(&log, note.as_bytes()).unwrap()].concat();
    entry["inclusionProof"]["rootHash"] = root.into();
    entry["inclusionProof"]["checkpoint"]["envelope"] =
        format!("{note}\n\u{2014} log.example {}\n", BASE64.encode(&signature)).into();
    entry["canonicalizedBody"] = BASE64.encode(&body).into();
    bundle
}

fn check_ours(bundle: &Value) -> Result<(), Code> {
    let (key, log) = (corpus_key("p-256.der"), corpus_key("ed25519.der"));
    let without = check(bundle, MESSAGE, key.public(), None);
    assert_eq!(check(bundle, MESSAGE, key.public(), Some(log.public())).is_ok(), without.is_ok());
    without
}

#[test]
fn the_body_of_a_log_entry_says_this_and_nothing_else() {
    let stranger = generate(Algorithm::EcdsaP256);
    let (pem, spki) = (BASE64.encode(stranger.public().to_pem().as_bytes()), BASE64.encode(stranger.public().spki()));
    let other = Digest::of(b"other");
    for (name, artifact, algorithm, signature, public) in [
        (
            "logged.json",
            "/spec/data/hash/value",
            "/spec/data/hash/algorithm",
            "/spec/signature/content",
            ("/spec/signature/publicKey/content", pem),
        ),
        (
            "logged_second.json",
            "/spec/hashedRekordV002/data/digest",
            "/spec/hashedRekordV002/data/algorithm",
            "/spec/hashedRekordV002/signature/content",
            ("/spec/hashedRekordV002/signature/verifier/publicKey/rawBytes", spki),
        ),
    ] {
        assert_eq!(check_ours(&logged_by_us(name, |_| {})), Ok(()), "{name}");
        let digest = if name == "logged.json" { other.to_string() } else { BASE64.encode(other.as_bytes()) };
        for (pointer, value) in [
            (artifact, digest),
            (algorithm, "SHA2_512".to_owned()),
            (signature, BASE64.encode(b"other")),
            (public.0, public.1),
            ("/apiVersion", "0.0.3".to_owned()),
            ("/kind", "dsse".to_owned()),
        ] {
            let spoiled = logged_by_us(name, |body| *body.pointer_mut(pointer).unwrap() = value.into());
            assert_eq!(check_ours(&spoiled), Err(Code::SignatureInvalid), "{name} {pointer}");
        }
    }
}

#[test]
fn a_bundle_has_no_more_of_anything_than_is_needed() {
    let key = corpus_key("p-256.der");
    let good = logged_by_us("logged.json", |_| {});
    let entry = good["verificationMaterial"]["tlogEntries"][0].clone();
    let stamp = serde_json::json!({"signedTimestamp": "AAAA"});
    let certificate = serde_json::json!({"rawBytes": "AAAA"});
    for (count, expected) in [(0, Ok(())), (32, Ok(())), (33, Err(Code::DocumentInvalid))] {
        let mut many = good.clone();
        many["verificationMaterial"]["tlogEntries"] = vec![entry.clone(); count].into();
        assert_eq!(check(&many, MESSAGE, key.public(), None), expected, "{count} entries");
        let mut many = good.clone();
        many["verificationMaterial"]["timestampVerificationData"] =
            serde_json::json!({"rfc3161Timestamps": vec![stamp.clone(); count]});
        assert_eq!(check(&many, MESSAGE, key.public(), None), expected, "{count} time stamps");
        let mut many = good.clone();
        many["verificationMaterial"] =
            serde_json::json!({"x509CertificateChain": {"certificates": vec![certificate.clone(); count]}});
        let is_read = Bundle::parse(&serde_json::to_vec(&many).unwrap()).is_ok();
        assert_eq!(is_read, count == 32, "{count} certificates");
    }
}

#[test]
fn only_the_first_kind_of_bundle_needs_no_proof_and_only_where_no_log_is_demanded() {
    let (key, log) = (corpus_key("p-256.der"), corpus_key("ed25519.der"));
    let mut bare = logged_by_us("logged.json", |_| {});
    _ = bare["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof");
    for (version, expected) in
        [("0.1", Ok(())), ("0.2", Err(Code::SignatureInvalid)), ("0.3", Err(Code::SignatureInvalid))]
    {
        bare["mediaType"] = format!("application/vnd.dev.sigstore.bundle+json;version={version}").into();
        assert_eq!(check(&bare, MESSAGE, key.public(), None), expected, "{version}");
        assert_eq!(check(&bare, MESSAGE, key.public(), Some(log.public())), Err(Code::SignatureInvalid), "{version}");
    }
}

#[test]
fn what_a_bundle_carries_besides_its_signature_is_seen() {
    let key = corpus_key("p-256.der");
    let signature = key::sign(&key, MESSAGE).unwrap();
    let plain = Bundle::of_signature(key.public().id(), Digest::of(MESSAGE), &signature);
    assert!(plain.is_plain() && plain.is_keyed() && plain.is_about(Digest::of(MESSAGE)));
    assert!(!plain.is_about(Digest::of(b"other")));
    assert_eq!((plain.key(), plain.signature()), (Some(key.public().id()), Some(signature)));
    let read = |value: &Value| Bundle::parse(&serde_json::to_vec(value).unwrap()).unwrap();
    assert!(!read(&logged_by_us("logged.json", |_| {})).is_plain());
    let mut stamped: Value = serde_json::from_slice(&plain.render()).unwrap();
    stamped["verificationMaterial"]["timestampVerificationData"] = serde_json::json!({"rfc3161Timestamps": []});
    assert!(!read(&stamped).is_plain());
    // Where the digest is by another algorithm, nothing that is understood is said of this file.
    let mut other: Value = serde_json::from_slice(&plain.render()).unwrap();
    other["messageSignature"]["messageDigest"]["algorithm"] = "SHA2_512".into();
    assert!(!read(&other).is_about(Digest::of(MESSAGE)));
    _ = other["messageSignature"].as_object_mut().unwrap().remove("messageDigest");
    assert!(read(&other).is_about(Digest::of(MESSAGE)));
}

#[test]
fn a_statement_in_an_envelope_has_to_be_about_the_file() {
    const V1: &str = "https://in-toto.io/Statement/v1";
    let key = corpus_key("p-256.der");
    let judged = |payload_type: &str, statement: Value| {
        let body = serde_json::to_vec(&statement).unwrap();
        let signature = key::sign(&key, &dsse::pae(payload_type, &body)).unwrap();
        let bundle = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": BASE64.encode(key.public().id().as_bytes())}},
            "dsseEnvelope": {
                "payload": BASE64.encode(&body),
                "payloadType": payload_type,
                "signatures": [{"sig": BASE64.encode(&signature)}],
            },
        });
        check(&bundle, MESSAGE, key.public(), None)
    };
    let statement = |kind: &str, file: &[u8]| {
        let subjects = serde_json::json!([
            {"name": "other", "digest": {"sha512": "00"}},
            {"name": "file", "digest": {"sha256": Digest::of(file).to_string()}},
        ]);
        serde_json::json!({"_type": kind, "subject": subjects, "predicateType": "x", "predicate": {}})
    };
    assert_eq!(judged(dsse::IN_TOTO, statement(V1, MESSAGE)), Ok(()));
    assert_eq!(judged(dsse::IN_TOTO, statement("https://in-toto.io/Statement/v0.1", MESSAGE)), Ok(()));
    assert_eq!(
        judged(dsse::IN_TOTO, statement("https://in-toto.io/Statement/v2", MESSAGE)),
        Err(Code::DocumentInvalid)
    );
    assert_eq!(judged("text/plain", statement(V1, MESSAGE)), Err(Code::DocumentInvalid));
    assert_eq!(judged(dsse::IN_TOTO, statement(V1, b"other")), Err(Code::SubjectMismatch));
    assert_eq!(judged(dsse::IN_TOTO, serde_json::json!([])), Err(Code::DocumentInvalid));
}
