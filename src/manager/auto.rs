//! What is released by itself: artifacts that a policy asks for.
//!
//! Artifacts are gone through in the order in which they were pushed, behind a bookmark. A request has a name
//! that follows from the artifact and the environment, so that going through one twice changes nothing.

use super::Manager;
use super::ruling;
use crate::artifacts;
use crate::model::artifact::Artifact;
use crate::model::delivery::{Actor, ReleaseRequest, Selector, Verdict};
use crate::model::failure::Result;
use crate::model::policy::{ArtifactFacts, Automation, Verdict as Proof};
use crate::model::{Code, FileName};
use crate::store::{Filter, Row, Target};

/// The name of the bookmark.
const BOOKMARK: &str = "auto-release";
/// How many artifacts are looked at for the one that was held off.
const LOOKED_AT: u32 = 200;
/// How many artifacts are gone through at once.
const TOGETHER: u32 = 100;

impl Manager {
    /// Asks for what policies ask for, of every artifact that was pushed since the last time.
    pub async fn release_by_itself(&self) -> Result<()> {
        loop {
            let store = &self.registry().store;
            // The first time nothing that is there already is released: only what comes from now on.
            let Some(behind) = store.bookmark(BOOKMARK).await? else {
                let last = store.last_artifact().await?.unwrap_or_default();
                return store.keep_bookmark(BOOKMARK, last).await;
            };
            let rows = store.artifacts_after(behind, TOGETHER).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                let sequence = row.sequence;
                past_damage(self.release_pushed(row).await, sequence)?;
                store.keep_bookmark(BOOKMARK, sequence).await?;
            }
        }
    }

    async fn release_pushed(&self, row: Row) -> Result<()> {
        let artifact = artifacts::read(&row)?;
        let document = self.registry().store.policies(artifact.service.as_str()).await?;
        let policies = ruling::policies(self.plan(), &artifact.service, document.as_deref())?;
        let facts = ArtifactFacts::of(&artifact, row.sha256, Proof::of_word(&row.verdict));
        for automation in policies.automation(&facts) {
            let service = match automation.app {
                Ok(app) => app.filter(|app| *app != artifact.service),
                Err(failure) => {
                    tracing::warn!(
                        artifact = artifact.id.as_str(),
                        cause = failure.chain().join(": "),
                        "an application has no name"
                    );
                    continue;
                }
            };
            let name = format!("{}/{}/{}", artifact.service, artifact.id, automation.environment);
            let policy = automation.standing.policy.id();
            self.release_one(&artifact, automation.environment, service, &policy, Some(&name)).await?;
        }
        Ok(())
    }

    /// Asks for what was held off in a place: the latest artifact that a policy asks for there.
    pub(super) async fn release_held_off(&self, place: &Target) -> Result<()> {
        let filter = Filter { services: Some(vec![place.service.clone()]), most: LOOKED_AT, ..Filter::default() };
        let document = self.registry().store.policies(&place.service).await?;
        for row in self.registry().store.artifacts(&filter).await? {
            let artifact = artifacts::read(&row)?;
            let policies = ruling::policies(self.plan(), &artifact.service, document.as_deref())?;
            let facts = ArtifactFacts::of(&artifact, row.sha256, Proof::of_word(&row.verdict));
            let automation = policies.automation(&facts);
            let here = automation.iter().find(|automation| automation.environment.as_str() == place.environment);
            if let Some(Automation { standing, environment, app: Ok(app) }) = here {
                return self.release_one(&artifact, environment, app.clone(), &standing.policy.id(), None).await;
            }
        }
        Ok(())
    }

    async fn release_one(
        &self,
        artifact: &Artifact,
        environment: &FileName,
        app: Option<FileName>,
        policy: &str,
        name: Option<&str>,
    ) -> Result<()> {
        let request = ReleaseRequest {
            service: artifact.service.clone(),
            // What a trigger calls by a name of its own lies in a namespace of that name.
            namespace: app,
            environments: vec![environment.clone()],
            what: Selector::Artifact { id: artifact.id.clone() },
            override_reason: None,
            person: None,
            dry_run: false,
        };
        let author = artifact.source.author.as_ref();
        let actor = Actor {
            subject: format!("policy:{policy}"),
            name: author.map_or_else(|| policy.to_owned(), |author| author.name.clone()),
            email: author.map(|author| author.email.clone()).unwrap_or_default(),
            is_automation: true,
            groups: [].into(),
            roles: [].into(),
            on_behalf_of: author.map(|author| author.email.clone()),
        };
        let granted = match self.request(&request, &actor, name).await {
            Ok(granted) => granted,
            // Somebody changed the policies so that it is another request by now.
            Err(failure) if failure.code() == Code::KeyReused => return Ok(()),
            Err(failure) => return Err(failure),
        };
        for granting in granted.results.iter().filter(|granting| granting.result == Verdict::Refused) {
            tracing::info!(
                artifact = artifact.id.as_str(),
                environment = environment.as_str(),
                reason = granting.reason.as_deref().unwrap_or_default(),
                "not released by itself"
            );
        }
        Ok(())
    }
}

/// What is damaged is left out, and keeps nothing behind it from being looked at.
pub(super) fn past_damage(done: Result<()>, sequence: u64) -> Result<()> {
    match done {
        Err(failure) if failure.code() == Code::StoreDamaged => {
            tracing::error!(sequence, cause = failure.chain().join(": "), "what is damaged was left out");
            Ok(())
        }
        done => done,
    }
}
