//! What `world::git` tells of repositories in every state.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::{Code, Release};
use consign::world::git::{Repository, clone, source_without_git};

use super::support::{Scratch, commit, git, small_workspace};

fn open(directory: &Utf8Path) -> Repository {
    Repository::discover(directory).unwrap().expect("a repository")
}

fn is_dirty(directory: &Utf8Path) -> bool {
    open(directory).source(&[], None).unwrap().dirty
}

/// A program that leaves a mark when it runs.
fn trap(scratch: &Scratch, name: &str) -> (Utf8PathBuf, Utf8PathBuf) {
    let mark = scratch.path().join(format!("{name}.ran"));
    let program = scratch.write(name, format!("#!/bin/sh\necho ran >> '{mark}'\ncat\n"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs_err::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    }
    (program, mark)
}

#[test]
fn a_clean_tagged_commit_is_told_in_full() {
    let scratch = small_workspace("tool", "1.2.3");
    git(scratch.path(), &["remote", "add", "origin", "https://user:canary@example.com/a/tool.git"]);
    let source = open(scratch.path()).source(&[], None).unwrap();
    assert_eq!(source.commit.as_deref(), Some(&*git(scratch.path(), &["rev-parse", "HEAD"])));
    assert_eq!(source.reference.as_deref(), Some("refs/tags/v1.2.3"));
    assert_eq!(source.repository.as_deref(), Some("https://example.com/a/tool.git"));
    assert_eq!(source.date.to_string(), "2025-01-02T03:04:05Z");
    assert!(!source.dirty);
}

#[test]
fn the_date_can_be_given() {
    let scratch = small_workspace("tool", "1.2.3");
    let repository = open(scratch.path());
    assert_eq!(repository.source(&[], Some(0)).unwrap().date.to_string(), "1970-01-01T00:00:00Z");
    assert_eq!(repository.source(&[], Some(i64::MAX)).unwrap_err().code(), Code::ConfigInvalid);
    assert_eq!(source_without_git(None).unwrap().date.to_string(), "1980-01-01T00:00:00Z");
    assert_eq!(source_without_git(Some(1_700_000_000)).unwrap().date.as_second(), 1_700_000_000);
}

#[test]
fn every_kind_of_change_is_dirt() {
    type Change = fn(&Scratch);
    let changes: [(&str, Change); 5] = [
        ("a changed file", |scratch| drop(scratch.write("README.md", "changed"))),
        ("a removed file", |scratch| fs_err::remove_file(scratch.path().join("LICENSE")).unwrap()),
        ("a new file", |scratch| drop(scratch.write("src/new.rs", ""))),
        ("a staged file", |scratch| {
            scratch.write("staged", "x");
            git(scratch.path(), &["add", "staged"]);
        }),
        ("a staged rename", |scratch| drop(git(scratch.path(), &["mv", "README.md", "READ"]))),
    ];
    for (what, change) in changes {
        let scratch = small_workspace("tool", "1.0.0");
        assert!(!is_dirty(scratch.path()));
        // The user's own taste must not hide anything.
        git(scratch.path(), &["config", "status.showUntrackedFiles", "no"]);
        change(&scratch);
        assert!(is_dirty(scratch.path()), "{what}");
    }
}

#[test]
fn a_change_that_git_was_told_to_overlook_is_dirt() {
    for flag in ["--assume-unchanged", "--skip-worktree"] {
        let scratch = small_workspace("tool", "1.0.0");
        git(scratch.path(), &["update-index", flag, "README.md"]);
        scratch.write("README.md", "changed");
        let source = open(&scratch.path().join("src")).source(&[], None).unwrap();
        assert!(source.dirty, "{flag}");
        assert_eq!(source.changes, ["README.md"]);
    }
    // What a sparse checkout leaves out is no change.
    let scratch = small_workspace("tool", "1.0.0");
    scratch.write("docs/guide.md", "guide");
    commit(scratch.path(), "docs: guide");
    git(scratch.path(), &["sparse-checkout", "set", "src"]);
    assert!(!scratch.path().join("docs").exists());
    assert!(!is_dirty(scratch.path()));
}

#[test]
fn the_first_changes_are_named_with_the_way_out() {
    let scratch = small_workspace("tool", "1.0.0");
    scratch.write("README.md", "changed");
    scratch.write("a name with spaces", "");
    let source = open(scratch.path()).source(&[], None).unwrap();
    assert_eq!(source.changes, ["README.md", "a name with spaces"]);
    assert!(source.way_out().contains("`README.md`"), "{}", source.way_out());
    git(scratch.path(), &["checkout", "-q", "."]);
    fs_err::remove_file(scratch.path().join("a name with spaces")).unwrap();
    scratch.write(".gitignore", "/target\n");
    commit(scratch.path(), "chore: ignore less");
    scratch.write("dist/file", "");
    let source = open(scratch.path()).source(&[], None).unwrap();
    assert!(source.way_out().contains("add `/dist` to .gitignore"), "{}", source.way_out());
}

#[cfg(unix)]
#[test]
fn an_output_directory_that_is_a_link_is_no_dirt() {
    let scratch = small_workspace("tool", "1.0.0");
    scratch.write(".gitignore", "");
    commit(scratch.path(), "chore: ignore nothing");
    let elsewhere = Scratch::new();
    let dist = scratch.path().join("dist");
    std::os::unix::fs::symlink(elsewhere.path(), &dist).unwrap();
    assert!(is_dirty(scratch.path()));
    assert!(!open(scratch.path()).source(&[&dist], None).unwrap().dirty);
}

#[test]
fn a_change_inside_a_submodule_is_dirt() {
    let inner = small_workspace("inner", "1.0.0");
    let scratch = small_workspace("tool", "1.0.0");
    let address = inner.path().as_str();
    git(scratch.path(), &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", address, "inner"]);
    git(scratch.path(), &["config", "submodule.inner.ignore", "all"]);
    commit(scratch.path(), "build: add inner");
    assert!(!is_dirty(scratch.path()));
    let other = Scratch::new();
    let (program, mark) = trap(&other, "monitor");
    git(&scratch.path().join("inner"), &["config", "core.fsmonitor", program.as_str()]);
    scratch.write("inner/README.md", "changed");
    assert!(is_dirty(scratch.path()));
    assert!(!mark.exists(), "a submodule's own configuration was in force");
}

#[test]
fn what_a_release_writes_itself_is_no_dirt() {
    let scratch = small_workspace("tool", "1.0.0");
    scratch.write(".gitignore", "");
    commit(scratch.path(), "chore: ignore nothing");
    scratch.write("out/dist/packages/x", "x");
    scratch.write("target/debug/x", "x");
    let repository = open(scratch.path());
    let dist = scratch.path().join("out/dist");
    let target = scratch.path().join("target");
    assert!(!repository.source(&[&dist, &target], None).unwrap().dirty);
    assert!(repository.source(&[&target], None).unwrap().dirty);
    // A neighbour of the ignored directory counts, and so does a tracked file anywhere.
    scratch.write("out/other", "x");
    assert!(repository.source(&[&dist, &target], None).unwrap().dirty);
    fs_err::remove_file(scratch.path().join("out/other")).unwrap();
    scratch.write("src/main.rs", "fn main() {}");
    assert!(repository.source(&[&dist, &target, &scratch.path().join("src")], None).unwrap().dirty);
}

#[test]
fn the_root_itself_cannot_be_ignored() {
    let scratch = small_workspace("tool", "1.0.0");
    scratch.write("new", "x");
    assert!(open(scratch.path()).source(&[scratch.path()], None).unwrap().dirty);
}

#[test]
fn the_ref_is_the_release_tag_or_else_the_branch() {
    let scratch = small_workspace("tool", "1.0.0");
    let reference = || open(scratch.path()).source(&[], None).unwrap().reference;
    git(scratch.path(), &["tag", "-a", "v1.10.0", "-m", "annotated"]);
    git(scratch.path(), &["tag", "v1.9.0"]);
    assert_eq!(reference().as_deref(), Some("refs/tags/v1.10.0"));
    scratch.write("a", "a");
    commit(scratch.path(), "feat: a");
    git(scratch.path(), &["tag", "nightly"]);
    assert_eq!(reference().as_deref(), Some("refs/heads/main"));
    git(scratch.path(), &["checkout", "-q", "--detach"]);
    assert_eq!(reference().as_deref(), Some("refs/tags/nightly"));
    git(scratch.path(), &["tag", "-d", "nightly"]);
    assert_eq!(reference(), None);
}

#[test]
fn before_the_first_commit_there_is_nothing_but_dirt() {
    let scratch = Scratch::new();
    git(scratch.path(), &["init", "-q"]);
    scratch.write("x", "x");
    let repository = open(scratch.path());
    let source = repository.source(&[], None).unwrap();
    assert_eq!((source.commit, source.dirty), (None, true));
    assert_eq!(source.reference.as_deref(), Some("refs/heads/main"));
    assert_eq!(source.date.to_string(), "1980-01-01T00:00:00Z");
    assert_eq!(repository.head().unwrap(), None);
    assert_eq!(repository.tags_at_head().unwrap(), Vec::<String>::new());
    assert_eq!(repository.commits(None, None).unwrap(), []);
    assert_eq!(repository.previous_tag(&Release::parse("v1.0.0").unwrap()).unwrap(), None);
}

#[test]
fn where_no_working_tree_is_no_repository_is_found() {
    let scratch = Scratch::new();
    assert!(Repository::discover(scratch.path()).unwrap().is_none());
    git(scratch.path(), &["init", "-q", "--bare", "bare.git"]);
    assert!(Repository::discover(&scratch.path().join("bare.git")).unwrap().is_none());
}

#[test]
fn a_repository_that_git_refuses_is_a_failure() {
    let scratch = Scratch::new();
    scratch.write(".git", "gitdir: /nowhere/at/all\n");
    let failure = Repository::discover(scratch.path()).unwrap_err();
    assert_eq!(failure.code(), Code::GitUnusable);
    assert!(failure.way_out().is_some());
}

#[cfg(unix)]
#[test]
fn a_repository_of_somebody_else_comes_with_the_way_out() {
    let scratch = small_workspace("tool", "1.0.0");
    let given_away = [".", ".git"]
        .iter()
        .all(|path| std::os::unix::fs::chown(scratch.path().join(path), Some(12_345), None).is_ok());
    if !given_away {
        eprintln!("skipped: only root can give a directory away");
        return;
    }
    match Repository::discover(scratch.path()) {
        Err(failure) => {
            assert_eq!(failure.code(), Code::GitUnusable);
            assert!(failure.way_out().unwrap().contains("git config --global --add safe.directory"));
        }
        Ok(_) => eprintln!("skipped: this machine trusts every directory"),
    }
}

#[test]
fn a_worktree_and_a_sub_directory_belong_to_their_repository() {
    let scratch = small_workspace("tool", "1.0.0");
    let other = Scratch::new();
    let linked = other.path().join("linked");
    git(scratch.path(), &["worktree", "add", "-q", "-b", "side", linked.as_str()]);
    let source = open(&linked.join("src")).source(&[], None).unwrap();
    assert_eq!(source.reference.as_deref(), Some("refs/tags/v1.0.0"));
    assert_eq!(open(&linked.join("src")).root().canonicalize_utf8().unwrap(), linked.canonicalize_utf8().unwrap());
    scratch.write("elsewhere/file", "x");
    assert!(is_dirty(&scratch.path().join("src")), "a change anywhere in the repository counts");
}

/// Gives the current commit a signature that only a signature program could judge.
fn sign_head(scratch: &Scratch) {
    let plain = git(scratch.path(), &["cat-file", "commit", "HEAD"]);
    let signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n AAAA\n -----END PGP SIGNATURE-----\n\n";
    let other = Scratch::new();
    let signed = other.write("commit", plain.replacen("\n\n", &format!("\n{signature}"), 1) + "\n");
    let id = git(scratch.path(), &["hash-object", "-t", "commit", "-w", signed.as_str()]);
    git(scratch.path(), &["reset", "-q", "--soft", &id]);
}

#[test]
fn nothing_that_the_repository_configures_is_run() {
    let scratch = small_workspace("tool", "1.0.0");
    sign_head(&scratch);
    let traps = Scratch::new();
    let (program, mark) = trap(&traps, "trap");
    for key in [
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "diff.external",
        "diff.x.textconv",
        "diff.x.command",
        "gpg.program",
        "core.alternateRefsCommand",
        "uploadpack.packObjectsHook",
    ] {
        git(scratch.path(), &["config", key, program.as_str()]);
    }
    for key in ["log.showSignature", "core.preloadIndex"] {
        git(scratch.path(), &["config", key, "true"]);
    }
    git(scratch.path(), &["config", "remote.origin.url", "ssh://git@example.com/a/b"]);
    for hook in ["post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman", "query-watchman"]
    {
        let (_, hook_mark) = trap(&traps, hook);
        fs_err::create_dir_all(scratch.path().join(".git/hooks")).unwrap();
        fs_err::copy(traps.path().join(hook), scratch.path().join(".git/hooks").join(hook)).unwrap();
        assert!(!hook_mark.exists());
    }
    scratch.write(".git/info/attributes", "* diff=x\n");
    // The same content at another time, so that git has to look inside and would like to note it.
    let readme = fs_err::OpenOptions::new().write(true).open(scratch.path().join("README.md")).unwrap();
    readme.file().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    let before = fs_err::read(scratch.path().join(".git/index")).unwrap();

    let repository = open(scratch.path());
    let source = repository.source(&[], None).unwrap();
    let head = source.commit.unwrap();
    assert!(!source.dirty);
    repository.tags_at_head().unwrap();
    repository.commits(None, Some("src".into())).unwrap();
    repository.previous_tag(&Release::parse("v2.0.0").unwrap()).unwrap();
    repository.is_ancestor(&head, "main").unwrap();
    repository.checkout_into(&head, &traps.path().join("copy")).unwrap();

    let ran: Vec<_> = fs_err::read_dir(traps.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Utf8Path::new(name).extension() == Some("ran"))
        .collect();
    assert_eq!(ran, Vec::<String>::new());
    assert!(!mark.exists());
    assert_eq!(fs_err::read(scratch.path().join(".git/index")).unwrap(), before, "the index was written");
}

#[test]
fn commits_are_read_since_a_tag_and_below_a_path() {
    let scratch = small_workspace("tool", "1.0.0");
    scratch.write("src/a.rs", "");
    commit(
        scratch.path(),
        "feat(core)!: a \"new\" thing\n\nIts body\x1f, in\ntwo lines.\n\nBREAKING CHANGE: all of it",
    );
    scratch.write("docs/b", "");
    commit(scratch.path(), "docs: b");
    let repository = open(scratch.path());
    let all = repository.commits(Some("v1.0.0"), None).unwrap();
    let subjects: Vec<_> = all.iter().map(|commit| commit.subject.as_str()).collect();
    assert_eq!(subjects, ["docs: b", "feat(core)!: a \"new\" thing"]);
    assert_eq!(all[1].body, "Its body\x1f, in\ntwo lines.\n\nBREAKING CHANGE: all of it");
    assert_eq!(all[0].author_name, "A U Thor");
    assert_eq!(all[0].id, git(scratch.path(), &["rev-parse", "HEAD"]));
    assert_eq!(repository.commits(Some("v1.0.0"), Some("src".into())).unwrap().len(), 1);
    assert_eq!(repository.commits(None, None).unwrap().len(), 3);
    let failure = repository.commits(Some("v9.9.9"), None).unwrap_err();
    assert_eq!(failure.code(), Code::CommandFailed);
}

#[test]
fn a_message_that_is_not_utf_8_is_still_read() {
    let scratch = small_workspace("tool", "1.0.0");
    let other = Scratch::new();
    let message = other.write("message", b"fix: caf\xe9\n");
    git(scratch.path(), &["commit", "-q", "--allow-empty", "-F", message.as_str()]);
    let commits = open(scratch.path()).commits(Some("v1.0.0"), None).unwrap();
    assert!(commits[0].subject.starts_with("fix: caf"), "{:?}", commits[0].subject);
}

#[test]
fn the_previous_tag_is_the_highest_lower_version_of_the_same_package_in_the_history() {
    let scratch = small_workspace("tool", "1.9.0");
    for tag in ["v1.10.0", "v2.0.0-rc.1", "v3.0.0", "other-v1.99.0", "v1.0.0;rm", "--upload-pack=x", "nightly"] {
        // Git itself refuses some of these names, and others only behind the plumbing.
        let _ = std::panic::catch_unwind(|| git(scratch.path(), &["update-ref", &format!("refs/tags/{tag}"), "HEAD"]));
    }
    git(scratch.path(), &["checkout", "-q", "-b", "side"]);
    scratch.write("side", "");
    commit(scratch.path(), "feat: elsewhere");
    git(scratch.path(), &["tag", "v1.50.0"]);
    git(scratch.path(), &["checkout", "-q", "main"]);
    let repository = open(scratch.path());
    let previous = |tag| repository.previous_tag(&Release::parse(tag).unwrap()).unwrap();
    assert_eq!(previous("v2.0.0").as_deref(), Some("v2.0.0-rc.1"));
    assert_eq!(previous("v2.0.0-rc.1").as_deref(), Some("v1.10.0"));
    assert_eq!(previous("v1.10.0").as_deref(), Some("v1.9.0"));
    assert_eq!(previous("v1.9.0"), None);
    assert_eq!(previous("other-v2.0.0").as_deref(), Some("other-v1.99.0"));
    assert_eq!(previous("new-v2.0.0"), None);
}

#[test]
fn a_branch_holds_a_commit_or_not_or_is_not_there() {
    let scratch = small_workspace("tool", "1.0.0");
    let begin = git(scratch.path(), &["rev-parse", "HEAD"]);
    git(scratch.path(), &["branch", "release"]);
    scratch.write("a", "a");
    commit(scratch.path(), "feat: a");
    let head = git(scratch.path(), &["rev-parse", "HEAD"]);
    git(scratch.path(), &["update-ref", "refs/remotes/origin/trunk", &head]);
    let repository = open(scratch.path());
    assert_eq!(repository.is_ancestor(&begin, "release").unwrap(), Some(true));
    assert_eq!(repository.is_ancestor(&head, "release").unwrap(), Some(false));
    assert_eq!(repository.is_ancestor(&head, "trunk").unwrap(), Some(true));
    for absent in ["absent", "*", "rel", "--all", "release/", "", "rele*"] {
        assert_eq!(repository.is_ancestor(&head, absent).unwrap(), None, "{absent}");
    }
    assert_eq!(repository.is_ancestor("--all", "main").unwrap_err().code(), Code::SourceUnknown);
}

#[test]
fn tags_of_every_kind_lead_to_their_commit() {
    let scratch = small_workspace("tool", "1.0.0");
    let head = git(scratch.path(), &["rev-parse", "HEAD"]);
    git(scratch.path(), &["tag", "-a", "v1.1.0", "-m", "annotated"]);
    let repository = open(scratch.path());
    assert_eq!(repository.tag_commit("v1.0.0").unwrap().as_deref(), Some(&*head));
    assert_eq!(repository.tag_commit("v1.1.0").unwrap().as_deref(), Some(&*head));
    assert_eq!(repository.tags_at_head().unwrap(), ["v1.0.0", "v1.1.0"]);
    for absent in ["v9.9.9", "--upload-pack=x", "$(id)", "v1.0.0\n", "v1.0.0 ", ""] {
        assert_eq!(repository.tag_commit(absent).unwrap(), None, "{absent:?}");
    }
}

#[test]
fn a_shallow_clone_says_so() {
    let scratch = small_workspace("tool", "1.0.0");
    scratch.write("a", "a");
    commit(scratch.path(), "feat: a");
    let other = Scratch::new();
    let copy = other.path().join("copy");
    git(other.path(), &["clone", "-q", "--depth", "1", &format!("file://{}", scratch.path()), copy.as_str()]);
    let repository = open(&copy);
    assert!(repository.is_shallow().unwrap());
    assert!(!open(scratch.path()).is_shallow().unwrap());
    assert_eq!(repository.source(&[], None).unwrap().reference.as_deref(), Some("refs/heads/main"));
    assert_eq!(repository.commits(None, None).unwrap().len(), 1);
    let head = repository.head().unwrap().unwrap();
    repository.checkout_into(&head, &other.path().join("again")).unwrap();
}

#[test]
fn a_remote_is_recorded_only_when_it_means_the_same_elsewhere() {
    let scratch = small_workspace("tool", "1.0.0");
    let repository = open(scratch.path());
    let recorded = || repository.source(&[], None).unwrap().repository;
    assert_eq!(recorded(), None);
    git(scratch.path(), &["remote", "add", "upstream", "git@example.com:a/b.git"]);
    assert_eq!(recorded().as_deref(), Some("git@example.com:a/b.git"));
    git(scratch.path(), &["remote", "add", "second", "https://example.com/c"]);
    assert_eq!(recorded(), None, "two remotes and neither is origin");
    git(scratch.path(), &["remote", "add", "origin", "/home/someone/repository"]);
    assert_eq!(recorded(), None);
    git(scratch.path(), &["config", "remote.origin.url", "ssh://git:canary@example.com/a/b"]);
    assert_eq!(recorded().as_deref(), Some("ssh://example.com/a/b"));
}

#[test]
fn a_copy_of_a_commit_is_clean_and_the_same() {
    let scratch = small_workspace("tool", "1.0.0");
    git(scratch.path(), &["remote", "add", "origin", "https://example.com/a/tool"]);
    let head = git(scratch.path(), &["rev-parse", "HEAD"]);
    let before = open(scratch.path()).source(&[], None).unwrap();
    scratch.write("README.md", "changed and not committed");
    let other = Scratch::new();
    let copy = other.path().join("copy");
    open(scratch.path()).checkout_into(&head, &copy).unwrap();
    assert_eq!(fs_err::read_to_string(copy.join("README.md")).unwrap(), "# tool\n");
    assert_eq!(open(&copy).source(&[], None).unwrap(), before);
    let failure = open(scratch.path()).checkout_into(&"0".repeat(40), &other.path().join("none")).unwrap_err();
    assert_eq!(failure.code(), Code::SourceUnknown);
}

#[test]
fn a_copy_stays_on_the_branch_that_is_at_the_commit() {
    let scratch = small_workspace("tool", "1.0.0");
    let begin = git(scratch.path(), &["rev-parse", "HEAD"]);
    scratch.write("a", "a");
    commit(scratch.path(), "feat: a");
    let head = git(scratch.path(), &["rev-parse", "HEAD"]);
    let other = Scratch::new();
    let reference = |commit: &str, name: &str| {
        let copy = other.path().join(name);
        open(scratch.path()).checkout_into(commit, &copy).unwrap();
        let source = open(&copy).source(&[], None).unwrap();
        assert_eq!((source.commit.as_deref(), source.dirty), (Some(commit), false));
        source.reference
    };
    assert_eq!(reference(&head, "head").as_deref(), Some("refs/heads/main"));
    assert_eq!(reference(&begin, "begin").as_deref(), Some("refs/tags/v1.0.0"));
}

#[test]
fn a_copy_holds_the_bytes_of_the_commit_and_runs_no_filter() {
    let scratch = small_workspace("tool", "1.0.0");
    let other = Scratch::new();
    let (program, mark) = trap(&other, "filter");
    scratch.write(".gitattributes", "*.md filter=x\n");
    commit(scratch.path(), "chore: filter");
    for key in ["filter.x.smudge", "filter.x.process"] {
        git(scratch.path(), &["config", key, program.as_str()]);
    }
    let head = git(scratch.path(), &["rev-parse", "HEAD"]);
    open(scratch.path()).checkout_into(&head, &other.path().join("copy")).unwrap();
    assert_eq!(fs_err::read_to_string(other.path().join("copy/README.md")).unwrap(), "# tool\n");
    assert!(!mark.exists());
}

#[test]
fn cloning_takes_only_plain_addresses() {
    let scratch = small_workspace("tool", "1.0.0");
    let head = git(scratch.path(), &["rev-parse", "HEAD"]);
    let other = Scratch::new();
    let (program, mark) = trap(&other, "trap");
    for (number, wrong) in [
        format!("ext::{program} %S"),
        format!("--upload-pack={program}"),
        format!("-u{program}"),
        "git://example.com/x".to_owned(),
        "http://user:canary@example.com/x".to_owned(),
        String::new(),
    ]
    .into_iter()
    .enumerate()
    {
        let failure = clone(&wrong, &head, &other.path().join(number.to_string())).unwrap_err();
        assert_eq!(failure.code(), Code::RemoteRefused, "{wrong}");
        assert!(!failure.chain().concat().contains("canary"));
    }
    assert!(!mark.exists());
    for (name, url) in [("path", scratch.path().to_string()), ("file", format!("file://{}", scratch.path()))] {
        clone(&url, &head, &other.path().join(name)).unwrap();
        assert!(other.path().join(name).join("Cargo.toml").is_file());
    }
    let failure = clone(other.path().join("absent").as_str(), &head, &other.path().join("x")).unwrap_err();
    assert_eq!(failure.code(), Code::RemoteUnavailable);
    let failure = clone(scratch.path().as_str(), &"a".repeat(40), &other.path().join("y")).unwrap_err();
    assert_eq!(failure.code(), Code::SourceUnknown);
    assert_eq!(
        clone(scratch.path().as_str(), "main", &other.path().join("z")).unwrap_err().code(),
        Code::SourceUnknown
    );
}
