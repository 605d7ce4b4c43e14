//! Releases that land in a config repository, beside `git fast-import` and git itself.
//!
//! [`measure`] measures a batch against `git fast-import` with one push, how a release's cost grows with the
//! repository, one release at a time over a slow link, with strangers who push to the same branch, and what memory
//! a server over a large repository has while nobody asks.

mod growth;
mod idle;
mod link;
mod scene;

use std::time::Instant;

use anyhow::Result;
use camino::Utf8Path;
use serde::Serialize;

use super::measure::median;
use scene::{Layout, Scene, import, land, stream};

/// The batch.
const BATCH: usize = 1000;
/// How many services there are, where nothing else is said.
const SERVICES: usize = 1000;
/// The sizes of repositories, in services.
const SIZES: [usize; 3] = [100, 1000, 10_000];
/// The largest ratio to `git fast-import` that is accepted.
const IMPORT_LIMIT: f64 = 1.0;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    runs: usize,
    batch: Race,
    growth: growth::Growth,
    /// All services in one directory, at each size.
    flat: Vec<Race>,
    link: link::Alone,
    crowd: link::Crowd,
    idle: idle::Idle,
    passed: bool,
}

/// Ours beside `git fast-import`, push included.
#[derive(Debug, Serialize)]
struct Race {
    services: usize,
    releases: usize,
    ours_ms: Vec<f64>,
    import_ms: Vec<f64>,
    ratio: f64,
}

/// Measures, with a server that is given or built.
pub(super) fn measure(server: Option<&Utf8Path>, runs: usize) -> Result<Report> {
    let server = server.map_or_else(super::registry::build, |given| Ok(given.canonicalize_utf8()?))?;
    let batch = race(&Scene::set(SERVICES, Layout::Spread)?, BATCH, runs)?;
    let growth = growth::measure(runs)?;
    let flat = SIZES.into_iter().map(|services| race(&Scene::set(services, Layout::Flat)?, BATCH, runs));
    let flat = flat.collect::<Result<Vec<_>>>()?;
    let scene = Scene::set(SERVICES, Layout::Spread)?;
    let link = link::alone(&scene)?;
    let crowd = link::crowd(&scene)?;
    let idle = idle::measure(&server)?;
    let passed = batch.ratio <= IMPORT_LIMIT
        && growth.is_kept()
        && flat.iter().all(|race| race.ratio <= IMPORT_LIMIT)
        && link.is_kept()
        && crowd.is_kept()
        && idle.is_kept();
    Ok(Report { subject: "release", runs, batch, growth, flat, link, crowd, idle, passed })
}

impl Report {
    /// Whether every limit is kept.
    pub(super) const fn passed(&self) -> bool {
        self.passed
    }
}

/// A batch of ours and one of `git fast-import`, in turns, each into a repository of its own.
fn race(scene: &Scene, releases: usize, runs: usize) -> Result<Race> {
    let (mut ours_ms, mut import_ms) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let places = scene.first(releases);
        let landings = scene.landings(&format!("r{run}"), &places);
        let input = stream(&landings);
        let remote = scene.remote(&format!("ours-{run}"))?;
        let mut repository = scene.copy(&format!("ours-{run}"), remote.as_str())?;
        ours_ms.push(timed(|| land(&mut repository, &landings))?);
        let remote = scene.remote(&format!("import-{run}"))?;
        let copy = format!("import-{run}.copy");
        scene::git(scene.path(), &["clone", "--quiet", "--bare", "--no-local", remote.as_str(), &copy])?;
        let copy = scene.path().join(copy);
        import_ms.push(timed(|| {
            import(&copy, input)?;
            scene::git(&copy, &["push", "--quiet", remote.as_str(), "refs/heads/main"]).map(drop)
        })?);
    }
    let ratio = median(ours_ms.iter().zip(&import_ms).map(|(ours, import)| ours / import));
    Ok(Race { services: scene.services(), releases, ours_ms, import_ms, ratio })
}

fn timed(deed: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    deed()?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

fn to_float(count: usize) -> f64 {
    count as f64
}

/// Shows it.
pub(super) fn print(report: &Report) {
    println!("Release, {} runs", report.runs);
    show("spread over namespaces", &report.batch);
    growth::print(&report.growth);
    report.flat.iter().for_each(|race| show("in one directory", race));
    link::print(&report.link, &report.crowd);
    idle::print(&report.idle);
    println!("  {}", if report.passed { "passed" } else { "FAILED" });
}

fn show(what: &str, race: &Race) {
    let each = |times: &[f64]| median(times.iter().copied()) / to_float(race.releases);
    println!("  {} releases, {} services {what}", race.releases, race.services);
    println!("    consign             {:7.2} ms per release", each(&race.ours_ms));
    println!("    git fast-import     {:7.2} ms per release", each(&race.import_ms));
    println!("    ratio {:.3}, at most {IMPORT_LIMIT:.2}", race.ratio);
}
