//! Where in a history the releases of each service are.
//!
//! The main item is [`Index`]. It is made once by reading every commit, and grows with what comes after: what was asked
//! of a long history is a look into a table then. It keeps the names of commits only; what they say is read from git.

use std::collections::HashMap;

use crate::model::failure::Result;
use crate::model::release_commit::ReleaseCommit;
use crate::model::{Code, Failure};
use crate::world::process::Program;

use super::objects::{self, Id, Kind};

/// How many commits are read at once.
const TOGETHER: usize = 1000;

/// The commits of releases, by environment and service.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The commit that it goes up to.
    pub(super) tip: Id,
    /// The oldest first. Names are compared in any case, and are in small letters here.
    releases: HashMap<String, Vec<Id>>,
}

impl Index {
    /// The index of a commit and all before it. What an older index has is not read again.
    pub(super) fn of(git: &Program, tip: Id, older: Option<&Self>) -> Result<Self> {
        let older = match older {
            Some(older) if is_ancestor(git, older.tip, tip)? => Some(older),
            // Somebody has written the history anew.
            _ => None,
        };
        let mut index = Self { tip, releases: older.map(|older| older.releases.clone()).unwrap_or_default() };
        let program = git.clone().args(["rev-list", "--reverse", &tip.to_string()]);
        let program = older.iter().fold(program, |program, older| program.arg(format!("^{}", older.tip)));
        let output = program.arg("--").output()?;
        if !output.status.success() {
            return Err(unreadable().because(output.complaint()));
        }
        let ids: Vec<Id> =
            String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect();
        drop(output);
        for ids in ids.chunks(TOGETHER) {
            let names: Vec<_> = ids.iter().map(Id::to_string).collect();
            for (id, object) in ids.iter().zip(objects::read(git.clone(), &names)?) {
                let Some(object) = object.filter(|object| object.kind == Kind::Commit) else { continue };
                let Some((_, message)) = split(&object.bytes) else { continue };
                if let Some(record) = ReleaseCommit::parse(&message) {
                    index.releases.entry(key(&record.environment, &record.service)).or_default().push(*id);
                }
            }
        }
        Ok(index)
    }

    /// The commits that released a service to an environment, the oldest first.
    pub(super) fn releases(&self, environment: &str, service: &str) -> &[Id] {
        self.releases.get(&key(environment, service)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every environment that a service was released to, in small letters, sorted.
    pub(super) fn environments(&self, service: &str) -> Vec<String> {
        let service = format!("/{}", service.to_lowercase());
        let mut found: Vec<_> =
            self.releases.keys().filter_map(|key| key.strip_suffix(&service)).map(str::to_owned).collect();
        found.sort();
        found
    }
}

/// The header and the message of a commit.
pub(super) fn split(commit: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(commit);
    text.split_once("\n\n").map(|(header, message)| (header.to_owned(), message.to_owned()))
}

/// The failure of a history that git does not read.
pub(super) fn unreadable() -> Failure {
    Failure::new(Code::GitUnusable, "the history of the config repository cannot be read")
}

fn key(environment: &str, service: &str) -> String {
    format!("{}/{}", environment.to_lowercase(), service.to_lowercase())
}

fn is_ancestor(git: &Program, one: Id, other: Id) -> Result<bool> {
    let program = git.clone().args(["merge-base", "--is-ancestor", &one.to_string(), &other.to_string()]);
    Ok(one == other || program.output()?.status.success())
}
