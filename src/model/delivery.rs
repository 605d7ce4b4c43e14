//! Releases: one artifact going to one environment, as the server writes them and its clients read them.
//!
//! An [`Order`] is what was asked for and never changes; a [`Release`] is that and how far it has come,
//! which is a [`State`]. A client passes over fields that it does not know, so that an older one can
//! ask a newer server. What may be released is decided by policies; how, by deployers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::artifact::Person;
use super::found::{Difference, Found, Repository};
use super::intent::Intent;
use super::policy::Decision;
use super::{Digest, FileName};

/// How far a release has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum State {
    /// It waits for somebody's approval.
    Requested,
    /// It waits for its turn.
    Queued,
    /// It is being written into the environment.
    Committing,
    /// It is written; where nobody reports what became of it, this is the end.
    Pushed,
    /// The environment is being changed.
    Applying,
    /// It runs as it should.
    Healthy,
    /// It will not come to anything.
    Failed,
    /// A later one took its place.
    Superseded,
    /// An older artifact was put back in its place.
    RolledBack,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Requested,
        Self::Queued,
        Self::Committing,
        Self::Pushed,
        Self::Applying,
        Self::Healthy,
        Self::Failed,
        Self::Superseded,
        Self::RolledBack,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Queued => "queued",
            Self::Committing => "committing",
            Self::Pushed => "pushed",
            Self::Applying => "applying",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::RolledBack => "rolled-back",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it is what an environment has.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Pushed | Self::Applying | Self::Healthy)
    }

    /// Whether it has not reached its environment yet, and still may.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Requested | Self::Queued | Self::Committing)
    }

    /// Whether nothing more will come, where an environment is observed or where it is not.
    pub const fn is_end(self, is_observed: bool) -> bool {
        match self {
            Self::Requested | Self::Queued | Self::Committing => false,
            Self::Pushed | Self::Applying => !is_observed,
            Self::Healthy | Self::Failed | Self::Superseded | Self::RolledBack => true,
        }
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::parse(word).ok_or_else(|| "it is no state of a release".to_owned())
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who wants a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Actor {
    /// The name in the audit log.
    pub subject: String,
    /// What people call them.
    pub name: String,
    /// Their address, where one is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// Whether it is no person, but a policy.
    #[serde(default)]
    pub is_automation: bool,
    /// The groups that the issuer of their token names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// The roles that the server gives them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// The person whose push made a policy act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Order {
    /// What it is called.
    pub id: String,
    /// What is released.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub service: FileName,
    /// Where it runs within the environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub namespace: FileName,
    /// Where it goes.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// The artifact's id.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub artifact: FileName,
    /// The digest of its record.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub artifact_sha256: Digest,
    /// Why.
    pub intent: Intent,
    /// Who wants it.
    pub actor: Actor,
    /// Why a freeze does not count for it, where somebody who may say so did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<String>,
    /// The artifact that the environment had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub previous: Option<FileName>,
    /// When it was asked for.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub requested_at: Timestamp,
}

/// A release: what was asked for, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Release {
    /// What was asked for.
    #[serde(flatten)]
    pub order: Order,
    /// How far it has come.
    pub state: State,
    /// Whether nothing more will come.
    pub is_end: bool,
    /// Why it failed, as a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it waits or failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The commit of the configuration repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What the policies said when they were asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// When it was written into the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub pushed_at: Option<Timestamp>,
    /// When it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub ended_at: Option<Timestamp>,
    /// Every state that it had, where one is asked for alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// A state that a release had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Step {
    /// The state.
    pub state: State,
    /// Since when.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A request to release something into some environments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ReleaseRequest {
    /// What is released.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub service: FileName,
    /// The namespace, where it is not the artifact's or the environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub namespace: Option<FileName>,
    /// Where it goes; each is a release of its own.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>, min_items = 1, max_items = 50))]
    pub environments: Vec<FileName>,
    /// Which artifact.
    pub what: Selector,
    /// Why a freeze should not count for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(max_length = 1000))]
    pub override_reason: Option<String>,
    /// What the one who asks is called in commits, where the token does not say it. It allows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// Only say what would become of it.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which artifact is released, and with what intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Selector {
    /// One by its id.
    Artifact {
        /// The id.
        #[cfg_attr(feature = "server", schema(value_type = String))]
        id: FileName,
    },
    /// The latest one of exactly this branch.
    Branch {
        /// The branch.
        #[cfg_attr(feature = "server", schema(max_length = 255))]
        branch: String,
    },
    /// The one that another environment has; the one before in the graph, where none is named.
    Promote {
        /// That environment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
        from: Option<FileName>,
    },
    /// One that the environment had before; the last one before, where none is named.
    Rollback {
        /// That artifact.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
        artifact: Option<FileName>,
    },
}

/// What became of a request, for every environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Granted {
    /// What is released.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub service: FileName,
    /// One for every environment, in the order of the request.
    pub results: Vec<Granting>,
}

/// What became of a request for one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Granting {
    /// Where.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// The artifact, as far as it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub artifact: Option<FileName>,
    /// What became of it.
    pub result: Verdict,
    /// The release, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Why not, as a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why not, or how far what is on its way already has come, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the policies said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// What became of a request for one environment, as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Verdict {
    /// It waits for its turn.
    Accepted,
    /// It waits for approvals.
    NeedsApproval,
    /// The environment has it already, or will have.
    UpToDate,
    /// It would be accepted.
    WouldBeAccepted,
    /// It is refused.
    Refused,
}

/// What a service has in its environments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Status {
    /// The service.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub service: FileName,
    /// One for every environment and namespace that it has something in, in the order of the graph.
    pub places: Vec<Place>,
    /// How fresh is what was found in environments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
}

/// What a service has in one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Place {
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// The namespace.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub namespace: FileName,
    /// What this server released there last, also where that has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Release>,
    /// What stands there, where it is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// What is on its way there, the next one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Release>,
    /// Why automation passes it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

impl Place {
    /// The artifact that stands there, whoever brought it.
    pub fn artifact(&self) -> Option<&str> {
        match &self.found {
            Some(Found { difference: Difference::Removed, .. }) => None,
            Some(Found { artifact: Some(artifact), .. }) => Some(artifact),
            _ => self.live.as_ref().map(|live| live.order.artifact.as_str()),
        }
    }
}

/// Automation suspended in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Hold {
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// The namespace.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub namespace: FileName,
    /// The artifact that is held off, where it is one: promoting it lifts the hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub candidate: Option<FileName>,
    /// Why.
    pub reason: String,
    /// Since when.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// By whom.
    pub by: String,
}

/// A page of releases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Releases {
    /// The releases, the one that was asked for last first.
    pub releases: Vec<Release>,
    /// What to ask for the next page with; nothing behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An environment, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Environment {
    /// What it is called.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub name: FileName,
    /// The environments that artifacts are promoted from; the first is meant where none is named.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub from: Vec<FileName>,
    /// How it is changed: the name of a deployer.
    pub deployer: String,
    /// Whether somebody reports what became of a release.
    pub is_observed: bool,
}

/// Every environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Environments {
    /// In their order: none before those that it is promoted from.
    pub environments: Vec<Environment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_one_word() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).expect("a word"), state.as_str());
            assert!(!(state.is_live() && state.is_waiting()), "{state}");
        }
        assert_eq!(State::parse("done"), None);
    }

    #[test]
    fn where_nobody_reports_being_written_is_the_end() {
        assert!(State::Pushed.is_end(false) && !State::Pushed.is_end(true));
        assert!(State::Healthy.is_end(true) && State::Failed.is_end(true));
        assert!(!State::Requested.is_end(false) && !State::Committing.is_end(false));
    }
}
