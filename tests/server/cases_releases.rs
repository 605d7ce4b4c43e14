//! Releasing as people and scripts see it: what each request that cannot be granted says and ends with, and what
//! becomes of a release that fails where it runs.

use std::process::Stdio;

use data_encoding::HEXLOWER;
use ring::hmac;
use serde_json::{Value, json};

use crate::manager::{Managed, SECRET};
use crate::place::{Answer, Kind};
use crate::support::{both, succeed};

/// An environment of which somebody reports.
const OBSERVED: &str = "[[environment]]\nname = \"seen\"\nfrom = [\"dev\"]\nobserved = true\n";
const APPROVAL: &str = "[[policy]]\nkind = \"approval\"\nenvironment = \"prod\"\nminimum = 1\n\
     [[policy.approvers]]\nrole = \"approve\"\n";
/// Where all the artifacts of these tests can go.
const EVERYWHERE: [&str; 3] = ["dev", "prod", "seen"];

/// What somebody tells the server, who has the secret.
fn tell(managed: &Managed, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    let signature = format!("sha256={}", HEXLOWER.encode(tag.as_ref()));
    managed.server.ask_with("POST", path, None, &[("x-signature", &signature)], body)
}

fn fails(managed: &Managed, artifact: &str) {
    let trouble = json!([{ "name": "web", "message": "exit 1", "type": "CrashLoopBackOff" }]);
    let body = json!({ "podName": "web-1", "namespace": "seen", "errors": trouble, "environment": "seen", "artifactId": artifact });
    tell(managed, "/webhook/daemon/k8s/error", &body).is(200);
}

fn runs(managed: &Managed, artifact: &str, available: u32) {
    let body = json!({ "name": "web", "namespace": "seen", "resourceType": "Deployment", "availablePods": available,
        "replicas": 2, "artifactId": artifact, "environment": "seen" });
    tell(managed, "/webhook/daemon/k8s/deploy", &body).is(200);
}

/// What Flux's notification controller sends of an object at a revision.
fn flux(name: &str, severity: &str, reason: &str, revision: &str, environment: Option<&str>) -> Value {
    let mut metadata = json!({ "kustomize.toolkit.fluxcd.io/revision": revision });
    if let Some(environment) = environment {
        metadata["env"] = environment.into();
    }
    json!({ "involvedObject": { "kind": "Kustomization", "namespace": "flux-system", "name": name },
        "severity": severity, "timestamp": "2026-01-02T03:04:05Z", "message": format!("{reason} of {name}"), "reason": reason,
        "metadata": metadata })
}

/// What a service has in an environment.
fn place(managed: &Managed, service: &str, environment: &str) -> Value {
    let status = managed.json(&["status", "--service", service]);
    let mut places = status["places"].as_array().unwrap().iter();
    places.find(|place| place["environment"] == environment).cloned().unwrap_or_default()
}

/// Waits until a release is as it should be.
#[track_caller]
fn until(managed: &Managed, service: &str, environment: &str, wanted: (&str, &str)) {
    let mut found = Value::Null;
    for _ in 0..300 {
        found = place(managed, service, environment);
        if (found["live"]["artifact"].as_str(), found["live"]["state"].as_str()) == (Some(wanted.0), Some(wanted.1)) {
            return;
        }
    }
    panic!("{service} in {environment} is never {wanted:?}: {found}");
}

#[test]
fn every_wish_that_cannot_be_granted_says_why_and_ends_so() {
    let managed = Managed::new(Kind::Sqlite, OBSERVED).unwrap();
    for id in ["main-1", "main-2"] {
        managed.push_of("web", id, "main", &EVERYWHERE);
    }
    managed.push_of("web", "foo-bar-1", "foo-bar", &["dev"]);
    managed.push_of("other", "other-1", "main", &EVERYWHERE);
    succeed(&mut managed.run(&["release", "--service", "web", "--env", "prod", "--artifact", "main-1", "--wait"]));
    let artifact = |env: &'static str, id: &'static str| ["release", "--env", env, "--artifact", id];
    let branch = |name: &'static str| ["release", "--env", "dev", "--branch", name];
    let rows: Vec<(Vec<&str>, i32, &str)> = vec![
        (artifact("", "main-1").into(), 2, "--env must contain at least one value"),
        (artifact(" , ", "main-1").into(), 2, "--env must contain at least one value"),
        (artifact("dev,", "main-1").into(), 2, "\"\" is no name of an environment"),
        (artifact("../dev", "main-1").into(), 2, "is no name of an environment"),
        (artifact("dév", "main-1").into(), 2, "is no name of an environment"),
        (artifact("dev,prod,dev", "main-1").into(), 2, "--env names `dev` twice"),
        (artifact("qa", "main-1").into(), 2, "unknown environment: qa"),
        (artifact("qa", "main-1").into(), 2, "hint: there are dev, prod, seen"),
        (artifact("dev", "none").into(), 5, "artifact 'none' not found for service 'web'"),
        (artifact("dev", "other-1").into(), 5, "artifact 'other-1' not found for service 'web'"),
        (artifact("dev", "../main-1").into(), 2, "is not a plain file name"),
        (artifact("prod", "foo-bar-1").into(), 6, "has no manifests for the environment `prod`"),
        // The branch is the whole name, and a blank one is none.
        (branch("foo").into(), 5, "no artifacts available for service 'web' and branch 'foo'"),
        (branch("MAIN").into(), 5, "and branch 'MAIN'"),
        (branch("").into(), 2, "the branch is empty"),
        (branch(" ").into(), 2, "the branch is empty"),
        (branch("%").into(), 5, "and branch '%'"),
        (vec!["release", "--env", "dev"], 2, "--current-branch"),
        (vec!["release", "--env", "dev", "--branch", "main", "--artifact", "main-1"], 2, "cannot be used with"),
        (vec!["release", "--env", "dev", "--branch", "main", "-c"], 2, "cannot be used with"),
        (vec!["release", "--env", "dev", "-c", "--artifact", "main-1"], 2, "cannot be used with"),
        (vec!["promote", "--env", "dev"], 2, "name the other environment with `--from-env`"),
        (vec!["promote", "--env", "prod"], 1, "no release of service 'web' available in environment 'dev'"),
        (vec!["promote", "--env", "prod"], 1, "are you missing a namespace?"),
        (vec!["promote", "--env", "prod", "--from-env", "qa"], 2, "unknown environment: qa"),
        (vec!["promote", "--env", "qa"], 2, "unknown environment: qa"),
        (vec!["rollback", "--env", "prod"], 1, "can't do rollback, because there isn't a release to rollback to"),
        (vec!["rollback", "--env", "dev"], 1, "can't do rollback, because there isn't a release to rollback to"),
        (vec!["rollback", "--env", "qa"], 2, "unknown environment: qa"),
        (vec!["hold", "--env", "qa", "--reason", "x"], 2, "unknown environment: qa"),
        (vec!["hold", "--env", "dev", "--reason", " "], 2, "the reason is empty"),
        (vec!["resume", "--env", "qa"], 2, "unknown environment: qa"),
        (vec!["approve", "--env", "dev", "--artifact", "main-1"], 6, "no policy asks for approvals"),
        (vec!["approve", "--env", "dev", "--artifact", "none"], 5, "artifact 'none' not found"),
        (vec!["explain", "--env", "qa", "--artifact", "main-1"], 2, "unknown environment: qa"),
        (vec!["explain", "--env", "dev", "--artifact", "none"], 5, "artifact 'none' not found"),
        (vec!["describe", "release", "--env", "dev"], 1, "no release of service 'web' available in environment 'dev'"),
        (vec!["describe", "release", "--env", "dev", "--count", "0"], 2, "is not in 1..=200"),
        (vec!["describe", "release", "--id", "rls-none"], 1, "there is no release `rls-none`"),
        (vec!["describe", "latest-artifact", "--branch", "foo"], 5, "and branch 'foo'"),
        (vec!["describe", "latest-artifact", "--branch", ""], 2, "the branch is empty"),
    ];
    for (arguments, code, said) in rows {
        let (ended, told) = managed.refused(&[&arguments[..], &["--service", "web"]].concat());
        assert_eq!(ended, code, "{arguments:?}: {told}");
        assert!(told.contains(said), "{arguments:?} does not say {said:?}: {told}");
    }
    // What is without a reason to fail does not.
    let explained =
        succeed(&mut managed.run(&["explain", "--service", "web", "--env", "prod", "--artifact", "foo-bar-1"]));
    assert!(explained.contains("push an artifact whose payload has a directory of that name"), "{explained}");
    let resumed = succeed(&mut managed.run(&["resume", "--service", "web", "--env", "dev"]));
    assert!(resumed.contains("nothing was held"), "{resumed}");
    assert_eq!(managed.subjects().len(), 1, "nothing of all this was written");
}

#[test]
fn the_manifests_are_those_of_the_artifact_that_was_asked_for_and_not_of_a_later_one() {
    let managed = Managed::new(Kind::Sqlite, "").unwrap();
    managed.push_of("web", "main-1", "main", &["dev", "prod"]);
    managed.push_of("web", "main-2", "main", &["dev"]);
    let release =
        |id: &str| ["release", "--service", "web", "--env", "prod", "--artifact", id, "--wait"].map(str::to_owned);
    let words = release("main-1");
    succeed(&mut managed.run(&words.each_ref().map(String::as_str)));
    let words = release("main-2");
    let (code, said) = managed.refused(&words.each_ref().map(String::as_str));
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("[X] Release of main-2 to prod refused"), "{said}");
    managed.push_of("web", "main-3", "main", &["dev", "prod"]);
    assert_eq!(
        managed.refused(&words.each_ref().map(String::as_str)).0,
        6,
        "main-3 has them, and main-2 still has not"
    );
}

#[test]
fn a_rollback_starts_where_it_can_and_touches_nothing_else() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, "") else { continue };
        let run = |words: &str| succeed(&mut managed.run(&words.split(' ').collect::<Vec<_>>()));
        let refused = |words: &str| managed.refused(&words.split(' ').collect::<Vec<_>>());
        for id in ["main-1", "main-2", "main-3"] {
            managed.push(id, "main");
        }
        managed.push_of("api", "api-1", "main", &["prod"]);
        run("release --service web --env prod --artifact main-1 --wait");
        run("release --service web --env prod --artifact main-2");
        run("release --service api --env prod --artifact api-1 --wait");
        run("release --service web --env prod --artifact main-2 --wait");
        let subjects = managed.subjects();
        for (more, code, said) in [
            ("--to 0", 2, "0 is not in 1..=200"),
            ("--to 99", 2, "there is no release number 99; there are 1"),
            ("--to 1 --artifact main-1", 2, "cannot be used with"),
            ("--artifact main-3", 1, "the artifact 'main-3' isn't found in the last 2 releases"),
            ("--artifact nothing-like-it", 1, "isn't found in the last 2 releases"),
            ("--artifact main-2", 1, "the artifact 'main-2' is what prod has"),
            ("--length 1", 2, "1 is not in 2..=200"),
        ] {
            let (ended, told) = refused(&format!("rollback --service web --env prod {more}"));
            assert_eq!(ended, code, "{more}: {told}");
            assert!(told.contains(said) && !told.contains("[✓]"), "{more}: {told}");
        }
        let asked = run("rollback --service web --env prod --dry-run");
        assert!(asked.starts_with("Rollback of service web to main-1\n"), "{asked}");
        assert_eq!(managed.subjects(), subjects, "nothing was written");
        let output = managed.run(&["rollback", "--service", "web", "--env", "prod", "--wait"]).output().unwrap();
        let told = both(&output);
        assert!(told.contains("[✓] Starting rollback of service web to main-1\n"), "{told}");
        assert!(told.contains("removes main-2: 0123456789 Change main-2"), "{told}");
        // What else was written since then stays.
        assert_eq!(managed.config(&["show", "main:prod/releases/prod/api/deployment.yaml"]), "image: api:api-1\n");
        assert_eq!(managed.config(&["show", "main:prod/releases/prod/web/deployment.yaml"]), "image: web:main-1\n");
        // Two releases back there is what is there now.
        let (code, said) = refused("rollback --service web --env prod --to 2");
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("the artifact 'main-1' is what prod has"), "{said}");
    }
}

#[test]
fn what_waits_is_not_said_to_be_there() {
    let managed = Managed::new(Kind::Sqlite, APPROVAL).unwrap();
    managed.push("main-1", "main");
    let request = ["release", "--service", "web", "--env", "prod", "--artifact", "main-1"];
    let first = succeed(&mut managed.run(&request));
    assert!(first.contains("[✓] Release of main-1 to prod waits for approval (rls-"), "{first}");
    let again = succeed(&mut managed.run(&request));
    assert!(again.contains("[✓] Release of main-1 to prod is on its way already (rls-"), "{again}");
    assert!(again.contains("it is requested; the release to `prod` has 0 of 1 approvals"), "{again}");
    let (code, said) = managed.refused(&[&request[..], &["--wait", "--timeout", "1"]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("process timed out: the release is requested after 1 seconds"), "{said}");
}

#[test]
fn two_who_ask_for_the_same_at_once_get_one_release() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, "") else { continue };
        managed.push("main-1", "main");
        let request = ["release", "--service", "web", "--env", "dev,prod", "--artifact", "main-1", "--wait"];
        let children: Vec<_> = (0..4)
            .map(|_| managed.run(&request).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", both(&output));
        }
        assert_eq!(managed.subjects().len(), 2, "{:?}", managed.subjects());
        let admin = managed.server.admin.clone();
        let releases = managed.server.ask("GET", "/api/v1/releases?service=web", admin.as_deref(), "").is(200).json();
        assert_eq!(releases["releases"].as_array().unwrap().len(), 2, "{releases}");
    }
}

#[test]
fn what_failed_is_still_there_and_is_gone_back_from() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, OBSERVED) else { continue };
        let on = ["--service", "web"];
        let run = |arguments: &[&str]| succeed(&mut managed.run(&[arguments, &on].concat()));
        for id in ["main-1", "main-2"] {
            managed.push_of("web", id, "main", &EVERYWHERE);
        }
        run(&["release", "--env", "seen", "--artifact", "main-1"]);
        until(&managed, "web", "seen", ("main-1", "pushed"));
        runs(&managed, "main-1", 1);
        until(&managed, "web", "seen", ("main-1", "applying"));
        runs(&managed, "main-1", 2);
        until(&managed, "web", "seen", ("main-1", "healthy"));
        let request = ["release", "--service", "web", "--env", "seen", "--artifact", "main-2", "--wait"];
        let waiting = managed.run(&request).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until(&managed, "web", "seen", ("main-2", "pushed"));
        // A late word of the one before changes nothing.
        fails(&managed, "main-1");
        fails(&managed, "main-2");
        let output = waiting.wait_with_output().unwrap();
        let said = both(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("[X] main-2 in seen: failed: web-1 fails: web CrashLoopBackOff: exit 1"), "{said}");
        assert!(said.contains("`consign rollback` goes back"), "{said}");
        let status = run(&["status"]);
        assert!(status.contains("main-2") && status.contains("failed"), "{status}");
        assert!(status.contains("CrashLoopBackOff"), "the status says why: {status}");
        let (code, said) = managed.refused(&["promote", "--service", "web", "--env", "dev", "--from-env", "seen"]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("'main-2' failed in environment 'seen', and is not promoted"), "{said}");
        // What failed once may be tried again.
        let again = run(&["release", "--env", "seen", "--artifact", "main-2", "--dry-run"]);
        assert!(again.contains("would be accepted"), "{again}");
        run(&["rollback", "--env", "seen"]);
        until(&managed, "web", "seen", ("main-1", "pushed"));
        assert!(managed.subjects()[0].starts_with("[seen/web] rollback main-1"), "{:?}", managed.subjects());
        let history = run(&["describe", "releases", "--env", "seen", "--count", "3"]);
        assert!(history.contains("rollback of main-2"), "{history}");
        managed.place.sound();
    }
}

#[test]
fn flux_tells_of_everything_that_a_revision_has_in_it() {
    let other = "[[environment]]\nname = \"far\"\nobserved = true\n";
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, &format!("{OBSERVED}{other}")) else { continue };
        let services = ["api", "db", "web"];
        for service in services {
            managed.push_of(service, &format!("{service}-1"), "main", &["seen", "far"]);
        }
        for service in services {
            let id = format!("{service}-1");
            succeed(&mut managed.run(&["release", "--service", service, "--env", "seen,far", "--artifact", &id]));
        }
        for service in services {
            for environment in ["seen", "far"] {
                until(&managed, service, environment, (&format!("{service}-1"), "pushed"));
            }
        }
        let head = managed.config(&["rev-parse", "main"]).trim().to_owned();
        let says = |name: &str, severity: &str, reason: &str, environment: Option<&str>, path: &str| {
            let revision = if name == "api" { format!("main/{head}") } else { format!("main@sha1:{head}") };
            tell(&managed, path, &flux(name, severity, reason, &revision, environment)).is(200);
        };
        // Nobody is told of another commit, and of nothing but a commit.
        let stranger =
            flux("web", "info", "ReconciliationSucceeded", &format!("main@sha1:{}", "1".repeat(40)), Some("seen"));
        tell(&managed, "/webhook/flux", &stranger).is(200);
        // Each object is about the service that it is named after, in its own cluster.
        says("api", "info", "ReconciliationSucceeded", Some("seen"), "/webhook/flux");
        until(&managed, "api", "seen", ("api-1", "healthy"));
        says("db", "info", "Progressing", None, "/webhook/flux?env=seen");
        until(&managed, "db", "seen", ("db-1", "applying"));
        assert_eq!(place(&managed, "web", "seen")["live"]["state"], "pushed");
        // A word for failing is one, whatever it is said with.
        says("web", "info", "HealthCheckFailed", Some("seen"), "/webhook/flux");
        until(&managed, "web", "seen", ("web-1", "failed"));
        // One for all of them; what has come to its end stays.
        says("flux-system", "info", "ReconciliationSucceeded", Some("seen"), "/webhook/flux");
        until(&managed, "db", "seen", ("db-1", "healthy"));
        until(&managed, "web", "seen", ("web-1", "failed"));
        for service in services {
            until(&managed, service, "far", (&format!("{service}-1"), "pushed"));
        }
        let (code, said) = managed.refused(&[
            "release",
            "--service",
            "web",
            "--env",
            "far",
            "--artifact",
            "web-1",
            "--wait",
            "--timeout",
            "0",
        ]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("process timed out"), "{said}");
        says("all", "error", "ReconciliationFailed", Some("far"), "/webhook/flux");
        for service in services {
            until(&managed, service, "far", (&format!("{service}-1"), "failed"));
        }
    }
}

#[test]
fn a_revision_that_is_somebody_else_s_commit_has_what_it_stands_on() {
    let managed = Managed::new(Kind::Sqlite, OBSERVED).unwrap();
    let released = |service: &str, id: &str| {
        managed.push_with(service, id, &["seen"], |_| {});
        succeed(&mut managed.run(&["release", "--service", service, "--env", "seen", "--artifact", id]));
        until(&managed, service, "seen", (id, "pushed"));
    };
    let stranger = |text: &str| {
        let tree = managed.config(&["rev-parse", "main^{tree}"]);
        let person = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"];
        let commit = [&person[..], &["commit-tree", tree.trim(), "-p", "main", "-m", text]].concat();
        let commit = managed.config(&commit).trim().to_owned();
        managed.config(&["update-ref", "refs/heads/main", &commit]);
        commit
    };
    let says = |name: &str, commit: &str, environment: Option<&str>| {
        let revision = format!("main@sha1:{commit}");
        let said = flux(name, "info", "ReconciliationSucceeded", &revision, environment);
        tell(&managed, "/webhook/flux", &said).is(200);
    };
    released("web", "web-1");
    let first = stranger("something else");
    says("all", &first, Some("seen"));
    until(&managed, "web", "seen", ("web-1", "healthy"));
    released("web", "web-2");
    let second = stranger("something else again");
    // What is said of an older commit is said of nothing that came later, what is no commit says nothing, and which
    // of several environments has come to one nobody can know.
    says("all", &first, Some("seen"));
    says("all", &"1".repeat(40), Some("seen"));
    says("all", &second, Some("dev"));
    says("all", &second, None);
    // All that has been looked at when this one has.
    released("db", "db-1");
    says("db", managed.config(&["rev-parse", "main"]).trim(), Some("seen"));
    until(&managed, "db", "seen", ("db-1", "healthy"));
    assert_eq!(place(&managed, "web", "seen")["live"]["state"], "pushed");
    says("all", &second, Some("seen"));
    until(&managed, "web", "seen", ("web-2", "healthy"));
}

#[test]
fn what_failed_goes_with_its_branch() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, OBSERVED) else { continue };
        let file = managed.home.path().join("policy.json");
        fs_err::write(&file, r#"{"kind":"cleanup","environment":"seen","branch":"feature/*"}"#).unwrap();
        succeed(&mut managed.run(&["policy", "apply", "file", "--service", "web", file.as_str()]));
        managed.push_with("web", "feature-1", &["seen"], |record| {
            record["source"]["branch"] = "feature/x".into();
            record["source"]["repository"] = "https://github.com/example/web".into();
        });
        succeed(&mut managed.run(&["release", "--service", "web", "--env", "seen", "--artifact", "feature-1"]));
        until(&managed, "web", "seen", ("feature-1", "pushed"));
        fails(&managed, "feature-1");
        until(&managed, "web", "seen", ("feature-1", "failed"));
        let body = json!({ "ref": "refs/heads/feature/x", "before": "1".repeat(40), "after": "0".repeat(40), "deleted": true,
            "repository": { "full_name": "example/web" } });
        let text = body.to_string();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes());
        let signature = format!("sha256={}", HEXLOWER.encode(tag.as_ref()));
        let headers = [
            ("x-hub-signature-256", signature.as_str()),
            ("x-github-event", "push"),
            ("x-github-delivery", "one"),
            ("content-type", "application/json"),
        ];
        managed.server.ask_with("POST", "/webhook/github", None, &headers, text).is(200);
        let mut left = Value::Null;
        for _ in 0..300 {
            left = place(&managed, "web", "seen");
            if left["live"].is_null() {
                break;
            }
        }
        assert!(left["live"].is_null(), "{left}");
        assert!(!managed.config(&["ls-tree", "-r", "--name-only", "main"]).contains("seen/releases"));
        managed.place.sound();
    }
}
