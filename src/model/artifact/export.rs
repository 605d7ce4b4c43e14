//! Our records in the form of the older system, whose tools read the configuration repository.
//!
//! Its reader refuses fields that it does not know, so there are none: of stages only those with an id
//! that it knows, each with its own fields and no other. What has no place in that form is left out; the
//! registry has it all.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Artifact, Person, Stage};

/// A kind of stage, its texts, and the name and parts of the counts beside them.
type Kind = (&'static str, &'static [&'static str], Option<(&'static str, &'static [&'static str])>);

/// The texts that a stage of each kind may have, and the counts beside them.
const STAGES: [Kind; 5] = [
    ("build", &["image", "tag", "dockerVersion"], None),
    ("push", &["image", "tag", "dockerVersion"], None),
    ("test", &["url"], Some(("results", &["passed", "failed", "skipped"]))),
    ("snyk-code", &["snykVersion", "url", "language"], Some(("vulnerabilities", &["high", "medium", "low"]))),
    ("snyk-docker", &["tag", "snykVersion", "url", "baseImage"], Some(("vulnerabilities", &["high", "medium", "low"]))),
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Older<'a> {
    id: &'a str,
    service: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    application: Repository<'a>,
    ci: Ci<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    squad: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shuttle: Option<&'a Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Repository<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    branch: &'a str,
    sha: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author_email: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    committer_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    committer_email: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    provider: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ci<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    job_url: &'a str,
    start: Value,
    end: Value,
}

/// The record as the older system writes it: two spaces of indentation, and no line feed at the end.
pub fn older(artifact: &Artifact) -> Vec<u8> {
    let source = &artifact.source;
    let text = |text: &'_ Option<String>| -> String { text.clone().unwrap_or_default() };
    let (branch, message, name, url) =
        (text(&source.branch), text(&source.message), text(&source.repository), text(&source.url));
    let nobody = Person { name: String::new(), email: String::new() };
    let (author, committer) = (source.author.as_ref().unwrap_or(&nobody), source.committer.as_ref().unwrap_or(&nobody));
    let context = |name: &str| artifact.context.get(name).map_or("", String::as_str);
    let older = Older {
        id: artifact.id.as_str(),
        service: artifact.service.as_str(),
        namespace: artifact.namespace.as_ref().map_or("", AsRef::as_ref),
        application: Repository {
            branch: &branch,
            sha: &source.sha,
            author_name: &author.name,
            author_email: &author.email,
            committer_name: &committer.name,
            committer_email: &committer.email,
            message: &message,
            name: &name,
            url: &url,
            provider: context("provider"),
        },
        ci: Ci {
            job_url: artifact.ci.job_url.as_deref().unwrap_or_default(),
            start: time(artifact.ci.start),
            end: time(artifact.ci.end),
        },
        squad: context("squad"),
        shuttle: artifact.items.iter().find_map(|item| item.get("shuttle").filter(|_| item.len() == 1)),
        stages: artifact.stages.iter().filter_map(stage).collect(),
    };
    serde_json::to_vec_pretty(&older).expect("plain data always serialises")
}

/// The older system writes the first instant of its calendar where it knows none.
fn time(time: Option<Timestamp>) -> Value {
    time.map_or_else(|| json!("0001-01-01T00:00:00Z"), |time| json!(time.to_string()))
}

fn stage(stage: &Stage) -> Option<Value> {
    let (id, texts, counts) = STAGES.into_iter().find(|(id, ..)| *id == stage.id)?;
    let mut data = Map::new();
    for name in texts {
        let text = stage.data.get(*name).and_then(Value::as_str).filter(|text| !text.is_empty());
        data.extend(text.map(|text| ((*name).to_owned(), json!(text))));
    }
    if let Some((field, names)) = counts {
        let count = |name: &str| stage.data.get(field).and_then(|counts| counts.get(name)).and_then(Value::as_u64);
        let counts: Map<_, _> =
            names.iter().map(|name| ((*name).to_owned(), json!(count(name).unwrap_or_default()))).collect();
        data.insert(field.to_owned(), counts.into());
    }
    Some(json!({ "id": id, "name": stage.name, "data": data }))
}

#[cfg(test)]
mod tests {
    use super::super::import;
    use super::*;

    #[test]
    fn what_was_the_older_system_s_comes_back_as_it_was() {
        let record = json!({
            "id": "master-1234567890-0987654321",
            "service": "web",
            "namespace": "shop",
            "application": {
                "branch": "master", "sha": "1234567890abcdef", "authorName": "Åsa", "authorEmail": "asa@example.com",
                "committerName": "Bo", "committerEmail": "bo@example.com", "message": "Fix it", "name": "shop",
                "url": "https://example.com/shop", "provider": "github"
            },
            "ci": { "jobUrl": "https://ci.example.com/1", "start": "2026-03-04T05:06:07Z", "end": "0001-01-01T00:00:00Z" },
            "squad": "nasa",
            "shuttle": { "plan": { "url": "x" }, "shuttleVersion": "1" },
            "stages": [
                { "id": "build", "name": "Build", "data": { "image": "i", "tag": "t", "dockerVersion": "1" } },
                { "id": "test", "name": "Test", "data": { "url": "u", "results": { "passed": 3, "failed": 0, "skipped": 1 } } },
                { "id": "snyk-code", "name": "Security Scan - Code",
                  "data": { "vulnerabilities": { "high": 0, "medium": 2, "low": 1 } } }
            ]
        });
        let artifact = import::read(record.to_string().as_bytes(), None).expect("the older form");
        let again: Value = serde_json::from_slice(&older(&artifact)).expect("JSON");
        assert_eq!(again, record);
    }

    #[test]
    fn what_the_older_system_does_not_know_is_left_out() {
        let record = json!({
            "id": "a-1", "service": "web", "application": { "sha": "abcd" },
            "stages": [{ "id": "licences", "name": "Licences", "data": { "found": 3 } }]
        });
        let artifact = import::read(record.to_string().as_bytes(), None).expect("the older form");
        let again: Value = serde_json::from_slice(&older(&artifact)).expect("JSON");
        assert_eq!(again.get("stages"), None);
        assert!(import::read(&older(&artifact), None).is_ok());
    }
}
