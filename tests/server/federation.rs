//! Tokens of another issuer, whose keys a small server of the test publishes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::place::{Kind, Place, consign, record};
use crate::support::{Scratch, succeed};

struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { id, pair }
    }

    fn published(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": self.id, "x": text(&point[1..33]), "y": text(&point[33..]) }] })
    }

    fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": self.id })), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

/// Publishes keys, and counts who asks for them.
struct Issuer {
    url: String,
    published: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn new(key: &Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let published = Arc::new(Mutex::new(key.published().to_string()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (text, count) = (Arc::clone(&published), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                count.fetch_add(1, Ordering::Relaxed);
                let body = text.lock().unwrap().clone();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { url, published, asked }
    }

    fn publish(&self, key: &Key) {
        *self.published.lock().unwrap() = key.published().to_string();
    }

    /// A place whose servers believe it.
    fn place(&self) -> Place {
        let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
        let file = format!(
            "[[issuer]]\nname = \"ci\"\nurl = \"{0}\"\naudience = \"consign\"\njwks = \"{0}/jwks\"\n\
             [[issuer.rule]]\nclaims = {{ repository = \"o/web\", ref = \"refs/heads/main\" }}\ngrants = \"push:web\"\n",
            self.url
        );
        let path = place.scratch.write("issuers.toml", file);
        place.option("--issuers", path.as_str());
        place
    }

    fn claims(&self) -> Value {
        let now = consign::world::clock::now().as_second();
        json!({ "iss": self.url, "aud": "consign", "sub": "repo:o/web", "repository": "o/web", "ref": "refs/heads/main", "iat": now, "exp": now + 300 })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }
}

#[test]
fn a_build_pushes_with_the_token_of_its_own_run_and_nothing_else() {
    let key = Key::new("one");
    let issuer = Issuer::new(&key);
    let place = issuer.place();
    let server = place.start();
    let push = |service: &str, token: &str| {
        server.ask("POST", "/api/v1/artifacts", Some(token), record(service, "one").to_string())
    };
    let shown = push("web", &key.token(&issuer.claims())).is(201).json();
    assert_eq!(shown["pushed_by"], "ci:repo:o/web");
    push("api", &key.token(&issuer.claims())).refuses(403, "forbidden");
    let now = consign::world::clock::now().as_second();
    for claims in [
        issuer.with("aud", json!("another")),
        issuer.with("aud", Value::Null),
        issuer.with("iss", json!("https://another.example")),
        issuer.with("exp", json!(now - 10)),
        issuer.with("exp", Value::Null),
        issuer.with("nbf", json!(now + 100)),
    ] {
        push("web", &key.token(&claims)).refuses(401, "unauthenticated");
    }
    // Whoever no rule is about is known, and may do nothing.
    for claims in [
        issuer.with("repository", json!("o/other")),
        issuer.with("ref", json!("refs/heads/maint")),
        issuer.with("ref", Value::Null),
    ] {
        push("web", &key.token(&claims)).refuses(403, "forbidden");
    }
    let stranger = Key::new("one");
    push("web", &stranger.token(&issuer.claims())).refuses(401, "unauthenticated");
    let good = key.token(&issuer.claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    push("web", &format!("{signed}.")).refuses(401, "unauthenticated");
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_key_that_is_replaced_is_fetched_once_and_a_flood_of_unknown_ones_is_not() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::new(&old);
    let place = issuer.place();
    let server = place.start();
    let whoami = |token: &str| server.ask("GET", "/api/v1/whoami", Some(token), "").status;
    assert_eq!(whoami(&old.token(&issuer.claims())), 200);
    issuer.publish(&new);
    assert_eq!(whoami(&old.token(&issuer.claims())), 200, "keys are not fetched for every token");
    assert_eq!(whoami(&new.token(&issuer.claims())), 200);
    assert_eq!(whoami(&old.token(&issuer.claims())), 401);
    let unknown = Key::new("unknown");
    for _ in 0..20 {
        assert_eq!(whoami(&unknown.token(&issuer.claims())), 401);
    }
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 2);
}

#[test]
fn keys_that_cannot_be_fetched_are_no_reason_to_let_somebody_in() {
    let key = Key::new("one");
    let issuer = Issuer::new(&key);
    *issuer.published.lock().unwrap() = "<html>".to_owned();
    let place = issuer.place();
    let server = place.start();
    let ask = || server.ask("GET", "/api/v1/whoami", Some(&key.token(&issuer.claims())), "");
    ask().refuses(503, "store_unavailable");
    issuer.publish(&key);
    ask().is(200);
    *issuer.published.lock().unwrap() = r#"{"keys":[]}"#.to_owned();
    ask().is(200);
}

/// A forge that gives a token to whoever runs there, and tells what it was asked.
fn forge(token: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token?api-version=2.0", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            heard.lock().unwrap().push(head.join("\n"));
            let body = json!({ "value": token }).to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    (url, asked)
}

#[test]
fn a_run_of_a_workflow_needs_no_secret_of_ours() {
    let key = Key::new("one");
    let issuer = Issuer::new(&key);
    let place = issuer.place();
    let server = place.start();
    let home = Scratch::new();
    let (url, asked) = forge(key.token(&issuer.claims()));
    let run = |arguments: &[&str]| {
        let mut command = consign(home.path(), &server, arguments);
        command.env("ACTIONS_ID_TOKEN_REQUEST_URL", &url).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-of-the-run");
        command
    };
    succeed(&mut run(&["artifact", "create", "--service", "web", "--id", "one", "--sha", "0123456789"]));
    let pushed = succeed(run(&["artifact", "push", "--format", "json"]).env("CONSIGN_AUDIENCE", "consign"));
    assert!(pushed.contains("ci:repo:o/web") && !pushed.contains("canary"), "{pushed}");
    succeed(&mut run(&["artifact", "list"]));
    let heard = asked.lock().unwrap().clone();
    assert!(heard[0].starts_with("GET /token?api-version=2.0&audience=consign HTTP/1.1\n"), "{}", heard[0]);
    assert!(heard[0].to_lowercase().contains("authorization: bearer canary-of-the-run"));
    // Where nobody says otherwise the token is for this server and for no other.
    let own = consign::world::http::exchange::escaped(&server.address);
    assert!(heard[1].contains(&format!("&audience={own} ")), "{}", heard[1]);
    // A token that was given goes before.
    let given = run(&["artifact", "list"]).env("CONSIGN_TOKEN", "rel_wrong").output().unwrap();
    assert_eq!(given.status.code(), Some(6));
    assert_eq!(asked.lock().unwrap().len(), 2);
}
