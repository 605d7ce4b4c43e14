//! How the cost of a release grows with the repository, and how much of that is the receiving side's.
//!
//! The main item is [`measure`]. All sizes are measured in turns, forwards and backwards, so that whatever the
//! machine does meanwhile meets all of them.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::scene::{Layout, Scene, git, import, land, stream};
use super::{BATCH, SIZES, timed};
use crate::bench::measure::median;

/// How much more a release may cost in the largest repository than in the smallest.
const GROWTH_LIMIT: f64 = 1.2;

/// Repositories of all sizes, with services spread over namespaces.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    sizes: Vec<Size>,
    /// The median of the largest repository's time over that of the smallest, run by run: of a batch.
    batch: f64,
    /// The same of a batch, without what `git push` of one release takes in the same repository: before a host
    /// takes any push, it looks through all directories of what it has.
    release: f64,
    /// The same of `git push` alone with the commits of the batch.
    replay: f64,
}

/// A repository of one size, run by run.
#[derive(Debug, Serialize)]
struct Size {
    services: usize,
    /// A batch, push included.
    batch_ms: Vec<f64>,
    /// `git push` of the commits of the batch into another remote.
    replay_ms: Vec<f64>,
    /// `git push` of one release more.
    push_ms: Vec<f64>,
}

impl Growth {
    pub(super) fn is_kept(&self) -> bool {
        self.release <= GROWTH_LIMIT
    }
}

/// The same batch into repositories of all sizes.
pub(super) fn measure(runs: usize) -> Result<Growth> {
    let mut sizes = Vec::new();
    for services in SIZES {
        let size = Size { services, batch_ms: Vec::new(), replay_ms: Vec::new(), push_ms: Vec::new() };
        sizes.push((Scene::set(services, Layout::Spread)?, size));
    }
    for run in 0..runs {
        for (scene, size) in &mut sizes {
            size.measure(scene, run)?;
        }
        sizes.reverse();
    }
    let mut sizes: Vec<_> = sizes.into_iter().map(|(_, size)| size).collect();
    sizes.sort_by_key(|size| size.services);
    let (small, large) = sizes.first().zip(sizes.last()).context("there is no size")?;
    let growth = |times: fn(&Size) -> Vec<f64>| {
        median(times(large).into_iter().zip(times(small)).map(|(large, small)| large / small))
    };
    let batch = growth(|size| size.batch_ms.clone());
    let release = growth(|size| size.releases_ms());
    let replay = growth(|size| size.replay_ms.clone());
    Ok(Growth { batch, release, replay, sizes })
}

impl Size {
    fn measure(&mut self, scene: &Scene, run: usize) -> Result<()> {
        let name = format!("growth-{run}");
        let (remote, another) = (scene.remote(&name)?, scene.remote(&format!("{name}-replay"))?);
        let landings = scene.landings(&format!("g{run}"), &scene.first(BATCH));
        let mut repository = scene.copy(&name, remote.as_str())?;
        self.batch_ms.push(timed(|| land(&mut repository, &landings))?);
        let copy = scene.path().join(format!("{name}.copy"));
        let commits = format!("{}:refs/heads/main", git(&remote, &["rev-parse", "main"])?);
        self.replay_ms.push(timed(|| git(&copy, &["push", "--quiet", another.as_str(), &commits]).map(drop))?);
        let clone = scene.path().join(format!("{name}.clone"));
        git(scene.path(), &["clone", "--quiet", "--bare", "--no-local", remote.as_str(), clone.as_str()])?;
        import(&clone, stream(&scene.landings(&format!("one-{run}"), &[0])))?;
        self.push_ms.push(timed(|| git(&clone, &["push", "--quiet", remote.as_str(), "main"]).map(drop))?);
        [remote, another, copy, clone].iter().try_for_each(|done| Ok(fs_err::remove_dir_all(done)?))
    }

    /// What the releases of a batch take: all of it but the push.
    fn releases_ms(&self) -> Vec<f64> {
        self.batch_ms.iter().zip(&self.push_ms).map(|(batch, push)| batch - push).collect()
    }
}

/// Shows it.
pub(super) fn print(growth: &Growth) {
    for size in &growth.sizes {
        let [batch, replay, push] = [&size.batch_ms, &size.replay_ms, &size.push_ms].map(|times| one(times));
        println!("  {:>6} services spread over namespaces, a batch of {BATCH}", size.services);
        println!("    consign             {batch:7.0} ms, of which one push {push:.0} ms");
        println!("    git push alone      {replay:7.0} ms");
    }
    println!(
        "  the largest against the smallest: per release {:.3}, at most {GROWTH_LIMIT:.2}; with the push {:.3}; git push alone {:.3}",
        growth.release, growth.batch, growth.replay
    );
}

fn one(times: &[f64]) -> f64 {
    median(times.iter().copied())
}
