//! Releases in one file, carried to where there is no network, and believed there no more than the web is.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use consign::archive::{Options, Writer};
use consign::model::Digest;
use consign::model::index::ArchiveFormat;
use consign::trust::key::Algorithm;
use consign::world::parcel::{LIST, Packing, Parcel};
use serde_json::Value;

use crate::fixture::{self, DATE, Files, metadata, recipe, signed_with};
use crate::http::Server;
use crate::signed_verify::generate;
use crate::support::{self, Scratch, both, need, succeed};
use crate::trust::{Ceremony, tree};

/// A whole bundle of a version, in which the program for Linux says that version.
pub fn bundle(version: &str) -> Files {
    let mut recipe = recipe();
    let tag = format!("v{version}");
    recipe.index.version = version.parse().unwrap();
    recipe.index.channel = consign::model::Release::parse(&tag).unwrap().channel();
    recipe.index.source.reference = Some(format!("refs/tags/{tag}"));
    let asked = &mut recipe.statement.predicate.build_definition.external_parameters;
    (asked.version, asked.tag) = (recipe.index.version.clone(), tag.clone());
    recipe.index.tag = tag;
    recipe.archives.clear();
    for package in &mut recipe.index.packages {
        let (stem, format) = (format!("tool-{version}-{}", package.platform), package.format);
        let mut said = metadata(package.platform);
        said.version = version.parse().unwrap();
        let (said, program) = (consign::model::pretty(&said), format!("#!/bin/sh\necho tool {version}\n").into_bytes());
        let mut writer =
            Writer::new(&stem.parse().unwrap(), Options { format, level: None, date: DATE.parse().unwrap() });
        let program_path = package.binaries[0].path.clone();
        for (path, executable, mut content) in [
            ("README.md", false, b"# tool\n".as_slice()),
            (&program_path, true, &program),
            ("metadata.json", false, &said),
        ] {
            writer.append(path, executable, content.len() as u64, &mut content).unwrap();
        }
        let packed = writer.finish().unwrap();
        (package.binaries[0].sha256, package.binaries[0].size_bytes) = (Digest::of(&program), program.len() as u64);
        package.unpacked_size_bytes = packed.unpacked_size_bytes;
        package.archive = format!("{stem}.{}", format.extension()).parse().unwrap();
        recipe.archives.insert(package.archive.to_string(), packed.bytes);
    }
    recipe.bake()
}

/// Publishes a version in a catalog.
pub fn publish(ceremony: &Ceremony, version: &str) {
    let directory = ceremony.target().join(format!("v{version}"));
    fs_err::create_dir_all(&directory).unwrap();
    fixture::write(&bundle(version), &directory);
    ceremony.ok(&format!("catalog add releases/v{version} --target releases --key release.pem --key ci.pem"));
}

/// A catalog of these versions, and the root that its readers have.
pub fn catalog(versions: &[&str]) -> Ceremony {
    let ceremony = Ceremony::simple();
    for version in versions {
        publish(&ceremony, version);
    }
    fs_err::copy(ceremony.path("releases/tuf/root.json"), ceremony.path("pinned.json")).unwrap();
    ceremony
}

/// A machine without a network, and what was carried there.
struct Island {
    scratch: Scratch,
}

impl Island {
    fn new(from: &Ceremony, files: &[&str]) -> Self {
        let island = Self { scratch: Scratch::new() };
        island.bring(from, files);
        island
    }

    fn bring(&self, from: &Ceremony, files: &[&str]) {
        for file in files {
            fs_err::copy(from.path(file), self.path(file)).unwrap();
        }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.scratch.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = support::consign(self.scratch.path());
        command.args(line.split_whitespace()).args(["--format", "json"]).env("XDG_STATE_HOME", self.path("state"));
        if !line.contains("--prefix") {
            command.args(["--prefix", "prefix", "--offline", "--platform", "linux-amd64"]);
        }
        command
    }

    #[track_caller]
    fn ok(&self, line: &str) -> Value {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Refused, with a way out, and with nothing changed anywhere.
    #[track_caller]
    fn refused(&self, line: &str, exit: i32, code: &str) -> String {
        let before = tree(self.scratch.path());
        let output = self.command(line).output().unwrap();
        let said = both(&output);
        assert_eq!(output.status.code(), Some(exit), "{line}: {said}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["code"], code, "{line}: {said}");
        assert!(document["hint"].is_string(), "{line} says no way out: {said}");
        let after = tree(self.scratch.path());
        assert!(after == before, "{line} left {:?} of {:?}", after.keys(), before.keys());
        said
    }

    fn says(&self) -> String {
        succeed(&mut Command::new(self.path("prefix/bin/tool")))
    }
}

const EXPORT: &str = "bundle export --catalog releases --trust-root pinned.json";
const INSTALL: &str = "install --trust-root pinned.json --from";

#[test]
fn what_was_carried_is_installed_and_upgraded_without_a_network() {
    let ceremony = catalog(&["1.0.0"]);
    let told = ceremony.ok(&format!("{EXPORT} --platform linux-amd64 --output one.tar"));
    assert_eq!((&told["releases"][0], &told["platforms"][0]), (&"v1.0.0".into(), &"linux-amd64".into()));
    publish(&ceremony, "1.1.0");
    let told = ceremony.ok(&format!("{EXPORT} --version 1.0.0 --version ^1 --output two.tar"));
    assert_eq!(told["releases"].as_array().unwrap().len(), 2);
    assert_eq!(told["platforms"].as_array().unwrap().len(), 3);
    assert!(told["catalog"]["expires"].is_string());

    let island = Island::new(&ceremony, &["pinned.json", "one.tar", "two.tar"]);
    drop(ceremony);
    let done = island.ok(&format!("{INSTALL} one.tar"));
    assert_eq!((&done["status"], &done["trust"]["kind"]), (&"installed".into(), &"catalog".into()));
    assert_eq!(island.says(), "tool 1.0.0\n");
    assert_eq!(island.ok("install --from one.tar")["status"], "unchanged", "the root is remembered");
    // By the next one, whichever flag names it.
    assert_eq!(island.ok("upgrade tool --catalog two.tar")["products"][0]["previous"], "1.0.0");
    assert_eq!(island.says(), "tool 1.1.0\n");
    for line in ["upgrade --from two.tar", "upgrade", "upgrade --catalog two.tar"] {
        assert_eq!(island.ok(line)["products"][0]["status"], "unchanged", "{line}");
    }
    // What was carried before is older than what was seen, here and wherever else it is installed.
    for line in [
        "upgrade --catalog one.tar",
        "install --from one.tar --prefix other --platform linux-amd64 --trust-root pinned.json",
        "install --from one.tar --allow-downgrade",
        "install --from one.tar --at 2026-01-01T00:00:00Z",
    ] {
        island.refused(line, 4, "catalog_rollback");
    }
    // The web is not asked, by whatever name.
    for flag in ["--catalog", "--index", "--from"] {
        island.refused(&format!("install --trust-root pinned.json {flag} https://127.0.0.1:1/x"), 2, "usage");
    }
}

#[test]
fn the_same_releases_make_the_same_file_and_any_tar_can_read_it() {
    let ceremony = catalog(&["1.0.0", "1.1.0"]);
    ceremony.ok(&format!("{EXPORT} --output one.tar"));
    ceremony.ok(&format!("{EXPORT} --output two.tar"));
    let bytes = fs_err::read(ceremony.path("one.tar")).unwrap();
    assert!(bytes == fs_err::read(ceremony.path("two.tar")).unwrap());
    if !need("tar") {
        return;
    }
    let mut unpack = Command::new("tar");
    succeed(unpack.args(["xf", "one.tar"]).current_dir(ceremony.scratch.path()));
    let verify = "verify tool-v1.1.0/v1.1.0 --trust-root pinned.json --catalog tool-v1.1.0";
    assert_eq!(ceremony.ok(verify)["authenticity"], "catalog");
    let line = "install --catalog tool-v1.1.0 --trust-root pinned.json --prefix prefix --platform linux-amd64";
    assert_eq!(ceremony.ok(line)["version"], "1.1.0");
}

#[test]
fn a_release_that_a_key_has_signed_is_carried_without_a_catalog() {
    let ceremony = Ceremony::new();
    let key = generate(Algorithm::EcdsaP256);
    ceremony.scratch.write("key.pub", key.public().to_pem());
    let files = signed_with(&bundle("1.0.0"), &[key]);
    fs_err::create_dir(ceremony.path("bundle")).unwrap();
    fixture::write(&files, &ceremony.path("bundle"));
    ceremony.ok("bundle export --index bundle/index.json --pubkey key.pub --output all.tar");
    ceremony.ok("bundle export --index bundle --pubkey key.pub --platform linux-amd64 --output one.tar");
    let all = Parcel::open(&ceremony.path("all.tar")).unwrap();
    assert!(files.keys().all(|name| all.has(&format!("v1.0.0/{name}"))), "everything of the release is there");
    let one = Parcel::open(&ceremony.path("one.tar")).unwrap();
    let archive = "v1.0.0/tool-1.0.0-linux-amd64.tar.gz";
    let there = [archive, "v1.0.0/index.json", "v1.0.0/index.json.sig", "v1.0.0/signatures.json"];
    assert!(there.iter().all(|path| one.has(path)) && one.has(&format!("{archive}.sig")));
    assert!(!["checksums.txt", "sbom.spdx.json"].iter().any(|name| one.has(&format!("v1.0.0/{name}"))));
    // From the web it is the same file.
    let server = Server::of_files(files);
    let line = format!("bundle export --index {} --pubkey key.pub --output web.tar", server.url("v1.0.0/index.json"));
    ceremony.ok(&line);
    assert!(fs_err::read(ceremony.path("web.tar")).unwrap() == fs_err::read(ceremony.path("all.tar")).unwrap());

    let island = Island::new(&ceremony, &["key.pub", "a.pub", "all.tar", "one.tar"]);
    for parcel in ["all.tar", "one.tar"] {
        for flag in ["--from", "--index"] {
            island.refused(&format!("install {flag} {parcel} --pubkey a.pub"), 4, "key_untrusted");
        }
    }
    let done = island.ok("install --from one.tar --pubkey key.pub");
    assert_eq!((&done["trust"]["kind"], &done["status"]), (&"keys".into(), &"installed".into()));
    for line in ["install --from all.tar", "install --index one.tar"] {
        assert_eq!(island.ok(line)["status"], "unchanged", "{line}");
    }
    assert_eq!(island.ok("upgrade")["products"][0]["status"], "unchanged");
}

#[test]
fn no_byte_of_it_can_be_another() {
    let ceremony = catalog(&["1.0.0"]);
    ceremony.ok(&format!("{EXPORT} --platform linux-amd64 --output one.tar"));
    let island = Island::new(&ceremony, &["pinned.json", "one.tar"]);
    let path = island.path("one.tar");
    let size = fs_err::metadata(&path).unwrap().len();
    let flip = |at: u64| {
        let mut file = fs_err::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[byte[0] ^ 1]).unwrap();
    };
    for at in (0..size).step_by(5) {
        flip(at);
        let code = Parcel::open(&path).map(|_| ()).unwrap_err().code();
        assert_eq!(code, consign::model::Code::ArchiveInvalid, "byte {at} of {size}");
        flip(at);
    }
    for at in (1..size).step_by(usize::try_from(size / 8).unwrap()) {
        flip(at);
        island.refused(&format!("{INSTALL} one.tar"), 4, "archive_invalid");
        flip(at);
    }
    let bytes = fs_err::read(&path).unwrap();
    for changed in [&bytes[..bytes.len() - 1], &bytes[..600], &[], &[&bytes[..], &[0]].concat()] {
        fs_err::write(&path, changed).unwrap();
        island.refused(&format!("{INSTALL} one.tar"), 4, "archive_invalid");
    }
    fs_err::write(&path, bytes).unwrap();
    assert_eq!(island.ok(&format!("{INSTALL} one.tar"))["status"], "installed");
}

/// Everything in a parcel, changed, with a list that is right about it.
fn repacked(from: &Utf8Path, to: &Utf8Path, change: impl Fn(&mut Files)) {
    let parcel = Parcel::open(from).unwrap();
    let mut files = Files::new();
    for path in parcel.paths().filter(|path| *path != LIST) {
        let mut bytes = Vec::new();
        parcel.file(path).unwrap().0.read_to_end(&mut bytes).unwrap();
        files.insert(path.to_owned(), bytes);
    }
    change(&mut files);
    let mut packing = Packing::default();
    for (path, bytes) in files {
        packing.document(path, bytes);
    }
    packing.write(to, &"other".parse().unwrap(), DATE.parse().unwrap()).unwrap();
}

#[test]
fn whoever_packs_it_cannot_say_what_is_in_it() {
    let ceremony = catalog(&["1.0.0"]);
    ceremony.ok(&format!("{EXPORT} --platform linux-amd64 --output one.tar"));
    let island = Island::new(&ceremony, &["pinned.json", "one.tar"]);
    let archive = "v1.0.0/tool-1.0.0-linux-amd64.tar.gz";
    let flip = |name: &'static str| {
        move |files: &mut Files| {
            let bytes = files.get_mut(name).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        }
    };
    let attempt = |change: &dyn Fn(&mut Files), codes: &[&str]| {
        repacked(&island.path("one.tar"), &island.path("odd.tar"), change);
        let before = tree(island.scratch.path());
        let output = island.command(&format!("{INSTALL} odd.tar")).output().unwrap();
        let said = both(&output);
        assert!(matches!(output.status.code(), Some(4 | 5)), "{said}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(codes.contains(&told["code"].as_str().unwrap()), "{said}");
        // What is left is what the catalog said, which was true.
        let mut after = tree(island.scratch.path());
        after.retain(|path, _| !path.starts_with("state/"));
        assert!(after == before, "{said}");
        let _ = fs_err::remove_dir_all(island.path("state"));
    };
    attempt(&flip(archive), &["digest_mismatch"]);
    attempt(&flip("v1.0.0/index.json"), &["digest_mismatch"]);
    for name in ["tuf/timestamp.json", "tuf/snapshot.json", "tuf/targets.json"] {
        attempt(&flip(name), &["catalog_invalid", "sig_invalid", "key_untrusted"]);
    }
    attempt(&|files| drop(files.remove(archive)), &["remote_not_found", "file_missing"]);
    attempt(&|files| drop(files.remove("v1.0.0/index.json")), &["file_missing"]);
    attempt(&|files| files.insert(archive.to_owned(), vec![0; 1 << 20]).map_or((), drop), &["size_mismatch"]);
    // One that is only packed again is the same to whoever installs it.
    repacked(&island.path("one.tar"), &island.path("odd.tar"), |_| ());
    assert_eq!(island.ok(&format!("{INSTALL} odd.tar"))["status"], "installed");
}

#[test]
fn a_hostile_tar_is_no_parcel() {
    let ceremony = catalog(&["1.0.0"]);
    let island = Island::new(&ceremony, &["pinned.json"]);
    let mut refused = 0;
    for case in crate::hostile::cases().into_iter().filter(|case| case.format == ArchiveFormat::TarGz) {
        let mut tar = Vec::new();
        if flate2::read::GzDecoder::new(&case.bytes[..]).take(8 << 20).read_to_end(&mut tar).is_err() {
            continue;
        }
        fs_err::write(island.path("odd.tar"), &tar).unwrap();
        let failure = Parcel::open(&island.path("odd.tar")).map(|_| ()).unwrap_err();
        assert_eq!(failure.code(), consign::model::Code::ArchiveInvalid, "{}: {failure}", case.name);
        if refused % 8 == 0 {
            island.refused(&format!("{INSTALL} odd.tar"), 4, "archive_invalid");
        }
        refused += 1;
    }
    assert!(refused > 25, "{refused} only");
    // What is no file at all is not waited for.
    if need("mkfifo") {
        fs_err::remove_file(island.path("odd.tar")).unwrap();
        succeed(Command::new("mkfifo").arg(island.path("odd.tar")));
        let output = island.command(&format!("{INSTALL} odd.tar")).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    }
}

#[test]
fn what_has_expired_says_so_and_is_taken_only_by_whoever_names_a_time() {
    let ceremony = catalog(&["1.0.0"]);
    ceremony.ok(&format!("{EXPORT} --platform linux-amd64 --output one.tar"));
    let island = Island::new(&ceremony, &["pinned.json", "one.tar"]);
    let said = island.refused(&format!("{INSTALL} one.tar --at 2200-01-01T00:00:00Z"), 4, "catalog_expired");
    assert!(said.contains("expired on") && said.contains("--at"), "{said}");
    let output = island.command(&format!("{INSTALL} one.tar --at 2026-01-01T00:00:00Z")).output().unwrap();
    assert!(output.status.success() && both(&output).contains("judged as at 2026-01-01"), "{}", both(&output));
    let there = island.ok("installed --prefix prefix");
    assert_eq!(there["products"][0]["versions"][0]["receipt"]["trust"]["judged_at"], "2026-01-01T00:00:00Z");
}

#[test]
fn who_vouches_for_it_has_to_be_said_and_what_is_exported_has_to_be_there() {
    let ceremony = catalog(&["1.0.0", "1.1.0"]);
    ceremony.ok(&format!("{EXPORT} --output two.tar --version 1.0.0 --version 1.1.0"));
    let island = Island::new(&ceremony, &["pinned.json", "two.tar"]);
    let said = island.refused("install --from two.tar", 3, "key_missing");
    assert!(said.contains("--trust-root FILE"), "{said}");
    island.refused("install --from two.tar --pubkey pinned.json", 2, "usage");
    island.refused("install --index two.tar", 2, "usage");
    island.refused("install --from nowhere.tar", 5, "remote_not_found");
    for (line, exit, code) in [
        (EXPORT.replace("--catalog releases", ""), 2, "usage"),
        (format!("{EXPORT} --version ^2"), 4, "target_unknown"),
        (format!("{EXPORT} --name other"), 4, "target_unknown"),
        (format!("{EXPORT} --version nonsense"), 2, "version_invalid"),
        (format!("{EXPORT} --platform freebsd-amd64"), 6, "platform_missing"),
        ("bundle export --index nowhere".to_owned(), 5, "remote_not_found"),
    ] {
        ceremony.refused(&format!("{line} --output no.tar"), exit, code);
    }
    ceremony.refused(&format!("{EXPORT} --output no"), 2, "usage");
    // What was changed where it lies is not carried away.
    let archive = ceremony.target().join("v1.1.0/tool-1.1.0-linux-amd64.tar.gz");
    fs_err::write(&archive, b"other").unwrap();
    ceremony.refused(&format!("{EXPORT} --output no.tar"), 4, "digest_mismatch");
    ceremony.refused("bundle export --index releases/v1.1.0 --output no.tar", 4, "digest_mismatch");
}
