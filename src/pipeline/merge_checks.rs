//! What is asked of the parts of a bundle before they are merged, and how a refusal names its reason.
//!
//! [`belongs`] compares one part with the plan, [`sources`] says which part each platform comes from.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::merge::Part;
use super::plan::Plan;
use crate::model::failure::Result;
use crate::model::provenance::{self, Statement};
use crate::model::{Code, Failure, Platform, text};

/// Refuses a part of another release, commit or state than the plan's.
pub(super) fn belongs(plan: &Plan, part: &Part) -> Result<()> {
    let (index, place) = (&part.bundle.index, &part.directory);
    let refused =
        |code: Code, message: String, hint: &str| Err(Failure::new(code, message).subject(place.as_str()).hint(hint));
    let Some(commit) = &plan.source.commit else {
        return refused(
            Code::SourceUnknown,
            "there is no commit here that parts could belong to".to_owned(),
            "merge in a clone of the repository, with the commit that was built checked out",
        );
    };
    if plan.source.dirty {
        return refused(
            Code::TreeDirty,
            "the working tree has changes that are in no commit, and no part was made from them".to_owned(),
            "commit them, or take them back; keep parts outside of the working tree, or in `dist/`",
        );
    }
    if index.name != plan.name || index.tag != plan.release.tag {
        return refused(
            Code::BuildStale,
            format!(
                "the part in `{place}` is {} {}, and this is {} {}",
                index.name,
                text::shown(&index.tag),
                plan.name,
                plan.release.tag
            ),
            "merge the parts of one release, in its workspace",
        );
    }
    if index.source.dirty {
        return refused(
            Code::TreeDirty,
            format!("the part in `{place}` was made from changes that are in no commit"),
            "build and package it again from a clean checkout",
        );
    }
    if index.source.commit.as_ref() != Some(commit) {
        let other = text::shown(index.source.commit.as_deref().unwrap_or("no commit")).into_owned();
        return refused(
            Code::BuildStale,
            format!("the part in `{place}` was made from {other}, and this is {commit}"),
            "check out the same commit on every machine",
        );
    }
    made_alike(plan, part)
}

/// Refuses a part that was made in another mode or by another version of Consign.
fn made_alike(plan: &Plan, part: &Part) -> Result<()> {
    let predicate = &part.statement.predicate;
    let refused = |message: String, hint: String| {
        Err(Failure::new(Code::BuildStale, message).subject(part.directory.as_str()).hint(hint))
    };
    let (mode, place) = (&predicate.build_definition.external_parameters.mode, &part.directory);
    if mode != plan.mode.as_str() {
        let wanted = plan.mode.as_str();
        return refused(
            format!("the part in `{place}` was packaged in mode {}, and this is {wanted}", text::shown(mode)),
            format!(
                "say `--mode {wanted}` to `consign package` on every machine, or `--mode {}` here",
                text::shown(mode)
            ),
        );
    }
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = predicate.run_details.builder.version.get("consign").map_or("no version", String::as_str);
    if theirs != ours {
        return refused(
            format!("the part in `{place}` was made by Consign {}, and this is {ours}", text::shown(theirs)),
            "use the same Consign on every machine".to_owned(),
        );
    }
    Ok(())
}

/// Which part each platform of the plan comes from.
pub(super) fn sources<'a>(plan: &Plan, parts: &'a [Part]) -> Result<BTreeMap<Platform, &'a Utf8Path>> {
    let mut sources: BTreeMap<Platform, &Part> = BTreeMap::new();
    for part in parts {
        for package in &part.bundle.index.packages {
            let platform = package.platform;
            if !plan.platforms.iter().any(|planned| planned.platform == platform) {
                let message = format!("the part in `{}` has {platform}, which is not planned", part.directory);
                return Err(Failure::new(Code::BuildStale, message)
                    .subject(part.directory.as_str())
                    .hint("add it to `platforms` in consign.toml, or leave the part out"));
            }
            let Some(first) = sources.get(&platform) else {
                sources.insert(platform, part);
                continue;
            };
            if first.bundle.index.packages.iter().all(|other| other != package) {
                let message = format!(
                    "{platform} was built twice with different bytes: `{}`, `{}`",
                    first.directory, part.directory
                );
                return Err(Failure::new(Code::PartsDisagree, message)
                    .subject(platform.name())
                    .hint("keep one of them; `consign rebuild` says why two builds differ"));
            }
        }
    }
    let missing = plan.platforms.iter().find(|planned| !sources.contains_key(&planned.platform));
    if let Some(missing) = missing {
        let message = format!("no part has {}, which is planned", missing.platform);
        return Err(Failure::new(Code::BuildMissing, message)
            .subject(missing.platform.name())
            .hint("build and package it too, or say what is to be merged with `--platform`"));
    }
    Ok(sources.into_iter().map(|(platform, part)| (platform, part.directory.as_path())).collect())
}

/// Where a part's provenance differs from what is written here, as the end of a sentence.
pub(super) fn difference(part: &Part, document: &str, ours: &[u8]) -> String {
    if document != provenance::FILE_NAME {
        return String::new();
    }
    let Ok(ours) = serde_json::from_slice::<Statement>(ours) else { return String::new() };
    let fields = |statement: &Statement| {
        let build = &statement.predicate.build_definition;
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for value in
            [serde_json::to_value(&build.external_parameters), serde_json::to_value(&build.internal_parameters)]
        {
            let Ok(serde_json::Value::Object(object)) = value else { continue };
            fields.extend(object.into_iter().map(|(key, value)| (key, value.to_string())));
        }
        let named = build.resolved_dependencies.iter().map(|row| (row.name.clone(), format!("{:?}", row.digest)));
        fields.extend(named);
        fields
    };
    let (theirs, ours) = (fields(&part.statement), fields(&ours));
    let other = theirs.keys().chain(ours.keys()).find(|key| theirs.get(*key) != ours.get(*key));
    other.map_or_else(String::new, |key| format!("; they differ in `{}`", text::shown(key)))
}
