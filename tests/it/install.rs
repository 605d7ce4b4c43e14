//! Installing through the real command: from an index and from a catalog, by whose word, and back.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use camino::Utf8PathBuf;
use consign::archive::{Options, Writer};
use consign::install::host::Host;
use consign::model::index::{ArchiveFormat, Index};
use consign::model::metadata::PackageMetadata;
use consign::model::{Digest, Platform};
use consign::trust::documents::read_index;
use consign::trust::key::{Algorithm, Signer};
use consign::trust::signatures::{Entry, Signatures};
use serde_json::Value;

use crate::fixture::{Files, bundle_fixture};
use crate::http::{Server, answer, good, send};
use crate::signed_verify::generate;
use crate::support::{self, Scratch, both, succeed};
use crate::trust::{Ceremony, tree};

pub fn here() -> Platform {
    Host::look().platforms()[0]
}

/// A release for this machine: a script that says its version.
pub fn release(version: &str) -> Files {
    release_of(version, &format!("#!/bin/sh\necho tool {version}\n"))
}

pub fn release_of(version: &str, script: &str) -> Files {
    release_that_says(version, script, |_| {})
}

/// The same, with something else in its description of itself.
pub fn release_that_says(version: &str, script: &str, change: fn(&mut PackageMetadata)) -> Files {
    let mut metadata = crate::fixture::metadata(here());
    metadata.version = version.parse().unwrap();
    change(&mut metadata);
    let metadata = consign::model::pretty(&metadata);
    let mut index: Index = read_index(&bundle_fixture()["index.json"]).unwrap();
    let (platform, stem) = (here(), format!("tool-{version}-{}", here()));
    let options = Options { format: ArchiveFormat::TarGz, level: None, date: crate::fixture::DATE.parse().unwrap() };
    let mut writer = Writer::new(&stem.parse().unwrap(), options);
    for (path, executable, mut content) in [
        ("README.md", false, b"# tool\n".as_slice()),
        ("bin/tool", true, script.as_bytes()),
        ("metadata.json", false, &metadata),
    ] {
        writer.append(path, executable, content.len() as u64, &mut content).unwrap();
    }
    let packed = writer.finish().unwrap();
    let mut package = index.packages.remove(0);
    (package.platform, package.target) = (platform, platform.target().to_owned());
    package.archive = format!("{stem}.tar.gz").parse().unwrap();
    (package.size_bytes, package.sha256) = (packed.bytes.len() as u64, Digest::of(&packed.bytes));
    package.unpacked_size_bytes = packed.unpacked_size_bytes;
    "bin/tool".clone_into(&mut package.binaries[0].path);
    package.binaries[0].sha256 = Digest::of(script.as_bytes());
    package.binaries[0].size_bytes = script.len() as u64;
    let archive = package.archive.to_string();
    index.packages = vec![package];
    (index.version, index.tag) = (version.parse().unwrap(), format!("v{version}"));
    index.source.reference = Some(format!("refs/tags/v{version}"));
    Files::from([("index.json".to_owned(), index.render()), (archive, packed.bytes)])
}

/// Adds a list of signatures over the index.
pub fn signed(mut files: Files, version: &str, key: &dyn Signer) -> Files {
    let index = &files["index.json"];
    let entry = Entry {
        file: "index.json".parse().unwrap(),
        sha256: Digest::of(index),
        signature: consign::trust::key::sign(key, index).unwrap(),
        algorithm: key.public().algorithm(),
        key_id: key.public().id(),
    };
    let list = Signatures::new(version.parse().unwrap(), vec![entry]);
    files.insert("signatures.json".to_owned(), list.render());
    files
}

/// A user with a prefix, and a place that releases are served from.
struct User {
    scratch: Scratch,
}

impl User {
    fn new() -> Self {
        Self { scratch: Scratch::new() }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.scratch.path().join(name)
    }

    fn put(&self, directory: &str, files: &Files) -> Utf8PathBuf {
        fs_err::create_dir_all(self.path(directory)).unwrap();
        for (name, bytes) in files {
            fs_err::write(self.path(directory).join(name), bytes).unwrap();
        }
        self.path(directory).join("index.json")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = support::any_installer(self.scratch.path());
        command.args(line.split_whitespace()).args(["--prefix", self.path("prefix").as_str(), "--format", "json"]);
        command.env("XDG_STATE_HOME", self.path("state"));
        command
    }

    fn ok(&self, line: &str) -> Value {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Refused, with nothing changed anywhere.
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

#[test]
fn what_was_released_is_installed_upgraded_and_gone_back_from() {
    let user = User::new();
    for version in ["1.0.0", "1.1.0"] {
        user.put(version, &release(version));
    }
    assert_eq!(user.ok("install --index 1.0.0/index.json --dry-run")["status"], "planned");
    assert!(!user.path("prefix").join("bin").exists());
    let done = user.ok("install --index 1.0.0/index.json");
    assert_eq!((&done["status"], &done["trust"]["kind"]), (&"installed".into(), &"unchecked".into()));
    assert_eq!(user.says(), "tool 1.0.0\n");
    assert_eq!(user.ok("install --index 1.0.0/index.json")["status"], "unchanged");
    let done = user.ok("install --index 1.1.0/index.json --upgrade");
    assert_eq!((&done["status"], &done["previous"]), (&"replaced".into(), &"1.0.0".into()));
    assert_eq!(user.says(), "tool 1.1.0\n");
    user.refused("install --index 1.0.0/index.json", 6, "downgrade_refused");
    assert_eq!(user.ok("revert tool")["version"], "1.0.0");
    assert_eq!(user.says(), "tool 1.0.0\n");
    assert_eq!(user.ok("revert tool")["version"], "1.1.0");
    user.refused("revert tool --to 0.9.0", 6, "version_not_kept");
    // What is kept is not fetched again, and a name that somebody took away comes back.
    fs_err::remove_file(user.path("prefix/bin/tool")).unwrap();
    assert_eq!(user.ok("install --index 1.1.0/index.json")["status"], "unchanged");
    assert_eq!(user.says(), "tool 1.1.0\n");
    let archive = user.path(&format!("1.0.0/tool-1.0.0-{}.tar.gz", here()));
    fs_err::remove_file(archive).unwrap();
    assert_eq!(user.ok("install --index 1.0.0/index.json --allow-downgrade")["status"], "replaced");
    let there = user.ok("installed");
    assert_eq!(there["products"][0]["current"], "1.0.0");
    assert_eq!(there["products"][0]["versions"].as_array().unwrap().len(), 2);
    user.ok("uninstall tool");
    assert!(tree(&user.path("prefix")).is_empty(), "{:?}", tree(&user.path("prefix")).keys());
    user.refused("uninstall tool", 6, "not_installed");
    user.refused("upgrade tool", 6, "not_installed");
}

#[test]
fn what_was_changed_after_it_was_installed_is_seen_and_put_right() {
    let user = User::new();
    user.put("1.0.0", &release("1.0.0"));
    user.ok("install --index 1.0.0/index.json");
    fs_err::write(user.path("prefix/lib/consign/tool/1.0.0/bin/tool"), "#!/bin/sh\necho other\n").unwrap();
    let output = user.command("installed").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    assert_eq!(user.ok("install --index 1.0.0/index.json")["status"], "replaced");
    assert_eq!(user.says(), "tool 1.0.0\n");
}

#[test]
fn who_signed_the_first_one_has_to_sign_the_next() {
    let (key, other) = (generate(Algorithm::EcdsaP256), generate(Algorithm::Ed25519));
    let user = User::new();
    user.scratch.write("key.pub", key.public().to_pem());
    user.scratch.write("other.pub", other.public().to_pem());
    user.put("bare", &release("1.0.0"));
    user.put("one", &signed(release("1.0.0"), "1.0.0", key.as_ref()));
    user.put("two", &signed(release("2.0.0"), "2.0.0", other.as_ref()));
    user.put("two-bare", &release("2.0.0"));
    user.put("three", &signed(release("3.0.0"), "3.0.0", key.as_ref()));
    user.refused("install --index bare/index.json --pubkey key.pub", 4, "unsigned");
    user.refused("install --index bare/index.json --require-signature", 3, "key_missing");
    user.refused("install --index one/index.json --pubkey other.pub", 4, "key_untrusted");
    let done = user.ok("install --index one/index.json --pubkey key.pub");
    assert_eq!(done["trust"]["keys"][0], key.public().id().to_string());
    // Nobody is named, and still the same key has to have signed.
    user.refused("install --index two-bare/index.json", 4, "unsigned");
    user.refused("install --index two/index.json", 4, "key_untrusted");
    user.refused("install --index two-bare/index.json --skip-signature", 6, "trust_lowered");
    let mut changed = signed(release("3.0.0"), "3.0.0", key.as_ref());
    let index = String::from_utf8(changed["index.json"].clone())
        .unwrap()
        .replace("2025-01-02T03:04:05Z", "2025-01-02T03:04:06Z");
    changed.insert("index.json".to_owned(), index.into_bytes());
    user.put("changed", &changed);
    user.refused("install --index changed/index.json", 4, "sig_invalid");
    assert_eq!(user.ok("install --index three/index.json")["version"], "3.0.0");
    // Whoever names another key has decided so.
    user.put("four", &signed(release("4.0.0"), "4.0.0", other.as_ref()));
    user.ok("install --index four/index.json --pubkey other.pub");
    assert_eq!(user.says(), "tool 4.0.0\n");
}

#[test]
fn what_is_not_for_this_machine_or_not_what_was_meant_is_refused() {
    let user = User::new();
    let files = release("1.0.0");
    user.put("1.0.0", &files);
    let index = "install --index 1.0.0/index.json";
    let said = user.refused(&format!("{index} --platform freebsd-amd64"), 6, "platform_missing");
    assert!(said.contains("platform not found in release index: freebsd-amd64"), "{said}");
    user.refused(&format!("{index} --sha256 {}", Digest::of(b"other")), 4, "digest_mismatch");
    user.refused(&format!("{index} --name other"), 4, "target_unknown");
    user.refused(&format!("{index} --version ^2"), 4, "target_unknown");
    user.refused(&format!("{index} --version nonsense"), 2, "version_invalid");
    user.refused("install", 2, "usage");
    user.refused("install --index nowhere/index.json", 5, "remote_not_found");
    user.refused("install --offline --index https://127.0.0.1:1/index.json", 2, "usage");
    // A program that cannot start is never put in the place of one that can.
    user.ok(index);
    user.put("2.0.0", &release_of("2.0.0", "#!/nowhere/interpreter\n"));
    user.refused("install --index 2.0.0/index.json", 1, "program_unusable");
    assert_eq!(user.says(), "tool 1.0.0\n");
    user.ok("install --index 2.0.0/index.json --no-run");
}

#[test]
fn an_archive_of_something_else_under_the_right_name_is_refused() {
    let changes: [fn(&mut PackageMetadata); 5] = [
        |said| said.name = "other".parse().unwrap(),
        |said| said.version = "1.0.1".parse().unwrap(),
        |said| said.platform = "freebsd-amd64".parse().unwrap(),
        |said| said.target = "x86_64-unknown-freebsd".to_owned(),
        |said| said.commit = None,
    ];
    for change in changes {
        let user = User::new();
        user.put("1.0.0", &release_that_says("1.0.0", "#!/bin/sh\necho tool 1.0.0\n", change));
        user.refused("install --index 1.0.0/index.json", 4, "archive_mismatch");
    }
}

#[test]
fn few_things_are_asked_for_and_one_where_nothing_is_new() {
    let key = generate(Algorithm::EcdsaP256);
    let user = User::new();
    user.scratch.write("key.pub", key.public().to_pem());
    let server = Server::of_files(signed(release("1.0.0"), "1.0.0", key.as_ref()));
    let line = format!("install --index {} --pubkey key.pub", server.url("index.json"));
    user.ok(&line);
    let asked = |from: usize| server.requests().into_iter().skip(from).map(|request| request.path).collect::<Vec<_>>();
    assert!(asked(0).len() <= 4, "{:?}", asked(0));
    let before = asked(0).len();
    assert_eq!(user.ok(&line)["status"], "unchanged");
    assert_eq!(asked(before).len(), 1, "{:?}", asked(before));
}

#[test]
fn a_server_that_misbehaves_changes_nothing() {
    let files = Arc::new(release("2.0.0"));
    let archive = files.keys().find(|name| name.contains(".tar.")).unwrap().clone();
    let user = User::new();
    user.put("1.0.0", &release("1.0.0"));
    user.ok("install --index 1.0.0/index.json");
    let whole = files[&archive].clone();
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    let redirect = answer("302 Found", "Location: http://169.254.169.254/x\r\n", b"");
    let replies: BTreeMap<&str, (Vec<u8>, i32)> = BTreeMap::from([
        ("digest_mismatch", (good(&flipped), 4)),
        ("size_mismatch", (good(&whole[..whole.len() - 7]), 4)),
        ("file_too_large", (good(&[&whole[..], b"more"].concat()), 4)),
        ("remote_not_found", (answer("404 Not Found", "", b"no"), 5)),
        ("redirect_refused", (redirect, 4)),
        ("remote_unavailable", (answer("401 Unauthorized", "", b"no"), 5)),
    ]);
    for (code, (reply, exit)) in replies {
        let (served, name) = (Arc::clone(&files), archive.clone());
        let server = Server::start(move |request, stream| {
            if request.path.ends_with(&name) {
                send(stream, &reply);
            } else {
                send(stream, &good(&served["index.json"]));
            }
        });
        let said = user.refused(&format!("install --index {}", server.url("index.json")), exit, code);
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(user.says(), "tool 1.0.0\n");
        let last = server.requests().last().unwrap().path.clone();
        assert!(last.ends_with(&archive), "{code}: {last} was asked for after the failure");
    }
}

#[test]
fn a_catalog_chooses_and_vouches() {
    let ceremony = Ceremony::simple();
    ceremony.add();
    fs_err::copy(ceremony.path("releases/tuf/root.json"), ceremony.path("pinned.json")).unwrap();
    let install = "install --catalog releases --trust-root pinned.json --prefix prefix --platform linux-amd64 --no-run";
    let done = ceremony.ok(install);
    assert_eq!((&done["version"], &done["trust"]["root_version"]), (&"1.0.0".into(), &1.into()));
    assert_eq!(ceremony.ok(install)["status"], "unchanged");
    // The catalog that it came from is followed, by the root that was pinned.
    let upgrade = "upgrade --prefix prefix --platform linux-amd64 --no-run";
    assert_eq!(ceremony.ok(upgrade)["products"][0]["status"], "unchanged");
    ceremony.refused("install --catalog releases --prefix prefix", 2, "usage");
    ceremony.refused(&format!("{install} --version ^2"), 4, "target_unknown");
    // What is in the index alone is less than what the catalog vouched for.
    let index = "install --index releases/v1.0.0/index.json --prefix prefix --platform linux-amd64 --no-run";
    ceremony.refused(index, 4, "unsigned");
    let keys = "--target releases --key release.pem --key ci.pem";
    ceremony.ok(&format!("catalog yank v1.0.0 --reason broken {keys}"));
    let output = ceremony.run(&format!("{} --format json", install.replace("prefix prefix", "prefix other")));
    assert_eq!(output.status.code(), Some(6), "{}", both(&output));
    assert!(both(&output).contains("was withdrawn: broken") && !ceremony.path("other/bin").exists());
    let done = ceremony.ok(&format!("{} --allow-yanked", install.replace("prefix prefix", "prefix other")));
    assert_eq!(done["withdrawn"], "broken");
    // An archive that is not the one that is listed.
    let archive = bundle_fixture().into_keys().find(|name| name.contains("linux-amd64")).unwrap();
    let path = ceremony.target().join("v1.0.0").join(archive);
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[50] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    let line = format!("{} --allow-yanked", install.replace("prefix prefix", "prefix third"));
    let output = ceremony.run(&format!("{line} --format json"));
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    assert!(both(&output).contains("digest_mismatch"), "{}", both(&output));
    assert!(tree(&ceremony.path("third")).is_empty(), "{:?}", tree(&ceremony.path("third")).keys());
}

#[test]
fn a_file_without_an_index_says_what_it_is() {
    let (user, key) = (User::new(), generate(Algorithm::EcdsaP256));
    user.scratch.write("key.pub", key.public().to_pem());
    let script = b"#!/bin/sh\necho tool 2.3.4\n";
    fs_err::write(user.path("tool"), script).unwrap();
    user.refused(
        "install --from tool --sha256 0000000000000000000000000000000000000000000000000000000000000000",
        4,
        "digest_mismatch",
    );
    user.refused("install --from tool --pubkey key.pub", 4, "unsigned");
    user.refused("install --from tool --name ../tool", 2, "usage");
    user.refused("install --from nowhere", 5, "remote_not_found");
    fs_err::write(user.path("tool.sig"), consign::trust::key::sign(key.as_ref(), script).unwrap()).unwrap();
    let done = user.ok(&format!("install --from tool --pubkey key.pub --sha256 {}", Digest::of(script)));
    assert_eq!((&done["version"], &done["trust"]["kind"]), (&"2.3.4".into(), &"keys".into()));
    assert_eq!(user.says(), "tool 2.3.4\n");
    assert_eq!(user.ok("install --from tool")["status"], "unchanged", "the key is remembered");
    fs_err::write(user.path("tool.sig"), consign::trust::key::sign(key.as_ref(), b"other").unwrap()).unwrap();
    user.refused("install --from tool", 4, "sig_invalid");
    // What its key has not signed is not even asked for its version.
    let touch = format!("#!/bin/sh\ntouch {}\necho tool 9.9.9\n", user.path("was-run"));
    fs_err::write(user.path("tool"), touch).unwrap();
    user.refused("install --from tool", 4, "sig_invalid");
    user.refused("install --from tool --no-run --skip-signature", 2, "version_invalid");
    assert!(!user.path("was-run").exists());
    // It has no place to be upgraded from.
    user.refused("upgrade tool", 2, "usage");
    // An archive says itself what it is; one that does not is not guessed at.
    let archives = bundle_fixture();
    let archive = archives.keys().find(|name| name.contains("linux-amd64")).unwrap();
    fs_err::write(user.path(archive), &archives[archive]).unwrap();
    let line = format!("install --from {archive} --no-run --allow-downgrade");
    user.refused(&line, 4, "unsigned");
    user.ok("uninstall tool");
    let done = user.ok(&line);
    assert_eq!((&done["version"], &done["platform"]), (&"1.0.0".into(), &"linux-amd64".into()));
    let odd = release_that_says("3.0.0", "#!/bin/sh\n", |said| said.kind = "other".to_owned());
    fs_err::write(user.path("odd.tar.gz"), &odd[&format!("tool-3.0.0-{}.tar.gz", here())]).unwrap();
    user.refused("install --from odd.tar.gz", 4, "archive_invalid");
    // A program that does not say its version is told one.
    fs_err::write(user.path("quiet"), "#!/bin/sh\nexit 3\n").unwrap();
    user.refused("install --from quiet", 2, "version_invalid");
    assert_eq!(user.ok("install --from quiet --version 1.2.3")["version"], "1.2.3");
    // A directory with an index is a release.
    user.put("release", &release("4.0.0"));
    assert_eq!(user.ok("install --from release")["origin"]["kind"], "index");
}
