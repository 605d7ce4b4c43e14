//! What is written into environments besides releases: what goes with its branch, and copies of policies.
//!
//! An errand is kept with what caused it, and waits its turn among the releases of its place, so that what was asked
//! for before it is written before, and what came later afterwards. One that was begun and of which nothing more is
//! known is begun again: the environment knows whether it was written.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::deployer::Land;
use super::deployer::git::{Change as Changed, Decision as Say, Landed, Landing, Place};
use super::plan::Deployer;
use super::{Manager, ruling};
use crate::artifacts;
use crate::model::delivery::State;
use crate::model::failure::Result;
use crate::model::policy::{Policy, older};
use crate::model::release_commit::{Message, PolicyChange};
use crate::model::{Code, Failure, FileName};
use crate::store::errands::{ErrandRow, NewErrand, POLICIES, REMOVAL};
use crate::store::{Change, Filter, Target};

/// How many are run at once.
const TOGETHER: u32 = 200;
/// How many artifacts of a branch that is gone are looked at.
const LOOKED_AT: u32 = 500;
/// The pause after the first try; it doubles, up to the longest.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(60);

impl Manager {
    /// Keeps what goes with a branch that was deleted: in each place that a policy names, of each service that has
    /// artifacts of it from this repository.
    pub(super) async fn branch_deleted(&self, event: u64, repository: &str, reference: &str) -> Result<()> {
        let Some(branch) = reference.strip_prefix("refs/heads/") else { return Ok(()) };
        let filter = Filter { branch: Some(branch.to_owned()), most: LOOKED_AT, ..Filter::default() };
        let mut seen = BTreeSet::new();
        for row in self.registry().store.artifacts(&filter).await? {
            let artifact = artifacts::read(&row)?;
            let is_from = artifact.source.repository.as_deref().is_some_and(|address| is_same(address, repository));
            if !is_from || !seen.insert((artifact.service.clone(), artifact.namespace.clone())) {
                continue;
            }
            let document = self.registry().store.policies(artifact.service.as_str()).await?;
            let policies = ruling::policies(self.plan(), &artifact.service, document.as_deref())?;
            for cleanup in policies.cleanup(branch) {
                let Ok(app) = cleanup.app else { continue };
                let Ok(environment) = self.plan().environment(cleanup.environment) else { continue };
                let app = app.filter(|app| *app != artifact.service).or_else(|| artifact.namespace.clone());
                let target = Target {
                    service: artifact.service.to_string(),
                    namespace: app.unwrap_or_else(|| environment.name.clone()).to_string(),
                    environment: environment.name.to_string(),
                    artifact: String::new(),
                };
                let Target { service, namespace, environment: name, .. } = &target;
                let cause = format!("event/{event}/{name}/{namespace}/{service}");
                let change = Change {
                    at: self.now(),
                    subject: format!("policy:{}", cleanup.standing.policy.id()),
                    verb: "release.remove",
                    object: format!("{name}/{namespace}/{service}"),
                    sha256: None,
                    note: Some(format!("the branch `{branch}` was deleted")),
                };
                let subject = format!("[{name}/{service}] remove what was released from {branch}");
                let deployer = environment.deployer.clone();
                let errand =
                    NewErrand { kind: REMOVAL, deployer, target: target.clone(), subject, branch: branch.to_owned() };
                self.registry().store.keep_errand(&cause, &errand, &change).await?;
            }
        }
        self.wake();
        Ok(())
    }

    /// What has to be written where the copies of policies are kept. Only two kinds of policies have copies.
    pub(super) fn copies(&self, service: &FileName, policy: Option<&Policy>) -> Vec<NewErrand> {
        let change = match policy {
            None => PolicyChange::Deletion,
            Some(Policy::AutoRelease(policy)) => PolicyChange::AutoRelease(policy.environment.as_str()),
            Some(Policy::BranchRestriction(policy)) => PolicyChange::BranchRestriction(policy.environment.as_str()),
            Some(_) => return Vec::new(),
        };
        let subject = change.message(service.as_str()).subject;
        let (service, nowhere) = (service.to_string(), String::new);
        let target = Target { service, namespace: nowhere(), environment: nowhere(), artifact: nowhere() };
        let deployers = self.plan().deployers().iter();
        let copied = deployers.filter(|(_, Deployer::Git(git))| git.has_policies);
        copied
            .map(|(name, _)| NewErrand {
                kind: POLICIES,
                deployer: name.clone(),
                target: target.clone(),
                subject: subject.clone(),
                branch: nowhere(),
            })
            .collect()
    }

    /// Runs the errands of a deployer whose turn has come, and says how many there were.
    pub(super) async fn run_errands(&self, deployer: &str, repository: &mut impl Land) -> Result<usize> {
        let now = self.now();
        let rows = self.registry().store.errands(deployer, now, TOGETHER).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let again_at = |row: &ErrandRow| {
            let doubled = 1_i32.checked_shl(row.attempts.min(16)).unwrap_or(i32::MAX);
            now.saturating_add(FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)).unwrap_or(Timestamp::MAX)
        };
        self.registry().store.try_errands(&rows, again_at).await?;
        let count = rows.len();
        for row in rows {
            let (landed, is_removed) = match self.errand(&row).await? {
                Some(landing) => {
                    let landings = std::slice::from_ref(&landing);
                    // The task that drives this one waits for it, and others go on meanwhile.
                    let landed = tokio::task::block_in_place(|| repository.land(landings, now, &mut |_| Say::Commit))?;
                    (landed.into_iter().next(), row.kind == REMOVAL)
                }
                None => (None, false),
            };
            if let Some(Landed::LeftOut(failure)) = &landed {
                tracing::warn!(errand = row.cause, cause = failure.chain().join(": "), "an errand cannot be run");
            }
            self.registry().store.end_errand(&row, is_removed, &ended(&row, landed.as_ref(), self.now())).await?;
        }
        Ok(count)
    }

    /// What is to be written for an errand. Nothing, where there is nothing to remove: what has another branch stays.
    async fn errand(&self, row: &ErrandRow) -> Result<Option<Landing>> {
        let change = if row.kind == POLICIES {
            let service: FileName = row.service.parse().map_err(|_| damaged())?;
            let document = self.registry().store.policies(service.as_str()).await?;
            let policies = ruling::policies(self.plan(), &service, document.as_deref())?;
            Changed::Policies { service: service.to_string(), document: older::write(&service, policies.local()) }
        } else {
            let places = self.registry().store.places(&row.service).await?;
            let mut live = places.into_iter().filter(|(place, release)| {
                place.namespace == row.namespace
                    && place.environment == row.environment
                    && release.sequence < row.sequence
            });
            let Some((place, _)) = live.find(|(_, release)| is_there(&release.state)) else { return Ok(None) };
            let (service, id) = (place.service.parse().map_err(|_| damaged())?, place.artifact.parse());
            let artifact = self.registry().find(&service, &id.map_err(|_| damaged())?).await?;
            let branch = artifact.map(|row| artifacts::read(&row)).transpose()?.and_then(|read| read.source.branch);
            if branch.as_deref() != Some(row.branch.as_str()) {
                return Ok(None);
            }
            let Target { service, namespace, environment, .. } = place;
            Changed::Removal { place: Place { environment, namespace, service } }
        };
        Ok(Some(Landing {
            release_id: format!("{}-{}", row.kind, row.sequence),
            tried_before: row.attempts > 0,
            change,
            message: Message::of(&row.subject),
            author: None,
        }))
    }
}

/// Whether a place has it, as it should be or failed; and not only will have it.
fn is_there(state: &str) -> bool {
    State::parse(state).is_some_and(|state| !state.is_waiting())
}

fn damaged() -> Failure {
    Failure::new(Code::StoreDamaged, "an errand that is kept cannot be read")
}

fn ended(row: &ErrandRow, landed: Option<&Landed>, at: Timestamp) -> Change {
    let ErrandRow { kind, service, namespace, environment, branch, .. } = row;
    let commit = match landed {
        Some(Landed::Pushed(commit) | Landed::Before(commit)) => format!("commit {commit}"),
        Some(Landed::AlreadyUpToDate(_)) => "nothing was there to change".to_owned(),
        Some(Landed::LeftOut(failure)) => failure.to_string(),
        None => "nothing of it was live".to_owned(),
    };
    let is_removal = kind == REMOVAL;
    Change {
        at,
        subject: "manager".to_owned(),
        verb: if is_removal { "release.removed" } else { "policy.copied" },
        object: if is_removal { format!("{environment}/{namespace}/{service}") } else { service.clone() },
        sha256: None,
        note: Some(if is_removal { format!("the branch `{branch}` was deleted; {commit}") } else { commit }),
    }
}

/// Whether an address is that of the repository that a forge calls `owner/name`.
fn is_same(address: &str, repository: &str) -> bool {
    let address = address.trim_end_matches('/');
    let address = address.strip_suffix(".git").unwrap_or(address);
    let Some(before) = address.len().checked_sub(repository.len()) else { return false };
    let (Some(start), Some(end)) = (address.get(..before), address.get(before..)) else { return false };
    repository.contains('/')
        && end.eq_ignore_ascii_case(repository)
        && (start.is_empty() || start.ends_with(['/', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_a_repository_by_its_owner_and_its_whole_name() {
        for same in ["acme/web", "https://github.com/Acme/web.git", "git@github.com:acme/web", "https://x/acme/web/"] {
            assert!(is_same(same, "acme/web"), "{same}");
        }
        for other in ["web", "https://github.com/other/web", "https://github.com/notacme/web", "acme/web2", ""] {
            assert!(!is_same(other, "acme/web"), "{other}");
        }
        assert!(!is_same("https://github.com/acme/web", "web"));
    }
}
