//! What an attacker tries with keys, roots and the bytes of signatures, and with a machine that fails,
//! against the command itself.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::process::Command;

use consign::trust::key::{self, Algorithm, Signer as _};
use consign::trust::private::PrivateKey;
use data_encoding::BASE64;

use crate::attacked::{Bench, VERIFY, litter};
use crate::fixture::{Files, bundle_fixture, recipe, signed_with};
use crate::key_shapes;
use crate::sign::root;
use crate::signed_verify::{borrowed, generate, is_signature, scene, with};
use crate::support::{both, missing_unless, need};
use crate::trust::Ceremony;

/// A signature in DER with its two numbers, as they are handed in.
fn der(numbers: [&[u8]; 2]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let body: Vec<u8> = numbers.iter().flat_map(|number| [&[2, length(number)], *number].concat()).collect();
    [&[0x30, length(&body)], body.as_slice()].concat()
}

/// The two numbers of a signature in DER.
fn numbers(signature: &[u8]) -> [Vec<u8>; 2] {
    let end = 4 + usize::from(signature[3]);
    [signature[4..end].to_vec(), signature[end + 2..].to_vec()]
}

/// The other signature that follows from one: the order of P-256 less its second number.
fn twin(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let [first, second] = numbers(signature);
    let digits: Vec<u8> = second.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut whole = [0; 32];
    whole[32 - digits.len()..].copy_from_slice(&digits);
    let (mut out, mut borrow) = ([0; 32], 0);
    for at in (0..32).rev() {
        let difference = i16::from(ORDER[at]) - i16::from(whole[at]) - borrow;
        borrow = i16::from(difference < 0);
        out[at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let mut out: Vec<u8> = out.into_iter().skip_while(|byte| *byte == 0).collect();
    if out[0] >= 0x80 {
        out.insert(0, 0);
    }
    der([&first, &out])
}

const BLOB: &str = "verify-blob bundle/index.json --pubkey key.pub --signature file.sig";

#[test]
fn a_signature_has_one_form_and_its_bytes_name_nobody() {
    let bench = Bench::new(&scene().files);
    let good = scene().files["index.json.sig"].clone();
    let [first, second] = numbers(&good);
    let padded = |number: &[u8]| [&[0], number].concat();
    let raw: Vec<u8> =
        [&first, &second].iter().flat_map(|number| number[number.len().saturating_sub(32)..].to_vec()).collect();
    let length = good[1];
    for (what, signature) in [
        ("of another file", scene().files["checksums.txt.sig"].clone()),
        ("empty", Vec::new()),
        ("in base64", BASE64.encode(&good).into_bytes()),
        ("followed by a byte", [&good[..], &[0]].concat()),
        ("cut off", good[..good.len() - 1].to_vec()),
        ("twice", [&good[..], &good].concat()),
        ("the first number zero", der([&[0], &second])),
        ("the second number zero", der([&first, &[0]])),
        ("both zero", der([&[0], &[0]])),
        ("both one", der([&[1], &[1]])),
        ("a leading zero", der([&padded(&first), &second])),
        ("a negative number", der([&[0x80], &second])),
        ("an empty number", der([&[], &second])),
        ("a long length", [&[0x30, 0x81, length], &good[2..]].concat()),
        ("an indefinite length", [&[0x30, 0x80], &good[2..], &[0, 0]].concat()),
        ("without DER", raw),
    ] {
        bench.scratch.write("file.sig", signature);
        bench.refused(what, &mut bench.command(BLOB), 4, &["sig_invalid"]);
    }
    let small = [
        (Algorithm::Ed25519, vec![0; 64]),
        (Algorithm::Ed25519, [&[1], [0; 63].as_slice()].concat()),
        (Algorithm::Ed25519, vec![0xff; 64]),
        (Algorithm::EcdsaP384, good.clone()),
    ];
    for (algorithm, signature) in small {
        bench.scratch.write("key.pub", generate(algorithm).public().to_pem());
        bench.scratch.write("file.sig", signature);
        bench.refused(algorithm.as_str(), &mut bench.command(BLOB), 4, &["sig_invalid"]);
    }
    // S and S plus the order of the group are the same number; only the smaller is taken.
    let edwards = generate(Algorithm::Ed25519);
    bench.scratch.write("key.pub", edwards.public().to_pem());
    let mut signature = key::sign(edwards.as_ref(), &scene().files["index.json"]).unwrap();
    bench.scratch.write("file.sig", &signature);
    bench.passes(BLOB);
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(data_encoding::HEXLOWER.decode(order.as_bytes()).unwrap()) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    bench.scratch.write("file.sig", &signature);
    bench.refused("too large a number", &mut bench.command(BLOB), 4, &["sig_invalid"]);
    // Whoever has one signature of ECDSA can make a second. It is valid, and it is the same key's.
    let bench = Bench::new(&scene().files);
    bench.scratch.write("file.sig", twin(&good));
    assert_ne!(twin(&good), good);
    bench.passes(BLOB);
}

#[test]
fn one_key_is_one_holder_whatever_it_signs_and_however_it_is_written() {
    let (key, other) = (scene().key.as_ref(), scene().other.as_ref());
    let far = "2099-01-01T00:00:00Z";
    let short = &key.public().id().to_string()[..8];
    let twins = with(|files| {
        for asset in bundle_fixture().keys() {
            files.insert(format!("{asset}.{short}.sig"), twin(&files[&format!("{asset}.sig")]));
        }
    });
    let bare = |files: &Files| {
        let keep = |name: &str| is_signature(name) || !consign::trust::documents::is_evidence(name);
        files.clone().into_iter().filter(|(name, _)| keep(name)).collect::<Files>()
    };
    let both = signed_with(&scene().files, &[borrowed(other)]);
    let line = "verify bundle --trust-root root.json";
    for (what, files, codes) in [
        ("one signature", scene().files.clone(), &["key_untrusted"][..]),
        ("two signatures of one key, one not listed", twins.clone(), &["sig_invalid"]),
        ("two signatures of one key without a list", bare(&twins), &["key_untrusted"]),
        (
            "the second holder has not signed one file",
            {
                let mut files = bare(&both);
                files.remove(&format!("index.json.{}.sig", &other.public().id().to_string()[..8]));
                files
            },
            &["key_untrusted"],
        ),
    ] {
        let bench = Bench::new(&files);
        bench.scratch.write("root.json", root(2, &[key, other], far));
        bench.refused(what, &mut bench.command(line), 4, codes);
    }
    let bench = Bench::new(&both);
    bench.scratch.write("root.json", root(2, &[key, other], far));
    assert_eq!(bench.passes(line)["signed_by"].as_array().unwrap().len(), 2);
    // A root whose thresholds mean nothing, or that names one key twice, is refused when it is read.
    let text = String::from_utf8(root(1, &[key, other], far)).unwrap();
    let threshold = |word: &str| text.replace("\"threshold\": 1", &format!("\"threshold\": {word}")).into_bytes();
    let mut rows = vec![
        ("more than there are", root(3, &[key, other], far)),
        ("one key twice", root(2, &[key, key], far)),
        ("none", root(0, &[key], far)),
        ("nothing", Vec::new()),
        ("another document", scene().files["index.json"].clone()),
    ];
    let words =
        ["0", "-1", "1.0", "1e0", "\"1\"", "null", "true", "18446744073709551615", "9223372036854775808", "NaN"];
    rows.extend(words.map(|word| (word, threshold(word))));
    for (what, root) in rows {
        bench.scratch.write("root.json", root);
        bench.refused(what, &mut bench.command(line), 4, &["catalog_invalid"]);
    }
    let rows = [
        ("expired", root(1, &[key], "2020-02-03T04:05:06Z"), "catalog_expired"),
        // The key signed while it was trusted; the root that is trusted now does not name it any more.
        ("revoked", root(1, &[generate(Algorithm::EcdsaP256).as_ref()], far), "key_untrusted"),
    ];
    for (what, root, code) in rows {
        bench.scratch.write("root.json", root);
        let told = bench.refused(what, &mut bench.command(line), 4, &[code]);
        assert!(code == "key_untrusted" || told["message"].as_str().unwrap().contains("2020-02-03"), "{told}");
    }
}

#[test]
fn whatever_is_not_one_private_key_that_is_kept_apart_signs_nothing() {
    let bench = Bench::new(&bundle_fixture());
    let pem = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let (public, private) = (pem.public().to_pem(), pem.to_pem().to_string());
    let second = PrivateKey::generate(Algorithm::Ed25519).unwrap().to_pem().to_string();
    let certificate = private.replace("PRIVATE KEY", "CERTIFICATE");
    let encrypted = pem.to_encrypted_pem(b"passphrase").unwrap().to_string();
    let rows: Vec<(&str, String)> = vec![
        ("the public half", public.clone()),
        ("two keys", format!("{private}{second}")),
        ("one key twice", format!("{private}{private}")),
        ("both halves", format!("{private}{public}")),
        ("a certificate beside it", format!("{certificate}{private}")),
        ("text after it", format!("{private}x\n")),
        ("a byte order mark", format!("\u{feff}{private}")),
        ("a label that lies", private.replace("PRIVATE KEY", "EC PRIVATE KEY")),
        ("a public label", private.replace("PRIVATE KEY", "PUBLIC KEY")),
        ("without a passphrase", encrypted),
        ("cut off", private[..private.len() / 2].to_owned()),
        ("nothing", String::new()),
        ("control characters", "\u{1b}[2J-----BEGIN \u{202e}-----\n".to_owned()),
    ];
    let secret = private.lines().nth(1).unwrap().to_owned();
    for (what, text) in &rows {
        bench.key("key.pem", text.as_bytes());
        for mut command in [bench.command("sign bundle --key key.pem"), bench.command("sign bundle")] {
            command.env("CONSIGN_SIGNING_KEY", "key.pem").env_remove("CONSIGN_KEY_PASSPHRASE");
            let told = bench.refused(what, &mut command, 3, &["key_invalid"]);
            assert!(!told.to_string().contains(&secret), "{what}: {told}");
        }
    }
    for (what, text) in
        rows.iter().skip(1).filter(|(what, _)| *what != "text after it").chain([&("private", private.clone())])
    {
        bench.scratch.write("key.pub", text);
        let told = bench.refused(what, &mut bench.command(VERIFY), 3, &["key_invalid"]);
        assert!(!told.to_string().contains(&secret), "{what}: {told}");
    }
    // A line feed more, another end of lines and a comment change nothing.
    for text in [private.replace('\n', "\r\n"), format!("\n{private}\n"), format!("a comment: x\n{private}")] {
        bench.key("key.pem", text.as_bytes());
        bench.passes("key inspect key.pem");
    }
}

#[test]
fn a_private_key_of_a_shape_that_is_not_read_signs_nothing() {
    if !["openssl", "iconv"].into_iter().all(need) {
        return;
    }
    let bench = Bench::new(&bundle_fixture());
    key_shapes::shell(bench.scratch.path(), &format!("{}; {}", key_shapes::MAKE_EC, key_shapes::MAKE_RSA));
    let shapes = key_shapes::PRIVATE.iter().map(|row| row.0);
    for make in shapes.chain(key_shapes::WITHOUT_COMMAND.iter().map(|row| row.0)) {
        key_shapes::shell(bench.scratch.path(), &format!("umask 077; {{ {make}; }} 2>/dev/null; chmod 600 key.pem"));
        bench.refused(make, &mut bench.command("sign bundle --key key.pem"), 3, &["key_invalid"]);
    }
}

#[cfg(unix)]
#[test]
fn a_private_key_among_what_is_published_is_refused_by_every_verb() {
    let ceremony = Ceremony::simple();
    ceremony.publish_bundle();
    let keys = ["release", "ci"];
    for name in keys {
        fs_err::copy(ceremony.path(&format!("{name}.pem")), ceremony.target().join(format!("{name}.pem"))).unwrap();
    }
    let holder = ceremony.id("a");
    for line in [
        "catalog add releases/v1.0.0 --target releases --key releases/release.pem --key ci.pem",
        "catalog refresh --target releases --key releases/ci.pem",
        "trust add-key --role targets --new c.pub --target releases --key releases/../releases/release.pem",
        "trust add-key --role targets --new releases/release.pem --target releases --key a.pem",
        &format!("trust rotate --role root --old {holder} --new releases/ci.pem --target releases --key a.pem"),
        "trust init releases --root-key releases/ci.pem --targets-key b.pub --snapshot-key b.pub --timestamp-key b.pub",
    ] {
        ceremony.refused(line, 3, "key_exposed");
    }
    ceremony.ok("trust add-key --role targets --new c.pub --target releases --out releases/tuf/proposed.root.json");
    ceremony.refused("trust sign releases/tuf/proposed.root.json --key releases/release.pem", 3, "key_exposed");
    let mut by_variable = ceremony.command("catalog refresh --target releases --format json");
    let output = by_variable.env("CONSIGN_CATALOG_KEY", "releases/ci.pem").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", both(&output));
    // A bundle that holds one is not signed and not verified, whatever the key is called.
    for name in ["key.pem", ".key", "id_ed25519", "index.json.pem"] {
        let mut files = scene().files.clone();
        let pem = PrivateKey::generate(Algorithm::Ed25519).unwrap().to_pem();
        files.insert(name.to_owned(), pem.as_bytes().to_vec());
        let bench = Bench::new(&files);
        bench.refused(name, &mut bench.command(VERIFY), 4, &["file_unlisted"]);
        bench.key("outside.pem", pem.as_bytes());
        bench.refused(name, &mut bench.command("sign bundle --key outside.pem"), 4, &["file_unlisted"]);
        bench.refused(
            name,
            &mut bench.command("remote-verify --base-url bundle --pubkey key.pub"),
            4,
            &["file_unlisted"],
        );
    }
}

/// A signed bundle of one platform.
fn small() -> Files {
    let mut recipe = recipe();
    recipe.index.packages.truncate(1);
    recipe.statement.predicate.build_definition.external_parameters.platforms.truncate(1);
    recipe.archives.retain(|name, _| name.ends_with(".tar.gz"));
    signed_with(&recipe.bake(), &[borrowed(scene().key.as_ref())])
}

/// Runs the verification with one call of the system on one path made to fail.
fn failing(bench: &Bench, path: &str, fault: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-P", path, "-e", &format!("inject={fault}")]);
    command.arg(env!("CARGO_BIN_EXE_consign")).args(["--format", "json"]).args(VERIFY.split(' '));
    bench.surround(&mut command);
    command
}

#[cfg(target_os = "linux")]
#[test]
fn whatever_call_of_the_system_fails_nothing_is_verified() {
    let traced = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    if !missing_unless(traced.is_ok_and(|output| output.status.success()), "strace that may trace") {
        return;
    }
    let files = small();
    let bench = Bench::new(&files);
    let path = bench.path("bundle");
    assert!(failing(&bench, "/nowhere", "openat:error=EIO").output().unwrap().status.success());
    let faults = [
        "openat:error=EIO",
        "openat:error=EACCES",
        "openat:error=EMFILE",
        "openat:error=ENOENT",
        "openat:error=ELOOP",
        "read:error=EIO",
        "read:error=EIO:when=2",
        "read:error=ENOMEM",
        "read:retval=0",
        "%%stat:error=EIO:when=1",
        "%%stat:error=EIO:when=2",
    ];
    let mut cases: Vec<(String, &str)> =
        files.keys().flat_map(|name| faults.map(|fault| (path.join(name).to_string(), fault))).collect();
    cases.extend(
        ["openat:error=EIO", "getdents64:error=EIO", "getdents64:error=EIO:when=2", "getdents64:retval=0"]
            .map(|fault| (path.to_string(), fault)),
    );
    cases.extend(
        ["openat:error=EIO", "read:error=EIO", "read:retval=0"].map(|fault| (bench.path("key.pub").to_string(), fault)),
    );
    let before = litter(bench.scratch.path());
    for (path, fault) in cases {
        let output = failing(&bench, &path, fault).output().unwrap();
        let what = format!("{fault} at {path}: {}", both(&output));
        assert!(output.status.code().is_some_and(|code| matches!(code, 1 | 3 | 4)), "{what}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{what}"));
        assert!(told["code"].is_string() || told["findings"][0]["code"].is_string(), "{what}");
        assert_eq!(litter(bench.scratch.path()), before, "{what}");
    }
}

#[test]
fn a_private_key_among_the_assets_is_never_published() {
    let scratch = crate::support::small_workspace("tool", "1.0.0");
    crate::workspaces::rehearse(scratch.path(), &[]).passed();
    let key = crate::workspaces::bundle(scratch.path()).join("id_ed25519");
    fs_err::write(&key, PrivateKey::generate(Algorithm::Ed25519).unwrap().to_pem().as_bytes()).unwrap();
    let published = ["publish", "--provider", "directory", "--target", "target/published"];
    let ran = crate::workspaces::json(scratch.path(), &published);
    let told = ran.failed(4, "file_unlisted");
    assert!(told.to_string().contains("id_ed25519"), "{told}");
    assert!(!scratch.path().join("target/published").exists());
}
