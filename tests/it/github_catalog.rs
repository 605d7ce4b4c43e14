//! A catalog in a branch of a repository: changed by several at once, and installed from.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::collections::BTreeMap;
use std::process::Command;

use camino::Utf8Path;
use consign::model::Code;
use consign::provider::github::GitHub as Provider;

use crate::github_server::{GitHub, Harm, REPOSITORY, State, TOKEN};
use crate::provider_contract::{hasty, target};
use crate::support::{consign, git, small_workspace, succeed};
use crate::trust::{Ceremony, tree};
use crate::workspaces::run;

const BRANCH: &str = "catalog";

fn begun() -> GitHub {
    let server = GitHub::start();
    server.state().git.push(BRANCH, &BTreeMap::from([("tuf/1.root.json".to_owned(), b"root".to_vec())]));
    server
}

fn provider(server: &GitHub) -> Provider {
    Provider::connect(&target(server), hasty()).unwrap()
}

fn change(name: &str) -> BTreeMap<String, Option<Vec<u8>>> {
    BTreeMap::from([(format!("tuf/{name}"), Some(name.as_bytes().to_vec()))])
}

/// What somebody else does at the same time.
fn push_notes(state: &mut State) {
    let mut files = state.git.files(BRANCH);
    files.insert("README.md".into(), b"mine".to_vec());
    state.git.push(BRANCH, &files);
}

#[test]
fn several_who_change_a_branch_at_once_lose_nothing() {
    let server = begun();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let provider = provider(server);
                let change = change(&format!("{number}.json"));
                while !provider.branch(BRANCH).unwrap().unwrap().commit(&change, "one more").unwrap() {}
            });
        }
    });
    let state = server.state();
    assert_eq!((state.git.files(BRANCH).len(), state.git.depth(BRANCH)), (5, 5));
    drop(state);
    server.check();
}

#[test]
fn a_branch_that_was_changed_meanwhile_is_not_overwritten() {
    let server = begun();
    let provider = provider(&server);
    let branch = provider.branch(BRANCH).unwrap().unwrap();
    assert_eq!(branch.files("tuf", 100).unwrap(), BTreeMap::from([("1.root.json".to_owned(), b"root".to_vec())]));
    server.fault("PATCH", "/git/refs/", Harm::Meanwhile(push_notes));
    assert!(!branch.commit(&change("a.json"), "late").unwrap());
    assert!(!server.state().git.files(BRANCH).contains_key("tuf/a.json"));
    let gone = BTreeMap::from([("README.md".to_owned(), None)]);
    for harm in [Harm::LostAnswer, Harm::BadGateway] {
        // It was done, although nobody said so.
        server.fault("PATCH", "/git/refs/", harm);
        assert!(provider.branch(BRANCH).unwrap().unwrap().commit(&change("a.json"), "again").unwrap());
    }
    server.fault("PATCH", "/git/refs/", Harm::Lost);
    assert!(!provider.branch(BRANCH).unwrap().unwrap().commit(&gone, "never").unwrap());
    server.fault("POST", "/git/commits", Harm::LostAnswer);
    assert!(provider.branch(BRANCH).unwrap().unwrap().commit(&gone, "less").unwrap());
    assert_eq!(server.state().git.files(BRANCH).into_keys().collect::<Vec<_>>(), ["tuf/1.root.json", "tuf/a.json"]);
    assert!(provider.branch("other").unwrap().is_none());
    // A branch that is protected says so, and is not asked for ever.
    let refused =
        Harm::Answer("422 Unprocessable Entity", String::new(), serde_json::json!({ "message": "protected" }));
    server.fault("PATCH", "/git/refs/", refused);
    let failure = provider.branch(BRANCH).unwrap().unwrap().commit(&change("b.json"), "no").unwrap_err();
    assert_eq!(failure.code(), Code::RemoteUnavailable);
    assert_eq!(failure.chain().last().map(String::as_str), Some("protected"));
    server.check();
}

/// The command with all keys, as a workflow on that server runs it.
fn command(directory: &Utf8Path, server: &GitHub, ceremony: &Ceremony) -> Command {
    let mut command = consign(directory);
    command.env("GH_TOKEN", TOKEN).env("GITHUB_API_URL", server.api.url("api/v3"));
    command.env("GITHUB_SERVER_URL", server.web.url("").trim_end_matches('/'));
    command.env("CONSIGN_CATALOG_KEY", ceremony.path("ci.pem"));
    command.env("CONSIGN_SIGNING_KEY", ceremony.path("release.pem"));
    command.args(["--format", "json"]);
    command
}

#[test]
fn a_release_is_listed_in_the_branch_and_installed_from_there() {
    let (ceremony, server) = (Ceremony::simple(), GitHub::start());
    let workspace = small_workspace("tool", "1.2.3");
    server.state().tag("v1.2.3", &git(workspace.path(), &["rev-parse", "HEAD"]));
    let files = tree(&ceremony.target()).into_iter().filter(|(path, _)| path.starts_with("tuf/"));
    server.state().git.push(BRANCH, &files.collect());
    let release = |words: &[&str]| -> Command {
        let mut command = command(workspace.path(), &server, &ceremony);
        command.args(words).args(["--provider", "github", "--target", REPOSITORY]);
        command
    };
    // Somebody writes into the branch just before this run does.
    server.fault("PATCH", "/git/refs/", Harm::Meanwhile(push_notes));
    run(&mut release(&["release-pipeline", "--skip", "test", "--mode", "release"])).passed();
    let branch = server.state().git.files(BRANCH);
    assert_eq!(branch["README.md"], b"mine");
    let targets = String::from_utf8_lossy(&branch["tuf/targets.json"]).into_owned();
    assert!(targets.contains("v1.2.3/index.json") && targets.contains("v1.2.3/index.json.sig"), "{targets}");
    assert_eq!(server.state().git.depth(BRANCH), 3);
    // Again: nothing to do, neither there nor in the branch.
    let before = server.writes();
    let again = run(&mut release(&["publish"])).passed().json();
    assert_eq!((&again["status"], &again["catalog"]["status"]), (&"unchanged".into(), &"unchanged".into()));
    assert_eq!(server.writes(), before);
    // Whoever has the root installs from the branch: the files come from the release.
    fs_err::copy(ceremony.path("releases/tuf/1.root.json"), ceremony.path("pinned.json")).unwrap();
    let catalog = server.web.url(&format!("{REPOSITORY}/raw/{BRANCH}"));
    ceremony.ok(&format!("install --catalog {catalog} --trust-root pinned.json --prefix prefix"));
    assert_eq!(succeed(&mut Command::new(ceremony.path("prefix/bin/tool"))), "tool 1.2.3\n");
    // A key that may not add versions is told before anything is visible.
    let other = Ceremony::simple();
    server.state().releases.clear();
    let mut wrong = release(&["publish"]);
    wrong.env("CONSIGN_CATALOG_KEY", other.path("ci.pem")).env_remove("CONSIGN_SIGNING_KEY");
    assert_ne!(run(&mut wrong).code, 0);
    assert_eq!(server.visible("v1.2.3"), None);
    server.check();
}

#[test]
fn the_catalog_of_a_branch_is_changed_without_a_clone() {
    let (ceremony, server) = (Ceremony::simple(), GitHub::start());
    let workspace = small_workspace("tool", "1.2.3");
    server.state().tag("v1.2.3", &git(workspace.path(), &["rev-parse", "HEAD"]));
    let files = tree(&ceremony.target()).into_iter().filter(|(path, _)| path.starts_with("tuf/"));
    server.state().git.push(BRANCH, &files.collect());
    let at_github = ["--provider", "github", "--target", REPOSITORY];
    let ask = |words: &[&str]| run(command(workspace.path(), &server, &ceremony).args(words).args(at_github));
    ask(&["release-pipeline", "--skip", "test", "--mode", "release"]).passed();
    let depth = || server.state().git.depth(BRANCH);
    let listed = || String::from_utf8_lossy(&server.state().git.files(BRANCH)["tuf/targets.json"]).into_owned();
    let key = ceremony.path("release.pem");
    let yank = ["catalog", "yank", "v1.2.3", "--reason", "it eats files", "--key", key.as_str()];
    let before = depth();
    // A rehearsal writes nothing, and neither does a key that nobody knows.
    assert_eq!(ask(&[&yank[..], &["--dry-run"]].concat()).passed().json()["dry_run"], true);
    let other = Ceremony::simple();
    let stranger = ["--key", other.path("release.pem").as_str()].map(str::to_owned);
    let mut wrong = command(workspace.path(), &server, &ceremony);
    wrong.env_remove("CONSIGN_CATALOG_KEY").args(&yank[..5]).args(stranger).args(at_github);
    assert_ne!(run(&mut wrong).code, 0);
    assert_eq!(depth(), before);
    // Somebody else is quicker, and loses nothing.
    server.fault("PATCH", "/git/refs/", Harm::Meanwhile(push_notes));
    let yanked = ask(&yank).passed().json();
    assert_eq!((&yanked["status"], depth()), (&"published".into(), before + 2));
    assert!(yanked["catalog"].as_str().unwrap().ends_with("/owner/tool/tree/catalog"), "{yanked}");
    assert_eq!(server.state().git.files(BRANCH)["README.md"], b"mine");
    assert!(listed().contains("it eats files"));
    let latest = ["install", "--trust-root", "pinned.json", "--prefix", "prefix", "--catalog"];
    fs_err::copy(ceremony.path("releases/tuf/1.root.json"), ceremony.path("pinned.json")).unwrap();
    let catalog = server.web.url(&format!("{REPOSITORY}/raw/{BRANCH}"));
    let install = || run(consign(&ceremony.path("")).args(latest).arg(&catalog));
    assert_ne!(install().code, 0, "the only version is withdrawn");
    ask(&["catalog", "unyank", "v1.2.3", "--key", key.as_str()]).passed();
    assert!(!listed().contains("it eats files"));
    install().passed();
    // The publishing target is the default, and the key that of the workflow.
    let refresh = run(command(workspace.path(), &server, &ceremony)
        .args(["catalog", "refresh"])
        .env("CONSIGN_PUBLISH_PROVIDER", "github")
        .env("CONSIGN_PUBLISH_TARGET", REPOSITORY));
    assert_eq!((&refresh.passed().json()["status"], depth()), (&"published".into(), before + 4));
    server.check();
    // Without a token nothing can be written, and without a branch there is nothing to change.
    let mut poor = command(workspace.path(), &server, &ceremony);
    run(poor.env_remove("GH_TOKEN").args(["catalog", "refresh"]).args(at_github)).failed(3, "token_missing");
    server.state().git.branches.clear();
    ask(&["catalog", "refresh"]).failed(3, "catalog_missing");
}

#[test]
fn a_tag_with_a_slash_is_refused_where_a_catalog_would_have_to_list_it() {
    let (ceremony, server) = (Ceremony::simple(), GitHub::start());
    let workspace = small_workspace("tool", "1.2.3");
    let head = git(workspace.path(), &["rev-parse", "HEAD"]);
    server.state().tag("tool/v1.2.3", &head);
    server.state().tag("tool-v1.2.3", &head);
    let words = |tag: &'static str| ["release-pipeline", tag, "--skip", "test", "--mode", "release"];
    let ask = |words: &[&str]| {
        let mut command = command(workspace.path(), &server, &ceremony);
        run(command.args(words).args(["--provider", "github", "--target", REPOSITORY]))
    };
    let files = tree(&ceremony.target()).into_iter().filter(|(path, _)| path.starts_with("tuf/"));
    server.state().git.push(BRANCH, &files.collect());
    let before = server.writes();
    let refused = ask(&words("tool/v1.2.3")).failed(3, "name_invalid");
    assert!(refused["hint"].as_str().unwrap().contains("`tool-v1.2.3`"), "{refused}");
    assert!(!workspace.path().join("dist/packages").exists(), "something was built");
    assert_eq!(server.writes(), before);
    // The same version under a tag that can be listed.
    ask(&words("tool-v1.2.3")).passed();
    let listed = String::from_utf8_lossy(&server.state().git.files(BRANCH)["tuf/targets.json"]).into_owned();
    assert!(listed.contains("tool-v1.2.3/index.json"), "{listed}");
    // The verb alone refuses as well, before anything is visible; without a catalog a slash is no obstacle.
    server.state().git.branches.clear();
    let rehearsal = [&words("tool/v1.2.3")[..], &["--skip", "publish"]].concat();
    run(command(workspace.path(), &server, &ceremony).args(rehearsal)).passed();
    server.state().git.push(BRANCH, &tree(&ceremony.target()).into_iter().collect());
    ask(&["publish", "tool/v1.2.3"]).failed(3, "name_invalid");
    assert_eq!(server.visible("tool/v1.2.3"), None);
    server.state().git.branches.clear();
    ask(&["publish", "tool/v1.2.3"]).passed();
    assert!(server.visible("tool/v1.2.3").is_some());
    server.check();
}

#[test]
fn two_versions_that_are_published_at_once_are_both_listed() {
    let (ceremony, server) = (Ceremony::simple(), GitHub::start());
    let files = tree(&ceremony.target()).into_iter().filter(|(path, _)| path.starts_with("tuf/"));
    server.state().git.push(BRANCH, &files.collect());
    let versions = ["1.2.3", "1.2.4"].map(|version| (version, small_workspace("tool", version)));
    for (version, workspace) in &versions {
        server.state().tag(&format!("v{version}"), &git(workspace.path(), &["rev-parse", "HEAD"]));
        let rehearsal = ["release-pipeline", "--skip", "test", "--mode", "release", "--skip", "publish"];
        run(command(workspace.path(), &server, &ceremony).args(rehearsal)).passed();
    }
    std::thread::scope(|scope| {
        for (_, workspace) in &versions {
            let mut publish = command(workspace.path(), &server, &ceremony);
            publish.args(["publish", "--provider", "github", "--target", REPOSITORY]);
            scope.spawn(move || run(&mut publish).passed());
        }
    });
    let listed = String::from_utf8_lossy(&server.state().git.files(BRANCH)["tuf/targets.json"]).into_owned();
    for (version, _) in &versions {
        assert!(listed.contains(&format!("\"v{version}/index.json\"")), "{listed}");
        assert!(server.visible(&format!("v{version}")).is_some());
    }
    server.check();
}

#[cfg(target_os = "linux")]
#[test]
fn a_publisher_that_is_killed_while_it_lists_is_finished_by_the_next() {
    let (ceremony, workspace) = (Ceremony::simple(), small_workspace("tool", "1.2.3"));
    let head = git(workspace.path(), &["rev-parse", "HEAD"]);
    let branch: BTreeMap<_, _> =
        tree(&ceremony.target()).into_iter().filter(|(path, _)| path.starts_with("tuf/")).collect();
    let scene = || {
        let server = GitHub::start();
        server.state().tag("v1.2.3", &head);
        server.state().git.push(BRANCH, &branch);
        server
    };
    let publish = |server: &GitHub| {
        let mut command = command(workspace.path(), server, &ceremony);
        command.args(["publish", "--provider", "github", "--target", REPOSITORY]);
        command
    };
    let calm = scene();
    let rehearsal = ["release-pipeline", "--skip", "test", "--mode", "release", "--skip", "publish"];
    run(command(workspace.path(), &calm, &ceremony).args(rehearsal)).passed();
    run(&mut publish(&calm)).passed();
    let log = calm.state().log.clone();
    let flip = log.iter().position(|seen| seen.method == "PATCH").unwrap();
    let writes: Vec<usize> = (flip..log.len()).filter(|number| log[*number].method != "GET").collect();
    assert!(writes.len() >= 5, "blobs, a tree, a commit and the branch: {log:?}");
    for (number, is_done) in writes.iter().flat_map(|number| [(*number, false), (*number, true)]) {
        let server = scene();
        server.hold(Some((number, is_done)));
        let mut child = publish(&server).stdout(std::process::Stdio::null()).spawn().unwrap();
        while !server.is_held() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before request {number}");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        server.hold(None);
        let at = format!("killed at request {number}, carried out: {is_done}");
        run(&mut publish(&server)).passed();
        let state = server.state();
        let listed = String::from_utf8_lossy(&state.git.files(BRANCH)["tuf/targets.json"]).into_owned();
        assert!(listed.contains("v1.2.3/index.json"), "{at}");
        assert_eq!(state.git.depth(BRANCH), 2, "listed once: {at}");
        assert_eq!(state.releases.iter().filter(|release| !release.draft).count(), 1, "{at}");
        drop(state);
        server.check();
    }
}
