//! DORA's four numbers, computed from the steps that releases have gone.
//!
//! A deployment is a release that was written into its environment. A failure is one of those that failed after
//! that, or that was rolled back, and counts once. Lead time runs from the push of the artifact to the registry until it was
//! written; time to restore from the failure (of what was rolled back: from when it was written) until
//! the next release was written in the same place. Of several values the one in the middle is told.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Manager;
use super::queue::read_order;
use crate::model::FileName;
use crate::model::delivery::{Order, State};
use crate::model::failure::Result;
use crate::model::management::{Numbers, Report};
use crate::store::ReleaseRow;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// What was counted in one environment.
#[derive(Default)]
struct Tally {
    releases: u64,
    failures: u64,
    lead: Vec<f64>,
    restore: Vec<f64>,
}

impl Manager {
    /// How releasing went between two instants, for one service or for those that may be seen.
    pub async fn report(&self, services: Option<&[String]>, since: Timestamp, until: Timestamp) -> Result<Report> {
        let mut tallies: BTreeMap<FileName, Tally> = BTreeMap::new();
        let mut known: BTreeMap<u64, (ReleaseRow, Order)> = BTreeMap::new();
        let steps = self.registry().store.steps_between(since, until).await?;
        for step in &steps {
            if let Entry::Vacant(unknown) = known.entry(step.release) {
                let row = self.registry().store.release_of(step.release).await?;
                let order = read_order(&row)?;
                unknown.insert((row, order));
            }
        }
        // The places that failed, since when.
        let mut broken: BTreeMap<(FileName, FileName, FileName), Timestamp> = BTreeMap::new();
        let mut failed = BTreeSet::new();
        for step in &steps {
            let Some((row, order)) = known.get(&step.release) else { continue };
            if services.is_some_and(|services| !services.iter().any(|service| *service == order.service.as_str())) {
                continue;
            }
            let place = (order.service.clone(), order.namespace.clone(), order.environment.clone());
            let tally = tallies.entry(order.environment.clone()).or_default();
            match State::parse(&step.state) {
                Some(State::Pushed) => {
                    tally.releases += 1;
                    if let Some(artifact) = self.registry().find(&order.service, &order.artifact).await? {
                        tally.lead.push(seconds(artifact.created_at, step.at));
                    }
                    tally.restore.extend(broken.remove(&place).map(|since| seconds(since, step.at)));
                }
                Some(state @ (State::Failed | State::RolledBack)) => {
                    let Some(pushed_at) = row.pushed_at else { continue };
                    // What failed and is rolled back for that failed once; what was written before is in no share of now.
                    if failed.insert(step.release) && pushed_at >= since {
                        tally.failures += 1;
                    }
                    // The step of the release that takes its place comes right behind that of what is rolled back.
                    let since_when = if state == State::Failed { step.at } else { pushed_at };
                    broken.entry(place).or_insert(since_when);
                }
                _ => {}
            }
        }
        let days = seconds(since, until) / SECONDS_PER_DAY;
        let environments = tallies.into_iter().filter(|(_, tally)| tally.releases + tally.failures > 0);
        Ok(Report {
            since,
            until,
            environments: environments.map(|(name, tally)| numbers(name, tally, days)).collect(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are never so many releases")]
fn numbers(environment: FileName, tally: Tally, days: f64) -> Numbers {
    let Tally { releases, failures, lead, restore } = tally;
    Numbers {
        environment,
        releases,
        releases_per_day: if days > 0.0 { releases as f64 / days } else { 0.0 },
        lead_time_seconds: middle(lead),
        failure_rate: (releases > 0).then(|| failures as f64 / releases as f64),
        restore_seconds: middle(restore),
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// The value in the middle; of two the mean.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(f64::midpoint(*values.get(last / 2)?, *values.get(last.div_ceil(2))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_in_the_middle_is_told() {
        assert_eq!(middle(Vec::new()), None);
        assert_eq!(middle(vec![3.0]), Some(3.0));
        assert_eq!(middle(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(middle(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }
}
