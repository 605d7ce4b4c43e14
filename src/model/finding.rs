//! One thing that a verifier found wrong.

use serde::Serialize;

use super::Code;

/// A single reason why a bundle is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The stable code.
    pub code: Code,
    /// The file of the bundle that it is about.
    pub file: String,
    /// What is wrong, in one sentence in lower case.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Finding {
    /// A finding about one file.
    pub fn new(code: Code, file: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, file: file.into(), message: message.into(), hint: hint.into() }
    }
}
