//! The git deployer against real repositories on this disk, judged by git itself.

use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use consign::manager::deployer::git::{
    Change, ConfigRepository, Credentials, Decision, Landed, Landing, Namespaces, PayloadFile, Place, Query, Settings,
    SigningKey,
};
use consign::model::artifact::Person;
use consign::model::intent::Intent;
use consign::model::release_commit::{PolicyChange, ReleaseCommit};
use consign::model::{Code, Failure};
use jiff::Timestamp;

use crate::support::{self, Scratch, need};

const FLUX: &str = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n";

/// A remote, and the copies that servers keep of it.
struct Scene {
    scratch: Scratch,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { scratch: Scratch::new() };
        git(scene.scratch.path(), &["init", "-q", "--bare", "--initial-branch=main", "remote.git"]);
        scene
    }

    fn remote(&self) -> Utf8PathBuf {
        self.scratch.path().join("remote.git")
    }

    fn settings(&self, copy: &str) -> Settings {
        Settings {
            directory: self.scratch.path().join(copy),
            address: self.remote().to_string(),
            branch: "main".to_owned(),
            committer: person("Consign", "consign@example.com"),
            signing: None,
            credentials: Credentials::None,
        }
    }

    fn open(&self, copy: &str) -> ConfigRepository {
        ConfigRepository::open(self.settings(copy)).unwrap()
    }

    /// What is in the remote.
    fn files(&self) -> Vec<String> {
        git(&self.remote(), &["-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", "main"])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn show(&self, path: &str) -> String {
        git(&self.remote(), &["show", &format!("main:{path}")])
    }

    /// The subjects in the remote, the latest first.
    fn subjects(&self) -> Vec<String> {
        git(&self.remote(), &["log", "--format=%s", "main"]).lines().map(str::to_owned).collect()
    }

    /// Somebody else pushes something.
    fn stranger(&self, name: &str) {
        let work = self.scratch.path().join(format!("stranger-{name}"));
        git(self.scratch.path(), &["clone", "-q", self.remote().as_str(), work.as_str()]);
        fs_err::write(work.join(name), name).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", name]);
        git(&work, &["push", "-q", "origin", "HEAD:main"]);
    }

    /// What the host runs before it takes a push.
    fn hook(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.scratch.write("remote.git/hooks/pre-receive", format!("#!/bin/sh\n{script}\n"));
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Remote and copies are as git wants them, and every release is there once.
    fn is_sound(&self, copies: &[&str]) {
        let judged = copies.iter().map(|copy| self.scratch.path().join(copy)).chain([self.remote()]);
        for repository in judged {
            git(&repository, &["fsck", "--strict", "--full", "--no-dangling"]);
        }
        let format = "--format=%(trailers:key=Release-ID,valueonly,separator=%x2C)";
        let named = git(&self.remote(), &["log", format, "main"]);
        let mut releases: Vec<_> = named.lines().filter(|line| !line.is_empty()).collect();
        let count = releases.len();
        releases.sort_unstable();
        releases.dedup();
        assert_eq!(releases.len(), count, "a release was committed twice: {named}");
    }
}

fn git(directory: &Utf8Path, arguments: &[&str]) -> String {
    support::git(directory, arguments)
}

fn person(name: &str, email: &str) -> Person {
    Person { name: name.to_owned(), email: email.to_owned() }
}

fn place(environment: &str, service: &str) -> Place {
    Place { environment: environment.to_owned(), namespace: "team".to_owned(), service: service.to_owned() }
}

fn file(path: &str, content: &str) -> PayloadFile {
    PayloadFile { path: path.to_owned(), bytes: content.as_bytes().to_vec(), is_executable: false }
}

fn record(place: &Place, artifact_id: &str, intent: Intent) -> ReleaseCommit {
    ReleaseCommit {
        environment: place.environment.clone(),
        service: place.service.clone(),
        artifact_id: artifact_id.to_owned(),
        released_by: person("Åse Ødegård", "ase@example.com"),
        created_by: person("日本語 名前", "dev@example.com"),
        intent,
    }
}

fn artifact_json(place: &Place, artifact_id: &str) -> Vec<u8> {
    serde_json::to_vec_pretty(&serde_json::json!({
        "id": artifact_id,
        "service": place.service,
        "application": { "branch": "main", "sha": "0123456789abcdef0123456789abcdef01234567", "message": "feat: x" },
        "ci": { "start": "2025-01-02T03:04:05Z", "end": "2025-01-02T03:04:06Z" },
        "stages": [],
    }))
    .unwrap()
}

fn release_of(id: &str, place: &Place, artifact_id: &str, files: &[(&str, &str)]) -> Landing {
    Landing {
        release_id: id.to_owned(),
        tried_before: false,
        change: Change::Release {
            place: place.clone(),
            artifact_json: artifact_json(place, artifact_id),
            files: files.iter().map(|(path, content)| file(path, content)).collect(),
        },
        message: record(place, artifact_id, Intent::ReleaseArtifact).message(),
        author: Some(person("Åse Ødegård", "ase@example.com")),
    }
}

/// A release with one manifest.
fn release(id: &str, service: &str) -> Landing {
    release_of(id, &place("dev", service), &format!("main-{id}"), &[("app.yaml", &format!("kind: X # {id}\n"))])
}

fn land(repository: &mut ConfigRepository, landings: &[Landing]) -> Vec<Landed> {
    try_land(repository, landings).unwrap()
}

fn try_land(repository: &mut ConfigRepository, landings: &[Landing]) -> Result<Vec<Landed>, Failure> {
    repository.land(landings, now(), &mut |_| Decision::Commit)
}

fn now() -> Timestamp {
    "2025-01-02T03:04:05Z".parse().unwrap()
}

fn is_pushed(landed: &[Landed]) -> bool {
    landed.iter().all(|landed| matches!(landed, Landed::Pushed(_)))
}

#[test]
fn a_release_replaces_the_service_as_a_whole() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    let place = place("dev", "shop");
    let first = [("app.yaml", "a"), ("pvc.yaml", "b"), ("nested/deep/x.yaml", "c"), ("empty.yaml", "")];
    assert!(is_pushed(&land(&mut repository, &[release_of("1", &place, "main-1", &first)])));
    let below = "dev/releases/team/shop";
    assert_eq!(
        scene.files(),
        ["app.yaml", "artifact.json", "empty.yaml", "nested/deep/x.yaml", "pvc.yaml"]
            .map(|name| format!("{below}/{name}"))
    );
    assert!(is_pushed(&land(&mut repository, &[release_of("2", &place, "main-2", &[("app.yaml", "a2")])])));
    assert_eq!(scene.files(), ["app.yaml", "artifact.json"].map(|name| format!("{below}/{name}")));
    assert_eq!(scene.show(&format!("{below}/artifact.json")).as_bytes(), artifact_json(&place, "main-2"));
    assert_eq!(
        scene.subjects(),
        ["[dev/shop] release main-2 by ase@example.com", "[dev/shop] release main-1 by ase@example.com"]
    );
    scene.is_sound(&["copy"]);
}

#[test]
fn the_same_again_is_up_to_date_and_no_commit() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    land(&mut repository, &[release_of("1", &place("dev", "shop"), "main-1", &[("app.yaml", "a")])]);
    let again = release_of("2", &place("dev", "shop"), "main-1", &[("app.yaml", "a")]);
    assert!(matches!(land(&mut repository, std::slice::from_ref(&again))[..], [Landed::AlreadyUpToDate(Some(_))]));
    assert!(matches!(
        land(&mut scene.open("another"), std::slice::from_ref(&again))[..],
        [Landed::AlreadyUpToDate(Some(_))]
    ));
    assert_eq!(scene.subjects().len(), 1);
    // What somebody else has changed since is seen before anybody is told that nothing is to be done.
    let other = release_of("3", &place("dev", "shop"), "main-9", &[("app.yaml", "z")]);
    land(&mut scene.open("another"), &[other]);
    assert!(is_pushed(&land(&mut repository, &[again])));
    scene.is_sound(&["copy", "another"]);
}

#[test]
fn a_flux_kustomization_moves_to_its_cluster() {
    for (version, moves) in [("v1", true), ("v1beta1", true), ("", false)] {
        let scene = Scene::new();
        let mut repository = scene.open("copy");
        let flux =
            if moves { FLUX.replace("v1", version) } else { FLUX.replace("kustomize.toolkit", "kustomize.config.k8s") };
        let files = [("app.yaml", "a"), ("empty.yaml", ""), ("kustomization.yaml", flux.as_str())];
        land(&mut repository, &[release_of("1", &place("dev", "shop"), "main-1", &files)]);
        assert_eq!(scene.files().contains(&"clusters/dev/team/shop.yaml".to_owned()), moves);
        assert_eq!(scene.files().contains(&"dev/releases/team/shop/kustomization.yaml".to_owned()), !moves);
        // One without leaves the one that is there: it leads to the files that remain.
        land(&mut repository, &[release_of("2", &place("dev", "shop"), "main-2", &[("app.yaml", "b")])]);
        assert_eq!(scene.files().contains(&"clusters/dev/team/shop.yaml".to_owned()), moves);
        let removal = Landing {
            change: Change::Removal { place: place("dev", "shop") },
            message: consign::model::release_commit::Message::of("cleanup"),
            ..release("3", "shop")
        };
        assert!(is_pushed(&land(&mut repository, std::slice::from_ref(&removal))));
        assert!(scene.files().is_empty());
        let removal = Landing { release_id: "4".to_owned(), ..removal };
        assert!(matches!(land(&mut repository, &[removal])[..], [Landed::AlreadyUpToDate(_)]));
        scene.is_sound(&["copy"]);
    }
}

#[test]
fn policies_are_mirrored() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    let mirror = |id: &str, change: PolicyChange<'_>, document: Option<&str>| Landing {
        release_id: id.to_owned(),
        tried_before: false,
        change: Change::Policies {
            service: "shop".to_owned(),
            document: document.map(|text| text.as_bytes().to_vec()),
        },
        message: change.message("shop"),
        author: None,
    };
    land(&mut repository, &[mirror("p1", PolicyChange::AutoRelease("dev"), Some("{}\n"))]);
    assert_eq!(scene.files(), ["policies/shop.json"]);
    land(&mut repository, &[mirror("p2", PolicyChange::Deletion, None)]);
    assert!(scene.files().is_empty());
    assert_eq!(
        scene.subjects(),
        ["[shop] policy update: delete policies", "[shop] policy update: apply auto-release in 'dev'"]
    );
    scene.is_sound(&["copy"]);
}

#[test]
fn a_batch_is_one_commit_each_and_one_push() {
    let scene = Scene::new();
    scene.hook("cat >/dev/null; echo one >> pushes");
    let mut repository = scene.open("copy");
    // Enough for differences of differences, and for directories that are written whole in between.
    let landings: Vec<_> =
        (0..130).map(|number| release(&format!("r{number}"), &format!("service-{number}"))).collect();
    assert!(is_pushed(&land(&mut repository, &landings)));
    assert_eq!(scene.subjects().len(), 130);
    assert_eq!(fs_err::read_to_string(scene.remote().join("pushes")).unwrap(), "one\n");
    // The second batch changes what is there.
    let landings: Vec<_> =
        (0..130).map(|number| release(&format!("s{number}"), &format!("service-{number}"))).collect();
    assert!(is_pushed(&land(&mut repository, &landings)));
    assert_eq!(scene.files().len(), 260);
    for commit in ["main", "main~77", "main~140", "main~259"] {
        git(&scene.remote(), &["ls-tree", "-r", commit]);
    }
    scene.is_sound(&["copy"]);
}

#[test]
fn somebody_else_s_push_costs_nothing_but_time() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    land(&mut repository, &[release("a", "one")]);
    scene.stranger("b");
    assert!(is_pushed(&land(&mut repository, &[release("c", "two")])));
    assert_eq!(
        scene.subjects(),
        ["[dev/two] release main-c by ase@example.com", "b", "[dev/one] release main-a by ase@example.com"]
    );
    // The copy is where the remote is, and the committer is the one that was set, on every commit of ours.
    let main = git(&scene.remote(), &["rev-parse", "main"]);
    assert_eq!(git(&scene.scratch.path().join("copy"), &["rev-parse", "refs/remotes/origin/main"]), main);
    assert_eq!(
        git(&scene.remote(), &["log", "-1", "--format=%cn <%ce> %an"]),
        "Consign <consign@example.com> Åse Ødegård"
    );
    scene.is_sound(&["copy"]);
}

#[test]
fn five_committers_and_strangers_lose_nothing() {
    let scene = Scene::new();
    land(&mut scene.open("copy-0"), &[release("first", "first")]);
    std::thread::scope(|scope| {
        for number in 0..5 {
            let scene = &scene;
            scope.spawn(move || {
                let mut repository = scene.open(&format!("copy-{number}"));
                for turn in 0..4 {
                    let id = format!("r{number}-{turn}");
                    assert!(is_pushed(&land(&mut repository, &[release(&id, &format!("service-{number}"))])));
                }
            });
        }
    });
    assert_eq!(scene.subjects().len(), 21);
    // Of each service its releases are in their order.
    for number in 0..5 {
        let marks: Vec<_> = (0..4).rev().map(|turn| format!("main-r{number}-{turn} ")).collect();
        let of_one: Vec<_> =
            scene.subjects().into_iter().filter(|line| line.contains(&format!("service-{number}]"))).collect();
        assert!(of_one.iter().zip(&marks).all(|(line, mark)| line.contains(mark)), "{of_one:?}");
    }
    scene.is_sound(&["copy-0", "copy-1", "copy-2", "copy-3", "copy-4"]);
}

#[test]
fn a_host_that_refuses_is_told_from_one_that_is_away() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    scene.hook("echo 'the branch is frozen' >&2; exit 1");
    let failure = try_land(&mut repository, &[release("1", "shop")]).unwrap_err();
    assert_eq!(failure.code(), Code::PushRefused);
    assert!(failure.chain().join("\n").contains("the branch is frozen"), "{:?}", failure.chain());
    fs_err::rename(scene.remote(), scene.scratch.path().join("away")).unwrap();
    let failure = try_land(&mut repository, &[release("1", "shop")]).unwrap_err();
    assert_eq!(failure.code(), Code::RemoteForbidden, "{:?}", failure.chain());
    fs_err::rename(scene.scratch.path().join("away"), scene.remote()).unwrap();
    fs_err::remove_file(scene.remote().join("hooks/pre-receive")).unwrap();
    assert!(is_pushed(&land(&mut repository, &[release("1", "shop")])));
    let mut settings = scene.settings("unreachable");
    settings.address = "git://127.0.0.1:1/x".to_owned();
    let failure = try_land(&mut ConfigRepository::open(settings).unwrap(), &[release("1", "shop")]).unwrap_err();
    assert_eq!(failure.code(), Code::RemoteUnavailable, "{:?}", failure.chain());
    scene.is_sound(&["copy"]);
}

#[test]
fn what_is_decided_at_the_last_instant_counts_also_after_a_rebase() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    land(&mut repository, &[release("0", "zero")]);
    let mut asked = Vec::new();
    let frozen = AtomicBool::new(false);
    let landings = [release("1", "one"), release("2", "two"), release("3", "three")];
    let landed = repository
        .land(&landings, now(), &mut |landing| {
            asked.push(landing.release_id.clone());
            if asked.len() == 3 {
                // Somebody is faster, and in the meantime there is a new rule.
                scene.stranger("faster");
                frozen.store(true, Ordering::SeqCst);
            }
            if landing.release_id == "2" && asked.len() > 3 && frozen.load(Ordering::SeqCst) {
                return Decision::LeaveOut(Failure::new(Code::Forbidden, "frozen"));
            }
            Decision::Commit
        })
        .unwrap();
    assert!(
        matches!(&landed[..], [Landed::Pushed(_), Landed::LeftOut(failure), Landed::Pushed(_)] if failure.code() == Code::Forbidden),
        "{landed:?}"
    );
    assert_eq!(asked, ["1", "2", "3", "1", "2", "3"]);
    assert!(!scene.files().iter().any(|path| path.contains("/two/")));
    assert_eq!(scene.subjects().len(), 4);
    scene.is_sound(&["copy"]);
}

#[test]
fn nothing_is_committed_that_was_not_asked_about() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    // The second would change nothing behind the first, and does without it.
    let landings = ["1", "2"].map(|id| release_of(id, &place("dev", "shop"), "main-1", &[("app.yaml", "a")]));
    let mut asked = Vec::new();
    let landed = repository
        .land(&landings, now(), &mut |landing| {
            asked.push(landing.release_id.clone());
            Decision::LeaveOut(Failure::new(Code::Forbidden, "frozen"))
        })
        .unwrap();
    assert!(matches!(landed[..], [Landed::LeftOut(_), Landed::LeftOut(_)]), "{landed:?}");
    assert_eq!(asked, ["1", "2"]);
    assert!(!scene.remote().join("refs/heads/main").exists());
}

#[test]
fn a_release_that_arrived_unheard_of_is_not_made_again() {
    let scene = Scene::new();
    // The push arrives, and whoever pushed does not live to tell: neither the copy nor anybody else knows.
    let mut repository = scene.open("copy");
    land(&mut repository, &[release("0", "zero")]);
    let copy = scene.scratch.path().join("copy");
    let before = git(&copy, &["rev-parse", "refs/remotes/origin/main"]);
    land(&mut repository, &[release("1", "one")]);
    drop(repository);
    git(&copy, &["update-ref", "refs/remotes/origin/main", &before]);
    let mut repository = scene.open("copy");
    let landed = land(&mut repository, &[release("1", "one"), release("2", "two")]);
    assert!(matches!(landed[..], [Landed::Before(_), Landed::Pushed(_)]), "{landed:?}");
    // The same, where the copy knows, or has gone, and others have released the service since.
    land(&mut repository, &[release("3", "one")]);
    fs_err::remove_dir_all(&copy).unwrap();
    for id in ["1", "3"] {
        let again = Landing { tried_before: true, ..release(id, "one") };
        assert!(matches!(land(&mut scene.open("copy"), &[again])[..], [Landed::Before(_)]));
    }
    assert_eq!(scene.subjects().len(), 4);
    scene.is_sound(&["copy"]);
}

#[test]
fn what_lies_about_of_a_killed_process_is_no_hindrance() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    land(&mut repository, &[release("0", "zero")]);
    // Killed before the push: a pack of objects that nothing leads to. Killed while writing one: a part of it.
    scene.hook("exit 1");
    try_land(&mut repository, &[release("1", "one")]).unwrap_err();
    drop(repository);
    let packs = scene.scratch.path().join("copy/objects/pack");
    fs_err::write(packs.join(".consign-half"), "PACK").unwrap();
    fs_err::write(packs.join(format!("pack-{}.pack", "0".repeat(40))), "PACK").unwrap();
    fs_err::remove_file(scene.remote().join("hooks/pre-receive")).unwrap();
    let mut repository = scene.open("copy");
    assert!(!packs.join(".consign-half").exists());
    assert!(is_pushed(&land(&mut repository, &[Landing { tried_before: true, ..release("1", "one") }])));
    fs_err::remove_file(packs.join(format!("pack-{}.pack", "0".repeat(40)))).unwrap();
    scene.is_sound(&["copy"]);
}

#[test]
fn nothing_that_is_refused_holds_up_the_others() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    let bad = [
        release_of("1", &place("dev", "shop"), "main-1", &[("../../etc/passwd", "x")]),
        release_of("2", &place("dev", "shop"), "main-1", &[(".git/config", "x")]),
        release_of("3", &place("dev", "../shop"), "main-1", &[("a.yaml", "x")]),
        release_of("4", &place("clusters", "shop"), "main-1", &[("a.yaml", "x")]),
        release_of("5", &place("dev", "shop"), "main-1", &[("artifact.json", "x")]),
        release_of("6", &place("dev", "shop"), "main-1", &[("a", "x"), ("a/b", "x")]),
        release_of("7", &place("dev", "shop"), "main-1", &[("a", "x"), ("a", "y")]),
        release_of("8", &place("dev", "shop"), "main-1", &[("a\nb", "x")]),
        Landing { release_id: "9\nRelease-ID: 0".to_owned(), ..release("9", "shop") },
    ];
    let landings: Vec<_> = bad.iter().cloned().chain([release("good", "shop")]).collect();
    let landed = land(&mut repository, &landings);
    assert!(landed[..bad.len()].iter().all(|one| matches!(one, Landed::LeftOut(_))), "{landed:?}");
    assert!(matches!(landed[bad.len()], Landed::Pushed(_)));
    assert_eq!(scene.subjects().len(), 1);
    scene.is_sound(&["copy"]);
}

#[test]
fn something_else_in_the_place_of_a_directory_is_left_alone() {
    let scene = Scene::new();
    scene.stranger("dev");
    let mut repository = scene.open("copy");
    let other = release_of("2", &place("prod", "shop"), "main-1", &[("a.yaml", "x")]);
    let landed = land(&mut repository, &[release("1", "shop"), other]);
    assert!(
        matches!(&landed[..], [Landed::LeftOut(failure), Landed::Pushed(_)] if failure.code() == Code::TargetForeign)
    );
    assert_eq!(scene.show("dev"), "dev");
    scene.is_sound(&["copy"]);
}

#[test]
fn signatures_survive_a_rebase_and_are_never_left_out() {
    if !need("ssh-keygen") {
        return;
    }
    let scene = Scene::new();
    let key = scene.scratch.path().join("key");
    support::succeed(keygen().args(["-q", "-t", "ed25519", "-N", "", "-f", key.as_str()]));
    let public = fs_err::read_to_string(scene.scratch.path().join("key.pub")).unwrap();
    let signers = scene.scratch.write("signers", format!("consign@example.com {public}"));
    let settings = Settings { signing: Some(SigningKey::Ssh(key.clone())), ..scene.settings("copy") };
    let mut repository = ConfigRepository::open(settings).unwrap();
    land(&mut repository, &[release("1", "one")]);
    scene.stranger("other");
    assert!(is_pushed(&land(&mut repository, &[release("2", "two"), release("3", "three")])));
    let allowed = format!("gpg.ssh.allowedSignersFile={signers}");
    for commit in ["main", "main~1", "main~3"] {
        git(&scene.remote(), &["-c", "gpg.format=ssh", "-c", &allowed, "verify-commit", commit]);
    }
    fs_err::remove_file(key).unwrap();
    let failure = try_land(&mut repository, &[release("4", "four")]).unwrap_err();
    assert_eq!(failure.code(), Code::KeyInvalid);
    assert_eq!(scene.subjects().len(), 4);
    scene.is_sound(&["copy"]);
}

#[expect(clippy::disallowed_methods, reason = "tests run programs")]
fn keygen() -> std::process::Command {
    std::process::Command::new("ssh-keygen")
}

#[test]
fn the_history_tells_what_is_where_and_how_it_came_there() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    let (dev, prod) = (place("dev", "shop"), place("prod", "shop"));
    let mut number = 0;
    let mut step = |place: &Place, artifact: &str, intent: Intent| {
        number += 1;
        Landing {
            message: record(place, artifact, intent).message(),
            ..release_of(&format!("r{number}"), place, artifact, &[("app.yaml", artifact)])
        }
    };
    let own = Place { namespace: "dev".to_owned(), ..dev.clone() };
    let landings = [
        step(&dev, "main-1", Intent::ReleaseArtifact),
        step(&dev, "main-2", Intent::ReleaseBranch { branch: "main".to_owned() }),
        step(&prod, "main-2", Intent::Promote { from_environment: "dev".to_owned() }),
        step(&dev, "main-3", Intent::AutoRelease),
        step(&place("dev", "shop-admin"), "other-1", Intent::AutoRelease),
        step(&own, "own-1", Intent::AutoRelease),
    ];
    land(&mut repository, &landings);
    let rollback = Intent::Rollback { previous_artifact_id: "main-3".to_owned() };
    land(&mut repository, &[step(&dev, "main-1", rollback.clone())]);
    // A server that has never seen the repository.
    let mut stranger = scene.open("stranger");
    stranger.refresh().unwrap();
    let history = stranger.history();

    let standing = history.status(Some("shop"), Namespaces::Named("team")).unwrap();
    let told: Vec<_> =
        standing.iter().map(|one| (one.place.environment.as_str(), one.artifact().unwrap().id.to_string())).collect();
    assert_eq!(told, [("dev", "main-1".to_owned()), ("prod", "main-2".to_owned())]);
    assert_eq!(history.status(None, Namespaces::Own).unwrap().len(), 1);
    assert_eq!(history.status(None, Namespaces::Every).unwrap().len(), 4);

    let query = Query { environment: "DEV", service: "shop", namespace: Some("team"), skip: 0, count: 10 };
    let releases = history.releases(&query).unwrap();
    let ids: Vec<_> = releases.iter().map(|one| one.record.artifact_id.as_str()).collect();
    assert_eq!(ids, ["main-1", "main-3", "main-2", "main-1"]);
    assert_eq!(releases[0].record.intent, rollback);
    assert_eq!(releases[0].record.created_by, person("日本語 名前", "dev@example.com"));
    assert_eq!(releases[0].at, now());
    assert!(releases.iter().all(|one| one.artifact().unwrap().id.to_string() == one.record.artifact_id));
    let second = history.releases(&Query { skip: 1, count: 1, ..query.clone() }).unwrap();
    assert_eq!(second[..], releases[1..2]);
    let everywhere = history.releases(&Query { namespace: None, ..query.clone() }).unwrap();
    assert_eq!(everywhere.len(), 5);
    assert_eq!(everywhere[1].namespace.as_deref(), Some("dev"));
    for (environment, service) in [("dev", "sho"), ("ev", "shop"), ("", "shop"), ("dev", "")] {
        let query = Query { environment, service, ..query.clone() };
        assert!(history.releases(&query).unwrap().is_empty());
    }

    // What going back to an artifact would take away.
    let since = history.releases_since(&query, "main-2").unwrap().unwrap();
    let ids: Vec<_> = since.iter().map(|one| one.record.artifact_id.as_str()).collect();
    assert_eq!(ids, ["main-1", "main-3", "main-2"]);
    assert!(history.releases_since(&query, "never").unwrap().is_none());
}

#[test]
fn the_older_system_s_history_is_read() {
    let scene = Scene::new();
    let work = scene.scratch.path().join("work");
    git(scene.scratch.path(), &["clone", "-q", scene.remote().as_str(), work.as_str()]);
    for (artifact, message) in [
        ("A", "[dev/shop] release A by m@example.com"),
        ("B", "[dev/shop] release B"),
        ("A", "[dev/shop] rollback B to A by m@example.com"),
        ("C", "[dev/shop] auto release C by m@example.com\nArtifact-created-by: Foo Bar <foo@example.com>"),
        ("C", "[dev/shop] artifact C by m@example.com"),
        ("C", "[shop] policy update: apply auto-release in 'dev'"),
    ] {
        let path = format!(
            "work/dev/releases/team/shop/{}",
            if message.contains("] artifact") || message.contains("policy") { "x" } else { "artifact.json" }
        );
        scene.scratch.write(
            &path,
            if path.ends_with("/x") {
                message.as_bytes().to_vec()
            } else {
                artifact_json(&place("dev", "shop"), artifact)
            },
        );
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", message]);
    }
    git(&work, &["push", "-q", "origin", "HEAD:main"]);
    let mut repository = scene.open("copy");
    repository.refresh().unwrap();
    let query = Query { environment: "dev", service: "shop", namespace: Some("team"), skip: 0, count: 9 };
    let releases = repository.history().releases(&query).unwrap();
    let told: Vec<_> = releases.iter().map(|one| (one.record.artifact_id.as_str(), one.record.intent.kind())).collect();
    assert_eq!(told, [("C", "auto-release"), ("A", "rollback"), ("B", "release-artifact"), ("A", "release-artifact")]);
    assert_eq!(releases[0].record.created_by, person("Foo Bar", "foo@example.com"));
    // And what is landed on top of it is read in the same way.
    land(&mut repository, &[release("1", "shop")]);
    assert_eq!(repository.history().releases(&query).unwrap().len(), 5);
    scene.is_sound(&["copy"]);
}

#[test]
fn an_empty_remote_has_no_history() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    repository.refresh().unwrap();
    let history = repository.history();
    assert!(history.status(None, Namespaces::Every).unwrap().is_empty());
    let query = Query { environment: "dev", service: "shop", namespace: None, skip: 0, count: 1 };
    assert!(history.releases(&query).unwrap().is_empty());
}

#[test]
fn many_small_landings_are_put_together() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    for number in 0..52 {
        land(&mut repository, &[release(&format!("r{number}"), "shop")]);
    }
    repository.tidy().unwrap();
    let packs = fs_err::read_dir(scene.scratch.path().join("copy/objects/pack")).unwrap();
    let packs = packs.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "pack"));
    assert!(packs.count() < 10);
    assert!(is_pushed(&land(&mut repository, &[release("last", "shop")])));
    scene.is_sound(&["copy"]);
}
