//! GitHub's documents, as far as they are read or written here, and the mark in a draft's text.
//!
//! Fields that nothing here depends on are left out, so that older servers of enterprises are understood
//! as well.

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Release as ReleaseName, checksums, index};
use crate::provider::{State, Stored, Upload};

/// How the mark of a draft begins. It is a comment in Markdown, which nobody sees.
const MARK: &str = "<!-- consign:draft ";
/// How it ends.
const MARK_END: &str = " -->";
/// The longest text of a release that GitHub takes, in characters.
const MAX_TEXT_CHARS: usize = 120_000;

/// A release, published or not.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Release {
    pub id: u64,
    pub tag_name: String,
    pub draft: bool,
    #[serde(default)]
    pub prerelease: bool,
    #[serde(default)]
    pub html_url: String,
    #[serde(default)]
    pub upload_url: String,
    #[serde(default)]
    pub body: Option<String>,
}

/// A file of a release.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Asset {
    pub id: u64,
    pub name: String,
    pub state: String,
    pub size: u64,
    #[serde(default)]
    pub digest: Option<String>,
}

/// What a release is to be.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Wanted<'a> {
    pub tag_name: &'a str,
    /// Never used while the tag is there, and the only commit that could be right if it goes away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_commitish: Option<&'a str>,
    pub name: &'a str,
    pub body: String,
    pub draft: bool,
    pub prerelease: bool,
    /// `true` or `false`, as text.
    pub make_latest: &'static str,
}

/// A repository.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Repository {
    #[serde(default)]
    pub private: bool,
    #[serde(default)]
    pub archived: bool,
    #[serde(default)]
    pub permissions: Option<Permissions>,
}

/// What the token may do there.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Permissions {
    #[serde(default)]
    pub push: bool,
}

/// A ref, or an annotated tag: what it points to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pointer {
    pub object: Object,
}

/// What is pointed to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Object {
    #[serde(rename = "type")]
    pub kind: String,
    pub sha: String,
}

/// Whether releases can be changed after they were published.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Immutability {
    pub enabled: bool,
}

/// The mark that tells our own draft from everybody else's: the index says what would be released, the
/// checksums which run would release it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub index: Digest,
    pub bundle: Digest,
}

impl Mark {
    /// The mark of a bundle.
    pub(super) fn of(upload: &Upload<'_>) -> Option<Self> {
        let digest = |name| upload.file(name).map(|asset| asset.sha256);
        let index = digest(index::FILE_NAME)?;
        Some(Self { index, bundle: digest(checksums::FILE_NAME).unwrap_or(index) })
    }

    /// The mark in a text. Of several, the last one counts: it stands behind whatever the notes say.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(MARK)?;
        let (words, _) = rest.split_once(MARK_END)?;
        let digest = |key: &str| words.split(' ').find_map(|word| word.strip_prefix(key)?.parse().ok());
        Some(Self { index: digest("index=sha256:")?, bundle: digest("bundle=sha256:")? })
    }

    /// The notes with the mark behind them.
    pub(super) fn written(self, notes: &str) -> String {
        let Self { index, bundle } = self;
        let notes = notes.trim_end();
        let kept: String = notes.chars().take(MAX_TEXT_CHARS).collect();
        let cut = if kept.len() < notes.len() { "\n\n…" } else { "" };
        format!("{kept}{cut}\n\n{MARK}index=sha256:{index} bundle=sha256:{bundle}{MARK_END}\n")
    }
}

impl From<Asset> for Stored {
    fn from(asset: Asset) -> Self {
        let state = if asset.state == "uploaded" {
            let sha256 = asset.digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:")?.parse().ok());
            State::Whole { size_bytes: asset.size, sha256 }
        } else {
            State::Unfinished
        };
        Self { name: asset.name, id: Some(asset.id), state }
    }
}

/// Whether a release is to be called the latest: no prerelease is, and none behind a newer one.
pub(super) fn is_latest(release: &ReleaseName, others: &[Release]) -> bool {
    let is_newer = |other: &Release| {
        !other.draft
            && !other.prerelease
            && ReleaseName::parse(&other.tag_name).is_ok_and(|other| {
                other.package == release.package && other.version.pre.is_empty() && other.version > release.version
            })
    };
    release.version.pre.is_empty() && !others.iter().any(is_newer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_cannot_be_forged_by_the_notes() {
        let mark = Mark { index: Digest::of(b"index"), bundle: Digest::of(b"bundle") };
        assert_eq!(Mark::read(&mark.written("# Notes\n")), Some(mark));
        let other = Mark { index: Digest::of(b"other"), ..mark };
        assert_eq!(Mark::read(&mark.written(&other.written("notes"))), Some(mark));
        for wrong in ["", "<!-- consign:draft -->", "<!-- consign:draft index=sha256:00 bundle=sha256:00 -->", MARK] {
            assert_eq!(Mark::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_text_is_never_longer_than_github_takes() {
        let mark = Mark { index: Digest::of(b"index"), bundle: Digest::of(b"bundle") };
        let text = mark.written(&"ä".repeat(200_000));
        assert!(text.chars().count() < 125_000);
        assert_eq!(Mark::read(&text), Some(mark));
    }

    #[test]
    fn the_latest_release_is_the_newest_that_is_no_prerelease() {
        let other = |tag: &str, draft| Release {
            id: 1,
            tag_name: tag.into(),
            draft,
            prerelease: false,
            html_url: String::new(),
            upload_url: String::new(),
            body: None,
        };
        let is = |tag: &str, others: &[Release]| is_latest(&ReleaseName::parse(tag).expect(tag), others);
        assert!(is("v1.2.3", &[]) && is("v1.2.3", &[other("v1.2.2", false), other("nightly", false)]));
        assert!(!is("v1.2.3", &[other("v2.0.0", false)]), "a fix of an older line");
        assert!(is("v1.2.3", &[other("v2.0.0", true)]), "nobody sees a draft");
        assert!(is("v1.2.3", &[other("v2.0.0-rc.1", false)]));
        assert!(!is("v1.2.3-rc.1", &[]));
        assert!(is("tool-v1.0.0", &[other("other-v2.0.0", false)]));
    }
}
