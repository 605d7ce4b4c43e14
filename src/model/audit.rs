//! One line of the server's audit log: who did what to what, and when.
//!
//! The bytes of [`Entry::render`] are a leaf of the log's tree, so they never change. Nothing secret
//! belongs into an entry: whoever may audit reads all of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Digest;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Entry {
    /// Which leaf it is, from nought.
    pub number: u64,
    /// When.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Who: `token:<id>`, or `console` for whoever runs commands beside the server.
    pub subject: String,
    /// What: `artifact.push`, `token.create`…
    pub verb: String,
    /// To what: `web/main-0123456789`, a token's id…
    pub object: String,
    /// The digest of what it is now, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub sha256: Option<Digest>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Entry {
    /// The leaf: one line of JSON.
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("plain text and numbers always serialise")
    }
}
