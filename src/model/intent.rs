//! Why a release happened.
//!
//! The main item is [`Intent`]. A release, a promotion and a rollback are one deed with different
//! reasons; whoever reads the history wants the reason.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a release happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Intent {
    /// Somebody wanted this artifact.
    ReleaseArtifact,
    /// Somebody wanted the latest of a branch.
    ReleaseBranch {
        /// The branch.
        branch: String,
    },
    /// What another environment has was wanted here too.
    Promote {
        /// The other environment.
        from_environment: String,
    },
    /// An older artifact was wanted again.
    Rollback {
        /// The artifact that was there before.
        previous_artifact_id: String,
    },
    /// A policy wanted it.
    AutoRelease,
}

impl Intent {
    /// The words for every kind, as they are written in JSON.
    pub const KINDS: [&'static str; 5] = ["release-artifact", "release-branch", "promote", "rollback", "auto-release"];

    /// The word for its kind, as it is written in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ReleaseArtifact => Self::KINDS[0],
            Self::ReleaseBranch { .. } => Self::KINDS[1],
            Self::Promote { .. } => Self::KINDS[2],
            Self::Rollback { .. } => Self::KINDS[3],
            Self::AutoRelease => Self::KINDS[4],
        }
    }

    /// Whether no person asked for it.
    pub const fn is_automatic(&self) -> bool {
        matches!(self, Self::AutoRelease)
    }
}

/// As people say it.
impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReleaseArtifact => f.write_str("artifact release"),
            Self::ReleaseBranch { branch } => write!(f, "{branch} branch release"),
            Self::Promote { from_environment } => write!(f, "promotion from {from_environment}"),
            Self::Rollback { previous_artifact_id } => write!(f, "rollback of {previous_artifact_id}"),
            Self::AutoRelease => f.write_str("autorelease"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_intent_has_one_written_form() {
        for (intent, json) in [
            (Intent::ReleaseArtifact, r#"{"type":"release-artifact"}"#),
            (Intent::ReleaseBranch { branch: "main".to_owned() }, r#"{"type":"release-branch","branch":"main"}"#),
            (Intent::Promote { from_environment: "dev".to_owned() }, r#"{"type":"promote","from_environment":"dev"}"#),
            (
                Intent::Rollback { previous_artifact_id: "a-1".to_owned() },
                r#"{"type":"rollback","previous_artifact_id":"a-1"}"#,
            ),
            (Intent::AutoRelease, r#"{"type":"auto-release"}"#),
        ] {
            assert_eq!(serde_json::to_string(&intent).expect("plain data"), json);
            assert_eq!(serde_json::from_str::<Intent>(json).expect("our own form"), intent);
            assert!(json.contains(&format!("\"type\":\"{}\"", intent.kind())));
        }
        assert!(serde_json::from_str::<Intent>(r#"{"type":"promote","from_environment":"dev","x":1}"#).is_err());
    }
}
