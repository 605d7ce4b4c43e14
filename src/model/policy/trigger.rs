//! What is released by itself, and what goes with its branch.
//!
//! [`fires`] says whether an artifact is one that a [`DeployTrigger`] waits for. Whether it may be released
//! then is decided by the other policies.

use serde::{Deserialize, Serialize};

use super::app::Template;
use super::decision::ArtifactFacts;
use super::glob::Glob;
use super::{check_list, check_text};
use crate::model::FileName;
use crate::model::artifact::Event;
use crate::model::failure::Result;

/// The words in a commit message that every pattern for messages answers to.
const ALL: &str = "[DEPLOY: ALL]";

/// What fits is released by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct DeployTrigger {
    /// Where to.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// What it is called, where an environment has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub name: Option<FileName>,
    /// The pattern for the branch; `!` before it turns it round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The pattern for the tag; `!` before it turns it round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What made the run start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// Patterns for the commit's message, of which one has to match. Square brackets in them are letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commit_message_patterns: Vec<String>,
    /// What it is called where it runs: `my-app-{{ .BRANCH | sanitizeDNSName }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

/// What was released from a branch goes when the branch is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Cleanup {
    /// The environment that it goes from.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// What it is called, where an environment has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub name: Option<FileName>,
    /// The pattern for the branch; `!` before it turns it round.
    pub branch: String,
    /// What it is called where it runs, as the trigger has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

/// Whether the artifact is one that the trigger waits for.
///
/// A rule about branches needs the event `push` or `pr`, one about tags the event `tag`. A trigger without any
/// rule waits for nothing, and so does one whose patterns cannot be read.
pub fn fires(trigger: &DeployTrigger, artifact: &ArtifactFacts) -> bool {
    trigger.tries(artifact).unwrap_or(false)
}

impl DeployTrigger {
    pub(super) fn key(&self) -> (&FileName, &Option<FileName>) {
        (&self.environment, &self.name)
    }

    pub(super) fn check(&self) -> Result<()> {
        self.branch.as_deref().map(|branch| Glob::of_names("branch pattern", branch)).transpose()?;
        self.tag.as_deref().map(|tag| Glob::of_names("tag pattern", tag)).transpose()?;
        check_list("commit message patterns", &self.commit_message_patterns)?;
        for pattern in &self.commit_message_patterns {
            Glob::of_messages(pattern)?;
        }
        self.app.as_deref().map_or(Ok(()), check_app)
    }

    /// The artifact's application, where the trigger names one.
    pub fn app(&self, artifact: &ArtifactFacts) -> Result<Option<FileName>> {
        let Some(app) = &self.app else { return Ok(None) };
        let source = artifact.branch.as_deref().map(|branch| ("BRANCH", branch));
        let tag = artifact.tag.as_deref().map(|tag| ("TAG", tag));
        let values: Vec<_> = source.into_iter().chain(tag).collect();
        Template::read(app)?.render(&values).map(Some)
    }

    /// Why it cannot ever fire, where that is so.
    pub fn never(&self) -> Option<&'static str> {
        match (&self.branch, &self.tag, self.event) {
            (Some(_), Some(_), _) => Some("no artifact comes from a branch and from a tag"),
            (Some(_), None, None | Some(Event::Tag)) => Some("a rule about branches needs the event `push` or `pr`"),
            (None, Some(_), event) if event != Some(Event::Tag) => Some("a rule about tags needs the event `tag`"),
            (None, None, None) if self.commit_message_patterns.is_empty() => Some("it has no rule"),
            _ => None,
        }
    }

    /// The one branch that it is about, where it is one.
    pub(super) fn only_branch(&self) -> Option<&str> {
        let is_plain =
            |branch: &&str| !branch.starts_with('!') && !branch.contains(['*', '?', '[', ']', '{', '}', '\\']);
        self.branch.as_deref().filter(is_plain)
    }

    fn tries(&self, artifact: &ArtifactFacts) -> Result<bool> {
        if self.never().is_some() || self.event.is_some_and(|event| event != artifact.event) {
            return Ok(false);
        }
        if let Some(pattern) = &self.branch {
            let glob = Glob::of_names("branch pattern", pattern)?;
            if !artifact.branch.as_deref().is_some_and(|branch| glob.is_match(branch)) {
                return Ok(false);
            }
        }
        if let Some(pattern) = &self.tag {
            let glob = Glob::of_names("tag pattern", pattern)?;
            if !artifact.tag.as_deref().is_some_and(|tag| glob.is_match(tag)) {
                return Ok(false);
            }
        }
        if self.commit_message_patterns.is_empty() {
            return Ok(true);
        }
        let message = artifact.message.as_deref().unwrap_or_default();
        for pattern in &self.commit_message_patterns {
            if Glob::of_messages(pattern)?.is_match(message) {
                return Ok(true);
            }
        }
        Ok(message.contains(ALL))
    }
}

impl Cleanup {
    pub(super) fn key(&self) -> (&FileName, &Option<FileName>) {
        (&self.environment, &self.name)
    }

    pub(super) fn check(&self) -> Result<()> {
        Glob::of_names("branch pattern", &self.branch)?;
        self.app.as_deref().map_or(Ok(()), check_app)
    }

    /// Whether what was released from the branch goes with it.
    pub fn matches(&self, branch: &str) -> bool {
        Glob::of_names("branch pattern", &self.branch).is_ok_and(|glob| glob.is_match(branch))
    }

    /// The branch's application, where the cleanup names one.
    pub fn app(&self, branch: &str) -> Result<Option<FileName>> {
        let Some(app) = &self.app else { return Ok(None) };
        Template::read(app)?.render(&[("BRANCH", branch)]).map(Some)
    }
}

fn check_app(app: &str) -> Result<()> {
    check_text("app", app)?;
    Template::read(app).map(drop)
}
