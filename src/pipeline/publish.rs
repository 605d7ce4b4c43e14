//! Publishing: a verified bundle becomes visible, and what was published is written down.
//!
//! [`publish`] takes the proof that the bundle was verified, so it cannot be called without; and what
//! the place has stored goes through the same verifier before anybody sees it. How a place keeps its
//! promises is the provider's business ([`crate::provider`]). Where a catalog lies
//! beside the releases and there is a key for it, the version is added to it ([`crate::catalog`]).

use std::time::Instant;

use camino::Utf8Path;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cataloguing::Catalogue;
use super::notes;
use super::plan::Plan;
use super::request::Publish;
use super::verify::{Requirements, verify};
use crate::catalog::edit::{Act, Hand, Outcome};
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Digest, FileName, pretty};
use crate::provider::{self, Asset, Provider, ProviderKind, Status, Upload};
use crate::trust::key::Signer;
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

/// The largest report that is read back, in bytes.
const MAX_REPORT_BYTES: usize = 16 << 20;
/// The longest notes that are read, in bytes.
const MAX_NOTES_BYTES: usize = 4 << 20;

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
    /// The page for people.
    pub url: String,
    /// What the names of the files are put behind to fetch them.
    pub base_url: String,
    /// Whether anything had to be done.
    pub status: Status,
    /// Every file that is there, assets and their evidence, sorted by name.
    pub assets: Vec<Asset>,
    /// What became of the catalog beside it, where there is one and a key for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<Outcome>,
}

/// What publishing needs besides the bundle and the plan.
#[derive(Clone, Copy)]
pub struct Publishing<'a> {
    /// What is demanded of the bytes that the place has stored.
    pub requirements: &'a Requirements,
    /// The keys that sign a catalog; none: it is left as it is.
    pub signers: &'a [Box<dyn Signer>],
    /// The time.
    pub now: Timestamp,
}

/// Publishes a bundle and writes down what was published.
pub fn publish(
    bundle: &Verified<Bundle>,
    plan: &Plan,
    target: &Publish,
    publishing: Publishing<'_>,
    listener: &dyn Listener,
) -> Result<Publication> {
    let upload = Upload {
        release: bundle.release.clone(),
        commit: bundle.index.source.commit.clone(),
        notes: notes_of(plan)?,
        directory: &plan.places.bundle,
        assets: bundle.assets.iter().map(asset).collect(),
        evidence: bundle.evidence.iter().map(asset).collect(),
    };
    let (began, task) = (Instant::now(), target.target.clone());
    let catalogue = Catalogue::find(&upload.release, &target.place)?;
    let hand = Hand {
        signers: publishing.signers.iter().map(AsRef::as_ref).collect(),
        now: publishing.now,
        lifetimes: &plan.catalog,
        act: Act::Write,
    };
    // A key that cannot add the version is told before anything becomes visible.
    if let Some(catalogue) = catalogue.as_ref().filter(|_| !hand.signers.is_empty()) {
        catalogue.require(&hand)?;
    }
    listener.hear(&Event::TaskStarted { stage: Stage::Publish, task: task.clone() });
    let check = |directory: &Utf8Path| {
        verify(directory, Some(&upload.release), publishing.requirements, listener)?.accept().map(drop)
    };
    let provider = provider::open(&target.place)?;
    let published = provider::publish(&*provider, &upload, &check, listener)?;
    let bytes = match published.status {
        Status::Published => upload.files().map(|file| file.size_bytes).sum(),
        Status::Unchanged => 0,
    };
    listener.hear(&Event::TaskFinished { stage: Stage::Publish, task, bytes, duration: began.elapsed() });
    let catalog = match catalogue {
        Some(catalogue) => list(bundle, &upload, &*provider, &catalogue, &hand, listener)?,
        None => None,
    };
    let publication = Publication {
        kind: TYPE,
        provider: target.provider,
        target: target.target.clone(),
        url: published.address.page,
        base_url: published.address.base,
        status: published.status,
        assets: published.files,
        catalog,
    };
    write(&publication, &plan.places.releases)?;
    Ok(publication)
}

/// Where the last run that published a release has put it, if there was one.
pub fn recorded_base_url(reports: &Utf8Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Recorded {
        #[serde(rename = "type")]
        kind: String,
        base_url: String,
    }
    let bytes = files::read_bounded(&reports.join(FILE_NAME), MAX_REPORT_BYTES).ok()?;
    let recorded: Recorded = serde_json::from_slice(&bytes).ok()?;
    (recorded.kind == TYPE).then_some(recorded.base_url)
}

/// Where a bundle was published by the last run that published one, if it was this one.
pub fn recorded_place(bundle: &Bundle, reports: &Utf8Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Recorded {
        #[serde(rename = "type")]
        kind: String,
        base_url: String,
        assets: Vec<RecordedAsset>,
    }
    #[derive(Deserialize)]
    struct RecordedAsset {
        name: FileName,
        sha256: Digest,
    }
    let bytes = files::read_bounded(&reports.join(FILE_NAME), MAX_REPORT_BYTES).ok()?;
    let recorded: Recorded = serde_json::from_slice(&bytes).ok().filter(|recorded: &Recorded| recorded.kind == TYPE)?;
    let is_there = |asset: &trust::Asset| {
        recorded.assets.iter().any(|there| there.name == asset.name && there.sha256 == asset.sha256)
    };
    bundle.assets.iter().all(is_there).then_some(recorded.base_url)
}

/// Adds the release to the catalog, if there is one and a key for it.
fn list(
    bundle: &Verified<Bundle>,
    upload: &Upload<'_>,
    provider: &dyn Provider,
    catalogue: &Catalogue,
    hand: &Hand<'_>,
    listener: &dyn Listener,
) -> Result<Option<Outcome>> {
    if hand.signers.is_empty() {
        listener.hear(&Event::Warning { message: catalogue.advice() });
        return Ok(None);
    }
    let outcome = catalogue.list(bundle, upload, provider, hand)?;
    for message in outcome.warnings.iter().cloned().chain(outcome.missing.iter().map(ToString::to_string)) {
        listener.hear(&Event::Warning { message });
    }
    Ok(Some(outcome))
}

/// The notes that were rendered for this release, if they were.
fn notes_of(plan: &Plan) -> Result<String> {
    let path = plan.places.releases.join(notes::FILE_NAME);
    if !path.is_file() {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&files::read_bounded(&path, MAX_NOTES_BYTES)?).into_owned())
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
