//! How long the documents of a catalog are good for, and when one is signed anew.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::trust::tuf::roles::RoleName;

/// A document that ends within this time is signed anew by a refresh.
pub(super) const NEAR: SignedDuration = SignedDuration::from_hours(60 * 24);

/// How long documents are good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// The root.
    pub root: Duration,
    /// The list of files.
    pub targets: Duration,
    /// What belongs together.
    pub snapshot: Duration,
    /// What is the newest.
    pub timestamp: Duration,
    /// Whether something signs the timestamp anew in time.
    pub refresh: Refresh,
}

/// Whether something signs the timestamp anew in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// A scheduled job does.
    Scheduled,
    /// Nobody does unless asked.
    ByHand,
}

impl Lifetimes {
    /// A year for everything.
    pub const DEFAULT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// How long a role's document is good for.
    pub fn of(&self, role: RoleName) -> Duration {
        match role {
            RoleName::Root => self.root,
            RoleName::Targets => self.targets,
            RoleName::Snapshot => self.snapshot,
            RoleName::Timestamp => self.timestamp,
        }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        let year = Self::DEFAULT;
        Self { root: year, targets: year, snapshot: year, timestamp: year, refresh: Refresh::ByHand }
    }
}

/// What is said of a document that ends soon.
pub(super) fn near(role: RoleName, end: Timestamp) -> String {
    let way = match role {
        RoleName::Root => "`consign trust renew`, with its keys".to_owned(),
        _ => format!("`consign catalog refresh`, with a key of the role {role}"),
    };
    format!("{role}.json ends {}; sign it anew: {way}", end.strftime("%Y-%m-%d"))
}
