//! Releases as people see them: one, lists of them, and what a service has where.

use std::collections::BTreeMap;

use super::Manager;
use super::queue::read_order;
use crate::model::delivery::{Hold, Place, Release, State, Status, Step};
use crate::model::failure::Result;
use crate::model::policy::Decision;
use crate::model::{Code, Failure, FileName};
use crate::store::{HoldRow, ReleaseFilter, ReleaseRow};

impl Manager {
    /// One release with every state that it had, if it is there.
    pub async fn release(&self, id: &str) -> Result<Option<Release>> {
        let Some(row) = self.registry().store.release(id).await? else { return Ok(None) };
        let sequence = row.sequence;
        let mut release = self.shown(row)?;
        for step in self.registry().store.steps(sequence).await? {
            release.steps.push(Step { state: state(&step.state)?, at: step.at, note: step.note });
        }
        Ok(Some(release))
    }

    /// The releases that a filter lets through, and, where there are more, the place of the last one in the
    /// order of all changes.
    pub async fn releases(&self, filter: &ReleaseFilter) -> Result<(Vec<Release>, Option<u64>)> {
        // One more than is shown tells whether there is another one.
        let more = ReleaseFilter { most: filter.most.saturating_add(1), ..filter.clone() };
        let mut rows = self.registry().store.releases(&more).await?;
        let has_more = rows.len() > filter.most as usize;
        rows.truncate(filter.most as usize);
        let last = rows.last().map(|row| row.sequence).filter(|_| has_more);
        Ok((rows.into_iter().map(|row| self.shown(row)).collect::<Result<_>>()?, last))
    }

    /// What a service has, and what is on its way, in every place or in those of one namespace.
    pub async fn status(&self, service: &FileName, namespace: Option<&FileName>) -> Result<Status> {
        let rows = self.registry().store.places(service.as_str()).await?;
        let holds = self.registry().store.holds(service.as_str()).await?;
        let mut places: BTreeMap<(usize, FileName, FileName), Place> = BTreeMap::new();
        let order = |environment: &FileName| {
            let known = self.plan().environments().iter().position(|known| known.name == *environment);
            known.unwrap_or(usize::MAX)
        };
        let mut place = |environment: &FileName, namespace: &FileName, change: &mut dyn FnMut(&mut Place)| {
            let key = (order(environment), environment.clone(), namespace.clone());
            change(places.entry(key).or_insert_with(|| Place {
                environment: environment.clone(),
                namespace: namespace.clone(),
                live: None,
                waiting: Vec::new(),
                hold: None,
            }));
        };
        for (_, row) in rows {
            let release = self.shown(row)?;
            let (environment, namespace) = (release.order.environment.clone(), release.order.namespace.clone());
            let mut release = Some(release);
            place(&environment, &namespace, &mut |place| {
                let Some(release) = release.take() else { return };
                // What failed there is there.
                if release.state.is_waiting() {
                    place.waiting.push(release);
                } else {
                    place.live = Some(release);
                }
            });
        }
        for row in holds {
            let hold = hold(row)?;
            place(&hold.environment.clone(), &hold.namespace.clone(), &mut |place| place.hold = Some(hold.clone()));
        }
        let is_meant = |place: &Place| namespace.is_none_or(|namespace| place.namespace == *namespace);
        Ok(Status { service: service.clone(), places: places.into_values().filter(is_meant).collect() })
    }

    /// A row as people see it.
    pub(super) fn shown(&self, row: ReleaseRow) -> Result<Release> {
        let (order, state) = (read_order(&row)?, state(&row.state)?);
        Ok(Release {
            is_end: state.is_end(self.plan().is_observed(&order.environment)),
            order,
            state,
            code: row.code,
            reason: row.reason,
            commit: row.commit,
            decision: decision(&row.decision)?,
            pushed_at: row.pushed_at,
            ended_at: row.ended_at,
            steps: Vec::new(),
        })
    }
}

pub(super) fn state(word: &str) -> Result<State> {
    State::parse(word).ok_or_else(|| Failure::new(Code::StoreDamaged, "a state that is kept is none"))
}

/// What the policies said; nothing where they were not asked yet.
fn decision(text: &str) -> Result<Option<Decision>> {
    if text == "{}" {
        return Ok(None);
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| Failure::new(Code::StoreDamaged, "a decision that is kept cannot be read").because(error))
}

fn hold(row: HoldRow) -> Result<Hold> {
    let name = |text: &str| {
        text.parse::<FileName>()
            .map_err(|error| Failure::new(Code::StoreDamaged, "a name that is kept cannot be one").because(error))
    };
    Ok(Hold {
        environment: name(&row.environment)?,
        namespace: name(&row.namespace)?,
        candidate: row.candidate.as_deref().map(name).transpose()?,
        reason: row.reason,
        since: row.set_at,
        by: row.set_by,
    })
}
