//! A PostgreSQL of the tests' own: Debian's, in a temporary directory, on a socket that nobody else uses.
//!
//! It is started once per run and ends with it, however that ends: it lives behind a shell that waits for
//! its standard input, which closes when the tests are gone.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::support::missing_unless;

pub struct Cluster {
    directory: Utf8PathBuf,
    shell: Child,
}

/// Initialises a cluster and runs it; an ordinary user does it as that user, root as `postgres`.
const SCRIPT: &str = r#"
set -e
as() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then chown postgres "$2"; fi
chmod 700 "$2"
cd /
as "$1/initdb" -U postgres -A trust --no-sync -D "$2/data" >"$2.log" 2>&1
begin() {
    as "$1/pg_ctl" -D "$2/data" -l "$2/log" -o "-k $2 -c listen_addresses= -c fsync=off -c max_connections=200" -w start >>"$2.log" 2>&1
}
begin "$1" "$2"
touch "$2/ready"
while read -r word; do
    case "$word" in
        stop) as "$1/pg_ctl" -D "$2/data" -m immediate -w stop >>"$2.log" 2>&1 ;;
        start) begin "$1" "$2" ;;
    esac
    touch "$2/ready"
done
set +e
as "$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
rm -rf "$2" "$2.log"
"#;

static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// The address of a new, empty database; nothing where there is no PostgreSQL, which is said.
pub fn database() -> Option<String> {
    let cluster = CLUSTER.get_or_init(start);
    missing_unless(cluster.is_some(), "PostgreSQL");
    let cluster = cluster.as_ref()?;
    let name = format!("test{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    run(cluster, &format!("CREATE DATABASE {name}"), "postgres");
    Some(address(&cluster.directory, &name))
}

/// A server of one test's own, which can be stopped, with an empty database; nothing where there is none.
pub fn alone() -> Option<(Cluster, String)> {
    let cluster = start();
    missing_unless(cluster.is_some(), "PostgreSQL");
    let cluster = cluster?;
    run(&cluster, "CREATE DATABASE alone", "postgres");
    let address = address(&cluster.directory, "alone");
    Some((cluster, address))
}

impl Cluster {
    pub fn stop(&mut self) {
        self.tell("stop");
    }

    pub fn start(&mut self) {
        self.tell("start");
    }

    fn tell(&mut self, word: &str) {
        let ready = self.directory.join("ready");
        fs_err::remove_file(&ready).unwrap();
        writeln!(self.shell.stdin.as_mut().unwrap(), "{word}").unwrap();
        let began = Instant::now();
        while !ready.exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL did not {word}");
            // There is nothing to wait on but the server's own word.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Runs one statement in a database that [`database`] gave.
pub fn statement(address: &str, sql: &str) {
    let cluster = CLUSTER.get().and_then(Option::as_ref).unwrap();
    run(cluster, sql, name(address));
}

/// Lets nobody into a database any more, and shows everybody out.
pub fn close(address: &str) {
    let cluster = CLUSTER.get().and_then(Option::as_ref).unwrap();
    let name = name(address);
    run(cluster, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"), "postgres");
    let out = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    run(cluster, &out, "postgres");
}

/// Lets everybody in again.
pub fn reopen(address: &str) {
    let cluster = CLUSTER.get().and_then(Option::as_ref).unwrap();
    run(cluster, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", name(address)), "postgres");
}

/// The name of a database in its address.
fn name(address: &str) -> &str {
    address.split(['/', '?']).nth(3).unwrap()
}

fn address(directory: &Utf8Path, name: &str) -> String {
    format!("postgres:///{name}?host={directory}&user=postgres")
}

fn run(cluster: &Cluster, sql: &str, database: &str) {
    let mut command = Command::new("psql");
    command.args(["-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", cluster.directory.as_str(), "-d", database]);
    let output = command.args(["-c", sql]).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
}

fn start() -> Option<Cluster> {
    let programs = programs()?;
    let directory = tempfile::Builder::new().prefix("consign-pg-").tempdir_in("/tmp").unwrap().keep();
    let directory = Utf8PathBuf::from_path_buf(directory).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh", programs.as_str(), directory.as_str()]);
    let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    loop {
        if directory.join("ready").exists() {
            return Some(Cluster { directory, shell });
        }
        let ended = shell.try_wait().unwrap();
        let log = || fs_err::read_to_string(format!("{directory}.log")).unwrap_or_default();
        assert!(ended.is_none() && began.elapsed() < Duration::from_secs(60), "PostgreSQL did not start: {}", log());
        // There is nothing to wait on but the server's own word.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where Debian has the programs, of which only some are in the search path.
fn programs() -> Option<Utf8PathBuf> {
    let versions = fs_err::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions
        .filter_map(|entry| Utf8PathBuf::from_path_buf(entry.ok()?.path().join("bin")).ok())
        .filter(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop()
}
