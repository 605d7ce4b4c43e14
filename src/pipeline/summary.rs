//! The release summary: what should have been published against what was.
//!
//! [`summarise`] is pure and [`write()`] puts the result where it belongs. It compares names; that
//! the bytes are right is what the verifier is for.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use camino::Utf8Path;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::model::failure::Result;
use crate::model::{Code, Failure, Release, markdown, pretty, text};
use crate::world::files;

/// The document type.
pub const TYPE: &str = "consign.release-summary/v1";
/// The document's name in `dist/releases/<version>/`.
pub const FILE_NAME: &str = "release-summary.json";
/// The name of the same for people.
pub const MARKDOWN_FILE_NAME: &str = "release-summary.md";
/// The list of published assets that publishing leaves.
pub const ASSETS_FILE_NAME: &str = "release-assets.txt";
/// The largest list of assets that is read, in bytes.
const MAX_LIST_BYTES: usize = 4 << 20;
/// The end of the name of a detached signature.
const SIGNATURE_SUFFIX: &str = ".sig";

/// What is compared, and what is said beside it.
#[derive(Clone, Debug)]
pub struct SummaryInput<'a> {
    /// The release.
    pub release: &'a Release,
    /// Where people find it, if it was published.
    pub release_url: Option<&'a str>,
    /// How many of the expected assets are archives.
    pub archive_count: usize,
    /// How the verification of the published bundle ended.
    pub remote_verify_status: RemoteStatus,
    /// The names of the verified bundle's files.
    pub expected: Vec<String>,
    /// The names that were published.
    pub published: Vec<String>,
}

/// How the verification of the published bundle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemoteStatus {
    /// It was fetched and verified.
    Passed,
    /// It was fetched, or could not be, and something was wrong.
    Failed,
    /// Nobody looked.
    Unchecked,
}

/// Whether everything is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SummaryStatus {
    /// No asset is missing.
    Passed,
    /// Assets are missing.
    Failed,
}

/// `release-summary.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The bare semantic version.
    pub version: Version,
    /// The tag.
    pub tag: String,
    /// Whether everything is there.
    pub status: SummaryStatus,
    /// Where people find the release.
    pub release_url: Option<String>,
    /// How many archives there should be.
    pub archive_count: usize,
    /// How many detached signatures there should be.
    pub signature_count: usize,
    /// How the verification of the published bundle ended.
    pub remote_verify_status: RemoteStatus,
    /// What should be there, sorted.
    pub expected_assets: BTreeSet<String>,
    /// What is there, sorted.
    pub remote_assets: BTreeSet<String>,
    /// What should be there and is not.
    pub missing_assets: BTreeSet<String>,
    /// What is there and should not be.
    pub unexpected_assets: BTreeSet<String>,
}

/// Compares expected and published assets.
pub fn summarise(input: &SummaryInput<'_>) -> Summary {
    let names =
        |list: &[String]| -> BTreeSet<String> { list.iter().map(|name| text::shown(name).into_owned()).collect() };
    let (expected, published) = (names(&input.expected), names(&input.published));
    let missing: BTreeSet<_> = expected.difference(&published).cloned().collect();
    let unexpected = published.difference(&expected).cloned().collect();
    Summary {
        kind: TYPE,
        version: input.release.version.clone(),
        tag: input.release.tag.clone(),
        status: if missing.is_empty() && input.remote_verify_status != RemoteStatus::Failed {
            SummaryStatus::Passed
        } else {
            SummaryStatus::Failed
        },
        release_url: input.release_url.map(|url| text::shown(&text::without_credentials(url.trim())).into_owned()),
        archive_count: input.archive_count,
        signature_count: expected.iter().filter(|name| name.ends_with(SIGNATURE_SUFFIX)).count(),
        remote_verify_status: input.remote_verify_status,
        expected_assets: expected,
        remote_assets: published,
        missing_assets: missing,
        unexpected_assets: unexpected,
    }
}

/// Writes both forms into a release's directory, and appends the one for people to a workflow's
/// summary if it has one. Only then, missing assets are the failure.
pub fn write(summary: &Summary, directory: &Utf8Path, step_summary: Option<&Utf8Path>) -> Result<()> {
    let page = summary.markdown();
    files::write(&directory.join(FILE_NAME), &pretty(summary))?;
    files::write(&directory.join(MARKDOWN_FILE_NAME), page.as_bytes())?;
    if let Some(path) = step_summary {
        files::append(path, page.as_bytes())?;
    }
    summary.verdict()
}

/// Reads a list of published assets: one name, path or address in each line.
pub fn read_assets(path: &Utf8Path) -> Result<Vec<String>> {
    if !path.is_file() {
        return Err(Failure::new(Code::BuildMissing, format!("there is no list of published assets at `{path}`"))
            .subject(path.as_str())
            .hint("run `consign publish`, or name a list with `--assets`"));
    }
    let bytes = files::read_bounded(path, MAX_LIST_BYTES)?;
    let list = String::from_utf8_lossy(&bytes);
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(|line| line.rsplit(['/', '\\']).next().unwrap_or(line).to_owned()).collect())
}

impl Summary {
    /// The failure, if assets are missing.
    pub fn verdict(&self) -> Result<()> {
        let Some(first) = self.missing_assets.first() else { return self.remote_verdict() };
        let count = self.missing_assets.len();
        let listed: Vec<_> = self.missing_assets.iter().take(5).map(String::as_str).collect();
        let more = if count > listed.len() { ", …" } else { "" };
        Err(Failure::new(
            Code::SummaryMissing,
            format!("{count} of {} assets are not published: {}{more}", self.expected_assets.len(), listed.join(", ")),
        )
        .subject(first.as_str())
        .hint("publish again: only what is missing is uploaded"))
    }

    /// Every asset may be there and still not be what was released.
    fn remote_verdict(&self) -> Result<()> {
        if self.remote_verify_status != RemoteStatus::Failed {
            return Ok(());
        }
        Err(Failure::new(Code::RemoteUnverified, "what was published did not verify")
            .subject(self.tag.as_str())
            .hint("`consign remote-verify` says what is wrong with it"))
    }

    /// The summary for people.
    pub fn markdown(&self) -> String {
        let mut page = format!("# Release summary: {}\n\n", markdown::code(&self.tag));
        let status = match self.status {
            SummaryStatus::Passed => "passed: every expected asset is published",
            SummaryStatus::Failed if self.missing_assets.is_empty() => "**failed**: what was published did not verify",
            SummaryStatus::Failed => "**failed**: assets are missing",
        };
        let remote = match self.remote_verify_status {
            RemoteStatus::Passed => "passed",
            RemoteStatus::Failed => "**failed**",
            RemoteStatus::Unchecked => "not checked",
        };
        let url = self.release_url.as_deref().map_or_else(|| "not published".to_owned(), markdown::code);
        let rows = [
            ("status", status.to_owned()),
            ("release", url),
            ("archives", self.archive_count.to_string()),
            ("signatures", self.signature_count.to_string()),
            ("verified after publishing", remote.to_owned()),
            ("expected assets", self.expected_assets.len().to_string()),
            ("published assets", self.remote_assets.len().to_string()),
        ];
        page.push_str("| | |\n|---|---|\n");
        for (name, value) in rows {
            // Writing into a String cannot fail.
            let _ = writeln!(page, "| {name} | {value} |");
        }
        section(&mut page, "Missing", &self.missing_assets);
        section(&mut page, "Unexpected", &self.unexpected_assets);
        page
    }
}

fn section(page: &mut String, title: &str, names: &BTreeSet<String>) {
    if names.is_empty() {
        return;
    }
    let _ = write!(page, "\n## {title}\n\n");
    for name in names {
        let _ = writeln!(page, "- {}", markdown::code(name));
    }
}
