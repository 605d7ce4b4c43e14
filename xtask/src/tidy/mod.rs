//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! The main function is [`findings`]: every check looks at the whole repository and says what it
//! found, where, and why the rule is there. It reads text, not syntax trees: a rule that needs more
//! than that belongs in clippy.

mod calls;
mod codes;
mod documents;
mod floors;
mod places;
mod rust_text;
mod shape;

use std::fmt;

use anyhow::Result;

use crate::codegen;
use crate::repository::{self, Repository};

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

type Check = fn(&Repository) -> Vec<Finding>;

const CHECKS: &[Check] = &[
    floors::arrows_point_down,
    shape::files_are_short,
    shape::modules_say_what_they_are_for,
    shape::names_say_something,
    calls::deeds_have_one_home,
    calls::nothing_is_left_for_later,
    codes::every_code_is_used,
    documents::environment_is_documented,
    documents::links_lead_somewhere,
    documents::changelog_is_open,
    places::no_machine_is_named,
    places::no_registry_is_named,
];

/// Everything that is against a rule, sorted by place.
pub(crate) fn findings(repository: &Repository) -> Vec<Finding> {
    let mut findings: Vec<_> = CHECKS.iter().flat_map(|check| check(repository)).collect();
    findings.sort();
    findings
}

/// Runs every check, prints all that was found, and tells whether that was nothing.
pub(crate) fn run() -> Result<bool> {
    let root = repository::root();
    let repository = Repository::read(&root)?;
    let findings = findings(&repository);
    for finding in &findings {
        eprintln!("{finding}");
    }
    let stale = codegen::stale(&root)?;
    for path in &stale {
        eprintln!("{path}:1: is not what the code says; run `cargo xtask codegen`");
    }
    let count = findings.len() + stale.len();
    if count == 0 {
        eprintln!("tidy: {} files, nothing to say", repository.files().count());
    } else {
        eprintln!("tidy: {count} findings");
    }
    Ok(count == 0)
}

/// The number of the line that a byte stands on, counted from one.
fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}
