//! Verifying a bundle: what is whole is accepted, and nothing else is.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::collections::BTreeSet;
use std::process::Command;

use consign::archive::Inspector;
use consign::model::events::Silence;
use consign::model::index::{ArchiveFormat, ListedFile};
use consign::model::metadata::Compiler;
use consign::model::provenance::{ResolvedDependency, Statement};
use consign::model::sbom::{ComponentKey, Inventory};
use consign::model::{Code, Digest, Finding, Platform, Release};
use consign::pipeline::verify::{Report, Requirements, Status, verify};
use consign::trust::documents;

use crate::fixture::{self, Files, bundle_fixture, judge, recipe};
use crate::hostile;
use crate::support::{Scratch, missing_unless, need, succeed};

fn check(directory: &Scratch) -> Report {
    verify(directory.path(), None, &Requirements::default(), &Silence).unwrap()
}

fn on_disk(files: &Files) -> Scratch {
    let scratch = Scratch::new();
    fixture::write(files, scratch.path());
    scratch
}

fn codes(findings: &[Finding]) -> BTreeSet<Code> {
    findings.iter().map(|finding| finding.code).collect()
}

/// The codes and files of what is wrong with a bundle, which must be something.
fn wrong(files: &Files) -> Vec<(Code, String)> {
    let verdict = judge(files);
    assert!(verdict.bundle.is_none() && !verdict.findings.is_empty());
    verdict.findings.into_iter().map(|finding| (finding.code, finding.file)).collect()
}

fn assert_found(files: &Files, code: Code, file: &str) {
    let found = wrong(files);
    assert!(found.contains(&(code, file.to_owned())), "{code} about {file} is not among {found:?}");
}

#[test]
fn a_whole_bundle_is_accepted() {
    let scratch = on_disk(&bundle_fixture());
    let report = check(&scratch);
    assert_eq!(report.findings, []);
    assert_eq!(report.status, Status::Passed);
    assert_eq!(report.files.len(), 8);
    let json = String::from_utf8(consign::model::pretty(&report)).unwrap();
    assert!(json.starts_with("{\n  \"type\": \"consign.verify/v1\",\n  \"name\": \"tool\",\n  \"version\": \"1.0.0\""));
    assert!(json.contains("\"authenticity\": \"unchecked\"") && !json.contains(scratch.path().as_str()));
    let bundle = report.accept().unwrap();
    assert_eq!(bundle.release.tag, "v1.0.0");
    let kinds: Vec<_> = bundle.assets.iter().map(|asset| asset.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["checksums", "index", "provenance", "sbom-cyclonedx", "sbom-spdx", "package", "package", "package"]
    );
    assert!(bundle.evidence.is_empty());
}

#[test]
fn sha256sum_accepts_it_too() {
    if need("sha256sum") {
        let scratch = on_disk(&bundle_fixture());
        succeed(Command::new("sha256sum").args(["--strict", "-c", "checksums.txt"]).current_dir(scratch.path()));
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_any_file_is_found() {
    let whole = bundle_fixture();
    for name in whole.keys() {
        let mut files = whole.clone();
        for at in 0..whole[name].len() {
            files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            assert!(judge(&files).bundle.is_none(), "byte {at} of {name}");
            files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
        }
        assert!(judge(&files).bundle.is_some());
    }
}

#[test]
fn a_file_cut_off_or_longer_by_a_byte_is_found() {
    let whole = bundle_fixture();
    for name in whole.keys() {
        let spoils: [fn(&mut Vec<u8>); 3] = [|bytes| _ = bytes.pop(), |bytes| bytes.push(b'\n'), Vec::clear];
        for spoil in spoils {
            let mut files = whole.clone();
            spoil(files.get_mut(name).unwrap());
            wrong(&files);
            let report = check(&on_disk(&files));
            assert_eq!(report.status, Status::Failed, "{name}");
            assert_eq!(report.accept().unwrap_err().code().exit(), consign::model::Exit::Verification);
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let whole = bundle_fixture();
    for name in whole.keys() {
        let mut files = whole.clone();
        files.remove(name);
        assert_found(&files, Code::FileMissing, name);
    }
}

#[test]
fn an_unlisted_file_is_named_and_evidence_of_an_asset_is_not() {
    let mut files = bundle_fixture();
    for evidence in [
        "index.json.sig",
        "checksums.txt.0123abcd.sig",
        "index.json.sigstore.json",
        "signatures.json",
        "provenance.intoto.jsonl",
    ] {
        files.insert(evidence.to_owned(), b"x".to_vec());
    }
    let bundle = judge(&files).bundle.unwrap();
    assert_eq!((bundle.evidence.len(), bundle.assets.len()), (5, 8));
    for unlisted in [
        "notes.md",
        "verify.json",
        ".hidden",
        "other.json.sig",
        "index.json.sig.sig",
        "Index.json",
        "index.json.0123ABCD.sig",
        "tool-1.0.0-linux-386.tar.gz",
        "a\u{1b}[2Jb",
    ] {
        let mut files = files.clone();
        files.insert(unlisted.to_owned(), b"x".to_vec());
        let shown = consign::model::text::shown(unlisted).into_owned();
        assert_eq!(wrong(&files), [(Code::FileUnlisted, shown)]);
    }
}

#[cfg(unix)]
#[test]
fn what_is_not_a_regular_file_is_never_opened() {
    type Spoil = fn(&camino::Utf8Path);
    let spoils: [Spoil; 3] = [
        |path| std::os::unix::fs::symlink("index.json", path).unwrap(),
        |path| drop(succeed(Command::new("mkfifo").arg(path))),
        |path| fs_err::create_dir(path).unwrap(),
    ];
    for name in ["index.json", "sbom.spdx.json", "index.json.sig"] {
        for spoil in spoils {
            let scratch = on_disk(&bundle_fixture());
            let path = scratch.path().join(name);
            if path.exists() {
                fs_err::rename(&path, scratch.path().join("../aside")).unwrap_or(());
                let _ = fs_err::remove_file(&path);
            }
            spoil(&path);
            let report = check(&scratch);
            assert!(codes(&report.findings).contains(&Code::FileIrregular), "{name}: {:?}", report.findings);
            assert!(report.accept().is_err());
        }
    }
}

#[test]
fn there_has_to_be_a_directory() {
    let scratch = Scratch::new();
    let failure = verify(&scratch.path().join("no"), None, &Requirements::default(), &Silence).unwrap_err();
    assert_eq!(failure.code(), Code::BundleMissing);
    let report = check(&scratch);
    assert_eq!(codes(&report.findings), [Code::FileMissing].into());
    assert!(report.accept().is_err());
}

#[test]
fn signatures_that_cannot_be_checked_are_no_signatures() {
    let mut files = bundle_fixture();
    let required = Requirements { require_signatures: true, ..Requirements::default() };
    let report = verify(on_disk(&files).path(), None, &required, &Silence).unwrap();
    assert_eq!(report.accept().unwrap_err().code(), Code::Unsigned);
    files.insert("index.json.sig".to_owned(), b"x".to_vec());
    let report = verify(on_disk(&files).path(), None, &required, &Silence).unwrap();
    assert_eq!(report.accept().unwrap_err().code(), Code::KeyUntrusted);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut files = bundle_fixture();
    files.insert("notes.md".to_owned(), Vec::new());
    files.get_mut("sbom.spdx.json").unwrap().push(b' ');
    let scratch = on_disk(&files);
    let report = |threads| {
        let requirements = Requirements { threads: Some(threads), ..Requirements::default() };
        consign::model::pretty(&verify(scratch.path(), None, &requirements, &Silence).unwrap())
    };
    assert!([2, 3, 100].into_iter().all(|threads| report(threads) == report(1)));
}

#[test]
fn two_valid_bundles_mixed_are_refused() {
    let other = {
        let mut recipe = recipe();
        let platform: Platform = "linux-amd64".parse().unwrap();
        let packed = fixture::archive(platform, ArchiveFormat::TarGz, b"new", &fixture::metadata(platform));
        recipe.index.packages[0] = fixture::package(platform, ArchiveFormat::TarGz, &packed, b"new");
        recipe.archives.insert(format!("{}.tar.gz", fixture::stem(platform)), packed.bytes);
        recipe.bake()
    };
    let whole = bundle_fixture();
    let names: Vec<_> = whole.keys().filter(|name| whole[*name] != other[*name]).collect();
    assert_eq!(names.len(), 6);
    // Every way to take some files from one bundle and the others from the other.
    for choice in 1..(1 << names.len()) - 1 {
        let mut mixed = whole.clone();
        for (number, name) in names.iter().enumerate() {
            if choice & 1 << number != 0 {
                mixed.insert((*name).clone(), other[*name].clone());
            }
        }
        wrong(&mixed);
    }
    assert!(judge(&other).bundle.is_some());
}

#[test]
fn every_document_pins_exactly_what_it_should() {
    let extra = || ("zzz".parse().unwrap(), Digest::of(b"zzz"));
    let archive = "tool-1.0.0-linux-arm64.tar.zst";
    // Checksums: one too few, one too many, another digest.
    for name in ["index.json", "provenance.json", "sbom.spdx.json", archive] {
        let files = recipe().bake_spoiled(|_| {}, |_| {}, |list| _ = list.0.remove(name));
        wrong(&files);
        let files = recipe().bake_spoiled(|_| {}, |_| {}, |list| *list.0.get_mut(name).unwrap() = Digest::of(b"other"));
        wrong(&files);
    }
    let files = recipe().bake_spoiled(|_| {}, |_| {}, |list| list.0.extend([extra()]));
    assert_eq!(wrong(&files), [(Code::DocumentsDisagree, "checksums.txt".to_owned())]);
    // Provenance: the same.
    for number in 0..6 {
        let files = recipe().bake_spoiled(|_| {}, |statement| drop(statement.subject.remove(number)), |_| {});
        assert_eq!(wrong(&files), [(Code::SubjectMismatch, "provenance.json".to_owned())]);
        let other = Digest::of(b"other");
        let files = recipe().bake_spoiled(|_| {}, |statement| statement.subject[number].digest.sha256 = other, |_| {});
        assert_eq!(wrong(&files), [(Code::SubjectMismatch, "provenance.json".to_owned())]);
    }
    // SBOMs: the same.
    let packages = recipe().bake();
    let truth = |name: &str| Digest::of(&packages[name]);
    let names: Vec<_> = packages.keys().filter(|name| name.starts_with("tool-")).cloned().collect();
    let right: std::collections::BTreeMap<_, _> = names.iter().map(|name| (name.clone(), truth(name))).collect();
    let mut fewer = right.clone();
    fewer.pop_first();
    let mut more = right.clone();
    more.insert("zzz".to_owned(), Digest::of(b"zzz"));
    let mut other = right.clone();
    other.insert(names[0].clone(), Digest::of(b"zzz"));
    for (name, version, archives) in [
        ("tool", "1.0.0", fewer),
        ("tool", "1.0.0", more),
        ("tool", "1.0.0", other),
        ("other", "1.0.0", right.clone()),
        ("tool", "1.0.1", right),
    ] {
        let mut recipe = recipe();
        recipe.described = Some((name.to_owned(), version.to_owned(), archives));
        assert_eq!(codes(&judge(&recipe.bake()).findings), [Code::SbomMismatch].into());
    }
}

#[test]
fn name_version_commit_and_platform_agree_in_all_documents() {
    type Spoil = fn(&mut consign::model::provenance::Statement);
    let spoils: [Spoil; 12] = [
        |it| it.predicate.build_definition.external_parameters.name = "other".parse().unwrap(),
        |it| it.predicate.build_definition.external_parameters.version = "1.0.1".parse().unwrap(),
        |it| it.predicate.build_definition.external_parameters.tag = "1.0.0".to_owned(),
        |it| it.predicate.build_definition.internal_parameters.source_date_epoch += 1,
        |it| it.predicate.build_definition.resolved_dependencies.clear(),
        |it| {
            let digest = &mut it.predicate.build_definition.resolved_dependencies[0].digest;
            digest.insert("gitCommit".to_owned(), "f".repeat(40));
        },
        |it| drop(it.predicate.build_definition.external_parameters.platforms.pop()),
        |it| it.predicate.build_definition.external_parameters.platforms[0].target = "x".to_owned(),
        |it| it.predicate.build_definition.external_parameters.platforms[0].format = ArchiveFormat::Zip,
        |it| it.predicate.build_definition.external_parameters.mode = "validate".to_owned(),
        |it| it.predicate.build_definition.build_type.push('x'),
        |it| it.predicate_type.push('x'),
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let found = wrong(&recipe().bake_spoiled(|_| {}, spoil, |_| {}));
        let code = if number < 9 { Code::DocumentsDisagree } else { Code::DocumentInvalid };
        assert_eq!(found, [(code, "provenance.json".to_owned())], "{number}");
    }
    let dirty = recipe().bake_spoiled(|index| index.source.dirty = true, |_| {}, |_| {});
    assert_eq!(wrong(&dirty), [(Code::DocumentsDisagree, "provenance.json".to_owned())]);
    // A version of glibc that zig links against is part of the target that was built, not of its name.
    let glibc = recipe().bake_spoiled(
        |_| {},
        |it| it.predicate.build_definition.external_parameters.platforms[0].target.push_str(".2.17"),
        |_| {},
    );
    assert!(judge(&glibc).bundle.is_some());
}

#[test]
fn a_bundle_in_the_place_of_another_release_is_found() {
    let scratch = Scratch::new();
    let at = |place: &str, expected: Option<&str>| {
        let directory = scratch.path().join(place);
        if !directory.exists() {
            fs_err::create_dir_all(&directory).unwrap();
            fixture::write(&bundle_fixture(), &directory);
        }
        let expected = expected.map(|tag| Release::parse(tag).unwrap());
        verify(&directory, expected.as_ref(), &Requirements::default(), &Silence).unwrap()
    };
    for (place, expected) in [
        ("v1.0.0", None),
        ("v1.0.0/.", None),
        ("anything", None),
        ("v1.0.0", Some("v1.0.0")),
        ("anything", Some("v1.0.0")),
        // Whoever says what should be there knows better than the name of the place.
        ("v2.0.0", Some("v1.0.0")),
    ] {
        assert_eq!(at(place, expected).findings, [], "{place} {expected:?}");
    }
    for (place, expected) in [
        ("v2.0.0", None),
        ("1.0.0", None),
        ("v1.0.0-rc.1", None),
        ("tool-v1.0.0", None),
        ("v1.0.0", Some("v2.0.0")),
        ("anything", Some("1.0.0")),
    ] {
        let report = at(place, expected);
        assert_eq!((report.status, report.findings.len()), (Status::Failed, 1), "{place} {expected:?}");
        assert_eq!((report.findings[0].code, &*report.findings[0].file), (Code::DocumentsDisagree, "index.json"));
        assert_eq!(report.exit() as u8, 4);
        assert!(report.accept().is_err());
    }
}

#[test]
fn a_tag_with_a_slash_is_one_name_or_two() {
    let mut recipe = recipe();
    recipe.index.tag = "tool/v1.0.0".to_owned();
    recipe.index.source.reference = Some("refs/tags/tool/v1.0.0".to_owned());
    recipe.statement.predicate.build_definition.external_parameters.tag = "tool/v1.0.0".to_owned();
    let files = recipe.bake();
    let scratch = Scratch::new();
    for (place, status) in
        [("tool-v1.0.0", Status::Passed), ("tool/v1.0.0", Status::Passed), ("other/v1.0.0", Status::Failed)]
    {
        let directory = scratch.path().join(place);
        fs_err::create_dir_all(&directory).unwrap();
        fixture::write(&files, &directory);
        assert_eq!(verify(&directory, None, &Requirements::default(), &Silence).unwrap().status, status, "{place}");
    }
}

#[test]
fn both_sboms_describe_these_programs_this_time_and_the_same_crates() {
    type Spoil = fn(&mut [Inventory; 2]);
    fn evil(inventory: &mut Inventory) {
        let (key, component) = inventory.components.pop_first().unwrap();
        inventory.components.insert(ComponentKey { name: "evil".to_owned(), ..key }, component);
    }
    let spoils: [(Spoil, &[&str]); 6] = [
        (|both| both[0].created = "2001-01-01T00:00:00Z".parse().unwrap(), &["sbom.spdx.json"]),
        (|both| both[1].created = "2001-01-01T00:00:00Z".parse().unwrap(), &["sbom.cdx.json"]),
        (
            |both| both.iter_mut().for_each(|it| it.archives[0].binaries[0].1 = Digest::of(b"other")),
            &["sbom.cdx.json", "sbom.spdx.json"],
        ),
        (|both| drop(both[0].archives[1].binaries.pop()), &["sbom.spdx.json"]),
        (|both| evil(&mut both[0]), &["sbom.spdx.json"]),
        (|both| evil(&mut both[1]), &["sbom.spdx.json"]),
    ];
    for (number, (spoil, expected)) in spoils.into_iter().enumerate() {
        let mut recipe = recipe();
        recipe.inventories = spoil;
        let expected: Vec<_> = expected.iter().map(|name| (Code::SbomMismatch, (*name).to_owned())).collect();
        assert_eq!(wrong(&recipe.bake()), expected, "{number}");
    }
}

#[test]
fn an_sbom_in_any_other_form_is_refused() {
    use consign::model::sbom::{cyclonedx, spdx};
    let whole = bundle_fixture();
    for (name, read) in [("sbom.spdx.json", spdx::described as fn(&[u8]) -> _), ("sbom.cdx.json", cyclonedx::described)]
    {
        let text = String::from_utf8(whole[name].clone()).unwrap();
        read(text.as_bytes()).unwrap();
        for spoiled in [
            format!("{text} "),
            format!("{text}{{}}"),
            text.replacen('{', "{ ", 1),
            text.replacen("\"name\"", "\"name\": \"x\", \"name\"", 1),
            text.replacen("tool", "t\\u006fol", 1),
            // The number that is made of the content is no longer that of this content.
            text.replacen("03:04:05Z", "03:04:06Z", 1),
            // A relationship to what there is not.
            text.replacen(
                "\"GENERATED_FROM\",\"relatedSpdxElement\":\"",
                "\"GENERATED_FROM\",\"relatedSpdxElement\":\"x",
                1,
            )
            .replacen("\"dependsOn\":[\"", "\"dependsOn\":[\"x", 1),
        ] {
            assert_ne!(spoiled, text);
            assert!(read(spoiled.as_bytes()).is_err(), "{spoiled}");
        }
    }
}

#[test]
fn the_provenance_tells_of_this_build() {
    fn asked(it: &mut Statement) -> &mut consign::model::provenance::ExternalParameters {
        &mut it.predicate.build_definition.external_parameters
    }
    fn dependencies(it: &mut Statement) -> &mut Vec<ResolvedDependency> {
        &mut it.predicate.build_definition.resolved_dependencies
    }
    fn dependency(name: &str, kind: &str, value: &str) -> ResolvedDependency {
        let digest = [(kind.to_owned(), value.to_owned())].into();
        ResolvedDependency { name: name.to_owned(), uri: None, digest }
    }
    type Spoil = fn(&mut Statement);
    let disagree: [Spoil; 8] = [
        |it| asked(it).binaries = vec!["evil".to_owned()],
        |it| asked(it).binaries.push("tool".to_owned()),
        |it| asked(it).binaries.clear(),
        |it| it.predicate.run_details.metadata.invocation_id = "x".to_owned(),
        |it| dependencies(it)[0].uri = Some("git+https://evil.example/x/y".to_owned()),
        |it| dependencies(it)[0].digest.clear(),
        |it| dependencies(it)[0].name = "sources".to_owned(),
        |it| {
            let compiler = Compiler { version: "rustc 1.0.0".to_owned(), host: "x".to_owned() };
            it.predicate.build_definition.internal_parameters.compilers.insert("linux-amd64".to_owned(), compiler);
        },
    ];
    let invalid: [Spoil; 11] = [
        |it| asked(it).packages.clear(),
        |it| asked(it).packages.push("../evil".to_owned()),
        |it| asked(it).workspace = "/home/alice".to_owned(),
        |it| asked(it).workspace = "a/../../b".to_owned(),
        |it| asked(it).workspace = "C:\\b".to_owned(),
        |it| asked(it).workspace = "a//b".to_owned(),
        |it| dependencies(it).push(ResolvedDependency::source(None, fixture::COMMIT)),
        |it| dependencies(it).push(dependency("Cargo.lock", "sha256", "0")),
        |it| dependencies(it).push(dependency("Cargo.lock", "sha256", &"X".repeat(64))),
        |it| dependencies(it).push(dependency("more", "sha1", &"f".repeat(40))),
        |it| dependencies(it).push(dependency("more", "gitCommit", &"f".repeat(40))),
    ];
    for (number, spoil) in disagree.into_iter().enumerate() {
        let found = wrong(&recipe().bake_spoiled(|_| {}, spoil, |_| {}));
        let code = if number == 6 { Code::DocumentInvalid } else { Code::DocumentsDisagree };
        assert_eq!(found, [(code, "provenance.json".to_owned())], "{number}");
    }
    for (number, spoil) in invalid.into_iter().enumerate() {
        let found = wrong(&recipe().bake_spoiled(|_| {}, spoil, |_| {}));
        assert_eq!(found, [(Code::DocumentInvalid, "provenance.json".to_owned())], "{number}");
    }
    let harmless: [Spoil; 2] = [
        |it| asked(it).workspace = "a/b".to_owned(),
        |it| dependencies(it).push(dependency("Cargo.lock", "sha256", &"0".repeat(64))),
    ];
    for spoil in harmless {
        assert!(judge(&recipe().bake_spoiled(|_| {}, spoil, |_| {})).bundle.is_some());
    }
}

#[test]
fn the_compiler_is_the_one_that_the_archive_names() {
    let platform: Platform = "linux-amd64".parse().unwrap();
    let program = "program of linux-amd64\n".repeat(40).into_bytes();
    let mut metadata = fixture::metadata(platform);
    metadata.compiler = Some("rustc 1.90.0".to_owned());
    let bake = |said: Option<&str>| {
        let packed = fixture::archive(platform, ArchiveFormat::TarGz, &program, &metadata);
        let mut recipe = recipe();
        recipe.replace_archive("linux-amd64", packed.bytes, packed.unpacked_size_bytes);
        let compilers = &mut recipe.statement.predicate.build_definition.internal_parameters.compilers;
        if let Some(version) = said {
            let compiler = Compiler { version: version.to_owned(), host: "x86_64-unknown-linux-gnu".to_owned() };
            compilers.insert("linux-amd64".to_owned(), compiler);
        }
        recipe.bake()
    };
    assert!(judge(&bake(Some("rustc 1.90.0"))).bundle.is_some());
    for said in [None, Some("rustc 1.0.0")] {
        assert_eq!(wrong(&bake(said)), [(Code::DocumentsDisagree, "provenance.json".to_owned())]);
    }
}

#[test]
fn a_source_without_commit_or_tag_is_accepted() {
    let mut untagged = recipe();
    untagged.index.source.reference = None;
    assert!(judge(&untagged.bake()).bundle.is_some());
    let mut nameless = recipe();
    nameless.index.source.repository = None;
    let dependencies = &mut nameless.statement.predicate.build_definition.resolved_dependencies;
    *dependencies = vec![ResolvedDependency::source(None, fixture::COMMIT)];
    assert!(judge(&nameless.bake()).bundle.is_some());
}

#[test]
fn evidence_is_bounded_in_size_and_number() {
    let mut files = bundle_fixture();
    files.insert("index.json.sig".to_owned(), vec![b'x'; 4 << 20]);
    assert!(judge(&files).bundle.is_some());
    files.get_mut("index.json.sig").unwrap().push(b'x');
    assert_eq!(wrong(&files), [(Code::FileTooLarge, "index.json.sig".to_owned())]);
    // What was not read whole has no digest that could be told.
    assert!(judge(&files).files.iter().all(|file| file.name.as_str() != "index.json.sig"));

    let mut files = bundle_fixture();
    let most = 64 + 64 * files.len();
    for number in 0..most {
        files.insert(format!("index.json.{number:08x}.sig"), b"x".to_vec());
    }
    assert!(judge(&files).bundle.is_some());
    for number in 0..100 {
        files.insert(format!("provenance.json.{number:08x}.sig"), b"x".to_vec());
    }
    assert_eq!(wrong(&files), [(Code::FileUnlisted, "provenance.json.00000000.sig".to_owned())]);
}

#[test]
fn an_archive_of_something_else_is_refused() {
    type Spoil = fn(&mut consign::model::metadata::PackageMetadata);
    let spoils: [Spoil; 6] = [
        |it| it.name = "other".parse().unwrap(),
        |it| it.version = "1.0.1".parse().unwrap(),
        |it| it.platform = "macos-arm64".parse().unwrap(),
        |it| it.target = "aarch64-apple-darwin".to_owned(),
        |it| it.commit = None,
        |it| it.kind.push('x'),
    ];
    let platform: Platform = "linux-amd64".parse().unwrap();
    let program = "program of linux-amd64\n".repeat(40).into_bytes();
    for (number, spoil) in spoils.into_iter().enumerate() {
        let mut metadata = fixture::metadata(platform);
        spoil(&mut metadata);
        let packed = fixture::archive(platform, ArchiveFormat::TarGz, &program, &metadata);
        let mut recipe = recipe();
        recipe.replace_archive("linux-amd64", packed.bytes, packed.unpacked_size_bytes);
        let code = if number < 5 { Code::DocumentsDisagree } else { Code::ArchiveInvalid };
        assert_eq!(wrong(&recipe.bake()), [(code, "tool-1.0.0-linux-amd64.tar.gz".to_owned())]);
    }
    // The right words around another program.
    let packed = fixture::archive(platform, ArchiveFormat::TarGz, b"other", &fixture::metadata(platform));
    let mut recipe = recipe();
    recipe.replace_archive("linux-amd64", packed.bytes, packed.unpacked_size_bytes);
    assert_eq!(wrong(&recipe.bake()), [(Code::ArchiveMismatch, "tool-1.0.0-linux-amd64.tar.gz".to_owned())]);
}

#[test]
fn the_programs_of_an_archive_are_exactly_the_listed_ones() {
    type Spoil = fn(&mut consign::model::index::Index);
    let spoils: [Spoil; 4] = [
        |it| it.packages[0].binaries[0].sha256 = Digest::of(b"other"),
        |it| it.packages[0].binaries[0].size_bytes += 1,
        |it| it.packages[0].binaries[0].path.push('x'),
        |it| {
            let mut more = it.packages[0].binaries[0].clone();
            more.path.push('x');
            it.packages[0].binaries.push(more);
        },
    ];
    for spoil in spoils {
        let files = recipe().bake_spoiled(spoil, |_| {}, |_| {});
        assert_found(&files, Code::ArchiveMismatch, "tool-1.0.0-linux-amd64.tar.gz");
    }
}

fn listed(name: &str) -> ListedFile {
    ListedFile { name: name.parse().unwrap(), kind: "report".to_owned(), size_bytes: 0, sha256: Digest::of(b"") }
}

#[test]
fn an_index_that_contradicts_itself_is_refused() {
    type Spoil = fn(&mut consign::model::index::Index);
    let spoils: [Spoil; 37] = [
        |it| it.kind.push('x'),
        |it| it.tag = "v1.0.1".to_owned(),
        |it| it.tag = "refs/tags/v1.0.0".to_owned(),
        |it| it.tag = "../v1.0.0".to_owned(),
        |it| it.channel = "rc".to_owned(),
        |it| it.created_at = "yesterday".to_owned(),
        |it| it.created_at = "2025-01-02T03:04:05+00:00".to_owned(),
        |it| it.created_at = "../../x".to_owned(),
        |it| it.source.commit = Some("HEAD".to_owned()),
        |it| it.source.reference = Some("refs/tags/v1.0.1".to_owned()),
        |it| it.source.reference = Some("refs/heads/main".to_owned()),
        |it| it.source.reference = Some("--upload-pack=x\n".to_owned()),
        |it| it.source.repository = Some("https://user:canary@github.com/example/tool".to_owned()),
        |it| it.source.repository = Some("javascript:alert(1)".to_owned()),
        |it| it.source.repository = Some("https://github.com/example\n/tool".to_owned()),
        |it| it.source.repository = Some("/home/alice/tool".to_owned()),
        |it| it.packages[0].archive = "CON.tar.gz".parse().unwrap(),
        |it| it.packages[0].archive = "com1.x.tar.gz".parse().unwrap(),
        |it| it.files.push(listed("verify.json")),
        |it| it.files.push(listed("zzz")),
        |it| it.files.push(ListedFile { name: "zzz".parse().unwrap(), ..it.files[0].clone() }),
        |it| it.files.push(ListedFile { kind: "sbom-spdx".to_owned(), ..listed("zzz") }),
        |it| it.packages.clear(),
        |it| it.packages.reverse(),
        |it| it.packages[1].platform = it.packages[0].platform,
        |it| it.packages[1].archive = it.packages[0].archive.clone(),
        |it| it.packages[0].archive = "index.json".parse().unwrap(),
        |it| it.packages[0].archive = "a.sig".parse().unwrap(),
        |it| it.packages[0].format = ArchiveFormat::Zip,
        |it| it.packages[0].unpacked_size_bytes = u64::MAX,
        |it| it.packages[0].binaries.clear(),
        |it| it.packages[0].binaries[0].path = "../bin/tool".to_owned(),
        |it| it.files.clear(),
        |it| it.files.reverse(),
        |it| it.files[0].kind = "file".to_owned(),
        |it| it.files[0].size_bytes = u64::MAX,
        |it| {
            let mut clash = it.files[0].clone();
            clash.name = "SBOM.cdx.json".parse().unwrap();
            it.files.insert(0, clash);
        },
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let files = recipe().bake_spoiled(spoil, |_| {}, |_| {});
        assert_eq!(wrong(&files), [(Code::DocumentInvalid, "index.json".to_owned())], "{number}");
    }
}

#[test]
fn a_document_in_any_other_spelling_is_refused() {
    let whole = bundle_fixture();
    for name in ["index.json", "provenance.json"] {
        let text = String::from_utf8(whole[name].clone()).unwrap();
        let spoiled = [
            text.replacen('{', "{ ", 1),
            text.replace('\n', "\r\n"),
            text.trim_end().to_owned(),
            format!("\u{feff}{text}"),
            format!("{text}{text}"),
            text.replacen("\"1.0.0\"", "\"1.0\\u002e0\"", 1),
            // The first of two equal keys is lost in most parsers.
            text.replacen("\"name\": \"tool\"", "\"name\": \"evil\", \"name\": \"tool\"", 1),
            text.replacen("\"gitCommit\":", "\"gitCommit\": \"x\", \"gitCommit\":", 1),
            text.replacen("\"version\": \"1.0.0\"", "\"version\": \"1.0.0\", \"more\": 1", 1),
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            format!("{text}{}", " ".repeat(5 << 20)),
            "null\n".to_owned(),
        ];
        for text in spoiled.into_iter().filter(|spoiled| spoiled.as_bytes() != whole[name]) {
            let bytes = text.into_bytes();
            let problem = match name {
                "index.json" => documents::read_index(&bytes).map(drop),
                _ => documents::read_provenance(&bytes).map(drop),
            };
            assert!(problem.is_err_and(|problem| problem.len() < 2000));
            let mut files = whole.clone();
            files.insert(name.to_owned(), bytes);
            wrong(&files);
        }
    }
}

#[test]
fn a_hostile_archive_under_the_right_digest_is_refused() {
    let mut inspector = Inspector::default();
    for case in hostile::cases() {
        let read = inspector.inspect(case.format, &case.bytes, hostile::STEM, case.unpacked_size_bytes);
        let problem = read.map(|contents| contents.entries).expect_err(case.name).to_string();
        assert!(!problem.contains(|character: char| character.is_control()), "{}: {problem}", case.name);
        if case.unpacked_size_bytes == u64::MAX {
            // Such an index is refused before any archive is looked at.
            continue;
        }
        let platform = match case.format {
            ArchiveFormat::TarGz => "linux-amd64",
            ArchiveFormat::TarZst => "linux-arm64",
            ArchiveFormat::Zip => "windows-amd64",
        };
        let mut recipe = recipe();
        recipe.replace_archive(platform, case.bytes, case.unpacked_size_bytes);
        let found = wrong(&recipe.bake());
        assert_eq!(found.len(), 1, "{}: {found:?}", case.name);
        assert_eq!(found[0].0, Code::ArchiveInvalid, "{}", case.name);
    }
}

#[test]
fn the_hostile_archives_are_one_step_from_an_accepted_one() {
    let mut inspector = Inspector::default();
    for (format, bytes, unpacked) in hostile::harmless() {
        let contents = inspector.inspect(format, &bytes, hostile::STEM, unpacked).unwrap();
        assert_eq!(contents.entries.len(), 2);
    }
}

#[test]
fn archives_of_other_makers_are_refused() {
    let Some(vectors) = vectors("tar") else { return };
    let mut inspector = Inspector::default();
    let mut seen = 0;
    for directory in [vectors.clone(), vectors.join("archives")] {
        for entry in fs_err::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() {
                continue;
            }
            let bytes = fs_err::read(&path).unwrap();
            let size = bytes.len() as u64;
            let packed = hostile::gzip(&bytes);
            for stem in ["a", "directory", "tool", "good.txt", ""] {
                assert!(inspector.inspect(ArchiveFormat::TarGz, &packed, stem, size).is_err(), "{}", path.display());
                for format in [ArchiveFormat::TarGz, ArchiveFormat::TarZst, ArchiveFormat::Zip] {
                    assert!(inspector.inspect(format, &bytes, stem, size).is_err(), "{}", path.display());
                }
            }
            seen += 1;
        }
    }
    assert!(seen > 20);
}

/// Vectors of other projects, beside the workspace or where `CONSIGN_VECTORS` says.
pub fn vectors(kind: &str) -> Option<std::path::PathBuf> {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors").into();
    let place = std::env::var_os("CONSIGN_VECTORS").map_or_else(beside, std::path::PathBuf::from).join(kind);
    missing_unless(place.is_dir(), "a directory of test vectors (CONSIGN_VECTORS)").then_some(place)
}

#[test]
fn a_program_that_cannot_be_run_and_another_time_are_refused() {
    use consign::archive::{Options, Writer};
    let platform: Platform = "linux-amd64".parse().unwrap();
    let program = "program of linux-amd64\n".repeat(40);
    let metadata = consign::model::pretty(&fixture::metadata(platform));
    let pack = |executable: bool, date: &str, more: bool| {
        let options = Options { format: ArchiveFormat::TarGz, level: None, date: date.parse().unwrap() };
        let mut writer = Writer::new(&fixture::stem(platform).parse().unwrap(), options);
        writer.append("bin/tool", executable, program.len() as u64, &mut program.as_bytes()).unwrap();
        if more {
            writer.append("bin/toolx", true, 1, &mut b"x".as_slice()).unwrap();
        }
        writer.append("metadata.json", false, metadata.len() as u64, &mut metadata.as_slice()).unwrap();
        let packed = writer.finish().unwrap();
        let mut recipe = recipe();
        recipe.replace_archive("linux-amd64", packed.bytes, packed.unpacked_size_bytes);
        recipe.bake()
    };
    assert!(judge(&pack(true, fixture::DATE, false)).bundle.is_some());
    for files in
        [pack(false, fixture::DATE, false), pack(true, "2025-01-02T03:04:06Z", false), pack(true, fixture::DATE, true)]
    {
        assert_eq!(wrong(&files), [(Code::ArchiveMismatch, "tool-1.0.0-linux-amd64.tar.gz".to_owned())]);
    }
}
