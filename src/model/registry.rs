//! What the registry answers, as its server writes it and its clients read it.
//!
//! A client passes over fields that it does not know, so that an older one can ask a newer server.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Digest;
use super::artifact::Artifact;

/// An artifact, and what the registry knows of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Shown {
    /// The record, as it was pushed.
    pub artifact: Artifact,
    /// The digest of its one form.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub sha256: Digest,
    /// When it was pushed.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub pushed_at: Timestamp,
    /// Who pushed it.
    pub pushed_by: String,
    /// What came of verifying its bundle: `none`, `unchecked`, `passed`, `failed`; `outdated` where the server
    /// believes something else by now and has not verified it again yet.
    pub verdict: String,
    /// The signed verification summary, as one line of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// How the run that built it ended, where that was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Reported>,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Reported {
    /// How.
    pub outcome: Outcome,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was reported.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Who reported it.
    pub by: String,
}

/// How the run that built an artifact ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Outcome {
    /// As it should.
    Successful,
    /// Otherwise.
    Failed,
}

impl Outcome {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::Failed => "failed",
        }
    }

    /// The outcome of a word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Successful, Self::Failed].into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// A report on how a run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Report {
    /// How.
    pub outcome: Outcome,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(max_length = 2000))]
    pub note: Option<String>,
}

/// A page of artifacts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Page {
    /// The artifacts, the one that was pushed last first.
    pub artifacts: Vec<Shown>,
    /// What to ask for the next page with; nothing behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Who one is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Whoami {
    /// The name in the audit log.
    pub subject: String,
    /// What the token is called.
    pub name: String,
    /// What it allows.
    pub grants: String,
}

/// Lines of the audit log beside each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Leaves {
    /// The number of the first one.
    pub from: u64,
    /// Each as it was written: the hash of the tree's leaf is over these very bytes.
    pub leaves: Vec<String>,
}

/// The hashes of a proof, in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Proof {
    /// The hashes.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub hashes: Vec<Digest>,
}
