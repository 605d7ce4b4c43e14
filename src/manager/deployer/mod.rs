//! How an environment is changed: one file or directory per kind of place.
//!
//! [`Land`] is what the queue needs of one.

pub mod git;

use jiff::Timestamp;

use crate::model::failure::Result;

use git::{ConfigRepository, Decision, Landed, Landing};

/// What brings changes into environments, as [`ConfigRepository::land`] describes it.
pub trait Land: Send {
    /// Lands everything at once, in its order, and says what became of each.
    fn land(
        &mut self,
        landings: &[Landing],
        now: Timestamp,
        before_commit: &mut dyn FnMut(&Landing) -> Decision,
    ) -> Result<Vec<Landed>>;

    /// Puts what landing has left behind in order.
    fn tidy(&mut self) -> Result<()>;
}

impl Land for ConfigRepository {
    fn land(
        &mut self,
        landings: &[Landing],
        now: Timestamp,
        before_commit: &mut dyn FnMut(&Landing) -> Decision,
    ) -> Result<Vec<Landed>> {
        Self::land(self, landings, now, before_commit)
    }

    fn tidy(&mut self) -> Result<()> {
        Self::tidy(self)
    }
}
