//! Which versions the guard lets through.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use consign::model::{Code, Failure, Release};
use consign::pipeline::guard::{CheckStatus, Guard, Guarded, check};
use consign::world::git::Repository;

use super::support::{Scratch, commit, git, small_workspace};

fn guarded(scratch: &Scratch, tag: &str, guard: &Guard) -> Result<Guarded, Failure> {
    let repository = Repository::discover(scratch.path()).unwrap();
    check(&Release::parse(tag).unwrap(), &"1.2.3".parse().unwrap(), guard, repository.as_ref())
}

fn refusal(scratch: &Scratch, tag: &str, guard: &Guard) -> (Code, String) {
    let failure = guarded(scratch, tag, guard).unwrap_err();
    assert!(failure.way_out().is_some(), "{failure}");
    (failure.code(), failure.to_string())
}

fn strict() -> Guard {
    Guard {
        require_v_prefix: true,
        reference: Some("refs/tags/v1.2.3".to_owned()),
        require_ref_match: true,
        require_tag: true,
        require_branch: Some("main".to_owned()),
    }
}

#[test]
fn a_version_that_keeps_every_rule_passes() {
    let scratch = small_workspace("tool", "1.2.3");
    let guarded = guarded(&scratch, "v1.2.3", &strict()).unwrap();
    assert!(guarded.checks.iter().all(|check| check.status == CheckStatus::Passed));
    let document = serde_json::to_value(&guarded).unwrap();
    assert_eq!(document["type"], "consign.version-guard/v1");
    assert_eq!(document["version"], "1.2.3");
    assert_eq!(document["tag"], "v1.2.3");
    let names: Vec<_> = guarded.checks.iter().map(|check| check.check).collect();
    assert_eq!(names, ["prefix", "version", "ref", "tag", "branch"]);
    assert_eq!(document["checks"][4]["status"], "passed");
}

#[test]
fn only_the_version_is_checked_unless_more_is_asked_for() {
    let scratch = Scratch::new();
    let guarded = guarded(&scratch, "1.2.3", &Guard::default()).unwrap();
    let passed: Vec<_> = guarded.checks.iter().filter(|check| check.status == CheckStatus::Passed).collect();
    assert_eq!(passed.len(), 1);
    assert_eq!(passed[0].check, "version");
}

#[test]
fn a_version_without_v_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    let (code, message) = refusal(&scratch, "1.2.3", &strict());
    assert_eq!((code, &*message), (Code::GuardPrefix, "release version must use a v-prefixed tag: 1.2.3"));
}

#[test]
fn a_version_that_is_not_the_workspace_s_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    assert_eq!(refusal(&scratch, "v1.2.4", &Guard::default()).0, Code::GuardVersion);
    assert_eq!(refusal(&scratch, "v1.2.3+other", &Guard::default()).0, Code::GuardVersion);
}

#[test]
fn another_ref_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    let with = |reference: Option<&str>| Guard { reference: reference.map(str::to_owned), ..strict() };
    let (code, message) = refusal(&scratch, "v1.2.3", &with(Some("v1.2.4")));
    assert_eq!(code, Code::GuardRef);
    assert_eq!(message, "release version does not match current tag: version=v1.2.3 ref=v1.2.4");
    for wrong in [None, Some(""), Some("main"), Some("refs/heads/v1.2.3"), Some("v1.2.3\n"), Some("1.2.3")] {
        let (code, message) = refusal(&scratch, "v1.2.3", &with(wrong));
        assert_eq!(code, Code::GuardRef, "{wrong:?}");
        assert!(!message.contains('\n'));
    }
    assert!(guarded(&scratch, "v1.2.3", &with(Some("v1.2.3"))).is_ok());
}

#[test]
fn a_missing_or_moved_tag_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("a", "a");
    commit(scratch.path(), "feat: after the tag");
    let guard = Guard { require_tag: true, ..Guard::default() };
    let (code, message) = refusal(&scratch, "v1.2.3", &guard);
    assert_eq!(code, Code::GuardTag);
    assert!(message.starts_with("release tag is not at the current commit"), "{message}");
    git(scratch.path(), &["tag", "-d", "v1.2.3"]);
    let (code, message) = refusal(&scratch, "v1.2.3", &guard);
    assert_eq!((code, &*message), (Code::GuardTag, "release tag does not exist in git refs: v1.2.3"));
    // A branch of that name is no tag.
    git(scratch.path(), &["branch", "v1.2.3"]);
    assert_eq!(refusal(&scratch, "v1.2.3", &guard).0, Code::GuardTag);
}

#[test]
fn a_tag_that_is_not_on_the_branch_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    let on = |branch: &str| Guard { require_branch: Some(branch.to_owned()), ..Guard::default() };
    assert!(guarded(&scratch, "v1.2.3", &on("main")).is_ok());
    git(scratch.path(), &["checkout", "-q", "-b", "side"]);
    scratch.write("a", "a");
    commit(scratch.path(), "feat: aside");
    // The tag counts, not what is checked out.
    assert!(guarded(&scratch, "v1.2.3", &on("main")).is_ok());
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    let (code, message) = refusal(&scratch, "v1.2.3", &on("main"));
    assert_eq!(code, Code::GuardBranch);
    assert!(message.starts_with("release commit is not on the required branch"), "{message}");
    for absent in ["absent", "--all", "*", ""] {
        assert_eq!(refusal(&scratch, "v1.2.3", &on(absent)).0, Code::GuardBranch, "{absent}");
    }
}

#[test]
fn without_a_repository_or_a_commit_tag_and_branch_are_refused() {
    let scratch = Scratch::new();
    let tag = Guard { require_tag: true, ..Guard::default() };
    let branch = Guard { require_branch: Some("main".to_owned()), ..Guard::default() };
    assert_eq!(refusal(&scratch, "v1.2.3", &tag).0, Code::GuardTag);
    assert_eq!(refusal(&scratch, "v1.2.3", &branch).0, Code::GuardBranch);
    git(scratch.path(), &["init", "-q"]);
    assert_eq!(refusal(&scratch, "v1.2.3", &tag).0, Code::GuardTag);
    assert_eq!(refusal(&scratch, "v1.2.3", &branch).0, Code::GuardBranch);
}

#[test]
fn a_package_of_its_own_has_its_own_tag() {
    let scratch = small_workspace("tool", "1.2.3");
    git(scratch.path(), &["tag", "tool/v1.2.3"]);
    let guard = Guard { reference: Some("tool/v1.2.3".to_owned()), ..strict() };
    assert_eq!(guarded(&scratch, "tool/v1.2.3", &guard).unwrap().tag, "tool/v1.2.3");
}
