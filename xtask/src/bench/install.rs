//! Installing beside `curl` alone, over a slow link, and beside the programs that do it by hand, without one.
//!
//! [`measure`] serves one signed release by nginx. The link of 100 Mbit/s and 40 ms is a network namespace
//! whose loopback device `tc netem` shapes or, where the kernel cannot do that, a [`link`] in this process;
//! which one it was is in the report.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::world::process::Program;
use serde::Serialize;

use super::beside::beside;
use super::link::{self, Link};
use super::measure::{self, Command, Contender, Measured};
use super::scene::{Extent, Scene};
use super::{files_in, megabytes};

/// Consign's time over the link, by that of `curl` for the archive alone.
const LINK_LIMIT: f64 = 1.05;
/// Consign's time without a link, by that of the programs one after another.
const LOOPBACK_LIMIT: f64 = 0.5;
const COLD_REQUESTS_LIMIT: usize = 4;
const CURRENT_REQUESTS_LIMIT: usize = 1;
const MEMORY_LIMIT_BYTES: u64 = 30_000_000;

/// What this needs besides what all of the bench needs: the names, and Debian's package.
pub(super) const TOOLS: [(&str, &str); 3] = [("curl", "curl"), ("openssl", "openssl"), ("nginx", "nginx-light")];

/// The numbers of installing.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    runs: usize,
    archive_bytes: u64,
    /// What the link was made of.
    link: &'static str,
    over_link: Race,
    loopback: Race,
    cold_requests: usize,
    current_requests: usize,
    /// The time where nothing is new.
    current: Measured,
    pub(super) passed: bool,
}

/// Two contenders, and how they compare.
#[derive(Debug, Serialize)]
struct Race {
    ours: Measured,
    reference: Measured,
    /// The median of the ratios of ours to the reference, run by run.
    ratio: f64,
    limit: f64,
}

/// Measures all of it.
pub(super) fn measure(consign: &Utf8Path, runs: usize) -> Result<Report> {
    let scene = Scene::set(consign, Extent::ONE)?;
    let (link, over_link) = over_link(&scene, runs)?;
    let server = Nginx::start(&scene, &[])?;
    let base = format!("http://127.0.0.1:{}", server.port);
    let loopback = race(&[ours(&scene, &base, &[]), by_hand(&scene, &base)?], runs, LOOPBACK_LIMIT)?;
    let (cold_requests, current_requests) = requests(&scene, &server, &base)?;
    let again = Contender::new("consign install, current", install(&scene, &base, &[]));
    let current = measure::in_turns(&[again], runs)?.pop().context("nothing was measured")?;
    let peak = [&over_link, &loopback].into_iter().filter_map(|race| race.ours.peak_bytes).max();
    let passed = over_link.is_kept()
        && loopback.is_kept()
        && cold_requests <= COLD_REQUESTS_LIMIT
        && current_requests <= CURRENT_REQUESTS_LIMIT
        && peak.is_none_or(|peak| peak < MEMORY_LIMIT_BYTES);
    let archive_bytes = fs_err::metadata(scene.signed().join(archive(&scene)?))?.len();
    let subject = "install";
    Ok(Report {
        subject,
        runs,
        archive_bytes,
        link,
        over_link,
        loopback,
        cold_requests,
        current_requests,
        current,
        passed,
    })
}

/// Consign against `curl` of the archive, over the link.
fn over_link(scene: &Scene, runs: usize) -> Result<(&'static str, Race)> {
    let archive = archive(scene)?;
    let fetch = |base: &str, wrapper: &[String]| {
        let line = format!("curl --silent --show-error --fail --output {archive} {base}/{archive}");
        let argv = wrapper.iter().cloned().chain(line.split(' ').map(str::to_owned)).collect();
        Contender::new("curl of the archive alone", Command { argv, directory: scene.installed() })
            .clearing((scene.installed(), ".tar.gz"))
    };
    fs_err::create_dir_all(scene.installed())?;
    match link::namespace()? {
        Link::Namespace(namespace) => {
            let wrapper = namespace.wrapper();
            let server = Nginx::start(scene, &wrapper)?;
            let base = format!("http://127.0.0.1:{}", server.port);
            let contenders = [ours(scene, &base, &wrapper), fetch(&base, &wrapper)];
            Ok(("tc netem in a network namespace", race(&contenders, runs, LINK_LIMIT)?))
        }
        Link::Refused(why) => {
            eprintln!("no `tc netem` here ({why}): a relay in this process is the link");
            let server = Nginx::start(scene, &[])?;
            let base = format!("http://127.0.0.1:{}", link::relay(server.port, link::Shape::HOME)?);
            let contenders = [ours(scene, &base, &[]), fetch(&base, &[])];
            Ok(("a relay in the process of the bench", race(&contenders, runs, LINK_LIMIT)?))
        }
    }
}

fn race(contenders: &[Contender], runs: usize, limit: f64) -> Result<Race> {
    let mut measured = measure::in_turns(contenders, runs)?.into_iter();
    let ours = measured.next().context("nothing was measured")?;
    let reference = measured.next().context("nothing was measured")?;
    let ratio = measure::median(ours.wall_ms.iter().zip(&reference.wall_ms).map(|(ours, other)| ours / other));
    Ok(Race { ours, reference, ratio, limit })
}

impl Race {
    fn is_kept(&self) -> bool {
        self.ratio <= self.limit
    }
}

/// The archive's file name.
fn archive(scene: &Scene) -> Result<String> {
    let found = files_in(&scene.signed(), ".tar.gz")?.pop().context("there is no archive")?;
    Ok(found.file_name().context("an archive without a name")?.to_owned())
}

/// Installing with a key, from nothing.
fn ours(scene: &Scene, base: &str, wrapper: &[String]) -> Contender {
    Contender::new("consign install", install(scene, base, wrapper)).clearing((scene.prefix(), ""))
}

fn install(scene: &Scene, base: &str, wrapper: &[String]) -> Command {
    let (prefix, key) = (scene.prefix(), scene.public());
    let state = format!("XDG_STATE_HOME={prefix}/state");
    let index = format!("{base}/index.json");
    let words = ["install", "--index", &index, "--pubkey", key.as_str(), "--prefix", prefix.as_str()];
    let words = ["env", &state, scene.command().as_str()].into_iter().chain(words).map(str::to_owned);
    Command { argv: wrapper.iter().cloned().chain(words).collect(), directory: scene.workspace() }
}

/// What a careful user types: fetch, check the digest, check the signature, unpack, put in place.
fn by_hand(scene: &Scene, base: &str) -> Result<Contender> {
    let archive = archive(scene)?;
    let stem = archive.trim_end_matches(".tar.gz");
    let (directory, key) = (scene.by_hand(), scene.public());
    let line = format!(
        "mkdir -p '{directory}'; cd '{directory}'; \
         curl --silent --show-error --fail --remote-name-all {base}/{archive} {base}/{archive}.sig {base}/checksums.txt; \
         sha256sum --check --ignore-missing --quiet checksums.txt; \
         openssl dgst -sha256 -verify '{key}' -signature {archive}.sig {archive} >/dev/null; \
         tar -xzf {archive}; mkdir bin; mv {stem}/bin/bench bin/"
    );
    let command = Command { argv: ["sh", "-ec", &line].map(str::to_owned).to_vec(), directory: scene.workspace() };
    Ok(Contender::new("curl; sha256sum -c; openssl dgst -verify; tar xz; mv", command).clearing((directory, "")))
}

/// How many requests an installation makes from nothing, and where it is there already.
fn requests(scene: &Scene, server: &Nginx, base: &str) -> Result<(usize, usize)> {
    consign::world::files::remove_directory(&scene.prefix())?;
    let mut counts = [0; 2];
    for count in &mut counts {
        let before = server.requests()?;
        let command = install(scene, base, &[]);
        let program = Program::of(&command.argv).context("there is nothing to run")?.directory(&command.directory);
        let output = program.output()?;
        ensure!(output.status.success(), "`{}` failed:\n{}", program.shown(), output.complaint());
        *count = server.requests()? - before;
    }
    Ok((counts[0], counts[1]))
}

/// A server of the signed release.
struct Nginx {
    child: Child,
    port: u16,
    log: Utf8PathBuf,
}

impl Nginx {
    fn start(scene: &Scene, wrapper: &[String]) -> Result<Self> {
        let (at, root) = (scene.server(), scene.signed());
        fs_err::create_dir_all(&at)?;
        for _ in 0..20 {
            // It cannot choose a port itself, and somebody else may take this one in between.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let log = at.join(format!("{port}.log"));
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {at}/{kind}; "))
                .concat();
            let configuration = format!(
                "daemon off; master_process off; pid {at}/{port}.pid; events {{}}\n\
                 http {{ access_log {log}; sendfile on; {temporary}\n\
                 server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
            );
            let path = at.join(format!("{port}.conf"));
            fs_err::write(&path, configuration)?;
            let words = ["nginx", "-e", "stderr", "-p", at.as_str(), "-c", path.as_str()];
            let argv: Vec<String> = wrapper.iter().cloned().chain(words.map(str::to_owned)).collect();
            let mut server = Self { child: spawn(&argv)?, port, log };
            if server.is_up(wrapper)? {
                return Ok(server);
            }
        }
        anyhow::bail!("nginx does not start");
    }

    /// Waits until it answers; false if it has ended.
    fn is_up(&mut self, wrapper: &[String]) -> Result<bool> {
        let begun = Instant::now();
        let address = format!("http://127.0.0.1:{}/index.json", self.port);
        while begun.elapsed() < Duration::from_secs(20) {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            let answers = if wrapper.is_empty() {
                TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            } else {
                // It is in a network of its own, and only who is there can ask.
                let argv: Vec<_> =
                    wrapper.iter().map(String::as_str).chain(["curl", "-sfo", "/dev/null", &address]).collect();
                let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
                let curl = Program::of(&argv).context("there is nothing to run")?;
                curl.output().is_ok_and(|output| output.status.success())
            };
            if answers {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(false)
    }

    /// How many requests it has answered.
    fn requests(&self) -> Result<usize> {
        Ok(fs_err::read_to_string(&self.log)?.lines().count())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(argv: &[String]) -> Result<Child> {
    let (program, arguments) = argv.split_first().context("there is nothing to run")?;
    let mut command = beside(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("`{program}` does not start"))
}

/// Shows it.
pub(super) fn print(report: &Report) {
    let Report { runs, archive_bytes, link, over_link, loopback, current, .. } = report;
    println!("Install, {runs} runs, an archive of {archive_bytes} bytes");
    for (what, race) in [(*link, over_link), ("loopback", loopback)] {
        println!("  {what}");
        for measured in [&race.ours, &race.reference] {
            let cpu = measured.cpu_ms.map_or(String::new(), |cpu| format!("  {cpu:7.0} ms of processors"));
            println!("    {:<52} {:7.0} ms{cpu}", measured.name, measured.median_ms);
        }
        println!("    ratio {:.3}, at most {:.2}", race.ratio, race.limit);
    }
    println!("  where it is current {:.0} ms", current.median_ms);
    let (cold, again) = (report.cold_requests, report.current_requests);
    println!("  requests {cold} cold, at most {COLD_REQUESTS_LIMIT}; {again} where it is current, at most 1");
    let peak = [over_link, loopback].into_iter().filter_map(|race| race.ours.peak_bytes).max();
    let peak = peak.map_or("not measured: /usr/bin/time is not installed".to_owned(), megabytes);
    println!("  peak memory {peak}, less than {}", megabytes(MEMORY_LIMIT_BYTES));
    println!("  {}", if report.passed { "passed" } else { "FAILED" });
}
