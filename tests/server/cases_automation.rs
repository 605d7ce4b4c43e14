//! What goes by itself, and what keeps it from going: triggers, restrictions, freezes and those who may pass them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::manager::{Managed, SECRET};
use crate::place::Kind;
use crate::support::{both, succeed};

const PREVIEW: &str = "[[environment]]\nname = \"preview\"\n";
/// A freeze of everything, for longer than this program will be.
const FROZEN: &str = "[[policy]]\nkind = \"freeze\"\nname = \"ever\"\nenvironments = [\"prod\"]\n\
     window.once = { from = \"2020-01-01T00:00:00Z\", until = \"2200-01-01T00:00:00Z\" }\n";

fn apply(managed: &Managed, policy: &Value) {
    let file = managed.home.path().join("policy.json");
    fs_err::write(&file, policy.to_string()).unwrap();
    succeed(&mut managed.run(&["policy", "apply", "file", "--service", "web", file.as_str()]));
}

/// What is written, once something that was asked for last is.
fn written(managed: &Managed, last: &str) -> BTreeSet<String> {
    managed.push_of("last", last, "main", &["dev"]);
    succeed(&mut managed.run(&["release", "--service", "last", "--env", "dev", "--artifact", last, "--wait"]));
    let subjects = managed.subjects().into_iter().filter(|subject| !subject.contains("/last]"));
    subjects.map(|subject| subject.split(" by ").next().unwrap().to_owned()).collect()
}

fn set(subjects: &[&str]) -> BTreeSet<String> {
    subjects.iter().map(|&subject| subject.to_owned()).collect()
}

#[test]
fn what_is_pushed_goes_where_triggers_say_and_nowhere_else() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, PREVIEW) else { continue };
        apply(
            &managed,
            &json!({ "kind": "deploy-trigger", "environment": "preview", "branch": "!{main,master}", "event": "push",
            "app": "web-{{ .BRANCH | sanitizeDNSName }}" }),
        );
        apply(&managed, &json!({ "kind": "deploy-trigger", "environment": "prod", "tag": "!v0*", "event": "tag" }));
        apply(
            &managed,
            &json!({ "kind": "deploy-trigger", "environment": "dev", "commit_message_patterns": ["[DEPLOY: web]*"] }),
        );
        let push = |id: &str, source: Value| {
            managed.push_with("web", id, &["dev", "prod", "preview"], |record| {
                for (name, value) in source.as_object().unwrap() {
                    record["source"][name] = value.clone();
                }
            });
        };
        push("main-1", json!({ "branch": "main" }));
        push("feature-1", json!({ "branch": "Feature/Awesome_1" }));
        push("pull-1", json!({ "branch": "feature/pull", "event": "pr" }));
        push("tag-0", json!({ "tag": "v0.9", "event": "tag", "branch": null }));
        push("tag-1", json!({ "tag": "v1.0", "event": "tag", "branch": null }));
        push("all-1", json!({ "branch": "master", "message": "[DEPLOY: ALL] something major" }));
        push("other-1", json!({ "branch": "master", "message": "[DEPLOY: api] something" }));
        managed.until("dev", "all-1");
        let expected =
            ["[preview/web] auto release feature-1", "[prod/web] auto release tag-1", "[dev/web] auto release all-1"];
        assert_eq!(written(&managed, "last-1"), set(&expected));
        let files = managed.config(&["ls-tree", "-r", "--name-only", "main", "preview/"]);
        assert!(files.contains("preview/releases/web-feature-awesome-1/web/deployment.yaml"), "{files}");
        managed.place.sound();
    }
}

#[test]
fn one_environment_that_is_closed_keeps_no_other_from_its_release() {
    let closed = "[[policy]]\nkind = \"evidence\"\nenvironment = \"prod\"\ntests_passed = true\n";
    let managed = Managed::new(Kind::Sqlite, closed).unwrap();
    for environment in ["prod", "dev"] {
        apply(&managed, &json!({ "kind": "auto-release", "environment": environment, "branch": "main" }));
    }
    managed.push("main-1", "main");
    managed.push("main-extra-1", "main-extra");
    managed.until("dev", "main-1");
    assert_eq!(written(&managed, "last-1"), set(&["[dev/web] auto release main-1"]));
    let explained = managed.json(&["explain", "--service", "web", "--env", "prod", "--artifact", "main-1"]);
    assert_eq!(explained["results"][0]["decision"]["reasons"][0]["code"], "tests_missing", "{explained}");
}

#[test]
fn a_freeze_is_passed_by_those_who_may_with_a_reason_that_is_kept() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, FROZEN) else { continue };
        managed.push("main-1", "main");
        let request = ["release", "--service", "web", "--env", "prod", "--artifact", "main-1", "--wait"];
        let over = |reason: &'static str| [&request[..], &["--override-freeze", reason]].concat();
        let (code, said) = managed.refused(&request);
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("freeze-ever"), "{said}");
        let admin = managed.server.admin.clone().unwrap();
        managed.log_in(&managed.place.token("read:* release:web@prod"));
        let (code, said) = managed.refused(&over("it burns"));
        assert_eq!(code, 6, "the grant to release is not that to pass a freeze: {said}");
        managed.log_in(&managed.place.token("read:* release:web@prod override:web@dev"));
        assert_eq!(managed.refused(&over("it burns")).0, 6, "and neither is that for another environment");
        managed.log_in(&managed.place.token("read:* release:web@prod override:web@prod"));
        for reason in ["", "  ", "a\nb"] {
            let (code, said) = managed.refused(&over(reason));
            assert_eq!(code, 2, "{reason:?}: {said}");
        }
        assert!(managed.config(&["for-each-ref"]).is_empty(), "nothing was written yet");
        succeed(managed.run(&over("it burns")).arg("--idempotency-key=once"));
        managed.log_in(&admin);
        let shown = succeed(&mut managed.run(&["describe", "release", "--service", "web", "--env", "prod"]));
        assert!(shown.contains("Freeze passed it burns"), "{shown}");
        let log = managed.run(&["audit", "list", "--format", "json"]).output().unwrap();
        assert!(both(&log).contains("it burns"), "the audit log says why: {}", both(&log));
        // What goes by itself never passes one.
        apply(&managed, &json!({ "kind": "auto-release", "environment": "prod", "branch": "main" }));
        managed.push("main-2", "main");
        assert_eq!(written(&managed, "last-1").len(), 1);
    }
}

/// A record that is written again is written whole, however much shorter it is by then.
#[test]
fn nothing_is_left_of_a_longer_record() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    let run = |arguments: &[&str]| succeed(&mut managed.run(arguments));
    let long = "x".repeat(2000);
    let sha = "1".repeat(40);
    run(&["artifact", "create", "--service", "web", "--id", "main-1", "--sha", &sha, "--branch", "main"]);
    for url in [long.as_str(), "u"] {
        let url = format!("https://example.com/{url}");
        run(&["artifact", "add", "test", "--passed", "1", "--failed", "0", "--skipped", "0", "--url", &url]);
        let text = fs_err::read_to_string(managed.home.path().join("artifact.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["stages"].as_array().unwrap().len(), 1, "one takes the other's place: {record}");
        assert!(text.contains(&url));
    }
    // And where it lies in the repository.
    for (id, message) in [("main-1", long.as_str()), ("main-2", "short")] {
        managed.push_with("web", id, &["dev"], |record| record["source"]["message"] = message.into());
        run(&["release", "--service", "web", "--env", "dev", "--artifact", id, "--wait"]);
        let file = managed.config(&["show", "main:dev/releases/dev/web/artifact.json"]);
        assert_eq!(serde_json::from_str::<Value>(&file).unwrap()["application"]["message"], message);
    }
}

/// A kind of event that is handled by its own code is no way round the signature.
#[test]
fn no_event_is_believed_that_is_not_signed() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    let body =
        json!({ "action": "completed", "ref": "refs/heads/main", "after": "1".repeat(40), "before": "2".repeat(40),
        "check_run": { "head_sha": "1" }, "repository": { "full_name": "example/web" } })
        .to_string();
    for event in
        ["push", "check_run", "check_suite", "status", "ping", "create", "delete", "release", "installation", ""]
    {
        for signature in ["", "sha256=", "sha1=00", SECRET, &format!("sha256={}", "0".repeat(64))] {
            let headers = [
                ("x-github-event", event),
                ("x-github-delivery", "a"),
                ("content-type", "application/json"),
                ("x-hub-signature-256", signature),
            ];
            let answer = managed.server.ask_with("POST", "/webhook/github", None, &headers, body.clone());
            answer.refuses(401, "unauthenticated");
        }
    }
    let log = succeed(&mut managed.run(&["audit", "list", "--format", "json"]));
    assert!(!log.contains("event.receive"), "{log}");
}

/// What a deployer proves itself with is in no answer and in no log, whatever fails.
#[test]
fn no_secret_of_a_deployer_is_shown_by_anything_that_fails() {
    let mut managed = Managed::new(Kind::Sqlite, "").unwrap();
    managed.place.scratch.write("password", "canary-of-a-password\n");
    let environments = "[deployer.config]\nrepository = \"https://127.0.0.1:1/config.git\"\nuser = \"canary-user\"\n\
         password-file = \"password\"\n[[environment]]\nname = \"dev\"\n[[environment]]\nname = \"prod\"\n";
    managed.place.scratch.write("environments.toml", environments);
    let log = managed.place.scratch.path().join("log");
    managed.server.end_now();
    managed.server.wait();
    managed.server = managed.place.start_logged(&log);
    managed.log_in(&managed.place.token("admin:*"));
    managed.push("main-1", "main");
    let granted = managed.json(&["release", "--service", "web", "--env", "dev", "--artifact", "main-1"]);
    let id = granted["results"][0]["release"].as_str().unwrap().to_owned();
    let mut said = String::new();
    for _ in 0..300 {
        said = succeed(&mut managed.run(&["describe", "release", "--service", "web", "--id", &id]));
        if said.contains("cannot be reached") {
            break;
        }
    }
    assert!(said.contains("`https://127.0.0.1:1/config.git` cannot be reached: "), "{said}");
    for arguments in
        [&["status", "--service", "web"][..], &["audit", "list"], &["promote", "--service", "web", "--env", "prod"]]
    {
        said += &both(&managed.run(&[arguments, &["-vvv", "--format", "json"]].concat()).output().unwrap());
    }
    let logged = fs_err::read_to_string(&log).unwrap();
    assert!(logged.contains("cannot be reached"), "{logged}");
    for text in [said, logged] {
        assert!(!text.contains("canary"), "{text}");
        assert!(!text.contains("Y2FuYXJ5"), "written in another way: {text}");
    }
}

#[test]
fn nobody_sees_releases_of_services_that_are_not_theirs() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    managed.push("main-1", "main");
    let request = ["release", "--service", "web", "--env", "dev", "--artifact", "main-1", "--wait"];
    let id = managed.json(&request)["results"][0]["release"].as_str().unwrap().to_owned();
    let token = managed.place.token("read:other release:other@dev policy:other approve:other@dev");
    let dry = json!({ "service": "web", "environments": ["dev"], "what": { "kind": "artifact", "id": "main-1" }, "dry_run": true });
    let vote = json!({ "environment": "dev", "artifact": "main-1", "approve": true });
    // What is there is answered like what is not there.
    for (service, release) in [("web", id.as_str()), ("nothing", "rls-00000000000000000000")] {
        let mut dry = dry.clone();
        dry["service"] = service.into();
        for (method, path, body) in [
            ("GET", format!("services/{service}/status"), Value::Null),
            ("GET", format!("services/{service}/policies"), Value::Null),
            ("PUT", format!("services/{service}/policies"), json!({})),
            ("DELETE", format!("services/{service}/policies?id=a"), Value::Null),
            ("POST", format!("services/{service}/policies/test"), json!({})),
            ("PUT", format!("services/{service}/holds/dev"), json!({ "reason": "x" })),
            ("DELETE", format!("services/{service}/holds/dev"), Value::Null),
            ("POST", format!("services/{service}/approvals"), vote.clone()),
            ("POST", "releases".to_owned(), dry.clone()),
        ] {
            let headers = [("content-type", "application/json")];
            let answer =
                managed.server.ask_with(method, &format!("/api/v1/{path}"), Some(&token), &headers, body.to_string());
            let problem = answer.refuses(404, "artifact_unknown");
            assert_eq!(problem["detail"], format!("there is no service `{service}`"), "{method} {path}");
        }
        let ask = |path: &str| managed.server.ask("GET", &format!("/api/v1/{path}"), Some(&token), "");
        ask(&format!("releases/{release}")).refuses(404, "release_unknown");
        assert_eq!(ask(&format!("releases?service={service}")).is(200).json(), json!({ "releases": [] }));
        assert_eq!(ask(&format!("report?service={service}")).is(200).json()["environments"], json!([]));
    }
}
