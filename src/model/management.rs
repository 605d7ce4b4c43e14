//! What the release manager is told besides releases: policies, holds, approvals; and its report.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::{Decision, Document, Policy};
use super::{Digest, FileName};

/// The policies that hold for a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PolicyList {
    /// The service.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub service: FileName,
    /// First those that stand above any service's, then its own.
    pub policies: Vec<Standing>,
    /// The digest of all of them.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub sha256: Digest,
}

/// A policy that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Standing {
    /// What it is called; nothing for one that cannot be taken away here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it says.
    pub policy: Policy,
}

/// A policy was put in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Applied {
    /// What it is called.
    pub id: String,
    /// Whether anything is different now.
    pub changed: bool,
}

/// Policies were taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Deleted {
    /// How many.
    pub count: usize,
}

/// A change of policies that is only thought of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PolicyTest {
    /// The policies that the service would have of its own.
    pub policies: Document,
    /// Releases that were asked for at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
}

/// What a change of policies would have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PolicyTested {
    /// How many releases were looked at.
    pub releases: usize,
    /// Those that would have been answered otherwise.
    pub changed: Vec<Replayed>,
}

/// A release that would have been answered otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Replayed {
    /// The release.
    pub release: String,
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// The artifact.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub artifact: FileName,
    /// When it was asked for.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub requested_at: Timestamp,
    /// What the policies that there are say to it.
    pub before: Decision,
    /// What the others would say.
    pub after: Decision,
}

/// Automation is to be suspended in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct HoldSet {
    /// The namespace, where it is not the environment's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub namespace: Option<FileName>,
    /// Why.
    #[cfg_attr(feature = "server", schema(max_length = 1000))]
    pub reason: String,
}

/// Automation goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Resumed {
    /// Whether there was a hold.
    pub was_held: bool,
}

/// Somebody's yes or no to an artifact in an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ApprovalGiven {
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// The artifact; what is approved is the digest that it has now.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub artifact: FileName,
    /// Whether it is a yes.
    pub approve: bool,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(max_length = 1000))]
    pub comment: Option<String>,
}

/// How releasing went: DORA's four numbers, from the releases themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Report {
    /// From this instant on.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// Before this one.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub until: Timestamp,
    /// One for every environment that anything was released to.
    pub environments: Vec<Numbers>,
}

/// The four numbers of one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Numbers {
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// How many releases were written into it.
    pub releases: u64,
    /// Deployment frequency: those, for each day of the time.
    pub releases_per_day: f64,
    /// Lead time for changes: from the artifact's build to being written, the one in the middle, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_time_seconds: Option<f64>,
    /// Change failure rate: the share of releases that failed once written, or were rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<f64>,
    /// Time to restore: from such a failure to the next release that was not one, the one in the middle, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_seconds: Option<f64>,
}
