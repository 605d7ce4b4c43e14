//! Which branches an environment takes, and which one it takes by itself.
//!
//! [`BranchRestriction`] and [`AutoRelease`] are the two kinds that an older system knows too. Its patterns
//! were searched for anywhere in the name of a branch; ours have to match all of it, unless
//! [`BranchMatch::Contains`] says otherwise.

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::decision::{Reason, ReasonCode, Request};
use super::{check_text, invalid};
use crate::model::failure::Result;
use crate::model::{FileName, text};

/// The most memory that a pattern may take, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// What is pushed from a branch is released by itself. An environment has one such branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AutoRelease {
    /// The branch, exactly.
    pub branch: String,
    /// Where to.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
}

/// Only branches that match may be released to an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct BranchRestriction {
    /// The environment.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// The regular expression.
    pub branch: String,
    /// How it is matched.
    #[serde(default, rename = "match", skip_serializing_if = "BranchMatch::is_anchored")]
    pub matching: BranchMatch,
}

/// How a pattern is matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum BranchMatch {
    /// It is the whole name.
    #[default]
    Anchored,
    /// It is found somewhere in the name, as the older system has it.
    Contains,
}

impl BranchMatch {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
    fn is_anchored(&self) -> bool {
        *self == Self::Anchored
    }
}

impl AutoRelease {
    pub(super) fn check(&self) -> Result<()> {
        check_text("branch", &self.branch)
    }
}

impl BranchRestriction {
    pub(super) fn check(&self) -> Result<()> {
        check_text("branch regex", &self.branch)?;
        self.compile().map(drop)
    }

    /// Whether the branch may be released to the environment. A pattern that cannot be read matches nothing.
    pub fn matches(&self, branch: &str) -> bool {
        self.compile().is_ok_and(|regex| regex.is_match(branch))
    }

    pub(super) fn judge(&self, request: &Request) -> Option<Reason> {
        let regex = match self.compile() {
            Ok(regex) => regex,
            Err(failure) => return Some(ReasonCode::PolicyInvalid.unusable(&failure)),
        };
        let (environment, pattern) = (&self.environment, text::shown(&self.branch));
        let what = match &request.artifact.branch {
            Some(branch) if regex.is_match(branch) => return None,
            Some(branch) => format!("branch `{}` may not be released to `{environment}`", text::shown(branch)),
            None => format!("only branches are released to `{environment}`, and the artifact is of none"),
        };
        let how = if self.matching == BranchMatch::Anchored { "matches" } else { "contains" };
        Some(ReasonCode::BranchRestricted.reason(
            what,
            format!("an artifact is released whose branch {how} `{pattern}`"),
            None,
        ))
    }

    /// The same rule as a pattern that is searched for, as the older system has it.
    pub(super) fn as_search(&self) -> String {
        let text = &self.branch;
        let inside = text.strip_prefix('^').and_then(|text| text.strip_suffix('$'));
        // Without alternatives, groups and escapes the anchors are those of the whole pattern.
        let is_whole = inside.is_some_and(|inside| !inside.contains(['|', '(', ')', '\\', '[', '^', '$']));
        match self.matching {
            BranchMatch::Anchored if !is_whole => format!("^(?:{text})$"),
            _ => text.clone(),
        }
    }

    fn compile(&self) -> Result<Regex> {
        // By itself first: `a)|(b` would become a pattern once it stands in parentheses.
        let alone = regex(&self.branch, &self.branch)?;
        match self.matching {
            BranchMatch::Anchored => regex(&format!(r"\A(?:{})\z", self.branch), &self.branch),
            BranchMatch::Contains => Ok(alone),
        }
    }
}

fn regex(pattern: &str, written: &str) -> Result<Regex> {
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build().map_err(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        // The words of the older system, where it has some.
        let what = match last {
            "unclosed group" => "missing closing )",
            "unopened group" => "unexpected )",
            "unclosed character class" => "missing closing ]",
            "repetition operator missing expression" => "missing argument to repetition operator",
            other => other,
        };
        invalid(format!("branch regex not valid: {what} in `{written}`"))
            .hint("it is a regular expression, such as `main|release/.*`; a `\\` before a character makes it a letter")
    })
}
