//! Lists as people and scripts read them, and what must not come to be in one.

use serde_json::{Value, json};

use crate::manager::Managed;
use crate::place::{Kind, Place, record};
use crate::support::succeed;

fn ids(document: &Value) -> Vec<String> {
    let id = |known: &Value| known["artifact"]["id"].as_str().unwrap().to_owned();
    document["artifacts"].as_array().unwrap().iter().map(id).collect()
}

#[test]
fn the_latest_artifact_is_that_of_the_branch_and_of_no_other() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, "") else { continue };
        for (id, branch) in [("foo-1", "foo"), ("foo-bar-1", "foo-bar"), ("foo_bar-1", "foo/bar"), ("FOO-1", "FOO")] {
            managed.push(id, branch);
        }
        for (branch, id) in [("foo", "foo-1"), ("foo-bar", "foo-bar-1"), ("foo/bar", "foo_bar-1"), ("FOO", "FOO-1")] {
            let latest = ids(&managed.json(&["describe", "latest-artifact", "--service", "web", "--branch", branch]));
            assert_eq!(latest, [id], "{branch}");
            let request = ["release", "--service", "web", "--env", "dev", "--branch", branch, "--dry-run"];
            assert_eq!(managed.json(&request)["results"][0]["artifact"], id, "{branch}");
        }
        for branch in ["f", "foo_bar", "foo%", "foo-", "bar"] {
            let (code, said) =
                managed.refused(&["describe", "latest-artifact", "--service", "web", "--branch", branch]);
            assert_eq!(code, 5, "{said}");
            assert!(
                said.contains(&format!("no artifacts available for service 'web' and branch '{branch}'")),
                "{said}"
            );
        }
        assert_eq!(
            ids(&managed.json(&["describe", "artifacts", "--service", "web", "--count", "2"])),
            ["FOO-1", "foo_bar-1"]
        );
        assert!(managed.refused(&["describe", "artifacts", "--service", "nobody"]).1.contains("for service 'nobody'"));
        assert!(succeed(&mut managed.run(&["describe", "artifact", "--service", "web"])).contains("Change foo-1"));
    }
}

#[test]
fn pages_of_releases_have_an_end_and_no_page_is_empty() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    let names: Vec<_> = (1..=5).map(|number| format!("main-{number}")).collect();
    for name in &names {
        managed.push(name, "main");
        succeed(&mut managed.run(&["release", "--service", "web", "--env", "dev", "--artifact", name, "--wait"]));
    }
    let admin = managed.server.admin.clone();
    let page = |query: &str| managed.server.ask("GET", &format!("/api/v1/releases?{query}"), admin.as_deref(), "");
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let releases = page(&format!("service=web&limit=2{next}")).is(200).json();
        let there = releases["releases"].as_array().unwrap();
        assert!(!there.is_empty());
        seen.extend(there.iter().map(|release| release["artifact"].as_str().unwrap().to_owned()));
        match releases["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, names.iter().rev().cloned().collect::<Vec<_>>());
    // Behind a cursor nobody gets nothing for not having said how many.
    let first = page("limit=1").is(200).json();
    let rest = page(&format!("cursor={}", first["next"].as_str().unwrap())).is(200).json();
    assert_eq!(rest["releases"].as_array().unwrap().len(), 4);
    for wrong in ["limit=0", "limit=201", "limit=-1", "limit=x", "cursor=x", "offset=1"] {
        page(wrong).refuses(400, "request_invalid");
    }
    let shown = managed.json(&["describe", "releases", "--service", "web", "--env", "dev", "--count", "9"]);
    assert_eq!(shown["releases"].as_array().unwrap().len(), 5, "fewer than were asked for are no error");
}

/// The defect of an older system: what could not be read was kept as an empty artifact.
#[test]
fn what_cannot_be_read_is_no_artifact() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone();
    let good = record("web", "main-1").to_string();
    let mut older = record("web", "main-1");
    older["source"]["event"] = "pull".into();
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "hello world",
        &good[..good.len() - 1],
        &format!("{good}{good}"),
        &format!("\u{feff}{good}"),
        &older.to_string(),
        &good.replace("\"id\"", "\"Id\""),
        &json!({ "artifact": record("web", "main-1") }).to_string(),
    ] {
        let answer = server.ask("POST", "/api/v1/artifacts", admin.as_deref(), body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    assert_eq!(ids(&server.ask("GET", "/api/v1/artifacts", admin.as_deref(), "").is(200).json()), [""; 0]);
    assert_eq!(place.sound(), 0);
}

/// Numbers and profiles are for those who run the server, and not for those who ask it.
#[test]
fn what_is_counted_is_not_shown_where_everybody_asks() {
    let place = Place::new(Kind::Sqlite, &["--metrics", "127.0.0.1:0"]).unwrap();
    let server = place.start();
    for path in ["/metrics", "/debug/pprof/", "/debug/vars", "/api/v1/metrics"] {
        server.ask("GET", path, server.admin.as_deref(), "").refuses(404, "route_unknown");
    }
    assert!(server.counted().contains("consign_"));
}
