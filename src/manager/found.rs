//! What stands in configuration repositories against what this server has released there, and what stood there before.
//!
//! The main items are [`Manager::compare`] and [`Manager::past`]. What this server has released is told by its own rows;
//! what the repository says counts where there are none, and where somebody else has changed something since.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Manager;
use super::deployer::git::{Edit, History, Namespaces, Place as There, Query, Released, Since};
use super::views::Places;
use crate::model::FileName;
use crate::model::artifact::{Artifact, Person, import};
use crate::model::delivery::{Place, Release};
use crate::model::failure::Result;
use crate::model::found::{Difference, Found, Past, PastArtifact, PastArtifacts, PastRelease, Repository};
use crate::store::ReleaseFilter;

/// How far back it is looked for artifacts in each environment.
const RELEASES_LOOKED_AT: usize = 200;

/// One place that is not as this server's last release has left it, as far as git tells.
struct Sighting {
    place: There,
    /// The record that stands there.
    artifact_json: Option<Vec<u8>>,
    /// The last release that the history has of it.
    latest: Option<Released>,
    since: Since,
    /// The last commit that changed it, where that may not have been a release.
    edit: Option<Edit>,
}

impl Manager {
    /// Notes in every place what stands there, where this server has not brought it.
    pub(super) async fn compare(&self, kept: &mut BTreeMap<FileName, Places>) -> Result<Vec<Repository>> {
        let mut repositories = Vec::new();
        let pushed = kept.values().flat_map(BTreeMap::values).filter_map(|place| place.live.as_ref()?.pushed_at).max();
        for deployer in self.plan().deployers().keys() {
            let Some(mut sight) = self.sight(deployer, pushed).await else { continue };
            let services: BTreeSet<_> = kept.keys().map(ToString::to_string).collect();
            let live: Vec<_> = kept
                .values()
                .flat_map(BTreeMap::values)
                .filter(|place| self.is_of(&place.environment, deployer))
                .filter_map(|place| place.live.as_ref())
                .map(|live| (there(live), live.commit.clone().unwrap_or_default()))
                .collect();
            let sightings = self.ask(&mut sight, move |history| survey(history, &services, live)).await;
            for sighting in sightings {
                let names = (sighting.place.environment.parse(), sighting.place.namespace.parse());
                let (Ok(environment), Ok(namespace)) = names else { continue };
                let Some(places) = kept.get_mut(sighting.place.service.as_str()) else { continue };
                if !self.is_of(&environment, deployer) {
                    continue;
                }
                let known =
                    places.values().find(|place| place.environment == environment && place.namespace == namespace);
                if let Some(found) = self.judge(&sighting, known, sight.repository.fetched_at).await? {
                    self.place(places, &environment, &namespace).found = Some(found);
                }
            }
            repositories.push(sight.repository);
        }
        Ok(repositories)
    }

    /// The services that configuration repositories have something of.
    pub(super) async fn found_services(&self) -> BTreeSet<FileName> {
        let mut services = BTreeSet::new();
        for deployer in self.plan().deployers().keys() {
            let Some(mut sight) = self.sight(deployer, None).await else { continue };
            let names = self.ask(&mut sight, History::services).await;
            services.extend(names.iter().filter_map(|name| name.parse::<FileName>().ok()));
        }
        services
    }

    /// What a service had in an environment, the last one first: of this server's releases and of all others that the
    /// history knows.
    pub async fn past(
        &self,
        service: &FileName,
        environment: &FileName,
        namespace: Option<&FileName>,
        skip: usize,
        count: usize,
    ) -> Result<Past> {
        let known = self.plan().environments().iter();
        let known = known.map(|known| &known.name).find(|known| is_same(known.as_str(), environment.as_str()));
        let environment = known.unwrap_or(environment).clone();
        let most = skip.saturating_add(count);
        let filter = ReleaseFilter {
            services: Some(vec![service.to_string()]),
            environment: Some(environment.to_string()),
            namespace: namespace.map(ToString::to_string),
            was_pushed: true,
            most: u32::try_from(most).unwrap_or(u32::MAX),
            ..ReleaseFilter::default()
        };
        let (own, _) = self.releases(&filter).await?;
        let (mut entries, mut repositories) = (Vec::new(), Vec::new());
        let pushed = own.iter().filter_map(|release| release.pushed_at).max();
        for deployer in self.plan().deployers().keys().filter(|deployer| self.is_of(&environment, deployer)) {
            let Some(mut sight) = self.sight(deployer, pushed).await else { continue };
            let (service, environment) = (service.to_string(), environment.to_string());
            let namespace = namespace.map(ToString::to_string);
            let found = self.ask(&mut sight, move |history| {
                let namespace = namespace.as_deref();
                let query = Query { environment: &environment, service: &service, namespace, skip: 0, count: most };
                history.releases(&query)
            });
            entries.extend(found.await);
            repositories.push(sight.repository);
        }
        let mut releases = self.joined(own, entries).await?;
        releases.drain(..skip.min(releases.len()));
        releases.truncate(count);
        for (index, release) in releases.iter_mut().enumerate() {
            release.index = u32::try_from(skip.saturating_add(index)).unwrap_or(u32::MAX);
        }
        Ok(Past { service: service.clone(), environment, releases, repositories })
    }

    /// The artifacts of a service, or of one of its branches, that histories have the records of.
    pub async fn past_artifacts(&self, service: &FileName, branch: Option<&str>, most: usize) -> Result<PastArtifacts> {
        let (mut artifacts, mut repositories) = (BTreeMap::<String, PastArtifact>::new(), Vec::new());
        for deployer in self.plan().deployers().keys() {
            let Some(mut sight) = self.sight(deployer, None).await else { continue };
            let service = service.to_string();
            let found = self.ask(&mut sight, move |history| released(history, &service)).await;
            for (record, commit, released_at) in found {
                let is_meant = branch.is_none_or(|branch| record.source.branch.as_deref() == Some(branch));
                let artifact = PastArtifact { record, commit, released_at };
                if is_meant {
                    let kept = artifacts.entry(artifact.record.id.to_string()).or_insert_with(|| artifact.clone());
                    if artifact.released_at < kept.released_at {
                        *kept = artifact;
                    }
                }
            }
            repositories.push(sight.repository);
        }
        let mut artifacts: Vec<_> = artifacts.into_values().collect();
        artifacts.sort_by_key(|one| std::cmp::Reverse(one.record.ci.end.unwrap_or(one.released_at)));
        artifacts.truncate(most);
        Ok(PastArtifacts { artifacts, repositories })
    }

    /// What is to be said of a place; nothing, where it is as this server has left it, or nobody can know yet.
    async fn judge(
        &self,
        sighting: &Sighting,
        known: Option<&Place>,
        fetched_at: Option<Timestamp>,
    ) -> Result<Option<Found>> {
        let live = known.and_then(|place| place.live.as_ref());
        let artifact = sighting.artifact_json.as_deref().map(|bytes| id_of(bytes, sighting.latest.as_ref()));
        let is_told = |live: &Release| artifact.as_deref() == Some(live.order.artifact.as_str());
        // A release that the copy does not know yet is not one that somebody has taken away.
        let is_behind = |live: &Release| fetched_at.is_none_or(|at| live.pushed_at.is_none_or(|pushed| at < pushed));
        let difference = match (live, &artifact) {
            (None, None) => return Ok(None),
            (Some(live), _) if sighting.since == Since::Unknown && (is_behind(live) || is_told(live)) => {
                return Ok(None);
            }
            (Some(_), None) => Difference::Removed,
            (None, Some(_)) => Difference::Elsewhere,
            (Some(live), Some(_)) if is_told(live) => Difference::Edited,
            (Some(_), Some(_)) => Difference::Replaced,
        };
        let latest = sighting.latest.as_ref().filter(|_| difference != Difference::Removed);
        let is_last = |latest: &Released| {
            live.is_none_or(|live| live.commit.as_deref() != Some(latest.commit.to_string().as_str()))
        };
        let latest = latest.filter(|latest| is_last(latest));
        // What this server has written itself it will say itself: it failed there, or is about to be noted.
        if let Some(latest) = latest
            && self.own(latest).await?.is_some()
        {
            return Ok(None);
        }
        let edit = sighting.edit.as_ref().filter(|_| latest.is_none());
        let record = sighting.artifact_json.as_deref().and_then(|bytes| import::read(bytes, None).ok());
        Ok(Some(Found {
            difference,
            artifact,
            commit: latest.map(|latest| latest.commit.to_string()).or_else(|| edit.map(|edit| edit.commit.to_string())),
            at: latest.map(|latest| latest.at).or_else(|| edit.map(|edit| edit.at)),
            by: latest.map(|latest| latest.record.released_by.clone()).or_else(|| edit.map(|edit| edit.author.clone())),
            intent: latest.map(|latest| latest.record.intent.clone()),
            message: record.and_then(|record| record.source.message?.lines().next().map(str::to_owned)),
        }))
    }

    /// This server's own releases with those of the history, in its order.
    async fn joined(&self, own: Vec<Release>, entries: Vec<Released>) -> Result<Vec<PastRelease>> {
        let mut left: Vec<Option<Release>> = own.into_iter().map(Some).collect();
        let mut joined = Vec::new();
        for entry in entries {
            let is_it = |release: &Release| Some(release.order.id.as_str()) == entry.release_id.as_deref();
            let kept = left.iter_mut().find(|kept| kept.as_ref().is_some_and(is_it)).and_then(Option::take);
            let release = match kept {
                Some(release) => Some(release),
                None => self.own(&entry).await?,
            };
            joined.push(of_history(entry, release));
        }
        // What was written without a commit of its own stands where its time is.
        for release in left.into_iter().flatten() {
            let at = release.pushed_at.unwrap_or(release.order.requested_at);
            let number = joined.iter().position(|other| other.released_at <= at).unwrap_or(joined.len());
            joined.insert(number, of_rows(release, at));
        }
        Ok(joined)
    }

    /// The release of this server that a commit says it is, if it is one.
    async fn own(&self, released: &Released) -> Result<Option<Release>> {
        let Some(id) = &released.release_id else { return Ok(None) };
        let Some(row) = self.registry().store.release(id).await? else { return Ok(None) };
        let release = self.shown(row)?;
        let order = &release.order;
        let is_it = released.record.concerns(order.environment.as_str(), order.service.as_str());
        // Names in messages are anybody's; the commit is not.
        let commit = released.commit.to_string();
        Ok(Some(release).filter(|release| is_it && release.commit.as_ref().is_none_or(|known| *known == commit)))
    }

    /// Whether an environment is changed by a deployer, or could be: nobody has said of it how it is.
    fn is_of(&self, environment: &FileName, deployer: &str) -> bool {
        self.plan().environment(environment).map_or(true, |known| known.deployer == deployer)
    }
}

/// What git tells of places: of all where these services stand, and of those where this server's last releases are, that
/// are as these commits have left them.
fn survey(history: &History, services: &BTreeSet<String>, live: Vec<(There, String)>) -> Result<Vec<Sighting>> {
    let mut standing: BTreeMap<_, _> = history
        .standings(&|name| services.contains(name), Namespaces::Every)?
        .into_iter()
        .map(|standing| (standing.place, standing.artifact_json))
        .collect();
    let since = history.since(&live)?;
    let live: BTreeMap<_, _> =
        live.into_iter().zip(since).map(|((place, commit), since)| (place, (commit, since))).collect();
    let places: BTreeSet<_> = standing.keys().chain(live.keys()).cloned().collect();
    let is_left = |place: &There| live.get(place).is_none_or(|(_, since)| *since != Since::Same);
    let places: Vec<_> = places.into_iter().filter(is_left).collect();
    let latest = history.latest(&places)?;
    let mut sightings = Vec::new();
    for (place, latest) in places.into_iter().zip(latest) {
        let artifact_json = standing.remove(&place);
        let (commit, since) = live.get(&place).map_or((None, Since::Unknown), |(commit, since)| (Some(commit), *since));
        let edit = match commit {
            Some(commit) if since == Since::Changed => history.last_edit(&place, commit)?,
            _ => None,
        };
        sightings.push(Sighting { place, artifact_json, latest, since, edit });
    }
    Ok(sightings)
}

/// The records of what was released of a service, each with the commit and the time.
fn released(history: &History, service: &str) -> Result<Vec<(Artifact, String, Timestamp)>> {
    let mut found = Vec::new();
    for environment in history.environments_of(service)? {
        let query = Query { environment: &environment, service, namespace: None, skip: 0, count: RELEASES_LOOKED_AT };
        for released in history.releases(&query)? {
            if let Some(record) = released.artifact() {
                found.push((record, released.commit.to_string(), released.at));
            }
        }
    }
    Ok(found)
}

/// The id in a record, also in one that says more than is known here; that of the last release, where it has none.
fn id_of(artifact_json: &[u8], latest: Option<&Released>) -> String {
    let record: Option<serde_json::Value> = serde_json::from_slice(artifact_json).ok();
    let id = record.as_ref().and_then(|record| record.get("id")?.as_str()).filter(|id| !id.is_empty());
    let latest = || latest.map(|latest| latest.record.artifact_id.as_str());
    id.or_else(latest).unwrap_or("(unreadable)").to_owned()
}

fn of_history(entry: Released, release: Option<Release>) -> PastRelease {
    let record = entry.artifact().map(Box::new);
    PastRelease {
        index: 0,
        artifact: entry.record.artifact_id,
        environment: entry.record.environment,
        namespace: entry.namespace,
        released_at: entry.at,
        released_by: entry.record.released_by,
        intent: entry.record.intent,
        commit: Some(entry.commit.to_string()),
        record,
        release: release.map(Box::new),
    }
}

fn of_rows(release: Release, at: Timestamp) -> PastRelease {
    let order = &release.order;
    PastRelease {
        index: 0,
        artifact: order.artifact.to_string(),
        environment: order.environment.to_string(),
        namespace: Some(order.namespace.to_string()),
        released_at: at,
        released_by: Person { name: order.actor.name.clone(), email: order.actor.email.clone() },
        intent: order.intent.clone(),
        commit: release.commit.clone(),
        record: None,
        release: Some(Box::new(release)),
    }
}

/// Where a release went.
fn there(release: &Release) -> There {
    There {
        environment: release.order.environment.to_string(),
        namespace: release.order.namespace.to_string(),
        service: release.order.service.to_string(),
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
