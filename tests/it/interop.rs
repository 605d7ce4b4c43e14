//! Documents for other installers: written, pinned by the index, and read by the installers themselves.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use camino::Utf8Path;
use serde_json::Value;

use crate::support::{Scratch, clean, commit, git, need, succeed};
use crate::workspaces::{bundle, configured, index, json, rehearse};

const ALL: &str = "[installer]\nbase-url = \"https://example.com/{tag}\"\n\
    [interop]\ndist-manifest = true\nhomebrew = true\nscoop = true\nversions = true\n";

#[test]
fn the_documents_are_part_of_the_bundle_and_of_what_is_built_again() {
    let scratch = configured(ALL);
    rehearse(scratch.path(), &[]).passed();
    let place = bundle(scratch.path());
    let listed = index(scratch.path()).files;
    for name in ["dist-manifest.json", "tool.rb", "tool.json", "tool.ndjson"] {
        assert!(place.join(name).is_file() && listed.iter().any(|file| file.name.as_str() == name), "{name}");
    }
    let package = index(scratch.path()).packages.remove(0);
    let line: Value = serde_json::from_slice(&fs_err::read(place.join("tool.ndjson")).unwrap()).unwrap();
    assert_eq!(line["artifacts"][0]["url"], format!("https://example.com/v1.2.3/{}", package.archive));
    assert_eq!(line["artifacts"][0]["sha256"], package.sha256.to_string());
    let index = place.join("index.json");
    json(scratch.path(), &["rebuild", "--index", index.as_str(), "--source", "."]).passed();
    // One that was changed is no part of the bundle any more.
    fs_err::write(place.join("tool.rb"), "class Tool < Formula\nend\n").unwrap();
    let ran = json(scratch.path(), &["verify"]);
    assert!(ran.code == 4 && ran.out.contains("tool.rb"), "{}", ran.out);
}

#[test]
fn without_an_address_there_is_no_such_document() {
    let scratch = configured("[interop]\nhomebrew = true\n");
    scratch.write("Cargo.toml", "[package]\nname = \"tool\"\nversion = \"1.2.3\"\nedition = \"2021\"\n");
    commit(scratch.path(), "chore: no repository");
    json(scratch.path(), &["plan"]).failed(3, "config_invalid");
}

/// Evaluates a formula as Homebrew does on one system, and prints what it chose.
const BREW: &str = r#"
class Formula
  class << self
    attr_reader :said
    def desc(text) = (@said ||= {})[:desc] = text
    def homepage(text) = (@said ||= {})[:homepage] = text
    def version(text) = (@said ||= {})[:version] = text
    def license(given) = (@said ||= {})[:license] = given
    def url(text) = (@said ||= {})[:url] = text
    def sha256(text) = (@said ||= {})[:sha256] = text
    def on_linux = yield
    def on_intel = yield
    def on_arm; end
    def on_macos; end
    def test; end
  end
end
load ARGV[0]
require "json"
puts JSON.generate(Tool.said.merge(installs: Tool.instance_method(:install).name))
"#;

#[test]
fn ruby_reads_the_formula() {
    if !need("ruby") {
        return;
    }
    let scratch = configured(ALL);
    json(scratch.path(), &["release-pipeline", "--skip", "test", "--platform", "linux-amd64"]).passed();
    scratch.write("brew.rb", BREW);
    let formula = bundle(scratch.path()).join("tool.rb");
    let mut ruby = Command::new("ruby");
    let said = succeed(ruby.current_dir(scratch.path()).args(["brew.rb", formula.as_str()]));
    let said: Value = serde_json::from_str(&said).unwrap();
    let package = index(scratch.path()).packages.remove(0);
    assert_eq!(said["url"], format!("https://example.com/v1.2.3/{}", package.archive));
    assert_eq!((&said["sha256"], &said["license"]), (&package.sha256.to_string().into(), &"MIT".into()));
}

/// A server of a directory over TLS, with a certificate of its own.
struct Tls {
    child: Child,
    port: u16,
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVE: &str = r#"
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("leaf.pem", "leaf.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

fn serve(keys: &Utf8Path, directory: &Utf8Path) -> Tls {
    let openssl = |words: &str| {
        succeed(Command::new("openssl").current_dir(keys).args(words.split_whitespace()));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca");
    openssl("req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=localhost");
    fs_err::write(keys.join("leaf.ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 -extfile leaf.ext");
    let mut python = Command::new("python3");
    python.current_dir(keys).args(["-c", SERVE, directory.as_str()]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = python.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Tls { child, port: line.trim().parse().unwrap() }
}

#[test]
fn cargo_binstall_installs_a_signed_release() {
    if !(need("cargo-binstall") && need("openssl") && need("python3")) {
        return;
    }
    let (keys, published) = (Scratch::new(), Scratch::new());
    let tls = serve(keys.path(), published.path());
    let address = format!("https://localhost:{}/{{tag}}", tls.port);
    let scratch = configured(&format!("[installer]\nbase-url = \"{address}\"\n[interop]\nminisign = true\n"));
    // It reads the crate only; what is in a repository is not looked for on the network.
    let manifest = fs_err::read_to_string(scratch.path().join("Cargo.toml")).unwrap();
    let manifest: String =
        manifest.lines().filter(|line| !line.starts_with("repository")).map(|line| format!("{line}\n")).collect();
    let key = keys.path().join("key.pem");
    json(scratch.path(), &["key", "generate", "--algorithm", "ed25519", "--out", key.as_str()]).passed();
    let public = keys.path().join("key.pub.pem");
    let said = json(scratch.path(), &["config", "binstall", "--pubkey", public.as_str()]).passed().json();
    scratch.write("Cargo.toml", format!("{manifest}\n{}", said["toml"].as_str().unwrap()));
    commit(scratch.path(), "feat: cargo-binstall finds the releases");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    rehearse(scratch.path(), &["--key", key.as_str()]).passed();
    fs_err::rename(bundle(scratch.path()), published.path().join("v1.2.3")).unwrap();

    let root = keys.path().join("root");
    let install = || {
        let mut binstall = Command::new("cargo-binstall");
        clean(&mut binstall);
        binstall.current_dir(scratch.path()).args(["binstall", "tool", "--manifest-path", ".", "--no-confirm"]);
        binstall.args(["--strategies", "crate-meta-data", "--disable-telemetry", "--no-discover-github-token"]);
        binstall.args(["--only-signed", "--no-track", "--force", "--root", root.as_str()]);
        binstall.args(["--root-certificates", keys.path().join("ca.pem").as_str()]);
        binstall.output().unwrap()
    };
    let output = install();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(succeed(&mut Command::new(root.join("bin/tool"))), "tool 1.2.3\n");
    // Its signature is asked for, and decides.
    for file in fs_err::read_dir(published.path().join("v1.2.3")).unwrap() {
        let path = file.unwrap().path();
        if path.to_str().unwrap().ends_with(".tar.gz.minisig") {
            fs_err::copy(published.path().join("v1.2.3/index.json.minisig"), path).unwrap();
        }
    }
    assert!(!install().status.success(), "a signature over another file was taken");
}
