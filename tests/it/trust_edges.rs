//! The edges of what the verifier takes: the last value that is accepted, and the first that is not.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use consign::archive;
use consign::model::checksums::Checksums;
use consign::model::index::{Index, PackagedBinary};
use consign::model::metadata::PackageMetadata;
use consign::model::provenance::{ResolvedDependency, Statement};
use consign::model::{Code, Digest, pretty};
use consign::trust::bundle::{Case, DOCUMENTS, Documents, MAX_EVIDENCE_BYTES, finding};
use consign::trust::dsse::{self, Envelope};
use consign::trust::key::{self, Algorithm, KeyId, Signer};
use consign::trust::signatures::{Entry, Signatures};
use consign::trust::tuf::json::Json;
use consign::trust::tuf::roles::{Key, KeyValue, Meta, Role, RoleKeys, Roles, Root, Signature, Signed, TimestampRole};
use consign::trust::tuf::trusted::{Forgotten, Roots};
use consign::trust::{Anchor, documents, sigstore};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::Value;

use crate::fixture::{Files, bundle_fixture, gather, judge, judge_with, metadata, recipe, signed_with};
use crate::signed_verify::{generate, trusting};

fn index(change: impl FnOnce(&mut Index)) -> Result<(), String> {
    let mut index = documents::read_index(&bundle_fixture()["index.json"]).unwrap();
    change(&mut index);
    documents::read_index(&index.render()).map(drop)
}

fn provenance(change: impl FnOnce(&mut Statement)) -> Result<(), String> {
    let mut statement = documents::read_provenance(&bundle_fixture()["provenance.json"]).unwrap();
    change(&mut statement);
    documents::read_provenance(&statement.render()).map(drop)
}

fn assert_says(result: &Result<(), String>, words: &str) {
    assert!(result.as_ref().is_err_and(|problem| problem.contains(words)), "{words:?}: {result:?}");
}

#[test]
fn an_index_is_refused_for_the_reason_that_it_gives() {
    type Spoil = fn(&mut Index);
    assert_eq!(index(|_| {}), Ok(()));
    assert_eq!(index(|it| it.source.reference = None), Ok(()));
    assert_eq!(index(|it| it.source.commit = Some("a".repeat(64))), Ok(()));
    let spoils: [(Spoil, &str); 13] = [
        (|it| it.kind.push('x'), "its type"),
        (|it| it.files[0].kind = "file".to_owned(), "does not list `sbom.cdx.json` as"),
        (|it| (it.tag, it.source.reference) = ("nonsense".to_owned(), None), "not a release tag"),
        (|it| (it.tag, it.source.reference) = ("v1.0.1".to_owned(), None), "another version"),
        (|it| it.channel = "rc".to_owned(), "its channel"),
        (|it| it.created_at = "2025-01-02 03:04:05Z".to_owned(), "its time"),
        (|it| it.source.commit = Some("a".repeat(39)), "its source"),
        (|it| it.source.commit = Some("A".repeat(40)), "its source"),
        (|it| it.packages.clear(), "no package"),
        (|it| it.packages.reverse(), "sorted by platform"),
        (|it| it.files.reverse(), "sorted by name"),
        (|it| it.files[0].size_bytes = documents::MAX_FILE_BYTES + 1, "larger than it may be"),
        (|it| it.files.truncate(1), "does not list"),
    ];
    for (spoil, words) in spoils {
        assert_says(&index(spoil), words);
    }
    assert_eq!(index(|it| it.files[0].size_bytes = documents::MAX_FILE_BYTES), Ok(()));
}

#[test]
fn names_that_windows_or_a_report_keeps_for_itself_are_no_packages() {
    for name in ["con.tar.gz", "PRN.tar.gz", "aux.tar.gz", "nul.tar.gz", "com0.tar.gz", "lpt9.tar.gz"] {
        assert_says(&index(|it| it.packages[0].archive = name.parse().unwrap()), "may be called");
    }
    for name in ["com.tar.gz", "com10.tar.gz", "lptx.tar.gz", "console.tar.gz", "verify.json.tar.gz"] {
        assert_eq!(index(|it| it.packages[0].archive = name.parse().unwrap()), Ok(()), "{name}");
    }
    for name in ["sbom.spdx.json.sig", "INDEX.JSON", "Checksums.txt", "provenance.json", "signatures.json"] {
        assert_says(&index(|it| it.packages[0].archive = name.parse().unwrap()), "something else as well");
    }
    for name in ["publish.json", "release-notes.md", "Verify.json"] {
        assert_says(&index(|it| it.packages[0].archive = name.parse().unwrap()), "may be called");
    }
}

#[test]
fn a_package_is_bounded_in_size_and_programs() {
    let binaries = |count: usize| -> Vec<PackagedBinary> {
        let row = |number| PackagedBinary { path: format!("bin/{number:05}"), sha256: Digest::of(b""), size_bytes: 0 };
        (0..count).map(row).collect()
    };
    assert_eq!(index(|it| it.packages[0].size_bytes = archive::MAX_BYTES), Ok(()));
    assert_eq!(index(|it| it.packages[0].unpacked_size_bytes = archive::MAX_BYTES), Ok(()));
    assert_eq!(index(|it| it.packages[0].binaries = binaries(4096)), Ok(()));
    assert_says(&index(|it| it.packages[0].size_bytes = archive::MAX_BYTES + 1), "larger than an archive");
    assert_says(&index(|it| it.packages[0].unpacked_size_bytes = archive::MAX_BYTES + 1), "larger than an archive");
    assert_says(&index(|it| it.packages[0].binaries = binaries(4097)), "too many");
    assert_says(&index(|it| it.packages[0].binaries = binaries(0)), "no program");
    assert_says(&index(|it| it.packages[0].archive = "tool.zip".parse().unwrap()), "extension");
    assert_says(
        &index(|it| {
            it.packages[0].binaries = binaries(2);
            it.packages[0].binaries.reverse();
        }),
        "sorted by path",
    );
    assert_says(&index(|it| it.packages[0].binaries[0].path = "lib/tool".to_owned()), "outside of `bin/`");
}

#[test]
fn a_provenance_is_refused_for_the_reason_that_it_gives() {
    type Spoil = fn(&mut Statement);
    fn dependency(name: &str, kind: &str, value: &str) -> ResolvedDependency {
        ResolvedDependency { name: name.to_owned(), uri: None, digest: [(kind.to_owned(), value.to_owned())].into() }
    }
    fn validate(it: &mut Statement) {
        it.predicate.build_definition.external_parameters.mode = "validate".to_owned();
        let builder = &mut it.predicate.run_details.builder.id;
        *builder = builder.replace("-release", "-validate");
    }
    assert_eq!(provenance(|_| {}), Ok(()));
    assert_eq!(provenance(validate), Ok(()));
    assert_eq!(
        provenance(|it| {
            validate(it);
            it.predicate.build_definition.internal_parameters.dirty = true;
        }),
        Ok(())
    );
    let spoils: [(Spoil, &str); 14] = [
        (|it| it.kind.push('x'), "in-toto"),
        (|it| it.predicate_type.push('x'), "SLSA"),
        (|it| it.predicate.build_definition.build_type.push('x'), "build type"),
        (|it| it.predicate.build_definition.external_parameters.mode.push('x'), "neither"),
        (|it| it.predicate.run_details.builder.id.push('x'), "builder"),
        (|it| it.predicate.build_definition.internal_parameters.dirty = true, "never made"),
        (|it| it.subject.reverse(), "subjects"),
        (|it| it.predicate.build_definition.external_parameters.platforms.reverse(), "platforms"),
        (|it| it.predicate.build_definition.external_parameters.packages = vec![String::new()], "packages"),
        (|it| it.predicate.build_definition.external_parameters.packages = vec!["a b".to_owned()], "packages"),
        (|it| it.predicate.build_definition.external_parameters.workspace = "a/./b".to_owned(), "workspace"),
        (|it| it.predicate.build_definition.external_parameters.workspace = "\\a".to_owned(), "workspace"),
        (|it| it.predicate.build_definition.external_parameters.packages = vec!["a".to_owned(); 4097], "more than"),
        (
            |it| {
                let rows = (0..4097).map(|n| dependency(&format!("{n}"), "sha256", &"a".repeat(64)));
                it.predicate.build_definition.resolved_dependencies = rows.collect();
            },
            "more than",
        ),
    ];
    for (spoil, words) in spoils {
        assert_says(&provenance(spoil), words);
    }
    for workspace in ["a", "a/b", "a.b/..c", "ab:c"] {
        let set = |it: &mut Statement| {
            it.predicate.build_definition.external_parameters.workspace = workspace.to_owned();
        };
        assert_eq!(provenance(set), Ok(()), "{workspace}");
    }
    let many = |it: &mut Statement| {
        it.predicate.build_definition.external_parameters.packages = vec!["a-b_c".to_owned(); 4096];
    };
    assert_eq!(provenance(many), Ok(()));
    for (kind, value) in [("sha256", "a".repeat(40)), ("sha256", "A".repeat(64)), ("sha1", "a".repeat(40))] {
        let add = |it: &mut Statement| {
            it.predicate.build_definition.resolved_dependencies.push(dependency("x", kind, &value));
        };
        assert_says(&provenance(add), "dependencies");
    }
}

#[test]
fn a_list_of_checksums_is_bounded() {
    let list = |count: usize| {
        let rows = (0..count).map(|n| (format!("{n:05}").parse().unwrap(), Digest::of(b"")));
        documents::read_checksums(&Checksums(rows.collect()).render()).map(drop)
    };
    assert_eq!(list(4096), Ok(()));
    assert_says(&list(4097), "more files");
}

#[test]
fn the_metadata_of_an_archive_is_of_its_one_type() {
    let platform = "linux-amd64".parse().unwrap();
    let read = |metadata: &PackageMetadata| documents::read_metadata(&pretty(metadata)).map(drop);
    assert_eq!(read(&metadata(platform)), Ok(()));
    assert_says(&read(&PackageMetadata { kind: "x".to_owned(), ..metadata(platform) }), "its type");
}

#[test]
fn a_document_may_be_as_large_as_it_may_be() {
    let [(name, max), ..] = DOCUMENTS;
    let mut files = bundle_fixture();
    for (length, code) in [(max, Code::DocumentInvalid), (max + 1, Code::FileTooLarge)] {
        files.insert(name.to_owned(), vec![b' '; length]);
        let found = judge(&files).findings;
        assert!(found.iter().any(|finding| finding.file == name && finding.code == code), "{length}: {found:?}");
    }
}

#[test]
fn only_what_is_a_regular_file_is_read_and_no_more_of_it_than_is_needed() {
    let row = |name: &str, is_regular| (name.to_owned(), is_regular);
    let listing = [
        row("checksums.txt", true),
        row("index.json", false),
        row("index.json.sig", true),
        row("provenance.json.sig", false),
        row("tool.tar.gz", true),
    ];
    let mut asked = Vec::new();
    let read = |name: &str, max: usize| {
        asked.push((name.to_owned(), max));
        Ok::<_, ()>(Some(Vec::new()))
    };
    let found = Documents::gather(&listing, read).unwrap();
    let most = documents::MAX_CHECKSUMS_BYTES + 1;
    let expected = [("checksums.txt".to_owned(), most), ("index.json.sig".to_owned(), MAX_EVIDENCE_BYTES + 1)];
    assert_eq!(asked, expected);
    assert!(found.index.is_none() && found.provenance.is_none() && found.checksums.is_some());
}

#[test]
fn without_an_index_the_checksums_still_say_what_belongs_there() {
    let codes = |files: &Files| -> Vec<(Code, String)> {
        judge(files).findings.into_iter().map(|finding| (finding.code, finding.file)).collect()
    };
    let mut files = bundle_fixture();
    files.remove("index.json");
    let missing = codes(&files);
    assert!(missing.contains(&(Code::FileMissing, "index.json".to_owned())));
    assert!(missing.iter().all(|(code, _)| *code != Code::FileUnlisted), "{missing:?}");
    // Nobody can know what to fetch, so that only the documents are missed.
    let archive = files.pop_last().unwrap();
    assert_eq!(codes(&files), missing);
    files.extend([archive, ("stranger".to_owned(), Vec::new())]);
    assert!(codes(&files).contains(&(Code::FileUnlisted, "stranger".to_owned())));
    // Without either, nobody knows what belongs there.
    files.remove("checksums.txt");
    assert!(!codes(&files).contains(&(Code::FileUnlisted, "stranger".to_owned())));

    let mut files = bundle_fixture();
    files.remove("index.json");
    let mut list = documents::read_checksums(&files["checksums.txt"]).unwrap();
    for (given, is_wrong) in [(&b"signature"[..], false), (b"another", true)] {
        list.0.insert("provenance.json.sig".parse().unwrap(), Digest::of(given));
        files.insert("checksums.txt".to_owned(), list.render());
        files.insert("provenance.json.sig".to_owned(), b"signature".to_vec());
        let expected = (Code::DigestMismatch, "provenance.json.sig".to_owned());
        assert_eq!(codes(&files).contains(&expected), is_wrong);
    }
}

#[test]
fn evidence_may_be_as_large_as_it_may_be() {
    let mut files = bundle_fixture();
    for (length, is_wrong) in [(MAX_EVIDENCE_BYTES, false), (MAX_EVIDENCE_BYTES + 1, true)] {
        files.insert("index.json.sig".to_owned(), vec![1; length]);
        let verdict = judge(&files);
        assert_eq!(verdict.bundle.is_none(), is_wrong);
        assert_eq!(verdict.findings.iter().any(|finding| finding.code == Code::FileTooLarge), is_wrong);
    }
}

#[test]
fn a_tree_with_changes_is_told_of_by_both_documents_or_by_none() {
    let bundle = |index_says: bool, provenance_says: bool| {
        let mut recipe = recipe();
        let asked = &mut recipe.statement.predicate.build_definition.external_parameters;
        asked.mode = "validate".to_owned();
        let builder = &mut recipe.statement.predicate.run_details.builder.id;
        *builder = builder.replace("-release", "-validate");
        let spoil = |it: &mut Statement| it.predicate.build_definition.internal_parameters.dirty = provenance_says;
        judge(&recipe.bake_spoiled(|it| it.source.dirty = index_says, spoil, |_| {})).bundle.is_some()
    };
    assert!(bundle(true, true) && bundle(false, false));
    assert!(!bundle(true, false) && !bundle(false, true));
}

#[test]
fn what_nobody_trusted_has_signed_is_said_once() {
    let (key, stranger) = (generate(Algorithm::EcdsaP256), generate(Algorithm::EcdsaP256));
    let id = stranger.public().id().to_string();
    let unsigned = bundle_fixture();
    let anchor = trusting(key.as_ref());
    let told = |files: &Files| {
        let verdict = judge_with(files, &anchor);
        assert!(verdict.bundle.is_none());
        let rows = verdict.findings.into_iter().map(|finding| (finding.code, finding.file));
        (rows.collect::<Vec<_>>(), verdict.not_checked)
    };
    assert_eq!(told(&unsigned), (vec![(Code::Unsigned, "index.json".to_owned())], Vec::new()));
    let signed = signed_with(&unsigned, &[stranger]);
    let (findings, not_checked) = told(&signed);
    assert_eq!(findings, [(Code::KeyUntrusted, "signatures.json".to_owned())]);
    // Each file with a signature of its own, and the envelope; the list itself is compared with them.
    assert_eq!(not_checked.len(), signed.len() - unsigned.len() - 1);
    assert!(not_checked.iter().all(|row| row.reason.contains(&id)), "{not_checked:?}");
    let mut alone = unsigned.clone();
    let name = "index.json.sig".to_owned();
    alone.insert(name.clone(), signed[&name].clone());
    // What is wrong with one file does not hide that the others are not signed.
    let findings = told(&alone).0;
    assert_eq!(findings.len(), unsigned.len());
    assert_eq!(findings[0], (Code::SignatureInvalid, name));
    assert!(findings[1..].iter().all(|(code, _)| *code == Code::Unsigned), "{findings:?}");
}

#[test]
fn a_file_that_nobody_examined_is_missing_unless_that_was_noted() {
    let files = bundle_fixture();
    let (listing, documents) = gather(&files);
    let codes = |noted: &[&str]| -> Vec<(Code, String)> {
        let case = Case::open(&listing, &documents, &Anchor::Unchecked);
        let noted = noted.iter().map(|name| finding(Code::FileIrregular, name, "it is gone")).collect();
        let verdict = case.judge(Vec::new(), noted);
        assert!(verdict.bundle.is_none());
        verdict.findings.into_iter().map(|finding| (finding.code, finding.file)).collect()
    };
    let case = Case::open(&listing, &documents, &Anchor::Unchecked);
    let names: Vec<&str> = case.tasks().iter().map(|task| task.name.as_str()).collect();
    let missing = |name: &str| (Code::FileMissing, name.to_owned());
    let none = codes(&[]);
    assert!(names.iter().all(|name| none.contains(&missing(name))), "{none:?}");
    let one = codes(&names[..1]);
    assert!(!one.contains(&missing(names[0])) && one.contains(&missing(names[1])), "{one:?}");
    assert!(one.contains(&(Code::FileIrregular, names[0].to_owned())));
}

#[test]
fn a_key_in_a_catalog_is_of_one_kind_and_signs_in_its_way() {
    let hex = HEXLOWER.encode(generate(Algorithm::Ed25519).public().raw());
    let p256 = generate(Algorithm::EcdsaP256).public().to_pem();
    let p384 = generate(Algorithm::EcdsaP384).public().to_pem();
    let rsa = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/pem/rsa.pem")).unwrap();
    for (keytype, scheme, public, is_key) in [
        ("ed25519", "ed25519", &hex, true),
        ("ed25519", "ed25519ph", &hex, false),
        ("eddsa", "ed25519", &hex, false),
        ("ecdsa", "ecdsa-sha2-nistp256", &p256, true),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", &p256, true),
        ("ecdsa", "ecdsa-sha2-nistp256", &p384, false),
        ("ecdsa", "ecdsa-sha2-nistp384", &p384, true),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", &p384, true),
        ("ecdsa", "ecdsa-sha2-nistp384", &p256, false),
        ("rsa", "rsassa-pss-sha256", &rsa, true),
        ("rsa", "rsa-pkcs1v15-sha256", &rsa, true),
        ("rsa", "rsa-pkcs1v15-sha256", &p256, false),
        ("rsa", "rsassa-pss-sha512", &rsa, false),
        ("ecdsa", "ed25519", &p256, false),
    ] {
        let keyval = KeyValue { public: public.clone() };
        let key = Key { keytype: keytype.to_owned(), scheme: scheme.to_owned(), keyval };
        assert_eq!(key.public().is_some(), is_key, "{keytype} {scheme}");
    }
}

#[test]
fn a_root_that_too_few_have_signed_says_which_keys_count() {
    let (one, two) = (generate(Algorithm::EcdsaP256), generate(Algorithm::EcdsaP256));
    let hint = |spoil: fn(&mut Key), threshold| {
        let mut listed = [&one, &two].map(|key| Key::of(key.public()).unwrap());
        spoil(&mut listed[1]);
        let keyids = listed.iter().map(Key::id).collect();
        let role = RoleKeys { keyids, threshold };
        let roles = Roles { root: role.clone(), targets: role.clone(), snapshot: role.clone(), timestamp: role };
        let keys = listed.iter().map(|key| (key.id(), key.clone())).collect();
        let mut document = Signed::new(Root::new(1, "2030-01-01T00:00:00Z".parse().unwrap(), keys, roles));
        let signature = key::sign(one.as_ref(), &document.canonical()).unwrap();
        document.signatures.push(Signature { keyid: listed[0].id(), sig: HEXLOWER.encode(&signature) });
        let begun = Roots::begin(&document.render());
        begun.err().map(|failure| (failure.code(), failure.way_out().unwrap_or_default().to_owned()))
    };
    assert_eq!(hint(|_| {}, 1), None);
    let (code, way_out) = hint(|_| {}, 2).unwrap();
    assert!(code == Code::CatalogInvalid && way_out.contains("the keys that count are"), "{way_out}");
    let (code, way_out) = hint(|key| key.scheme = "unknown".to_owned(), 2).unwrap();
    assert!(code == Code::CatalogInvalid && way_out.contains("only 1 of its keys can be used"), "{way_out}");
}

#[test]
fn a_file_that_only_a_stranger_has_signed_is_told_from_one_that_nobody_has() {
    let (key, stranger) = (generate(Algorithm::EcdsaP256), generate(Algorithm::EcdsaP256));
    let (anchor, id) = (trusting(key.as_ref()), key.public().id());
    let both = signed_with(&bundle_fixture(), &[key, stranger]);
    let target = "tool-1.0.0-windows-amd64.zip";
    let code = |is_left: fn(&Entry, KeyId) -> bool| {
        let mut files = both.clone();
        let list = Signatures::read(&files["signatures.json"]).unwrap();
        let (left, gone): (Vec<_>, Vec<_>) =
            list.signatures.into_iter().partition(|row| row.file.as_str() != target || is_left(row, id));
        files.insert("signatures.json".to_owned(), Signatures::new(list.version, left).render());
        files.retain(|name, bytes| {
            !name.starts_with(target)
                || !gone.iter().any(|row| row.signature == *bytes) && !name.ends_with(sigstore::ENDING)
        });
        let found = judge_with(&files, &anchor).findings.into_iter().find(|finding| finding.file == target);
        found.map(|finding| (finding.code, finding.message))
    };
    assert_eq!(code(|_, _| true), None);
    let untrusted = "none of its signatures is by a key that is trusted".to_owned();
    assert_eq!(code(|row, id| row.key_id != id), Some((Code::KeyUntrusted, untrusted)));
    let unsigned = "it is not signed by a key that is trusted".to_owned();
    assert_eq!(code(|_, _| false), Some((Code::Unsigned, unsigned)));
}

#[test]
fn a_finding_says_how_large_a_file_is_and_what_to_do() {
    let whole = bundle_fixture();
    let name = "tool-1.0.0-windows-amd64.zip";
    let size = whole[name].len();
    for (length, words) in [(size - 1, (size - 1).to_string()), (size + 1, "more".to_owned())] {
        let mut files = whole.clone();
        files.get_mut(name).unwrap().resize(length, 0);
        let expected = format!("it has {words} bytes and should have {size}");
        let verdict = judge(&files);
        assert!(verdict.findings.iter().any(|finding| finding.message == expected), "{:?}", verdict.findings);
        // What is longer than it may be was not read whole, and is not reported as if it were.
        assert_eq!(verdict.files.iter().any(|asset| asset.name.as_str() == name), length < size);
    }
    let codes = [
        Code::DigestMismatch,
        Code::FileUnlisted,
        Code::FileIrregular,
        Code::DocumentInvalid,
        Code::Unsigned,
        Code::KeyUntrusted,
        Code::SignatureInvalid,
    ];
    let hints: BTreeSet<_> = codes.into_iter().map(|code| finding(code, "x", "y").hint).collect();
    assert_eq!(hints.len(), codes.len());
}

/// A document that a key has signed.
fn signed_by<T: Role>(key: &dyn Signer, signed: T) -> Vec<u8> {
    let mut document = Signed::new(signed);
    let sig = HEXLOWER.encode(&key::sign(key, &document.canonical()).unwrap());
    document.signatures.push(Signature { keyid: Key::of(key.public()).unwrap().id(), sig });
    document.render()
}

#[test]
fn what_was_remembered_is_used_or_said_to_be_forgotten() {
    let key = generate(Algorithm::EcdsaP256);
    let listed = Key::of(key.public()).unwrap();
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let expires = time("2030-01-01T00:00:00Z");
    let role = RoleKeys { keyids: vec![listed.id()], threshold: 1 };
    let roles = Roles { root: role.clone(), targets: role.clone(), snapshot: role.clone(), timestamp: role };
    let root = signed_by(key.as_ref(), Root::new(1, expires, [(listed.id(), listed.clone())].into(), roles));
    let timestamp = |version| {
        let snapshot = Meta { version: 1, length: None, hashes: None };
        signed_by(key.as_ref(), TimestampRole::new(version, expires, snapshot))
    };
    let settled = || Roots::begin(&root).unwrap().settle(time("2029-01-01T00:00:00Z")).unwrap();
    assert!(Roots::begin(&root).unwrap().settle(expires).is_err_and(|it| it.code() == Code::CatalogExpired));

    assert_eq!(settled().remember(None, None).1, None);
    assert_eq!(settled().remember(Some(&timestamp(3)), None).1, None);
    assert_eq!(settled().remember(Some(b"x"), None).1, Some(Forgotten::Unusable));
    assert_eq!(settled().remember(None, Some(b"x")).1, Some(Forgotten::Unusable));
    let next = |earlier: u64, version: u64| {
        let (remembering, _) = settled().remember(Some(&timestamp(earlier)), None);
        remembering.timestamp(&timestamp(version)).map(|timed| timed.is_new()).map_err(|failure| failure.code())
    };
    assert_eq!((next(3, 3), next(3, 4), next(3, 2)), (Ok(false), Ok(true), Err(Code::CatalogRollback)));
}

#[test]
fn signatures_without_a_list_are_by_the_key_in_their_name() {
    let (key, stranger) = (generate(Algorithm::EcdsaP256), generate(Algorithm::EcdsaP256));
    let (anchor, whole) = (trusting(key.as_ref()), bundle_fixture());
    let sign = |signer: &dyn Signer, hint: &dyn Signer| {
        let mut files = whole.clone();
        for (name, bytes) in &whole {
            let name = format!("{name}.{}.sig", &hint.public().id().to_string()[..8]);
            files.insert(name, key::sign(signer, bytes).unwrap());
        }
        judge_with(&files, &anchor)
    };
    assert!(sign(key.as_ref(), key.as_ref()).bundle.is_some());
    let wrong = sign(stranger.as_ref(), key.as_ref());
    assert!(wrong.bundle.is_none() && wrong.findings.iter().any(|finding| finding.code == Code::SignatureInvalid));
    for foreign in [sign(stranger.as_ref(), stranger.as_ref()), sign(key.as_ref(), stranger.as_ref())] {
        let rows: Vec<_> = foreign.findings.iter().map(|finding| (finding.code, finding.file.as_str())).collect();
        assert_eq!(rows, [(Code::KeyUntrusted, "index.json")]);
        assert_eq!(foreign.not_checked.len(), whole.len());
    }
}

#[test]
fn a_digest_in_the_list_is_wrong_whatever_else_is() {
    let key = generate(Algorithm::EcdsaP256);
    let anchor = trusting(key.as_ref());
    let mut files = signed_with(&bundle_fixture(), &[key]);
    let mut list = Signatures::read(&files["signatures.json"]).unwrap();
    list.signatures[0].sha256 = Digest::of(b"another");
    files.insert("signatures.json".to_owned(), list.render());
    files.insert("stranger".to_owned(), Vec::new());
    let found = judge_with(&files, &anchor).findings;
    for (code, file) in [(Code::DocumentsDisagree, "signatures.json"), (Code::FileUnlisted, "stranger")] {
        assert!(found.iter().any(|finding| finding.code == code && finding.file == file), "{found:?}");
    }
}

#[test]
fn what_cannot_be_read_comes_first_and_a_file_that_is_another_is_not_looked_into() {
    let whole = bundle_fixture();
    let mut files = whole.clone();
    let archive = "tool-1.0.0-linux-amd64.tar.gz";
    files.get_mut(archive).unwrap()[100] ^= 1;
    let found = judge(&files).findings;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code, found[0].file.as_str()), (Code::DigestMismatch, archive));
    files.get_mut("provenance.json").unwrap().push(b' ');
    let found = judge(&files).findings;
    assert_eq!((found[0].code, found[0].file.as_str()), (Code::DocumentInvalid, "provenance.json"));
    assert!(found.iter().any(|finding| finding.code == Code::DigestMismatch));

    // An SBOM that the index pins is no better for it where it is none.
    let bytes = b"{}\n";
    let pin = |it: &mut Index| {
        (it.files[1].size_bytes, it.files[1].sha256) = (bytes.len() as u64, Digest::of(bytes));
    };
    let mut files = recipe().bake_spoiled(pin, |_| {}, |_| {});
    files.insert("sbom.spdx.json".to_owned(), bytes.to_vec());
    let found = judge(&files).findings;
    assert_eq!((found[0].code, found[0].file.as_str()), (Code::DocumentInvalid, "sbom.spdx.json"));
}

#[test]
fn a_key_stands_under_an_id_of_its_own_and_signatures_are_not_too_many() {
    let key = generate(Algorithm::EcdsaP256);
    let listed = Key::of(key.public()).unwrap();
    let role = RoleKeys { keyids: vec![listed.id()], threshold: 1 };
    let roles = Roles { root: role.clone(), targets: role.clone(), snapshot: role.clone(), timestamp: role };
    let keys = [(listed.id(), listed.clone())].into();
    let root = signed_by(key.as_ref(), Root::new(1, "2030-01-01T00:00:00Z".parse().unwrap(), keys, roles));
    let root: Value = serde_json::from_slice(&root).unwrap();
    let with_more = {
        let mut value = serde_json::to_value(&listed).unwrap();
        value["x"] = "more".into();
        value
    };
    let canonical = Json::parse(&serde_json::to_vec(&with_more).unwrap()).unwrap().canonical();
    for (id, value, is_read) in [
        (listed.id(), serde_json::to_value(&listed).unwrap(), true),
        (listed.id(), with_more.clone(), true),
        (Digest::of(&canonical).to_string(), with_more.clone(), true),
        (key.public().id().to_string(), with_more.clone(), true),
        ("0".repeat(64), with_more, false),
    ] {
        let mut other = root.clone();
        other["signed"]["keys"] = serde_json::json!({ id.as_str(): value });
        let read = Signed::<Root>::parse(&serde_json::to_vec(&other).unwrap()).unwrap();
        assert_eq!(read.signed.keys.contains_key(&id), is_read, "{id}");
    }
    for (count, is_read) in [(64, true), (65, false)] {
        let mut many = root.clone();
        let row = |number: i32| serde_json::json!({"keyid": number.to_string(), "sig": "00"});
        many["signatures"] = (0..count).map(row).collect();
        assert_eq!(Signed::<Root>::parse(&serde_json::to_vec(&many).unwrap()).is_ok(), is_read, "{count}");
    }
}

#[test]
fn each_signature_of_an_envelope_is_by_the_key_that_it_names() {
    let (one, two) = (generate(Algorithm::EcdsaP256), generate(Algorithm::EcdsaP256));
    let anchor = Anchor::Keys(vec![one.public().clone(), two.public().clone()]);
    let mut files = signed_with(&bundle_fixture(), &[one, two]);
    assert!(judge_with(&files, &anchor).bundle.is_some());
    let mut envelope = Envelope::read_own(&files[dsse::FILE_NAME]).unwrap();
    let [first, second] = envelope.signatures.as_mut_slice() else { panic!("two keys have signed it") };
    std::mem::swap(&mut first.sig, &mut second.sig);
    files.insert(dsse::FILE_NAME.to_owned(), envelope.render());
    let verdict = judge_with(&files, &anchor);
    assert!(verdict.bundle.is_none());
    assert!(
        verdict.findings.iter().all(|row| (row.code, row.file.as_str()) == (Code::SignatureInvalid, dsse::FILE_NAME))
    );
}
