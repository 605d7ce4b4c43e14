//! What is kept, and for how long: rules, and the removal of what they let go.
//!
//! [`Rules::read`] reads them, [`Registry::prune`] applies them. An artifact that no rule is about stays, and
//! so does whatever something needs: that is looked for again in the transaction that removes. Blobs
//! that no artifact names go once nobody has counted on them for a while. Only whole lines of the
//! database and whole blobs are removed, and the audit log has a line for each artifact; killed anywhere,
//! the next run goes on.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use globset::{Glob, GlobMatcher};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Caller, Registry};
use crate::model::artifact::Event;
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName};
use crate::store::{Candidate, Change, Light};

/// The largest file of rules, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// How many artifacts are looked at, and at most removed, together.
const TOGETHER: u32 = 200;

/// Which artifacts may go. The first rule that is about an artifact decides.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    service: GlobMatcher,
    branch: GlobMatcher,
    event: Option<Event>,
    keep_last: usize,
    keep_for: SignedDuration,
    keep: Vec<GlobMatcher>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    rule: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    service: String,
    #[serde(default = "anything")]
    branch: String,
    event: Option<Event>,
    keep_last: usize,
    keep_days: u32,
    #[serde(default)]
    keep: Vec<String>,
}

fn anything() -> String {
    "*".to_owned()
}

/// What is to be done.
#[derive(Debug)]
pub struct Wanted {
    /// Which artifacts may go.
    pub rules: Rules,
    /// How long a blob stays that no artifact names.
    pub grace: Duration,
    /// Whether it is only said what would be done.
    pub is_rehearsal: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pruned {
    /// Whether nothing was done in fact.
    pub dry_run: bool,
    /// How many artifacts were looked at.
    pub artifacts: u64,
    /// Which were removed, the one that was pushed last first.
    pub removed: Vec<Removed>,
    /// Which would have been, had nothing needed them.
    pub in_use: Vec<Removed>,
    /// How many blobs were removed.
    pub blobs: u64,
    /// How many bytes these had, as far as that is known.
    pub bytes: u64,
}

/// An artifact that rules let go.
#[derive(Clone, Debug, Serialize)]
pub struct Removed {
    /// The service.
    pub service: String,
    /// The id.
    pub id: String,
    /// The branch.
    pub branch: Option<String>,
    /// When it was pushed.
    pub pushed_at: Timestamp,
}

impl Rules {
    /// Reads a file of rules.
    pub fn read(text: &str) -> Result<Self> {
        let invalid = |why: String| {
            Failure::new(Code::ConfigInvalid, format!("the rules of retention cannot be used: {why}"))
                .hint("a rule names `service`, `keep_last` and `keep_days`, and may name `branch`, `event` and `keep`")
        };
        let Document { rule } = toml::from_str(text).map_err(|error| invalid(error.message().to_owned()))?;
        let pattern = |text: &str| {
            let glob = Glob::new(text).map_err(|error| invalid(error.to_string()))?;
            Ok::<_, Failure>(glob.compile_matcher())
        };
        let rules = rule.iter().map(|written| {
            Ok(Rule {
                service: pattern(&written.service)?,
                branch: pattern(&written.branch)?,
                event: written.event,
                keep_last: written.keep_last,
                keep_for: SignedDuration::from_hours(24 * i64::from(written.keep_days)),
                keep: written.keep.iter().map(|text| pattern(text)).collect::<Result<_>>()?,
            })
        });
        Ok(Self(rules.collect::<Result<_>>()?))
    }

    /// Which rule an artifact falls under.
    fn about(&self, artifact: &Light) -> Option<(usize, &Rule)> {
        let branch = artifact.branch.as_deref().unwrap_or_default();
        self.0.iter().enumerate().find(|(_, rule)| {
            rule.service.is_match(&artifact.service)
                && rule.branch.is_match(branch)
                && rule.event.is_none_or(|event| event.as_str() == artifact.event)
        })
    }
}

impl Rule {
    /// Whether it lets an artifact go before which so many others of its service and branch were counted.
    fn lets_go(&self, artifact: &Light, younger: usize, now: Timestamp) -> bool {
        younger >= self.keep_last
            && now.duration_since(artifact.created_at) >= self.keep_for
            && !self.keep.iter().any(|pattern| pattern.is_match(&artifact.id))
    }
}

/// Counts artifacts, from the one that was pushed last on, and says which may go.
struct Judge<'a> {
    rules: &'a Rules,
    now: Timestamp,
    counts: HashMap<(usize, String, Option<String>), usize>,
}

impl Judge<'_> {
    fn lets_go(&mut self, artifact: &Light) -> bool {
        let Some((number, rule)) = self.rules.about(artifact) else { return false };
        let count = self.counts.entry((number, artifact.service.clone(), artifact.branch.clone())).or_default();
        let lets_go = rule.lets_go(artifact, *count, self.now);
        *count += 1;
        lets_go
    }
}

impl Registry {
    /// Removes what rules let go and nothing needs.
    pub async fn prune(&self, wanted: &Wanted, caller: &Caller) -> Result<Pruned> {
        let mut pruned = Pruned { dry_run: wanted.is_rehearsal, ..Pruned::default() };
        self.prune_artifacts(wanted, caller, &mut pruned).await?;
        self.prune_blobs(wanted, caller, &mut pruned).await?;
        Ok(pruned)
    }

    /// Lets an artifact stay, whatever the rules say.
    pub async fn pin(&self, service: &FileName, id: &FileName, note: Option<&str>, caller: &Caller) -> Result<()> {
        let change = about_pin("artifact.pin", service, id, note, caller);
        if self.store.pin((service.as_str(), id.as_str()), note, &change).await? {
            return Ok(());
        }
        Err(Failure::new(Code::ArtifactUnknown, format!("there is no artifact `{service}/{id}`"))
            .subject(id.as_str())
            .hint("`consign artifact list` shows those that there are"))
    }

    /// Takes a pin away, and says whether there was one.
    pub async fn unpin(&self, service: &FileName, id: &FileName, caller: &Caller) -> Result<bool> {
        let change = about_pin("artifact.unpin", service, id, None, caller);
        self.store.unpin((service.as_str(), id.as_str()), &change).await
    }

    async fn prune_artifacts(&self, wanted: &Wanted, caller: &Caller, pruned: &mut Pruned) -> Result<()> {
        if wanted.rules.0.is_empty() {
            return Ok(());
        }
        let mut judge = Judge { rules: &wanted.rules, now: caller.at, counts: HashMap::new() };
        let mut before = i64::MAX.unsigned_abs();
        loop {
            let artifacts = self.store.artifacts_before(before, TOGETHER).await?;
            let Some(last) = artifacts.last() else { return Ok(()) };
            before = last.sequence;
            pruned.artifacts += artifacts.len() as u64;
            let doomed: Vec<_> = artifacts.into_iter().filter(|artifact| judge.lets_go(artifact)).collect();
            if doomed.is_empty() {
                continue;
            }
            let gone: BTreeSet<u64> = if wanted.is_rehearsal {
                let needed = self.store.artifacts_in_use().await?;
                let is_needed = |artifact: &Light| needed.contains(&(artifact.service.clone(), artifact.id.clone()));
                doomed.iter().filter(|artifact| !is_needed(artifact)).map(|artifact| artifact.sequence).collect()
            } else {
                self.store
                    .prune(&doomed, caller.at, &caller.subject, "by the rules of retention")
                    .await?
                    .into_iter()
                    .collect()
            };
            for Light { sequence, service, id, branch, created_at, .. } in doomed {
                let list = if gone.contains(&sequence) { &mut pruned.removed } else { &mut pruned.in_use };
                list.push(Removed { service, id, branch, pushed_at: created_at });
            }
        }
    }

    async fn prune_blobs(&self, wanted: &Wanted, caller: &Caller, pruned: &mut Pruned) -> Result<()> {
        let before = caller.at.checked_sub(wanted.grace).unwrap_or(Timestamp::MIN);
        let change = Change {
            at: caller.at,
            subject: caller.subject.clone(),
            verb: "blobs.prune",
            object: "blobs".to_owned(),
            sha256: None,
            note: None,
        };
        if !wanted.is_rehearsal {
            self.store.forget_orphans().await?;
            // What a run that was killed has left.
            pruned.blobs += self.expunge().await?;
        }
        let mut after = None;
        loop {
            let (found, next) = self.blobs.page(after.as_deref()).await?;
            let candidates: Vec<_> =
                found.into_iter().map(|found| Candidate { blob: found.blob, changed: found.changed }).collect();
            let condemned = if wanted.is_rehearsal {
                self.store.needless(&candidates, before).await?
            } else {
                self.store.condemn(&candidates, before, &change).await?
            };
            pruned.bytes += condemned.iter().map(|blob| blob.size_bytes).sum::<u64>();
            pruned.blobs += condemned.len() as u64;
            if !wanted.is_rehearsal {
                self.expunge().await?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

fn about_pin(verb: &'static str, service: &FileName, id: &FileName, note: Option<&str>, caller: &Caller) -> Change {
    Change {
        at: caller.at,
        subject: caller.subject.clone(),
        verb,
        object: format!("{service}/{id}"),
        sha256: None,
        note: note.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    fn rules(text: &str) -> Rules {
        Rules::read(text).unwrap()
    }

    fn artifact(number: u64, service: &str, branch: Option<&str>, days: i64) -> Light {
        Light {
            sequence: number,
            service: service.to_owned(),
            id: format!("a{number}"),
            branch: branch.map(str::to_owned),
            event: "push".to_owned(),
            sha256: Digest::of(b""),
            created_at: now() - SignedDuration::from_hours(24 * days),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn gone(rules: &Rules, artifacts: &[Light]) -> Vec<u64> {
        let mut judge = Judge { rules, now: now(), counts: HashMap::new() };
        artifacts.iter().filter(|artifact| judge.lets_go(artifact)).map(|artifact| artifact.sequence).collect()
    }

    #[test]
    fn what_is_young_or_among_the_last_stays() {
        let rules = rules("[[rule]]\nservice = 'web'\nkeep_last = 2\nkeep_days = 10\n");
        let list = [
            artifact(9, "web", Some("main"), 1),
            artifact(8, "web", Some("main"), 5),
            artifact(7, "web", Some("main"), 9),
            artifact(6, "web", Some("other"), 20),
            artifact(5, "web", Some("main"), 20),
            artifact(4, "api", Some("main"), 20),
            artifact(3, "web", Some("other"), 20),
            artifact(2, "web", Some("other"), 20),
            artifact(1, "web", None, 20),
        ];
        assert_eq!(gone(&rules, &list), [5, 2]);
    }

    #[test]
    fn the_first_rule_that_is_about_an_artifact_decides() {
        let rules = rules(
            "[[rule]]\nservice = 'web'\nbranch = 'release/*'\nkeep_last = 1000\nkeep_days = 0\n\
             [[rule]]\nservice = '*'\nevent = 'pr'\nkeep_last = 0\nkeep_days = 0\n\
             [[rule]]\nservice = 'w*'\nkeep_last = 0\nkeep_days = 0\nkeep = ['a3', 'b*']\n",
        );
        let mut of_request = artifact(1, "api", Some("main"), 0);
        let list = [
            artifact(5, "web", Some("release/1"), 9),
            artifact(4, "web", Some("main"), 9),
            artifact(3, "web", Some("main"), 9),
            artifact(2, "api", Some("main"), 9),
        ];
        assert_eq!(gone(&rules, &list), [4]);
        assert!(gone(&rules, std::slice::from_ref(&of_request)).is_empty());
        of_request.event = "pr".to_owned();
        assert_eq!(gone(&rules, &[of_request]), [1]);
    }

    #[test]
    fn a_rule_says_how_much_stays_or_is_refused() {
        for wrong in [
            "[[rule]]\nservice = 'web'\nkeep_last = 1\n",
            "[[rule]]\nservice = 'web'\nkeep_days = 1\n",
            "[[rule]]\nkeep_last = 1\nkeep_days = 1\n",
            "[[rule]]\nservice = 'web'\nkeep_last = -1\nkeep_days = 1\n",
            "[[rule]]\nservice = '['\nkeep_last = 1\nkeep_days = 1\n",
            "[[rule]]\nservice = 'web'\nkeep_last = 1\nkeep_days = 1\nkeeps = []\n",
            "[[rules]]\n",
        ] {
            assert_eq!(Rules::read(wrong).unwrap_err().code(), Code::ConfigInvalid, "{wrong}");
        }
        assert!(gone(&Rules::default(), &[artifact(1, "web", None, 1000)]).is_empty());
    }
}
