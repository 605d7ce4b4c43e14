//! A Scoop manifest, which a bucket takes as it is.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Release, programs, stem};
use crate::model::Digest;

/// Scoop's word for each processor, and the platforms that are for it, the better one first.
const ARCHITECTURES: [(&str, &[&str]); 3] =
    [("32bit", &["windows-386"]), ("64bit", &["windows-amd64", "windows-amd64-gnu"]), ("arm64", &["windows-arm64"])];

#[derive(Serialize)]
struct Manifest<'a> {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<&'a str>,
    architecture: BTreeMap<&'static str, Architecture<'a>>,
}

#[derive(Serialize)]
struct Architecture<'a> {
    url: String,
    hash: Digest,
    extract_dir: &'a str,
    bin: Vec<String>,
}

pub(super) fn render(release: &Release<'_>) -> Vec<u8> {
    let architecture = ARCHITECTURES.iter().filter_map(|(word, platforms)| {
        let package = release.of(platforms)?;
        let bin = programs(package).map(|program| format!("bin\\{program}")).collect();
        let architecture =
            Architecture { url: release.url(package), hash: package.sha256, extract_dir: stem(package), bin };
        Some((*word, architecture))
    });
    crate::model::pretty(&Manifest {
        version: release.version.to_string(),
        description: release.about.description.as_deref(),
        homepage: release.about.homepage.as_deref(),
        license: release.about.licence.as_deref(),
        architecture: architecture.collect(),
    })
}
