//! Keys from birth to signature: made, encrypted, kept, handed in, and judged by openssl.

#![expect(clippy::disallowed_methods, reason = "tests run openssl")]

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::Code;
use consign::trust::key::{self, Algorithm, PublicKey, Signer as _};
use consign::trust::private::{Opened, PrivateKey};
use consign::world::keys::{self, Exposure};
use consign::world::signer_command::SignerCommand;
use serde_json::Value;

use crate::fixture::{self, bundle_fixture};
use crate::support::{Scratch, both, consign, need, succeed};

fn run(directory: &Utf8Path, arguments: &[&str]) -> Output {
    consign(directory).args(["--format", "json"]).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {}", both(output)))
}

#[track_caller]
fn refused(output: &Output, exit: i32, code: &str) -> Value {
    assert_eq!(output.status.code(), Some(exit), "{}", both(output));
    let told = json(output);
    assert_eq!(told["code"], code, "{told}");
    told
}

#[track_caller]
fn passed(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", both(output));
    json(output)
}

fn openssl(directory: &Utf8Path, line: &str) {
    succeed(Command::new("sh").args(["-ec", &format!("umask 077; {line} 2>/dev/null")]).current_dir(directory));
}

fn private(path: &Utf8Path) -> PrivateKey {
    PrivateKey::from_pem(&keys::read_private(path, Exposure::Refused).unwrap()).unwrap()
}

fn public(path: &Utf8Path) -> PublicKey {
    PublicKey::from_pem(&keys::read_any(path).unwrap()).unwrap()
}

#[cfg(unix)]
fn set_mode(path: &Utf8Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
fn mode(path: &Utf8Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A bundle that nobody has signed, in a directory of its own.
fn bundle(scratch: &Scratch) -> Utf8PathBuf {
    let directory = scratch.path().join("dist/packages/v1.0.0");
    fs_err::create_dir_all(&directory).unwrap();
    fixture::write(&bundle_fixture(), &directory);
    directory
}

fn names(directory: &Utf8Path) -> Vec<String> {
    consign::world::files::list(directory).unwrap().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_new_key_is_its_owner_s_alone_and_openssl_knows_both_halves() {
    if !need("openssl") {
        return;
    }
    for (word, algorithm) in
        [("p256", Algorithm::EcdsaP256), ("p384", Algorithm::EcdsaP384), ("ed25519", Algorithm::Ed25519)]
    {
        let scratch = Scratch::new();
        let told = passed(&run(scratch.path(), &["key", "generate", "--out", "it's a key.pem", "--algorithm", word]));
        let (path, beside) = (scratch.path().join("it's a key.pem"), scratch.path().join("it's a key.pub.pem"));
        assert_eq!((told["algorithm"].as_str(), told["encrypted"].as_bool()), (Some(algorithm.as_str()), Some(false)));
        #[cfg(unix)]
        assert_eq!((mode(&path), mode(&beside)), (0o600, 0o644));
        let key = private(&path);
        assert_eq!((key.public(), key.public().algorithm()), (&public(&beside), algorithm));
        assert_eq!(told["key_id"], key.public().id().to_string());
        // The private half is what openssl makes of it, and its public half is ours.
        let theirs = succeed(Command::new("openssl").args(["pkey", "-pubout", "-in", path.as_str()]));
        assert_eq!(theirs, fs_err::read_to_string(&beside).unwrap());
        // The printed command, as it is printed, accepts what the key signs and nothing else.
        scratch.write("FILE", "message");
        scratch.write("FILE.sig", key::sign(&key, b"message").unwrap());
        let verify = told["verify"].as_str().unwrap();
        let verifies = || Command::new("sh").args(["-c", verify]).current_dir(scratch.path()).output().unwrap();
        assert!(verifies().status.success(), "{verify}: {}", both(&verifies()));
        scratch.write("FILE", "massage");
        assert!(!verifies().status.success(), "{verify}");
    }
}

#[test]
fn what_openssl_signs_verifies_here_and_the_other_way_round() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    scratch.write("FILE", "message");
    for make in [
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        "-algorithm ED25519",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:4096",
    ] {
        openssl(
            scratch.path(),
            &format!("openssl genpkey {make} -out key.pem; openssl pkey -in key.pem -pubout -out pub.pem"),
        );
        let (key, public) = (private(&scratch.path().join("key.pem")), public(&scratch.path().join("pub.pem")));
        assert_eq!(key.public(), &public, "{make}");
        let sign = match public.algorithm() {
            Algorithm::Ed25519 => "openssl pkeyutl -sign -inkey key.pem -rawin -in FILE -out FILE.sig",
            Algorithm::EcdsaP384 => "openssl dgst -sha384 -sign key.pem -out FILE.sig FILE",
            _ => "openssl dgst -sha256 -sign key.pem -out FILE.sig FILE",
        };
        openssl(scratch.path(), sign);
        let signature = fs_err::read(scratch.path().join("FILE.sig")).unwrap();
        assert!(public.verify(b"message", &signature).is_ok(), "{make}");
        assert!(public.verify(b"massage", &signature).is_err(), "{make}");
        scratch.write("FILE.sig", key::sign(&key, b"message").unwrap());
        openssl(scratch.path(), &public.algorithm().openssl_command("pub.pem", "FILE.sig", "FILE"));
    }
}

#[test]
fn a_p384_key_does_not_verify_with_the_digest_of_another() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    scratch.write("FILE", "message");
    openssl(
        scratch.path(),
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem; openssl pkey -in key.pem -pubout -out pub.pem; openssl dgst -sha256 -sign key.pem -out FILE.sig FILE",
    );
    let signature = fs_err::read(scratch.path().join("FILE.sig")).unwrap();
    let public = public(&scratch.path().join("pub.pem"));
    assert!(public.verify(b"message", &signature).is_err());
    assert!(public.algorithm().openssl_command("p", "s", "f").starts_with("openssl dgst -sha384 "));
}

#[test]
fn nothing_is_replaced_unasked() {
    let scratch = Scratch::new();
    for name in ["key.pem", "key.pub.pem"] {
        let path = scratch.write(name, "precious");
        refused(&run(scratch.path(), &["key", "generate", "--out", "key.pem"]), 6, "file_exists");
        assert_eq!(names(scratch.path()), [name]);
        assert_eq!(fs_err::read(&path).unwrap(), b"precious");
        fs_err::remove_file(&path).unwrap();
    }
    passed(&run(scratch.path(), &["key", "generate", "--out", "key.pem"]));
    let first = public(&scratch.path().join("key.pub.pem"));
    passed(&run(scratch.path(), &["key", "generate", "--out", "key.pem", "--force"]));
    let second = public(&scratch.path().join("key.pub.pem"));
    assert_ne!(first, second);
    assert_eq!(private(&scratch.path().join("key.pem")).public(), &second);
    assert_eq!(names(scratch.path()), ["key.pem", "key.pub.pem"]);
    refused(&run(scratch.path(), &["key", "generate", "--out", "one", "--public", "one"]), 2, "usage");
    refused(&run(scratch.path(), &["key", "generate", "--out", "nowhere/key.pem"]), 1, "io");
    #[cfg(unix)]
    {
        // A link that leads nowhere is in the way too: through it something else would be written.
        std::os::unix::fs::symlink("elsewhere", scratch.path().join("link.pem")).unwrap();
        refused(&run(scratch.path(), &["key", "generate", "--out", "link.pem"]), 6, "file_exists");
        assert!(!scratch.path().join("elsewhere").exists());
    }
}

#[test]
fn an_encrypted_key_is_opened_by_openssl_and_by_every_way_to_hand_in_a_passphrase() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    passed(&run(scratch.path(), &["key", "generate", "--out", "key.pem"]));
    scratch.write("passphrase", "correct horse\nand a second line\n");
    let with = |variable: &str, arguments: &[&str]| {
        consign(scratch.path())
            .args(["--format", "json"])
            .args(arguments)
            .env("CONSIGN_KEY_PASSPHRASE", variable)
            .output()
            .unwrap()
    };
    passed(&with("correct horse", &["key", "encrypt", "key.pem", "--out", "closed.pem"]));
    let closed = scratch.path().join("closed.pem");
    #[cfg(unix)]
    assert_eq!(mode(&closed), 0o600);
    let plain = fs_err::read_to_string(scratch.path().join("key.pub.pem")).unwrap();
    let theirs = |word: &str| {
        Command::new("openssl").args(["pkey", "-pubout", "-passin", word, "-in", closed.as_str()]).output()
    };
    assert_eq!(theirs("pass:correct horse").unwrap().stdout, plain.as_bytes());
    assert!(!theirs("pass:battery staple").unwrap().status.success());
    let shown = passed(&with("correct horse", &["key", "public", "closed.pem"]));
    assert_eq!(shown["pem"], plain);
    for descriptor in ["0", "3"] {
        let program = env!("CARGO_BIN_EXE_consign");
        let line = format!("'{program}' key public closed.pem --passphrase-fd {descriptor} {descriptor}< passphrase");
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(scratch.path());
        crate::support::clean(&mut command);
        assert_eq!(succeed(&mut command), plain);
    }
    refused(&with("battery staple", &["key", "public", "closed.pem"]), 3, "key_invalid");
    refused(&run(scratch.path(), &["key", "public", "closed.pem"]), 3, "key_invalid");
    refused(&run(scratch.path(), &["key", "public", "closed.pem", "--passphrase-fd", "77"]), 3, "key_invalid");
    refused(&with("correct horse", &["key", "encrypt", "closed.pem", "--out", "again.pem"]), 2, "usage");
    refused(&with("short", &["key", "encrypt", "key.pem", "--out", "again.pem"]), 3, "key_invalid");
    refused(&run(scratch.path(), &["key", "encrypt", "key.pem", "--out", "again.pem"]), 3, "key_invalid");
    refused(&with("correct horse", &["key", "encrypt", "key.pem", "--out", "closed.pem"]), 6, "file_exists");
    refused(&run(scratch.path(), &["key", "generate", "--encrypt", "--out", "again.pem"]), 3, "key_invalid");
    assert!(!scratch.path().join("again.pem").exists());
    let made = passed(&with("correct horse", &["key", "generate", "--encrypt", "--out", "born.pem"]));
    assert_eq!(made["encrypted"], true);
    assert!(
        fs_err::read_to_string(scratch.path().join("born.pem"))
            .unwrap()
            .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY")
    );
}

#[test]
fn keys_that_openssl_encrypts_are_opened() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    openssl(scratch.path(), "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    let plain = private(&scratch.path().join("key.pem"));
    for way in [
        "-v2 aes-256-cbc",
        "-v2 aes-128-cbc",
        "-v2 aes-192-cbc",
        "-v2 aes-256-cbc -v2prf hmacWithSHA1",
        "-v2 aes-128-cbc -v2prf hmacWithSHA512",
        "-v2 aes-256-cbc -iter 1000000",
        "-scrypt",
        "-scrypt -scrypt_N 8192 -scrypt_r 8 -scrypt_p 4",
    ] {
        openssl(
            scratch.path(),
            &format!("openssl pkcs8 -topk8 {way} -in key.pem -passout pass:passphrase -out closed.pem"),
        );
        let closed = fs_err::read(scratch.path().join("closed.pem")).unwrap();
        let Ok(Opened::Locked(locked)) = PrivateKey::open(&closed) else { panic!("{way}") };
        assert_eq!(locked.open(b"passphrase").unwrap().unwrap().public(), plain.public(), "{way}");
        assert!(locked.open(b"Passphrase").unwrap().is_none(), "{way}");
    }
}

#[cfg(unix)]
#[test]
fn a_private_key_that_others_can_read_or_that_a_link_leads_to_does_not_sign() {
    let scratch = Scratch::new();
    let directory = bundle(&scratch);
    let before = names(&directory);
    passed(&run(scratch.path(), &["key", "generate", "--out", "key.pem"]));
    let key = scratch.path().join("key.pem");
    let sign = |more: &[&str]| run(scratch.path(), &[&["sign", "--key", "key.pem", directory.as_str()], more].concat());
    for open in [0o640, 0o604, 0o660, 0o620, 0o601, 0o644, 0o777] {
        set_mode(&key, open);
        let told = refused(&sign(&[]), 3, "key_exposed");
        assert!(told["hint"].as_str().unwrap().contains(&format!("chmod 600 {key}")), "{told}");
        assert_eq!(names(&directory), before);
        refused(&run(scratch.path(), &["key", "public", "key.pem"]), 3, "key_exposed");
        refused(&run(scratch.path(), &["key", "encrypt", "key.pem", "--out", "x.pem"]), 3, "key_exposed");
        refused(&run(scratch.path(), &["key", "inspect", "key.pem"]), 3, "key_exposed");
    }
    set_mode(&key, 0o600);
    fs_err::rename(&key, scratch.path().join("real.pem")).unwrap();
    std::os::unix::fs::symlink("real.pem", &key).unwrap();
    assert!(refused(&sign(&[]), 3, "key_exposed")["message"].as_str().unwrap().contains("symbolic link"));
    assert_eq!(names(&directory), before);
    assert!(!scratch.path().join("x.pem").exists());
    passed(&sign(&["--insecure-key-perms"]));
    assert!(names(&directory).contains(&"index.json.sig".to_owned()));
}

#[cfg(unix)]
#[test]
fn a_private_key_is_read_from_a_regular_file_outside_of_what_is_published() {
    let scratch = Scratch::new();
    let directory = bundle(&scratch);
    passed(&run(scratch.path(), &["key", "generate", "--out", "key.pem"]));
    succeed(Command::new("mkfifo").arg(scratch.path().join("pipe")));
    for (name, code) in
        [("pipe", "key_invalid"), ("dist", "key_invalid"), ("/dev/zero", "key_invalid"), ("nothing", "io")]
    {
        let exit = if code == "io" { 1 } else { 3 };
        for more in [&[][..], &["--insecure-key-perms"]] {
            let sign = [&["sign", "--key", name, directory.as_str()], more].concat();
            refused(&run(scratch.path(), &sign), exit, code);
        }
    }
    let before = names(&directory);
    // Inside the bundle, through a link to it, and by a path that goes round.
    std::os::unix::fs::symlink(&directory, scratch.path().join("link")).unwrap();
    let inside = directory.join("key.pem");
    fs_err::copy(scratch.path().join("key.pem"), &inside).unwrap();
    for name in ["dist/packages/v1.0.0/key.pem", "link/key.pem", "dist/../dist/packages/v1.0.0/./key.pem"] {
        let sign = ["sign", "--key", name, directory.as_str(), "--insecure-key-perms"];
        refused(&run(scratch.path(), &sign), 3, "key_exposed");
    }
    fs_err::remove_file(&inside).unwrap();
    // A link inside the bundle to a key outside of it is inside too.
    std::os::unix::fs::symlink(scratch.path().join("key.pem"), &inside).unwrap();
    let sign = ["sign", "--key", inside.as_str(), directory.as_str(), "--insecure-key-perms"];
    refused(&run(scratch.path(), &sign), 3, "key_exposed");
    fs_err::remove_file(&inside).unwrap();
    assert_eq!(names(&directory), before);
}

#[test]
fn a_huge_file_is_no_key_and_is_not_read_to_its_end() {
    let scratch = Scratch::new();
    let path = scratch.path().join("huge.pem");
    let file = fs_err::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    #[cfg(unix)]
    set_mode(&path, 0o600);
    for arguments in [
        &["key", "inspect", "huge.pem"][..],
        &["key", "public", "huge.pem"],
        &["key", "encrypt", "huge.pem", "--out", "x"],
    ] {
        refused(&run(scratch.path(), arguments), 3, "key_invalid");
    }
}

#[test]
fn swapped_halves_are_told_from_each_other_and_never_repeated() {
    let scratch = Scratch::new();
    let directory = bundle(&scratch);
    let before = names(&directory);
    passed(&run(scratch.path(), &["key", "generate", "--out", "key.pem"]));
    let sign = run(scratch.path(), &["sign", "--key", "key.pub.pem", directory.as_str(), "--insecure-key-perms"]);
    assert!(refused(&sign, 3, "key_invalid")["message"].as_str().unwrap().contains("is a public key"));
    let verify = run(scratch.path(), &["verify", "--pubkey", "key.pem", directory.as_str()]);
    let told = refused(&verify, 3, "key_invalid");
    assert!(told["message"].as_str().unwrap().contains("is a private key"), "{told}");
    assert!(told["hint"].as_str().unwrap().contains("openssl pkey -in"), "{told}");
    let secret = fs_err::read_to_string(scratch.path().join("key.pem")).unwrap();
    assert!(!both(&verify).contains(secret.lines().nth(1).unwrap()) && !both(&sign).contains("MFkw"));
    assert_eq!(names(&directory), before);
}

#[test]
fn a_key_in_a_variable_is_a_path_or_the_text_itself() {
    let scratch = Scratch::new();
    passed(&run(scratch.path(), &["key", "generate", "--out", "key.pem"]));
    passed(&run(scratch.path(), &["key", "generate", "--out", "other.pem"]));
    let read = |name: &str| fs_err::read_to_string(scratch.path().join(name)).unwrap();
    let (key, public, other) = (read("key.pem"), read("key.pub.pem"), read("other.pub.pem"));
    let sign = |key: &str, public: &str| {
        let directory = bundle(&scratch);
        let signed = consign(scratch.path())
            .args(["-vv", "--format", "json", "sign", directory.as_str()])
            .env("CONSIGN_SIGNING_KEY", key)
            .env("CONSIGN_SIGNING_PUBKEY", public)
            .output()
            .unwrap();
        let is_signed = names(&directory).contains(&"index.json.sig".to_owned());
        assert_eq!(is_signed, signed.status.success());
        fs_err::remove_dir_all(scratch.path().join("dist")).unwrap();
        signed
    };
    for (key, public) in [
        ("key.pem", ""),
        (&*key, ""),
        (&*key, "key.pub.pem"),
        ("key.pem", &*public),
        (&key.replace('\n', "\r\n"), &*public),
    ] {
        passed(&sign(key, public));
    }
    for (key, public) in [
        (&*key, &*other),
        ("key.pem", "other.pub.pem"),
        (&key.replace('\n', "\\n"), ""),
        (&*public, ""),
        (&*key, &*key),
    ] {
        let output = sign(key, public);
        refused(&output, 3, "key_invalid");
        let secret = read("key.pem");
        assert!(!both(&output).contains(secret.lines().nth(1).unwrap()));
    }
    refused(&sign("nowhere.pem", ""), 1, "io");
    refused(&sign("", ""), 2, "usage");
}

/// A program that signs with a key of openssl's.
fn signer(scratch: &Scratch, script: &str) -> Vec<String> {
    let path = scratch.write("signer.sh", script);
    ["sh".to_owned(), path.to_string(), scratch.path().to_string()].to_vec()
}

#[test]
fn a_program_signs_in_the_key_s_stead() {
    if !["openssl", "xxd"].into_iter().all(need) {
        return;
    }
    let hashed = |digest: &str| {
        format!(
            "cd \"$1\"; xxd -r -p > digest; exec openssl pkeyutl -sign -inkey key.pem -pkeyopt digest:{digest} -in digest\n"
        )
    };
    for (make, word, script) in [
        ("EC -pkeyopt ec_paramgen_curve:P-256", "p256", hashed("sha256")),
        ("EC -pkeyopt ec_paramgen_curve:P-384", "ecdsa-p384-sha384", hashed("sha384")),
        ("RSA -pkeyopt rsa_keygen_bits:2048", "rsa", hashed("sha256")),
        (
            "ED25519",
            "ed25519",
            "cd \"$1\"; cat > message; exec openssl pkeyutl -sign -inkey key.pem -rawin -in message\n".to_owned(),
        ),
    ] {
        let scratch = Scratch::new();
        let directory = bundle(&scratch);
        openssl(
            scratch.path(),
            &format!("openssl genpkey -algorithm {make} -out key.pem; openssl pkey -in key.pem -pubout -out pub.pem"),
        );
        let argv = signer(&scratch, &script);
        let with = |algorithm: &str| {
            let command = ["sign", "--signer-cmd", &argv[0], "--signer-arg", &argv[1], "--signer-arg", &argv[2]];
            let rest = ["--algorithm", algorithm, "--pubkey", "pub.pem", directory.as_str()];
            run(scratch.path(), &[&command[..], &rest].concat())
        };
        let before = names(&directory);
        refused(&with(if word == "p256" { "rsa" } else { "p256" }), 3, "key_invalid");
        assert_eq!(names(&directory), before);
        passed(&with(word));
        let signature = fs_err::read(directory.join("index.json.sig")).unwrap();
        let index = fs_err::read(directory.join("index.json")).unwrap();
        assert!(public(&scratch.path().join("pub.pem")).verify(&index, &signature).is_ok(), "{make}");
    }
}

#[test]
fn a_signer_command_that_fails_or_lies_writes_nothing() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    let directory = bundle(&scratch);
    let before = names(&directory);
    openssl(
        scratch.path(),
        "openssl genpkey -algorithm ED25519 -out key.pem; openssl pkey -in key.pem -pubout -out pub.pem; openssl genpkey -algorithm ED25519 -out other.pem",
    );
    for (script, exit, code) in [
        (
            "[ -z \"$CONSIGN_SIGNING_KEY\" ] || touch \"$1/leaked\"; echo \"the card is locked \x1b[31m $CONSIGN_SIGNING_KEY\" >&2; exit 3\n",
            1,
            "command_failed",
        ),
        ("exit 0\n", 1, "command_failed"),
        ("head -c 2000 /dev/zero\n", 1, "command_failed"),
        ("yes | head -c 50000000\n", 1, "command_failed"),
        ("kill -9 $$\n", 1, "command_failed"),
        ("head -c 64 /dev/zero\n", 4, "sig_invalid"),
        ("cd \"$1\"; cat > message; openssl pkeyutl -sign -inkey other.pem -rawin -in message\n", 4, "sig_invalid"),
        ("cd \"$1\"; echo x > message; openssl pkeyutl -sign -inkey key.pem -rawin -in message\n", 4, "sig_invalid"),
        ("cd \"$1\"; cat > message; openssl pkeyutl -sign -inkey key.pem -rawin -in message; echo\n", 4, "sig_invalid"),
    ] {
        let argv = signer(&scratch, script);
        let arguments = ["--signer-cmd", "sh", "--signer-arg", &argv[1], "--signer-arg", &argv[2]];
        let rest = ["--algorithm", "ed25519", "--pubkey", "pub.pem", directory.as_str()];
        let output = consign(scratch.path())
            .args(["-vv", "--format", "json", "sign"])
            .args([&arguments[..], &rest].concat())
            .env("CONSIGN_SIGNING_KEY", "a canary that nobody may see")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        refused(&output, exit, code);
        assert!(!both(&output).contains("canary") && !both(&output).contains('\x1b'), "{}", both(&output));
        assert_eq!(names(&directory), before, "{script}");
    }
    assert!(!scratch.path().join("leaked").exists(), "the key reached the program");
    for arguments in [
        &["--signer-cmd", "sh"][..],
        &["--algorithm", "p256"],
        &["--signer-cmd", "sh", "--algorithm", "ed25519"],
        &["--signer-cmd", "sh", "--algorithm", "dsa", "--pubkey", "pub.pem"],
        &["--signer-cmd", "", "--algorithm", "ed25519", "--pubkey", "pub.pem"],
        &["--signer-cmd", "sh", "--algorithm", "ed25519", "--pubkey", "pub.pem", "--pubkey", "pub.pem"],
    ] {
        refused(&run(scratch.path(), &[&["sign"], arguments, &[directory.as_str()]].concat()), 2, "usage");
    }
    let missing = ["sign", "--signer-cmd", "no-such-program", "--algorithm", "ed25519", "--pubkey", "pub.pem"];
    refused(&run(scratch.path(), &[&missing[..], &[directory.as_str()]].concat()), 3, "tool_missing");
    assert_eq!(names(&directory), before);
}

#[test]
fn a_signer_command_that_never_ends_is_ended() {
    let scratch = Scratch::new();
    let public = PrivateKey::generate(Algorithm::Ed25519).unwrap().public().clone();
    let argv = ["sh", "-c", "sleep 600 & sleep 600"].map(str::to_owned);
    let command = SignerCommand::new(&argv, public, Duration::from_millis(200), &[]).unwrap();
    let begin = Instant::now();
    let failure = key::sign(&command, b"message").unwrap_err();
    assert_eq!(failure.code(), Code::CommandTimeout);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?} in {}", begin.elapsed(), scratch.path());
}

/// A `SubjectPublicKeyInfo` that says the same as another in other bytes, or says what it must not.
#[test]
fn one_public_key_has_one_spelling() {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let spki = key.public().spki().to_vec();
    let shape = |der: &[u8]| PublicKey::from_der(der).err().map(|error| error.into_refusal().shape);
    assert_eq!(shape(&spki), None);
    assert_eq!(shape(&[&spki[..], &[0]].concat()), Some("public-damaged"), "trailing byte");
    assert_eq!(
        shape(&[&[0x30, 0x81, spki[1]], &spki[2..]].concat()),
        Some("public-damaged"),
        "long form of a short length"
    );
    assert_eq!(shape(&[&[0x30, 0x80], &spki[2..], &[0, 0]].concat()), Some("public-damaged"), "indefinite length");
    let mut moved = spki.clone();
    *moved.last_mut().unwrap() ^= 1;
    assert_eq!(shape(&moved), Some("ec-point"));
    let mut infinity = spki[..26].to_vec();
    infinity.push(0);
    (infinity[1], infinity[24]) = (25, 2);
    assert_eq!(shape(&infinity), Some("ec-point"));
    let edwards = PrivateKey::generate(Algorithm::Ed25519).unwrap().public().spki().to_vec();
    let with_null = [&[0x30, 0x2c, 0x30, 0x07], &edwards[4..9], &[5, 0], &edwards[9..]].concat();
    assert_eq!(shape(&with_null), Some("public-spelling"));
    for y in [
        [0; 32],
        [0xff; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        {
            let mut p = [0xff; 32];
            (p[0], p[31]) = (0xed, 0x7f);
            p
        },
    ] {
        assert_eq!(shape(&[&edwards[..12], &y[..]].concat()), Some("ed25519-weak"), "{y:02x?}");
    }
    assert_eq!(shape(&edwards), None);
}

#[test]
fn rsa_keys_have_one_spelling_and_a_size_that_is_safe() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    let refusal = |make: &str| {
        openssl(
            scratch.path(),
            &format!(
                "openssl genpkey -algorithm RSA {make} -out key.pem; openssl pkey -in key.pem -pubout -out pub.pem"
            ),
        );
        PublicKey::from_pem(&fs_err::read(scratch.path().join("pub.pem")).unwrap())
            .err()
            .map(|error| error.into_refusal().shape)
    };
    assert_eq!(refusal("-pkeyopt rsa_keygen_bits:1024"), Some("rsa-too-small"));
    assert_eq!(refusal("-pkeyopt rsa_keygen_bits:2047"), Some("rsa-too-small"));
    assert_eq!(refusal("-pkeyopt rsa_keygen_bits:4104"), Some("rsa-too-large"));
    assert_eq!(refusal("-pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3"), Some("rsa-exponent"));
    assert_eq!(refusal("-pkeyopt rsa_keygen_bits:2048"), None);
    let spki = public(&scratch.path().join("pub.pem")).spki().to_vec();
    // Without the NULL behind the algorithm, which some programs leave out, it would get another id.
    let length = |bytes: usize| u8::try_from(bytes).unwrap();
    let size = usize::from(spki[2]) * 256 + usize::from(spki[3]) - 2;
    let without =
        [&[0x30, 0x82, length(size / 256), length(size % 256), 0x30, 0x0b], &spki[6..17], &spki[19..]].concat();
    let refused = PublicKey::from_der(&without).err().unwrap().into_refusal();
    assert_eq!(refused.shape, "public-spelling");
    scratch.write("odd.der", &without);
    openssl(scratch.path(), "openssl pkey -pubin -inform DER -in odd.der -pubout -out mended.pem");
    assert_eq!(public(&scratch.path().join("mended.pem")).spki(), spki);
}
