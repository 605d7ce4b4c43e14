//! What becomes of releases, told to whoever counts it.

use std::time::Duration;

use super::Manager;
use crate::model::delivery::{Actor, Order, ReleaseRequest, Selector};
use crate::model::intent::Intent;

/// What became of a release.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Where.
    pub environment: &'a str,
    /// Of what.
    pub service: &'a str,
    /// Why, as [`Intent::kind`] says it.
    pub intent: &'static str,
    /// What became of it: `refused`, `pushed`, `healthy` or `failed`.
    pub outcome: &'static str,
    /// How long it took from the request to the push.
    pub took: Option<Duration>,
}

/// Whoever is told.
pub type Watcher = Box<dyn Fn(&Told<'_>) + Send + Sync>;

impl Manager {
    /// Has somebody told what becomes of releases from now on. There is one who is.
    pub fn watch(&self, watcher: Watcher) {
        // The first one stays.
        let _ = self.0.watcher.set(watcher);
    }

    pub(super) fn tell(&self, order: &Order, outcome: &'static str, took: Option<Duration>) {
        let Order { environment, service, intent, .. } = order;
        let (environment, service) = (environment.as_str(), service.as_str());
        self.tell_of(&Told { environment, service, intent: intent.kind(), outcome, took });
    }

    pub(super) fn tell_of(&self, told: &Told<'_>) {
        if let Some(watcher) = self.0.watcher.get() {
            watcher(told);
        }
    }
}

/// Why somebody asks for something, as [`Intent::kind`] says it.
pub(super) fn intent_of(request: &ReleaseRequest, actor: &Actor) -> &'static str {
    match &request.what {
        _ if actor.is_automation => Intent::AutoRelease.kind(),
        Selector::Artifact { .. } => Intent::ReleaseArtifact.kind(),
        Selector::Branch { .. } => Intent::KINDS[1],
        Selector::Promote { .. } => Intent::KINDS[2],
        Selector::Rollback { .. } => Intent::KINDS[3],
    }
}
