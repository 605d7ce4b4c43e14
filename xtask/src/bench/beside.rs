//! Programs that run on beside what is measured: the one home of that in the benches.
//!
//! [`beside`] only prepares one. Whoever starts it ends it.

/// A program that goes on while other things happen, such as a server.
#[expect(clippy::disallowed_methods, reason = "a server has to run beside what is measured")]
pub(super) fn beside(program: &str) -> std::process::Command {
    std::process::Command::new(program)
}
