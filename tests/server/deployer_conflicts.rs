//! The git deployer among others who push, and remotes that do not take it or are away, judged by git itself.

use std::sync::atomic::{AtomicBool, Ordering};

use consign::manager::deployer::git::{ConfigRepository, Decision, Landed, Landing};
use consign::model::{Code, Failure};

use crate::deployer_scene::{Scene, git, is_pushed, land, now, place, release, release_of, try_land};

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
fn one_copy_pushes_once_at_a_time() {
    let scene = Scene::new();
    land(&mut scene.open("copy"), &[release("first", "first")]);
    // Who comes while somebody else is here leaves a mark.
    scene.hook("mkdir busy || echo two >> together; git rev-list --objects --all >/dev/null; rmdir busy");
    std::thread::scope(|scope| {
        for number in 0..5 {
            let scene = &scene;
            scope.spawn(move || {
                let mut repository = scene.open("copy");
                for turn in 0..3 {
                    let id = format!("r{number}-{turn}");
                    assert!(is_pushed(&land(&mut repository, &[release(&id, &format!("service-{number}"))])));
                }
            });
        }
    });
    assert!(!scene.remote().join("together").exists());
    assert_eq!(scene.subjects().len(), 16);
    let main = git(&scene.remote(), &["rev-parse", "main"]);
    assert_eq!(git(&scene.scratch.path().join("copy"), &["rev-parse", "refs/remotes/origin/main"]), main);
    scene.is_sound(&["copy"]);
}

#[test]
fn a_landing_is_tried_until_it_is_cancelled_or_others_were_faster_too_often() {
    // At which try others stop being faster, at which one it is cancelled, how often it is tried, what comes of it.
    for (faster, cancelled, tries, expected) in [
        (0, 99, 1, None),
        (2, 99, 3, None),
        (0, 1, 1, Some(Code::Forbidden)),
        (9, 2, 2, Some(Code::Forbidden)),
        (99, 20, 20, Some(Code::Forbidden)),
        (99, 99, 20, Some(Code::PushRejected)),
    ] {
        let scene = Scene::new();
        let mut repository = scene.open("copy");
        land(&mut repository, &[release("0", "zero")]);
        let mut tried = 0;
        let landed = repository.land(&[release("1", "one")], now(), &mut |_| {
            tried += 1;
            if tried >= cancelled {
                return Decision::LeaveOut(Failure::new(Code::Forbidden, format!("cancelled at {tried}")));
            }
            if tried <= faster {
                scene.overtake();
            }
            Decision::Commit
        });
        let row = format!("faster {faster}, cancelled {cancelled}");
        assert_eq!(tried, tries, "{row}");
        let failure = match landed {
            Ok(landed) => match landed.into_iter().next() {
                Some(Landed::LeftOut(failure)) => Some(failure),
                landed => {
                    assert!(matches!(landed, Some(Landed::Pushed(_))), "{row}: {landed:?}");
                    None
                }
            },
            Err(failure) => Some(failure),
        };
        assert_eq!(failure.as_ref().map(Failure::code), expected, "{row}");
        // What is told is what happened last, not that it happened often.
        let told = failure.map(|failure| failure.to_string()).unwrap_or_default();
        let last = match expected {
            Some(Code::Forbidden) => format!("cancelled at {tries}"),
            Some(_) => format!("`{}` moved on before the push arrived", scene.remote()),
            None => String::new(),
        };
        assert_eq!(told, last, "{row}");
        assert_eq!(scene.subjects().iter().any(|line| line.contains("main-1 ")), expected.is_none(), "{row}");
    }
}

/// The remote has taken the push, and dies before it can say so.
const LOST: &str = "[ \"$1\" = committed ] && [ ! -e lost ] || exit 0\ntouch lost";

#[test]
fn a_push_whose_answer_is_lost_is_not_made_again() {
    for is_empty in [false, true] {
        let scene = Scene::new();
        let mut repository = scene.open("copy");
        if !is_empty {
            land(&mut repository, &[release("0", "zero")]);
        }
        scene.hook_named("reference-transaction", &format!("{LOST}; kill -9 $PPID"));
        // Made again, the first would be put on top of the second.
        let landings = ["1", "2"].map(|id| release(id, "shop"));
        let landed = land(&mut repository, &landings);
        assert!(scene.remote().join("lost").exists());
        assert!(matches!(landed[..], [Landed::Before(_), Landed::Before(_)]), "{landed:?}");
        assert_eq!(scene.subjects().len(), if is_empty { 2 } else { 3 });
        scene.is_sound(&["copy"]);
    }
}

#[test]
fn what_may_have_arrived_is_not_said_to_be_refused() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    land(&mut repository, &[release("0", "zero")]);
    // It arrives, nobody hears of it, and from then on the host lets nobody in.
    let away = scene.scratch.path().join("away");
    scene.hook_named("reference-transaction", &format!("{LOST}; mv \"$PWD\" {away}; kill -9 $PPID"));
    let failure = try_land(&mut repository, &[release("1", "one")]).unwrap_err();
    assert_eq!(failure.code(), Code::RemoteUnavailable, "{:?}", failure.chain());
    assert!(failure.chain()[1].contains("does not let the server in"), "{:?}", failure.chain());
    fs_err::rename(away, scene.remote()).unwrap();
    let again = Landing { tried_before: true, ..release("1", "one") };
    assert!(matches!(land(&mut repository, &[again])[..], [Landed::Before(_)]));
    assert_eq!(scene.subjects().len(), 2);
    scene.is_sound(&["copy"]);
}
