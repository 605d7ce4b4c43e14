//! What configuration repositories say of releases, also of those that this server has not made.
//!
//! [`Found`] is what stands in one place against what the server released there last, [`Past`] is what a place had, one
//! after the other. A client passes over fields that it does not know.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FileName;
use super::artifact::{Artifact, Person};
use super::delivery::{Release, Status};
use super::intent::Intent;

/// How what stands in a place is not what this server released there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Difference {
    /// This server has released nothing that is still there; somebody else has.
    Elsewhere,
    /// Somebody else has released another artifact since.
    Replaced,
    /// It is the same artifact, but somebody else has changed its files since.
    Edited,
    /// Somebody else has removed it since.
    Removed,
}

impl Difference {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Replaced => "replaced",
            Self::Edited => "edited",
            Self::Removed => "removed",
        }
    }
}

/// What stands in a place, where it is not what this server released there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Found {
    /// What is different.
    pub difference: Difference,
    /// The artifact that stands there, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// The commit that brought it there, or removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub at: Option<Timestamp>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Person>,
    /// Why, where it was a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// The first line of what the artifact was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How fresh what is said of a configuration repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Repository {
    /// The deployer that it belongs to.
    pub deployer: String,
    /// The commit that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When the repository was last asked with success; nothing, where it was not since the server was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub fetched_at: Option<Timestamp>,
    /// Why it is not known what has happened since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One release in the past of a place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PastRelease {
    /// How many there were after it.
    pub index: u32,
    /// The artifact's id.
    pub artifact: String,
    /// The environment.
    pub environment: String,
    /// The namespace, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// When it was written.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub released_at: Timestamp,
    /// Who released it.
    pub released_by: Person,
    /// Why.
    pub intent: Intent,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The artifact's record as it was released, where the repository has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<Artifact>>,
    /// All that this server knows of it; nothing, where somebody else has released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Box<Release>>,
}

/// What a service had in an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Past {
    /// The service.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub service: FileName,
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// The releases, the last one first.
    pub releases: Vec<PastRelease>,
    /// How fresh this is.
    pub repositories: Vec<Repository>,
}

/// An artifact that a configuration repository has the record of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PastArtifact {
    /// The record.
    pub record: Artifact,
    /// The commit that released it first, as far back as was read.
    pub commit: String,
    /// When that was.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub released_at: Timestamp,
}

/// The artifacts of a service that were released, by configuration repositories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PastArtifacts {
    /// The one that was built last first.
    pub artifacts: Vec<PastArtifact>,
    /// How fresh this is.
    pub repositories: Vec<Repository>,
}

/// A page of what services have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Statuses {
    /// One for each service that is somewhere, by name.
    pub services: Vec<Status>,
    /// What to ask for the next page with; nothing behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub next: Option<FileName>,
    /// How fresh this is.
    pub repositories: Vec<Repository>,
}
