//! What keeps an artifact from going further than where it has proven itself.
//!
//! Environments that are promoted from the same ones are one [`Stage`] of the graph. A [`Progression`] wants an
//! artifact to have come out well in a stage before; a [`Block`] stops one artifact, by hand, where its stage has
//! not seen it come out well. Neither is about a first stage, and neither about going back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::decision::{Reason, ReasonCode, Request, names};
use super::soak::Upstream;
use super::{check_list, check_text, invalid};
use crate::model::failure::Result;
use crate::model::{FileName, text};

/// An artifact has to have come out well elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Progression {
    /// Where to.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// Where it has to have come out well; where it is promoted from, if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub after: Vec<FileName>,
    /// Whether one of them is enough.
    #[serde(default, skip_serializing_if = "Upstream::is_any")]
    pub needs: Upstream,
}

/// An artifact goes no further than to stages in which it came out well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Block {
    /// Its id.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub artifact: FileName,
    /// Why, to be shown.
    pub reason: String,
}

/// Where an environment stands in the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// What it is promoted from; nothing, in a first stage.
    pub from: Vec<FileName>,
    /// The other environments that are promoted from the same ones.
    pub beside: Vec<FileName>,
}

/// What has come of an artifact in an environment that it reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Came {
    /// One of its releases came out well.
    Well,
    /// None did yet, and one still may.
    Open,
    /// All of them failed or were rolled back.
    ToNothing,
}

impl Progression {
    pub(super) fn check(&self) -> Result<()> {
        check_list("environments", &self.after)?;
        if self.after.contains(&self.environment) {
            return Err(invalid("an artifact cannot have come out well where it is yet to go"));
        }
        Ok(())
    }

    /// Whether nothing can ever come to this environment before it was in that one.
    pub(super) fn needs(&self, environment: &FileName) -> bool {
        self.after.contains(environment) && (self.after.len() == 1 || self.needs == Upstream::All)
    }

    pub(super) fn judge(&self, request: &Request) -> Option<Reason> {
        let history = &request.history;
        let after = if self.after.is_empty() { &history.stage.from } else { &self.after };
        if request.environment != self.environment || after.is_empty() || request.is_proven_rollback() {
            return None;
        }
        let came_well = |name: &&FileName| history.came.get(*name) == Some(&Came::Well);
        let well = after.iter().filter(came_well).count();
        let is_enough = match self.needs {
            Upstream::Any => well > 0,
            Upstream::All => well == after.len(),
        };
        if is_enough {
            return None;
        }
        let missing: Vec<_> = after.iter().filter(|name| !came_well(name)).collect();
        let said = missing.iter().map(|name| match history.came.get(*name) {
            Some(Came::ToNothing) => format!("only failed in `{name}`"),
            Some(_) => format!("not come out well in `{name}` yet"),
            None => format!("never been in `{name}`"),
        });
        let said: Vec<_> = said.collect();
        let shown = names(after.iter().map(|name| format!("`{name}`")));
        let how_many = if self.needs == Upstream::All && after.len() > 1 { "each of " } else { "" };
        Some(ReasonCode::NotProgressed.reason(
            format!("the artifact has {}", said.join(", and ")),
            format!("a release of it comes out well in {how_many}{shown}"),
            None,
        ))
    }
}

impl Block {
    pub(super) fn check(&self) -> Result<()> {
        check_text("reason", &self.reason)
    }

    pub(super) fn judge(&self, request: &Request) -> Option<Reason> {
        let Stage { from, beside } = &request.history.stage;
        if self.artifact.as_str() != request.artifact.id || from.is_empty() {
            return None;
        }
        let stage: BTreeSet<_> = beside.iter().chain([&request.environment]).collect();
        let came: BTreeMap<_, _> = request.history.came.iter().filter(|(name, _)| stage.contains(name)).collect();
        if came.values().any(|came| **came == Came::Well) {
            return None;
        }
        let why = text::shown(&self.reason);
        let so_far = if came.is_empty() { "has never been" } else { "has not come out well" };
        Some(ReasonCode::Blocked.reason(
            format!(
                "`{}` goes no further, and {so_far} in the stage of `{}`: {why}",
                self.artifact, request.environment
            ),
            "somebody takes the block away, or another artifact is released",
            None,
        ))
    }
}
