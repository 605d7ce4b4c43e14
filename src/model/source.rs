//! Where a release's source code comes from.

use jiff::Timestamp;
use serde::Serialize;

use super::text;

/// The state of the source tree, as far as it is known.
///
/// Everything is optional but the time, because a workspace need not be a git repository, and a
/// repository need not have a commit, a tag or a remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The address of the repository, without any user name or password.
    pub repository: Option<String>,
    /// The full commit id.
    pub commit: Option<String>,
    /// The tag or branch that was checked out, as a full ref name (`refs/tags/v1.0.0`).
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Whether the working tree differs from the commit.
    pub dirty: bool,
    /// The time that everything in the release is dated with: `SOURCE_DATE_EPOCH`, else the
    /// commit's time, else the first of January 1980.
    pub date: Timestamp,
    /// The tags at the commit, sorted.
    #[serde(skip)]
    pub tags: Vec<String>,
    /// The first paths that differ from the commit, below the repository's root.
    #[serde(skip)]
    pub changes: Vec<String>,
}

/// How many changed paths are kept, to be shown.
pub const MAX_CHANGES: usize = 3;

impl Source {
    /// What to do about a tree with changes.
    pub fn way_out(&self) -> String {
        let names: Vec<_> = self.changes.iter().map(|path| format!("`{}`", text::shown(path))).collect();
        let ours = |path: &String| matches!(path.trim_end_matches('/'), "dist" | "target");
        match self.changes.iter().find(|path| ours(path)) {
            Some(path) => {
                format!("add `/{}` to .gitignore; `git status` shows every change", path.trim_end_matches('/'))
            }
            None if names.is_empty() => "`git status` shows them; commit or stash them".to_owned(),
            None => format!("commit or stash them; the first are {}, and `git status` shows all", names.join(", ")),
        }
    }
}

/// The first of January 1980, UTC, in seconds since 1970: the earliest time that a zip file can hold.
pub const EARLIEST_SECONDS: i64 = 315_532_800;
/// The last second of 2107, UTC: the latest time that a zip file can hold.
pub const LATEST_SECONDS: i64 = 4_354_819_199;
