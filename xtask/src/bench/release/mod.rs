//! Releases that land in a config repository, beside `git fast-import` and git itself.
//!
//! [`run`] measures a batch against `git fast-import` with one push, how a release's cost grows with the
//! repository, one release at a time over a slow link, and with strangers who push to the same branch.

mod link;
mod scene;

use std::time::Instant;

use anyhow::Result;
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
/// How much more a release may cost in the largest repository than in the smallest.
const GROWTH_LIMIT: f64 = 1.2;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    subject: &'static str,
    runs: usize,
    batch: Race,
    sizes: Vec<Size>,
    /// The median of the largest repository's time over that of the smallest, run by run.
    growth: f64,
    link: link::Alone,
    crowd: link::Crowd,
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

/// A repository of one size.
#[derive(Debug, Serialize)]
struct Size {
    services: usize,
    /// Services spread over namespaces, per release.
    spread_ms: f64,
    /// All in one directory, against `git fast-import`.
    flat: Race,
}

/// Measures.
pub(super) fn measure(runs: usize) -> Result<Report> {
    let batch = race(&Scene::set(SERVICES, Layout::Spread)?, BATCH, runs)?;
    let spread = growth(runs)?;
    let mut sizes = Vec::new();
    for (services, times) in SIZES.into_iter().zip(&spread) {
        let flat = race(&Scene::set(services, Layout::Flat)?, BATCH, runs)?;
        sizes.push(Size { services, spread_ms: median(times.iter().copied()) / to_float(BATCH), flat });
    }
    let growth = match (spread.first(), spread.last()) {
        (Some(small), Some(large)) => median(large.iter().zip(small).map(|(large, small)| large / small)),
        _ => f64::NAN,
    };
    let scene = Scene::set(SERVICES, Layout::Spread)?;
    let link = link::alone(&scene)?;
    let crowd = link::crowd(&scene)?;
    let passed = batch.ratio <= IMPORT_LIMIT
        && growth <= GROWTH_LIMIT
        && sizes.iter().all(|size| size.flat.ratio <= IMPORT_LIMIT)
        && link.is_kept()
        && crowd.is_kept();
    Ok(Report { subject: "release", runs, batch, sizes, growth, link, crowd, passed })
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

/// The same batch into repositories of different sizes, in turns.
fn growth(runs: usize) -> Result<Vec<Vec<f64>>> {
    let scenes = SIZES.map(|services| Scene::set(services, Layout::Spread)).into_iter().collect::<Result<Vec<_>>>()?;
    let mut times = vec![Vec::new(); scenes.len()];
    for run in 0..runs {
        for (scene, times) in scenes.iter().zip(&mut times) {
            let landings = scene.landings(&format!("g{run}"), &scene.first(BATCH));
            let remote = scene.remote(&format!("growth-{run}"))?;
            let mut repository = scene.copy(&format!("growth-{run}"), remote.as_str())?;
            times.push(timed(|| land(&mut repository, &landings))?);
        }
    }
    Ok(times)
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
    for size in &report.sizes {
        println!("  {:>6} services, spread: {:.2} ms per release in a batch of {BATCH}", size.services, size.spread_ms);
        show("in one directory", &size.flat);
    }
    println!("  the largest against the smallest {:.3}, at most {GROWTH_LIMIT:.2}", report.growth);
    link::print(&report.link, &report.crowd);
    println!("  {}", if report.passed { "passed" } else { "FAILED" });
}

fn show(what: &str, race: &Race) {
    let each = |times: &[f64]| median(times.iter().copied()) / to_float(race.releases);
    println!("  {} releases, {} services {what}", race.releases, race.services);
    println!("    consign             {:7.2} ms per release", each(&race.ours_ms));
    println!("    git fast-import     {:7.2} ms per release", each(&race.import_ms));
    println!("    ratio {:.3}, at most {IMPORT_LIMIT:.2}", race.ratio);
}
