//! Looking for artifacts: exactly what was asked for, in one order, however many there are and whoever
//! pushes meanwhile.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::place::{Kind, Place, Running, consign, record};
use crate::support::{Scratch, both};

fn push(server: &Running, admin: &str, service: &str, id: &str, change: impl FnOnce(&mut Value)) {
    let mut record = record(service, id);
    change(&mut record);
    server.ask("POST", "/api/v1/artifacts", Some(admin), record.to_string()).is(201);
}

fn ids(page: &Value) -> Vec<String> {
    let id = |known: &Value| known["artifact"]["id"].as_str().unwrap().to_owned();
    page["artifacts"].as_array().unwrap().iter().map(id).collect()
}

#[test]
fn a_branch_is_that_branch_and_no_other_that_begins_like_it() {
    for kind in Kind::ALL {
        let Some(place) = Place::new(kind, &[]) else { continue };
        let server = place.start();
        let admin = server.admin.clone().unwrap();
        for (id, branch) in [
            ("master-1-2", Some("master")),
            ("feature_awesome-1-2", Some("feature/awesome")),
            ("master-2-3", Some("master")),
            ("master-3-4", Some("master")),
            ("foo-bar-1", Some("foo-bar")),
            ("foo-1", Some("foo")),
            ("none-1", None),
        ] {
            push(&server, &admin, "foo", id, |record| record["source"]["branch"] = json!(branch));
        }
        let list = |query: &str| {
            ids(&server.ask("GET", &format!("/api/v1/artifacts?{query}"), Some(&admin), "").is(200).json())
        };
        assert_eq!(list("service=foo&branch=master&limit=2"), ["master-3-4", "master-2-3"]);
        assert_eq!(list("service=foo&branch=master&limit=1"), ["master-3-4"]);
        assert_eq!(list("service=foo&limit=1"), ["none-1"]);
        assert_eq!(list("service=bar"), [""; 0]);
        assert_eq!(list("service=foo&branch=foo"), ["foo-1"]);
        assert_eq!(list("service=foo&branch=fo"), [""; 0]); // typos: ignore
        assert_eq!(list("service=foo&branch="), [""; 0]);
        assert_eq!(list("service=foo&branch=foo%25"), [""; 0]);
        assert_eq!(list("service=foo&branch=MASTER"), [""; 0]);
        assert_eq!(list("service=foo&branch=feature/awesome"), ["feature_awesome-1-2"]);
        assert_eq!(list("branch=feature/greatwork"), [""; 0]);
    }
}

#[test]
fn events_commits_and_times_are_those_that_were_asked_for() {
    for kind in Kind::ALL {
        let Some(place) = Place::new(kind, &[]) else { continue };
        let server = place.start();
        let admin = server.admin.clone().unwrap();
        for (number, event) in ["push", "pr", "tag", "push"].into_iter().enumerate() {
            push(&server, &admin, "web", &format!("a{number}"), |record| {
                record["source"]["event"] = event.into();
                record["source"]["sha"] = format!("{number}").repeat(40).into();
            });
        }
        let page =
            |query: &str| server.ask("GET", &format!("/api/v1/artifacts?{query}"), Some(&admin), "").is(200).json();
        assert_eq!(ids(&page("event=push")), ["a3", "a0"]);
        assert_eq!(ids(&page("event=tag&service=web")), ["a2"]);
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        assert_eq!(ids(&page(&format!("sha={one}&sha={two}"))), ["a2", "a1"]);
        assert_eq!(ids(&page("sha=1111")), [""; 0], "a commit is whole");
        let all = page("");
        let at = |number: usize| all["artifacts"][number]["pushed_at"].as_str().unwrap().replace('+', "%2B");
        assert_eq!(ids(&page(&format!("since={}", at(1)))), ["a3", "a2"]);
        assert_eq!(ids(&page(&format!("until={}", at(1)))), ["a1", "a0"]);
        assert_eq!(ids(&page(&format!("since={}&until={}", at(2), at(0)))), ["a2", "a1"]);
    }
}

#[test]
fn more_than_a_thousand_are_paged_and_each_is_seen_once_while_others_push() {
    for kind in Kind::ALL {
        let Some(place) = Place::new(kind, &[]) else { continue };
        let server = place.start();
        let admin = server.admin.clone().unwrap();
        let count = 1010;
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (server, admin) = (&server, &admin);
                scope.spawn(move || {
                    for number in (worker..count).step_by(4) {
                        push(server, admin, "web", &format!("a{number}"), |_| ());
                    }
                });
            }
        });
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let path = format!("/api/v1/artifacts?service=web&branch=main&limit=200{cursor}");
            let page = server.ask("GET", &path, Some(&admin), "").is(200).json();
            seen.extend(ids(&page));
            pages += 1;
            // What comes meanwhile is newer than every page that is still to come.
            push(&server, &admin, "web", &format!("late{pages}"), |_| ());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len(), pages), (count, count, 6));
        assert!(seen.iter().all(|id| !id.starts_with("late")));
    }
}

#[test]
fn waiting_for_a_run_ends_as_the_run_does() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let home = Scratch::new();
    let mut child =
        consign(home.path(), &server, &["login"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(admin.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    for id in ["good", "bad", "slow"] {
        push(&server, &admin, "web", id, |_| ());
    }
    let report = |id: &str, body: &str| {
        server.ask("PUT", &format!("/api/v1/services/web/artifacts/{id}/outcome"), Some(&admin), body).is(200);
    };
    report("bad", r#"{"outcome":"failed","note":"tests"}"#);
    let track = |id: &str, timeout: &str| {
        let line = ["artifact", "track", id, "--service", "web", "--wait", "--timeout", timeout, "--format", "json"];
        consign(home.path(), &server, &line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // One that is waited for before it has ended.
    let waiting = track("good", "60");
    report("good", r#"{"outcome":"successful"}"#);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let output = track("bad", "60").wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(both(&output).contains("the run that built `bad` failed"), "{}", both(&output));
    for id in ["slow", "nowhere"] {
        let output = track(id, "1").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = both(&output);
        assert!(said.contains("timed out"), "{said}");
    }
}
