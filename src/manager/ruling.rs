//! From what a transaction sees to what becomes of a release.
//!
//! Policies are asked three times: when something is asked for, when its turn has come, and, where writing
//! has to be tried again, just before each try. Each time it is the same question over new facts.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::plan::Plan;
use super::queue::read_order;
use crate::artifacts::read_pushed;
use crate::model::delivery::{Order, State};
use crate::model::failure::Result;
use crate::model::intent::Intent;
use crate::model::policy::{
    Actor, ActorKind, ArtifactFacts, Came, Decision, Document, History, Hold, HoldChange, Outcome, Override, PolicySet,
    ReasonCode, Request, Verdict, Vote, Voted, decide,
};
use crate::model::{Code, Digest, Failure, FileName};
use crate::store::{ApprovalRow, Facts, Next, ReleaseRow, Target, Tried};

/// How long something waits that nobody can say how long it waits.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// What every ruling stands on, besides the facts.
pub(super) struct Ground {
    pub(super) plan: Plan,
    /// What a verdict has to be made by to count; none does where that is not known.
    pub(super) believed: Option<Digest>,
    pub(super) now: Timestamp,
}

/// What becomes of a release whose turn it is.
pub(super) struct Ruled {
    pub(super) next: Next,
    pub(super) hold: HoldChange,
    pub(super) candidate: Option<String>,
}

/// What policies say to an order, and which artifact automation would have chosen.
pub(super) struct Asked {
    pub(super) decision: Decision,
    pub(super) candidate: Option<String>,
}

/// Asks the policies about an order.
pub(super) fn ask(ground: &Ground, order: &Order, facts: &Facts) -> Result<Asked> {
    ask_of(&policies(&ground.plan, &order.service, facts.policies.as_deref())?, ground, order, facts)
}

/// Asks these policies about an order.
pub(super) fn ask_of(policies: &PolicySet, ground: &Ground, order: &Order, facts: &Facts) -> Result<Asked> {
    let Some(kept) = &facts.artifact else {
        return Err(Failure::new(Code::ArtifactUnknown, format!("there is no artifact `{}`", order.artifact)));
    };
    let artifact = read_pushed(&kept.record, kept.sha256)?;
    // A verdict by keys that are no longer believed proves nothing.
    let counts = ground.believed == Some(kept.policy);
    let verdict = if counts { Verdict::of_word(&kept.verdict) } else { Verdict::None };
    let artifact = ArtifactFacts::of(&artifact, kept.sha256, verdict);
    let is_chosen = is_chosen(policies, order, &artifact, facts);
    let candidate =
        if is_chosen { Some(order.artifact.to_string()) } else { released_by_itself(policies, order, facts)? };
    let request = Request {
        environment: order.environment.clone(),
        artifact,
        actor: asker(order),
        intent: order.intent.clone(),
        at: ground.now,
        history: history(&ground.plan, order, facts, is_chosen, candidate.clone())?,
        // Whether they may was asked when they said so.
        over_freeze: order.override_reason.clone().map(|reason| Override { reason, permitted: true }),
    };
    Ok(Asked { decision: decide(policies, &request), candidate })
}

/// What becomes of a release whose turn it is, or that waits for somebody.
pub(super) fn proceed(ground: &Ground, order: &Order, row: &ReleaseRow, facts: &Facts) -> Result<Ruled> {
    let now = ground.now;
    let fail = |code: Code, reason: String| Ruled {
        next: Next {
            state: State::Failed,
            code: Some(code.as_str()),
            reason: Some(reason),
            due_at: now,
            decision: None,
            gives_way: false,
        },
        hold: HoldChange::Stays,
        candidate: None,
    };
    // What was asked for is a digest; an id that means another one by now is another request.
    if facts.artifact.as_ref().is_none_or(|artifact| artifact.sha256 != order.artifact_sha256) {
        return Ok(fail(Code::ArtifactUnknown, format!("the artifact `{}` is not what was asked for", order.artifact)));
    }
    if ground.plan.environment(&order.environment).is_err() {
        return Ok(fail(Code::EnvironmentUnknown, format!("unknown environment: {}", order.environment)));
    }
    let Asked { decision, candidate } = match ask(ground, order, facts) {
        // What is damaged stops what it is about and keeps nobody else waiting.
        Err(failure) if failure.code() == Code::StoreDamaged => {
            return Ok(fail(Code::StoreDamaged, failure.to_string()));
        }
        asked => asked?,
    };
    let reason = (!decision.is_allowed()).then(|| in_words(&decision));
    let is_approval_missing = decision.reasons.iter().any(|reason| reason.code == ReasonCode::ApprovalMissing);
    let (state, code, due_at) = match decision.outcome {
        // Whoever waited for somebody waits for its turn first.
        Outcome::Allowed if row.state == State::Requested.as_str() => (State::Queued, None, now),
        Outcome::Allowed => (State::Committing, None, now),
        Outcome::Waiting if is_held(&decision) => (State::Failed, Some(Code::PolicyRefused.as_str()), now),
        Outcome::Waiting if is_approval_missing => (State::Requested, None, now),
        Outcome::Waiting => (State::Queued, None, due(&decision, now)),
        Outcome::Refused => (State::Failed, Some(Code::PolicyRefused.as_str()), now),
    };
    let hold = decision.hold;
    let gives_way = decision.outcome == Outcome::Waiting && state.is_waiting();
    let next = Next { state, code, reason, due_at, decision: Some(written(&decision)), gives_way };
    Ok(Ruled { next, hold, candidate })
}

/// Whether nothing but somebody's approval is missing.
pub(super) fn is_approval_all(decision: &Decision) -> bool {
    !decision.reasons.is_empty() && decision.reasons.iter().all(|reason| reason.code == ReasonCode::ApprovalMissing)
}

/// Whether automation is held off.
pub(super) fn is_held(decision: &Decision) -> bool {
    decision.reasons.iter().any(|reason| reason.code == ReasonCode::Held)
}

/// When it is worth looking again.
pub(super) fn due(decision: &Decision, now: Timestamp) -> Timestamp {
    let later = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
    decision.earliest.unwrap_or(later)
}

/// The policies that count for a service.
pub(super) fn policies(plan: &Plan, service: &FileName, document: Option<&str>) -> Result<PolicySet> {
    let own = match document {
        Some(document) => Document::read(document.as_bytes()).map_err(|failure| {
            Failure::new(Code::StoreDamaged, "policies that are kept cannot be read").because(failure)
        })?,
        None => Document::new(Vec::new()),
    };
    Ok(PolicySet::stored(service.clone(), plan.global().clone(), own.policies))
}

/// The reasons of a decision, one sentence behind the other.
pub(super) fn in_words(decision: &Decision) -> String {
    let sentences: Vec<_> = decision
        .reasons
        .iter()
        .map(|reason| match &reason.policy {
            Some(policy) => format!("{} ({policy})", reason.sentence),
            None => reason.sentence.clone(),
        })
        .collect();
    sentences.join("; ")
}

/// Which freezes a decision passes, and why.
pub(super) fn over(decision: &Decision) -> Option<String> {
    let passed = decision.overridden.iter().map(|passed| format!("over {}: {}", passed.policy, passed.reason));
    Some(passed.collect::<Vec<_>>().join(", ")).filter(|passed| !passed.is_empty())
}

/// Who asked for a release.
pub(super) fn asker(order: &Order) -> Actor {
    Actor {
        subject: order.actor.subject.clone(),
        kind: if order.actor.is_automation { ActorKind::Automation } else { ActorKind::User },
        groups: order.actor.groups.clone(),
        roles: order.actor.roles.clone(),
        on_behalf_of: order.actor.on_behalf_of.clone(),
    }
}

pub(super) fn written(decision: &Decision) -> String {
    serde_json::to_string(decision).expect("plain data always serialises")
}

fn history(plan: &Plan, order: &Order, facts: &Facts, is_chosen: bool, candidate: Option<String>) -> Result<History> {
    let mut running_since = BTreeMap::new();
    for (place, row) in &facts.live {
        let live = read_order(row)?;
        let is_same_kind = is_same_namespace(order, &place.namespace, &place.environment);
        if live.artifact_sha256 == order.artifact_sha256
            && is_same_kind
            && let Some(since) = row.pushed_at
        {
            running_since.insert(live.environment, since);
        }
    }
    let hold = facts.hold.as_ref().map(|row| Hold {
        by: row.set_by.clone(),
        since: row.set_at,
        // What is held off is whatever automation would choose by now, and no longer what was pushed before that.
        candidate: if is_chosen { candidate.clone() } else { row.candidate.clone().filter(|_| facts.is_latest) },
        reason: Some(row.reason.clone()),
    });
    let votes = facts.approvals.iter().map(|row| voted(order, row)).collect::<Result<_>>()?;
    let (namespace, environment) = (order.namespace.as_str(), order.environment.as_str());
    let is_here = |tried: &Tried| tried.namespace == namespace && tried.environment == environment;
    Ok(History {
        running_since,
        live_before: facts.tried.iter().any(is_here),
        stage: plan.stage(&order.environment),
        came: came(plan, order, facts),
        votes,
        hold,
        candidate,
    })
}

/// What came of the artifact where it was released. Where nobody reports how a release fares it came out well once it
/// is written, unless it is rolled back.
fn came(plan: &Plan, order: &Order, facts: &Facts) -> BTreeMap<FileName, Came> {
    let mut came = BTreeMap::new();
    for tried in facts.tried.iter().filter(|tried| is_same_namespace(order, &tried.namespace, &tried.environment)) {
        let Ok(environment) = tried.environment.parse::<FileName>() else { continue };
        let one = if tried.was_healthy || tried.has_stayed && !plan.is_observed(&environment) {
            Came::Well
        } else if tried.has_stayed {
            Came::Open
        } else {
            Came::ToNothing
        };
        let best = came.entry(environment).or_insert(one);
        *best = one.min(*best);
    }
    came
}

fn voted(order: &Order, row: &ApprovalRow) -> Result<Voted> {
    Ok(Voted {
        by: serde_json::from_str(&row.voter)
            .map_err(|error| Failure::new(Code::StoreDamaged, "a vote that is kept cannot be read").because(error))?,
        digest: row.artifact_sha256,
        environment: order.environment.clone(),
        vote: if row.is_approval { Vote::Approve } else { Vote::Reject },
        at: row.given_at,
    })
}

/// Whether a place belongs to an order's namespace: the same one, or each that of its own environment.
fn is_same_namespace(order: &Order, namespace: &str, environment: &str) -> bool {
    let is_own = order.namespace == order.environment && namespace == environment;
    is_own || namespace == order.namespace.as_str()
}

/// What the place has.
pub(super) fn live_in<'a>(facts: &'a Facts, target: &Target) -> Option<&'a ReleaseRow> {
    let is_here = |place: &Target| place.namespace == target.namespace && place.environment == target.environment;
    facts.live.iter().rev().find(|(place, _)| is_here(place)).map(|(_, row)| row)
}

/// Whether automation would choose the order's artifact by now.
fn is_chosen(policies: &PolicySet, order: &Order, artifact: &ArtifactFacts, facts: &Facts) -> bool {
    let asked_for = policies.automation(artifact);
    facts.is_latest
        && !matches!(order.intent, Intent::Rollback { .. })
        && asked_for.iter().any(|automation| *automation.environment == order.environment)
}

/// What automation wants to bring there, or what the place has, where there is automation that has put it there.
fn released_by_itself(policies: &PolicySet, order: &Order, facts: &Facts) -> Result<Option<String>> {
    if !policies.is_automated(&order.environment) {
        return Ok(None);
    }
    let waiting = facts.waiting.iter().map(read_order).collect::<Result<Vec<_>>>()?;
    let before = waiting.into_iter().take_while(|other| other.id != order.id);
    let wanted = before.filter(|other| other.intent == Intent::AutoRelease).last();
    let live = live_in(facts, &super::queue::target(order)).map(read_order).transpose()?;
    // What failed is live no longer, and is what is gone back from.
    let left = match &order.intent {
        Intent::Rollback { previous_artifact_id } => Some(previous_artifact_id.clone()),
        _ => None,
    };
    Ok(wanted.or(live).map(|order| order.artifact.to_string()).or(left))
}
