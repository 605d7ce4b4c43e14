//! Verifying a signed bundle: who is trusted decides, and everything else is refused.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use consign::model::provenance::{ResolvedDependency, Statement};
use consign::model::{Code, Digest, FileName};
use consign::trust::Anchor;
use consign::trust::anchor::Listed;
use consign::trust::bundle::{Case, Examiner, Verdict};
use consign::trust::dsse::{self, Envelope};
use consign::trust::key::{self, Algorithm, PublicKey, Signer};
use consign::trust::private::PrivateKey;
use consign::trust::signatures::{Entry, Signatures};
use consign::trust::sigstore;
use data_encoding::BASE64;

use crate::fixture::{self, Files, bundle_fixture, judge, judge_with, recipe, signed_with};

pub fn generate(algorithm: Algorithm) -> Box<dyn Signer> {
    Box::new(PrivateKey::generate(algorithm).unwrap())
}

pub fn trusting(signer: &dyn Signer) -> Anchor {
    Anchor::Keys(vec![signer.public().clone()])
}

/// A bundle that a key has signed, made once.
pub struct Scene {
    pub key: Box<dyn Signer>,
    pub other: Box<dyn Signer>,
    pub files: Files,
}

pub fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let keys = [generate(Algorithm::EcdsaP256)];
        let files = signed_with(&bundle_fixture(), &keys);
        let [key] = keys;
        Scene { key, other: generate(Algorithm::EcdsaP256), files }
    })
}

fn judged(files: &Files) -> Verdict {
    judge_with(files, &trusting(scene().key.as_ref()))
}

fn codes(verdict: &Verdict) -> BTreeSet<Code> {
    assert_eq!(verdict.bundle.is_none(), !verdict.findings.is_empty());
    verdict.findings.iter().map(|finding| finding.code).collect()
}

fn refused(files: &Files) -> BTreeSet<Code> {
    let verdict = judged(files);
    assert!(verdict.bundle.is_none());
    codes(&verdict)
}

pub fn with(change: impl FnOnce(&mut Files)) -> Files {
    let mut files = scene().files.clone();
    change(&mut files);
    files
}

pub fn list(files: &Files) -> Signatures {
    Signatures::read(&files["signatures.json"]).unwrap()
}

/// The bundle with another list of signatures, and the files that belong to it.
pub fn with_list(change: impl FnOnce(&mut Vec<Entry>)) -> Files {
    with(|files| {
        let mut entries = list(files).signatures;
        change(&mut entries);
        set_list(files, entries);
    })
}

pub fn set_list(files: &mut Files, entries: Vec<Entry>) {
    files.retain(|name, _| !is_signature(name));
    for entry in &entries {
        files.insert(format!("{}.sig", entry.file), entry.signature.clone());
    }
    files.insert("signatures.json".to_owned(), Signatures::new("1.0.0".parse().unwrap(), entries).render());
}

/// Whether a name is that of a detached signature; such names are always written so.
pub fn is_signature(name: &str) -> bool {
    name.strip_suffix(".sig").is_some()
}

pub fn archive() -> String {
    bundle_fixture().into_keys().find(|name| name.ends_with(".tar.gz")).unwrap()
}

#[test]
fn a_signed_bundle_is_accepted_and_the_report_names_the_key() {
    let scene = scene();
    let verdict = judged(&scene.files);
    assert_eq!(verdict.findings, []);
    let bundle = verdict.bundle.unwrap();
    let key = BTreeSet::from([scene.key.public().id()]);
    assert_eq!(bundle.signed_by, key);
    assert_eq!((bundle.assets.len(), bundle.evidence.len()), (8, 8 + 3));
    assert!(bundle.assets.iter().chain(&bundle.evidence).all(|file| file.signed_by == key));
    assert!(verdict.not_checked.is_empty());
    // Without a key nothing is said about anybody.
    let verdict = judge(&scene.files);
    assert!(verdict.bundle.unwrap().signed_by.is_empty());
    assert_eq!(verdict.not_checked.len(), 8 + 3);
}

#[test]
fn a_flipped_bit_in_any_byte_of_any_file_is_refused() {
    // One platform and one key: what counts is every byte, not how many of a kind there are.
    let mut small = recipe();
    small.index.packages.truncate(1);
    small.statement.predicate.build_definition.external_parameters.platforms.truncate(1);
    small.archives.retain(|name, _| name.ends_with(".tar.gz"));
    let whole = signed_with(&small.bake(), &[borrowed(scene().key.as_ref())]);
    let mut files = whole.clone();
    assert!(judged(&files).bundle.is_some());
    for name in whole.keys() {
        for (at, byte) in whole[name].iter().enumerate() {
            files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            assert!(judged(&files).bundle.is_none(), "byte {at} of {name}");
            files.get_mut(name).unwrap()[at] = *byte;
        }
    }
}

#[test]
fn other_values_of_bytes_of_the_evidence_are_refused() {
    // Long files are sampled; each byte of them is flipped elsewhere.
    let mut files = scene().files.clone();
    for (name, whole) in scene().files.iter().filter(|(name, _)| consign::trust::documents::is_evidence(name)) {
        let step = (whole.len() / 12).max(1);
        for at in (0..whole.len()).step_by(step) {
            for value in (1..16).map(|turn| whole[at] ^ (turn * 17)) {
                files.get_mut(name).unwrap()[at] = value;
                assert!(judged(&files).bundle.is_none(), "byte {at} of {name} as {value}");
            }
            files.get_mut(name).unwrap()[at] = whole[at];
        }
    }
}

#[test]
fn evidence_that_is_cut_off_longer_or_empty_is_refused() {
    for name in scene().files.keys().filter(|name| consign::trust::documents::is_evidence(name)) {
        let spoils: [fn(&mut Vec<u8>); 4] =
            [|bytes| _ = bytes.pop(), |bytes| bytes.push(b'\n'), Vec::clear, |bytes| bytes.extend(bytes.clone())];
        for spoil in spoils {
            assert!(!refused(&with(|files| spoil(files.get_mut(name).unwrap()))).is_empty(), "{name}");
        }
    }
}

#[test]
fn a_signature_over_another_file_is_invalid() {
    let moved = with(|files| {
        let other = files["checksums.txt.sig"].clone();
        files.insert(format!("{}.sig", archive()), other);
    });
    assert_eq!(refused(&moved), [Code::SignatureInvalid].into());
    // The same with the list changed to fit.
    let moved = with_list(|entries| {
        let other = entries.iter().find(|entry| entry.file.as_str() == "checksums.txt").unwrap().signature.clone();
        entries.iter_mut().find(|entry| entry.file.as_str() == archive()).unwrap().signature = other;
    });
    assert_eq!(refused(&moved), [Code::SignatureInvalid].into());
}

#[test]
fn a_key_that_is_not_trusted_proves_nothing() {
    let scene = scene();
    let verdict = judge_with(&scene.files, &trusting(scene.other.as_ref()));
    assert!(codes(&verdict).contains(&Code::KeyUntrusted), "{:?}", verdict.findings);
    assert!(!verdict.not_checked.is_empty());
    for nobody in [Anchor::Keys(Vec::new()), role(&[], 0), role(&[], 1)] {
        assert!(judge_with(&scene.files, &nobody).bundle.is_none());
        assert!(judge_with(&bundle_fixture(), &nobody).bundle.is_none());
    }
}

#[test]
fn a_key_that_lies_in_the_bundle_is_no_anchor() {
    let scene = scene();
    let forged = signed_with(&bundle_fixture(), &[borrowed(scene.other.as_ref())]);
    assert_eq!(codes(&judged(&forged)), [Code::KeyUntrusted].into());
    let mut with_key = forged.clone();
    let text = String::from_utf8(forged["signatures.json"].clone()).unwrap();
    let pem = scene.other.public().to_pem().replace('\n', "\\n");
    let text = text.replacen("\"signatures\": [", &format!("\"publicKey\": \"{pem}\",\n  \"signatures\": ["), 1);
    with_key.insert("signatures.json".to_owned(), text.into_bytes());
    assert!(codes(&judged(&with_key)).contains(&Code::DocumentInvalid));
}

/// A signer that somebody else owns.
struct Borrowed<'a>(&'a dyn Signer);

impl Signer for Borrowed<'static> {
    fn public(&self) -> &PublicKey {
        self.0.public()
    }

    fn sign_unverified(&self, message: &[u8]) -> consign::model::failure::Result<Vec<u8>> {
        self.0.sign_unverified(message)
    }
}

pub fn borrowed(signer: &'static dyn Signer) -> Box<dyn Signer> {
    Box::new(Borrowed(signer))
}

#[test]
fn what_is_not_signed_is_unsigned() {
    let unsigned = [Code::Unsigned].into();
    assert_eq!(codes(&judged(&bundle_fixture())), unsigned);
    assert_eq!(refused(&with(|files| files.retain(|name, _| !is_signature(name)))), unsigned);
    assert_eq!(refused(&with_list(Vec::clear)), unsigned);
    for name in bundle_fixture().keys() {
        // One signature's file is gone; or its entry too.
        assert_eq!(refused(&with(|files| _ = files.remove(&format!("{name}.sig")))), unsigned, "{name}");
        let gone = with_list(|entries| entries.retain(|entry| entry.file.as_str() != name));
        assert!(refused(&gone).contains(&Code::Unsigned), "{name}");
    }
}

#[test]
fn an_entry_that_is_too_many_is_refused() {
    let signature = |asset: &str| scene().files[&format!("{asset}.sig")].clone();
    let short = scene().key.public().id().to_string()[..8].to_owned();
    for (name, bytes) in [
        (format!("index.json.{short}.sig"), signature("index.json")),
        ("index.json.01234567.sig".to_owned(), signature("index.json")),
        ("index.json.01234567.sig".to_owned(), b"x".to_vec()),
    ] {
        assert_eq!(refused(&with(|files| _ = files.insert(name, bytes))), [Code::SignatureInvalid].into());
    }
    let stranger = with_list(|entries| {
        let file: FileName = "other.tar.gz".parse().unwrap();
        entries.push(Entry { file, ..entries[0].clone() });
    });
    assert!(refused(&stranger).contains(&Code::FileUnlisted));
    let twice = with(|files| {
        let mut list = list(files);
        list.signatures.insert(0, list.signatures[0].clone());
        files.insert("signatures.json".to_owned(), list.render());
    });
    assert!(refused(&twice).contains(&Code::DocumentInvalid));
}

#[test]
fn the_algorithm_is_the_key_s() {
    for word in ["none", "hmac", "ed25519", "rsa-pkcs1-sha256", "ecdsa-p384-sha384"] {
        let spoiled = with(|files| {
            let text = String::from_utf8(files["signatures.json"].clone()).unwrap();
            files.insert("signatures.json".to_owned(), text.replacen("ecdsa-p256-sha256", word, 1).into_bytes());
        });
        let codes = refused(&spoiled);
        assert!(codes.contains(&Code::SignatureInvalid) || codes.contains(&Code::DocumentInvalid), "{word}");
    }
}

#[test]
fn a_digest_or_a_version_of_something_else_is_refused() {
    let other = with_list(|entries| entries[0].sha256 = Digest::of(b"other"));
    assert_eq!(refused(&other), [Code::DocumentsDisagree].into());
    let other = with(|files| {
        let list = Signatures::new("1.0.1".parse().unwrap(), list(files).signatures);
        files.insert("signatures.json".to_owned(), list.render());
    });
    assert_eq!(refused(&other), [Code::DocumentsDisagree].into());
}

#[test]
fn the_signed_provenance_has_to_be_the_provenance() {
    let key = scene().key.as_ref();
    let envelope = |payload: &[u8], signed: &[u8], kind: &str| {
        let signature = key::sign(key, &dsse::pae(kind, signed)).unwrap();
        Envelope::of_statement(payload, [(key.public().id(), signature.as_slice())].into_iter())
    };
    let put = |envelope: Envelope| with(|files| _ = files.insert(dsse::FILE_NAME.to_owned(), envelope.render()));
    let statement = &scene().files["provenance.json"];
    assert!(judged(&put(envelope(statement, statement, dsse::IN_TOTO))).bundle.is_some());
    // Of another release, signed by the right key.
    let mut other: Statement = serde_json::from_slice(statement).unwrap();
    other.subject.pop();
    let other = other.render();
    assert_eq!(refused(&put(envelope(&other, &other, dsse::IN_TOTO))), [Code::SubjectMismatch].into());
    // A signature over something else, of another type, or over the bytes alone.
    assert_eq!(refused(&put(envelope(statement, &other, dsse::IN_TOTO))), [Code::SignatureInvalid].into());
    assert_eq!(refused(&put(envelope(statement, statement, "text/plain"))), [Code::SignatureInvalid].into());
    let raw = Envelope::of_statement(
        statement,
        [(key.public().id(), scene().files["provenance.json.sig"].as_slice())].into_iter(),
    );
    assert_eq!(refused(&put(raw)), [Code::SignatureInvalid].into());
    // And the other way round: what the envelope signs is not what a file's signature is over.
    let signed = key::sign(key, &dsse::pae(dsse::IN_TOTO, statement)).unwrap();
    let swapped = with_list(|entries| {
        entries.iter_mut().find(|entry| entry.file.as_str() == "provenance.json").unwrap().signature = signed;
    });
    assert_eq!(refused(&swapped), [Code::SignatureInvalid].into());
    let unknown = key::sign(scene().other.as_ref(), &dsse::pae(dsse::IN_TOTO, statement)).unwrap();
    let id = scene().other.public().id();
    let unknown = Envelope::of_statement(statement, [(id, unknown.as_slice())].into_iter());
    assert_eq!(refused(&put(unknown)), [Code::KeyUntrusted].into());
}

#[test]
fn a_sigstore_bundle_has_to_agree_with_everything() {
    let scene = scene();
    let digest = |name: &str| Digest::of(&scene.files[name]);
    let signature = |name: &str| scene.files[&format!("{name}.sig")].clone();
    let (id, other) = (scene.key.public().id(), scene.other.public().id());
    let put = |name: &str, bundle: sigstore::Bundle| with(|files| _ = files.insert(name.to_owned(), bundle.render()));
    let of = sigstore::Bundle::of_signature;
    let right = of(id, digest("index.json"), &signature("index.json"));
    let name = "index.json.sigstore.json";
    assert!(judged(&put(name, right)).bundle.is_some());
    let invalid = BTreeSet::from([Code::SignatureInvalid]);
    assert_eq!(refused(&put(name, of(id, digest("checksums.txt"), &signature("index.json")))), invalid);
    assert_eq!(refused(&put(name, of(id, digest("index.json"), &signature("checksums.txt")))), invalid);
    assert_eq!(refused(&put(name, of(id, digest("checksums.txt"), &signature("checksums.txt")))), invalid);
    assert_eq!(
        refused(&put(name, of(other, digest("index.json"), &signature("index.json")))),
        [Code::KeyUntrusted].into()
    );
    // A second signature of the same key is one as well, and another asset may have a bundle too.
    let again = key::sign(scene.key.as_ref(), &scene.files["index.json"]).unwrap();
    assert!(judged(&put("index.json.01234567.sigstore.json", of(id, digest("index.json"), &again))).bundle.is_some());
    let name = format!("{}.sigstore.json", archive());
    assert!(judged(&put(&name, of(id, digest(&archive()), &signature(&archive())))).bundle.is_some());
    assert_eq!(refused(&put(&name, of(id, digest(&archive()), &signature("index.json")))), invalid);
}

#[test]
fn a_bundle_made_with_a_certificate_is_listed_and_not_checked() {
    let foreign = |hint: &str| {
        let text = format!(
            "{{\"mediaType\": \"application/vnd.dev.sigstore.bundle.v0.3+json\", \"verificationMaterial\": {hint}, \
             \"messageSignature\": {{\"signature\": \"AAAA\"}}}}"
        );
        with(|files| _ = files.insert(format!("{}.sigstore.json", archive()), text.into_bytes()))
    };
    let verdict = judged(&foreign("{\"certificate\": {\"rawBytes\": \"AAAA\"}}"));
    assert_eq!(verdict.findings, []);
    assert_eq!(verdict.not_checked.len(), 1);
    // One that claims our key has to be by our key.
    let hint = BASE64.encode(scene().key.public().id().as_bytes());
    let ours = format!("{{\"publicKey\": {{\"hint\": \"{hint}\"}}}}");
    assert_eq!(refused(&foreign(&ours)), [Code::SignatureInvalid].into());
    for wrong in ["{}", "{\"certificate\": {\"rawBytes\": \"AAAA\"}, \"publicKey\": {\"hint\": \"x\"}}", "[]"] {
        assert_eq!(refused(&foreign(wrong)), [Code::DocumentInvalid].into(), "{wrong}");
    }
}

#[test]
fn files_of_two_releases_make_no_third() {
    let scene = scene();
    let mut other = recipe();
    let repository = Some("https://github.com/example/other");
    other.index.source.repository = repository.map(str::to_owned);
    let build = &mut other.statement.predicate.build_definition;
    build.resolved_dependencies = vec![ResolvedDependency::source(repository, fixture::COMMIT)];
    let other = signed_with(&other.bake(), &[borrowed(scene.key.as_ref())]);
    for name in scene.files.keys().filter(|name| other[*name] != scene.files[*name]) {
        assert!(!refused(&with(|files| _ = files.insert(name.clone(), other[name].clone()))).is_empty(), "{name}");
    }
}

fn role(keys: &[&dyn Signer], threshold: u64) -> Anchor {
    let keys = keys.iter().map(|signer| signer.public().clone()).collect();
    Anchor::Role { keys, threshold, root_version: 1, releases: None }
}

#[test]
fn a_threshold_counts_different_keys() {
    let scene = scene();
    let (one, two) = (scene.key.as_ref(), scene.other.as_ref());
    let both = signed_with(&scene.files, &[borrowed(two)]);
    assert!(judge_with(&scene.files, &role(&[one, two], 1)).bundle.is_some());
    assert_eq!(codes(&judge_with(&scene.files, &role(&[one, two], 2))), [Code::KeyUntrusted].into());
    let verdict = judge_with(&both, &role(&[one, two], 2));
    assert_eq!(verdict.findings, []);
    assert_eq!(verdict.bundle.unwrap().signed_by.len(), 2);
    assert!(judge_with(&both, &role(&[one, two], 3)).bundle.is_none());
    // Each of the two alone suffices where one is asked for, and what is by the other is listed.
    for key in [one, two] {
        let verdict = judge_with(&both, &trusting(key));
        assert_eq!(verdict.findings, []);
        assert!(!verdict.not_checked.is_empty());
    }
    // Two signatures of one key are one key's.
    let again = key::sign(one, &scene.files["index.json"]).unwrap();
    let twice =
        with(|files| _ = files.insert(format!("index.json.{}.sig", &one.public().id().to_string()[..8]), again));
    assert!(judge_with(&twice, &role(&[one, two], 2)).bundle.is_none());
}

#[test]
fn a_flipped_bit_by_a_key_that_is_not_trusted_is_refused_too() {
    let scene = scene();
    let both = signed_with(&scene.files, &[borrowed(scene.other.as_ref())]);
    let anchor = trusting(scene.other.as_ref());
    let mut files = both.clone();
    for (name, whole) in both.iter().filter(|(name, _)| consign::trust::documents::is_evidence(name)) {
        // A signature that nobody can check may be any in the envelope, and is listed as not checked.
        let is_free = |at: usize| name == dsse::FILE_NAME && !is_trusted_part(whole, at, scene.other.as_ref());
        for at in (0..whole.len()).filter(|at| !is_free(*at)) {
            files.get_mut(name).unwrap()[at] ^= 1 << (at % 7);
            assert!(judge_with(&files, &anchor).bundle.is_none(), "byte {at} of {name}");
            files.get_mut(name).unwrap()[at] = whole[at];
        }
    }
}

/// Whether a byte of an envelope is outside of every signature but this key's.
fn is_trusted_part(envelope: &[u8], at: usize, key: &dyn Signer) -> bool {
    let text = std::str::from_utf8(envelope).unwrap();
    let id = key.public().id().to_string();
    let foreign =
        text.match_indices("\"sig\":\"").filter(|(start, _)| !text[..*start].ends_with(&format!("\"{id}\",")));
    let mut ranges = foreign.map(|(start, word)| {
        let start = start + word.len();
        start..start + text[start..].find('"').unwrap()
    });
    !ranges.any(|range| range.contains(&at))
}

#[test]
fn signatures_without_a_list_are_those_of_openssl() {
    let bare = |files: &Files| -> Files {
        let keep = |name: &String| !consign::trust::documents::is_evidence(name) || is_signature(name);
        files.iter().filter(|(name, _)| keep(name)).map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
    };
    let files = bare(&scene().files);
    assert_eq!(judged(&files).findings, []);
    assert!(judge_with(&files, &trusting(scene().other.as_ref())).bundle.is_none());
    for name in files.keys().filter(|name| is_signature(name)) {
        let mut less = files.clone();
        less.remove(name);
        assert_eq!(codes(&judged(&less)), [Code::Unsigned].into());
        let mut wrong = files.clone();
        wrong.get_mut(name).unwrap()[20] ^= 1;
        assert_eq!(codes(&judged(&wrong)), [Code::SignatureInvalid].into());
    }
}

#[test]
fn a_catalog_has_to_list_every_asset_as_it_is() {
    let whole = bundle_fixture();
    let row = |(name, bytes): (&String, &Vec<u8>)| (name.parse().unwrap(), (bytes.len() as u64, Digest::of(bytes)));
    let listed: BTreeMap<FileName, (u64, Digest)> = whole.iter().map(row).collect();
    let anchor = |files| Anchor::Role {
        keys: [scene().key.public().clone()].into(),
        threshold: 1,
        root_version: 1,
        releases: Some(BTreeMap::from([("v1.0.0".to_owned(), Listed { files, withdrawn: None })])),
    };
    let accepted = judge_with(&whole, &anchor(listed.clone()));
    assert_eq!(accepted.findings, []);
    assert!(accepted.bundle.is_some());
    for name in whole.keys() {
        let mut less = listed.clone();
        less.remove(name.as_str());
        assert_eq!(codes(&judge_with(&whole, &anchor(less))), [Code::TargetUnknown].into());
        let mut other = listed.clone();
        other.get_mut(name.as_str()).unwrap().1 = Digest::of(b"other");
        assert_eq!(codes(&judge_with(&whole, &anchor(other))), [Code::DigestMismatch].into());
        let mut other = listed.clone();
        other.get_mut(name.as_str()).unwrap().0 += 1;
        assert_eq!(codes(&judge_with(&whole, &anchor(other))), [Code::SizeMismatch].into());
    }
    // Signatures that are there have to be valid all the same.
    let moved = with(|files| _ = files.insert("index.json.sig".to_owned(), files["checksums.txt.sig"].clone()));
    assert!(judge_with(&moved, &anchor(listed)).bundle.is_none());
}

#[test]
fn whatever_step_fails_the_bundle_is_refused() {
    let scene = scene();
    let anchor = trusting(scene.key.as_ref());
    let (listing, documents) = fixture::gather(&scene.files);
    let run = |documents: &consign::trust::bundle::Documents, lost: Option<usize>| {
        let case = Case::open(&listing, documents, &anchor);
        let mut examiner = Examiner::default();
        let exhibits = case.tasks().iter().enumerate().filter(|(number, _)| Some(*number) != lost);
        let exhibits = exhibits.map(|(_, task)| case.examine(&mut examiner, task, &scene.files[task.name.as_str()]));
        let exhibits = exhibits.collect();
        case.judge(exhibits, Vec::new())
    };
    assert!(run(&documents, None).bundle.is_some());
    let tasks = Case::open(&listing, &documents, &anchor).tasks().len();
    for lost in 0..tasks {
        assert!(run(&documents, Some(lost)).bundle.is_none(), "file {lost} was not examined");
    }
    for name in documents.evidence.keys() {
        let mut less = documents.clone();
        less.evidence.remove(name);
        assert!(run(&less, None).bundle.is_none(), "{name} was not read");
        let mut empty = documents.clone();
        empty.evidence.insert(name.clone(), Vec::new());
        assert!(run(&empty, None).bundle.is_none(), "{name} was read as empty");
    }
    let spoils: [fn(&mut consign::trust::bundle::Documents); 3] =
        [|it| it.index = None, |it| it.provenance = None, |it| it.checksums = None];
    for spoil in spoils {
        let mut less = documents.clone();
        spoil(&mut less);
        assert!(run(&less, None).bundle.is_none());
    }
}
