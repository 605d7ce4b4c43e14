//! What the git deployer writes into real repositories on this disk, and reads there, judged by git itself.

use consign::manager::deployer::git::{Change, Landed, Landing, Namespaces, Place, Query};
use consign::model::Code;
use consign::model::intent::Intent;
use consign::model::release_commit::PolicyChange;

use crate::deployer_scene::{
    Scene, artifact_json, git, is_pushed, land, now, person, place, record, release, release_of, try_land,
};

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
    for (version, moves) in [
        ("kustomize.toolkit.fluxcd.io/v1", true),
        ("kustomize.toolkit.fluxcd.io/v1beta1", true),
        ("kustomize.config.k8s.io/v1beta1", false),
    ] {
        let scene = Scene::new();
        let mut repository = scene.open("copy");
        let flux = format!("apiVersion: {version}\nkind: Kustomization\n");
        let files = [("app.yaml", "a"), ("empty.yaml", ""), ("kustomization.yaml", flux.as_str())];
        land(&mut repository, &[release_of("1", &place("dev", "shop"), "main-1", &files)]);
        assert_eq!(scene.files().contains(&"clusters/dev/team/shop.yaml".to_owned()), moves);
        assert_eq!(scene.files().contains(&"dev/releases/team/shop/kustomization.yaml".to_owned()), !moves);
        assert_eq!(scene.show("dev/releases/team/shop/empty.yaml"), "");
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
