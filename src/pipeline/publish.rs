//! Publishing: a verified bundle becomes visible, and what was published is written down.
//!
//! [`publish`] takes the proof that the bundle was verified, so it cannot be called without. How a
//! place keeps its promises is the provider's business ([`crate::provider`]).

use std::time::Instant;

use camino::Utf8Path;
use serde::Serialize;

use super::events::{Event, Listener};
use super::plan::Plan;
use super::request::{ProviderKind, Publish};
use super::stage::Stage;
use crate::model::failure::Result;
use crate::model::pretty;
use crate::provider::{self, Asset, Status, Upload};
use crate::trust::{self, Bundle, Verified};
use crate::world::files;

/// The document type of a [`Publication`].
pub const TYPE: &str = "consign.publish/v1";
/// The report of publishing.
pub const FILE_NAME: &str = "publish.json";
/// The address of what was published, on one line.
pub const URL_FILE_NAME: &str = "release-url.txt";
/// The names of what was published, one on each line.
pub const ASSETS_FILE_NAME: &str = "release-assets.txt";

/// What was published, and where.
#[derive(Clone, Debug, Serialize)]
pub struct Publication {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind of place.
    pub provider: ProviderKind,
    /// The place as it was given.
    pub target: String,
    /// Where it can be fetched from.
    pub url: String,
    /// Whether anything had to be done.
    pub status: Status,
    /// Every asset that is there, sorted by name.
    pub assets: Vec<Asset>,
}

/// Publishes a bundle and writes down what was published.
pub fn publish(
    bundle: &Verified<Bundle>,
    plan: &Plan,
    target: &Publish,
    listener: &dyn Listener,
) -> Result<Publication> {
    let upload = Upload {
        release: bundle.release.directory()?,
        directory: &plan.places.bundle,
        assets: bundle.assets.iter().map(asset).collect(),
        evidence: bundle.evidence.iter().map(asset).collect(),
    };
    let (began, task) = (Instant::now(), target.target.clone());
    listener.hear(&Event::TaskStarted { stage: Stage::Publish, task: task.clone() });
    let published = match target.provider {
        ProviderKind::Directory => provider::directory::publish(&upload, Utf8Path::new(&target.target))?,
    };
    let bytes = match published.status {
        Status::Published => upload.files().map(|file| file.size_bytes).sum(),
        Status::Unchanged => 0,
    };
    listener.hear(&Event::TaskFinished { stage: Stage::Publish, task, bytes, duration: began.elapsed() });
    let publication = Publication {
        kind: TYPE,
        provider: target.provider,
        target: target.target.clone(),
        url: published.url,
        status: published.status,
        assets: upload.assets,
    };
    write(&publication, &plan.places.releases)?;
    Ok(publication)
}

fn asset(listed: &trust::Asset) -> Asset {
    Asset { name: listed.name.clone(), size_bytes: listed.size_bytes, sha256: listed.sha256 }
}

fn write(publication: &Publication, directory: &Utf8Path) -> Result<()> {
    let names: String = publication.assets.iter().flat_map(|asset| [asset.name.as_str(), "\n"]).collect();
    files::write(&directory.join(ASSETS_FILE_NAME), names.as_bytes())?;
    files::write(&directory.join(URL_FILE_NAME), format!("{}\n", publication.url).as_bytes())?;
    files::write(&directory.join(FILE_NAME), &pretty(publication))
}
