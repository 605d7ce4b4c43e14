//! People who have to agree before something is released.
//!
//! An [`Approval`] counts votes. A vote is about one artifact by its digest and one environment, so that
//! whatever changes is voted on anew; nobody votes on what they ask for themselves, and nobody counts twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decision::{Reason, ReasonCode, Request, names};
use super::{Actor, ActorKind, check_list, check_text, invalid};
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, FileName, text};

/// Some of a circle of people have to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Approval {
    /// Where to.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// What it is called, where an environment has several: all of them have to be met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub name: Option<FileName>,
    /// How many people have to agree.
    pub minimum: u32,
    /// Who may.
    pub approvers: Vec<Approver>,
    /// Whether going back to what ran there before needs it too.
    #[serde(default, skip_serializing_if = "Rollbacks::are_included")]
    pub rollbacks: Rollbacks,
}

/// Some people. Exactly one of subject, group and role is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Approver {
    /// One person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Everybody in a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Everybody with a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Whether one of these has to be among those who agree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

/// Whether a policy is about going back, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Rollbacks {
    /// It is.
    #[default]
    Included,
    /// An artifact that was live in the environment before may return without it.
    Exempt,
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Voted {
    /// Whose it is.
    pub by: Actor,
    /// The artifact's digest.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub digest: Digest,
    /// Where to.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// What it says.
    pub vote: Vote,
    /// When.
    #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// What a vote says. The last one of a person counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Vote {
    /// Yes.
    Approve,
    /// No. One of these is enough.
    Reject,
}

impl Rollbacks {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
    fn are_included(&self) -> bool {
        *self == Self::Included
    }
}

impl Approver {
    /// Whether the actor is one of these.
    pub fn is(&self, actor: &Actor) -> bool {
        self.subject.as_ref().is_some_and(|subject| *subject == actor.subject)
            || self.group.as_ref().is_some_and(|group| actor.groups.contains(group))
            || self.role.as_ref().is_some_and(|role| actor.roles.contains(role))
    }

    pub(super) fn check(&self) -> Result<()> {
        let given: Vec<_> = [&self.subject, &self.group, &self.role].into_iter().flatten().collect();
        match given[..] {
            [name] => check_text("approver", name),
            _ => Err(invalid("an approver is exactly one of `subject`, `group` and `role`")),
        }
    }

    pub(super) fn shown(&self) -> String {
        let named =
            |what: &str, name: &Option<String>| name.as_ref().map(|name| format!("{what} `{}`", text::shown(name)));
        let parts = [named("subject", &self.subject), named("group", &self.group), named("role", &self.role)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" or ")
    }
}

impl Approval {
    pub(super) fn key(&self) -> (&FileName, &Option<FileName>) {
        (&self.environment, &self.name)
    }

    pub(super) fn check(&self) -> Result<()> {
        check_list("approvers", &self.approvers)?;
        self.approvers.iter().try_for_each(Approver::check)?;
        if self.minimum == 0 || self.approvers.is_empty() {
            return Err(invalid("an approval needs at least one approver, and a minimum of at least 1"));
        }
        let people: Option<BTreeSet<_>> = self.approvers.iter().map(|approver| approver.subject.as_ref()).collect();
        if let Some(people) = people
            && usize::try_from(self.minimum).is_ok_and(|minimum| minimum > people.len())
        {
            let (minimum, count) = (self.minimum, people.len());
            return Err(invalid(format!("{minimum} people have to agree, and only {count} are named")));
        }
        Ok(())
    }

    /// Whether a vote would count, were it about something that `asked_by` asks for.
    pub fn check_vote(&self, voter: &Actor, asked_by: &Actor) -> Result<()> {
        check_vote(&self.approvers, voter, asked_by)
    }

    pub(super) fn judge(&self, request: &Request) -> Option<Reason> {
        if request.environment != self.environment
            || self.rollbacks == Rollbacks::Exempt && request.is_proven_rollback()
        {
            return None;
        }
        let votes = votes(request, &self.approvers);
        let rejected: Vec<_> = votes.values().filter(|voted| voted.vote == Vote::Reject).collect();
        if !rejected.is_empty() {
            let who = names(rejected.iter().map(|voted| format!("`{}`", text::shown(&voted.by.subject))));
            return Some(ReasonCode::Rejected.reason(
                format!("{who} rejected the release to `{}`", self.environment),
                format!("{who} approves"),
                None,
            ));
        }
        let count = votes.len();
        let missing = usize::try_from(self.minimum).unwrap_or(usize::MAX).saturating_sub(count);
        let required = self.approvers.iter().filter(|approver| approver.required);
        let unmet: Vec<_> = required
            .filter(|approver| !votes.values().any(|voted| approver.is(&voted.by)))
            .map(Approver::shown)
            .collect();
        if missing == 0 && unmet.is_empty() {
            return None;
        }
        let mut needs = Vec::new();
        if missing > 0 {
            let circle = names(self.approvers.iter().map(Approver::shown));
            needs.push(format!("{missing} more of {circle} {}", if missing == 1 { "approves" } else { "approve" }));
        }
        needs.extend(unmet.into_iter().map(|who| format!("somebody of {who} approves")));
        Some(ReasonCode::ApprovalMissing.reason(
            format!("the release to `{}` has {count} of {} approvals", self.environment, self.minimum),
            needs.join(", and "),
            None,
        ))
    }
}

/// Whether a vote of the actor would count.
pub(super) fn check_vote(approvers: &[Approver], voter: &Actor, asked_by: &Actor) -> Result<()> {
    let refused = |what: String| Err(Failure::new(Code::ApprovalRefused, what));
    if voter.kind == ActorKind::Automation {
        return refused("only people approve".to_owned());
    }
    if is_own(voter, asked_by) {
        return refused(format!("`{}` cannot approve what they ask for", text::shown(&voter.subject)));
    }
    if !approvers.iter().any(|approver| approver.is(voter)) {
        let circle = names(approvers.iter().map(Approver::shown));
        return refused(format!("`{}` is not an approver: it takes {circle}", text::shown(&voter.subject)));
    }
    Ok(())
}

/// The last vote of each person that counts: about this artifact and this environment, cast by then, by one of
/// the approvers, and not by whoever asks.
pub(super) fn votes<'a>(request: &'a Request, approvers: &[Approver]) -> BTreeMap<&'a str, &'a Voted> {
    let mut votes: BTreeMap<&str, &Voted> = BTreeMap::new();
    for voted in &request.history.votes {
        let counts = voted.digest == request.artifact.digest
            && voted.environment == request.environment
            && voted.at <= request.at
            && voted.by.kind == ActorKind::User
            && !is_own(&voted.by, &request.actor)
            && approvers.iter().any(|approver| approver.is(&voted.by));
        // Of two at the same instant the one that stands later is the later one.
        if counts && votes.get(voted.by.subject.as_str()).is_none_or(|before| before.at <= voted.at) {
            votes.insert(&voted.by.subject, voted);
        }
    }
    votes
}

/// Whether somebody asked for it themselves, or their push made automation ask.
fn is_own(voter: &Actor, asked_by: &Actor) -> bool {
    let pushed = |author: &String| *author == voter.subject || voter.on_behalf_of.as_ref() == Some(author);
    voter.subject == asked_by.subject || asked_by.on_behalf_of.as_ref().is_some_and(pushed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_votes_on_what_their_own_push_set_going() {
        let actor = |subject: &str, behind: Option<&str>| Actor {
            subject: subject.to_owned(),
            kind: ActorKind::User,
            groups: [].into(),
            roles: [].into(),
            on_behalf_of: behind.map(str::to_owned),
        };
        let asked_by = actor("policy:auto-release-main-dev", Some("asa@example.com"));
        assert!(is_own(&actor("idp:1", Some("asa@example.com")), &asked_by));
        assert!(is_own(&actor("asa@example.com", None), &asked_by));
        assert!(!is_own(&actor("idp:2", Some("bo@example.com")), &asked_by));
        assert!(!is_own(&actor("idp:2", None), &actor("idp:1", None)));
    }
}
