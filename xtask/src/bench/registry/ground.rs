//! What the registry is measured on: servers, databases, and rows by their own clients.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::world::process::Program;
use serde::{Deserialize, Serialize};

use crate::bench::beside::beside;

/// A PostgreSQL as it is installed, durable as it is by default, behind a shell that ends it when its
/// standard input closes; root runs it as `postgres`.
const CLUSTER: &str = r#"
set -e
as() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then chown postgres "$2"; fi
cd /
as "$1/initdb" -U postgres -A trust -D "$2/data" >"$2.log" 2>&1
as "$1/pg_ctl" -D "$2/data" -l "$2/log" -o "-k $2 -c listen_addresses= -c max_wal_size=8GB" -w start >>"$2.log" 2>&1
echo ready
cat >/dev/null
as "$1/pg_ctl" -D "$2/data" -m fast stop >/dev/null 2>&1
rm -rf "$2/data" "$2.log"
"#;

/// The databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// A cluster that runs as long as this is there.
pub(super) struct Cluster {
    directory: tempfile::TempDir,
    shell: Child,
}

/// Where a server keeps what it has.
pub(super) struct Place {
    pub(super) kind: Kind,
    /// What its first start showed.
    pub(super) token: String,
    directory: tempfile::TempDir,
    database: Option<String>,
}

/// A server that runs; dropped, it ends.
pub(super) struct Running {
    child: Child,
    pub(super) started: Duration,
    pub(super) address: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    address: String,
    admin_token: Option<String>,
}

impl Cluster {
    /// A new one; nothing, where PostgreSQL is not installed.
    pub(super) fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        let directory = tempfile::Builder::new().prefix("consign-bench-").tempdir()?;
        let path = Utf8Path::from_path(directory.path()).context("the temporary directory is not UTF-8")?;
        let mut command = beside("sh");
        command.args(["-c", CLUSTER, "sh", programs.as_str(), path.as_str()]);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(shell.stdout.take().context("the shell says nothing")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "PostgreSQL did not start: see {path}.log");
        Ok(Some(Self { directory, shell }))
    }

    fn database(&self, name: &str) -> Result<String> {
        let host = self.directory.path().display();
        sql(
            Kind::Postgres,
            &format!("postgres:///postgres?host={host}&user=postgres"),
            &format!("CREATE DATABASE {name}"),
        )?;
        Ok(format!("postgres:///{name}?host={host}&user=postgres"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It ends by itself as soon as nobody holds its input.
        let _ = self.shell.wait();
    }
}

impl Place {
    /// A place where a server has run once.
    pub(super) fn new(cluster: Option<&Cluster>, server: &Utf8Path, name: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("consign-bench-").tempdir()?;
        let kind = if cluster.is_some() { Kind::Postgres } else { Kind::Sqlite };
        let database = cluster.map(|cluster| cluster.database(name)).transpose()?;
        let place = Self { kind, token: String::new(), directory, database };
        let token = place.start(server)?.token.take().context("a new server shows no token")?;
        Ok(Self { token, ..place })
    }

    pub(super) fn start(&self, server: &Utf8Path) -> Result<Running> {
        let mut command = beside(server.as_str());
        command.args(["serve", "--listen", "127.0.0.1:0", "--format", "ndjson", "--log", "off", "--data"]);
        command.arg(self.directory.path().join("data")).current_dir(self.directory.path());
        if let Some(database) = &self.database {
            command.env("CONSIGN_SERVER_DATABASE", database);
        }
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("the server says nothing")?);
        let mut line = String::new();
        while !line.contains("\"consign.server/v1\"") {
            line.clear();
            ensure!(lines.read_line(&mut line)? > 0, "the server ended before it said where it is");
        }
        let started: Started = serde_json::from_str(&line)?;
        Ok(Running { child, started: began.elapsed(), address: started.address, token: started.admin_token })
    }

    /// Runs statements by the database's own client.
    pub(super) fn sql(&self, statements: &str) -> Result<String> {
        let embedded = format!("{}/data/consign.sqlite", self.directory.path().display());
        sql(self.kind, self.database.as_deref().unwrap_or(&embedded), statements)
    }
}

impl Running {
    /// How much memory it has, in bytes.
    pub(super) fn memory_bytes(&self) -> Result<u64> {
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

/// Runs statements from a file by `sqlite3` or `psql`.
fn sql(kind: Kind, database: &str, statements: &str) -> Result<String> {
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, statements.as_bytes())?;
    let path = file.path().display().to_string();
    let program = match kind {
        Kind::Sqlite => Program::new("sqlite3").args(["-bail", database, &format!(".read {path}")]),
        Kind::Postgres => Program::new("psql").args(["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", &path, database]),
    };
    let output = program.output()?;
    ensure!(output.status.success(), "the statements failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where Debian has the programs, of which only some are in the search path.
fn programs() -> Option<Utf8PathBuf> {
    let versions = fs_err::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions
        .filter_map(|entry| Utf8PathBuf::from_path_buf(entry.ok()?.path().join("bin")).ok())
        .filter(|directory| directory.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop()
}
