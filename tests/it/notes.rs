//! What release notes and release summaries say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use consign::model::index::{ArchiveFormat, Index, IndexSource, Package};
use consign::model::{Code, Digest, Release};
use consign::pipeline::notes::{NotesInput, TEMPLATE, render};
use consign::pipeline::summary::{RemoteStatus, SummaryInput, read_assets, summarise, write};
use consign::world::git::{Commit, Repository};

use super::support::{Scratch, commit, git, need, small_workspace, succeed};

fn index(scratch: &Scratch, repository: Option<&str>) -> Index {
    let archive = |platform: &str, content: &str| {
        let name = format!("tool-1.1.0-{platform}.tar.gz");
        scratch.write(&name, content);
        Package {
            platform: platform.parse().unwrap(),
            target: "x".to_owned(),
            archive: name.parse().unwrap(),
            format: ArchiveFormat::TarGz,
            size_bytes: content.len() as u64,
            unpacked_size_bytes: 0,
            sha256: Digest::of(content.as_bytes()),
            binaries: Vec::new(),
        }
    };
    Index {
        kind: "consign.index/v1".to_owned(),
        name: "tool".parse().unwrap(),
        version: "1.1.0".parse().unwrap(),
        tag: "v1.1.0".to_owned(),
        channel: "stable".to_owned(),
        created_at: "2025-01-02T03:04:05Z".to_owned(),
        source: IndexSource {
            repository: repository.map(str::to_owned),
            commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            reference: Some("refs/tags/v1.1.0".to_owned()),
            dirty: false,
        },
        packages: vec![archive("linux-amd64", "one"), archive("linux-arm64", "two")],
        files: Vec::new(),
    }
}

fn change(number: u32, subject: &str, body: &str, author: &str) -> Commit {
    Commit {
        id: format!("{number:040x}").chars().rev().collect(),
        subject: subject.to_owned(),
        body: body.to_owned(),
        author_name: author.to_owned(),
    }
}

fn input(scratch: &Scratch, commits: Vec<Commit>) -> NotesInput {
    NotesInput {
        index: index(scratch, Some("git@github.com:example/tool.git")),
        previous_tag: Some("v1.0.0".to_owned()),
        commits,
        history_is_cut_off: false,
        signature_count: 0,
    }
}

#[test]
fn the_notes_tell_the_whole_release() {
    let commits = vec![
        change(1, "feat(core): add a thing (#12)", "", "Zoë"),
        change(2, "fix: mend <it>", "", "Ada"),
        change(3, "feat!: drop x", "BREAKING CHANGE: use y\ninstead", "Ada"),
        change(4, "chore: tidy up", "", "Ada"),
    ];
    let page = render(&input(&Scratch::new(), commits), None).unwrap();
    insta::assert_snapshot!(page);
}

#[test]
fn the_notes_of_an_unknown_place_have_no_links() {
    let scratch = Scratch::new();
    let mut input = input(&scratch, vec![change(1, "feat: add a thing (#12)", "", "Ada")]);
    input.index.source.repository = None;
    input.index.source.commit = None;
    input.index.source.dirty = true;
    input.previous_tag = None;
    input.history_is_cut_off = true;
    input.signature_count = 1;
    input.index.packages.clear();
    let page = render(&input, None).unwrap();
    assert!(!page.contains("]("), "{page}");
    for said in ["an unknown commit", "Not a release", "first release", "shallow clone", "carries 1 signature;"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("not signed"));
}

#[test]
fn hostile_text_from_commits_stays_text() {
    let scratch = Scratch::new();
    let hostile = [
        "<script>alert(1)</script>",
        "feat(<b>): [click](https://evil.example/)",
        "fix: \u{1b}]8;;https://evil.example\u{7}x \u{202e}txet ![i](http://evil.example/i.png)",
        "docs: @everyone www.evil.example mailto:a@evil.example",
        "feat: a | b\n# heading",
        "{{ 7 * 7 }} {% raw %}",
    ];
    let commits =
        hostile.iter().map(|subject| change(1, subject, "BREAKING CHANGE: <i>", "<img src=x>[a](b)")).collect();
    let page = render(&input(&scratch, commits), None).unwrap();
    for wrong in ["<script", "<img", "<b>", "<i>", "\u{1b}", "\u{7}", "\u{202e}", "49", "\n# heading", "[a](b)"] {
        assert!(!page.contains(wrong), "{wrong:?}: {page}");
    }
    // Outside of code, no address but our own is left, and nobody is mentioned.
    let prose: String = page.lines().flat_map(|line| line.split('`').step_by(2)).collect();
    let prose = prose.replace("https://github.com/example/tool", "");
    for wrong in ["://", "@", "www."] {
        assert!(!prose.contains(wrong), "{wrong:?}: {prose}");
    }
}

#[test]
fn the_commands_of_the_notes_work() {
    if !need("sha256sum") {
        return;
    }
    let scratch = Scratch::new();
    let input = input(&scratch, Vec::new());
    let page = render(&input, None).unwrap();
    let lines = input.index.packages.iter().map(|package| format!("{}  {}\n", package.sha256, package.archive));
    scratch.write("checksums.txt", lines.collect::<String>());
    let block = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let words: Vec<_> = block.split_whitespace().collect();
    assert_eq!(words[0], "sha256sum");
    let run = || {
        #[expect(clippy::disallowed_methods, reason = "the test runs what the notes tell people to run")]
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]).current_dir(scratch.path());
        command
    };
    succeed(&mut run());
    // One download alone can be checked, and a damaged one is found.
    fs_err::remove_file(scratch.path().join("tool-1.1.0-linux-arm64.tar.gz")).unwrap();
    succeed(&mut run());
    scratch.write("tool-1.1.0-linux-amd64.tar.gz", "0ne");
    assert!(!run().output().unwrap().status.success());
}

#[test]
fn a_template_of_the_user_s_own_is_used_and_its_mistakes_are_named() {
    let scratch = Scratch::new();
    let input = input(&scratch, vec![change(1, "feat: a", "", "Ada")]);
    let own = "{{ name }} {{ version }}{% for group in groups %} {{ group.title }}{% endfor %}.\n";
    assert_eq!(render(&input, Some(own)).unwrap(), "tool 1.1.0 Features.\n");
    for wrong in ["line\n{{ nothing.like.it }}", "line\n{% for %}", "line\n{% include '/etc/passwd' %}"] {
        let failure = render(&input, Some(wrong)).unwrap_err();
        assert_eq!(failure.code(), Code::TemplateInvalid);
        assert!(failure.to_string().ends_with("at line 2"), "{failure}");
    }
    assert_eq!(render(&input, None).unwrap(), render(&input, Some(TEMPLATE)).unwrap());
}

#[test]
fn a_long_history_is_counted_and_not_listed() {
    let commits = (0..1_000).map(|number| change(number, "fix: again", "", "Ada")).collect();
    let page = render(&input(&Scratch::new(), commits), None).unwrap();
    assert!(page.contains("and 800 more"));
    assert!(page.len() < 100_000, "a forge takes 125,000 characters");
}

#[test]
fn the_notes_of_a_real_repository_name_its_commits() {
    let workspace = small_workspace("tool", "1.0.0");
    workspace.write("a", "a");
    commit(workspace.path(), "feat(core): a");
    git(workspace.path(), &["tag", "v1.1.0"]);
    let repository = Repository::discover(workspace.path()).unwrap().unwrap();
    let previous_tag = repository.previous_tag(&Release::parse("v1.1.0").unwrap()).unwrap();
    let commits = repository.commits(previous_tag.as_deref(), None).unwrap();
    let page = render(&NotesInput { previous_tag, commits, ..input(&Scratch::new(), Vec::new()) }, None).unwrap();
    assert!(page.contains("- **core:** a ([`"), "{page}");
    assert!(page.contains("https://github.com/example/tool/compare/v1.0.0...v1.1.0"));
    assert!(!page.contains("begin"), "what belongs to the previous release is not repeated");
    assert!(page.contains("A U Thor"));
}

#[test]
fn a_summary_without_gaps_passes_and_reports_what_is_too_much() {
    let scratch = Scratch::new();
    let summary =
        summarise(&summary_input(&["index.json", "a.sig", "a.tar.gz"], &["a.tar.gz", "a.sig", "index.json", "more|`"]));
    let steps = scratch.write("steps.md", "before\n");
    write(&summary, &scratch.path().join("dist/releases/v1.1.0"), Some(&steps)).unwrap();
    let read = |name: &str| fs_err::read_to_string(scratch.path().join(name)).unwrap();
    let document: serde_json::Value = serde_json::from_str(&read("dist/releases/v1.1.0/release-summary.json")).unwrap();
    assert_eq!(
        document,
        serde_json::json!({
            "type": "consign.release-summary/v1",
            "version": "1.1.0",
            "tag": "v1.1.0",
            "status": "passed",
            "release_url": "https://host/releases/v1.1.0",
            "archive_count": 1,
            "signature_count": 1,
            "remote_verify_status": "passed",
            "expected_assets": ["a.sig", "a.tar.gz", "index.json"],
            "remote_assets": ["a.sig", "a.tar.gz", "index.json", "more|`"],
            "missing_assets": [],
            "unexpected_assets": ["more|`"],
        })
    );
    let page = read("dist/releases/v1.1.0/release-summary.md");
    insta::assert_snapshot!(page);
    assert_eq!(read("steps.md"), format!("before\n{page}"));
}

#[test]
fn a_missing_asset_fails_after_the_files_are_written() {
    let scratch = Scratch::new();
    let summary = summarise(&summary_input(&["a.tar.gz", "index.json"], &["a.tar.gz"]));
    let failure = write(&summary, scratch.path(), None).unwrap_err();
    assert_eq!(failure.code(), Code::SummaryMissing);
    assert_eq!(failure.about(), Some("index.json"));
    assert!(failure.to_string().contains("1 of 2 assets"), "{failure}");
    let page = fs_err::read_to_string(scratch.path().join("release-summary.md")).unwrap();
    assert!(page.contains("**failed**") && page.contains("- `index.json`"));
    assert!(fs_err::read_to_string(scratch.path().join("release-summary.json")).unwrap().contains("\"failed\""));
}

#[test]
fn a_list_of_assets_may_hold_names_paths_or_addresses() {
    let scratch = Scratch::new();
    let list = scratch.write("list", "a.tar.gz\r\n\n dist/packages/v1/b.json \nhttps://host/v1/c.sig\n");
    assert_eq!(read_assets(&list).unwrap(), ["a.tar.gz", "b.json", "c.sig"]);
    assert_eq!(read_assets(&scratch.path().join("absent")).unwrap_err().code(), Code::BuildMissing);
}

fn summary_input<'a>(expected: &[&str], published: &[&str]) -> SummaryInput<'a> {
    static RELEASE: std::sync::LazyLock<Release> = std::sync::LazyLock::new(|| Release::parse("v1.1.0").unwrap());
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    SummaryInput {
        release: &RELEASE,
        release_url: Some("https://user:canary@host/releases/v1.1.0\n"),
        archive_count: 1,
        remote_verify_status: RemoteStatus::Passed,
        expected: owned(expected),
        published: owned(published),
    }
}
