//! Policies, holds and votes as they are changed; and what a change would have done.
//!
//! Whatever may let a waiting release go on, or stop it, has those that wait judged again at once.

use std::collections::BTreeSet;

use super::Manager;
use super::queue::{read_order, target};
use super::ruling;
use crate::artifacts::Caller;
use crate::model::delivery::{Order, State};
use crate::model::failure::Result;
use crate::model::management::{
    Applied, ApprovalGiven, Deleted, PolicyList, PolicyTest, PolicyTested, Replayed, Standing,
};
use crate::model::policy::{Actor, ActorKind, Document, Policy, PolicySet};
use crate::model::{Code, Digest, Failure, FileName};
use crate::store::errands::NewErrand;
use crate::store::{Amended, Change, NewApproval, Next, PoliciesWritten, ReleaseFilter, Ruling, Target};

/// How many releases a thought-out change is tried on.
const MOST_REPLAYED: u32 = 1000;
/// How many waiting releases are judged again at once.
const MOST_WAITING: u32 = 1000;

impl Manager {
    /// The policies that hold for a service.
    pub async fn policies(&self, service: &FileName) -> Result<PolicyList> {
        let document = self.registry().store.policies(service.as_str()).await?;
        Ok(list(&ruling::policies(self.plan(), service, document.as_deref())?))
    }

    /// Puts a policy in its place.
    pub async fn apply_policy(&self, service: &FileName, policy: Policy, caller: &Caller) -> Result<Applied> {
        let mut id = String::new();
        let changed = self
            .change(service, caller, "policy.apply", self.copies(service, Some(&policy)), |policies| {
                id = policies.apply(policy)?;
                Ok(id.clone())
            })
            .await?;
        Ok(Applied { id, changed })
    }

    /// Takes policies away: all that are named, or none.
    pub async fn delete_policies(&self, service: &FileName, ids: &[String], caller: &Caller) -> Result<Deleted> {
        let mut count = 0;
        self.change(service, caller, "policy.delete", self.copies(service, None), |policies| {
            let deleted = policies.delete(ids)?;
            if let Some(unknown) = ids.iter().find(|id| !deleted.contains(id)) {
                return Err(Failure::new(
                    Code::PolicyUnknown,
                    format!("service '{service}' has no policy `{unknown}`"),
                )
                .subject(unknown.as_str())
                .hint("`consign policy list` shows those that it has"));
            }
            count = deleted.len();
            Ok(deleted.join(" "))
        })
        .await?;
        Ok(Deleted { count })
    }

    async fn change(
        &self,
        service: &FileName,
        caller: &Caller,
        verb: &'static str,
        copies: Vec<NewErrand>,
        amend: impl FnOnce(&mut PolicySet) -> Result<String> + Send,
    ) -> Result<bool> {
        let plan = self.plan().clone();
        let written = self
            .registry()
            .store
            .change_policies(service.as_str(), caller.at, |there| {
                let mut policies = ruling::policies(&plan, service, there)?;
                let automated: BTreeSet<FileName> = policies.automated().into_iter().cloned().collect();
                let note = amend(&mut policies)?;
                let document = Document::new(policies.local().to_vec()).render();
                let change = Change {
                    at: caller.at,
                    subject: caller.subject.clone(),
                    verb,
                    object: service.to_string(),
                    sha256: Some(Digest::of(&document)),
                    note: Some(note),
                };
                let automated = automated.into_iter().filter(|environment| !policies.is_automated(environment));
                Ok(Amended {
                    document: String::from_utf8(document).expect("JSON is text"),
                    change,
                    errands: copies,
                    lifts: automated.map(|environment| lift(&environment, service, caller)).collect(),
                })
            })
            .await?;
        self.judge_waiting(Some(service)).await?;
        self.wake();
        Ok(written == PoliciesWritten::Changed)
    }

    /// What other policies would have said to the releases that there were, at the times when they were asked for.
    pub async fn test_policies(&self, service: &FileName, test: &PolicyTest) -> Result<PolicyTested> {
        test.policies.check()?;
        let mut proposed = PolicySet::new(service.clone(), self.plan().global().clone());
        for policy in &test.policies.policies {
            proposed.apply(policy.clone())?;
        }
        let document = self.registry().store.policies(service.as_str()).await?;
        let present = ruling::policies(self.plan(), service, document.as_deref())?;
        let filter = ReleaseFilter {
            services: Some(vec![service.to_string()]),
            most: MOST_REPLAYED,
            ..ReleaseFilter::default()
        };
        let (mut releases, mut changed) = (0, Vec::new());
        for row in self.registry().store.releases(&filter).await? {
            let order = read_order(&row)?;
            if test.since.is_some_and(|since| order.requested_at < since) {
                continue;
            }
            releases += 1;
            // What was live and who had voted then is not known any more; it is asked as things are now.
            let facts = self.registry().store.facts(&target(&order)).await?;
            let then = ruling::Ground { now: order.requested_at, ..self.ground().await };
            let asked = |policies: &PolicySet| ruling::ask_of(policies, &then, &order, &facts);
            let (before, after) = (asked(&present)?.decision, asked(&proposed)?.decision);
            if before.outcome != after.outcome {
                let Order { id, environment, artifact, requested_at, .. } = order;
                changed.push(Replayed { release: id, environment, artifact, requested_at, before, after });
            }
        }
        Ok(PolicyTested { releases, changed })
    }

    /// Suspends automation in one place, where it is not already.
    pub async fn hold(&self, place: &Target, reason: &str, caller: &Caller) -> Result<()> {
        self.registry().store.hold(place, reason, &held(place, caller, "hold.set", Some(reason.to_owned()))).await
    }

    /// Lets automation go on, and says whether it was suspended.
    pub async fn resume(&self, place: &Target, caller: &Caller) -> Result<bool> {
        let was_held = self.registry().store.resume(place, &held(place, caller, "hold.lift", None)).await?;
        if was_held {
            // What was pushed meanwhile was passed by, and not forgotten.
            self.release_held_off(place).await?;
        }
        self.wake();
        Ok(was_held)
    }

    /// Keeps somebody's vote on an artifact in an environment, and lets go on what waited for it.
    pub async fn approve(
        &self,
        service: &FileName,
        given: &ApprovalGiven,
        voter: &Actor,
        caller: &Caller,
    ) -> Result<()> {
        let ApprovalGiven { environment, artifact, approve, comment } = given;
        self.plan().environment(environment)?;
        let row = self.registry().find(service, artifact).await?.ok_or_else(|| {
            Failure::new(Code::ArtifactUnknown, format!("artifact '{artifact}' not found for service '{service}'"))
                .subject(artifact.as_str())
        })?;
        let document = self.registry().store.policies(service.as_str()).await?;
        let policies = ruling::policies(self.plan(), service, document.as_deref())?;
        let waiting = self.waiting(Some(service)).await?;
        let asked_by = waiting
            .iter()
            .find(|(_, order)| order.environment == *environment && order.artifact == *artifact)
            .map_or_else(nobody, |(_, order)| ruling::asker(order));
        policies.check_vote(environment, voter, &asked_by)?;
        let vote = NewApproval {
            service: service.to_string(),
            environment: environment.to_string(),
            artifact_sha256: row.sha256,
            voter: serde_json::to_string(voter).expect("plain data always serialises"),
            is_approval: *approve,
            comment: comment.clone(),
        };
        let change = Change {
            at: caller.at,
            subject: caller.subject.clone(),
            verb: if *approve { "release.approve" } else { "release.reject" },
            object: format!("{environment}/{service}"),
            sha256: Some(row.sha256),
            note: Some(
                comment.as_ref().map_or_else(|| artifact.to_string(), |comment| format!("{artifact} {comment}")),
            ),
        };
        self.registry().store.approve(&vote, &change).await?;
        self.judge_waiting(Some(service)).await
    }

    /// Judges again what policies keep waiting, of one service or of all.
    pub(super) async fn judge_waiting(&self, service: Option<&FileName>) -> Result<()> {
        let waiting = self.waiting(service).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let ground = self.ground().await;
        let asked: Vec<_> = waiting.iter().map(|(sequence, order)| (*sequence, target(order))).collect();
        let order_of = |sequence: u64| waiting.iter().find(|(known, _)| *known == sequence).map(|(_, order)| order);
        self.registry()
            .store
            .proceed(&asked, ground.now, |row, facts| {
                let Some(order) = order_of(row.sequence) else { return Ok(Ruling::Pass) };
                if !row.gives_way {
                    return Ok(Ruling::Pass);
                }
                let next = ruling::proceed(&ground, order, row, facts)?.next;
                // It goes in its turn, and not from here.
                let state = if next.state == State::Committing { State::Queued } else { next.state };
                Ok(Ruling::Go(Next { state, ..next }))
            })
            .await?;
        self.wake();
        Ok(())
    }

    async fn waiting(&self, service: Option<&FileName>) -> Result<Vec<(u64, Order)>> {
        let filter = ReleaseFilter {
            services: service.map(|service| vec![service.to_string()]),
            states: vec![State::Requested.as_str(), State::Queued.as_str()],
            gives_way: true,
            most: MOST_WAITING,
            ..ReleaseFilter::default()
        };
        let rows = self.registry().store.releases(&filter).await?;
        rows.into_iter().map(|row| Ok((row.sequence, read_order(&row)?))).collect()
    }
}

fn list(policies: &PolicySet) -> PolicyList {
    let standing = policies.effective().into_iter().map(|standing| Standing {
        id: Some(standing.id()).filter(|id| !id.is_empty()),
        policy: standing.policy.clone(),
    });
    PolicyList { service: policies.service().clone(), policies: standing.collect(), sha256: policies.digest() }
}

fn held(place: &Target, caller: &Caller, verb: &'static str, note: Option<String>) -> Change {
    Change {
        at: caller.at,
        subject: caller.subject.clone(),
        verb,
        object: format!("{}/{}/{}", place.environment, place.namespace, place.service),
        sha256: None,
        note,
    }
}

/// A hold where nothing goes by itself any more.
fn lift(environment: &FileName, service: &FileName, caller: &Caller) -> (String, Change) {
    let change = Change {
        at: caller.at,
        subject: caller.subject.clone(),
        verb: "hold.lift",
        object: format!("{environment}/{service}"),
        sha256: None,
        note: Some(format!("nothing goes to {environment} by itself any more")),
    };
    (environment.to_string(), change)
}

/// Where nobody has asked yet, nobody votes on their own request.
fn nobody() -> Actor {
    Actor {
        subject: String::new(),
        kind: ActorKind::Automation,
        groups: [].into(),
        roles: [].into(),
        on_behalf_of: None,
    }
}
