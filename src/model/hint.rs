//! What others tell the server: a branch that moved, a release, a workload that runs or fails.
//!
//! A [`Hint`] is what is kept of such a message: the few fields that say where to look, with bounds. It is
//! never believed about what is there; whoever reads it looks for himself. Who sent it is not decided here.

use serde::{Deserialize, Serialize};

use super::FileName;

/// The longest text that is kept of a field, in characters.
const MAX_TEXT: usize = 300;
/// The longest message that is kept, in characters.
const MAX_MESSAGE: usize = 2000;
/// How many errors of one workload are kept.
const MAX_ERRORS: usize = 20;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Hint {
    /// A branch or a tag of a repository was made, moved or taken away.
    Ref {
        /// `owner/repository`.
        repository: String,
        /// The full name: `refs/heads/main`.
        reference: String,
        /// What became of it.
        change: Change,
        /// The commit that it is at, where the message says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
    },
    /// A release on a forge was changed.
    Release {
        /// `owner/repository`.
        repository: String,
        /// The tag.
        tag: String,
        /// What was done with it: `published`, `edited`, `deleted`…
        action: String,
    },
    /// Flux says how it fares with an object.
    Flux {
        /// What it is: `Kustomization`, `HelmRelease`…
        object: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// `info` or `error`.
        severity: String,
        /// A word for what happened.
        reason: String,
        /// The sentence.
        message: String,
        /// The revision that it is at: `main@sha1:…`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<String>,
        /// The environment that it looks after, where the message says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
    },
    /// A workload runs as it should.
    Deployed(Deployed),
    /// The containers of a pod fail.
    PodFailed(Failing),
    /// A job failed.
    JobFailed(Failing),
}

/// What became of a branch or tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Created,
    /// It is at another commit.
    Moved,
    /// It is gone.
    Deleted,
}

/// A workload that runs as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    /// The environment.
    pub environment: String,
    /// The namespace.
    pub namespace: String,
    /// The workload.
    pub name: String,
    /// `Deployment`, `DaemonSet` or `StatefulSet`.
    pub resource: String,
    /// The artifact that it runs.
    pub artifact: String,
    /// How many pods run.
    pub available: u32,
    /// How many should.
    pub wanted: u32,
}

/// A pod or job that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failing {
    /// The environment.
    pub environment: String,
    /// The namespace.
    pub namespace: String,
    /// The pod or job.
    pub name: String,
    /// The artifact that it runs.
    pub artifact: String,
    /// What is wrong.
    pub errors: Vec<Trouble>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// The container, where it is one.
    pub name: String,
    /// A word for it: `CrashLoopBackOff`.
    pub reason: String,
    /// What was said.
    pub message: String,
}

impl Hint {
    /// The word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Ref { .. } => "ref",
            Self::Release { .. } => "release",
            Self::Flux { .. } => "flux",
            Self::Deployed(_) => "deployed",
            Self::PodFailed(_) => "pod-failed",
            Self::JobFailed(_) => "job-failed",
        }
    }

    /// The service that it seems to be about: workloads are named after theirs.
    pub fn service(&self) -> Option<FileName> {
        match self {
            Self::Flux { name, .. } | Self::Deployed(Deployed { name, .. }) => name.parse().ok(),
            Self::Ref { .. } | Self::Release { .. } | Self::PodFailed(_) | Self::JobFailed(_) => None,
        }
    }

    /// One line on what it is about, for the audit log.
    pub fn about(&self) -> String {
        match self {
            Self::Ref { repository, reference, change, .. } => {
                let word = match change {
                    Change::Created => "created",
                    Change::Moved => "moved",
                    Change::Deleted => "deleted",
                };
                format!("{repository}: {reference} {word}")
            }
            Self::Release { repository, tag, action } => format!("{repository}: release {tag} {action}"),
            Self::Flux { object, namespace, name, severity, reason, .. } => {
                format!("{object} {namespace}/{name}: {severity} {reason}")
            }
            Self::Deployed(Deployed { environment, namespace, name, artifact, .. }) => {
                format!("{environment}: {namespace}/{name} runs {artifact}")
            }
            Self::PodFailed(failing) => format!("pod {}", failing.about()),
            Self::JobFailed(failing) => format!("job {}", failing.about()),
        }
    }

    /// The document.
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("plain text and numbers always serialise")
    }
}

impl Failing {
    fn about(&self) -> String {
        let Self { environment, namespace, name, artifact, .. } = self;
        format!("{environment}: {namespace}/{name} of {artifact} fails")
    }
}

/// What senders write. Fields that mean nothing here are passed over: these formats belong to others.
pub mod sent {
    use serde::Deserialize;

    use super::{Change, Deployed, Failing, Hint, MAX_ERRORS, MAX_MESSAGE, MAX_TEXT, Trouble};

    /// At most so many characters, and none that a database or a terminal stumbles over.
    fn bounded(text: &str, most: usize) -> String {
        let plain = |character: char| if character.is_control() && character != '\n' { ' ' } else { character };
        text.chars().map(plain).take(most).collect()
    }

    fn short(text: &str) -> String {
        bounded(text, MAX_TEXT).replace('\n', " ")
    }

    #[derive(Deserialize)]
    struct Repository {
        full_name: String,
    }

    #[derive(Deserialize)]
    struct Push {
        #[serde(rename = "ref")]
        reference: String,
        after: String,
        #[serde(default)]
        created: bool,
        #[serde(default)]
        deleted: bool,
        repository: Repository,
    }

    /// A branch or tag that was made or taken away; its name has no `refs/…` before it.
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "ref")]
        name: String,
        ref_type: String,
        repository: Repository,
    }

    #[derive(Deserialize)]
    struct Release {
        action: String,
        release: Tagged,
        repository: Repository,
    }

    #[derive(Deserialize)]
    struct Tagged {
        tag_name: String,
    }

    /// What an event of GitHub's says; nothing where its kind means nothing here.
    pub fn github(event: &str, body: &[u8]) -> serde_json::Result<Option<Hint>> {
        let named = |change| {
            let Named { name, ref_type, repository } = serde_json::from_slice(body)?;
            let place = match ref_type.as_str() {
                "branch" => "heads",
                "tag" => "tags",
                _ => return Ok(None),
            };
            let reference = format!("refs/{place}/{}", short(&name));
            Ok(Some(Hint::Ref { repository: short(&repository.full_name), reference, change, commit: None }))
        };
        match event {
            "push" => {
                let Push { reference, after, created, deleted, repository } = serde_json::from_slice(body)?;
                let change = match (created, deleted) {
                    (_, true) => Change::Deleted,
                    (true, false) => Change::Created,
                    (false, false) => Change::Moved,
                };
                let commit = (!deleted).then(|| short(&after));
                let (repository, reference) = (short(&repository.full_name), short(&reference));
                Ok(Some(Hint::Ref { repository, reference, change, commit }))
            }
            "create" => named(Change::Created),
            "delete" => named(Change::Deleted),
            "release" => {
                let Release { action, release, repository } = serde_json::from_slice(body)?;
                let (repository, tag) = (short(&repository.full_name), short(&release.tag_name));
                Ok(Some(Hint::Release { repository, tag, action: short(&action) }))
            }
            _ => Ok(None),
        }
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Flux {
        involved_object: Involved,
        severity: String,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        metadata: Option<std::collections::BTreeMap<String, String>>,
    }

    #[derive(Deserialize)]
    struct Involved {
        kind: String,
        namespace: String,
        name: String,
    }

    /// What an event of Flux's notification controller says.
    pub fn flux(body: &[u8]) -> serde_json::Result<Hint> {
        let Flux { involved_object: Involved { kind, namespace, name }, severity, reason, message, metadata } =
            serde_json::from_slice(body)?;
        // Its key is `<group of the object's kind>/revision`.
        let metadata = metadata.unwrap_or_default();
        let said = |name: &str| metadata.iter().find(|(key, _)| key.rsplit('/').next() == Some(name));
        // What an alert adds to its events: `eventMetadata: { env: prod }`.
        let environment = said("env").or_else(|| said("environment"));
        Ok(Hint::Flux {
            object: short(&kind),
            namespace: short(&namespace),
            name: short(&name),
            severity: short(&severity),
            reason: short(&reason),
            message: bounded(&message, MAX_MESSAGE),
            revision: said("revision").map(|(_, revision)| short(revision)),
            environment: environment.map(|(_, environment)| short(environment)),
        })
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Deploy {
        name: String,
        namespace: String,
        resource_type: String,
        available_pods: u32,
        // Older daemons write one name, newer ones the other.
        #[serde(alias = "desiredPods")]
        replicas: u32,
        artifact_id: String,
        environment: String,
    }

    /// What a daemon says of a workload that runs.
    pub fn deploy(body: &[u8]) -> serde_json::Result<Hint> {
        let Deploy { name, namespace, resource_type, available_pods, replicas, artifact_id, environment } =
            serde_json::from_slice(body)?;
        Ok(Hint::Deployed(Deployed {
            environment: short(&environment),
            namespace: short(&namespace),
            name: short(&name),
            resource: short(&resource_type),
            artifact: short(&artifact_id),
            available: available_pods,
            wanted: replicas,
        }))
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Failed {
        #[serde(alias = "podName", alias = "jobName")]
        name: String,
        namespace: String,
        errors: Vec<Error>,
        environment: String,
        artifact_id: String,
    }

    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        name: String,
        #[serde(default)]
        message: String,
        #[serde(default, rename = "type", alias = "reason")]
        reason: String,
    }

    fn failing(body: &[u8]) -> serde_json::Result<Failing> {
        let Failed { name, namespace, errors, environment, artifact_id } = serde_json::from_slice(body)?;
        let trouble = |error: &Error| Trouble {
            name: short(&error.name),
            reason: short(&error.reason),
            message: bounded(&error.message, MAX_MESSAGE),
        };
        Ok(Failing {
            environment: short(&environment),
            namespace: short(&namespace),
            name: short(&name),
            artifact: short(&artifact_id),
            errors: errors.iter().take(MAX_ERRORS).map(trouble).collect(),
        })
    }

    /// What a daemon says of a pod that fails.
    pub fn pod_error(body: &[u8]) -> serde_json::Result<Hint> {
        failing(body).map(Hint::PodFailed)
    }

    /// What a daemon says of a job that failed.
    pub fn job_error(body: &[u8]) -> serde_json::Result<Hint> {
        failing(body).map(Hint::JobFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn github(event: &str, body: &serde_json::Value) -> Option<Hint> {
        sent::github(event, body.to_string().as_bytes()).expect("readable")
    }

    #[test]
    fn a_push_says_what_became_of_a_branch() {
        let push = |created: bool, deleted: bool| {
            github(
                "push",
                &serde_json::json!({ "ref": "refs/heads/main", "after": "0123", "created": created,
                "deleted": deleted, "commits": [{ "message": "x" }], "repository": { "id": 1, "full_name": "o/r" } }),
            )
        };
        let expected = |change, commit: Option<&str>| {
            Some(Hint::Ref {
                repository: "o/r".to_owned(),
                reference: "refs/heads/main".to_owned(),
                change,
                commit: commit.map(str::to_owned),
            })
        };
        assert_eq!(push(false, false), expected(Change::Moved, Some("0123")));
        assert_eq!(push(true, false), expected(Change::Created, Some("0123")));
        assert_eq!(push(false, true), expected(Change::Deleted, None));
        assert_eq!(github("star", &serde_json::json!({})), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_plain() {
        let body = serde_json::json!({ "podName": "p\u{0}\u{1b}[1m", "namespace": "n", "environment": "dev", "artifactId": "a",
            "errors": vec![serde_json::json!({ "name": "c", "message": "x".repeat(100_000), "type": "OOMKilled" }); 1000] });
        let hint = sent::pod_error(body.to_string().as_bytes()).expect("readable");
        assert!(hint.render().len() < 50_000);
        assert_eq!(hint.about(), "pod dev: n/p  [1m of a fails");
        assert_eq!(serde_json::from_str::<Hint>(&hint.render()).expect("readable"), hint);
    }
}
