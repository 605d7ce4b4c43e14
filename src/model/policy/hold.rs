//! How automation is kept from undoing what a person did.
//!
//! A [`Hold`] is a fact about a service and an environment. Automation does not pass it; people do, and
//! releasing the very artifact that is held off lifts it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decision::{Reason, ReasonCode, Request};
use super::{ActorKind, decision::HoldChange};
use crate::model::intent::Intent;
use crate::model::{FileName, text};

/// Whether a rollback holds automation off. Without such a policy it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct HoldAfterRollback {
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// Whether it does.
    pub hold: bool,
}

/// Automation is held off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Hold {
    /// Who did it.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// The id of the artifact that automation would release otherwise, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Hold {
    pub(super) fn judge(&self, request: &Request) -> Option<Reason> {
        // Whoever says that it goes by itself is held off like what goes by itself. Going back is not what a hold is
        // there to prevent.
        let is_person = request.actor.kind == ActorKind::User && request.intent != Intent::AutoRelease;
        if is_person || request.is_proven_rollback() {
            return None;
        }
        let by = text::shown(&self.by);
        let candidate = self.candidate.as_deref().map_or_else(String::new, |candidate| {
            format!(", or somebody releases `{}`, which is held off", text::shown(candidate))
        });
        Some(ReasonCode::Held.reason(
            format!("automation is held off from `{}` since {}, by `{by}`", request.environment, self.since),
            format!("somebody resumes automation{candidate}"),
            None,
        ))
    }
}

/// What becomes of the hold once the release is done.
pub(super) fn change(request: &Request, holds_after_rollback: bool) -> HoldChange {
    let artifact = request.artifact.id.as_str();
    let is_person = request.actor.kind == ActorKind::User && request.intent != Intent::AutoRelease;
    // A person chose another one than automation would have.
    let is_other = is_person && request.history.candidate.as_deref().is_some_and(|candidate| candidate != artifact);
    let is_held_rollback = matches!(request.intent, Intent::Rollback { .. }) && holds_after_rollback;
    match &request.history.hold {
        Some(hold) if is_person && hold.candidate.as_deref() == Some(artifact) => HoldChange::Lifts,
        None if is_other || is_held_rollback => HoldChange::Sets,
        _ => HoldChange::Stays,
    }
}
