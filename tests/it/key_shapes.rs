//! Every shape of a key that is not read: named, refused, and converted by the very command it is told.

#![expect(clippy::disallowed_methods, reason = "tests run openssl")]

use std::path::PathBuf;
use std::process::Command;

use camino::Utf8Path;
use consign::trust::key::{self, PublicKey, Signer as _};
use consign::trust::private::{Opened, PrivateKey};
use serde_json::Value;

use crate::support::{Scratch, both, consign, need};

/// Runs a line of a shell with `consign` on its path, where all passphrases are `passphrase`.
pub fn shell(directory: &Utf8Path, line: &str) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_consign"));
    let path = std::env::join_paths(
        std::iter::once(program.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .unwrap();
    let output = Command::new("sh").args(["-ec", line]).env("PATH", path).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{line}: {}", both(&output));
}

/// What `key inspect` says, and its exit code.
fn inspect(directory: &Utf8Path, file: &Utf8Path) -> (Value, Option<i32>) {
    let output = consign(directory).args(["--format", "json", "key", "inspect", file.as_str()]).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {}", both(&output))), output.status.code())
}

/// openssl and ssh-keygen ask a terminal for passphrases; here they are told.
fn with_passphrases(command: &str) -> String {
    command
        .replace(
            "openssl pkcs8 -topk8 -v2 aes-256-cbc",
            "openssl pkcs8 -topk8 -v2 aes-256-cbc -passin pass:passphrase -passout pass:passphrase",
        )
        .replace("openssl pkcs12", "openssl pkcs12 -passin pass:passphrase")
        .replace("openssl pkey -in", "openssl pkey -passin pass:passphrase -in")
}

fn opened(pem: &[u8]) -> PrivateKey {
    match PrivateKey::open(pem) {
        Ok(Opened::Key(key)) => *key,
        Ok(Opened::Locked(locked)) => locked.open(b"passphrase").unwrap().unwrap(),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

pub const MAKE_EC: &str = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem 2>/dev/null";
pub const MAKE_RSA: &str = "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem 2>/dev/null";

/// What makes a private key of a shape as `key.pem`, the word for it, a part of its sentence, and whether
/// the command keeps the key. What cannot be kept is made anew.
pub const PRIVATE: &[(&str, &str, &str, Kept)] = &[
    ("openssl ec -in ec.pem -out key.pem", "sec1", "SEC1", Kept::Yes),
    ("openssl ec -in ec.pem -no_public -out key.pem", "sec1", "SEC1", Kept::Yes),
    ("openssl ec -in ec.pem -param_enc explicit -out key.pem", "sec1", "SEC1", Kept::Yes),
    ("openssl ecparam -name prime256v1 -genkey -out key.pem", "sec1", "SEC1", Kept::Yes),
    ("openssl ec -in ec.pem -aes128 -passout pass:passphrase -out key.pem", "pem-encrypted", "Proc-Type", Kept::Yes),
    ("openssl rsa -in rsa.pem -traditional -out key.pem", "pkcs1", "PKCS#1", Kept::Yes),
    (
        "openssl rsa -in rsa.pem -traditional -des3 -passout pass:passphrase -out key.pem",
        "pem-encrypted",
        "Proc-Type",
        Kept::Yes,
    ),
    (
        "openssl ec -in ec.pem -param_enc explicit | openssl pkcs8 -topk8 -nocrypt -out key.pem",
        "explicit-curve",
        "spells out its curve",
        Kept::Yes,
    ),
    (
        "openssl ec -in ec.pem -no_public | openssl pkcs8 -topk8 -nocrypt -out key.pem",
        "ec-without-public",
        "without its public half",
        Kept::Yes,
    ),
    (
        "openssl ec -in ec.pem -conv_form compressed | openssl pkcs8 -topk8 -nocrypt -out key.pem",
        "ec-compressed",
        "compressed",
        Kept::Yes,
    ),
    (
        "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in ec.pem -passout pass:passphrase -out key.pem",
        "encryption-unknown",
        "old way",
        Kept::Yes,
    ),
    (
        "openssl pkcs8 -topk8 -v2 des3 -in ec.pem -passout pass:passphrase -out key.pem",
        "encryption-unknown",
        "old way",
        Kept::Yes,
    ),
    (
        "openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 10000001 -in ec.pem -passout pass:passphrase -out key.pem",
        "encryption-unknown",
        "more work",
        Kept::Yes,
    ),
    ("openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out key.pem", "rsa-pss", "PSS", Kept::Yes),
    (
        "openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 -pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32 -out key.pem",
        "rsa-pss",
        "PSS",
        Kept::Yes,
    ),
    ("openssl pkey -in ec.pem -outform DER -out key.pem", "der-private", "DER", Kept::Yes),
    ("openssl ec -in ec.pem -outform DER -out key.pem", "der-private", "DER", Kept::Yes),
    ("openssl rsa -in rsa.pem -traditional -outform DER -out key.pem", "der-private", "DER", Kept::Yes),
    (
        "openssl pkcs8 -topk8 -in ec.pem -passout pass:passphrase -outform DER -out key.pem",
        "der-encrypted",
        "DER",
        Kept::Yes,
    ),
    (
        "openssl req -new -x509 -key ec.pem -subj /CN=x -out crt.pem && openssl pkcs12 -export -inkey ec.pem -in crt.pem -passout pass:passphrase -out key.pem",
        "pkcs12",
        "PKCS#12",
        Kept::Yes,
    ),
    (
        "openssl req -new -x509 -key ec.pem -subj /CN=x -out crt.pem && cat ec.pem crt.pem > key.pem",
        "accompanied",
        "beside the private key",
        Kept::Yes,
    ),
    ("openssl pkey -in ec.pem -text -out key.pem", "text-after", "after the end", Kept::Yes),
    ("printf '\\357\\273\\277' | cat - ec.pem > key.pem", "byte-order-mark", "byte order mark", Kept::Yes),
    ("iconv -f UTF-8 -t UTF-16 ec.pem > key.pem", "utf-16", "UTF-16", Kept::Yes),
    (
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out key.pem",
        "other-algorithm",
        "secp256k1",
        Kept::No,
    ),
    ("openssl ecparam -name secp256k1 -genkey -noout -out key.pem", "other-algorithm", "secp256k1", Kept::No),
    (
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key.pem",
        "other-algorithm",
        "P-521",
        Kept::No,
    ),
    (
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-224 -out key.pem",
        "other-algorithm",
        "P-224",
        Kept::No,
    ),
    (
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1 -out key.pem",
        "other-algorithm",
        "brainpoolP256r1",
        Kept::No,
    ),
    ("openssl genpkey -algorithm X25519 -out key.pem", "other-algorithm", "X25519", Kept::No),
    ("openssl genpkey -algorithm ED448 -out key.pem", "other-algorithm", "Ed448", Kept::No),
    (
        "openssl dhparam -dsaparam 1024 2>/dev/null | openssl genpkey -paramfile /dev/stdin -out key.pem",
        "other-algorithm",
        "Diffie-Hellman",
        Kept::No,
    ),
    ("openssl dsaparam -genkey -noout -out key.pem 1024", "dsa", "DSA", Kept::No),
    ("openssl dsaparam -genkey -noout 1024 2>/dev/null | openssl dsa -out key.pem", "dsa", "DSA", Kept::No),
    (
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out key.pem",
        "rsa-too-small",
        "1024 bits",
        Kept::No,
    ),
    ("openssl genrsa -traditional -out key.pem 1024", "rsa-too-small", "1024 bits", Kept::No),
    (
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3 -out key.pem",
        "rsa-exponent",
        "public exponent 3",
        Kept::No,
    ),
    (
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2304 -out key.pem",
        "rsa-odd-size",
        "2304 bits",
        Kept::No,
    ),
    (
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -pkeyopt rsa_keygen_primes:3 -out key.pem",
        "rsa-multi-prime",
        "two primes",
        Kept::No,
    ),
    ("openssl ecparam -name prime256v1 -out key.pem", "ec-parameters", "no key", Kept::No),
    (": > key.pem", "empty", "empty", Kept::No),
    ("printf ' \\n\\n' > key.pem", "empty", "empty", Kept::No),
    ("echo hello > key.pem", "garbage", "no key", Kept::No),
    ("printf '\\000\\001\\377\\376' > key.pem", "garbage", "no key", Kept::No),
    (
        "printf '%s\\n' 'untrusted comment: minisign encrypted secret key' RWRTY0Iy > key.pem",
        "minisign-secret",
        "minisign",
        Kept::No,
    ),
    (
        "printf '%s\\n' 'untrusted comment: signify secret key' RWRCSwAA > key.pem",
        "signify-secret",
        "signify",
        Kept::No,
    ),
    ("printf '%s\\n' 'PuTTY-User-Key-File-3: ssh-ed25519' 'Encryption: none' > key.pem", "putty", "PuTTY", Kept::No),
    ("printf '%s\\n' '# created: 2025' AGE-SECRET-KEY-1QQ > key.pem", "age", "age", Kept::No),
    ("printf '%s' '{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"AA\"}' > key.pem", "jwk", "JSON Web Key", Kept::No),
    (
        "printf '%s\\n' '-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----' eyJrZGYi '-----END ENCRYPTED SIGSTORE PRIVATE KEY-----' > key.pem",
        "sigstore",
        "cosign",
        Kept::No,
    ),
    (
        "printf '%s\\n' '-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----' eyJrZGYi '-----END ENCRYPTED COSIGN PRIVATE KEY-----' > key.pem",
        "sigstore",
        "cosign",
        Kept::No,
    ),
    (
        "printf '%s\\n' '-----BEGIN PGP PRIVATE KEY BLOCK-----' '' lQOYBF =abcd '-----END PGP PRIVATE KEY BLOCK-----' > key.pem",
        "pgp-private",
        "OpenPGP",
        Kept::No,
    ),
    ("printf '%s\\n' '-----BEGIN PKCS7-----' AAAA '-----END PKCS7-----' > key.pem", "other", "no key", Kept::No),
];

/// Shapes that no command mends: what to do is said in words.
pub const WITHOUT_COMMAND: &[(&str, &str, &str)] = &[
    ("cat ec.pem rsa.pem > key.pem", "several", "one key"),
    ("cat ec.pem ec.pem > key.pem", "several", "one key"),
    ("openssl ec -in ec.pem -out sec1.pem; cat sec1.pem ec.pem > key.pem", "several", "one key"),
    ("head -n 2 ec.pem > key.pem", "cut-off", "copy the file again"),
    ("tr -d '\\n' < ec.pem > key.pem", "lost-line-breaks", "line breaks"),
    ("awk '{printf \"%s\\\\n\", $0}' ec.pem > key.pem", "lost-line-breaks", "line breaks"),
    ("sed '2s/^...../!!!!!/' ec.pem > key.pem", "base64-invalid", "copy the file again"),
    ("sed '2s/^/ /' ec.pem > key.pem", "base64-invalid", "copy the file again"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Yes,
    No,
}

#[test]
fn a_private_key_of_another_shape_is_named_and_its_command_makes_one_that_signs() {
    if !["openssl", "iconv"].into_iter().all(need) {
        return;
    }
    let scratch = Scratch::new();
    shell(scratch.path(), &format!("{MAKE_EC}; {MAKE_RSA}"));
    for (number, (make, word, part, kept)) in PRIVATE.iter().enumerate() {
        // A space in the name has to survive the command.
        let directory = scratch.path().join(format!("case {number}"));
        fs_err::create_dir(&directory).unwrap();
        shell(
            &directory,
            &format!("umask 077; cp ../ec.pem ../rsa.pem .; {{ {make}; }} 2>/dev/null; chmod 600 key.pem"),
        );
        let path = directory.join("key.pem");
        let (told, code) = inspect(&directory, &path);
        assert_eq!((told["shape"].as_str(), code), (Some(*word), Some(3)), "{make}: {told}");
        assert_eq!(told["code"], "key_invalid");
        assert!(told["reason"].as_str().unwrap().contains(part), "{make}: {told}");
        let refusal = PrivateKey::open(&fs_err::read(&path).unwrap()).err().unwrap_or_else(|| panic!("{make}"));
        assert_eq!(refusal.shape, *word);
        let command = told["command"].as_str().unwrap_or_else(|| panic!("{make}: {told}"));
        assert_eq!(command.starts_with("consign"), *kept == Kept::No, "{make}: {command}");
        shell(&directory, &with_passphrases(command));
        let new = directory.join("key.new.pem");
        let key = opened(&consign::world::keys::read_private(&new, consign::world::keys::Exposure::Refused).unwrap());
        let signature = key::sign(&key, b"message").unwrap();
        assert!(key.public().verify(b"message", &signature).is_ok());
        let usable = inspect(&directory, &new);
        assert_eq!((&usable.0["usable"], usable.1), (&Value::Bool(true), Some(0)), "{make}");
        if *kept == Kept::Yes {
            is_still_the_key(&directory, &path, &key);
        }
    }
}

/// The public half that openssl finds in the old file, where it can, is that of the new key.
fn is_still_the_key(directory: &Utf8Path, old: &Utf8Path, key: &PrivateKey) {
    let output = Command::new("openssl")
        .args(["pkey", "-passin", "pass:passphrase", "-in", old.as_str(), "-pubout"])
        .current_dir(directory)
        .output()
        .unwrap();
    // Of compressed, explicit, PSS and unreadable files openssl writes the public half in another way.
    if let Ok(public) = PublicKey::from_pem(&output.stdout) {
        assert_eq!(&public, key.public());
    }
}

#[test]
fn what_no_command_mends_is_said_in_words() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    shell(scratch.path(), &format!("{MAKE_EC}; {MAKE_RSA}"));
    for (make, word, part) in WITHOUT_COMMAND {
        shell(scratch.path(), &format!("umask 077; {{ {make}; }} 2>/dev/null"));
        let path = scratch.path().join("key.pem");
        let (told, code) = inspect(scratch.path(), &path);
        assert_eq!((told["shape"].as_str(), code), (Some(*word), Some(3)), "{make}: {told}");
        assert!(told["command"].is_null() && told["hint"].as_str().unwrap().contains(part), "{make}: {told}");
        assert!(PrivateKey::open(&fs_err::read(&path).unwrap()).is_err());
    }
}

#[test]
fn keys_of_ssh_are_named_by_their_kind() {
    if !need("ssh-keygen") {
        return;
    }
    let scratch = Scratch::new();
    for (arguments, word, kept) in [
        ("-t ecdsa -b 256 -N ''", "openssh", Kept::Yes),
        ("-t ecdsa -b 384 -N ''", "openssh", Kept::Yes),
        ("-t rsa -b 2048 -N ''", "openssh", Kept::Yes),
        ("-t ed25519 -N ''", "openssh-ed25519", Kept::No),
        ("-t ed25519 -N passphrase", "openssh-ed25519", Kept::No),
        ("-t ecdsa -b 521 -N ''", "openssh-other", Kept::No),
    ] {
        shell(
            scratch.path(),
            &format!("rm -f key.pem key.new.pem key.new.pub.pem; ssh-keygen -q {arguments} -f key.pem"),
        );
        let path = scratch.path().join("key.pem");
        let (told, code) = inspect(scratch.path(), &path);
        assert_eq!((told["shape"].as_str(), code), (Some(word), Some(3)), "{arguments}: {told}");
        let command = told["command"].as_str().unwrap();
        assert_eq!(command.starts_with("consign"), kept == Kept::No, "{arguments}: {command}");
        shell(scratch.path(), command);
        let key = opened(&fs_err::read(scratch.path().join("key.new.pem")).unwrap());
        assert!(key::sign(&key, b"message").is_ok());
    }
}

/// What makes a file `key.pem` where a public key is wanted, and the word for it.
const PUBLIC: &[(&str, &str)] = &[
    ("cp ec.pem key.pem", "pkcs8"),
    ("openssl pkcs8 -topk8 -in ec.pem -passout pass:passphrase -out key.pem", "pkcs8-encrypted"),
    ("openssl ec -in ec.pem -out key.pem", "sec1"),
    ("openssl rsa -in rsa.pem -traditional -out key.pem", "pkcs1"),
    ("openssl ec -in ec.pem -aes128 -passout pass:passphrase -out key.pem", "pem-encrypted"),
    ("openssl req -new -x509 -key ec.pem -subj /CN=x -out key.pem", "certificate"),
    ("openssl req -new -x509 -key ec.pem -subj /CN=x -outform DER -out key.pem", "certificate"),
    ("openssl req -new -key ec.pem -subj /CN=x -out key.pem", "certificate-request"),
    ("openssl rsa -in rsa.pem -RSAPublicKey_out -out key.pem", "pkcs1-public"),
    ("openssl pkey -in ec.pem -pubout -outform DER -out key.pem", "der-public"),
    ("openssl pkey -in ec.pem -outform DER -out key.pem", "der-private"),
    ("openssl ec -in ec.pem -pubout -conv_form compressed -out key.pem", "ec-compressed"),
    ("openssl ec -in ec.pem -pubout -conv_form hybrid -out key.pem", "ec-compressed"),
    ("openssl ec -in ec.pem -pubout -param_enc explicit -out key.pem", "explicit-curve"),
    ("openssl pkey -in ec.pem -pubout -out p.pem && openssl pkey -pubin -in p.pem -text -out key.pem", "text-after"),
    ("openssl pkey -in ec.pem -pubout | (printf '\\357\\273\\277'; cat) > key.pem", "byte-order-mark"),
    ("openssl pkey -in ec.pem -pubout | iconv -f UTF-8 -t UTF-16 > key.pem", "utf-16"),
    ("ssh-keygen -q -t ecdsa -b 256 -N '' -f ssh && mv ssh.pub key.pem", "ssh-public"),
    ("ssh-keygen -q -t ecdsa -b 256 -N '' -f ssh && mv ssh key.pem", "openssh"),
];

#[test]
fn a_public_key_of_another_shape_is_named_and_its_command_makes_one_that_verifies() {
    if !["openssl", "iconv", "ssh-keygen"].into_iter().all(need) {
        return;
    }
    let scratch = Scratch::new();
    shell(scratch.path(), &format!("{MAKE_EC}; {MAKE_RSA}"));
    for (make, word) in PUBLIC {
        shell(scratch.path(), &format!("rm -f ssh key.*; umask 077; {{ {make}; }} 2>/dev/null"));
        let path = scratch.path().join("key.pem");
        let refusal = PublicKey::from_pem(&fs_err::read(&path).unwrap()).expect_err(make).into_refusal();
        assert_eq!(refusal.shape, *word, "{make}");
        let wanted = consign::trust::shapes::Wanted::Public;
        let command = refusal.remedy.command_for(Some(path.as_str()), wanted).unwrap_or_else(|| panic!("{make}"));
        shell(scratch.path(), &with_passphrases(&command));
        // Text in another encoding may need a second look, and then a second command.
        let public = PublicKey::from_pem(&fs_err::read(scratch.path().join("key.pub.pem")).unwrap());
        assert!(public.is_ok(), "{make}: {command}: {public:?}");
    }
}

#[test]
fn a_key_with_comments_or_other_line_ends_or_its_curve_before_it_is_read() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    shell(scratch.path(), &format!("{MAKE_EC}; openssl pkey -in ec.pem -pubout -out public.pem"));
    let expected = PublicKey::from_pem(&fs_err::read(scratch.path().join("public.pem")).unwrap()).unwrap();
    for make in [
        "sed 's/$/\\r/' ec.pem > key.pem",
        "(echo '# the key of 2025'; echo; cat ec.pem; echo; echo) > key.pem",
        "openssl ecparam -name prime256v1 > key.pem; cat ec.pem >> key.pem",
        "openssl req -new -x509 -key ec.pem -subj /CN=x -out crt.pem; openssl pkcs12 -export -inkey ec.pem -in crt.pem -passout pass:x -out p12; openssl pkcs12 -in p12 -passin pass:x -nocerts -noenc -out key.pem",
    ] {
        shell(scratch.path(), &format!("umask 077; {make}"));
        assert_eq!(opened(&fs_err::read(scratch.path().join("key.pem")).unwrap()).public(), &expected, "{make}");
    }
}

#[test]
fn no_refusal_repeats_a_byte_of_the_key() {
    if !need("openssl") {
        return;
    }
    let scratch = Scratch::new();
    shell(scratch.path(), &format!("{MAKE_EC}; {MAKE_RSA}"));
    let wholes = ["ec.pem", "rsa.pem"].map(|name| fs_err::read_to_string(scratch.path().join(name)).unwrap());
    for (make, ..) in PRIVATE.iter().filter(|(_, _, _, kept)| *kept == Kept::Yes) {
        shell(scratch.path(), &format!("umask 077; {{ {make}; }} 2>/dev/null"));
        for verb in [
            &["key", "inspect", "key.pem"][..],
            &["key", "public", "key.pem"],
            &["key", "encrypt", "key.pem", "--out", "new.pem"],
        ] {
            for format in ["text", "json", "ndjson"] {
                let output = consign(scratch.path()).args(["-vv", "--format", format]).args(verb).output().unwrap();
                let told = both(&output);
                assert_ne!(output.status.code(), Some(0), "{make} {verb:?}: {told}");
                let text = fs_err::read(scratch.path().join("key.pem")).unwrap();
                let text = String::from_utf8_lossy(&text).into_owned();
                let lines = wholes.iter().chain([&text]).flat_map(|whole| whole.lines());
                for line in lines.filter(|line| line.len() > 40 && line.is_ascii() && !line.contains(' ')) {
                    assert!(!told.contains(&line[..40]), "{make} {verb:?}: {told}");
                }
            }
        }
        assert!(!scratch.path().join("new.pem").exists());
    }
}
