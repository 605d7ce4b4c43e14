//! The clock, in its one home. Only the faces of the program ask it, and hand the answer down.

use jiff::Timestamp;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the one home of the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
