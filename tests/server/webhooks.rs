//! What others tell the server, sent as they would and as somebody would who is not them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use consign::store::{Change, NewEvent, Store};
use data_encoding::HEXLOWER;
use ring::hmac;
use serde_json::{Value, json};

use crate::place::{Answer, Kind, Place, Running};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn place(kind: Kind) -> Option<Place> {
    let mut place = Place::new(kind, &[])?;
    for sender in ["GITHUB", "FLUX", "DAEMON"] {
        place.variable(&format!("CONSIGN_WEBHOOK_{sender}_SECRET"), SECRET);
    }
    Some(place)
}

fn signature(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    format!("sha256={}", HEXLOWER.encode(tag.as_ref()))
}

fn push(reference: &str) -> String {
    json!({ "ref": reference, "before": "0".repeat(40), "after": "1".repeat(40), "created": false, "deleted": false,
        "repository": { "full_name": "example/web" }, "commits": [] })
    .to_string()
}

struct Github<'a> {
    server: &'a Running,
}

impl Github<'_> {
    fn with(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        self.server.ask_with("POST", "/webhook/github", None, headers, body)
    }

    fn sends(&self, event: &str, delivery: &str, body: &str) -> Answer {
        let signature = signature(SECRET, body.as_bytes());
        let headers = [
            ("x-hub-signature-256", signature.as_str()),
            ("x-github-event", event),
            ("x-github-delivery", delivery),
            ("content-type", "application/json"),
        ];
        self.with(&headers, body)
    }
}

fn result(answer: Answer) -> String {
    answer.is(200).json()["result"].as_str().unwrap().to_owned()
}

fn log(server: &Running) -> Vec<Value> {
    let leaves = server.ask("GET", "/api/v1/audit/leaves?limit=1000", server.admin.as_deref(), "").is(200).json();
    let leaves = leaves["leaves"].as_array().unwrap().clone();
    leaves.iter().map(|leaf| serde_json::from_str(leaf.as_str().unwrap()).unwrap()).collect()
}

#[test]
fn without_a_secret_there_is_no_endpoint() {
    let server = Place::new(Kind::Sqlite, &[]).unwrap().start();
    for path in ["github", "flux", "daemon/k8s/deploy", "daemon/k8s/error", "daemon/k8s/joberror"] {
        for method in ["GET", "POST"] {
            let admin = server.admin.as_deref();
            server.ask(method, &format!("/webhook/{path}"), admin, "{}").refuses(404, "route_unknown");
        }
    }
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    place.variable("CONSIGN_WEBHOOK_FLUX_SECRET", "short");
    let output = place.command(&["check-config", "--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn an_event_counts_once_on_every_database() {
    for place in Kind::ALL.into_iter().filter_map(place) {
        let server = place.start();
        let github = Github { server: &server };
        let body = push("refs/heads/main");
        assert_eq!(result(github.sends("push", "delivery-1", &body)), "taken");
        assert_eq!(result(github.sends("push", "delivery-1", &body)), "known", "delivered again");
        assert_eq!(result(github.sends("push", "delivery-2", &body)), "known", "sent again under another name");
        assert_eq!(
            result(github.sends("push", "delivery-1", &push("refs/heads/other"))),
            "known",
            "one name, two events"
        );
        assert_eq!(result(github.sends("push", "delivery-3", &push("refs/heads/topic"))), "taken");
        assert_eq!(result(github.sends("ping", "delivery-4", r#"{"zen":"x"}"#)), "ignored");
        assert_eq!(result(github.sends("star", "delivery-5", "{}")), "ignored");
        let entries: Vec<_> = log(&server).into_iter().filter(|entry| entry["verb"] == "event.receive").collect();
        let notes: Vec<_> = entries.iter().map(|entry| entry["note"].as_str().unwrap()).collect();
        assert_eq!(notes, ["example/web: refs/heads/main moved", "example/web: refs/heads/topic moved"]);
        assert!(entries.iter().all(|entry| entry["subject"] == "webhook:github"));
        // Many at once are still one.
        let again = push("refs/heads/race");
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    scope.spawn({
                        let (github, again) = (&github, &again);
                        move || result(github.sends("push", &format!("race-{number}"), again))
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| *result == "taken").count(), 1, "{results:?}");
        server.stop();
        place.sound();
        assert_eq!(
            result(Github { server: &place.start() }.sends("push", "delivery-9", &again)),
            "known",
            "after a restart"
        );
    }
}

#[test]
fn whoever_has_not_the_secret_is_not_listened_to() {
    let place = place(Kind::Sqlite).unwrap();
    let server = place.start();
    let github = Github { server: &server };
    let body = push("refs/heads/main");
    let good = signature(SECRET, body.as_bytes());
    let sha1 = format!(
        "sha1={}",
        HEXLOWER.encode(
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes()), body.as_bytes())
                .as_ref()
        )
    );
    let named = |header: &'static str, value: &str, body: &str| {
        let headers = [
            (header, value),
            ("x-github-event", "push"),
            ("x-github-delivery", "a"),
            ("content-type", "application/json"),
        ];
        github.with(&headers, body)
    };
    named("x-hub-signature", &sha1, &body).refuses(401, "unauthenticated");
    named("x-hub-signature-256", &sha1, &body).refuses(401, "unauthenticated");
    named("x-hub-signature-256", &good.replace("sha256=", ""), &body).refuses(401, "unauthenticated");
    named("x-hub-signature-256", &signature("another secret of ours", body.as_bytes()), &body)
        .refuses(401, "unauthenticated");
    // The same document, written in another way.
    let rewritten = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&body).unwrap()).unwrap();
    named("x-hub-signature-256", &good, &rewritten).refuses(401, "unauthenticated");
    named("x-hub-signature-256", &good, "").refuses(401, "unauthenticated");
    github.with(&[("x-github-event", "ping")], "{}").refuses(401, "unauthenticated");
    // An administrator's token opens no webhook.
    let admin = server.admin.as_deref();
    server.ask("POST", "/webhook/github", admin, body.clone()).refuses(401, "unauthenticated");
    server.ask("POST", "/webhook/daemon/k8s/deploy", admin, "{}").refuses(401, "unauthenticated");
    server.ask("POST", "/webhook/daemon/k8s/deploy", Some("canary"), "{}").refuses(401, "unauthenticated");
    server.ask("POST", "/webhook/flux", Some(SECRET), "{}").refuses(401, "unauthenticated");
    assert_eq!(log(&server).len(), 1, "nothing but the first token");
    assert_eq!(result(named("x-hub-signature-256", &good, &body)), "taken");
}

#[test]
fn what_is_signed_and_makes_no_sense_is_refused_and_harms_nobody() {
    let place = place(Kind::Sqlite).unwrap();
    let server = place.start();
    let github = Github { server: &server };
    for body in ["", "null", "[]", "{}", r#"{"ref":1}"#, "\u{feff}{}", &"[".repeat(200_000), &"{\"a\":".repeat(100_000)]
    {
        github.sends("push", "a", body).refuses(400, "request_invalid");
    }
    let body = push("refs/heads/main");
    for delivery in ["", "a b", &"x".repeat(101), "../../etc"] {
        github.sends("push", delivery, &body).refuses(400, "request_invalid");
    }
    let signature = signature(SECRET, body.as_bytes());
    let form = [
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-event", "push"),
        ("x-github-delivery", "a"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    github.with(&form, &body).refuses(400, "request_invalid");
    let twice =
        [("x-hub-signature-256", signature.as_str()), ("x-hub-signature-256", "sha256=00"), ("x-github-event", "push")];
    github.with(&twice, &body).refuses(400, "request_invalid");
    // What GitHub signs may still say strange things.
    let strange = json!({ "ref": "refs/heads/\u{0}\u{1b}]0;x\u{7}<img onerror=x>", "after": "x".repeat(10_000), "repository": { "full_name": "a\nb" } });
    assert_eq!(result(github.sends("push", "strange", &strange.to_string())), "taken");
    let note = log(&server).last().unwrap()["note"].as_str().unwrap().to_owned();
    assert!(!note.chars().any(char::is_control), "{note:?}");
}

#[test]
fn a_body_without_an_end_is_cut_off_before_anything_is_parsed() {
    let place = place(Kind::Sqlite).unwrap();
    let server = place.start();
    let address = server.address.strip_prefix("http://").unwrap();
    for head in ["content-length: 1073741824", "transfer-encoding: chunked"] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /webhook/github HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: sha256={}\r\n{head}\r\n\r\n",
            "0".repeat(64)
        )
        .unwrap();
        let piece = vec![b'['; 64 << 10];
        let mut sent = 0_usize;
        // Until the other side has had enough.
        while sent < 1 << 30 {
            let framed = if head.starts_with("transfer") {
                [b"10000\r\n", piece.as_slice(), b"\r\n"].concat()
            } else {
                piece.clone()
            };
            if stream.write_all(&framed).is_err() {
                break;
            }
            sent += piece.len();
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(sent < 256 << 20, "{sent} bytes were taken");
        // The connection may be gone before the answer is read.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    server.ask("GET", "/healthz", None, "").is(200);
    let large = "x".repeat((8 << 20) + 1);
    Github { server: &server }.sends("push", "a", &large).refuses(413, "file_too_large");
}

#[test]
fn flux_and_the_daemons_of_clusters_are_heard() {
    let place = place(Kind::Sqlite).unwrap();
    let server = place.start();
    let send = |path: &str, header: (&str, &str), body: &str| server.ask_with("POST", path, None, &[header], body);
    // As the notification controller writes it.
    let flux = json!({ "involvedObject": { "kind": "Kustomization", "namespace": "flux-system", "name": "web", "uid": "1", "apiVersion": "kustomize.toolkit.fluxcd.io/v1" },
        "severity": "info", "timestamp": "2026-01-02T03:04:05Z", "message": "Reconciliation finished", "reason": "ReconciliationSucceeded",
        "metadata": { "kustomize.toolkit.fluxcd.io/revision": "main@sha1:0123" }, "reportingController": "kustomize-controller", "reportingInstance": "x" }).to_string();
    let signed = signature(SECRET, flux.as_bytes());
    assert_eq!(result(send("/webhook/flux", ("x-signature", &signed), &flux)), "taken");
    assert_eq!(result(send("/webhook/flux", ("x-signature", &signed), &flux)), "known");
    send("/webhook/flux", ("x-signature", &signed), &flux.replace("info", "error")).refuses(401, "unauthenticated");
    let bearer = format!("Bearer {SECRET}");
    let deploy =
        json!({ "name": "web", "namespace": "prod", "resourceType": "Deployment", "availablePods": 2, "replicas": 2,
        "artifactId": "main-0123456789-1", "authorEmail": "a@example.com", "squad": "s", "environment": "prod" })
        .to_string();
    for _ in 0..2 {
        // A workload may come back that had failed meanwhile: what is not signed is not taken for a copy.
        assert_eq!(result(send("/webhook/daemon/k8s/deploy", ("authorization", &bearer), &deploy)), "taken");
    }
    let pod = json!({ "podName": "web-1", "namespace": "prod", "errors": [{ "name": "web", "message": "x", "type": "CrashLoopBackOff" }],
        "authorEmail": "a@example.com", "environment": "prod", "artifactId": "main-0123456789-1", "squad": "s", "alertSquad": "" }).to_string();
    assert_eq!(result(send("/webhook/daemon/k8s/error", ("authorization", &bearer), &pod)), "taken");
    let job = json!({ "jobName": "migrate", "namespace": "prod", "errors": [{ "reason": "BackoffLimitExceeded", "message": "x" }], "environment": "prod", "artifactId": "a" }).to_string();
    let signed = signature(SECRET, job.as_bytes());
    assert_eq!(result(send("/webhook/daemon/k8s/joberror", ("x-signature", &signed), &job)), "taken");
    assert_eq!(result(send("/webhook/daemon/k8s/joberror", ("x-signature", &signed), &job)), "known");
    send("/webhook/daemon/k8s/deploy", ("authorization", &bearer), &job).refuses(400, "request_invalid");
    let notes: Vec<_> = log(&server).iter().skip(1).map(|entry| entry["note"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        notes,
        [
            "Kustomization flux-system/web: info ReconciliationSucceeded",
            "prod: prod/web runs main-0123456789-1",
            "prod: prod/web runs main-0123456789-1",
            "pod prod: prod/web-1 of main-0123456789-1 fails",
            "job prod: prod/migrate of a fails",
        ]
    );
}

#[test]
fn an_event_waits_until_somebody_has_handled_it() {
    for place in Kind::ALL.into_iter().filter_map(|kind| Place::new(kind, &[])) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(&place.store()).await.unwrap();
            let at = consign::world::clock::now();
            let change = Change {
                at,
                subject: "webhook:flux".to_owned(),
                verb: "event.receive",
                object: "x".to_owned(),
                sha256: None,
                note: None,
            };
            let event = |delivery: Option<&str>, payload: &str| NewEvent {
                source: "flux",
                delivery: delivery.map(str::to_owned),
                sha256: None,
                kind: "flux",
                service: Some("web".to_owned()),
                payload: payload.to_owned(),
            };
            assert!(store.next_event(None).await.unwrap().is_none());
            assert!(store.add_event(&event(None, "one"), &change).await.unwrap());
            assert!(store.add_event(&event(None, "two"), &change).await.unwrap());
            assert!(store.add_event(&event(Some("a"), "three"), &change).await.unwrap());
            assert!(!store.add_event(&event(Some("a"), "four"), &change).await.unwrap());
            let first = store.next_event(None).await.unwrap().unwrap();
            assert_eq!((first.payload.as_str(), first.service.as_deref()), ("one", Some("web")));
            assert_eq!(store.next_event(None).await.unwrap().unwrap(), first);
            let second = store.next_event(Some(first.sequence)).await.unwrap().unwrap();
            assert_eq!(second.payload, "two");
            assert!(store.event_handled(first.sequence, at).await.unwrap());
            assert!(!store.event_handled(first.sequence, at).await.unwrap(), "one of two is the first");
            assert_eq!(store.next_event(None).await.unwrap().unwrap(), second);
            // What was handled is forgotten after a while, and what was not, never.
            let later = at + jiff::SignedDuration::from_secs(1);
            assert_eq!(store.forget_events(at).await.unwrap(), 0);
            assert_eq!(store.forget_events(later).await.unwrap(), 1);
            assert_eq!(store.next_event(None).await.unwrap().unwrap(), second);
            store.close().await;
        });
    }
}
