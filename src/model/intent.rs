//! Why a release is made.
//!
//! An [`Intent`] stands in the record of a release and in its commit. Whether it is allowed is decided
//! by the policies, not here.

use serde::{Deserialize, Serialize};

/// Why a release is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Intent {
    /// Somebody chose an artifact.
    ReleaseArtifact,
    /// Somebody chose a branch.
    ReleaseBranch {
        /// The branch.
        branch: String,
    },
    /// It goes on from another environment.
    Promote {
        /// That environment.
        from_environment: String,
    },
    /// An older artifact takes the place of a newer one.
    Rollback {
        /// The id of the artifact that it takes the place of.
        previous_artifact_id: String,
    },
    /// A policy asked for it.
    AutoRelease,
}
