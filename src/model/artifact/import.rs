//! Records of older systems, read into ours.
//!
//! [`read`] recognises two of them by their shape: one with `application` and `stages`, and one with
//! `version` and `environments`. Nothing that they say is lost: what has no field of its own becomes an
//! item or a text of the context.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Artifact, Ci, Event, MAX_BYTES, Person, Source, Stage, TYPE, invalid, unique};
use crate::model::FileName;
use crate::model::failure::Result;

/// Reads a record of an older system. `service` is used where it names none that could be one.
pub fn read(bytes: &[u8], service: Option<&FileName>) -> Result<Artifact> {
    if bytes.len() > MAX_BYTES {
        return Err(invalid(format!("it is larger than {MAX_BYTES} bytes")));
    }
    unique::check(bytes).map_err(|error| invalid("it is not JSON").because(error))?;
    let shape: Shape = parse(bytes)?;
    let artifact = match shape.version {
        Some(_) => parse::<WithManifests>(bytes)?.into_artifact(service)?,
        None => parse::<WithStages>(bytes)?.into_artifact(service)?,
    };
    artifact.check()?;
    Ok(artifact)
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        invalid("it has neither of the older systems' forms")
            .because(error)
            .hint("an unknown field means a newer version of that system; tell us about it")
    })
}

#[derive(Deserialize)]
struct Shape {
    version: Option<serde::de::IgnoredAny>,
}

/// The record with `application`, `ci` and `stages`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct WithStages {
    id: String,
    service: String,
    namespace: String,
    application: Repository,
    ci: OldCi,
    squad: String,
    shuttle: Option<Value>,
    stages: Vec<OldStage>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Repository {
    branch: String,
    sha: String,
    author_name: String,
    author_email: String,
    committer_name: String,
    committer_email: String,
    message: String,
    name: String,
    url: String,
    provider: String,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct OldCi {
    job_url: String,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldStage {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    data: Map<String, Value>,
}

/// The record with `version` and `environments`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WithManifests {
    #[serde(default)]
    id: String,
    #[serde(default)]
    created: i64,
    version: Version,
    #[serde(default)]
    context: Option<BTreeMap<String, String>>,
    #[serde(default)]
    environments: Option<Vec<Value>>,
    #[serde(default)]
    cue_environments: Option<Vec<String>>,
    #[serde(default)]
    items: Option<Vec<Map<String, Value>>>,
    #[serde(default)]
    vars: Option<BTreeMap<String, String>>,
    #[serde(default)]
    fake: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Version {
    repository_name: String,
    sha: String,
    created: i64,
    branch: String,
    event: Option<Event>,
    source_branch: String,
    target_branch: String,
    tag: String,
    author_name: String,
    author_email: String,
    committer_name: String,
    committer_email: String,
    message: String,
    url: String,
}

impl WithStages {
    fn into_artifact(self, service: Option<&FileName>) -> Result<Artifact> {
        let Self { application, .. } = self;
        let mut context = BTreeMap::new();
        for (name, text) in [("squad", self.squad), ("provider", application.provider)] {
            context.extend(present(text).map(|text| (name.to_owned(), text)));
        }
        let items = self.shuttle.map(|shuttle| Map::from_iter([("shuttle".to_owned(), shuttle)]));
        Ok(Artifact {
            kind: TYPE.to_owned(),
            id: name("id", &self.id)?,
            service: service_of(&self.service, service)?,
            namespace: present(self.namespace).map(|text| name("namespace", &text)).transpose()?,
            source: Source {
                repository: present(application.name),
                sha: application.sha,
                branch: present(application.branch),
                event: Event::Push,
                tag: None,
                source_branch: None,
                target_branch: None,
                author: person(application.author_name, application.author_email),
                committer: person(application.committer_name, application.committer_email),
                message: present(application.message),
                url: present(application.url),
            },
            ci: Ci { job_url: present(self.ci.job_url), start: real(self.ci.start), end: real(self.ci.end) },
            stages: self.stages.into_iter().map(|OldStage { id, name, data }| Stage { id, name, data }).collect(),
            items: items.into_iter().collect(),
            context,
            digests: BTreeMap::new(),
            bundle: None,
            payload: None,
        })
    }
}

impl WithManifests {
    fn into_artifact(self, service: Option<&FileName>) -> Result<Artifact> {
        let Self { version, .. } = self;
        let own = version.repository_name.rsplit('/').next().unwrap_or_default().to_owned();
        let mut items = self.items.unwrap_or_default();
        let mut rest = Map::new();
        rest.extend(self.environments.map(|list| ("environments".to_owned(), Value::Array(list))));
        rest.extend(self.cue_environments.map(|list| ("cueEnvironments".to_owned(), list.into())));
        rest.extend(self.vars.map(|vars| ("vars".to_owned(), vars.into_iter().collect())));
        let times = [("created", self.created), ("versionCreated", version.created)];
        rest.extend(
            times
                .into_iter()
                .filter(|(_, seconds)| *seconds != 0)
                .map(|(name, seconds)| (name.to_owned(), seconds.into())),
        );
        rest.extend(self.fake.then(|| ("fake".to_owned(), true.into())));
        if !rest.is_empty() {
            items.push(rest);
        }
        Ok(Artifact {
            kind: TYPE.to_owned(),
            id: name("id", &self.id)?,
            service: service_of(&own, service)?,
            namespace: None,
            source: Source {
                repository: present(version.repository_name),
                sha: version.sha,
                branch: present(version.branch),
                event: version.event.unwrap_or_default(),
                tag: present(version.tag),
                source_branch: present(version.source_branch),
                target_branch: present(version.target_branch),
                author: person(version.author_name, version.author_email),
                committer: person(version.committer_name, version.committer_email),
                message: present(version.message),
                url: present(version.url),
            },
            ci: Ci::default(),
            stages: Vec::new(),
            items,
            context: self.context.unwrap_or_default(),
            digests: BTreeMap::new(),
            bundle: None,
            payload: None,
        })
    }
}

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The older systems write the first instant of their calendar where they know none.
fn real(time: Option<Timestamp>) -> Option<Timestamp> {
    time.filter(|time| *time > Timestamp::UNIX_EPOCH)
}

fn person(name: String, email: String) -> Option<Person> {
    (!name.is_empty() || !email.is_empty()).then_some(Person { name, email })
}

fn name(what: &str, text: &str) -> Result<FileName> {
    text.parse().map_err(|error| invalid(format!("its {what} cannot be one here")).because(error))
}

fn service_of(own: &str, given: Option<&FileName>) -> Result<FileName> {
    match given {
        Some(given) => Ok(given.clone()),
        None => name("service", own).map_err(|failure| failure.hint("name it with `--service`")),
    }
}
