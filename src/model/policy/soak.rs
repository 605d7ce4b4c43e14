//! How long something has to have run elsewhere before it goes on.
//!
//! A [`Soak`] looks at since when upstream environments run the very artifact; leaving them starts the clock
//! anew. What was live in the environment before may return without it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::approval::{self, Approver, Vote};
use super::decision::{Reason, ReasonCode, Request, names};
use super::{Actor, check_list, invalid};
use crate::model::FileName;
use crate::model::failure::Result;

/// The longest time to wait for.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// An artifact has to have run upstream for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Soak {
    /// Where to.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// Where it has to have run.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub upstream: Vec<FileName>,
    /// Whether one of them is enough.
    #[serde(default, skip_serializing_if = "Upstream::is_any")]
    pub needs: Upstream,
    /// How long: `1h`, `2d 12h` (of 24 hours each), `PT1H`.
    #[serde(with = "written")]
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub duration: SignedDuration,
    /// Whose approval makes waiting unnecessary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waived_by: Vec<Approver>,
}

/// How many of the upstream environments count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Upstream {
    /// One is enough.
    #[default]
    Any,
    /// It takes every one.
    All,
}

impl Upstream {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
    pub(super) fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

impl Soak {
    pub(super) fn check(&self) -> Result<()> {
        check_list("upstream environments", &self.upstream)?;
        check_list("approvers", &self.waived_by)?;
        self.waived_by.iter().try_for_each(Approver::check)?;
        if self.upstream.is_empty() || self.upstream.contains(&self.environment) {
            return Err(invalid("soaking needs an upstream environment, and that is another one"));
        }
        if !self.duration.is_positive() || self.duration > LONGEST {
            return Err(invalid("the duration is not between a second and a year"));
        }
        Ok(())
    }

    /// Whether a vote would make waiting unnecessary.
    pub(super) fn check_vote(&self, voter: &Actor, asked_by: &Actor) -> Result<()> {
        approval::check_vote(&self.waived_by, voter, asked_by)
    }

    pub(super) fn judge(&self, request: &Request) -> Option<Reason> {
        if request.environment != self.environment || request.is_proven_rollback() {
            return None;
        }
        let votes = approval::votes(request, &self.waived_by);
        // One of them against it outweighs another one's yes.
        if !votes.is_empty() && votes.values().all(|voted| voted.vote == Vote::Approve) {
            return None;
        }
        // For each environment that runs it: when it will have run there for long enough.
        let ends: Vec<(&FileName, Option<Timestamp>)> = self
            .upstream
            .iter()
            .filter_map(|name| Some((name, request.history.running_since.get(name)?)))
            .map(|(name, since)| (name, since.checked_add(self.duration).ok()))
            .collect();
        let done = |end: &Option<Timestamp>| end.is_some_and(|end| end <= request.at);
        let known = ends.iter().map(|(_, end)| *end);
        let end = match self.needs {
            Upstream::Any if known.clone().any(|end| done(&end)) => return None,
            Upstream::All if ends.len() == self.upstream.len() && known.clone().all(|end| done(&end)) => return None,
            Upstream::Any => known.flatten().min(),
            Upstream::All if ends.len() < self.upstream.len() => None,
            Upstream::All => known.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max()),
        };
        let duration = compact(self.duration);
        let upstream = names(self.upstream.iter().map(|name| format!("`{name}`")));
        let how_many = if self.needs == Upstream::All && self.upstream.len() > 1 { "each of " } else { "" };
        let Some(end) = end else {
            return Some(ReasonCode::NotUpstream.reason(
                format!("the artifact does not run in {upstream}, where it has to run for {duration} first"),
                format!("it runs in {how_many}{upstream} for {duration}"),
                None,
            ));
        };
        let left = compact(end.duration_since(request.at));
        Some(ReasonCode::Soaking.reason(
            format!("the artifact has to run in {how_many}{upstream} for {duration}, and {left} of that are left"),
            format!("it stays there until {end}"),
            Some(end),
        ))
    }
}

fn compact(duration: SignedDuration) -> String {
    // Parts of a second would only be noise.
    let seconds = duration.as_secs().saturating_add(i64::from(duration.subsec_nanos() > 0));
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// A duration as people write it. Days have 24 hours.
mod written {
    use jiff::{SignedDuration, Span};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{duration:#}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span: Span = text.parse().map_err(D::Error::custom)?;
        span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(D::Error::custom)
    }
}
