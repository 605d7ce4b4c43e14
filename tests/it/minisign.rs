//! Signatures in minisign's form, judged by minisign.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::process::Command;

use camino::Utf8Path;

use crate::fixture::{bundle_fixture, read_directory, write};
use crate::support::{Scratch, consign, need};
use crate::workspaces::{json, run};

/// A bundle that an Ed25519 key signed in both forms, and the key.
fn scene() -> Scratch {
    let scratch = Scratch::new();
    fs_err::create_dir(scratch.path().join("bundle")).unwrap();
    write(&bundle_fixture(), &scratch.path().join("bundle"));
    run(consign(scratch.path()).args(["key", "generate", "--algorithm", "ed25519", "--out", "key.pem"])).passed();
    run(consign(scratch.path()).args(["sign", "bundle", "--key", "key.pem", "--minisign"])).passed();
    scratch
}

fn verify(directory: &Utf8Path) -> crate::workspaces::Ran {
    json(directory, &["verify", "bundle", "--pubkey", "key.pub.pem"])
}

#[test]
fn minisign_verifies_every_asset() {
    if !need("minisign") {
        return;
    }
    let scratch = scene();
    let public = run(consign(scratch.path()).args(["key", "public", "key.pub.pem", "--minisign"])).passed().out;
    fs_err::write(scratch.path().join("minisign.pub"), public).unwrap();
    for asset in bundle_fixture().keys() {
        let minisign = |file: &str| {
            let mut command = Command::new("minisign");
            command.args(["-V", "-p", "minisign.pub", "-x", &format!("bundle/{asset}.minisig"), "-m", file]);
            command.current_dir(scratch.path()).output().unwrap()
        };
        let output = minisign(&format!("bundle/{asset}"));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(&format!("file:{asset}")), "{asset}: {said}");
        assert!(!minisign("key.pub.pem").status.success());
    }
    verify(scratch.path()).passed();
}

#[test]
fn a_flipped_byte_in_such_a_signature_is_found() {
    let scratch = scene();
    let path = scratch.path().join("bundle/index.json.minisig");
    let whole = fs_err::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut spoiled = whole.clone();
        // A comment that nobody signs is the only part that may say anything.
        if (19..whole.iter().position(|byte| *byte == b'\n').unwrap()).contains(&at) {
            continue;
        }
        spoiled[at] ^= 1;
        fs_err::write(&path, &spoiled).unwrap();
        let ran = verify(scratch.path());
        let listed = ran.out.contains("\"not_checked\"") && ran.out.contains("index.json.minisig");
        // Where the number of the key is spoiled, it is another key's and is listed as not checked.
        assert!(ran.code == 4 || listed, "byte {at}: {}", ran.out);
    }
}

#[test]
fn what_is_valid_is_kept_and_what_is_not_is_made_again() {
    let scratch = scene();
    let bundle = scratch.path().join("bundle");
    let before = read_directory(&bundle);
    run(consign(scratch.path()).args(["sign", "bundle", "--key", "key.pem", "--minisign"])).passed();
    assert_eq!(read_directory(&bundle), before);
    let path = bundle.join("index.json.minisig");
    fs_err::copy(bundle.join("checksums.txt.minisig"), &path).unwrap();
    let spoiled = verify(scratch.path());
    assert!(spoiled.code == 4 && spoiled.out.contains("\"sig_invalid\""), "{}", spoiled.out);
    run(consign(scratch.path()).args(["sign", "bundle", "--key", "key.pem"])).passed();
    assert_eq!(read_directory(&bundle), before);
}

#[test]
fn another_kind_of_key_is_refused() {
    let scratch = scene();
    run(consign(scratch.path()).args(["key", "generate", "--out", "p256.pem"])).passed();
    json(scratch.path(), &["sign", "bundle", "--key", "p256.pem", "--minisign"]).failed(3, "key_missing");
    json(scratch.path(), &["key", "public", "p256.pem", "--minisign"]).failed(3, "key_invalid");
}
