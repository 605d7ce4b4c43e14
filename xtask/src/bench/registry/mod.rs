//! `consign-server`: how many pushes a second, how long a list takes however much there is, how soon it
//! answers and how much memory it has while nobody asks.
//!
//! The limit of pushes is what the database's own client reaches with the same rows, one transaction each.
//! The rows of the lists are filled in by SQL, since a million pushes would take hours. There are as few services as it
//! takes for a page of the smallest list to be as full as one of the largest.

mod ground;
pub(super) mod wire;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::world::process::{Line, Program};
use serde::Serialize;

use super::measure::median;
use crate::repository;
use ground::{Cluster, Kind, Place, Running};
use wire::Connection;

/// The most memory that is accepted of a server that nobody asks.
const MAX_IDLE_BYTES: u64 = 60_000_000;
/// The longest time until it says where it is.
const MAX_START_MS: f64 = 200.0;
/// How much longer a page of the largest list may take than one of the smallest.
const MAX_GROWTH: f64 = 1.5;
/// How many clients push at once, and how often each.
const PUSHES: [(usize, usize); 2] = [(1, 400), (8, 150)];
/// How many artifacts there are in a list.
const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
/// The pages that are asked for.
const PAGES: [(&str, &str); 6] = [
    ("all", "limit=20"),
    ("service", "service=s7&limit=20"),
    ("service and branch", "service=s7&branch=main&limit=20"),
    ("event", "event=tag&limit=20"),
    ("commit", "sha=0000000000000000000000000000000000000207"),
    ("branch that is not there", "service=s7&branch=nowhere"),
];

/// The numbers of one database.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    database: Kind,
    start_ms: f64,
    idle_bytes: u64,
    after_bytes: u64,
    pushes: Vec<Pushes>,
    lists: Vec<List>,
    pub(super) passed: bool,
}

#[derive(Debug, Serialize)]
struct Pushes {
    clients: usize,
    per_second: f64,
    p99_ms: f64,
    /// What the database's own client reaches with the same rows.
    plain_per_second: f64,
    ratio: f64,
}

#[derive(Debug, Serialize)]
struct List {
    page: &'static str,
    /// The median for each size.
    median_ms: Vec<f64>,
    growth: f64,
}

/// Measures a server, or the one that it builds, on every database that is installed.
pub(super) fn measure(given: Option<&Utf8Path>, runs: usize) -> Result<Vec<Report>> {
    let server = given.map_or_else(build, |given| Ok(given.canonicalize_utf8()?))?;
    let cluster = Cluster::start()?;
    if cluster.is_none() {
        println!("Registry: PostgreSQL is not installed, and is not measured");
    }
    let mut reports = vec![on(&server, None, runs)?];
    if let Some(cluster) = &cluster {
        reports.push(on(&server, Some(cluster), runs)?);
    }
    Ok(reports)
}

fn on(server: &Utf8Path, cluster: Option<&Cluster>, runs: usize) -> Result<Report> {
    let place = Place::new(cluster, server, "pushes")?;
    let starts: Vec<f64> = (0..runs).map(|_| Ok(milliseconds(place.start(server)?.started))).collect::<Result<_>>()?;
    let running = place.start(server)?;
    let idle_bytes = running.memory_bytes()?;
    let mut measured = Vec::new();
    for (clients, each) in PUSHES {
        measured.push(push(&running.address, &place.token, clients, each)?);
    }
    let after_bytes = running.memory_bytes()?;
    drop(running);
    let plain_per_second = plain(&place)?;
    let pushes = PUSHES.iter().zip(measured);
    let pushes: Vec<_> = pushes
        .map(|((clients, _), (per_second, p99_ms))| {
            let ratio = per_second / plain_per_second;
            Pushes { clients: *clients, per_second, p99_ms, plain_per_second, ratio }
        })
        .collect();
    let lists = lists(server, cluster)?;
    let start_ms = median(starts.into_iter());
    let passed =
        start_ms < MAX_START_MS && idle_bytes < MAX_IDLE_BYTES && lists.iter().all(|list| list.growth <= MAX_GROWTH);
    let report =
        Report { subject: "registry", database: place.kind, start_ms, idle_bytes, after_bytes, pushes, lists, passed };
    print(&report);
    Ok(report)
}

/// Clients that push one record after another: how many a second, and the slowest of a hundred.
fn push(address: &str, token: &str, clients: usize, each: usize) -> Result<(f64, f64)> {
    let began = Instant::now();
    let took: Vec<Result<Vec<f64>>> = std::thread::scope(|scope| {
        let start = |client: usize| {
            scope.spawn(move || {
                let mut connection = Connection::to(address, token)?;
                let one = |number: usize| {
                    let body = record(&format!("c{clients}-{client}-{number}"), "s1", "main");
                    let answer = connection.ask("POST", "/api/v1/artifacts", &body)?;
                    ensure!(answer.status == 201, "a push was answered with {}", answer.status);
                    Ok(milliseconds(answer.took))
                };
                (0..each).map(one).collect()
            })
        };
        let running: Vec<_> = (0..clients).map(start).collect();
        running.into_iter().map(|one| one.join().expect("nobody panics in it")).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut all: Vec<f64> = took.into_iter().collect::<Result<Vec<_>>>()?.concat();
    all.sort_by(f64::total_cmp);
    let p99 = all[(all.len() * 99 / 100).min(all.len() - 1)];
    Ok((all.len() as f64 / seconds, p99))
}

/// The same rows by the database's own client, each artifact in a transaction of its own.
fn plain(place: &Place) -> Result<f64> {
    const COUNT: u64 = 400;
    let mut statements = match place.kind {
        Kind::Sqlite => "PRAGMA synchronous = FULL;\n".to_owned(),
        Kind::Postgres => String::new(),
    };
    let first = 500_000_000;
    for number in first..first + COUNT {
        let text = record(&format!("plain-{number}"), "s1", "main");
        let sha256 = "0".repeat(64);
        statements.push_str(&format!(
            "BEGIN;\nUPDATE audit_head SET size = size;\n\
             INSERT INTO audit_leaf VALUES ({number}, '{{\"number\":{number},\"verb\":\"artifact.push\",\"object\":\"s1/plain-{number}\"}}');\n\
             INSERT INTO audit_node VALUES (0, {number}, '{sha256}');\n\
             INSERT INTO artifact (sequence, service, id, branch, event, sha, created_at, pushed_by, sha256, record, verdict, policy) \
             VALUES ({number}, 's1', 'plain-{number}', 'main', 'push', '{number}', 0, 'bench', '{sha256}', '{text}', 'none', '{sha256}');\n\
             COMMIT;\n"
        ));
    }
    let began = Instant::now();
    place.sql(&statements)?;
    Ok(COUNT as f64 / began.elapsed().as_secs_f64())
}

/// How long pages take at each size. Every size has a server of its own, and they are asked in turns: whatever else the
/// machine does meanwhile, it does to all of them.
fn lists(server: &Utf8Path, cluster: Option<&Cluster>) -> Result<Vec<List>> {
    const ROUNDS: usize = 301;
    let places: Vec<Place> = SIZES.iter().map(|size| filled(server, cluster, *size)).collect::<Result<_>>()?;
    let running: Vec<_> = places.iter().map(|place| place.start(server)).collect::<Result<_>>()?;
    let connect = |(running, place): (&Running, &Place)| Connection::to(&running.address, &place.token);
    let mut connections: Vec<_> = running.iter().zip(&places).map(connect).collect::<Result<_>>()?;
    let mut lists = Vec::new();
    for (page, query) in PAGES {
        let path = format!("/api/v1/artifacts?{query}");
        let mut took = vec![Vec::new(); SIZES.len()];
        for _ in 0..ROUNDS {
            for (connection, took) in connections.iter_mut().zip(&mut took) {
                let answer = connection.ask("GET", &path, "")?;
                ensure!(answer.status == 200, "{page}: {}", String::from_utf8_lossy(&answer.body));
                took.push(milliseconds(answer.took));
            }
        }
        let median_ms: Vec<f64> = took.into_iter().map(|took| median(took.into_iter())).collect();
        let growth = median_ms.last().zip(median_ms.first()).map_or(f64::NAN, |(last, first)| last / first);
        lists.push(List { page, median_ms, growth });
    }
    Ok(lists)
}

/// A database with as many artifacts.
fn filled(server: &Utf8Path, cluster: Option<&Cluster>, size: u64) -> Result<Place> {
    let place = Place::new(cluster, server, &format!("lists_{size}"))?;
    fill(&place, size)?;
    Ok(place)
}

/// Fills in artifacts by SQL: a hundred services, half of everything on one branch, tags now and then.
fn fill(place: &Place, size: u64) -> Result<()> {
    let (numbers, text, before, after) = match place.kind {
        Kind::Sqlite => (
            format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {size}) "),
            "printf('%040d', i)",
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -400000;",
            "ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);",
        ),
        Kind::Postgres => (
            format!("WITH n AS (SELECT i FROM generate_series(0::bigint, {}) AS i) ", size - 1),
            "lpad(i::text, 40, '0')",
            "SET synchronous_commit = off;",
            "VACUUM ANALYZE artifact; CHECKPOINT;",
        ),
    };
    let (branch, event) = (
        "CASE WHEN i % 2 = 0 THEN 'main' ELSE 'feature/' || (i % 1000) END",
        "CASE WHEN i % 50 = 7 THEN 'tag' ELSE 'push' END",
    );
    let record = format!(
        "'{{\"type\":\"consign.artifact/v1\",\"id\":\"a' || i || '\",\"service\":\"s' || (i / 3 % 12) || \
         '\",\"source\":{{\"sha\":\"' || {text} || '\",\"branch\":\"' || {branch} || '\",\"event\":\"' || {event} || \
         '\",\"message\":\"fix: what was wrong with number ' || i || '\"}},\"ci\":{{\"job_url\":\"https://ci.example.com/' || i || '\"}}}}'"
    );
    let zeros = "0".repeat(64);
    place.sql(&format!(
        "{before}\nBEGIN;\nINSERT INTO artifact (sequence, service, id, branch, event, sha, created_at, pushed_by, \
         sha256, record, verdict, policy) {numbers}SELECT i + 1000, 's' || (i / 3 % 12), 'a' || i, {branch}, {event}, \
         {text}, i, 'bench', '{zeros}', {record}, 'none', '{zeros}' FROM n;\nCOMMIT;\n{after}\n"
    ))?;
    Ok(())
}

fn record(id: &str, service: &str, branch: &str) -> String {
    format!(
        "{{\"type\":\"consign.artifact/v1\",\"id\":\"{id}\",\"service\":\"{service}\",\"source\":\
         {{\"sha\":\"0123456789abcdef0123456789abcdef01234567\",\"branch\":\"{branch}\",\
         \"message\":\"fix: what was wrong\"}},\"ci\":{{\"job_url\":\"https://ci.example.com/{id}\"}}}}"
    )
}

/// Builds the server as it is released, and gives back its path.
pub(super) fn build() -> Result<Utf8PathBuf> {
    let root = repository::root();
    let program = Program::new("cargo")
        .args(["build", "--release", "--features", "server", "--bin", "consign-server"])
        .directory(&root);
    let status = program.stream(&|line| match line {
        Line::Output(line) | Line::Error(line) => eprintln!("{line}"),
    })?;
    ensure!(status.success(), "`{}` failed", program.shown());
    let workspace = consign::world::cargo::workspace("cargo", &root)?;
    Ok(workspace.target_directory.join("release/consign-server"))
}

fn print(report: &Report) {
    println!("Registry on {:?}", report.database);
    println!("  start {:.0} ms, less than {MAX_START_MS:.0}", report.start_ms);
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "  idle {:.1} MB, less than {:.0}; {:.1} MB after the pushes",
        megabytes(report.idle_bytes),
        megabytes(MAX_IDLE_BYTES),
        megabytes(report.after_bytes)
    );
    for Pushes { clients, per_second, p99_ms, plain_per_second, ratio } in &report.pushes {
        println!(
            "  {clients} clients: {per_second:7.0} pushes/s, p99 {p99_ms:6.1} ms; plain rows {plain_per_second:.0}/s, ratio {ratio:.2}"
        );
    }
    for List { page, median_ms, growth } in &report.lists {
        let times: Vec<_> = median_ms.iter().map(|time| format!("{time:6.2}")).collect();
        println!("  list, {page:<26} {} ms, growth {growth:.2}, at most {MAX_GROWTH}", times.join(" "));
    }
    println!("  {}", if report.passed { "passed" } else { "FAILED" });
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
