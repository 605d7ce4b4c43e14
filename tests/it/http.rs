//! Fetching over HTTP, from servers that behave and servers that do not.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consign::model::Code;
use consign::world::http::{Client, ClientOptions};

use crate::support::Scratch;

/// What a server does with a connection after it has read a request.
pub type Handler = dyn Fn(&Request, &mut TcpStream) + Send + Sync;

/// One request that a server has seen.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub head: String,
    /// How often this path was asked for before.
    pub earlier: usize,
}

/// An HTTP server on a free port of this machine, for as long as it lives.
pub struct Server {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::<Request>::new()));
        let (seen, handler): (_, Arc<Handler>) = (Arc::clone(&requests), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, handler) = (Arc::clone(&seen), Arc::clone(&handler));
                std::thread::spawn(move || serve(&mut stream.unwrap(), &seen, &*handler));
            }
        });
        Self { port, requests }
    }

    /// A server that always gives the same answer.
    pub fn always(reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Self::start(move |_, stream| send(stream, &reply))
    }

    /// A server of files by name, and 404 for everything else.
    pub fn of_files(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::start(move |request, stream| match files.get(request.path.rsplit('/').next().unwrap_or_default()) {
            Some(bytes) => send(stream, &good(bytes)),
            None => send(stream, &answer("404 Not Found", "", b"no")),
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: &mut TcpStream, seen: &Mutex<Vec<Request>>, handler: &Handler) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let request = {
        let mut seen = seen.lock().unwrap();
        let earlier = seen.iter().filter(|request| request.path == path).count();
        seen.push(Request { path, head, earlier });
        seen.last().unwrap().clone()
    };
    handler(&request, stream);
}

/// Sends bytes; a client that has hung up is no concern.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// An answer with a true length.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub fn good(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "", body)
}

/// Keeps a connection open and silent until the other side gives up.
pub fn stay_silent(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}

/// Options under which no test waits long.
pub fn hasty() -> ClientOptions {
    ClientOptions {
        stall_timeout: Duration::from_secs(20),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_secs(1),
        ..ClientOptions::default()
    }
}

fn get(server: &Server) -> consign::model::failure::Result<Vec<u8>> {
    Client::new(hasty()).get(&server.url("file"), 1000)
}

fn code(server: &Server) -> Code {
    get(server).unwrap_err().code()
}

#[test]
fn the_bytes_arrive_as_they_are_stored() {
    let server = Server::always(answer("200 OK", "Content-Encoding: gzip\r\n", b"not gzip at all"));
    assert_eq!(get(&server).unwrap(), b"not gzip at all");
    let head = server.requests()[0].head.to_lowercase();
    assert!(head.contains(&format!("user-agent: consign/{}", env!("CARGO_PKG_VERSION"))), "{head}");
    assert!(head.contains("accept-encoding: identity"), "{head}");
}

#[test]
fn a_large_file_goes_to_a_new_private_file_and_a_failure_leaves_none() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let server = Server::of_files([("big".to_owned(), body.clone())].into());
    let scratch = Scratch::new();
    let client = Client::new(hasty());
    let to = scratch.path().join("big");
    assert_eq!(client.download(&server.url("big"), 3_000_000, &to).unwrap(), 3_000_000);
    assert_eq!(fs_err::read(&to).unwrap(), body);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs_err::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(client.download(&server.url("big"), 3_000_000, &to).unwrap_err().code(), Code::Io, "overwritten");
    let other = scratch.path().join("other");
    assert_eq!(client.download(&server.url("big"), 2_999_999, &other).unwrap_err().code(), Code::FileTooLarge);
    assert!(!other.exists());
}

#[test]
fn what_is_not_there_is_told_apart_from_what_does_not_work() {
    for (status, expected) in [
        ("404 Not Found", Code::RemoteNotFound),
        ("410 Gone", Code::RemoteNotFound),
        ("403 Forbidden", Code::RemoteUnavailable),
        ("500 Internal Server Error", Code::RemoteUnavailable),
        ("206 Partial Content", Code::RemoteUnavailable),
        ("204 No Content", Code::RemoteUnavailable),
        ("304 Not Modified", Code::RemoteUnavailable),
    ] {
        let server = Server::always(answer(status, "", b""));
        assert_eq!(code(&server), expected, "{status}");
        assert_eq!(server.requests().len(), 1, "{status} was tried again");
    }
}

#[test]
fn nobody_at_the_port_is_a_remote_trouble() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failure = Client::new(hasty()).get(&format!("http://user:canary@127.0.0.1:{port}/x"), 10).unwrap_err();
    assert_eq!(failure.code(), Code::RemoteUnavailable);
    assert!(!failure.chain().join("\n").contains("canary"), "{:?}", failure.chain());
}

#[test]
fn a_busy_server_is_asked_again_and_not_for_ever() {
    for status in ["429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"] {
        let mends = Server::start(move |request, stream| {
            let reply = if request.earlier < 2 { answer(status, "Retry-After: 0\r\n", b"busy") } else { good(b"done") };
            send(stream, &reply);
        });
        assert_eq!(get(&mends).unwrap(), b"done", "{status}");
        let stays = Server::always(answer(status, "", b"busy"));
        assert_eq!(code(&stays), Code::RemoteUnavailable, "{status}");
        assert_eq!(stays.requests().len(), 3, "{status}");
    }
}

#[test]
fn a_server_that_asks_for_a_long_pause_is_not_waited_for() {
    let server = Server::always(answer("503 Service Unavailable", "Retry-After: 3600\r\n", b"busy"));
    let failure = get(&server).unwrap_err();
    assert_eq!(server.requests().len(), 1);
    assert_eq!(failure.way_out(), Some("try again in 3600 seconds"));
}

#[test]
fn an_answer_that_ends_before_its_end_is_asked_for_again_and_then_refused() {
    let short = |body: &[u8]| [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n", body].concat();
    let stays = Server::always(short(b"12345"));
    assert_eq!(code(&stays), Code::SizeMismatch);
    assert_eq!(stays.requests().len(), 3);
    let mends = Server::start(move |request, stream| {
        send(stream, &if request.earlier == 0 { short(b"abc") } else { short(b"0123456789") });
    });
    let scratch = Scratch::new();
    let to = scratch.path().join("file");
    Client::new(hasty()).download(&mends.url("file"), 10, &to).unwrap();
    assert_eq!(fs_err::read(&to).unwrap(), b"0123456789", "a second try must not append to the first");
}

#[test]
fn a_chunked_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let server = Server::always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n");
    assert_eq!(code(&server), Code::RemoteUnavailable);
}

#[test]
fn no_more_is_read_than_the_length_and_the_bound_allow() {
    let lies = Server::always("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabcdef");
    assert_eq!(get(&lies).unwrap(), b"abc");
    let honest = Server::always("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(code(&honest), Code::FileTooLarge, "refused before the body came");
    let huge = Server::always("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n");
    assert_eq!(code(&huge), Code::RemoteUnavailable);
    let two = Server::always("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd");
    assert_eq!(code(&two), Code::RemoteUnavailable);
}

#[test]
fn an_endless_answer_ends() {
    let server = Server::start(|_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[b'x'; 100]).is_ok() {}
    });
    assert_eq!(code(&server), Code::FileTooLarge);
    let head = Server::start(|_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X: y\r\n").is_ok() {}
    });
    assert_eq!(code(&head), Code::RemoteUnavailable);
}

#[test]
fn a_server_that_stops_to_answer_is_given_up_on() {
    let client = Client::new(ClientOptions { stall_timeout: Duration::from_millis(100), ..hasty() });
    let silent = Server::start(|_, stream| stay_silent(stream));
    assert_eq!(client.get(&silent.url("x"), 10).unwrap_err().code(), Code::RemoteUnavailable);
    let stalls = Server::start(|_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        stay_silent(stream);
    });
    assert_eq!(client.get(&stalls.url("x"), 10).unwrap_err().code(), Code::RemoteUnavailable);
    assert_eq!(stalls.requests().len(), 1);
}

#[test]
fn a_server_that_is_too_slow_is_given_up_on() {
    let options = ClientOptions { minimum_bytes_per_second: u64::MAX, slow_start: Duration::ZERO, ..hasty() };
    let server = Server::always(good(&[b'x'; 1000]));
    let failure = Client::new(options).get(&server.url("x"), 1000).unwrap_err();
    assert_eq!((failure.code(), failure.to_string().contains("slowly")), (Code::RemoteUnavailable, true));
    let options = ClientOptions { overall_timeout: Duration::ZERO, ..hasty() };
    let failure = Client::new(options).get(&server.url("x"), 1000).unwrap_err();
    assert_eq!((failure.code(), failure.to_string().contains("longer")), (Code::RemoteUnavailable, true));
}

fn redirect(location: &str) -> Vec<u8> {
    answer("302 Found", &format!("Location: {location}\r\n"), b"")
}

#[test]
fn redirects_are_followed_without_credentials() {
    let place = Server::always(good(b"here"));
    let to = place.url("b");
    let server = Server::start(move |request, stream| {
        send(stream, &if request.path == "/a" { redirect("/c?x=1") } else { redirect(&to) });
    });
    let url = format!("http://user:canary@127.0.0.1:{}/a", server.port);
    assert_eq!(Client::new(hasty()).get(&url, 100).unwrap(), b"here");
    let heads: Vec<_> = server.requests().iter().map(|request| request.head.to_lowercase()).collect();
    assert!(heads[0].contains("authorization: basic"), "the user's own place gets them");
    assert!(!heads[1].contains("authorization"), "{}", heads[1]);
    assert!(!place.requests()[0].head.to_lowercase().contains("authorization"));
}

#[test]
fn redirects_to_other_kinds_of_places_are_refused() {
    for location in [
        "http://example.org/x",
        "http://169.254.169.254/latest",
        "https://example.org/x",
        "file:///etc/passwd",
        "http://user:pass@127.0.0.1/",
        "/a\tb",
        "/a b",
        "http://[",
    ] {
        let server = Server::always(redirect(location));
        assert_eq!(code(&server), Code::RedirectRefused, "{location:?}");
        assert_eq!(server.requests().len(), 1, "{location:?}");
    }
    assert_eq!(code(&Server::always(answer("302 Found", "", b""))), Code::RedirectRefused);
    let two = answer("302 Found", "Location: /a\r\nLocation: /b\r\n", b"");
    assert_eq!(code(&Server::always(two)), Code::RedirectRefused);
    let control = Server::always(redirect("/a\u{1}b"));
    assert_eq!(code(&control), Code::RemoteUnavailable, "that is not even HTTP");
}

#[test]
fn redirects_that_do_not_end_are_refused() {
    let circle = Server::always(redirect("/file"));
    assert_eq!(code(&circle), Code::RedirectRefused);
    assert_eq!(circle.requests().len(), 6);
    let five = Server::start(|request, stream| {
        send(stream, &if request.earlier < 5 { redirect("/file") } else { good(b"here") });
    });
    assert_eq!(get(&five).unwrap(), b"here");
}
