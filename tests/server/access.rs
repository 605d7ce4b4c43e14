//! Who may do what: every route asked by everybody, and what is said to those who may not.

use std::collections::BTreeMap;

use serde_json::json;

use crate::place::{Kind, Place, record};

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn every_route_is_closed_to_whoever_was_not_let_in() {
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    for sender in ["GITHUB", "FLUX", "DAEMON"] {
        place.variable(&format!("CONSIGN_WEBHOOK_{sender}_SECRET"), "0123456789abcdef");
    }
    // Nothing comes to an environment here: the artifact has no manifests.
    let environments = "[deployer.config]\nrepository = \"config.git\"\n\
         [[environment]]\nname = \"dev\"\n[[environment]]\nname = \"prod\"\nfrom = [\"dev\"]\n";
    let file = place.scratch.write("environments.toml", environments);
    place.option("--manage", file.as_str());
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    server.ask("POST", "/api/v1/artifacts", Some(&admin), record("web", "one").to_string()).is(201);
    let revoked = place.token("admin:*");
    let id = place.json(&["token", "list"]);
    let id = id.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    place.json(&["token", "revoke", &id]);
    let mut people: Vec<(&str, Option<String>)> = vec![
        ("nobody", None),
        ("stranger", Some(format!("rel_{}", "A".repeat(43)))),
        ("no token", Some("canary".to_owned())),
        ("revoked", Some(revoked)),
        ("admin", Some(admin)),
    ];
    for grants in [
        "read:web",
        "push:web",
        "read:api",
        "push:api",
        "read:*",
        "push:*",
        "release:web@dev",
        "approve:*@prod",
        "policy:api",
        "policy:web",
        "audit:*",
    ] {
        people.push((grants, Some(place.token(grants))));
    }
    let routes = routes();
    let mut matrix = String::new();
    for (method, path, body) in &routes {
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for (name, token) in &people {
            let answer = server.ask(method, path, token.as_deref(), body.clone());
            by_status.entry(answer.status).or_default().push(name);
        }
        let cells: Vec<_> = by_status.iter().map(|(status, names)| format!("{status} {}", names.join(", "))).collect();
        matrix.push_str(&format!("{method} {path}\n  {}\n", cells.join("\n  ")));
    }
    insta::assert_snapshot!(matrix);
}

/// Every route, and what is sent to it.
fn routes() -> Vec<(&'static str, String, String)> {
    let (web, one) = ("/api/v1/services/web", "/api/v1/services/web/artifacts/one");
    let request = |environment: &str, dry_run: bool| {
        let what = json!({ "kind": "artifact", "id": "one" });
        json!({ "service": "web", "environments": [environment], "what": what, "dry_run": dry_run }).to_string()
    };
    vec![
        ("GET", "/ping".to_owned(), String::new()),
        ("GET", "/healthz".to_owned(), String::new()),
        ("GET", "/readyz".to_owned(), String::new()),
        ("GET", "/api/v1/openapi.json".to_owned(), String::new()),
        ("GET", "/api/v1/key".to_owned(), String::new()),
        ("GET", "/api/v1/login".to_owned(), String::new()),
        ("GET", "/api/v1/whoami".to_owned(), String::new()),
        ("GET", "/api/v1/tokens".to_owned(), String::new()),
        ("POST", "/api/v1/tokens".to_owned(), "{}".to_owned()),
        ("DELETE", "/api/v1/tokens/tok-none".to_owned(), String::new()),
        ("GET", "/api/v1/artifacts".to_owned(), String::new()),
        ("POST", "/api/v1/artifacts".to_owned(), record("web", "one").to_string()),
        ("GET", one.to_owned(), String::new()),
        ("GET", format!("{one}/files/x"), String::new()),
        ("PUT", format!("{one}/outcome"), r#"{"outcome":"successful"}"#.to_owned()),
        ("HEAD", format!("/api/v1/blobs/{SHA256}"), String::new()),
        ("PUT", format!("/api/v1/blobs/{SHA256}"), String::new()),
        ("GET", "/api/v1/environments".to_owned(), String::new()),
        ("GET", "/api/v1/releases".to_owned(), String::new()),
        ("POST", "/api/v1/releases".to_owned(), request("dev", false)),
        ("POST", "/api/v1/releases".to_owned(), request("prod", false)),
        ("POST", "/api/v1/releases".to_owned(), request("prod", true)),
        ("GET", "/api/v1/releases/rls-none".to_owned(), String::new()),
        ("GET", "/api/v1/report".to_owned(), String::new()),
        ("GET", format!("{web}/status"), String::new()),
        ("GET", format!("{web}/policies"), String::new()),
        (
            "PUT",
            format!("{web}/policies"),
            r#"{"kind":"branch-restriction","environment":"dev","branch":"main"}"#.to_owned(),
        ),
        ("DELETE", format!("{web}/policies?id=none"), String::new()),
        (
            "POST",
            format!("{web}/policies/test"),
            r#"{"policies":{"type":"consign.policies/v1","policies":[]}}"#.to_owned(),
        ),
        ("PUT", format!("{web}/holds/dev"), r#"{"reason":"to see who may"}"#.to_owned()),
        ("DELETE", format!("{web}/holds/dev"), String::new()),
        ("POST", format!("{web}/approvals"), r#"{"environment":"prod","artifact":"one","approve":true}"#.to_owned()),
        ("GET", "/api/v1/audit/checkpoint".to_owned(), String::new()),
        ("GET", "/api/v1/audit/leaves".to_owned(), String::new()),
        ("GET", "/api/v1/audit/consistency?smaller=1&larger=1".to_owned(), String::new()),
        ("POST", "/webhook/github".to_owned(), "{}".to_owned()),
        ("POST", "/webhook/flux".to_owned(), "{}".to_owned()),
        ("POST", "/webhook/daemon/k8s/deploy".to_owned(), "{}".to_owned()),
        ("POST", "/webhook/daemon/k8s/error".to_owned(), "{}".to_owned()),
        ("POST", "/webhook/daemon/k8s/joberror".to_owned(), "{}".to_owned()),
        ("GET", "/checkpoint".to_owned(), String::new()),
        ("GET", "/tile/0/000.p/1".to_owned(), String::new()),
        ("GET", "/tile/entries/000.p/1".to_owned(), String::new()),
        ("GET", "/metrics".to_owned(), String::new()),
    ]
}

#[test]
fn nobody_learns_of_what_they_may_not_see() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    for service in ["web", "api"] {
        server.ask("POST", "/api/v1/artifacts", Some(&admin), record(service, "one").to_string()).is(201);
    }
    let token = place.token("read:web");
    let hidden = server.ask("GET", "/api/v1/services/api/artifacts/one", Some(&token), "");
    let missing = server.ask("GET", "/api/v1/services/api/artifacts/two", Some(&token), "");
    let (hidden, missing) = (hidden.refuses(404, "artifact_unknown"), missing.refuses(404, "artifact_unknown"));
    assert_eq!(hidden.to_string().replace("one", "two"), missing.to_string());
    let listed = server.ask("GET", "/api/v1/artifacts", Some(&token), "").is(200).json();
    assert_eq!(listed["artifacts"].as_array().unwrap().len(), 1);
    let asked = server.ask("GET", "/api/v1/artifacts?service=api", Some(&token), "").is(200).json();
    assert_eq!(asked["artifacts"].as_array().unwrap().len(), 0);
}

#[test]
fn a_token_is_shown_once_and_kept_nowhere() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    assert!(admin.starts_with("rel_") && admin.len() == 47);
    server.ask("GET", "/api/v1/whoami", Some(&admin), "").is(200);
    server.stop();
    assert!(place.start().admin.is_none());
    for name in consign::world::files::list(&place.data()).unwrap() {
        let path = place.data().join(name.0);
        if path.is_file() {
            let bytes = fs_err::read(&path).unwrap();
            assert!(memchr::memmem::find(&bytes, admin.as_bytes()).is_none(), "{path} has the token in it");
        }
    }
}

#[test]
fn no_token_is_in_the_log_wherever_somebody_puts_one() {
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    place.variable("CONSIGN_WEBHOOK_DAEMON_SECRET", "0123456789abcdef");
    let log = place.scratch.path().join("log");
    let server = place.start_logged(&log);
    let admin = server.admin.clone().unwrap();
    let created = json!({ "name": "ci", "grants": "read:web", "expires_in_days": 1 }).to_string();
    let created = server.ask("POST", "/api/v1/tokens", Some(&admin), created).is(201).json();
    let reader = created["token"].as_str().unwrap().to_owned();
    let stranger = format!("rel_{}", "S".repeat(43));
    for token in [&admin, &reader, &stranger] {
        server.ask("GET", "/api/v1/whoami", Some(token), "");
        server.ask("POST", "/api/v1/artifacts", Some(token), token.as_str());
        server.ask("POST", "/api/v1/releases", Some(token), json!({ "service": token }).to_string());
        for path in [
            format!("/api/v1/artifacts?cursor={token}"),
            format!("/api/v1/whoami?token={token}"),
            format!("/api/v1/services/web/artifacts/{token}"),
            format!("/api/v1/releases/{token}"),
            format!("/{token}/{token}"),
        ] {
            server.ask("GET", &path, Some(token), "");
        }
        server.ask("DELETE", &format!("/api/v1/tokens/{token}"), Some(token), "");
        for (name, value) in [
            ("x-request-id", token.clone()),
            ("authorization", format!("Basic {token}")),
            ("authorization", token.clone()),
            ("traceparent", token.clone()),
            ("idempotency-key", token.clone()),
            ("user-agent", token.clone()),
        ] {
            server.ask_with("GET", "/api/v1/artifacts", None, &[(name, &value)], "");
            server.ask_with("POST", "/webhook/daemon/k8s/deploy", None, &[(name, &value)], token.as_str());
        }
    }
    server.stop();
    let log = fs_err::read_to_string(&log).unwrap();
    assert!(log.lines().filter(|line| line.contains("answered")).count() > 50, "{log}");
    for token in [&admin, &reader, &stranger] {
        // What begins every token, and what only this one has.
        assert!(!log.contains(&token[4..]), "{log}");
    }
    assert!(!log.contains("0123456789abcdef"), "{log}");
}

#[test]
fn what_is_not_understood_is_said_so() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let get = |path: &str| server.ask("GET", path, Some(&admin), "");
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=1&limit=2",
        "since=yesterday",
        "event=merge",
        "cursor=x",
        "unknown=1",
        "service=a/b",
        "branch=%00",
    ] {
        get(&format!("/api/v1/artifacts?{query}")).refuses(400, "request_invalid");
    }
    for path in [
        "/api/v1/services/..%2f..%2fetc/artifacts/one",
        "/api/v1/services/web/artifacts/.hidden",
        "/api/v1/services/web/artifacts/%ff",
    ] {
        get(path).refuses(400, "request_invalid");
    }
    get("/api/v2").refuses(404, "route_unknown");
    server.ask("DELETE", "/api/v1/artifacts", Some(&admin), "").refuses(405, "route_unknown");
    let push = |body: Vec<u8>| server.ask("POST", "/api/v1/artifacts", Some(&admin), body);
    for body in [b"".to_vec(), b"{}".to_vec(), b"null".to_vec(), vec![0xff; 100], b"[".repeat(100_000)] {
        push(body).refuses(400, "artifact_invalid");
    }
    push(vec![b' '; 2 << 20]).refuses(413, "file_too_large");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    server.ask_with("POST", "/api/v1/artifacts", Some(&admin), &form, "a=b").refuses(400, "request_invalid");
    let named = |id: &str| {
        server.ask_with("GET", "/healthz", None, &[("x-request-id", id)], "").headers["x-request-id"].clone()
    };
    assert_eq!(named("job-1.2_3"), "job-1.2_3");
    assert_ne!(named("a b"), "a b");
}
