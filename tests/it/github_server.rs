//! A stand-in for GitHub: the documented behaviour of its releases, as far as publishing meets it.
//!
//! Drafts are not found by their tag, a file name is taken only once, published releases may be
//! immutable, lists come in pages, bytes lie with somebody else who must not see the token, and answers
//! get lost. It checks what it is sent and records every request. It is a stand-in, and not GitHub.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};

use consign::model::Digest;
use serde_json::{Value, json};

use crate::github_git::Git;
use crate::http::{Request, Server, answer, send};

/// The token that is let in.
pub const TOKEN: &str = "canary-token-of-the-tests";
/// The repository that there is.
pub const REPOSITORY: &str = "owner/tool";

/// The files of a release by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The stand-in, for as long as it lives.
pub struct GitHub {
    pub world: Arc<World>,
    pub api: Server,
    pub web: Server,
    _others: [Server; 2],
}

/// What all of its doors share.
pub struct World {
    pub state: Mutex<State>,
    doors: OnceLock<Doors>,
    in_flight: AtomicUsize,
    arrived: Condvar,
    gate: Gate,
}

struct Doors {
    api: String,
    uploads: String,
    web: String,
    storage: String,
}

/// Everything that it knows.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that one test turns")]
pub struct State {
    /// Tags: the kind of what they point to (`commit`, `tag`), and its id.
    pub tags: BTreeMap<String, (String, String)>,
    /// Annotated tags by their id: what they point to.
    pub tag_objects: BTreeMap<String, (String, String)>,
    pub releases: Vec<Release>,
    /// Whether published releases are immutable; nothing: the token may not ask.
    pub immutable: Option<bool>,
    /// Tags that an immutable release had.
    pub burned: BTreeSet<String>,
    pub private: bool,
    pub may_push: bool,
    pub tells_digests: bool,
    pub page_size: usize,
    /// Whether bytes come from the API itself.
    pub serves_bytes_itself: bool,
    /// Where uploads are to be sent, if not to the stand-in's own door.
    pub upload_door: Option<String>,
    pub faults: Vec<Fault>,
    /// What git knows of the repository.
    pub git: Git,
    /// Every request is turned down from this one on.
    pub dead_from: Option<usize>,
    /// What a release has to hold whenever it can be seen.
    pub whole: Option<Files>,
    /// Every request, in order.
    pub log: Vec<Seen>,
    /// What no client should do.
    pub violations: Vec<String>,
    /// So many uploads wait for each other before the first is taken.
    pub party: usize,
    /// The most uploads that were under way at a time.
    pub most_uploads: usize,
    next_id: u64,
}

/// A release, published or not.
#[derive(Clone, Debug)]
pub struct Release {
    pub id: u64,
    pub tag: String,
    pub name: String,
    pub body: String,
    pub draft: bool,
    pub prerelease: bool,
    pub make_latest: String,
    pub assets: Vec<Stored>,
}

/// A file of a release.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: u64,
    pub name: String,
    pub state: &'static str,
    pub bytes: Vec<u8>,
}

/// A request that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub door: &'static str,
    pub method: String,
    pub path: String,
    /// The name of the file that was sent.
    pub name: String,
    pub status: u16,
}

/// Something that goes wrong once, with a request that has these words in it.
#[derive(Clone, Debug)]
pub struct Fault {
    pub method: &'static str,
    pub path: &'static str,
    pub harm: Harm,
}

#[derive(Clone, Debug)]
pub enum Harm {
    /// It is not carried out, and this is the answer: status, headers, document.
    Answer(&'static str, String, Value),
    /// It is not carried out, and the connection breaks.
    Lost,
    /// It is carried out, and the connection breaks.
    LostAnswer,
    /// It is carried out, and a gateway says that it was not.
    BadGateway,
    /// An upload leaves a file without an end.
    Starter,
    /// Somebody else changes something first.
    Meanwhile(fn(&mut State)),
}

/// Where a request is held until somebody has been killed.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    /// The number of the request, and whether it is carried out before it is held.
    at: Option<(usize, bool)>,
    is_reached: bool,
}

impl GitHub {
    pub fn start() -> Self {
        let world = Arc::new(World {
            state: Mutex::new(State {
                tags: BTreeMap::new(),
                tag_objects: BTreeMap::new(),
                releases: Vec::new(),
                immutable: Some(false),
                burned: BTreeSet::new(),
                private: false,
                may_push: true,
                tells_digests: true,
                page_size: 100,
                serves_bytes_itself: false,
                upload_door: None,
                faults: Vec::new(),
                git: Git::default(),
                dead_from: None,
                whole: None,
                log: Vec::new(),
                violations: Vec::new(),
                party: 0,
                most_uploads: 0,
                next_id: 100,
            }),
            doors: OnceLock::new(),
            in_flight: AtomicUsize::new(0),
            arrived: Condvar::new(),
            gate: Gate::default(),
        });
        let open = |door: &'static str| {
            let world = Arc::clone(&world);
            Server::start(move |request, stream| world.serve(door, request, stream))
        };
        let (api, uploads, web, storage) = (open("api"), open("uploads"), open("web"), open("storage"));
        let url = |server: &Server| server.url("").trim_end_matches('/').to_owned();
        let doors = Doors { api: url(&api), uploads: url(&uploads), web: url(&web), storage: url(&storage) };
        assert!(world.doors.set(doors).is_ok());
        Self { world, api, web, _others: [uploads, storage] }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.world.state.lock().unwrap()
    }

    /// Fails once, with the next request that fits.
    pub fn fault(&self, method: &'static str, path: &'static str, harm: Harm) {
        self.state().faults.push(Fault { method, path, harm });
    }

    /// The files of the published release of a tag. There is never more than one.
    pub fn visible(&self, tag: &str) -> Option<Files> {
        let state = self.state();
        let found: Vec<_> = state.releases.iter().filter(|release| release.tag == tag && !release.draft).collect();
        assert!(found.len() <= 1, "{tag} is released {} times", found.len());
        found.first().map(|release| release.files())
    }

    /// Every request so far that changes something, and was carried out.
    pub fn writes(&self) -> Vec<String> {
        let state = self.state();
        let writes = state.log.iter().filter(|seen| seen.method != "GET" && seen.status < 300);
        writes.map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    /// Holds the request of this number, before or after it is carried out.
    pub fn hold(&self, number: Option<(usize, bool)>) {
        let mut gate = self.world.gate.state.lock().unwrap();
        *gate = GateState { at: number, is_reached: false };
        self.world.gate.changed.notify_all();
    }

    /// Whether the request that is held has come.
    pub fn is_held(&self) -> bool {
        self.world.gate.state.lock().unwrap().is_reached
    }

    /// Fails if the client did anything that no client should.
    pub fn check(&self) {
        assert_eq!(self.state().violations, [""; 0]);
    }
}

impl Release {
    pub fn files(&self) -> Files {
        self.assets.iter().map(|asset| (asset.name.clone(), asset.bytes.clone())).collect()
    }
}

impl State {
    pub fn tag(&mut self, name: &str, commit: &str) {
        self.tags.insert(name.into(), ("commit".into(), commit.into()));
    }

    /// Puts a release there, as somebody else would.
    pub fn put(&mut self, tag: &str, draft: bool, body: &str, files: Files) -> u64 {
        let id = self.id();
        let assets = files.into_iter().map(|(name, bytes)| Stored { id: self.id(), name, state: "uploaded", bytes });
        let assets = assets.collect();
        let (name, body) = (tag.to_owned(), body.to_owned());
        let make_latest = "legacy".to_owned();
        self.releases.push(Release { id, tag: tag.into(), name, body, draft, prerelease: false, make_latest, assets });
        id
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// What a stranger sees is whole, at every moment.
    fn look_as_a_stranger(&mut self) {
        let Some(whole) = &self.whole else { return };
        for release in self.releases.iter().filter(|release| !release.draft) {
            if release.assets.iter().any(|asset| asset.state != "uploaded") || release.files() != *whole {
                let names: Vec<_> = release.assets.iter().map(|asset| asset.name.as_str()).collect();
                self.violations.push(format!("`{}` can be seen with {names:?}", release.tag));
            }
        }
    }
}

/// One answer.
struct Reply {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(status: &'static str, document: &Value) -> Self {
        let headers = "Content-Type: application/json; charset=utf-8\r\n".to_owned();
        Self { status, headers, body: serde_json::to_vec(document).unwrap() }
    }

    fn not_found() -> Self {
        Self::json("404 Not Found", &json!({ "message": "Not Found" }))
    }

    fn invalid(message: &str, code: &str, field: &str) -> Self {
        let error = json!({ "resource": "Release", "code": code, "field": field });
        Self::json("422 Unprocessable Entity", &json!({ "message": message, "errors": [error] }))
    }

    fn empty() -> Self {
        Self { status: "204 No Content", headers: String::new(), body: Vec::new() }
    }

    fn redirect(to: &str) -> Self {
        Self { status: "302 Found", headers: format!("Location: {to}\r\n"), body: Vec::new() }
    }

    fn bytes(bytes: &[u8]) -> Self {
        Self { status: "200 OK", headers: "Content-Type: application/octet-stream\r\n".into(), body: bytes.to_vec() }
    }
}

/// A request in its parts.
struct Asked<'a> {
    door: &'static str,
    method: &'a str,
    path: &'a str,
    query: &'a str,
    head: &'a str,
    body: Vec<u8>,
}

impl Asked<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(unquoted)
    }

    fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn unquoted(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}

impl World {
    fn doors(&self) -> &Doors {
        self.doors.get().unwrap()
    }

    fn serve(&self, door: &'static str, request: &Request, stream: &mut TcpStream) {
        let method = request.head.split(' ').next().unwrap_or_default().to_owned();
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let path = path.strip_prefix("/api/v3").unwrap_or(path);
        let number = {
            let mut state = self.state.lock().unwrap();
            let number = state.log.len();
            let name = query.strip_prefix("name=").map(unquoted).unwrap_or_default();
            state.log.push(Seen { door, method: method.clone(), path: path.to_owned(), name, status: 599 });
            if state.dead_from.is_some_and(|dead| number >= dead) {
                return;
            }
            number
        };
        let fault = self.fault_for(&method, path);
        if matches!(fault, Some(Harm::Lost)) {
            return;
        }
        // Whoever asked is dead by the time that the gate opens, and the request never came.
        if self.is_held_at_the_gate(number, false) {
            return;
        }
        if door == "uploads" {
            let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            let mut state = self.state.lock().unwrap();
            state.most_uploads = state.most_uploads.max(now);
            while state.most_uploads < state.party {
                state = self.arrived.wait(state).unwrap();
            }
            self.arrived.notify_all();
        }
        let body = read_body(&request.head, stream);
        if door == "uploads" {
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
        // A client that was killed while it sent something has sent nothing.
        let Some(body) = body else { return };
        let asked = Asked { door, method: &method, path, query, head: &request.head, body };
        let mut reply = {
            let mut state = self.state.lock().unwrap();
            Self::check_manners(&mut state, &asked);
            match &fault {
                Some(Harm::Answer(status, headers, document)) => {
                    let mut reply = Reply::json(status, document);
                    reply.headers.push_str(headers);
                    reply
                }
                Some(Harm::Starter) => {
                    Self::upload(&mut state, &asked, "starter");
                    Reply::json("502 Bad Gateway", &json!({ "message": "Server Error" }))
                }
                Some(Harm::Meanwhile(change)) => {
                    change(&mut state);
                    self.carry_out(&mut state, &asked)
                }
                _ => self.carry_out(&mut state, &asked),
            }
        };
        {
            let mut state = self.state.lock().unwrap();
            state.look_as_a_stranger();
            state.log[number].status = reply.status[..3].parse().unwrap();
        }
        if self.is_held_at_the_gate(number, true) {
            return;
        }
        match fault {
            Some(Harm::LostAnswer) => return,
            Some(Harm::BadGateway) => reply = Reply::json("502 Bad Gateway", &json!({ "message": "Server Error" })),
            _ => {}
        }
        let date = "Date: Sat, 21 Nov 2026 18:00:00 GMT\r\n";
        send(stream, &answer(reply.status, &format!("{date}{}", reply.headers), &reply.body));
    }

    fn fault_for(&self, method: &str, path: &str) -> Option<Harm> {
        let mut state = self.state.lock().unwrap();
        let at = state.faults.iter().position(|fault| fault.method == method && path.contains(fault.path))?;
        Some(state.faults.remove(at).harm)
    }

    fn is_held_at_the_gate(&self, number: usize, is_done: bool) -> bool {
        let mut gate = self.gate.state.lock().unwrap();
        if gate.at != Some((number, is_done)) {
            return false;
        }
        gate.is_reached = true;
        while gate.at == Some((number, is_done)) {
            gate = self.gate.changed.wait(gate).unwrap();
        }
        true
    }

    /// What holds for every request.
    fn check_manners(state: &mut State, asked: &Asked<'_>) {
        let token = asked.header("authorization");
        let count = asked.head.lines().filter(|line| line.to_ascii_lowercase().starts_with("authorization:")).count();
        let wants_token = matches!(asked.door, "api" | "uploads");
        let expected = if wants_token { Some(format!("Bearer {TOKEN}")) } else { None };
        if token.map(str::to_owned) != expected || count > 1 {
            state.violation(format!(
                "{} {} at the door `{}` with token: {token:?}",
                asked.method, asked.path, asked.door
            ));
        }
        if wants_token && asked.header("user-agent").is_none_or(str::is_empty) {
            state.violation(format!("{} {} without a user agent", asked.method, asked.path));
        }
        if wants_token && asked.header("x-github-api-version") != Some("2022-11-28") {
            state.violation(format!("{} {} without the version of the API", asked.method, asked.path));
        }
        if asked.method != "GET" && asked.method != "DELETE" && asked.header("content-length").is_none() {
            state.violation(format!("{} {} without a length", asked.method, asked.path));
        }
    }

    fn carry_out(&self, state: &mut State, asked: &Asked<'_>) -> Reply {
        match asked.door {
            "web" => self.download(state, asked),
            "storage" => stored_bytes(state, asked),
            "uploads" => Self::upload(state, asked, "uploaded"),
            _ => self.api(state, asked),
        }
    }

    /// The page's own downloads: for everybody, of what is published.
    fn download(&self, state: &State, asked: &Asked<'_>) -> Reply {
        if let Some(path) = asked.path.strip_prefix(&format!("/{REPOSITORY}/raw/")) {
            let found = path.split_once('/').and_then(|(branch, path)| state.git.file(branch, &unquoted(path)));
            return found.map_or_else(Reply::not_found, Reply::bytes);
        }
        let prefix = format!("/{REPOSITORY}/releases/download/");
        let rest = asked.path.strip_prefix(&prefix).filter(|_| !state.private).map(unquoted);
        let Some((tag, name)) = rest.as_deref().and_then(|rest| rest.rsplit_once('/')) else {
            return Reply::not_found();
        };
        let release = state.releases.iter().find(|release| !release.draft && release.tag == tag);
        match release.and_then(|release| release.assets.iter().find(|asset| asset.name == name)) {
            Some(asset) => Reply::redirect(&format!("{}/blob/{}?signature=secret", self.doors().storage, asset.id)),
            None => Reply::not_found(),
        }
    }

    fn upload(state: &mut State, asked: &Asked<'_>, stored_as: &'static str) -> Reply {
        let id = asked.path.rsplit('/').nth(1).and_then(|id| id.parse::<u64>().ok());
        let (Some(id), Some(name)) = (id, asked.parameter("name")) else { return Reply::not_found() };
        let Some(at) = state.releases.iter().position(|release| release.id == id) else { return Reply::not_found() };
        if asked.header("content-type").is_none() {
            state.violation(format!("`{name}` was sent without a type"));
        }
        if !state.releases[at].draft {
            state.violation(format!("`{name}` was added to a release that is published"));
            if state.immutable == Some(true) {
                return Reply::invalid("Cannot upload assets to an immutable release", "custom", "release");
            }
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        let name: String = name.chars().map(|c| if good(c) { c } else { '.' }).collect();
        if state.releases[at].assets.iter().any(|asset| asset.name == name) {
            return Reply::invalid("Validation Failed", "already_exists", "name");
        }
        if name != "index.json" && state.releases[at].assets.iter().any(|asset| asset.name == "index.json") {
            let replaced = state.log.iter().any(|seen| seen.method == "DELETE" && seen.path.contains("/assets/"));
            if !replaced {
                state.violation(format!("`{name}` came after the index"));
            }
        }
        let asset = Stored { id: state.id(), name, state: stored_as, bytes: asked.body.clone() };
        let document = asset_document(state, &asset);
        state.releases[at].assets.push(asset);
        Reply::json("201 Created", &document)
    }

    fn api(&self, state: &mut State, asked: &Asked<'_>) -> Reply {
        let prefix = format!("/repos/{REPOSITORY}");
        let Some(path) = asked.path.strip_prefix(&prefix) else { return Reply::not_found() };
        let parts: Vec<String> = path.split('/').skip(1).map(unquoted).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match (asked.method, parts.as_slice()) {
            ("GET", []) => Reply::json(
                "200 OK",
                &json!({
                    "full_name": REPOSITORY, "private": state.private, "archived": false,
                    "permissions": { "push": state.may_push, "pull": true },
                }),
            ),
            ("GET", ["immutable-releases"]) => match state.immutable {
                Some(true) => Reply::json("200 OK", &json!({ "enabled": true, "enforced_by_owner": false })),
                Some(false) => Reply::not_found(),
                None => Reply::json("403 Forbidden", &json!({ "message": "Resource not accessible by integration" })),
            },
            ("GET", ["git", "ref", "tags", tag @ ..]) => match state.tags.get(&tag.join("/")) {
                Some((kind, sha)) => Reply::json("200 OK", &json!({ "object": { "type": kind, "sha": sha } })),
                None => Reply::not_found(),
            },
            ("GET", ["git", "ref", "heads", name @ ..]) => match state.git.branches.get(&name.join("/")) {
                Some(commit) => Reply::json("200 OK", &json!({ "object": { "type": "commit", "sha": commit } })),
                None => Reply::not_found(),
            },
            ("GET", ["git", kind @ ("commits" | "trees" | "blobs"), sha]) => match state.git.read(kind, sha) {
                Some(document) => Reply::json("200 OK", &document),
                None => Reply::not_found(),
            },
            ("POST", ["git", kind @ ("commits" | "trees" | "blobs")]) => {
                match state.git.make(kind, &asked.document()) {
                    Some(sha) => Reply::json("201 Created", &json!({ "sha": sha })),
                    None => Reply::invalid("Validation Failed", "invalid", kind),
                }
            }
            ("PATCH", ["git", "refs", "heads", name @ ..]) => {
                let document = asked.document();
                if document["force"] != json!(false) {
                    state.violation("a branch was changed with force");
                }
                if state.git.forward(&name.join("/"), document["sha"].as_str().unwrap_or_default()) {
                    Reply::json("200 OK", &json!({}))
                } else {
                    Reply::invalid("Update is not a fast forward", "custom", "ref")
                }
            }
            ("GET", ["git", "tags", sha]) => match state.tag_objects.get(*sha) {
                Some((kind, sha)) => Reply::json("200 OK", &json!({ "object": { "type": kind, "sha": sha } })),
                None => Reply::not_found(),
            },
            ("GET", ["releases"]) => {
                let all: Vec<Value> = state.releases.iter().rev().map(|one| self.document(state, one)).collect();
                self.page(state, asked, &all)
            }
            ("POST", ["releases"]) => self.create(state, &asked.document()),
            ("GET", ["releases", "tags", tag @ ..]) => {
                let tag = tag.join("/");
                // Drafts are not found by their tag.
                match state.releases.iter().find(|release| !release.draft && release.tag == tag) {
                    Some(release) => Reply::json("200 OK", &self.document(state, release)),
                    None => Reply::not_found(),
                }
            }
            ("GET", ["releases", "assets", id]) => self.asset(state, asked, id),
            ("DELETE", ["releases", "assets", id]) => delete_asset(state, id),
            ("GET", ["releases", id, "assets"]) => match find(state, id) {
                Some(at) => {
                    let release = state.releases[at].clone();
                    let all: Vec<Value> = release.assets.iter().map(|asset| asset_document(state, asset)).collect();
                    self.page(state, asked, &all)
                }
                None => Reply::not_found(),
            },
            ("GET", ["releases", id]) => match find(state, id) {
                Some(at) => Reply::json("200 OK", &self.document(state, &state.releases[at])),
                None => Reply::not_found(),
            },
            ("PATCH", ["releases", id]) => match find(state, id) {
                Some(at) => self.change(state, at, &asked.document()),
                None => Reply::not_found(),
            },
            ("DELETE", ["releases", id]) => match find(state, id) {
                Some(at) => {
                    if !state.releases[at].draft {
                        state.violation("a published release was deleted");
                    }
                    state.releases.remove(at);
                    Reply::empty()
                }
                None => Reply::not_found(),
            },
            _ => {
                state.violation(format!("nobody knows `{} {}`", asked.method, asked.path));
                Reply::not_found()
            }
        }
    }

    fn page(&self, state: &State, asked: &Asked<'_>, all: &[Value]) -> Reply {
        let number = |name: &str| asked.parameter(name).and_then(|text| text.parse::<usize>().ok());
        let size = number("per_page").unwrap_or(30).min(100).min(state.page_size);
        let page = number("page").unwrap_or(1);
        let items: Vec<&Value> = all.iter().skip((page - 1) * size).take(size).collect();
        let mut reply = Reply::json("200 OK", &json!(items));
        if page * size < all.len() {
            let base =
                format!("{}{}", self.doors().api, asked.head.split(' ').nth(1).unwrap().split('?').next().unwrap());
            let link = |page: usize, rel: &str| format!("<{base}?per_page={size}&page={page}>; rel=\"{rel}\"");
            let last = all.len().div_ceil(size);
            reply.headers.push_str(&format!("Link: {}, {}\r\n", link(page + 1, "next"), link(last, "last")));
        }
        reply
    }

    fn document(&self, state: &State, release: &Release) -> Value {
        let doors = self.doors();
        let uploads = state.upload_door.as_ref().unwrap_or(&doors.uploads);
        let place = if release.draft { format!("untagged-{}", release.id) } else { release.tag.clone() };
        json!({
            "id": release.id,
            "tag_name": release.tag,
            "name": release.name,
            "body": release.body,
            "draft": release.draft,
            "prerelease": release.prerelease,
            "immutable": !release.draft && state.immutable == Some(true),
            "html_url": format!("{}/{REPOSITORY}/releases/tag/{place}", doors.web),
            "upload_url": format!("{uploads}/repos/{REPOSITORY}/releases/{}/assets{{?name,label}}", release.id),
            "assets": release.assets.iter().map(|asset| asset_document(state, asset)).collect::<Vec<_>>(),
        })
    }

    fn create(&self, state: &mut State, document: &Value) -> Reply {
        let tag = document["tag_name"].as_str().unwrap_or_default().to_owned();
        if tag.is_empty() {
            return Reply::invalid("Validation Failed", "missing_field", "tag_name");
        }
        if document["draft"] != json!(true) {
            state.violation(format!("`{tag}` was made without being a draft"));
        }
        if state.burned.contains(&tag) {
            return Reply::invalid("tag_name was used by an immutable release", "custom", "tag_name");
        }
        let id = state.put(&tag, true, "", Files::new());
        let at = find(state, &id.to_string()).unwrap();
        apply(&mut state.releases[at], document);
        Reply::json("201 Created", &self.document(state, &state.releases[at]))
    }

    fn change(&self, state: &mut State, at: usize, document: &Value) -> Reply {
        let tag = state.releases[at].tag.clone();
        if !state.releases[at].draft {
            if state.immutable == Some(true) {
                return Reply::invalid("Cannot update an immutable release", "custom", "release");
            }
            let before = format!("{:?}", state.releases[at]);
            apply(&mut state.releases[at], document);
            if format!("{:?}", state.releases[at]) != before {
                state.violation(format!("`{tag}` was changed after it was published"));
            }
            return Reply::json("200 OK", &self.document(state, &state.releases[at]));
        }
        if document["draft"] == json!(false) {
            if state.burned.contains(&tag) {
                return Reply::invalid("tag_name was used by an immutable release", "custom", "tag_name");
            }
            if state.releases.iter().any(|release| !release.draft && release.tag == tag) {
                return Reply::invalid("Validation Failed", "already_exists", "tag_name");
            }
            if !state.tags.contains_key(&tag) {
                state.violation(format!("`{tag}` would have been made by publishing"));
            }
        }
        apply(&mut state.releases[at], document);
        Reply::json("200 OK", &self.document(state, &state.releases[at]))
    }

    fn asset(&self, state: &State, asked: &Asked<'_>, id: &str) -> Reply {
        let id = id.parse::<u64>().unwrap_or_default();
        let asset = state.releases.iter().flat_map(|release| &release.assets).find(|asset| asset.id == id);
        match asset {
            None => Reply::not_found(),
            Some(asset) if asked.header("accept") != Some("application/octet-stream") => {
                Reply::json("200 OK", &asset_document(state, asset))
            }
            Some(asset) if state.serves_bytes_itself => Reply::bytes(&asset.bytes),
            Some(asset) => Reply::redirect(&format!("{}/blob/{}?signature=secret", self.doors().storage, asset.id)),
        }
    }
}

fn read_body(head: &str, stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok().map(|()| body)
}

fn stored_bytes(state: &State, asked: &Asked<'_>) -> Reply {
    let id = asked.path.rsplit('/').next().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
    let asset = state.releases.iter().flat_map(|release| &release.assets).find(|asset| asset.id == id);
    asset
        .filter(|_| asked.query == "signature=secret")
        .map_or_else(Reply::not_found, |asset| Reply::bytes(&asset.bytes))
}

fn delete_asset(state: &mut State, id: &str) -> Reply {
    let id = id.parse::<u64>().unwrap_or_default();
    for release in 0..state.releases.len() {
        let Some(at) = state.releases[release].assets.iter().position(|asset| asset.id == id) else { continue };
        if !state.releases[release].draft {
            state.violation("a file of a published release was deleted");
        }
        state.releases[release].assets.remove(at);
        return Reply::empty();
    }
    Reply::not_found()
}

fn find(state: &State, id: &str) -> Option<usize> {
    let id = id.parse::<u64>().ok()?;
    state.releases.iter().position(|release| release.id == id)
}

fn apply(release: &mut Release, document: &Value) {
    let text = |key: &str| document[key].as_str().map(str::to_owned);
    let flag = |key: &str| document[key].as_bool();
    release.tag = text("tag_name").unwrap_or_else(|| release.tag.clone());
    release.name = text("name").unwrap_or_else(|| release.name.clone());
    release.body = text("body").unwrap_or_else(|| release.body.clone());
    release.make_latest = text("make_latest").unwrap_or_else(|| release.make_latest.clone());
    release.draft = flag("draft").unwrap_or(release.draft);
    release.prerelease = flag("prerelease").unwrap_or(release.prerelease);
}

fn asset_document(state: &State, asset: &Stored) -> Value {
    let digest = state.tells_digests.then(|| format!("sha256:{}", Digest::of(&asset.bytes)));
    json!({ "id": asset.id, "name": asset.name, "state": asset.state, "size": asset.bytes.len(), "digest": digest })
}
