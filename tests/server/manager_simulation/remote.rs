//! The remote of the simulation: what it has, what goes wrong with it, and what must never come there.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use consign::artifacts::Caller;
use consign::manager::Manager;
use consign::manager::deployer::Land;
use consign::manager::deployer::git::{Change, Decision, Landed, Landing};
use consign::model::policy::Policy;
use consign::model::{Code, Failure, FileName};
use jiff::Timestamp;
use serde_json::json;

/// What goes wrong the next time that something is landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is out of reach before anything has arrived.
    Unreachable,
    /// Everything arrives, and nobody hears of it.
    Unheard,
    /// It does not take anything.
    Refusing,
    /// The process ends before anything has arrived.
    CrashBefore,
    /// The process ends when everything has.
    CrashAfter,
    /// Somebody else is faster, and meanwhile a restriction is written.
    Overtaken,
}

/// What the remote has, and what must never come there.
#[derive(Default)]
pub struct Remote {
    pub commits: Vec<Commit>,
    pub trouble: Option<Trouble>,
    /// Only artifacts of the branch `main` come to these.
    pub restricted: BTreeSet<String>,
    /// Until when nothing comes anywhere.
    pub frozen_until: i64,
    /// The releases that pass a freeze.
    pub over_freeze: BTreeSet<String>,
    /// The environment that needs somebody's approval.
    pub is_approval_needed: bool,
    pub approved: BTreeSet<String>,
    /// Where nothing goes by itself, since before this step.
    pub held: BTreeSet<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Commit {
    pub release: String,
    pub place: (String, String),
}

pub struct Memory {
    pub remote: Arc<Mutex<Remote>>,
    pub clock: Arc<AtomicI64>,
    pub manager: Manager,
    pub service: FileName,
}

impl Memory {
    fn write(&self, landings: &[&Landing]) -> Vec<String> {
        let mut remote = self.remote.lock().unwrap();
        let mut written = Vec::new();
        for landing in landings {
            let Change::Release { place, .. } = &landing.change else { continue };
            let artifact = landing.message.get("Artifact-ID").unwrap().to_owned();
            let intent = landing.message.get("Release-intent").unwrap();
            let environment = place.environment.clone();
            let is_of_main = artifact.starts_with("main");
            assert!(
                is_of_main || !remote.restricted.contains(&environment),
                "{artifact} is restricted in {environment}"
            );
            let is_free = self.clock.load(Ordering::Relaxed) >= remote.frozen_until;
            assert!(is_free || remote.over_freeze.contains(&landing.release_id), "{artifact} comes in a freeze");
            let needs = remote.is_approval_needed && environment == "prod";
            assert!(!needs || remote.approved.contains(&artifact), "{artifact} was not approved");
            let at = (environment, place.namespace.clone());
            assert!(intent != "AutoRelease" || !remote.held.contains(&at), "{artifact} comes by itself to {at:?}");
            assert!(
                remote.commits.iter().all(|commit| commit.release != landing.release_id),
                "{} is there twice",
                landing.release_id
            );
            remote.commits.push(Commit { release: landing.release_id.clone(), place: at });
            written.push(landing.release_id.clone());
        }
        written
    }
}

impl Land for Memory {
    fn land(
        &mut self,
        landings: &[Landing],
        _now: Timestamp,
        before_commit: &mut dyn FnMut(&Landing) -> Decision,
    ) -> Result<Vec<Landed>, Failure> {
        let trouble = self.remote.lock().unwrap().trouble.take();
        let unreachable = || Failure::new(Code::RemoteUnavailable, "out of reach");
        match trouble {
            Some(Trouble::Unreachable) => return Err(unreachable()),
            Some(Trouble::Refusing) => {
                // It goes on refusing what is tried alone.
                self.remote.lock().unwrap().trouble = (landings.len() > 1).then_some(Trouble::Refusing);
                return Err(Failure::new(Code::PushRefused, "not today"));
            }
            Some(Trouble::CrashBefore) => resume_unwind(Box::new("a crash")),
            _ => {}
        }
        let known: BTreeSet<_> =
            self.remote.lock().unwrap().commits.iter().map(|commit| commit.release.clone()).collect();
        let new = |landing: &&Landing| !landing.tried_before || !known.contains(&landing.release_id);
        let mut said: BTreeMap<&str, Failure> = BTreeMap::new();
        let rounds = if trouble == Some(Trouble::Overtaken) { 2 } else { 1 };
        for round in 0..rounds {
            for landing in landings.iter().filter(new) {
                if said.contains_key(landing.release_id.as_str()) {
                    continue;
                }
                if let Decision::LeaveOut(failure) = before_commit(landing) {
                    said.insert(&landing.release_id, failure);
                }
            }
            if round + 1 < rounds {
                let handle = tokio::runtime::Handle::current();
                handle.block_on(restrict(&self.manager, &self.service, "prod", &self.remote, &self.clock));
            }
        }
        let landing: Vec<_> =
            landings.iter().filter(new).filter(|landing| !said.contains_key(landing.release_id.as_str())).collect();
        let written: BTreeSet<_> = self.write(&landing).into_iter().collect();
        match trouble {
            Some(Trouble::Unheard) => return Err(unreachable()),
            Some(Trouble::CrashAfter) => resume_unwind(Box::new("a crash")),
            _ => {}
        }
        let id = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let landed = landings.iter().map(|landing| match said.remove(landing.release_id.as_str()) {
            Some(failure) => Landed::LeftOut(failure),
            None if written.contains(&landing.release_id) => Landed::Pushed(id),
            None => Landed::Before(id),
        });
        Ok(landed.collect())
    }

    fn tidy(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

pub fn caller(clock: &AtomicI64, subject: &str) -> Caller {
    Caller { subject: subject.to_owned(), at: Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap() }
}

/// Writes that only `main` comes to an environment.
pub async fn restrict(
    manager: &Manager,
    service: &FileName,
    environment: &str,
    remote: &Mutex<Remote>,
    clock: &AtomicI64,
) {
    let policy = json!({ "kind": "branch-restriction", "environment": environment, "branch": "main" });
    let policy: Policy = serde_json::from_value(policy).unwrap();
    // Where automation asks for another branch they cannot both be.
    if manager.apply_policy(service, policy, &caller(clock, "operator")).await.is_ok() {
        remote.lock().unwrap().restricted.insert(environment.to_owned());
    }
}
