//! Patterns for branches, tags and commit messages, as triggers and cleanups have them.
//!
//! A [`Glob`] is `*`, `?`, `[…]` and `{a,b}` over the whole text, where `*` crosses `/`, and a `!` before it
//! turns it round. A text that is the pattern letter by letter matches too.

use globset::{GlobBuilder, GlobMatcher};

use super::{check_text, invalid};
use crate::model::failure::Result;

/// A pattern, ready to be used.
pub(super) struct Glob<'a> {
    negated: bool,
    text: &'a str,
    matcher: GlobMatcher,
}

impl<'a> Glob<'a> {
    /// A pattern for the names of branches or tags.
    pub(super) fn of_names(what: &str, pattern: &'a str) -> Result<Self> {
        check_text(what, pattern)?;
        let (negated, text) = match pattern.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, pattern),
        };
        check_text(what, text)?;
        Ok(Self { negated, text, matcher: matcher(what, pattern, text)? })
    }

    /// A pattern for commit messages: square brackets are letters, and nothing is turned round.
    pub(super) fn of_messages(pattern: &'a str) -> Result<Self> {
        let what = "commit message pattern";
        check_text(what, pattern)?;
        let mut literal = String::with_capacity(pattern.len() + 8);
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            if matches!(character, '[' | ']') {
                literal.push('\\');
            }
            literal.push(character);
            if character == '\\' {
                literal.extend(characters.next());
            }
        }
        Ok(Self { negated: false, text: pattern, matcher: matcher(what, pattern, &literal)? })
    }

    /// Whether the text is one that is meant.
    pub(super) fn is_match(&self, text: &str) -> bool {
        (self.text == text || self.matcher.is_match(text)) != self.negated
    }
}

fn matcher(what: &str, written: &str, pattern: &str) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build();
    let glob = glob.map_err(|error| {
        invalid(format!("{what} not valid: {} in `{written}`", error.kind()))
            .hint("`*`, `?`, `[…]` and `{a,b}` are special; a `\\` before a character makes it a letter")
    })?;
    Ok(glob.compile_matcher())
}
