//! TLS by the server itself, judged by curl and by `consign`, with certificates that openssl made.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::place::{Kind, Place, Running, consign};
use crate::support::{Scratch, both, need, succeed};

/// A certificate of an authority of its own, for this machine.
pub struct Authority {
    scratch: Scratch,
}

impl Authority {
    pub fn new() -> Self {
        let authority = Self { scratch: Scratch::new() };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=an authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        authority
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").current_dir(self.scratch.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
    }

    pub fn root(&self) -> Utf8PathBuf {
        self.scratch.path().join("ca.pem")
    }

    /// Writes `cert.pem` and `key.pem` into a directory, as whoever renews them would.
    pub fn issue(&self, name: &str, to: &Utf8Path) {
        self.scratch.write("san", "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            "key.pem",
            "-out",
            "request.pem",
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            "request.pem",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "1",
            "-extfile",
            "san",
            "-out",
            "cert.pem",
        ]);
        for file in ["key.pem", "cert.pem"] {
            fs_err::copy(self.scratch.path().join(file), to.join(file)).unwrap();
        }
    }

    fn curl(&self, server: &Running, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new("curl");
        command.args(["-sSv", "--noproxy", "*", "--max-time", "20", "--cacert", self.root().as_str()]).args(arguments);
        command.arg(format!("{}/healthz", server.address)).output().unwrap()
    }

    fn subject(&self, server: &Running) -> String {
        let output = self.curl(server, &[]);
        let said = both(&output);
        let subject = said.lines().find_map(|line| line.split_once("subject: ")).unwrap_or_else(|| panic!("{said}"));
        subject.1.to_owned()
    }
}

fn place(authority: &Authority) -> (Place, Utf8PathBuf) {
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    let directory = place.scratch.path().join("tls");
    fs_err::create_dir(&directory).unwrap();
    authority.issue("first", &directory);
    place.option("--tls-cert", directory.join("cert.pem").as_str());
    place.option("--tls-key", directory.join("key.pem").as_str());
    (place, directory)
}

#[test]
fn the_server_is_reached_by_tls_and_by_nothing_less() {
    if !need("openssl") || !need("curl") {
        return;
    }
    let authority = Authority::new();
    let (place, _) = place(&authority);
    let server = place.start();
    assert!(server.address.starts_with("https://"));
    let output = authority.curl(&server, &["--tlsv1.2"]);
    assert!(output.status.success() && output.stdout == b"ok", "{}", both(&output));
    for old in [["--tls-max", "1.1"], ["--ciphers", "AES128-SHA"]] {
        let refused = authority
            .curl(&server, &[&old[..], &["--tls-max", "1.2"][..usize::from(old[0] != "--tls-max") * 2]].concat());
        assert!(!refused.status.success(), "{old:?}");
    }
    let strangers = Authority::new();
    assert!(!strangers.curl(&server, &[]).status.success(), "somebody else's authority");
    // Plain http at the same address is no request.
    let plain = Command::new("curl")
        .args(["-sS", "--noproxy", "*", &server.address.replace("https", "http")])
        .output()
        .unwrap();
    assert!(!plain.status.success());
    server.stop();
}

#[test]
fn the_client_speaks_with_it() {
    if !need("openssl") {
        return;
    }
    let authority = Authority::new();
    let (place, _) = place(&authority);
    let server = place.start();
    let home = Scratch::new();
    home.write("token", server.admin.clone().unwrap());
    let login = |root: &str| {
        let mut command = consign(home.path(), &server, &["login", "--token-file", "token"]);
        command.env("NO_PROXY", "127.0.0.1").env("SSL_CERT_FILE", root).env_remove("SSL_CERT_DIR");
        command
    };
    assert!(succeed(&mut login(authority.root().as_str())).contains("admin"));
    let refused = login(Authority::new().root().as_str()).output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "{}", both(&refused));
}

#[test]
fn a_certificate_is_renewed_without_a_restart_and_never_for_one_that_cannot_be_used() {
    if !need("openssl") || !need("curl") {
        return;
    }
    let authority = Authority::new();
    let (place, directory) = place(&authority);
    let server = place.start();
    assert!(authority.subject(&server).contains("first"));
    // Half a renewal: the new certificate with the old key.
    let old = fs_err::read(directory.join("key.pem")).unwrap();
    authority.issue("second", &directory);
    let new = fs_err::read(directory.join("key.pem")).unwrap();
    fs_err::write(directory.join("key.pem"), old).unwrap();
    server.hang_up();
    assert!(authority.subject(&server).contains("first"));
    fs_err::write(directory.join("key.pem"), new).unwrap();
    server.hang_up();
    let patience = Instant::now() + Duration::from_secs(20);
    while !authority.subject(&server).contains("second") {
        assert!(Instant::now() < patience, "the new certificate is not shown");
    }
    server.stop();
}

#[test]
fn files_that_do_not_belong_together_are_found_before_anything_starts() {
    if !need("openssl") {
        return;
    }
    let authority = Authority::new();
    let (place, directory) = place(&authority);
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let code = |certificate: &Utf8Path, key: &Utf8Path| {
        let output = place
            .command(&["check-config", "--tls-cert", certificate.as_str(), "--tls-key", key.as_str()])
            .output()
            .unwrap();
        output.status.code()
    };
    assert_eq!(code(&certificate, &key), Some(0));
    assert_eq!(code(&key, &certificate), Some(3));
    assert_eq!(code(&certificate, &authority.scratch.path().join("ca.key")), Some(3));
    assert_eq!(code(&certificate, &directory.join("missing.pem")), Some(1));
    let output = place.command(&["check-config", "--tls-cert", certificate.as_str()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
