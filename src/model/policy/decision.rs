//! Whether a release may be made now.
//!
//! [`decide`] looks at the policies and at what is handed in, and at nothing else: asked twice with the same it
//! says the same, at any instant, past ones included. A [`Decision`] has every reason against the release, what
//! has to become true, and when, where that is known.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::approval::Voted;
use super::evidence::Verdict;
use super::hold::{self, Hold};
use super::progression::{Came, Stage};
use super::set::{PolicySet, Scope, Standing};
use super::{Actor, ActorKind, Policy};
use crate::model::artifact::{Artifact, Event, TestResults, Vulnerabilities};
use crate::model::intent::Intent;
use crate::model::{Digest, Failure, FileName, text};

/// How often the next instant is tried that nothing speaks against.
const MOST_INSTANTS: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Where to.
    pub environment: FileName,
    /// What.
    pub artifact: ArtifactFacts,
    /// Who asks.
    pub actor: Actor,
    /// Why.
    pub intent: Intent,
    /// When.
    pub at: Timestamp,
    /// What happened before.
    pub history: History,
    /// A freeze is to be passed.
    pub over_freeze: Option<Override>,
}

/// What is known of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFacts {
    /// Its id.
    pub id: String,
    /// Its digest.
    pub digest: Digest,
    /// The branch that it was built from.
    pub branch: Option<String>,
    /// What made its run start.
    pub event: Event,
    /// The tag that did.
    pub tag: Option<String>,
    /// The message of its commit.
    pub message: Option<String>,
    /// What came of verifying its bundle.
    pub verdict: Verdict,
    /// The counts of its tests.
    pub tests: Option<TestResults>,
    /// What its scans found.
    pub vulnerabilities: Option<Vulnerabilities>,
}

/// What happened before, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Since when other environments run this very artifact without a break. Those that do not are not in it.
    pub running_since: BTreeMap<FileName, Timestamp>,
    /// Whether this artifact was live in this environment before.
    pub live_before: bool,
    /// Where the environment stands in the graph.
    pub stage: Stage,
    /// What came of this artifact in the environments that it reached.
    pub came: BTreeMap<FileName, Came>,
    /// The votes, of whatever they are about.
    pub votes: Vec<Voted>,
    /// The hold on this service and environment.
    pub hold: Option<Hold>,
    /// The id of the artifact that automation would release now, or has released, where there is automation.
    pub candidate: Option<String>,
}

/// A freeze is to be passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Why.
    pub reason: String,
    /// Whether the actor may do that.
    pub permitted: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Decision {
    /// In one word.
    pub outcome: Outcome,
    /// All that speaks against it, in the order of the policies.
    pub reasons: Vec<Reason>,
    /// Freezes that were passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
    /// What becomes of the hold once the release has succeeded, and only then.
    pub hold: HoldChange,
    /// The first instant from which on it would be allowed, if nothing happened but that time goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub earliest: Option<Timestamp>,
    /// The digest of the policies that were looked at.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub policy_digest: Digest,
}

/// An answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Outcome {
    /// It may be made.
    Allowed,
    /// Not now. Time or people can make it possible.
    Waiting,
    /// Not this artifact, as it is, by these policies.
    Refused,
}

/// Something that speaks against a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Reason {
    /// The id of the policy, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Whose the policy is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What it is, as a stable word.
    pub code: ReasonCode,
    /// What it is, in a sentence.
    pub sentence: String,
    /// What has to become true.
    pub needs: String,
    /// When it will, where only time has to go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub at: Option<Timestamp>,
}

/// A freeze that was passed, for the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Overridden {
    /// The id of the freeze.
    pub policy: String,
    /// Whose it is.
    pub scope: Scope,
    /// Who passed it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What becomes of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum HoldChange {
    /// It stays as it is.
    Stays,
    /// Automation is held off from now on.
    Sets,
    /// Automation goes on.
    Lifts,
}

/// What speaks against a release, as a stable word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum ReasonCode {
    /// The environment does not take the branch.
    BranchRestricted,
    /// No policy asks for it to be released by itself.
    NotAutomated,
    /// Automation is held off.
    Held,
    /// It is frozen.
    Frozen,
    /// Who wants to pass a freeze may not.
    OverrideForbidden,
    /// Who wants to pass a freeze does not say why.
    OverrideUnexplained,
    /// It has not run upstream for long enough.
    Soaking,
    /// It does not run upstream.
    NotUpstream,
    /// People have to agree.
    ApprovalMissing,
    /// It has not come out well elsewhere.
    NotProgressed,
    /// Somebody stopped it.
    Blocked,
    /// Somebody does not agree.
    Rejected,
    /// Its bundle was not verified.
    Unverified,
    /// It was not tested.
    TestsMissing,
    /// Tests failed.
    TestsFailed,
    /// It was not scanned.
    ScanMissing,
    /// It is too vulnerable.
    Vulnerable,
    /// The policy cannot be used, and so it refuses.
    PolicyInvalid,
}

/// Whether the release may be made now, and otherwise why not.
pub fn decide(policies: &PolicySet, request: &Request) -> Decision {
    let standing = policies.sorted();
    let (reasons, overridden) = judge(&standing, request);
    let outcome = match &reasons[..] {
        [] => Outcome::Allowed,
        reasons if reasons.iter().any(|reason| reason.code.is_lasting()) => Outcome::Refused,
        _ => Outcome::Waiting,
    };
    Decision {
        outcome,
        earliest: earliest(&standing, request, &reasons),
        hold: hold::change(request, policies.holds_after_rollback(&request.environment)),
        reasons,
        overridden,
        policy_digest: policies.digest(),
    }
}

fn judge(standing: &[Standing<'_>], request: &Request) -> (Vec<Reason>, Vec<Overridden>) {
    let mut reasons: Vec<Reason> = Vec::new();
    let mut overridden = Vec::new();
    reasons.extend(request.history.hold.as_ref().and_then(|hold| hold.judge(request)));
    reasons.extend(judge_automation(standing, request));
    // The first rule of an environment decides.
    let restriction = standing.iter().find(|standing| {
        matches!(standing.policy, Policy::BranchRestriction(policy) if policy.environment == request.environment)
    });
    for standing in standing {
        let found = match standing.policy {
            Policy::BranchRestriction(policy) if restriction == Some(standing) => {
                policy.judge(request).into_iter().collect()
            }
            Policy::Approval(policy) => policy.judge(request).into_iter().collect(),
            Policy::Soak(policy) => policy.judge(request).into_iter().collect(),
            Policy::Evidence(policy) => policy.judge(request),
            Policy::Progression(policy) => policy.judge(request).into_iter().collect(),
            Policy::Block(policy) => policy.judge(request).into_iter().collect(),
            Policy::Freeze(policy) => match policy.judge(request) {
                Some(reason) => pass_freeze(standing, request, reason, &mut overridden),
                None => Vec::new(),
            },
            Policy::BranchRestriction(_)
            | Policy::AutoRelease(_)
            | Policy::DeployTrigger(_)
            | Policy::Cleanup(_)
            | Policy::AutoRollback(_)
            | Policy::HoldAfterRollback(_) => Vec::new(),
        };
        reasons.extend(found.into_iter().map(|reason| reason.of(standing)));
    }
    (reasons, overridden)
}

/// What is said to go by itself has to have a policy that says so, still.
fn judge_automation(standing: &[Standing<'_>], request: &Request) -> Option<Reason> {
    let is_asked_for = match request.intent {
        Intent::AutoRelease => {
            standing.iter().any(|standing| standing.policy.automates(&request.environment, &request.artifact))
        }
        Intent::Rollback { .. } if request.actor.kind == ActorKind::Automation => {
            standing.iter().any(|standing| standing.policy.recovers(&request.environment))
        }
        _ => true,
    };
    (!is_asked_for).then(|| {
        ReasonCode::NotAutomated.reason(
            format!("no policy releases this artifact to `{}` by itself", request.environment),
            "a policy does, or somebody releases it",
            None,
        )
    })
}

/// A person who may, and says why, passes a freeze; it is said in the decision.
fn pass_freeze(
    standing: &Standing<'_>,
    request: &Request,
    freeze: Reason,
    overridden: &mut Vec<Overridden>,
) -> Vec<Reason> {
    let Some(asked) = &request.over_freeze else { return vec![freeze] };
    if freeze.code != ReasonCode::Frozen {
        return vec![freeze];
    }
    let by = text::shown(&request.actor.subject);
    if !asked.permitted || request.acts_as() == ActorKind::Automation {
        let reason = ReasonCode::OverrideForbidden.reason(
            format!("`{by}` may not override the freeze"),
            "somebody who may overrides it with a reason",
            freeze.at,
        );
        return vec![freeze, reason];
    }
    if asked.reason.trim().is_empty() {
        let reason =
            ReasonCode::OverrideUnexplained.reason("the override has no reason", "a reason is given", freeze.at);
        return vec![freeze, reason];
    }
    overridden.push(Overridden {
        policy: standing.policy.id(),
        scope: standing.scope,
        by: request.actor.subject.clone(),
        reason: asked.reason.clone(),
    });
    Vec::new()
}

/// The first instant that nothing speaks against, found by looking at the instants that the reasons name.
fn earliest(standing: &[Standing<'_>], request: &Request, reasons: &[Reason]) -> Option<Timestamp> {
    let latest = |reasons: &[Reason]| {
        let instants: Option<Vec<_>> = reasons.iter().map(|reason| reason.at).collect();
        instants.map(|instants| instants.into_iter().max())
    };
    let mut next = latest(reasons)?;
    let mut later = request.clone();
    for _ in 0..MOST_INSTANTS {
        let Some(at) = next else { return Some(later.at) };
        if at <= later.at {
            return None;
        }
        later.at = at;
        next = latest(&judge(standing, &later).0)?;
    }
    None
}

impl Request {
    /// Whether it goes back to something that was live there before. Saying so is not enough.
    pub fn is_proven_rollback(&self) -> bool {
        matches!(self.intent, Intent::Rollback { .. }) && self.history.live_before
    }

    /// Whether a person stands behind it. What goes by itself is automation, whoever sends it.
    pub fn acts_as(&self) -> ActorKind {
        if self.intent == Intent::AutoRelease { ActorKind::Automation } else { self.actor.kind }
    }
}

impl ArtifactFacts {
    /// What policies look at in a record, its digest, and what came of verifying it.
    pub fn of(artifact: &Artifact, digest: Digest, verdict: Verdict) -> Self {
        Self {
            id: artifact.id.to_string(),
            digest,
            branch: artifact.source.branch.clone(),
            event: artifact.source.event,
            tag: artifact.source.tag.clone(),
            message: artifact.source.message.clone(),
            verdict,
            tests: artifact.tests(),
            vulnerabilities: artifact.vulnerabilities(),
        }
    }
}

impl Decision {
    /// Whether it may be made now.
    pub fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allowed
    }
}

impl Reason {
    fn of(self, standing: &Standing<'_>) -> Self {
        Self { policy: Some(standing.policy.id()), scope: Some(standing.scope), ..self }
    }
}

impl ReasonCode {
    /// Whether neither time nor people can do away with it.
    pub const fn is_lasting(self) -> bool {
        match self {
            Self::BranchRestricted
            | Self::NotAutomated
            | Self::Blocked
            | Self::Rejected
            | Self::Unverified
            | Self::TestsMissing
            | Self::TestsFailed
            | Self::ScanMissing
            | Self::Vulnerable
            | Self::PolicyInvalid => true,
            Self::Held
            | Self::Frozen
            | Self::OverrideForbidden
            | Self::OverrideUnexplained
            | Self::Soaking
            | Self::NotUpstream
            | Self::NotProgressed
            | Self::ApprovalMissing => false,
        }
    }

    pub(super) fn reason(self, sentence: impl Into<String>, needs: impl Into<String>, at: Option<Timestamp>) -> Reason {
        Reason { policy: None, scope: None, code: self, sentence: sentence.into(), needs: needs.into(), at }
    }

    /// A policy that cannot be used lets nothing pass.
    pub(super) fn unusable(self, failure: &Failure) -> Reason {
        self.reason(format!("the policy cannot be used: {failure}"), "the policy is written anew", None)
    }
}

/// Names beside each other: `a`, `a or b`, `a, b or c`.
pub(super) fn names(list: impl Iterator<Item = String>) -> String {
    let mut list: Vec<_> = list.collect();
    match (list.pop(), list.is_empty()) {
        (None, _) => String::new(),
        (Some(last), true) => last,
        (Some(last), false) => format!("{} or {last}", list.join(", ")),
    }
}
