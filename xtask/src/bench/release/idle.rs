//! A server that manages environments in a large config repository: its memory while nobody asks.
//!
//! The main item is [`measure`]. The server has released something, so that it has a copy of the repository, and is
//! looked at before and after it was started again.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::archive::{Options, Writer};
use consign::model::Digest;
use consign::model::index::ArchiveFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scene::{Layout, Scene};
use crate::bench::beside::beside;
use crate::bench::registry::wire::Connection;

/// How many services there are.
const SERVICES: usize = 10_000;
/// The most memory that is accepted.
const MAX_BYTES: u64 = 60_000_000;
/// How long nobody asks before it is looked at.
const REST: Duration = Duration::from_secs(2);
/// How long the first release may take, which fetches the whole repository.
const PATIENCE: Duration = Duration::from_secs(300);

/// The memory of a server, in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Idle {
    services: usize,
    /// After it has fetched the repository and released something.
    released_bytes: u64,
    /// After it was started again.
    standing_bytes: u64,
}

impl Idle {
    pub(super) fn is_kept(&self) -> bool {
        self.released_bytes.max(self.standing_bytes) < MAX_BYTES
    }
}

/// Measures a server.
pub(super) fn measure(server: &Utf8Path) -> Result<Idle> {
    let scene = Scene::set(SERVICES, Layout::Spread)?;
    let remote = scene.remote("idle")?;
    let file = scene.path().join("environments.toml");
    let environments = format!(
        "[deployer.config]\nrepository = \"{remote}\"\n[[environment]]\nname = \"dev\"\n[[environment]]\nname = \"prod\"\n"
    );
    fs_err::write(&file, environments)?;
    let first = Running::start(server, scene.path(), &file)?;
    let token = first.token.clone().context("a new server shows no token")?;
    release(&mut Connection::to(&first.address, &token)?)?;
    let released_bytes = first.idle_bytes()?;
    drop(first);
    let standing = Running::start(server, scene.path(), &file)?;
    let standing_bytes = standing.idle_bytes()?;
    Ok(Idle { services: SERVICES, released_bytes, standing_bytes })
}

/// Pushes an artifact, and releases it where there was another one.
fn release(connection: &mut Connection) -> Result<()> {
    let options = Options { format: ArchiveFormat::TarGz, level: None, date: "1980-01-01T00:00:00Z".parse()? };
    let mut writer = Writer::new(&"payload".parse()?, options);
    let text = "kind: Thing\n";
    writer.append("dev/deployment.yaml", false, text.len() as u64, &mut text.as_bytes())?;
    let packed = writer.finish()?;
    let sha256 = Digest::of(&packed.bytes);
    let service = "service-00042";
    let record = json!({
        "type": "consign.artifact/v1", "id": "main-1", "service": service, "namespace": "team-0",
        "source": { "sha": "0123456789abcdef0123456789abcdef01234567", "branch": "main", "message": "fix: it" },
        "payload": {
            "sha256": sha256, "size_bytes": packed.bytes.len(), "unpacked_size_bytes": packed.unpacked_size_bytes,
            "environments": ["dev"],
        },
    });
    let request =
        json!({ "service": service, "environments": ["dev"], "what": { "kind": "artifact", "id": "main-1" } });
    connection.ask_with("PUT", &format!("/api/v1/blobs/{sha256}"), &packed.bytes)?;
    let pushed = connection.ask("POST", "/api/v1/artifacts", &record.to_string())?;
    ensure!(pushed.status == 201, "the artifact is not taken: {}", String::from_utf8_lossy(&pushed.body));
    let granted = connection.ask("POST", "/api/v1/releases", &request.to_string())?;
    let granted: Value = serde_json::from_slice(&granted.body)?;
    let id = granted["results"][0]["release"].as_str().with_context(|| granted.to_string())?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let release: Value =
            serde_json::from_slice(&connection.ask("GET", &format!("/api/v1/releases/{id}"), "")?.body)?;
        match release["state"].as_str() {
            Some("pushed") => return Ok(()),
            Some("failed") => anyhow::bail!("the release failed: {release}"),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    anyhow::bail!("the release does not arrive")
}

/// A server that runs; dropped, it ends.
struct Running {
    child: Child,
    address: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    address: String,
    admin_token: Option<String>,
}

impl Running {
    fn start(server: &Utf8Path, directory: &Utf8Path, environments: &Utf8Path) -> Result<Self> {
        let data: Utf8PathBuf = directory.join("data");
        let mut command = beside(server.as_str());
        command.args(["serve", "--listen", "127.0.0.1:0", "--format", "ndjson", "--log", "off"]);
        command.args(["--data", data.as_str(), "--manage", environments.as_str()]).current_dir(directory);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("the server says nothing")?);
        let mut line = String::new();
        while !line.contains("\"consign.server/v1\"") {
            line.clear();
            ensure!(lines.read_line(&mut line)? > 0, "the server ended before it said where it is");
        }
        let Started { address, admin_token } = serde_json::from_str(&line)?;
        Ok(Self { child, address, token: admin_token })
    }

    /// How much memory it has after a while without a question.
    fn idle_bytes(&self) -> Result<u64> {
        std::thread::sleep(REST);
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has no memory")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes << 10)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it has acknowledged is there however it ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Shows it.
pub(super) fn print(idle: &Idle) {
    let [released, standing, limit] =
        [idle.released_bytes, idle.standing_bytes, MAX_BYTES].map(|bytes| bytes as f64 / 1e6);
    println!(
        "  a server over {} services: idle {released:.1} MB after a release, {standing:.1} MB started again, less than {limit:.0}",
        idle.services
    );
}
