//! The chain of an artifact, from the commit to the verdict, for people.
//!
//! [`describe`] follows the record and the registry's signed summary. It checks no signature: whoever does
//! not believe the registry verifies the bundle with `consign verify`.

use serde::Deserialize;

use super::super::output;
use super::first_line;
use crate::model::artifact::Artifact;
use crate::model::index;
use crate::model::registry::Shown;
use crate::model::text::shown;
use crate::trust::dsse::Envelope;
use crate::trust::signatures::ENDING;

/// How much of a key's id is shown.
const KEY_DIGITS: usize = 16;

/// What is read of the registry's summary.
#[derive(Deserialize)]
struct Statement {
    predicate: Predicate,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    policy: Policy,
    time_verified: String,
    #[serde(default)]
    signed_by: Vec<String>,
}

#[derive(Deserialize)]
struct Policy {
    uri: String,
}

/// One artifact: the chain first, then what else is known of it.
pub(super) fn describe(known: &Shown) -> String {
    let artifact = &known.artifact;
    let mut rows = vec![("artifact", format!("{}/{}", artifact.service, artifact.id))];
    rows.extend(chain(known));
    rows.push(("", String::new()));
    rows.extend(more(artifact));
    rows.push(("pushed", format!("{} by {}", known.pushed_at, shown(&known.pushed_by))));
    rows.push(("outcome", known.outcome.as_ref().map_or("not reported", |ended| ended.outcome.as_str()).to_owned()));
    let rows: Vec<_> = rows.into_iter().map(|(name, text)| vec![name.to_owned(), text]).collect();
    output::table(&rows)
}

/// Commit, run, what the run did, bundle, signature, verdict. A link that is missing says so.
fn chain(known: &Shown) -> Vec<(&'static str, String)> {
    let artifact = &known.artifact;
    let source = &artifact.source;
    let mut commit = format!("{} ({}", source.sha, source.event.as_str());
    for (what, name) in [("branch", &source.branch), ("tag", &source.tag)] {
        if let Some(name) = name {
            commit.push_str(&format!(", {what} {}", first_line(name)));
        }
    }
    commit.push(')');
    let run = artifact.ci.job_url.as_deref().map_or_else(|| "not recorded".to_owned(), first_line);
    let mut links = vec![("commit", commit), ("-> run", run)];
    for stage in &artifact.stages {
        if stage.id != "test" {
            let texts: Vec<_> = stage.data.iter().filter_map(|(name, value)| Some((name, value.as_str()?))).collect();
            let texts: Vec<_> =
                texts.iter().map(|(name, text)| format!("{} {}", shown(name), first_line(text))).collect();
            let what = if stage.id == "build" { "-> build" } else { "-> stage" };
            let id = if stage.id == "build" { String::new() } else { format!("{}: ", shown(&stage.id)) };
            links.push((what, format!("{id}{}", texts.join(", ")).trim_end_matches(": ").to_owned()));
        }
    }
    links.extend(artifact.tests().map(|tests| {
        ("-> test", format!("{} passed, {} failed, {} skipped", tests.passed, tests.failed, tests.skipped))
    }));
    let Some(bundle) = &artifact.bundle else { return links };
    let index = bundle.files.get(index::FILE_NAME).map_or_else(|| "no index".to_owned(), |it| it.sha256.to_string());
    links.push(("-> bundle", format!("sha256:{index}, {} files", bundle.files.len())));
    let summary = known.summary.as_deref().and_then(read);
    let signatures = bundle.files.keys().filter(|name| name.as_str().ends_with(ENDING)).count();
    links.push(match &summary {
        Some(predicate) => {
            let keys: Vec<_> = predicate.signed_by.iter().map(|key| key.chars().take(KEY_DIGITS).collect()).collect();
            let keys: Vec<String> = keys;
            ("-> signature", format!("{signatures} signatures, every file by {}", shown(&keys.join(", "))))
        }
        None => ("-> signature", format!("{signatures} signatures, by nobody whom the registry believes")),
    });
    let by = summary.map_or_else(String::new, |predicate| {
        format!(" by {}, {}", shown(&predicate.policy.uri), shown(&predicate.time_verified))
    });
    links.push(("-> verdict", format!("verification {}{by}", shown(&known.verdict))));
    links
}

/// What is no link of the chain.
fn more(artifact: &Artifact) -> Vec<(&'static str, String)> {
    let source = &artifact.source;
    let text = |text: &Option<String>| text.as_deref().map(first_line);
    let mut rows = Vec::new();
    rows.extend(text(&source.repository).map(|text| ("repository", text)));
    rows.extend(source.author.as_ref().map(|by| ("author", format!("{} <{}>", shown(&by.name), shown(&by.email)))));
    rows.extend(text(&source.message).map(|text| ("message", text)));
    rows.extend(
        artifact.vulnerabilities().map(|found| {
            ("vulnerabilities", format!("{} high, {} medium, {} low", found.high, found.medium, found.low))
        }),
    );
    rows.extend(artifact.bundle.iter().filter_map(|bundle| text(&bundle.index_url)).map(|text| ("index", text)));
    if let Some(payload) = &artifact.payload {
        let list: Vec<_> = payload.environments.iter().map(ToString::to_string).collect();
        rows.push(("environments", list.join(", ")));
    }
    rows.extend(artifact.digests.iter().map(|(name, sha256)| ("digest", format!("{sha256}  {}", shown(name)))));
    rows
}

fn read(summary: &str) -> Option<Predicate> {
    let envelope: Envelope = serde_json::from_str(summary).ok()?;
    let statement: Statement = serde_json::from_slice(&envelope.body()?).ok()?;
    Some(statement.predicate)
}
