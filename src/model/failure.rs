//! One failure: what could not be done, to what, and the way out.
//!
//! There is one error type for the whole crate, because every failure ends the same way: as a line
//! and a hint on a terminal, a JSON document for a script, and an exit code. Callers that treat
//! some failures differently match on [`Failure::code`], which is a closed list.

use std::error::Error;
use std::fmt;

use super::Code;

/// The result of everything that can fail.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What could not be done, with a stable code, the cause and a hint.
///
/// `Display` gives the message only. The cause is the [`Error::source`] and is never repeated in
/// the message.
#[derive(Debug)]
pub struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    message: String,
    subject: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with its message: lower case, no full stop, naming the thing and the deed.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, message: message.into(), subject: None, hint: None, source: None }))
    }

    /// Names the file, package or setting that it is about.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What it is about, if it is about one thing.
    pub fn about(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// What to do next, if that is known.
    pub fn way_out(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The message and every cause below it, one string each.
    pub fn chain(&self) -> Vec<String> {
        let mut lines = vec![self.to_string()];
        let mut next = self.source();
        while let Some(error) = next {
            lines.push(error.to_string());
            next = error.source();
        }
        lines
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
