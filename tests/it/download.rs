//! Files that are read while they come, from servers that break off and servers that lie.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Read as _;
use std::net::TcpStream;

use consign::model::{Code, Failure};
use consign::world::http::Client;

use crate::http::{Request, Server, answer, hasty, send};

/// A file in which every position can be told from every other.
fn content() -> Vec<u8> {
    (0..40_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn read(server: &Server, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    let client = Client::new(hasty());
    let mut bytes = Vec::new();
    let mut download = client.open(&server.url("file"), max_bytes)?;
    download.read_to_end(&mut bytes).map_err(|error| error.downcast().unwrap())?;
    Ok(bytes)
}

/// Announces everything, and sends so many bytes.
fn cut_off(stream: &mut TcpStream, headers: &str, sent: usize) {
    let bytes = content();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n", bytes.len());
    send(stream, head.as_bytes());
    send(stream, &bytes[..sent]);
}

/// Where a request wants to go on.
fn wanted(request: &Request) -> Option<usize> {
    let line = request.head.lines().find(|line| line.to_ascii_lowercase().starts_with("range:"))?;
    line.split("bytes=").nth(1)?.trim().trim_end_matches('-').parse().ok()
}

fn rest(from: usize, total: &str) -> Vec<u8> {
    let bytes = content();
    let range = format!("Content-Range: bytes {from}-{}/{total}\r\n", bytes.len() - 1);
    answer("206 Partial Content", &range, &bytes[from..])
}

#[test]
fn what_breaks_off_goes_on_where_it_broke() {
    let server = Server::start(|request, stream| match wanted(request) {
        None => cut_off(stream, "ETag: \"one\"\r\n", 70_001),
        Some(from) => send(stream, &rest(from, &content().len().to_string())),
    });
    assert_eq!(read(&server, 1 << 20).unwrap(), content());
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(wanted(&requests[1]), Some(70_001));
    assert!(requests[1].head.to_ascii_lowercase().contains("if-range: \"one\""), "{}", requests[1].head);
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let server = Server::start(|request, stream| match request.earlier {
        0 => cut_off(stream, "", 70_001),
        _ => cut_off(stream, "", content().len()),
    });
    assert_eq!(read(&server, 1 << 20).unwrap(), content());
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn another_file_in_its_place_is_not_its_end() {
    for (status, headers) in [
        ("206 Partial Content", "Content-Range: bytes 0-9/160000\r\n"),
        ("206 Partial Content", "Content-Range: bytes 70001-70010/70011\r\n"),
        ("206 Partial Content", ""),
        ("206 Partial Content", "Content-Range: bytes */160000\r\n"),
        ("200 OK", ""),
    ] {
        let reply = answer(status, headers, b"0123456789");
        let server = Server::start(move |request, stream| match request.earlier {
            0 => cut_off(stream, "", 70_001),
            _ => send(stream, &reply),
        });
        let failure = read(&server, 1 << 20).unwrap_err();
        assert_eq!(failure.code(), Code::RemoteUnavailable, "{status} {headers}: {failure}");
        assert_eq!(server.requests().len(), 2, "what was changed is not asked for again");
    }
}

#[test]
fn who_breaks_off_again_and_again_is_given_up() {
    let server = Server::start(|request, stream| match wanted(request) {
        None => cut_off(stream, "", 70_001),
        Some(_) => drop(answer("", "", b"")),
    });
    let failure = read(&server, 1 << 20).unwrap_err();
    assert_eq!(failure.code().exit(), consign::model::Exit::Remote, "{failure}");
    assert!(server.requests().len() <= hasty().tries as usize + 1, "{}", server.requests().len());
}

#[test]
fn no_more_is_read_than_was_agreed() {
    let server = Server::start(|_, stream| cut_off(stream, "", content().len()));
    assert_eq!(read(&server, 100).unwrap_err().code(), Code::FileTooLarge);
    // A body without a length is counted.
    let server = Server::start(|_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        send(stream, &content());
    });
    assert_eq!(read(&server, 100_000).unwrap_err().code(), Code::FileTooLarge);
    assert_eq!(read(&server, content().len() as u64).unwrap(), content());
}
