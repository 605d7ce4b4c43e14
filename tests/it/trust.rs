//! Who may sign what in a catalog: made, changed by several holders, and refused where it cannot hold.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::process::{Command, Output};

use camino::{Utf8Path, Utf8PathBuf};
use consign::trust::key::{Algorithm, Signer as _};
use consign::trust::private::PrivateKey;

use crate::fixture::{self, bundle_fixture};
use crate::support::{self, Scratch, both};

/// A place with key files and a directory of versions.
pub struct Ceremony {
    pub scratch: Scratch,
}

/// Every file below a directory with its bytes.
pub fn tree(root: &Utf8Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir_utf8().into_iter().flatten() {
            let path = entry.unwrap().into_path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_string(), fs_err::read(&path).unwrap());
            }
        }
    }
    found
}

impl Ceremony {
    /// Keys `a`, `b`, `c` for the root, `release` and `ci`, each with its public half.
    pub fn new() -> Self {
        let ceremony = Self { scratch: Scratch::new() };
        for name in ["a", "b", "release", "ci"] {
            ceremony.key(name, Algorithm::EcdsaP256);
        }
        ceremony.key("c", Algorithm::Ed25519);
        ceremony
    }

    /// Makes a key; gives its id.
    pub fn key(&self, name: &str, algorithm: Algorithm) -> String {
        let key = PrivateKey::generate(algorithm).unwrap();
        let text = data_encoding::BASE64.encode(key.pkcs8());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        let path = self.scratch.write(&format!("{name}.pem"), pem);
        private(&path);
        self.scratch.write(&format!("{name}.pub"), key.public().to_pem());
        key.public().id().to_string()
    }

    pub fn id(&self, name: &str) -> String {
        let pem = fs_err::read(self.path(&format!("{name}.pub"))).unwrap();
        consign::trust::key::PublicKey::from_pem(&pem).unwrap().id().to_string()
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.scratch.path().join(name)
    }

    pub fn target(&self) -> Utf8PathBuf {
        self.path("releases")
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = support::consign(self.scratch.path());
        command.args(line.split_whitespace()).env("XDG_STATE_HOME", self.path("state"));
        command
    }

    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs what has to succeed; gives the document.
    pub fn ok(&self, line: &str) -> serde_json::Value {
        let output = self.run(&format!("{line} --format json"));
        assert!(output.status.success(), "{line}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs what has to be refused with an exit code and a stable code, and writes nothing.
    pub fn refused(&self, line: &str, exit: i32, code: &str) -> String {
        let before = tree(self.scratch.path());
        let output = self.run(&format!("{line} --format json"));
        let said = both(&output);
        assert_eq!(output.status.code(), Some(exit), "{line}: {said}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["code"], code, "{line}: {said}");
        assert!(document["hint"].is_string(), "{line} says no way out: {said}");
        let after = tree(self.scratch.path());
        assert!(after == before, "{line} left {:?} of {:?}", after.keys(), before.keys());
        document["message"].as_str().unwrap().to_owned()
    }

    /// Runs what has to find something wrong, with an exit code; gives the codes of what it found.
    pub fn findings(&self, line: &str, exit: i32) -> Vec<String> {
        let output = self.run(&format!("{line} --format json"));
        assert_eq!(output.status.code(), Some(exit), "{line}: {}", both(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let codes =
            report["findings"].as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap().to_owned());
        codes.collect()
    }

    /// A catalog with one key for each role, all of them at hand.
    pub fn simple() -> Self {
        let ceremony = Self::new();
        ceremony.ok("trust init releases --root-key a.pem --targets-key release.pem --snapshot-key ci.pem --timestamp-key ci.pem");
        ceremony
    }

    /// Puts the fixture's bundle where readers fetch it.
    pub fn publish_bundle(&self) -> Utf8PathBuf {
        let directory = self.target().join("v1.0.0");
        fs_err::create_dir_all(&directory).unwrap();
        fixture::write(&bundle_fixture(), &directory);
        directory
    }

    pub fn add(&self) -> serde_json::Value {
        self.publish_bundle();
        self.ok("catalog add releases/v1.0.0 --target releases --key release.pem --key ci.pem")
    }
}

#[cfg(unix)]
fn private(path: &Utf8Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn private(_path: &Utf8Path) {}

const INIT: &str = "trust init releases --targets-key release.pem --snapshot-key ci.pem --timestamp-key ci.pem";

#[test]
fn two_of_three_holders_make_a_root_one_after_the_other() {
    let ceremony = Ceremony::new();
    let made = ceremony.ok(&format!("{INIT} --root-key a.pem --root-key b.pub --root-key c.pub --root-threshold 2"));
    assert_eq!((&made["status"], &made["version"]), (&"proposed".into(), &1.into()));
    assert_eq!(made["signatures"][0]["have"], 1);
    assert!(!ceremony.target().join("tuf/root.json").exists());
    // One holder again is still one signature.
    let again = ceremony.ok("trust sign releases/tuf/proposed.root.json --key a.pem");
    assert_eq!((&again["status"], &again["signatures"][0]["have"]), (&"proposed".into(), &1.into()));
    let show = ceremony.ok("trust show releases");
    assert_eq!(show["proposals"][0]["signatures"][0]["could_sign"].as_array().unwrap().len(), 2);
    let done = ceremony.ok("trust sign releases/tuf/proposed.root.json --key c.pem --key release.pem --key ci.pem");
    assert_eq!((&done["status"], &done["catalog"]["status"]), (&"published".into(), &"published".into()));
    let files: Vec<_> = tree(&ceremony.target()).into_keys().collect();
    let expected = ["1.root.json", "root.json", "snapshot.json", "targets.json", "timestamp.json"];
    assert_eq!(files, expected.map(|name| format!("tuf/{name}")));
    assert_eq!(ceremony.ok("trust verify releases")["root"], 1);
}

#[test]
fn a_file_travels_and_what_comes_back_is_taken_over() {
    let ceremony = Ceremony::simple();
    ceremony.ok("trust add-key --role root --new b.pub --target releases --key a.pem");
    assert_eq!(ceremony.ok("trust verify releases")["root"], 2);
    ceremony.ok("trust set-threshold 2 --role root --target releases");
    fs_err::copy(ceremony.path("releases/tuf/proposed.root.json"), ceremony.path("away-a.json")).unwrap();
    fs_err::copy(ceremony.path("releases/tuf/proposed.root.json"), ceremony.path("away-b.json")).unwrap();
    fs_err::copy(ceremony.path("releases/tuf/2.root.json"), ceremony.path("root-2.json")).unwrap();
    ceremony.refused("trust sign away-a.json --key a.pem", 3, "catalog_missing");
    ceremony.refused(
        "trust sign away-a.json --key release.pem --trust-root releases/tuf/1.root.json",
        4,
        "catalog_invalid",
    );
    for holder in ["a", "b"] {
        let line = format!("trust sign away-{holder}.json --key {holder}.pem --trust-root root-2.json");
        assert_eq!(ceremony.ok(&line)["status"], "proposed");
    }
    let done = ceremony.ok("trust sign releases/tuf/proposed.root.json --add away-a.json --add away-b.json");
    assert_eq!((&done["status"], &done["version"]), (&"published".into(), &3.into()));
    assert_eq!(ceremony.ok("trust verify releases --trust-root releases/tuf/1.root.json")["root"], 3);
}

#[test]
fn thresholds_that_cannot_be_met_are_refused() {
    let ceremony = Ceremony::new();
    let rsa = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE\n-----END PUBLIC KEY-----\n";
    ceremony.scratch.write("cut.pub", rsa);
    ceremony.key("p384", Algorithm::EcdsaP384);
    for (rest, exit, code) in [
        ("--root-key a.pem --root-threshold 0", 2, "usage"),
        ("--root-key a.pem --root-threshold 2", 6, "threshold_unmet"),
        ("--root-key a.pem --root-key a.pub --root-threshold 2", 2, "usage"),
        ("--root-key p384.pub", 3, "key_invalid"),
        ("--root-key cut.pub", 3, "key_invalid"),
        ("--root-key a.pem --expires 0d", 2, "usage"),
        ("--root-key a.pem --key b.pem", 4, "key_untrusted"),
    ] {
        ceremony.refused(&format!("{INIT} {rest}"), exit, code);
    }
    let ceremony = Ceremony::simple();
    let id = ceremony.id("a");
    for (line, exit, code) in [
        ("trust set-threshold 0 --role root".to_owned(), 2, "usage"),
        ("trust set-threshold 2 --role timestamp".to_owned(), 6, "threshold_unmet"),
        (format!("trust remove-key --role root --old {id}"), 6, "threshold_unmet"),
        (format!("trust revoke {id}"), 6, "threshold_unmet"),
        (format!("trust remove-key --role targets --old {id}"), 2, "usage"),
        ("trust add-key --role root --new a.pub".to_owned(), 2, "usage"),
        ("trust add-key --role root --new b.pub --key c.pem".to_owned(), 4, "key_untrusted"),
    ] {
        ceremony.refused(&format!("{line} --target releases"), exit, code);
    }
    ceremony.refused(&format!("{INIT} --root-key a.pem"), 6, "file_exists");
    ceremony.refused("trust show nowhere", 3, "catalog_missing");
}

#[test]
fn a_proposal_is_in_the_way_of_another_and_a_changed_one_is_not_signed() {
    let ceremony = Ceremony::simple();
    ceremony.ok("trust add-key --role root --new b.pub --target releases");
    ceremony.refused("trust renew --target releases --key a.pem", 6, "proposal_pending");
    ceremony.ok("trust set-threshold 2 --role root --target releases --amend --key b.pem");
    // Somebody changes what b has signed.
    let path = ceremony.path("releases/tuf/proposed.root.json");
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replace("\"threshold\": 2", "\"threshold\": 1")).unwrap();
    ceremony.refused("trust sign releases/tuf/proposed.root.json --key a.pem", 4, "sig_invalid");
    fs_err::write(&path, &text).unwrap();
    ceremony.refused("trust sign releases/tuf/proposed.root.json --key release.pem --key c.pem", 4, "key_untrusted");
    assert_eq!(ceremony.ok("trust sign releases/tuf/proposed.root.json --key a.pem")["status"], "published");
}

#[test]
fn a_rehearsal_writes_nothing() {
    let ceremony = Ceremony::new();
    let before = tree(ceremony.scratch.path());
    assert_eq!(ceremony.ok(&format!("{INIT} --root-key a.pem --dry-run"))["dry_run"], true);
    assert_eq!(tree(ceremony.scratch.path()), before);
    assert!(!ceremony.target().exists());
    let ceremony = Ceremony::simple();
    ceremony.publish_bundle();
    let before = tree(ceremony.scratch.path());
    for line in [
        "trust add-key --role root --new b.pem --key a.pem --target releases --dry-run",
        "catalog add releases/v1.0.0 --target releases --key release.pem --key ci.pem --dry-run",
        "catalog refresh --target releases --key ci.pem --dry-run",
    ] {
        let said = ceremony.ok(line);
        assert_eq!((&said["status"], &said["dry_run"]), (&"published".into(), &true.into()), "{line}");
    }
    assert_eq!(tree(ceremony.scratch.path()), before);
}
