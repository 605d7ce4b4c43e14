//! Signing: what comes out is verified by openssl, stays where it is valid, and heals.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use camino::Utf8Path;
use consign::model::events::Silence;
use consign::model::failure::Result;
use consign::model::{Code, Release};
use consign::pipeline::guard::Guard;
use consign::pipeline::remote_verify::{Published, remote_verify};
use consign::pipeline::sign::{Hand, Signed, sign};
use consign::pipeline::verify::Requirements;
use consign::pipeline::{Tools, verify};
use consign::trust::documents::is_evidence;
use consign::trust::dsse::{self, Envelope};
use consign::trust::key::{Algorithm, PublicKey, Signer};
use consign::trust::tuf::roles::{Key, RoleKeys, Roles, Root, Signature, Signed as Document};
use consign::trust::{Anchor, key};
use data_encoding::HEXLOWER;

use crate::fixture::{self, Files, bundle_fixture, judge_with, read_directory, signed_with};
use crate::http::Server;
use crate::signed_verify::{generate, trusting};
use crate::support::{Scratch, consign, need, small_workspace, succeed};
use crate::workspaces::{bundle, configured, json, litter, rehearse};

fn on_disk(files: &Files) -> Scratch {
    let scratch = Scratch::new();
    fixture::write(files, scratch.path());
    scratch
}

fn openssl(directory: &Utf8Path, arguments: &[&str]) {
    succeed(Command::new("openssl").current_dir(directory).args(arguments));
}

/// A private key of openssl's making: its path and its public half's.
fn openssl_key(directory: &Utf8Path, name: &str, options: &[&str]) {
    openssl(directory, &[&["genpkey", "-out", name], options].concat());
    openssl(directory, &["pkey", "-in", name, "-pubout", "-out", &format!("{name}.pub")]);
    let mut mode = Command::new("chmod");
    succeed(mode.current_dir(directory).args(["600", name]));
}

#[test]
fn openssl_verifies_every_signature_with_the_command_that_is_printed() {
    if !need("openssl") {
        return;
    }
    let keys = Scratch::new();
    let rsa = |bits: &'static str| vec!["-algorithm", "RSA", "-pkeyopt", bits];
    let curve = |name: &'static str| vec!["-algorithm", "EC", "-pkeyopt", name];
    for (name, options) in [
        ("p256", curve("ec_paramgen_curve:P-256")),
        ("p384", curve("ec_paramgen_curve:P-384")),
        ("rsa2048", rsa("rsa_keygen_bits:2048")),
        ("rsa3072", rsa("rsa_keygen_bits:3072")),
        ("rsa4096", rsa("rsa_keygen_bits:4096")),
        ("ed25519", vec!["-algorithm", "ed25519"]),
    ] {
        openssl_key(keys.path(), name, &options);
        let path = keys.path().join(name);
        let scratch = on_disk(&bundle_fixture());
        let place = scratch.path().as_str();
        let signed = json(keys.path(), &["sign", "--key", path.as_str(), place]).passed().json();
        assert_eq!((&signed["type"], &signed["keys"][0]["made"]), (&"consign.signed/v1".into(), &9.into()), "{name}");
        let public = format!("{path}.pub");
        let verified = json(keys.path(), &["verify", place, "--pubkey", &public]).passed().json();
        assert_eq!(verified["authenticity"], "signed", "{name}");

        // Every line that is printed for people is run as it is, and then for every other file.
        fs_err::copy(&public, keys.path().join("pub.pem")).unwrap();
        let command = signed["keys"][0]["command"].as_str().unwrap();
        let told = succeed(consign(keys.path()).args(["sign", "--key", path.as_str(), place]));
        assert!(told.lines().any(|line| line.trim() == command), "{told}");
        let run = |line: &str| Command::new("sh").current_dir(keys.path()).args(["-ec", line]).output().unwrap();
        for asset in bundle_fixture().keys() {
            let command = command.replace("index.json", asset);
            let output = run(&command);
            assert!(output.status.success(), "{command}: {output:?}");
        }
        let wrong = command.replace("index.json.sig", "checksums.txt.sig");
        assert!(!run(&wrong).status.success(), "{wrong}");

        // The envelope signs its payload with its type.
        let envelope = fs_err::read(scratch.path().join(dsse::FILE_NAME)).unwrap();
        let envelope = Envelope::read_own(&envelope).unwrap();
        let body = fs_err::read(scratch.path().join("provenance.json")).unwrap();
        keys.write("message", dsse::pae("application/vnd.in-toto+json", &body));
        keys.write("message.sig", &envelope.listed()[0].1);
        let public = PublicKey::from_pem(&fs_err::read(&public).unwrap()).unwrap();
        succeed(
            Command::new("sh")
                .current_dir(keys.path())
                .args(["-ec", &public.algorithm().openssl_command("pub.pem", "message.sig", "message")]),
        );
    }
}

#[test]
fn what_openssl_signs_is_verified_here() {
    if !need("openssl") {
        return;
    }
    let keys = Scratch::new();
    openssl_key(keys.path(), "key", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let scratch = on_disk(&bundle_fixture());
    for asset in bundle_fixture().keys() {
        let file = scratch.path().join(asset);
        openssl(keys.path(), &["dgst", "-sha256", "-sign", "key", "-out", &format!("{file}.sig"), file.as_str()]);
        let signature = format!("{file}.sig");
        let blob = ["verify-blob", file.as_str(), "--pubkey", "key.pub", "--signature", &signature];
        json(keys.path(), &blob).passed();
        let index = scratch.path().join("provenance.json");
        if asset != "provenance.json" {
            json(keys.path(), &["verify-blob", index.as_str(), "--pubkey", "key.pub", "--signature", &signature])
                .failed(4, "sig_invalid");
        }
    }
    json(keys.path(), &["verify", scratch.path().as_str(), "--pubkey", "key.pub"]).passed();
    json(keys.path(), &["verify-blob", "key.pub", "--signature", "key.pub"]).failed(2, "usage");
}

fn sign_again(directory: &Utf8Path, signers: &[Box<dyn Signer>]) -> Signed {
    sign(directory, None, Hand::of(signers), &Silence).unwrap()
}

fn evidence(files: &Files) -> Files {
    files.iter().filter(|(name, _)| is_evidence(name)).map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
}

#[test]
fn what_is_valid_stays_and_another_key_adds() {
    let first = [generate(Algorithm::EcdsaP256)];
    let second = [generate(Algorithm::Ed25519)];
    let scratch = on_disk(&bundle_fixture());
    let signed = sign_again(scratch.path(), &first);
    assert_eq!((signed.keys[0].made, signed.keys[0].kept, signed.written.len()), (9, 0, 11));
    let once = read_directory(scratch.path());
    let signed = sign_again(scratch.path(), &first);
    assert_eq!((signed.keys[0].made, signed.keys[0].kept, signed.written.len()), (0, 9, 0));
    assert_eq!(read_directory(scratch.path()), once);

    sign_again(scratch.path(), &second);
    let both = read_directory(scratch.path());
    let short = &second[0].public().id().to_string()[..8];
    for asset in bundle_fixture().keys() {
        assert_eq!(both[&format!("{asset}.sig")], once[&format!("{asset}.sig")]);
        assert!(both.contains_key(&format!("{asset}.{short}.sig")), "{asset}");
    }
    assert_eq!(both["index.json.sigstore.json"], once["index.json.sigstore.json"]);
    assert!(both.contains_key(&format!("index.json.{short}.sigstore.json")));
    for key in [&first[0], &second[0]] {
        assert_eq!(judge_with(&both, &trusting(key.as_ref())).findings, []);
    }
    // Both at once, or the other way round, change nothing any more.
    for key in [&first, &second] {
        assert!(sign_again(scratch.path(), key).written.is_empty());
    }
    let order: [Box<dyn Signer>; 2] = [second.into_iter().next().unwrap(), first.into_iter().next().unwrap()];
    assert!(sign_again(scratch.path(), &order).written.is_empty());
}

#[test]
fn what_is_spoiled_or_lost_is_made_again() {
    let keys = [generate(Algorithm::EcdsaP256)];
    let whole = signed_with(&bundle_fixture(), &keys);
    for name in evidence(&whole).keys() {
        let spoils: [fn(&mut Files, &str); 3] = [
            |files, name| _ = files.remove(name),
            |files, name| files.get_mut(name).unwrap()[10] ^= 1,
            |files, name| _ = files.insert(name.to_owned(), Vec::new()),
        ];
        for spoil in spoils {
            let mut files = whole.clone();
            spoil(&mut files, name);
            let scratch = on_disk(&files);
            sign_again(scratch.path(), &keys);
            let healed = read_directory(scratch.path());
            assert_eq!(judge_with(&healed, &trusting(keys[0].as_ref())).findings, [], "{name}");
            // What was whole is what it was.
            let changed: BTreeSet<_> = whole.keys().filter(|file| healed.get(*file) != whole.get(*file)).collect();
            let may_change: BTreeSet<_> = [name].into();
            assert!(changed.is_subset(&may_change), "{name}: {changed:?}");
        }
    }
}

#[test]
fn a_run_that_was_killed_anywhere_is_healed_by_the_same_run() {
    let (one, two) = (generate(Algorithm::EcdsaP256), generate(Algorithm::EcdsaP256));
    let start = signed_with(&bundle_fixture(), std::slice::from_ref(&one));
    let scratch = on_disk(&start);
    let both = [one, two];
    let signed = sign_again(scratch.path(), &both);
    let end = read_directory(scratch.path());
    // Files are written one after another, the list of all signatures last.
    let mut order: Vec<_> = signed.written.iter().map(ToString::to_string).collect();
    order.sort_by_key(|name| (name == "signatures.json", name.clone()));
    for killed_at in 0..order.len() {
        let mut files = start.clone();
        for name in &order[..killed_at] {
            files.insert(name.clone(), end[name].clone());
        }
        let scratch = on_disk(&files);
        sign_again(scratch.path(), &both);
        let healed = read_directory(scratch.path());
        for key in &both {
            assert_eq!(judge_with(&healed, &trusting(key.as_ref())).findings, [], "killed at {killed_at}");
        }
        assert_eq!(healed.keys().collect::<Vec<_>>(), end.keys().collect::<Vec<_>>());
    }
}

/// A signer whose signatures are somebody else's.
struct Wrong(Box<dyn Signer>, Box<dyn Signer>);

impl Signer for Wrong {
    fn public(&self) -> &PublicKey {
        self.0.public()
    }

    fn sign_unverified(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.1.sign_unverified(message)
    }
}

#[test]
fn nothing_is_written_where_anything_fails() {
    let good = || generate(Algorithm::EcdsaP256);
    let scratch = on_disk(&bundle_fixture());
    let wrong: [Box<dyn Signer>; 2] = [good(), Box::new(Wrong(good(), good()))];
    let refused =
        |signers: &[Box<dyn Signer>]| sign(scratch.path(), None, Hand::of(signers), &Silence).unwrap_err().code();
    assert_eq!(refused(&wrong), Code::SignatureInvalid);
    assert_eq!(refused(&[]), Code::KeyMissing);
    assert_eq!(read_directory(scratch.path()), bundle_fixture());
    scratch.write("stranger.txt", "x");
    assert_eq!(refused(&[good()]), Code::FileUnlisted);
    fs_err::remove_file(scratch.path().join("stranger.txt")).unwrap();
    let other = Release::parse("v2.0.0").unwrap();
    let refused = sign(scratch.path(), Some(&other), Hand::of(&[good()]), &Silence).unwrap_err();
    assert_eq!(refused.code(), Code::DocumentsDisagree);
    assert_eq!(read_directory(scratch.path()), bundle_fixture());
}

#[test]
fn the_signature_of_a_stranger_is_never_replaced_in_silence() {
    let (one, two) = ([generate(Algorithm::EcdsaP256)], [generate(Algorithm::EcdsaP256)]);
    let mut files = signed_with(&bundle_fixture(), &one);
    files.get_mut("index.json.sig").unwrap()[12] ^= 1;
    let scratch = on_disk(&files);
    let refused = sign(scratch.path(), None, Hand::of(&two), &Silence).unwrap_err();
    assert_eq!((refused.code(), refused.about()), (Code::SignatureInvalid, Some("index.json")));
    assert_eq!(read_directory(scratch.path()), files);
}

/// A root with these keys for releases, signed by a key of its own.
pub fn root(threshold: u64, signers: &[&dyn Signer], expires: &str) -> Vec<u8> {
    let own = generate(Algorithm::EcdsaP256);
    let mut keys = BTreeMap::new();
    let mut role = |signers: &[&dyn Signer], threshold| {
        let rows = signers.iter().map(|signer| Key::of(signer.public()).unwrap());
        let rows: Vec<_> = rows.map(|key| (key.id(), key)).collect();
        keys.extend(rows.iter().cloned());
        RoleKeys { keyids: rows.into_iter().map(|(id, _)| id).collect(), threshold }
    };
    let (owner, targets) = (role(&[own.as_ref()], 1), role(signers, threshold));
    let roles = Roles { root: owner.clone(), targets, snapshot: owner.clone(), timestamp: owner.clone() };
    let mut document = Document::new(Root::new(1, expires.parse().unwrap(), keys, roles));
    let signature = key::sign(own.as_ref(), &document.canonical()).unwrap();
    document.signatures.push(Signature { keyid: owner.keyids[0].clone(), sig: HEXLOWER.encode(&signature) });
    document.render()
}

#[test]
fn a_trust_root_says_who_may_sign_and_how_many_have_to() {
    let (one, two) = (generate(Algorithm::EcdsaP256), generate(Algorithm::Ed25519));
    let stranger = generate(Algorithm::EcdsaP256);
    let refs: [&dyn Signer; 2] = [one.as_ref(), two.as_ref()];
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let (all, later) = ("2030-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let anchor = |threshold| Anchor::of_root(&root(threshold, &refs, all), now);
    for threshold in [0, 3] {
        assert_eq!(anchor(threshold).unwrap_err().code(), Code::CatalogInvalid);
    }
    assert_eq!(Anchor::of_root(&root(1, &refs, later), now).unwrap_err().code(), Code::CatalogExpired);
    let mut flipped = root(1, &refs, all);
    let at = flipped.windows(4).position(|window| window == b"2030").unwrap();
    flipped[at + 3] = b'1';
    assert_eq!(Anchor::of_root(&flipped, now).unwrap_err().code(), Code::CatalogInvalid);
    // One key twice, under two ids, is one key.
    let twice: [&dyn Signer; 2] = [one.as_ref(), one.as_ref()];
    assert_eq!(Anchor::of_root(&root(2, &twice, all), now).unwrap_err().code(), Code::CatalogInvalid);

    let (one_of, both_of, nobody) = (anchor(1).unwrap(), anchor(2).unwrap(), root(1, &[stranger.as_ref()], all));
    let nobody = Anchor::of_root(&nobody, now).unwrap();
    let first = signed_with(&bundle_fixture(), &[one]);
    let both = signed_with(&first, &[two]);
    assert_eq!(judge_with(&first, &one_of).findings, []);
    assert!(judge_with(&first, &both_of).bundle.is_none());
    assert_eq!(judge_with(&both, &both_of).findings, []);
    assert!(judge_with(&both, &nobody).bundle.is_none());
}

#[test]
fn the_command_takes_a_trust_root() {
    let (trusted, stranger) = (generate(Algorithm::EcdsaP256), generate(Algorithm::EcdsaP256));
    let keys = Scratch::new();
    keys.write("root.json", root(1, &[trusted.as_ref()], "2099-01-01T00:00:00Z"));
    keys.write("old.json", root(1, &[trusted.as_ref()], "2020-01-01T00:00:00Z"));
    keys.write("other.json", root(1, &[stranger.as_ref()], "2099-01-01T00:00:00Z"));
    let scratch = on_disk(&signed_with(&bundle_fixture(), &[trusted]));
    let verify = |arguments: &[&str]| json(keys.path(), &[&["verify", scratch.path().as_str()], arguments].concat());
    let report = verify(&["--trust-root", "root.json"]).passed().json();
    assert_eq!((&report["authenticity"], &report["root_version"]), (&"trusted-root".into(), &1.into()));
    let report = verify(&["--trust-root", "other.json"]);
    assert_eq!((report.code, &report.json()["findings"][0]["code"]), (4, &"key_untrusted".into()));
    verify(&["--trust-root", "old.json"]).failed(4, "catalog_expired");
    verify(&["--trust-root", "old.json", "--at", "2019-01-01T00:00:00Z"]).passed();
    verify(&["--at", "2019-01-01T00:00:00Z"]).failed(2, "usage");
    let report = verify(&["--require-signatures"]);
    assert_eq!((report.code, &report.json()["findings"][0]["code"]), (4, &"key_untrusted".into()));
    if need("openssl") {
        openssl_key(keys.path(), "key", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        let arguments = ["sign", "--key", "key", "--trust-root", "root.json", scratch.path().as_str()];
        json(keys.path(), &arguments).failed(4, "key_untrusted");
    }
}

#[test]
fn a_pipeline_with_a_key_signs_and_demands_its_signature() {
    if !need("openssl") {
        return;
    }
    let keys = Scratch::new();
    openssl_key(keys.path(), "key", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl_key(keys.path(), "other", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let (key, other) = (keys.path().join("key"), keys.path().join("other.pub"));
    let scratch = small_workspace("tool", "1.2.3");
    // What cannot end well does not begin.
    rehearse(scratch.path(), &["--require-signatures"]).failed(3, "key_missing");
    rehearse(scratch.path(), &["--pubkey", other.as_str()]).failed(3, "key_missing");
    assert!(!scratch.path().join("dist/packages").exists());

    let journal = rehearse(scratch.path(), &[]).passed().json();
    let stage = |journal: &serde_json::Value, wanted: &str| {
        journal["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == wanted).unwrap().clone()
    };
    assert_eq!(stage(&journal, "sign")["status"], "skipped");
    let journal = rehearse(scratch.path(), &["--key", key.as_str()]).passed().json();
    assert_eq!(stage(&journal, "sign")["status"], "passed");
    assert!(stage(&journal, "verify")["detail"].as_str().unwrap().ends_with("authenticity signed"), "{journal}");
    let report = fs_err::read(scratch.path().join("dist/releases/v1.2.3/verify.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["authenticity"], "signed");
    assert!(bundle(scratch.path()).join("signatures.json").is_file() && litter(scratch.path()).is_empty());

    rehearse(scratch.path(), &["--key", key.as_str(), "--pubkey", other.as_str()]).failed(4, "key_untrusted");
    let plan = json(scratch.path(), &["release-pipeline", "--dry-run", "--key", key.as_str()]).passed().json();
    assert_eq!(stage(&plan, "sign")["runs"], true);

    let target = Scratch::new();
    let publish = |arguments: &[&str]| {
        let place = ["publish", "--provider", "directory", "--target", target.path().as_str()];
        json(scratch.path(), &[&place, arguments].concat())
    };
    publish(&["--pubkey", other.as_str()]).failed(4, "key_untrusted");
    assert!(read_directory(target.path()).is_empty());
}

#[test]
fn hooks_stand_around_signing() {
    if !need("openssl") {
        return;
    }
    let keys = Scratch::new();
    openssl_key(keys.path(), "key", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let note = keys.path().join("note");
    let scratch = configured(&format!(
        "[hooks]\nbefore-sign = [\"touch\", \"{note}-before\"]\nafter-sign = [\"touch\", \"{note}-after\"]\n"
    ));
    rehearse(scratch.path(), &["--key", keys.path().join("key").as_str()]).passed();
    assert!(keys.path().join("note-before").is_file() && keys.path().join("note-after").is_file());
}

#[test]
fn a_stranger_fetches_the_signatures_too() {
    let keys = [generate(Algorithm::EcdsaP256), generate(Algorithm::Ed25519)];
    let files = signed_with(&bundle_fixture(), &keys);
    let check = |files: &Files, anchor: Anchor| {
        let server = Server::of_files(files.clone());
        let tools = Tools {
            repository: None,
            guard: Guard::default(),
            requirements: Requirements { anchor, ..Requirements::default() },
            signers: &[],
            registry: None,
            catalog_signers: &[],
            step_summary: None,
            listener: &Silence,
            now: &|| "2025-06-07T08:09:10Z".parse().unwrap(),
        };
        remote_verify(&Published::of_base_url(&server.url("v1.0.0")).unwrap(), &tools)
    };
    for key in &keys {
        let report = check(&files, trusting(key.as_ref())).unwrap();
        assert_eq!(report.authenticity.as_str(), "signed");
        assert_eq!(report.files.len(), files.len());
    }
    assert_eq!(check(&files, Anchor::Unchecked).unwrap().authenticity.as_str(), "unchecked");
    assert_eq!(check(&bundle_fixture(), trusting(keys[0].as_ref())).unwrap_err().code(), Code::Unsigned);
    let mut less = files.clone();
    less.remove("index.json.sig");
    assert_eq!(check(&less, trusting(keys[0].as_ref())).unwrap_err().code(), Code::Unsigned);
    let mut less = files.clone();
    less.remove("signatures.json");
    assert!(check(&less, trusting(keys[1].as_ref())).is_err());
    let stranger = generate(Algorithm::EcdsaP256);
    assert_eq!(check(&files, trusting(stranger.as_ref())).unwrap_err().code(), Code::KeyUntrusted);
}

#[test]
fn a_file_that_cannot_be_read_is_a_failure_and_no_success() {
    let keys = [generate(Algorithm::EcdsaP256)];
    let files = signed_with(&bundle_fixture(), &keys);
    let requirements = Requirements { anchor: trusting(keys[0].as_ref()), ..Requirements::default() };
    for name in files.keys() {
        let scratch = on_disk(&files);
        let path = scratch.path().join(name);
        // A directory in its place cannot be read as a file by anybody.
        fs_err::remove_file(&path).unwrap();
        fs_err::create_dir(&path).unwrap();
        let report = verify::verify(scratch.path(), None, &requirements, &Silence);
        assert!(report.map_or(true, |report| report.bundle().is_none()), "{name}");
    }
}
