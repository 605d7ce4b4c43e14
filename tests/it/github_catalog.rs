//! A catalog in a branch of a repository: changed by several at once, and installed from.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::collections::BTreeMap;
use std::process::Command;

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

#[test]
fn a_release_is_listed_in_the_branch_and_installed_from_there() {
    let (ceremony, server) = (Ceremony::simple(), GitHub::start());
    let workspace = small_workspace("tool", "1.2.3");
    server.state().tag("v1.2.3", &git(workspace.path(), &["rev-parse", "HEAD"]));
    let files = tree(&ceremony.target()).into_iter().filter(|(path, _)| path.starts_with("tuf/"));
    server.state().git.push(BRANCH, &files.collect());
    let release = |words: &[&str]| -> Command {
        let mut command = consign(workspace.path());
        command.env("GH_TOKEN", TOKEN).env("GITHUB_API_URL", server.api.url("api/v3"));
        command.env("GITHUB_SERVER_URL", server.web.url("").trim_end_matches('/'));
        command.env("CONSIGN_CATALOG_KEY", ceremony.path("ci.pem"));
        command.env("CONSIGN_SIGNING_KEY", ceremony.path("release.pem"));
        command.args(["--format", "json"]).args(words).args(["--provider", "github", "--target", REPOSITORY]);
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
