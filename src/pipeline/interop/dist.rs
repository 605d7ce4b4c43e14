//! `dist-manifest.json`: what dist's own installers and updaters read.
//!
//! The keys and words are those of the public schema of cargo-dist. Only what a reader needs to find,
//! choose and check an archive is said.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Release, programs, stem};
use crate::model::Digest;

/// The version of the schema that this was written after.
const SCHEMA: &str = "0.28.0";

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the schema has them")]
struct Manifest<'a> {
    dist_version: &'static str,
    announcement_tag: &'a str,
    announcement_tag_is_implicit: bool,
    announcement_is_prerelease: bool,
    announcement_title: String,
    releases: [Announced<'a>; 1],
    artifacts: BTreeMap<&'a str, Artifact<'a>>,
    publish_prereleases: bool,
    force_latest: bool,
    /// A reader of the schema's older versions wants to see both lists.
    linkage: [(); 0],
    upload_files: [(); 0],
}

#[derive(Serialize)]
struct Announced<'a> {
    app_name: &'a str,
    app_version: String,
    artifacts: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosting: Option<Hosting<'a>>,
}

#[derive(Serialize)]
struct Hosting<'a> {
    github: GitHub<'a>,
}

#[derive(Serialize)]
struct GitHub<'a> {
    artifact_base_url: &'a str,
    artifact_download_path: String,
    owner: &'a str,
    repo: &'a str,
}

#[derive(Serialize)]
struct Artifact<'a> {
    name: &'a str,
    kind: &'static str,
    target_triples: [&'a str; 1],
    assets: Vec<Asset<'a>>,
    checksums: BTreeMap<&'static str, Digest>,
}

#[derive(Serialize)]
struct Asset<'a> {
    name: &'a str,
    path: String,
    kind: &'static str,
}

pub(super) fn render(release: &Release<'_>) -> Vec<u8> {
    let version = release.version.to_string();
    let artifacts = release.packages.iter().map(|package| {
        let assets = programs(package).map(|name| Asset {
            name,
            path: format!("{}/bin/{name}", stem(package)),
            kind: "executable",
        });
        let artifact = Artifact {
            name: package.archive.as_str(),
            kind: "executable-zip",
            target_triples: [&package.target],
            assets: assets.collect(),
            checksums: BTreeMap::from([("sha256", package.sha256)]),
        };
        (package.archive.as_str(), artifact)
    });
    crate::model::pretty(&Manifest {
        dist_version: SCHEMA,
        announcement_tag: release.tag,
        announcement_tag_is_implicit: false,
        announcement_is_prerelease: !release.version.pre.is_empty(),
        announcement_title: format!("{} {version}", release.name),
        releases: [Announced {
            app_name: release.name.as_str(),
            app_version: version,
            artifacts: release.packages.iter().map(|package| package.archive.as_str()).collect(),
            hosting: hosting(release.base_url),
        }],
        artifacts: artifacts.collect(),
        publish_prereleases: false,
        force_latest: false,
        linkage: [],
        upload_files: [],
    })
}

/// The parts of an address of GitHub's; the schema has no words for any other place.
fn hosting(base_url: &str) -> Option<Hosting<'_>> {
    let path = base_url.find("://").and_then(|at| base_url[at + 3..].find('/').map(|slash| at + 3 + slash))?;
    let (host, path) = base_url.split_at(path);
    let mut parts = path[1..].splitn(4, '/');
    let (owner, repo) = (parts.next()?, parts.next()?);
    (parts.next() == Some("releases") && parts.next().is_some_and(|rest| rest.starts_with("download/"))).then(|| {
        let github = GitHub { artifact_base_url: host, artifact_download_path: format!("{path}/"), owner, repo };
        Hosting { github }
    })
}
