//! The policies of a service beside those of the server's configuration.
//!
//! [`PolicySet::apply`] and [`PolicySet::delete`] are the only ways to change one; neither leaves a set whose
//! policies contradict each other. What the configuration says ([`Global`]) comes first and stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decision::ArtifactFacts;
use super::recovery::Failing;
use super::restriction::AutoRelease;
use super::trigger::fires;
use super::{Actor, MAX_POLICIES, Policy, TYPE, invalid};
use crate::model::artifact::Event;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, FileName, pretty};

/// The policies that the server's configuration gives every service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global(Arc<[Policy]>);

/// All policies of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySet {
    service: FileName,
    global: Global,
    local: Vec<Policy>,
}

/// Whose a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Scope {
    /// The server's configuration's: every service has it, and none can be rid of it.
    Global,
    /// The service's own.
    Service,
}

/// A policy that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Standing<'a> {
    /// Whose it is.
    pub scope: Scope,
    /// The policy.
    pub policy: &'a Policy,
}

/// Something that goes by itself.
#[derive(Debug)]
pub struct Automation<'a> {
    /// The policy that asks for it.
    pub standing: Standing<'a>,
    /// The environment.
    pub environment: &'a FileName,
    /// What it is called there, where the policy says so, and why that cannot be told.
    pub app: Result<Option<FileName>>,
}

impl Default for Global {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Global {
    /// The policies of a configuration: each usable, and none against another one.
    pub fn new(policies: Vec<Policy>) -> Result<Self> {
        if policies.len() > MAX_POLICIES {
            return Err(invalid(format!("there are more than {MAX_POLICIES} policies")));
        }
        for (number, policy) in policies.iter().enumerate() {
            policy.check()?;
            for before in &policies[..number] {
                if policy.replaces(before) || policy.id() == before.id() {
                    return Err(conflict(policy, format!("`{}` is there twice", before.id())));
                }
                if policy.excludes(before) {
                    return Err(conflict(policy, format!("conflict with {}", before.id())));
                }
            }
        }
        Ok(Self(policies.into()))
    }

    /// The policies, in their order.
    pub fn policies(&self) -> &[Policy] {
        &self.0
    }
}

impl Standing<'_> {
    /// The id that it can be deleted by: empty for those that cannot.
    pub fn id(&self) -> String {
        match self.scope {
            Scope::Global => String::new(),
            Scope::Service => self.policy.id(),
        }
    }
}

impl PolicySet {
    /// A service without policies of its own.
    pub fn new(service: FileName, global: Global) -> Self {
        Self { service, global, local: Vec::new() }
    }

    /// A service with the policies that were kept for it. They were checked when they were written; where the
    /// configuration has changed since, some no longer count: see [`PolicySet::dropped`].
    pub fn stored(service: FileName, global: Global, local: Vec<Policy>) -> Self {
        Self { service, global, local }
    }

    /// Whose policies they are.
    pub fn service(&self) -> &FileName {
        &self.service
    }

    /// The service's own policies, to be kept.
    pub fn local(&self) -> &[Policy] {
        &self.local
    }

    /// The policies that count: the configuration's first, then the service's own.
    pub fn effective(&self) -> Vec<Standing<'_>> {
        let global = self.global.0.iter().map(|policy| Standing { scope: Scope::Global, policy });
        let local = self.local.iter().filter(|policy| !self.is_overruled(policy));
        global.chain(local.map(|policy| Standing { scope: Scope::Service, policy })).collect()
    }

    /// The policies that count, in an order that does not depend on when they were written.
    pub(super) fn sorted(&self) -> Vec<Standing<'_>> {
        let mut policies = self.effective();
        policies.sort_by_cached_key(|standing| (standing.scope, standing.policy.id()));
        policies
    }

    /// The service's own policies that do not count, because the configuration contradicts them by now.
    pub fn dropped(&self) -> Vec<&Policy> {
        self.local.iter().filter(|policy| self.is_overruled(policy)).collect()
    }

    /// Puts a policy in the place of the one that it replaces, or behind the others, and tells its id.
    pub fn apply(&mut self, policy: Policy) -> Result<String> {
        policy.check()?;
        if self.is_overruled(&policy) {
            return Err(conflict(&policy, "conflicts with global policy"));
        }
        for standing in self.effective() {
            let other = standing.policy;
            if standing.scope == Scope::Service && policy.replaces(other) {
                continue;
            }
            let same_id = standing.scope == Scope::Service && other.id() == policy.id();
            if same_id || policy.excludes(other) {
                return Err(conflict(&policy, format!("conflict with {}", other.id())));
            }
        }
        let id = policy.id();
        match self.local.iter().position(|other| policy.replaces(other)) {
            Some(place) => self.local[place] = policy,
            None if self.local.len() == MAX_POLICIES => {
                return Err(invalid(format!("the service has {MAX_POLICIES} policies already")));
            }
            None => self.local.push(policy),
        }
        Ok(id)
    }

    /// Takes policies away by their ids, and tells which of them were there. Nothing is taken away if one of
    /// them is the configuration's.
    pub fn delete(&mut self, ids: &[String]) -> Result<Vec<String>> {
        if ids.is_empty() {
            return Err(Failure::new(Code::RequestInvalid, "no policy ids supplied"));
        }
        let is_local = |id: &String| self.local.iter().any(|policy| policy.id() == *id);
        let fixed = |id: &&String| !is_local(id) && self.global.0.iter().any(|policy| policy.id() == **id);
        if let Some(id) = ids.iter().find(fixed) {
            return Err(Failure::new(Code::PolicyConflict, format!("policy `{id}` cannot be deleted"))
                .hint("it is one of the server's configuration"));
        }
        let mut deleted = Vec::new();
        self.local.retain(|policy| {
            let id = policy.id();
            let goes = ids.contains(&id);
            if goes {
                deleted.push(id);
            }
            !goes
        });
        Ok(deleted)
    }

    /// What counts, in the one form, whatever order it was written in: the configuration's first, then the
    /// service's own, each by their ids.
    pub fn render(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Rendered<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            service: &'a FileName,
            policies: Vec<Standing<'a>>,
        }
        pretty(&Rendered { kind: TYPE, service: &self.service, policies: self.sorted() })
    }

    /// The digest of the one form.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.render())
    }

    /// What an artifact sets going by itself.
    pub fn automation(&self, artifact: &ArtifactFacts) -> Vec<Automation<'_>> {
        let standing = self.effective().into_iter();
        standing
            .filter_map(|standing| match standing.policy {
                Policy::AutoRelease(policy) if policy.fires(artifact) => {
                    Some(Automation { standing, environment: &policy.environment, app: Ok(None) })
                }
                Policy::DeployTrigger(policy) if fires(policy, artifact) => {
                    Some(Automation { standing, environment: &policy.environment, app: policy.app(artifact) })
                }
                _ => None,
            })
            .collect()
    }

    /// What goes with a branch that was deleted.
    pub fn cleanup(&self, branch: &str) -> Vec<Automation<'_>> {
        let standing = self.effective().into_iter();
        standing
            .filter_map(|standing| match standing.policy {
                Policy::Cleanup(policy) if policy.matches(branch) => {
                    Some(Automation { standing, environment: &policy.environment, app: policy.app(branch) })
                }
                _ => None,
            })
            .collect()
    }

    /// Whether anything goes by itself to an environment. Where nothing does, a hold is without an object.
    pub fn is_automated(&self, environment: &FileName) -> bool {
        self.automated().contains(environment)
    }

    /// The environments to which anything goes by itself.
    pub fn automated(&self) -> BTreeSet<&FileName> {
        let standing = self.effective().into_iter();
        standing
            .filter_map(|standing| match standing.policy {
                Policy::AutoRelease(policy) => Some(&policy.environment),
                Policy::DeployTrigger(policy) if policy.never().is_none() => Some(&policy.environment),
                _ => None,
            })
            .collect()
    }

    /// The policy by which a release that fails like this is rolled back by itself.
    pub fn recovery(&self, environment: &FileName, failing: Failing) -> Option<Standing<'_>> {
        let is_it = |standing: &Standing<'_>| {
            matches!(standing.policy, Policy::AutoRollback(policy)
                if policy.environment == *environment && policy.is_about(failing))
        };
        self.effective().into_iter().find(is_it)
    }

    /// Whether a rollback holds automation off: it does, unless a policy says otherwise.
    pub fn holds_after_rollback(&self, environment: &FileName) -> bool {
        let said = self.effective().into_iter().find_map(|standing| match standing.policy {
            Policy::HoldAfterRollback(policy) if policy.environment == *environment => Some(policy.hold),
            _ => None,
        });
        said.unwrap_or(true)
    }

    /// Whether somebody's vote would count for an environment, were it about something that `asked_by` asks for.
    pub fn check_vote(&self, environment: &FileName, voter: &Actor, asked_by: &Actor) -> Result<()> {
        let mut refused = None;
        for standing in self.effective() {
            let answer = match standing.policy {
                Policy::Approval(policy) if policy.environment == *environment => policy.check_vote(voter, asked_by),
                Policy::Soak(policy) if policy.environment == *environment => policy.check_vote(voter, asked_by),
                _ => continue,
            };
            match answer {
                Ok(()) => return Ok(()),
                Err(failure) => refused = Some(failure),
            }
        }
        Err(refused.unwrap_or_else(|| {
            Failure::new(Code::ApprovalRefused, format!("no policy asks for approvals of releases to `{environment}`"))
        }))
    }

    fn is_overruled(&self, policy: &Policy) -> bool {
        self.global.0.iter().any(|global| policy.contradicts(global) || policy.excludes(global))
    }
}

impl Policy {
    /// Whether it releases the artifact to the environment by itself.
    pub(super) fn automates(&self, environment: &FileName, artifact: &ArtifactFacts) -> bool {
        match self {
            Self::AutoRelease(policy) => policy.environment == *environment && policy.fires(artifact),
            Self::DeployTrigger(policy) => policy.environment == *environment && fires(policy, artifact),
            _ => false,
        }
    }

    /// Whether it rolls back by itself in the environment.
    pub(super) fn recovers(&self, environment: &FileName) -> bool {
        matches!(self, Self::AutoRollback(policy) if policy.environment == *environment)
    }

    /// Whether one asks for what the other one never allows.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::BranchRestriction(restriction), other) | (other, Self::BranchRestriction(restriction)) => {
                let named = match other {
                    Self::AutoRelease(policy) => Some((&policy.environment, policy.branch.as_str())),
                    Self::DeployTrigger(policy) => policy.only_branch().map(|branch| (&policy.environment, branch)),
                    _ => None,
                };
                named.is_some_and(|(environment, branch)| {
                    *environment == restriction.environment && !restriction.matches(branch)
                })
            }
            // What is rolled back by itself would come again by itself.
            (Self::AutoRollback(policy), Self::HoldAfterRollback(hold))
            | (Self::HoldAfterRollback(hold), Self::AutoRollback(policy)) => {
                policy.environment == hold.environment && !hold.hold
            }
            // Neither environment would ever be the first one.
            (Self::Progression(one), Self::Progression(other)) => {
                one.needs(&other.environment) && other.needs(&one.environment)
            }
            _ => false,
        }
    }

    /// Whether it says something else about what the configuration has said something of.
    fn contradicts(&self, global: &Self) -> bool {
        match (self, global) {
            (Self::BranchRestriction(one), Self::BranchRestriction(other)) => {
                one.environment == other.environment && one.as_search() != other.as_search()
            }
            (Self::AutoRelease(_), Self::AutoRelease(_))
            | (Self::HoldAfterRollback(_), Self::HoldAfterRollback(_))
            | (Self::AutoRollback(_), Self::AutoRollback(_)) => self.replaces(global) && self != global,
            _ => false,
        }
    }
}

impl AutoRelease {
    /// Whether the artifact was pushed from the branch. A pull request may come from a branch by any name.
    fn fires(&self, artifact: &ArtifactFacts) -> bool {
        artifact.event == Event::Push && artifact.branch.as_ref() == Some(&self.branch)
    }
}

fn conflict(policy: &Policy, what: impl std::fmt::Display) -> Failure {
    Failure::new(Code::PolicyConflict, format!("policy conflicts with another policy: {what}"))
        .subject(policy.id())
        .hint("`consign policy list` shows those that there are, and which of them are the server's")
}
