//! How the cost of a release grows with the repository, beside `git push` of the very same commits.
//!
//! The main item is [`measure`]. All sizes are measured in turns, forwards and backwards, so that whatever the
//! machine does meanwhile meets all of them. Before git's receiving side takes a push it goes through all directories
//! of what it has, and through the parents of everything that is new: that is the floor, whoever pushes, and what
//! consign adds to it must not grow.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::scene::{Layout, Scene, git, land};
use super::{BATCH, SIZES, timed};
use crate::bench::measure::median;

/// How much more a release may cost in the largest repository than in the smallest, both beside git's own push.
const GROWTH_LIMIT: f64 = 1.2;

/// Repositories of all sizes, with services spread over namespaces.
#[derive(Debug, Serialize)]
pub(super) struct Growth {
    sizes: Vec<Size>,
    /// The median of the largest repository's time over that of the smallest, run by run.
    batch: f64,
    /// The same of `git push` alone with the commits of the batch.
    push: f64,
    /// The same of the one divided by the other.
    beside_push: f64,
}

/// A repository of one size, run by run.
#[derive(Debug, Serialize)]
struct Size {
    services: usize,
    /// A batch, push included.
    batch_ms: Vec<f64>,
    /// `git push` of the commits of the batch into another remote.
    push_ms: Vec<f64>,
}

impl Growth {
    pub(super) fn is_kept(&self) -> bool {
        self.beside_push <= GROWTH_LIMIT
    }
}

/// The same batch into repositories of all sizes.
pub(super) fn measure(runs: usize) -> Result<Growth> {
    let mut sizes = Vec::new();
    for services in SIZES {
        let size = Size { services, batch_ms: Vec::new(), push_ms: Vec::new() };
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
    let push = growth(|size| size.push_ms.clone());
    let beside_push = growth(Size::beside_push);
    Ok(Growth { sizes, batch, push, beside_push })
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
        self.push_ms.push(timed(|| git(&copy, &["push", "--quiet", another.as_str(), &commits]).map(drop))?);
        [remote, another, copy].iter().try_for_each(|done| Ok(fs_err::remove_dir_all(done)?))
    }

    /// How many times as long as `git push` alone a batch takes.
    fn beside_push(&self) -> Vec<f64> {
        self.batch_ms.iter().zip(&self.push_ms).map(|(batch, push)| batch / push).collect()
    }
}

/// Shows it.
pub(super) fn print(growth: &Growth) {
    for size in &growth.sizes {
        let [batch, push] = [&size.batch_ms, &size.push_ms].map(|times| one(times));
        println!("  {:>6} services spread over namespaces, a batch of {BATCH}", size.services);
        println!("    consign             {batch:7.0} ms");
        println!("    git push alone      {push:7.0} ms");
    }
    println!("  the largest against the smallest: consign {:.3}, git push alone {:.3}", growth.batch, growth.push);
    println!("    beside each other {:.3}, at most {GROWTH_LIMIT:.2}", growth.beside_push);
}

fn one(times: &[f64]) -> f64 {
    median(times.iter().copied())
}
