//! One release at a time: over a slow link, and with strangers who push to the same branch.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use consign::manager::deployer::git::{ConfigRepository, Landing};
use consign::model::{Code, Failure};
use serde::Serialize;

use super::scene::{Scene, git, land};
use super::timed;
use crate::bench::beside::beside;
use crate::bench::link::{Shape, relay};

/// How many releases are made one after the other.
const RELEASES: usize = 40;
/// How many round trips more than a plain push a release may take.
const ROUND_TRIPS_LIMIT: f64 = 2.0;
/// How many strangers there are, and how long they go on.
const STRANGERS: usize = 3;
const CROWD_TIME: Duration = Duration::from_secs(30);
/// How long nothing is released in between.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the slowest of a hundred releases may take meanwhile.
const CROWD_LIMIT_MS: f64 = 5000.0;
/// What a configuration repository is pushed over: 100 Mbit/s, and 50 ms there and back.
const DISTANT: Shape = Shape { bits_per_second: Some(100e6), one_way: Duration::from_millis(25), lost_percent: 0 };

/// Over the link.
#[derive(Debug, Serialize)]
pub(super) struct Alone {
    releases: usize,
    round_trip_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// `git push` of one commit that is there already, over the same link.
    push_p50_ms: f64,
    push_p99_ms: f64,
    /// By how many round trips a release takes longer than that.
    more_round_trips: f64,
}

/// With strangers.
#[derive(Debug, Serialize)]
pub(super) struct Crowd {
    releases: usize,
    strangers_pushes: usize,
    p50_ms: f64,
    p99_ms: f64,
    /// Commits that somebody was told had arrived, and that are not there.
    lost: usize,
}

impl Alone {
    pub(super) fn is_kept(&self) -> bool {
        self.more_round_trips <= ROUND_TRIPS_LIMIT
    }
}

impl Crowd {
    pub(super) fn is_kept(&self) -> bool {
        self.p99_ms < CROWD_LIMIT_MS && self.lost == 0
    }
}

/// Releases over git's own protocol, through a relay in this process that is as slow as a link with 50 ms
/// there and back.
pub(super) fn alone(scene: &Scene) -> Result<Alone> {
    let remote = scene.remote("link")?;
    let daemon = Daemon::start(scene.path())?;
    let address = format!("git://127.0.0.1:{}/link.git", relay(daemon.port, DISTANT)?);
    let mut repository = scene.copy("link", &address)?;
    let mut ours = Vec::new();
    for (number, landing) in scene.landings("link", &scene.first(RELEASES)).into_iter().enumerate() {
        // The first finds out where the remote is.
        let time = timed(|| land(&mut repository, &[landing]))?;
        if number > 0 {
            ours.push(time);
        }
    }
    let work = scene.path().join("link-work");
    git(scene.path(), &["clone", "--quiet", remote.as_str(), work.as_str()])?;
    let mut pushes = Vec::new();
    for number in 0..RELEASES {
        git(&work, &["commit", "--quiet", "--allow-empty", "-m", &format!("plain {number}")])?;
        pushes.push(timed(|| git(&work, &["push", "--quiet", &address, "HEAD:main"]).map(drop))?);
    }
    let round_trip_ms = DISTANT.round_trip().as_secs_f64() * 1000.0;
    let (p50_ms, push_p50_ms) = (percentile(&mut ours, 50), percentile(&mut pushes, 50));
    Ok(Alone {
        releases: ours.len(),
        round_trip_ms,
        p50_ms,
        p99_ms: percentile(&mut ours, 99),
        push_p50_ms,
        push_p99_ms: percentile(&mut pushes, 99),
        more_round_trips: (p50_ms - push_p50_ms) / round_trip_ms,
    })
}

/// Releases one after the other, while strangers push once a second each.
pub(super) fn crowd(scene: &Scene) -> Result<Crowd> {
    let remote = scene.remote("crowd")?;
    let mut repository = scene.copy("crowd", remote.as_str())?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let strangers: Vec<_> = (0..STRANGERS)
            .map(|number| {
                let (remote, is_over) = (&remote, &is_over);
                scope.spawn(move || stranger(scene, remote, number, is_over))
            })
            .collect();
        let (begun, mut times) = (Instant::now(), Vec::new());
        let mut turn = 0;
        let released = loop {
            if begun.elapsed() >= CROWD_TIME {
                break Ok(());
            }
            let landings = scene.landings(&format!("crowd-{turn}"), &[turn % 100]);
            match timed(|| land_at_last(&mut repository, &landings)) {
                Ok(time) => times.push(time),
                Err(error) => break Err(error),
            }
            turn += 1;
            // Without a pause the strangers would never have their turn.
            std::thread::sleep(PAUSE);
        };
        is_over.store(true, Ordering::SeqCst);
        let mut strangers_pushes = 0;
        for stranger in strangers {
            strangers_pushes += stranger.join().map_err(|_| anyhow::anyhow!("a stranger panicked"))??;
        }
        released?;
        let count = git(&remote, &["rev-list", "--count", "main"])?.parse::<usize>()? - 1;
        let lost = (times.len() + strangers_pushes).saturating_sub(count);
        let (p50_ms, p99_ms) = (percentile(&mut times, 50), percentile(&mut times, 99));
        Ok(Crowd { releases: times.len(), strangers_pushes, p50_ms, p99_ms, lost })
    })
}

/// Lands, and where others were faster all the time, once more, as the queue does; that counts as time.
fn land_at_last(repository: &mut ConfigRepository, landings: &[Landing]) -> Result<()> {
    let begun = Instant::now();
    loop {
        match land(repository, landings) {
            Err(error) if begun.elapsed() < CROWD_TIME && is_race(&error) => {}
            landed => return landed,
        }
    }
}

fn is_race(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code() == Code::PushRejected)
}

/// Pushes once a second what nobody else touches, as people do: again after every rejection.
fn stranger(scene: &Scene, remote: &Utf8Path, number: usize, is_over: &AtomicBool) -> Result<usize> {
    let work = scene.path().join(format!("stranger-{number}"));
    git(scene.path(), &["clone", "--quiet", "--no-checkout", remote.as_str(), work.as_str()])?;
    let mut pushed = 0;
    while !is_over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        loop {
            git(&work, &["fetch", "--quiet", "origin", "main"])?;
            let tree = git(&work, &["rev-parse", "FETCH_HEAD^{tree}"])?;
            let message = format!("stranger {number} {pushed}");
            let commit = git(&work, &["commit-tree", &tree, "-p", "FETCH_HEAD", "-m", &message])?;
            if git(&work, &["push", "--quiet", "origin", &format!("{commit}:refs/heads/main")]).is_ok() {
                pushed += 1;
                break;
            }
            if is_over.load(Ordering::SeqCst) {
                return Ok(pushed);
            }
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
    }
    Ok(pushed)
}

/// The time that so many of a hundred do not exceed.
fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or(f64::NAN)
}

/// `git daemon` with everything below a directory.
struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    fn start(base: &Utf8Path) -> Result<Self> {
        for _ in 0..20 {
            // It cannot choose a port itself, and somebody else may take this one in between.
            let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            // The program itself: git would start it as one more process, and outlive it or be outlived.
            let programs = git(base, &["--exec-path"])?;
            let mut command = beside(&format!("{programs}/git-daemon"));
            command.args(["--export-all", "--enable=receive-pack", "--reuseaddr", "--listen=127.0.0.1"]);
            command.args([format!("--port={port}"), format!("--base-path={base}")]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut daemon = Self { child: command.spawn().context("`git daemon` does not start")?, port };
            if daemon.is_up()? {
                return Ok(daemon);
            }
        }
        anyhow::bail!("`git daemon` does not start");
    }

    fn is_up(&mut self) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        ensure!(false, "`git daemon` does not answer");
        Ok(false)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Shows it.
pub(super) fn print(alone: &Alone, crowd: &Crowd) {
    println!(
        "  one at a time over git:// through a relay with {:.0} ms there and back, {} releases",
        alone.round_trip_ms, alone.releases
    );
    println!("    consign             p50 {:7.0} ms, p99 {:7.0} ms", alone.p50_ms, alone.p99_ms);
    println!("    git push alone      p50 {:7.0} ms, p99 {:7.0} ms", alone.push_p50_ms, alone.push_p99_ms);
    println!("    {:.2} round trips more, at most {ROUND_TRIPS_LIMIT:.0}", alone.more_round_trips);
    println!(
        "  {STRANGERS} strangers, {} pushes of theirs: {} releases, p50 {:.0} ms, p99 {:.0} ms, less than {CROWD_LIMIT_MS:.0}",
        crowd.strangers_pushes, crowd.releases, crowd.p50_ms, crowd.p99_ms
    );
    println!("    {} commits lost", crowd.lost);
}
