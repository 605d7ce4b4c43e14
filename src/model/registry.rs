//! What the registry answers, as its server writes it and its clients read it.
//!
//! A client passes over fields that it does not know, so that an older one can ask a newer server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::artifact::Artifact;
use super::{Digest, FileName};

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

/// How people log in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Login {
    /// The providers of identities that can be asked.
    pub providers: Vec<LoginProvider>,
}

/// A provider of identities (OpenID Connect) whose tokens the server takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct LoginProvider {
    /// What the server calls it.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub name: FileName,
    /// Its address, where its discovery document is.
    pub issuer: String,
    /// Whom it knows this command as.
    pub client_id: String,
    /// What it is asked for.
    pub scope: String,
    /// Which of its tokens the server takes.
    pub token: LoginToken,
    /// What else it is told, such as `resource`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// Which token of a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum LoginToken {
    /// The one that says who somebody is.
    #[default]
    IdToken,
    /// The one that is for a resource, where it is a JWT.
    AccessToken,
}

/// A token that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// What it allows: `push:web read:*`.
    pub grants: String,
    /// After how many days it counts no more.
    #[cfg_attr(feature = "server", schema(minimum = 1, maximum = 3650))]
    pub expires_in_days: u32,
}

/// A token that was made. It is shown this once.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct TokenMade {
    /// What it is called in lists and in the audit log.
    pub id: String,
    /// The token.
    pub token: String,
    /// What it allows.
    pub grants: String,
    /// From when on it counts no more.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub expires_at: Option<Timestamp>,
}

/// Every token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// The tokens, the oldest first.
    pub tokens: Vec<TokenRow>,
}

/// A token in a list, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct TokenRow {
    /// What it is called in the audit log.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub grants: String,
    /// When it was made.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// From when on it counts no more.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub expires_at: Option<Timestamp>,
    /// Since when it was taken back.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, format = DateTime))]
    pub last_used_at: Option<Timestamp>,
    /// Whether it counts.
    pub counts: bool,
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
