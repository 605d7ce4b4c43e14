//! What others report of environments, noted on releases.
//!
//! A report is a hint from whoever has the secret: it says that an artifact runs, or fails, somewhere. It is
//! noted on the release that is live there and of that artifact, and on no other one, so that a late word
//! about an older release changes nothing.

use std::collections::BTreeSet;

use super::Manager;
use super::auto::past_damage;
use crate::model::delivery::{Release, State};
use crate::model::failure::Result;
use crate::model::hint::{Change as RefChange, Deployed, Failing as FailingHint, Hint};
use crate::model::policy::Failing;
use crate::model::{Code, text};
use crate::store::errands::NewErrand;
use crate::store::{Change, EventRow, Next, ReleaseFilter};

/// How many releases one report can be about.
const MOST: u32 = 100;
/// How many releases of an environment are looked at for those that a commit has in it.
const MOST_WRITTEN: u32 = 2000;

/// What somebody reports of a release.
struct Seen<'a> {
    state: State,
    reason: Option<&'a str>,
    about: &'a str,
    by: &'a str,
}

impl Manager {
    /// Notes everything that was reported since the last time.
    pub async fn observe(&self) -> Result<()> {
        while let Some(event) = self.registry().store.next_event(None).await? {
            let sequence = event.sequence;
            past_damage(self.note(event).await, sequence)?;
            self.registry().store.event_handled(sequence, self.now()).await?;
        }
        Ok(())
    }

    async fn note(&self, event: EventRow) -> Result<()> {
        let Ok(hint) = serde_json::from_str::<Hint>(&event.payload) else {
            tracing::warn!(sequence = event.sequence, "a report that is kept cannot be read");
            return Ok(());
        };
        let about = hint.about();
        let mut failing = Failing::Verification;
        let (found, state, reason) = match hint {
            Hint::Deployed(Deployed { environment, namespace, artifact, available, wanted, .. }) => {
                let state = if available >= wanted { State::Healthy } else { State::Applying };
                (self.live_at(environment, namespace, artifact).await?, state, None)
            }
            Hint::PodFailed(failing) | Hint::JobFailed(failing) => {
                let reason = reason_of(&failing);
                let FailingHint { environment, namespace, artifact, .. } = failing;
                (self.live_at(environment, namespace, artifact).await?, State::Failed, Some(reason))
            }
            Hint::Flux { name, severity, reason, message, revision, environment, .. } => {
                let Some(commit) = revision.as_deref().and_then(commit_of) else { return Ok(()) };
                let found = self.reached(commit, environment).await?;
                // Where an object is named after a service it is about that one alone.
                let named: Vec<_> =
                    found.iter().filter(|release| release.order.service.as_str() == name).cloned().collect();
                let found = if named.is_empty() { found } else { named };
                match (severity.as_str(), reason.as_str()) {
                    (severity, word) if severity == "error" || word.ends_with("Failed") => {
                        failing = failing_of(word);
                        (found, State::Failed, Some(message))
                    }
                    (_, "ReconciliationSucceeded") => (found, State::Healthy, None),
                    _ => (found, State::Applying, None),
                }
            }
            Hint::Ref { repository, reference, change: RefChange::Deleted, .. } => {
                return self.branch_deleted(event.sequence, &repository, &reference).await;
            }
            Hint::Ref { .. } | Hint::Release { .. } => return Ok(()),
        };
        for release in found {
            let follows = match state {
                State::Failed => self.recovery(&release.order, failing).await?,
                _ => None,
            };
            let seen = Seen { state, reason: reason.as_deref(), about: &about, by: &event.source };
            self.note_on(&release, &seen, follows).await?;
        }
        Ok(())
    }

    async fn note_on(&self, release: &Release, seen: &Seen<'_>, follows: Option<(String, NewErrand)>) -> Result<()> {
        let Seen { state, reason, about, by } = *seen;
        // What runs as it should is not made less by a word that came late.
        if release.state == State::Healthy && state == State::Applying {
            return Ok(());
        }
        let Some(row) = self.registry().store.release(&release.order.id).await? else { return Ok(()) };
        let at = self.now();
        let next = Next {
            state,
            code: (state == State::Failed).then(|| Code::ReleaseFailed.as_str()),
            reason: reason.map(str::to_owned),
            due_at: at,
            decision: None,
            gives_way: false,
        };
        let order = &release.order;
        let change = Change {
            at,
            subject: format!("webhook:{by}"),
            verb: "release.observe",
            object: format!("{}/{}/{}", order.environment, order.namespace, order.service),
            sha256: Some(order.artifact_sha256),
            note: Some(format!("{} {state}: {about}", order.id)),
        };
        if self.registry().store.observed(row.sequence, &next, &change, follows).await? {
            match state {
                State::Healthy => self.tell(order, "healthy", None),
                State::Failed => self.tell(order, "failed", None),
                _ => {}
            }
        }
        Ok(())
    }

    async fn live_at(&self, environment: String, namespace: String, artifact: String) -> Result<Vec<Release>> {
        let filter = ReleaseFilter {
            environment: Some(environment),
            namespace: Some(namespace),
            artifact: Some(artifact),
            ..live()
        };
        Ok(self.releases(&filter).await?.0)
    }

    /// The releases that somebody who has come to a commit tells of: the one of that commit, and those of the same
    /// environment that were written before and of which nothing is known yet. Of a push with many commits
    /// nobody looks at any but the last.
    async fn reached(&self, commit: &str, environment: Option<String>) -> Result<Vec<Release>> {
        let at_commit = ReleaseFilter { commit: Some(commit.to_owned()), most: MOST, ..ReleaseFilter::default() };
        let (at_commit, _) = self.releases(&at_commit).await?;
        // What was there already when it was asked for has the commit of another one.
        let Some(written_at) = at_commit.iter().filter_map(|release| release.pushed_at).min() else {
            return self.reached_below(commit, environment).await;
        };
        let environments: BTreeSet<String> = match environment {
            Some(environment) => [environment].into(),
            None => at_commit.iter().map(|release| release.order.environment.to_string()).collect(),
        };
        let is_meant = |release: &Release| {
            let is_older = release.pushed_at.is_some_and(|at| at <= written_at);
            release.commit.as_deref() == Some(commit) || (is_older && release.state != State::Healthy)
        };
        let mut reached = Vec::new();
        for environment in environments {
            reached.extend(self.live_in(environment).await?.into_iter().filter(is_meant));
        }
        Ok(reached)
    }

    /// The releases of which nothing is known yet that a commit stands on which is none of this server's releases:
    /// the repository tells. Where nobody says which environment it is, there has to be but one.
    async fn reached_below(&self, commit: &str, environment: Option<String>) -> Result<Vec<Release>> {
        let mut reached = Vec::new();
        for deployer in self.plan().deployers().keys() {
            let environments = self.plan().environments().iter().filter(|known| known.deployer == *deployer);
            let names: Vec<_> = environments.map(|known| known.name.to_string()).collect();
            let meant = match (&environment, names.as_slice()) {
                (Some(name), names) if names.contains(name) => name.clone(),
                (None, [only]) => only.clone(),
                _ => continue,
            };
            let waiting: Vec<_> =
                self.live_in(meant).await?.into_iter().filter(|release| release.state != State::Healthy).collect();
            if waiting.is_empty() {
                continue;
            }
            let Some(mut sight) = self.sight(deployer, Some(self.now())).await else { continue };
            let commit = commit.to_owned();
            let below = self.ask(&mut sight, move |history| history.below(&commit)).await;
            reached.extend(
                waiting.into_iter().filter(|release| release.commit.as_ref().is_some_and(|one| below.contains(one))),
            );
        }
        Ok(reached)
    }

    async fn live_in(&self, environment: String) -> Result<Vec<Release>> {
        let there = ReleaseFilter { environment: Some(environment), most: MOST_WRITTEN, ..live() };
        Ok(self.releases(&there).await?.0)
    }
}

fn live() -> ReleaseFilter {
    let states = State::ALL.into_iter().filter(|state| state.is_live()).map(State::as_str);
    ReleaseFilter { states: states.collect(), most: MOST, ..ReleaseFilter::default() }
}

/// What Flux says when it has looked, and it does not run; anything else may have other causes.
fn failing_of(reason: &str) -> Failing {
    if matches!(reason, "HealthCheckFailed" | "ReconciliationFailed") { Failing::Verification } else { Failing::Error }
}

/// The commit of a revision: `main/<sha>` or `main@sha1:<sha>`.
fn commit_of(revision: &str) -> Option<&str> {
    let commit = revision.rsplit([':', '/', '@']).next().filter(|commit| commit.len() >= 40);
    commit.filter(|commit| commit.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn reason_of(failing: &FailingHint) -> String {
    let said: Vec<_> = failing
        .errors
        .iter()
        .map(|trouble| {
            let first = trouble.message.lines().last().unwrap_or_default();
            format!("{} {}: {}", trouble.name, trouble.reason, text::shown(first))
        })
        .collect();
    format!("{} fails: {}", failing.name, said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_has_its_commit_behind_the_branch() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        for revision in [format!("main/{sha}"), format!("main@sha1:{sha}"), sha.to_owned(), format!("a/b@sha1:{sha}")] {
            assert_eq!(commit_of(&revision), Some(sha), "{revision}");
        }
        for wrong in ["main", "main@sha1:", "main/xyz", ""] {
            assert_eq!(commit_of(wrong), None, "{wrong}");
        }
    }
}
