//! The version guard: whether this version may be released from this commit.
//!
//! The main function is [`check`]. It stops at the first rule that is broken; a rule that was not
//! asked for is reported as skipped. It reads the repository and changes nothing.

use semver::Version;
use serde::Serialize;

use crate::model::failure::Result;
use crate::model::{Code, Failure, Release, text};
use crate::world::git::Repository;

/// The document type of the report.
pub const TYPE: &str = "consign.version-guard/v1";

/// The rules that a release version has to keep, besides being the workspace's version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// The tag starts with `v`.
    pub require_v_prefix: bool,
    /// The current ref, as the forge names it (`GITHUB_REF_NAME`) or with `refs/tags/` before it.
    pub reference: Option<String>,
    /// The tag is the current ref.
    pub require_ref_match: bool,
    /// The tag exists and is at the current commit.
    pub require_tag: bool,
    /// The commit of the tag (or the current one) is part of this branch, here or at origin.
    pub require_branch: Option<String>,
}

/// The report of a version that may be released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guarded {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The bare semantic version.
    pub version: Version,
    /// The tag.
    pub tag: String,
    /// Every rule, in the order in which it is checked.
    pub checks: Vec<Check>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: `prefix`, `version`, `ref`, `tag` or `branch`.
    pub check: &'static str,
    /// Whether it was asked for.
    pub status: CheckStatus,
    /// One line about what was found.
    pub detail: String,
}

/// Whether a rule was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Checked, and kept.
    Passed,
    /// Not asked for.
    Skipped,
}

impl CheckStatus {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Skipped => "skipped",
        }
    }
}

/// Checks every rule; the first that is broken is the failure.
pub fn check(
    release: &Release,
    workspace_version: &Version,
    guard: &Guard,
    repository: Option<&Repository>,
) -> Result<Guarded> {
    let prefix = if guard.require_v_prefix { Some(check_prefix(release)?) } else { None };
    let version = check_version(release, workspace_version)?;
    let reference = match &guard.reference {
        reference if guard.require_ref_match => Some(check_reference(release, reference.as_deref())?),
        _ => None,
    };
    let tag = if guard.require_tag { Some(check_tag(release, needed(repository, Code::GuardTag)?)?) } else { None };
    let branch = match &guard.require_branch {
        Some(branch) => Some(check_branch(release, branch, needed(repository, Code::GuardBranch)?)?),
        None => None,
    };
    let checks = [("prefix", prefix), ("version", Some(version)), ("ref", reference), ("tag", tag), ("branch", branch)];
    let checks = checks.into_iter().map(|(check, found)| match found {
        Some(detail) => Check { check, status: CheckStatus::Passed, detail },
        None => Check { check, status: CheckStatus::Skipped, detail: "not required".to_owned() },
    });
    let (version, tag) = (release.version.clone(), release.tag.clone());
    Ok(Guarded { kind: TYPE, version, tag, checks: checks.collect() })
}

fn check_prefix(release: &Release) -> Result<String> {
    let tag = &release.tag;
    if release.has_v_prefix() {
        return Ok(format!("{tag} has the prefix v"));
    }
    Err(refused(Code::GuardPrefix, release, format!("release version must use a v-prefixed tag: {tag}"))
        .hint(format!("release it as `v{}`", release.version)))
}

fn check_version(release: &Release, workspace: &Version) -> Result<String> {
    if release.version == *workspace {
        return Ok(format!("the workspace's version is {workspace}"));
    }
    let version = &release.version;
    Err(refused(
        Code::GuardVersion,
        release,
        format!("release version does not match the workspace: version={version} workspace={workspace}"),
    )
    .hint(format!("set `version = \"{version}\"` in Cargo.toml, or release `v{workspace}`")))
}

fn check_reference(release: &Release, reference: Option<&str>) -> Result<String> {
    let tag = &release.tag;
    let Some(reference) = reference.filter(|reference| !reference.is_empty()) else {
        return Err(refused(
            Code::GuardRef,
            release,
            format!("release version does not match current tag: version={tag}, and no ref is known"),
        )
        .hint("name the current tag with `--ref`, or run where GITHUB_REF_NAME is set"));
    };
    let reference = reference.strip_prefix("refs/tags/").unwrap_or(reference);
    if reference == tag {
        return Ok(format!("the current ref is {tag}"));
    }
    let reference = text::shown(reference);
    Err(refused(
        Code::GuardRef,
        release,
        format!("release version does not match current tag: version={tag} ref={reference}"),
    )
    .hint(format!("start the release from the tag `{tag}`, or give the version of the ref")))
}

fn check_tag(release: &Release, repository: &Repository) -> Result<String> {
    let tag = &release.tag;
    let Some(tagged) = repository.tag_commit(tag)? else {
        return Err(refused(Code::GuardTag, release, format!("release tag does not exist in git refs: {tag}"))
            .hint(format!("run `git tag {tag}`, or `git fetch --tags` when the tag is at origin")));
    };
    match repository.head()? {
        Some(head) if head == tagged => Ok(format!("{tag} is at the current commit {head}")),
        head => {
            let head = head.as_deref().unwrap_or("none");
            Err(refused(
                Code::GuardTag,
                release,
                format!("release tag is not at the current commit: tag={tag} at {tagged}, current commit={head}"),
            )
            .hint(format!("run `git checkout {tag}`")))
        }
    }
}

/// A release whose tag is there already is made from that tag's commit, asked for or not.
pub fn refuse_another_commit(release: &Release, repository: Option<&Repository>) -> Result<()> {
    match repository {
        Some(repository) if repository.tag_commit(&release.tag)?.is_some() => check_tag(release, repository).map(drop),
        _ => Ok(()),
    }
}

fn check_branch(release: &Release, branch: &str, repository: &Repository) -> Result<String> {
    let shown = text::shown(branch);
    let commit = match repository.tag_commit(&release.tag)? {
        Some(tagged) => Some(tagged),
        None => repository.head()?,
    };
    let Some(commit) = commit else {
        return Err(refused(Code::GuardBranch, release, format!("there is no commit that could be on branch {shown}"))
            .hint("commit first"));
    };
    let message = match repository.is_ancestor(&commit, branch)? {
        Some(true) => return Ok(format!("commit {commit} is part of {shown}")),
        Some(false) => format!("release commit is not on the required branch: commit={commit} branch={shown}"),
        None => format!("the required branch does not exist, neither here nor at origin: {shown}"),
    };
    let hint = if repository.is_shallow()? {
        "this clone is shallow; fetch the whole history with `git fetch --unshallow` (`fetch-depth: 0` in a workflow)"
            .to_owned()
    } else {
        format!("merge the commit into `{shown}` first, or run `git fetch origin` when that has been done")
    };
    Err(refused(Code::GuardBranch, release, message).hint(hint))
}

fn needed(repository: Option<&Repository>, code: Code) -> Result<&Repository> {
    repository.ok_or_else(|| {
        Failure::new(code, "the release's tag and branch cannot be checked without a git repository")
            .hint("run it in a clone of the repository")
    })
}

fn refused(code: Code, release: &Release, message: String) -> Failure {
    Failure::new(code, message).subject(release.tag.as_str())
}
