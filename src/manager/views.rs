//! Releases as people see them: one, lists of them, and what a service has where.

use std::collections::{BTreeMap, BTreeSet};

use super::Manager;
use super::queue::read_order;
use crate::model::delivery::{Hold, Place, Release, State, Status, Step};
use crate::model::failure::Result;
use crate::model::found::{Repository, Statuses};
use crate::model::policy::Decision;
use crate::model::{Code, Failure, FileName};
use crate::store::{HoldRow, ReleaseFilter, ReleaseRow};

/// The places of a service, in the order of the graph.
pub(super) type Places = BTreeMap<(usize, FileName, FileName), Place>;

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
        let services = BTreeSet::from([service.clone()]);
        let (mut statuses, repositories) = self.statuses(&services, namespace).await?;
        let status = statuses.pop();
        let status = status.unwrap_or_else(|| Status { service: service.clone(), places: Vec::new(), repositories });
        Ok(status)
    }

    /// The same for every service that is somewhere and may be seen, in the order of their names: as many as are wanted,
    /// from the one after a name on.
    pub async fn every_status(
        &self,
        is_seen: &(dyn Fn(&FileName) -> bool + Sync),
        after: Option<&FileName>,
        most: usize,
    ) -> Result<Statuses> {
        let mut services = BTreeSet::new();
        for service in self.registry().store.placed_services().await? {
            services.insert(service.parse::<FileName>().map_err(|error| damaged().because(error))?);
        }
        services.extend(self.found_services().await);
        let mut services = services.into_iter().filter(|name| is_seen(name) && after.is_none_or(|after| name > after));
        let page: BTreeSet<_> = services.by_ref().take(most).collect();
        let next = services.next().and_then(|_| page.last().cloned());
        let (statuses, repositories) = self.statuses(&page, None).await?;
        let statuses = statuses.into_iter().map(|status| Status { repositories: Vec::new(), ..status });
        let services = statuses.filter(|status| !status.places.is_empty()).collect();
        Ok(Statuses { services, next, repositories })
    }

    /// What services have, each with everything that was looked at for it.
    async fn statuses(
        &self,
        services: &BTreeSet<FileName>,
        namespace: Option<&FileName>,
    ) -> Result<(Vec<Status>, Vec<Repository>)> {
        let mut kept = BTreeMap::new();
        for service in services {
            kept.insert(service.clone(), self.kept(service).await?);
        }
        let repositories = self.compare(&mut kept).await?;
        let is_meant = |place: &Place| namespace.is_none_or(|namespace| place.namespace == *namespace);
        let statuses = kept.into_iter().map(|(service, places)| Status {
            service,
            places: places.into_values().filter(is_meant).collect(),
            repositories: repositories.clone(),
        });
        Ok((statuses.collect(), repositories))
    }

    /// What this server knows of a service's places.
    async fn kept(&self, service: &FileName) -> Result<Places> {
        let rows = self.registry().store.places(service.as_str()).await?;
        let holds = self.registry().store.holds(service.as_str()).await?;
        let mut places = Places::new();
        for (_, row) in rows {
            let release = self.shown(row)?;
            let place = self.place(&mut places, &release.order.environment, &release.order.namespace);
            // What failed there is there.
            if release.state.is_waiting() {
                place.waiting.push(release);
            } else {
                place.live = Some(release);
            }
        }
        for row in holds {
            let hold = hold(row)?;
            let place = self.place(&mut places, &hold.environment, &hold.namespace);
            place.hold = Some(hold);
        }
        Ok(places)
    }

    /// One place among others, in the order of the graph.
    pub(super) fn place<'a>(
        &self,
        places: &'a mut Places,
        environment: &FileName,
        namespace: &FileName,
    ) -> &'a mut Place {
        let number = self.plan().environments().iter().position(|known| known.name == *environment);
        let key = (number.unwrap_or(usize::MAX), environment.clone(), namespace.clone());
        places.entry(key).or_insert_with(|| Place {
            environment: environment.clone(),
            namespace: namespace.clone(),
            live: None,
            found: None,
            waiting: Vec::new(),
            hold: None,
        })
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
    let name = |text: &str| text.parse::<FileName>().map_err(|error| damaged().because(error));
    Ok(Hold {
        environment: name(&row.environment)?,
        namespace: name(&row.namespace)?,
        candidate: row.candidate.as_deref().map(name).transpose()?,
        reason: row.reason,
        since: row.set_at,
        by: row.set_by,
    })
}

fn damaged() -> Failure {
    Failure::new(Code::StoreDamaged, "a name that is kept cannot be one")
}
