//! A server that takes releases as GitHub's API does, as far as publishing one of them needs it.
//!
//! [`Forge`] drinks what is uploaded, and keeps its digest; asked for the bytes again it gives those of the
//! bundle here, if they are the same. It counts what is under way at a time, and knows when it gave its last
//! answer. It also takes files from whoever just sends them. It judges nothing: that is the tests' business.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::model::Digest;
use consign::model::digest::Hasher;
use serde_json::{Value, json};

use super::link::{self, Shape};

/// The repository that there is.
pub(super) const REPOSITORY: &str = "bench/bench";
/// The only release.
const RELEASE: u64 = 1;
const PIECE_BYTES: usize = 64 << 10;

/// The server behind its link.
pub(super) struct Forge {
    shared: Arc<Shared>,
    /// Where it is asked for: the near end of the link.
    pub(super) address: String,
}

struct Shared {
    bundle: Utf8PathBuf,
    commit: String,
    address: OnceLock<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was said of the release when it was made and changed, if it was.
    release: Option<Value>,
    files: BTreeMap<String, Stored>,
    uploads: usize,
    most_uploads: usize,
    last_answer: Option<Instant>,
    complaint: Option<String>,
}

struct Stored {
    sha256: Digest,
    size_bytes: u64,
}

/// What it has seen since it was cleared.
pub(super) struct Seen {
    /// The most uploads that were under way at a time.
    pub(super) most_uploads: usize,
    /// When it gave its last answer.
    pub(super) last_answer: Instant,
}

impl Forge {
    /// Serves behind a link of this shape, with a tag for whatever commit the release is of.
    pub(super) fn start(bundle: &Utf8Path, commit: &str, shape: Shape) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = link::relay(listener.local_addr()?.port(), shape)?;
        let address = format!("http://127.0.0.1:{port}");
        let shared = Arc::new(Shared {
            bundle: bundle.to_owned(),
            commit: commit.to_owned(),
            address: OnceLock::from(address.clone()),
            state: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || {
                    // A connection that ends is one that its other end has closed.
                    while shared.serve(&stream).unwrap_or(false) {}
                });
            }
        });
        Ok(Self { shared, address })
    }

    /// Forgets everything that was sent.
    pub(super) fn clear(&self) {
        *self.shared.state() = State::default();
    }

    /// Fails unless every file of the bundle is there and is the same, and gives back what else was seen.
    pub(super) fn check(&self) -> Result<Seen> {
        let state = self.shared.state();
        ensure!(state.complaint.is_none(), "the server was asked for `{}`", state.complaint.as_deref().unwrap_or(""));
        for (name, _) in consign::world::files::list(&self.shared.bundle)? {
            let here = digest(&self.shared.bundle.join(&name))?;
            let there = state.files.get(&name).map(|stored| stored.sha256);
            ensure!(there == Some(here), "`{name}` is not at the server");
        }
        let last_answer = state.last_answer.context("nobody asked the server anything")?;
        Ok(Seen { most_uploads: state.most_uploads, last_answer })
    }

    /// Whether the release is there for everybody.
    pub(super) fn is_published(&self) -> bool {
        self.shared.state().release.as_ref().is_some_and(|release| release["draft"] == json!(false))
    }
}

/// What is asked.
struct Asked {
    method: String,
    path: String,
    name: Option<String>,
    length: u64,
    /// The part of a file that is wanted: from here, and up to and with there.
    range: Option<(u64, u64)>,
}

/// What is answered: a document, another address, or a file of the bundle.
enum Reply {
    Document(&'static str, Value),
    Elsewhere(String),
    File(Utf8PathBuf, Option<(u64, u64)>),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request; false where there are no more.
    fn serve(&self, stream: &TcpStream) -> Result<bool> {
        let mut reader = BufReader::new(stream);
        let Some(asked) = read_head(&mut reader)? else { return Ok(false) };
        let is_upload = asked.method == "PUT" || asked.name.is_some();
        if is_upload {
            let mut state = self.state();
            state.uploads += 1;
            state.most_uploads = state.most_uploads.max(state.uploads);
        }
        let body = (&mut reader).take(asked.length);
        let drunk = if is_upload { drink(body).map(Taken::File) } else { read(body).map(Taken::Document) };
        if is_upload {
            self.state().uploads -= 1;
        }
        let reply = self.answer(&asked, drunk?);
        send(stream, reply)?;
        self.state().last_answer = Some(Instant::now());
        Ok(true)
    }

    fn answer(&self, asked: &Asked, taken: Taken) -> Reply {
        let mut state = self.state();
        let path = asked.path.strip_prefix(&format!("/api/v3/repos/{REPOSITORY}")).unwrap_or(&asked.path);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (asked.method.as_str(), parts.as_slice(), taken) {
            ("PUT", ["plain", name], Taken::File(stored)) => {
                state.files.insert((*name).to_owned(), stored);
                Reply::Document("201 Created", json!({}))
            }
            ("POST", ["releases", _, "assets"], Taken::File(stored)) => {
                let name = asked.name.clone().unwrap_or_default();
                state.files.insert(name.clone(), stored);
                Reply::Document("201 Created", asset(&state, &name))
            }
            ("GET", ["git", "ref", "tags", _], _) => {
                Reply::Document("200 OK", json!({ "object": { "type": "commit", "sha": self.commit } }))
            }
            ("GET", ["releases", "tags", _], _) => match self.release(&state) {
                Some(release) if release["draft"] == json!(false) => Reply::Document("200 OK", release),
                _ => not_found(),
            },
            ("GET", ["releases"], _) => Reply::Document("200 OK", self.release(&state).into_iter().collect()),
            ("GET", ["releases", _], _) => {
                self.release(&state).map_or_else(not_found, |release| Reply::Document("200 OK", release))
            }
            ("POST" | "PATCH", ["releases", ..], Taken::Document(said)) => {
                let known = state.release.get_or_insert_with(|| json!({}));
                for (key, value) in said.as_object().into_iter().flatten() {
                    known[key] = value.clone();
                }
                let status = if asked.method == "POST" { "201 Created" } else { "200 OK" };
                self.release(&state).map_or_else(not_found, |release| Reply::Document(status, release))
            }
            ("GET", ["releases", _, "assets"], _) => {
                Reply::Document("200 OK", state.files.keys().map(|name| asset(&state, name)).collect())
            }
            ("GET", ["releases", "assets", id], _) => {
                let name = id.parse().ok().and_then(|id: usize| state.files.keys().nth(id));
                let address = self.address.get().map_or("", String::as_str);
                name.map_or_else(not_found, |name| Reply::Elsewhere(format!("{address}/stored/{name}")))
            }
            // GitHub keeps files elsewhere, where everybody may fetch them, whole or in parts.
            ("GET", ["stored", name], _) => Reply::File(self.bundle.join(name), asked.range),
            // There is no catalog.
            ("GET", ["git", "ref", "heads", _], _) => not_found(),
            _ => {
                state.complaint = Some(format!("{} {}", asked.method, asked.path));
                not_found()
            }
        }
    }

    fn release(&self, state: &State) -> Option<Value> {
        let address = self.address.get()?;
        let mut release = state.release.clone()?;
        release["id"] = json!(RELEASE);
        release["html_url"] = json!(format!("{address}/{REPOSITORY}/releases/1"));
        release["upload_url"] =
            json!(format!("{address}/api/v3/repos/{REPOSITORY}/releases/{RELEASE}/assets{{?name,label}}"));
        Some(release)
    }
}

/// A body that has come.
enum Taken {
    File(Stored),
    Document(Value),
}

/// What is known of a stored file. Its number is its place among the names, which holds once all are there.
fn asset(state: &State, name: &str) -> Value {
    let id = state.files.keys().position(|known| known == name);
    let stored = state.files.get(name).map(|stored| (stored.size_bytes, format!("sha256:{}", stored.sha256)));
    let (size, digest) = stored.unwrap_or_default();
    json!({ "id": id, "name": name, "state": "uploaded", "size": size, "digest": digest })
}

fn not_found() -> Reply {
    Reply::Document("404 Not Found", json!({ "message": "Not Found" }))
}

fn read_head(reader: &mut BufReader<&TcpStream>) -> Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().context("no method")?, words.next().context("no path")?);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut asked = Asked {
        method,
        path: path.to_owned(),
        name: query.strip_prefix("name=").map(str::to_owned),
        length: 0,
        range: None,
    };
    loop {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "a request without an end");
        let Some((key, value)) = line.trim_end().split_once(':') else { return Ok(Some(asked)) };
        if key.eq_ignore_ascii_case("content-length") {
            asked.length = value.trim().parse()?;
        }
        if key.eq_ignore_ascii_case("range") {
            let range = value.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-'));
            asked.range = range.and_then(|(from, to)| from.parse().ok().zip(to.parse().ok()));
        }
    }
}

/// Reads a file to its end and keeps nothing of it.
fn drink(mut body: impl Read) -> Result<Stored> {
    let (mut hasher, mut size_bytes, mut piece) = (Hasher::default(), 0, vec![0; PIECE_BYTES]);
    loop {
        match body.read(&mut piece)? {
            0 => return Ok(Stored { sha256: hasher.finish(), size_bytes }),
            read => {
                hasher.update(&piece[..read]);
                size_bytes += read as u64;
            }
        }
    }
}

fn read(mut body: impl Read) -> Result<Value> {
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    Ok(if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? })
}

fn digest(path: &Utf8Path) -> Result<Digest> {
    Ok(drink(fs_err::File::open(path)?)?.sha256)
}

fn send(mut stream: &TcpStream, reply: Reply) -> Result<()> {
    stream.set_nodelay(true)?;
    let head = |status: &str, kind: &str, length: u64| {
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n").into_bytes()
    };
    match reply {
        Reply::Document(status, document) => {
            let body = serde_json::to_vec(&document)?;
            let head = head(status, "application/json", body.len() as u64);
            stream.write_all(&[head, body].concat())?;
        }
        Reply::Elsewhere(place) => {
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n")?;
        }
        Reply::File(path, None) => {
            let mut file = fs_err::File::open(&path)?;
            stream.write_all(&head("200 OK", "application/octet-stream", file.metadata()?.len()))?;
            std::io::copy(&mut file, &mut stream)?;
        }
        Reply::File(path, Some((from, to))) => {
            let mut file = fs_err::File::open(&path)?;
            let (size, length) = (file.metadata()?.len(), to + 1 - from);
            let range = format!("206 Partial Content\r\nContent-Range: bytes {from}-{to}/{size}");
            stream.write_all(&head(&range, "application/octet-stream", length))?;
            file.seek(SeekFrom::Start(from))?;
            std::io::copy(&mut file.take(length), &mut stream)?;
        }
    }
    Ok(())
}
