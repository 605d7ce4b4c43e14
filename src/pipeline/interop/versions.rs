//! One line of a list of versions: the form of `astral-sh/versions`, one JSON document for a release.
//!
//! The line is put before the others of such a list. Version by version, it is complete in itself.

use serde::Serialize;

use super::Release;
use crate::model::Digest;

#[derive(Serialize)]
struct Line<'a> {
    version: String,
    date: String,
    artifacts: Vec<Artifact<'a>>,
}

#[derive(Serialize)]
struct Artifact<'a> {
    platform: &'a str,
    variant: &'static str,
    url: String,
    archive_format: &'static str,
    sha256: Digest,
}

pub(super) fn render(release: &Release<'_>) -> Vec<u8> {
    let artifacts = release.packages.iter().map(|package| Artifact {
        platform: &package.target,
        variant: "default",
        url: release.url(package),
        archive_format: package.format.extension(),
        sha256: package.sha256,
    });
    let line =
        Line { version: release.version.to_string(), date: release.date.to_string(), artifacts: artifacts.collect() };
    let mut out = serde_json::to_vec(&line).expect("plain data with text keys always serialises");
    out.push(b'\n');
    out
}
