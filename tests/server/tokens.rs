//! Tokens made, listed and taken back over HTTP, by those who may.

use serde_json::{Value, json};

use crate::place::{Kind, Place, Running, consign};
use crate::support::{Scratch, both, succeed};

fn make(server: &Running, token: Option<&str>, name: &str, grants: &str) -> crate::place::Answer {
    let body = json!({ "name": name, "grants": grants, "expires_in_days": 30 }).to_string();
    server.ask("POST", "/api/v1/tokens", token, body)
}

#[test]
fn an_administrator_makes_tokens_and_takes_them_back() {
    for place in Kind::ALL.into_iter().filter_map(|kind| Place::new(kind, &[])) {
        let server = place.start();
        let admin = server.admin.as_deref();
        let made = make(&server, admin, "ci", "push:web release:web@dev").is(201).json();
        let token = made["token"].as_str().unwrap();
        assert!(token.starts_with("rel_") && token.len() == 47);
        let whoami = server.ask("GET", "/api/v1/whoami", Some(token), "").is(200).json();
        assert_eq!((&whoami["name"], &whoami["grants"]), (&json!("ci"), &json!("push:web release:web@dev")));
        let listed = server.ask("GET", "/api/v1/tokens", admin, "").is(200);
        assert!(!listed.text().contains("rel_"), "a secret is listed");
        let rows = listed.json()["tokens"].as_array().unwrap().clone();
        let row = rows.iter().find(|row| row["id"] == made["id"]).unwrap();
        assert!(
            row["counts"] == true && row["last_used_at"].is_string() && row["expires_at"] == made["expires_at"],
            "{row}"
        );
        let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
        server.ask("DELETE", &path, admin, "").is(204);
        server.ask("DELETE", &path, admin, "").refuses(404, "token_unknown");
        server.ask("GET", "/api/v1/whoami", Some(token), "").refuses(401, "unauthenticated");
        let leaves = server.ask("GET", "/api/v1/audit/leaves", admin, "").is(200).json();
        let entries: Vec<Value> = leaves["leaves"]
            .as_array()
            .unwrap()
            .iter()
            .map(|leaf| serde_json::from_str(leaf.as_str().unwrap()).unwrap())
            .collect();
        let verbs: Vec<_> = entries.iter().map(|entry| entry["verb"].as_str().unwrap()).collect();
        assert_eq!(verbs, ["token.create", "token.create", "token.revoke"]);
        assert_eq!(entries[0]["subject"], "server");
        assert!(entries[1]["subject"].as_str().unwrap().starts_with("token:tok-"), "it is known who did it");
        assert!(!leaves.to_string().contains("rel_"));
    }
}

#[test]
fn what_cannot_be_a_token_is_not_made() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.as_deref();
    for (name, grants) in [
        ("", "read:*"),
        ("a\nb", "read:*"),
        (&*"x".repeat(101), "read:*"),
        ("a", ""),
        ("a", "all"),
        ("a", "read:web@dev"),
        ("a", &"read:* ".repeat(10_000)),
    ] {
        let answer = make(&server, admin, name, grants);
        assert!(matches!(answer.status, 400 | 413), "{name:?} {}", answer.text());
    }
    for body in [
        "",
        "[]",
        "{}",
        r#"{"name":"a","grants":"read:*","expires_in_days":0}"#,
        r#"{"name":"a","grants":"read:*","expires_in_days":99999}"#,
        r#"{"name":"a","grants":"read:*","expires_in_days":1,"admin":true}"#,
        r#"{"name":"a","name":"b","grants":"read:*","expires_in_days":1}"#,
    ] {
        assert_eq!(server.ask("POST", "/api/v1/tokens", admin, body).status, 400, "{body}");
    }
    for id in ["..%2f..", "%ff", "a%20b"] {
        server.ask("DELETE", &format!("/api/v1/tokens/{id}"), admin, "").refuses(400, "request_invalid");
    }
    assert_eq!(place.json(&["token", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn the_command_line_does_the_same() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let home = Scratch::new();
    home.write("token", server.admin.clone().unwrap());
    let run = |arguments: &[&str]| consign(home.path(), &server, arguments);
    succeed(&mut run(&["login", "--token-file", "token"]));
    let made: Value = serde_json::from_str(&succeed(&mut run(&[
        "token", "create", "--name", "ci", "--grants", "push:web", "--format", "json",
    ])))
    .unwrap();
    let shown = succeed(&mut run(&["token", "list"]));
    assert!(shown.contains("push:web") && !shown.contains("rel_"), "{shown}");
    succeed(&mut run(&["token", "revoke", made["id"].as_str().unwrap()]));
    let again = run(&["token", "revoke", made["id"].as_str().unwrap()]).output().unwrap();
    assert_eq!(again.status.code(), Some(6), "{}", both(&again));
    let refused = run(&["token", "list"]).env("CONSIGN_TOKEN", place.token("push:web")).output().unwrap();
    assert_eq!(refused.status.code(), Some(6), "{}", both(&refused));
}
