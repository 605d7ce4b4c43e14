//! What is done by itself about a release that failed: what was well there last is released again.
//!
//! That a release is to be rolled back is kept in the transaction that notes its failure. The rollback becomes a
//! release of its own once the place has settled: nothing waits there, and nothing else has arrived since. Its request is
//! named after the release that failed, so that asking twice changes nothing. What is put back and fails, too, is
//! left to people.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::Manager;
use super::queue::{read_order, target};
use super::ruling;
use crate::model::delivery::{Actor, Granting, Order, ReleaseRequest, Selector, State, Verdict};
use crate::model::failure::Result;
use crate::model::intent::Intent;
use crate::model::policy::Failing;
use crate::model::{Code, Failure, FileName};
use crate::store::errands::{ErrandRow, NewErrand, ROLLBACK};
use crate::store::{Change, Facts, ReleaseFilter, ReleaseRow};

/// How many are looked at once.
const TOGETHER: u32 = 100;
/// How far back is looked for what was well.
const MOST_BEFORE: u32 = 100;
/// How long a place is left to settle before it is looked at again.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);

impl Manager {
    /// What has to be kept of a release that fails like this, and what causes it: nothing, where no policy cares.
    pub(super) async fn recovery(&self, order: &Order, failing: Failing) -> Result<Option<(String, NewErrand)>> {
        if order.actor.is_automation && matches!(order.intent, Intent::Rollback { .. }) {
            return Ok(None);
        }
        let document = self.registry().store.policies(order.service.as_str()).await?;
        let policies = ruling::policies(self.plan(), &order.service, document.as_deref())?;
        let Ok(environment) = self.plan().environment(&order.environment) else { return Ok(None) };
        if policies.recovery(&order.environment, failing).is_none() {
            return Ok(None);
        }
        let errand = NewErrand {
            kind: ROLLBACK,
            deployer: environment.deployer.clone(),
            target: target(order),
            subject: order.id.clone(),
            branch: String::new(),
        };
        Ok(Some((format!("rollback/{}", order.id), errand)))
    }

    /// Asks for the rollbacks that policies want, in every place that has settled.
    pub async fn roll_back_by_itself(&self) -> Result<()> {
        let now = self.now();
        for errand in self.registry().store.rollbacks(now, TOGETHER).await? {
            let said = match self.roll_back(&errand).await {
                Ok(said) => said,
                Err(failure) if failure.code() == Code::ReleaseUnfinished => None,
                Err(failure) => {
                    tracing::warn!(errand = errand.cause, cause = failure.chain().join(": "), "no rollback yet");
                    None
                }
            };
            if let Some(said) = said {
                self.registry().store.end_errand(&errand, false, &ended(&errand, &said, now)).await?;
            } else {
                let later = |_: &ErrandRow| now.saturating_add(PAUSE).unwrap_or(Timestamp::MAX);
                self.registry().store.try_errands(std::slice::from_ref(&errand), later).await?;
            }
        }
        Ok(())
    }

    /// Asks for one, and tells what came of that; nothing, while the place has not settled.
    async fn roll_back(&self, errand: &ErrandRow) -> Result<Option<String>> {
        let there = self.pushed_there(errand).await?;
        let failed = match there.first() {
            Some((row, order)) if order.id == errand.subject && row.state == State::Failed.as_str() => order,
            _ => return Ok(Some("something else was released meanwhile".to_owned())),
        };
        if !is_settled(failed, &self.registry().store.facts(&target(failed)).await?) {
            return Ok(None);
        }
        let Some(artifact) = self.well_before(&there).await? else {
            return Ok(Some("there is nothing to go back to".to_owned()));
        };
        let request = ReleaseRequest {
            service: failed.service.clone(),
            namespace: Some(failed.namespace.clone()),
            environments: vec![failed.environment.clone()],
            what: Selector::Rollback { artifact: Some(artifact) },
            override_reason: None,
            person: None,
            dry_run: false,
        };
        match self.request(&request, &by_itself(&failed.environment), Some(&failed.id)).await {
            Ok(granted) => Ok(Some(granted.results.first().map(told).unwrap_or_default())),
            // Somebody asked for it before, and what there was to go back to is another one by now.
            Err(failure) if failure.code() == Code::KeyReused => Ok(Some("it was released before".to_owned())),
            Err(failure) => Err(failure),
        }
    }

    /// What has reached the place, the last one first.
    async fn pushed_there(&self, errand: &ErrandRow) -> Result<Vec<(ReleaseRow, Order)>> {
        let filter = ReleaseFilter {
            services: Some(vec![errand.service.clone()]),
            environment: Some(errand.environment.clone()),
            namespace: Some(errand.namespace.clone()),
            was_pushed: true,
            most: MOST_BEFORE,
            ..ReleaseFilter::default()
        };
        let rows = self.registry().store.releases(&filter).await?;
        rows.into_iter().map(|row| read_order(&row).map(|order| (row, order))).collect()
    }

    /// The last artifact that was well in the place, and of which nothing worse is known since.
    async fn well_before(&self, there: &[(ReleaseRow, Order)]) -> Result<Option<FileName>> {
        let mut bad = BTreeSet::new();
        for (row, order) in there {
            if row.state == State::Failed.as_str() || row.state == State::RolledBack.as_str() {
                bad.insert(&order.artifact);
            } else if !bad.contains(&order.artifact) {
                let steps = self.registry().store.steps(row.sequence).await?;
                let was_healthy = steps.iter().any(|step| step.state == State::Healthy.as_str());
                if was_healthy || !self.plan().is_observed(&order.environment) {
                    return Ok(Some(order.artifact.clone()));
                }
            }
        }
        Ok(None)
    }
}

/// Whether a place has nothing, and nothing on its way: then what failed there is what there is to do something about.
pub(super) fn is_settled(order: &Order, facts: &Facts) -> bool {
    facts.waiting.is_empty() && ruling::live_in(facts, &target(order)).is_none()
}

/// Why a rollback by itself is not one now.
pub(super) fn not_settled(order: &Order) -> Failure {
    Failure::new(Code::ReleaseUnfinished, format!("another release to `{}` is on its way", order.environment))
}

fn by_itself(environment: &FileName) -> Actor {
    let policy = format!("auto-rollback-{environment}");
    Actor {
        subject: format!("policy:{policy}"),
        name: policy,
        email: String::new(),
        is_automation: true,
        groups: [].into(),
        roles: [].into(),
        on_behalf_of: None,
    }
}

fn told(granting: &Granting) -> String {
    let release = granting.release.as_deref().unwrap_or_default();
    let artifact = granting.artifact.as_ref().map_or("nothing", FileName::as_str);
    match granting.result {
        Verdict::Refused => format!("refused: {}", granting.reason.as_deref().unwrap_or_default()),
        _ => format!("{artifact} is released again by {release}"),
    }
}

fn ended(errand: &ErrandRow, said: &str, at: Timestamp) -> Change {
    let ErrandRow { service, namespace, environment, subject, .. } = errand;
    Change {
        at,
        subject: format!("policy:auto-rollback-{environment}"),
        verb: "release.recover",
        object: format!("{environment}/{namespace}/{service}"),
        sha256: None,
        note: Some(format!("{subject} failed; {said}")),
    }
}
