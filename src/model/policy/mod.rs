//! Policies: who may release what to which environment, when, and what is released by itself.
//!
//! A [`Policy`] is data with one written form. [`PolicySet`] keeps the policies of a service beside those
//! of the server's configuration and refuses what contradicts; [`decide`] answers whether a release may
//! be made, and otherwise what has to become true, and when. All of it is a function of what is handed
//! in: instants, history, votes. What a decision leads to is not done here.

mod app;
mod approval;
mod decision;
mod evidence;
mod freeze;
mod glob;
mod hold;
pub mod older;
mod progression;
mod recovery;
mod restriction;
mod set;
mod soak;
mod trigger;
mod zone;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::failure::Result;
use super::{Code, Failure, FileName, pretty};

pub use app::{DNS_NAME_LIMIT, sanitize_dns_name};
pub use approval::{Approval, Approver, Rollbacks, Vote, Voted};
pub use decision::{
    ArtifactFacts, Decision, History, HoldChange, Outcome, Overridden, Override, Reason, ReasonCode, Request, decide,
};
pub use evidence::{Evidence, Verdict};
pub use freeze::{Action, Freeze, Span, WeekTime, Window};
pub use hold::{Hold, HoldAfterRollback};
pub use progression::{Block, Came, Progression, Stage};
pub use recovery::{AutoRollback, Failing};
pub use restriction::{AutoRelease, BranchMatch, BranchRestriction};
pub use set::{Automation, Global, PolicySet, Scope, Standing};
pub use soak::{Soak, Upstream};
pub use trigger::{Cleanup, DeployTrigger, fires};

/// The document type.
pub const TYPE: &str = "consign.policies/v1";
/// The largest document that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The most policies of a service, and of the server's configuration.
pub const MAX_POLICIES: usize = 256;
/// The longest pattern, branch, template or reason, in bytes.
const MAX_TEXT_BYTES: usize = 1000;
/// The longest list in a policy.
const MAX_LIST: usize = 64;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Policy {
    /// What is pushed from a branch is released by itself.
    AutoRelease(AutoRelease),
    /// Only some branches may be released.
    BranchRestriction(BranchRestriction),
    /// What fits is released by itself.
    DeployTrigger(DeployTrigger),
    /// What was released from a branch goes with the branch.
    Cleanup(Cleanup),
    /// People have to agree.
    Approval(Approval),
    /// Nothing is released at some times.
    Freeze(Freeze),
    /// It has to have run elsewhere for a while.
    Soak(Soak),
    /// It has to be proven good.
    Evidence(Evidence),
    /// Whether automation stops after a rollback.
    HoldAfterRollback(HoldAfterRollback),
    /// It has to have come out well elsewhere.
    Progression(Progression),
    /// An artifact goes no further.
    Block(Block),
    /// What fails is rolled back by itself.
    AutoRollback(AutoRollback),
}

/// Policies as they are written down and sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Document {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", schema(pattern = "^consign\\.policies/v1$"))]
    pub kind: String,
    /// The policies, in their order.
    pub policies: Vec<Policy>,
}

/// Who asks, or votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Actor {
    /// The name in the audit log.
    pub subject: String,
    /// Whether it is a person.
    pub kind: ActorKind,
    /// The groups that the issuer of the token names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// The roles that the server gives.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// The address of the person whose push or tag made automation act; of a voter, their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

/// Whether somebody is a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum ActorKind {
    /// A person.
    User,
    /// A program that acts by itself.
    Automation,
}

impl Policy {
    /// The name that stands for it among the policies of a service. It follows from what the policy is about.
    pub fn id(&self) -> String {
        let named = |kind: &str, environment: &FileName, name: &Option<FileName>| match name {
            Some(name) => format!("{kind}-{environment}-{name}"),
            None => format!("{kind}-{environment}"),
        };
        match self {
            Self::AutoRelease(policy) => format!("auto-release-{}-{}", policy.branch, policy.environment),
            Self::BranchRestriction(policy) => format!("branch-restriction-{}", policy.environment),
            Self::DeployTrigger(policy) => named("deploy-trigger", &policy.environment, &policy.name),
            Self::Cleanup(policy) => named("cleanup", &policy.environment, &policy.name),
            Self::Approval(policy) => named("approval", &policy.environment, &policy.name),
            Self::Freeze(policy) => format!("freeze-{}", policy.name),
            Self::Soak(policy) => format!("soak-{}", policy.environment),
            Self::Evidence(policy) => format!("evidence-{}", policy.environment),
            Self::HoldAfterRollback(policy) => format!("hold-after-rollback-{}", policy.environment),
            Self::Progression(policy) => format!("progression-{}", policy.environment),
            Self::Block(policy) => format!("block-{}", policy.artifact),
            Self::AutoRollback(policy) => format!("auto-rollback-{}", policy.environment),
        }
    }

    /// Whether it can be used at all: patterns and time zones are known, numbers make sense.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::AutoRelease(policy) => policy.check(),
            Self::BranchRestriction(policy) => policy.check(),
            Self::DeployTrigger(policy) => policy.check(),
            Self::Cleanup(policy) => policy.check(),
            Self::Approval(policy) => policy.check(),
            Self::Freeze(policy) => policy.check(),
            Self::Soak(policy) => policy.check(),
            Self::Evidence(policy) => policy.check(),
            Self::Progression(policy) => policy.check(),
            Self::Block(policy) => policy.check(),
            Self::HoldAfterRollback(_) | Self::AutoRollback(_) => Ok(()),
        }
        .map_err(|failure| failure.subject(self.id()))
    }

    /// Whether the other one would take its place: there is one of its kind for what it is about.
    fn replaces(&self, other: &Self) -> bool {
        match (self, other) {
            // The branch is in the id, and yet there is one for each environment.
            (Self::AutoRelease(one), Self::AutoRelease(other)) => one.environment == other.environment,
            (Self::DeployTrigger(one), Self::DeployTrigger(other)) => one.key() == other.key(),
            (Self::Cleanup(one), Self::Cleanup(other)) => one.key() == other.key(),
            (Self::Approval(one), Self::Approval(other)) => one.key() == other.key(),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other) && self.id() == other.id(),
        }
    }
}

impl Document {
    /// A document of policies.
    pub fn new(policies: Vec<Policy>) -> Self {
        Self { kind: TYPE.to_owned(), policies }
    }

    /// Reads a document, strictly, and checks each policy by itself.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(invalid(format!("the policies are larger than {MAX_BYTES} bytes")));
        }
        let document: Self =
            serde_json::from_slice(bytes).map_err(|error| invalid("the policies cannot be read").because(error))?;
        document.check()?;
        Ok(document)
    }

    /// Writes the one form.
    pub fn render(&self) -> Vec<u8> {
        pretty(self)
    }

    /// Whether the type is right and each policy can be used.
    pub fn check(&self) -> Result<()> {
        if self.kind != TYPE {
            return Err(invalid(format!("the type of the policies is not `{TYPE}`")));
        }
        if self.policies.len() > MAX_POLICIES {
            return Err(invalid(format!("there are more than {MAX_POLICIES} policies")));
        }
        self.policies.iter().try_for_each(Policy::check)
    }
}

fn invalid(what: impl Into<String>) -> Failure {
    Failure::new(Code::PolicyInvalid, what)
}

/// A text that is somebody's choice: not empty, not endless, nothing in it that hides.
fn check_text(what: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
        return Err(invalid(format!("the {what} is empty, too long, or has control characters in it"))
            .hint(format!("it is a line of at most {MAX_TEXT_BYTES} bytes")));
    }
    Ok(())
}

/// A list with an end.
fn check_list<T: PartialEq>(what: &str, list: &[T]) -> Result<()> {
    if list.len() > MAX_LIST {
        return Err(invalid(format!("there are more than {MAX_LIST} {what}")));
    }
    if let Some(twice) = (1..list.len()).find(|number| list[..*number].contains(&list[*number])) {
        return Err(invalid(format!("number {} of the {what} stands there twice", twice + 1)));
    }
    Ok(())
}
