//! What is done by itself about a release that fails.
//!
//! An [`AutoRollback`] says that it is rolled back, and after which kind of [`Failing`]. To what, and when, is known
//! to whoever has the history.

use serde::{Deserialize, Serialize};

use crate::model::FileName;

/// A release that fails where it runs is rolled back by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AutoRollback {
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// Whether it is also when nobody could find out how it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_error: bool,
}

/// What is the matter with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// It was looked at, and does not run as it should.
    Verification,
    /// It could not be looked at, or not be brought in; that may not be its own fault.
    Error,
}

impl AutoRollback {
    /// Whether it is about such a failure.
    pub const fn is_about(&self, failing: Failing) -> bool {
        matches!(failing, Failing::Verification) || self.on_error
    }
}
