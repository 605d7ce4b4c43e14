//! What peers have found out about policies, row by row, and what we have.

mod decisions;
mod documented;
mod freezes;
mod older;
mod progression;
mod sets;
mod triggers;
mod votes;

use jiff::Timestamp;

use super::*;
use crate::model::Digest;
use crate::model::artifact::{Event, TestResults, Vulnerabilities};
use crate::model::intent::Intent;

pub(super) fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn automatic(branch: &str, environment: &str) -> Policy {
    Policy::AutoRelease(AutoRelease { branch: branch.to_owned(), environment: name(environment) })
}

pub(super) fn only(branch: &str, environment: &str) -> Policy {
    restricted(branch, environment, BranchMatch::Anchored)
}

pub(super) fn restricted(branch: &str, environment: &str, matching: BranchMatch) -> Policy {
    Policy::BranchRestriction(BranchRestriction { environment: name(environment), branch: branch.to_owned(), matching })
}

/// A policy as somebody writes it.
pub(super) fn written(json: &str) -> Policy {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// A set that was written policy by policy.
pub(super) fn set(policies: impl IntoIterator<Item = Policy>) -> PolicySet {
    over(Vec::new(), policies)
}

/// The same below a server's configuration.
pub(super) fn over(global: Vec<Policy>, policies: impl IntoIterator<Item = Policy>) -> PolicySet {
    let mut set = PolicySet::new(name("web"), Global::new(global).unwrap());
    for policy in policies {
        set.apply(policy).unwrap();
    }
    set
}

pub(super) fn user(subject: &str) -> Actor {
    Actor {
        subject: subject.to_owned(),
        kind: ActorKind::User,
        groups: BTreeSet::new(),
        roles: BTreeSet::new(),
        on_behalf_of: None,
    }
}

pub(super) fn robot(subject: &str) -> Actor {
    Actor { kind: ActorKind::Automation, ..user(subject) }
}

/// An artifact that nothing is wrong with.
pub(super) fn artifact(branch: &str) -> ArtifactFacts {
    ArtifactFacts {
        id: format!("{}-0123456789", branch.replace('/', "_")),
        digest: Digest::of(branch.as_bytes()),
        branch: Some(branch.to_owned()),
        event: Event::Push,
        tag: None,
        message: Some("make it better".to_owned()),
        verdict: Verdict::Passed,
        tests: Some(TestResults { passed: 12, failed: 0, skipped: 1 }),
        vulnerabilities: Some(Vulnerabilities { high: 0, medium: 1, low: 2 }),
    }
}

pub(super) const NOON: &str = "2026-11-18T12:00:00Z";

/// Somebody releases a branch at noon of a Wednesday.
pub(super) fn request(branch: &str, environment: &str) -> Request {
    Request {
        environment: name(environment),
        artifact: artifact(branch),
        actor: user("ann"),
        intent: Intent::ReleaseArtifact,
        at: at(NOON),
        history: History::default(),
        over_freeze: None,
    }
}

pub(super) fn rollback() -> Intent {
    Intent::Rollback { previous_artifact_id: "main-2".to_owned() }
}

pub(super) fn codes(decision: &Decision) -> Vec<ReasonCode> {
    decision.reasons.iter().map(|reason| reason.code).collect()
}
