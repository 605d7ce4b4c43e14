//! What is not there for a while: the database, the blobs, a caller who stops in the middle.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use consign::model::Digest;

use crate::place::{Kind, Place, record};
use crate::postgres;

#[test]
fn a_database_that_is_gone_is_said_so_and_is_used_again_when_it_is_back() {
    let Some(place) = Place::new(Kind::Postgres, &[]) else { return };
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let push = |id: &str| server.ask("POST", "/api/v1/artifacts", Some(&admin), record("web", id).to_string());
    push("one").is(201);
    let address = place.database.clone().unwrap();
    postgres::close(&address);
    server.ask("GET", "/healthz", None, "").is(200);
    let problem = server.ask("GET", "/readyz", None, "").refuses(503, "store_unavailable");
    // Nobody outside learns what it is called or what it said.
    assert!(!problem.to_string().contains("test") && !problem.to_string().contains("postgres"), "{problem}");
    push("two").refuses(503, "store_unavailable");
    postgres::reopen(&address);
    server.ask("GET", "/readyz", None, "").is(200);
    push("two").is(201);
    push("one").is(200);
}

#[test]
fn a_database_that_is_stopped_and_started_is_used_again() {
    let Some((mut cluster, address)) = postgres::alone() else { return };
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    place.database = Some(address);
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let push = |id: &str| server.ask("POST", "/api/v1/artifacts", Some(&admin), record("web", id).to_string());
    push("one").is(201);
    cluster.stop();
    server.ask("GET", "/healthz", None, "").is(200);
    server.ask("GET", "/readyz", None, "").refuses(503, "store_unavailable");
    push("two").refuses(503, "store_unavailable");
    server.ask("GET", "/api/v1/artifacts", Some(&admin), "").refuses(503, "store_unavailable");
    cluster.start();
    server.ask("GET", "/readyz", None, "").is(200);
    push("two").is(201);
    assert_eq!(place.sound(), 2);
}

#[test]
fn a_disk_that_is_full_is_said_so_and_loses_nothing() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start_limited();
    let admin = server.admin.clone().unwrap();
    let push = |id: &str| server.ask("POST", "/api/v1/artifacts", Some(&admin), record("web", id).to_string());
    let bytes = vec![7; 3_000_000];
    let path = format!("/api/v1/blobs/{}", Digest::of(&bytes));
    push("one").is(201);
    server.limit_files(Some(100));
    push("two").refuses(503, "store_unavailable");
    let problem = server.ask("PUT", &path, Some(&admin), bytes.clone()).refuses(503, "store_unavailable");
    assert!(!problem.to_string().contains("uploads"), "{problem}");
    let (half, size) = (bytes.len() / 2, bytes.len());
    let range = format!("bytes 0-{}/{size}", half - 1);
    let piece = server.ask_with("PUT", &path, Some(&admin), &[("content-range", &range)], &bytes[..half]);
    piece.refuses(503, "store_unavailable");
    // What can be read is read.
    server.ask("GET", "/readyz", None, "").is(200);
    server.ask("GET", "/api/v1/services/web/artifacts/one", Some(&admin), "").is(200);
    server.ask("GET", "/api/v1/services/web/artifacts/two", Some(&admin), "").refuses(404, "artifact_unknown");
    server.limit_files(None);
    push("two").is(201);
    let length = size.to_string();
    let there = server.ask_with("HEAD", &path, Some(&admin), &[("upload-length", &length)], "");
    let there: usize = there.headers["upload-offset"].to_str().unwrap().parse().unwrap();
    let range = format!("bytes {there}-{}/{size}", size - 1);
    server.ask_with("PUT", &path, Some(&admin), &[("content-range", &range)], &bytes[there..]).is(201);
    assert_eq!(place.sound(), 2);
}

#[test]
fn an_upload_that_is_complete_and_was_not_put_in_its_place_is_ended_by_its_last_byte() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let bytes = b"some bytes".as_slice();
    let (path, name) = (format!("/api/v1/blobs/{}", Digest::of(bytes)), Digest::of(bytes).to_string());
    let in_the_way = place.data().join("blobs/sha256").join(&name[..2]);
    std::os::unix::fs::symlink("nowhere", &in_the_way).unwrap();
    let piece = |first: usize| {
        let range = format!("bytes {first}-9/10");
        server.ask_with("PUT", &path, Some(&admin), &[("content-range", &range)], &bytes[first..])
    };
    piece(0).refuses(503, "store_unavailable");
    fs_err::remove_file(&in_the_way).unwrap();
    let there = server.ask_with("HEAD", &path, Some(&admin), &[("upload-length", "10")], "");
    assert_eq!((there.status, there.headers["upload-offset"].to_str().unwrap()), (204, "9"));
    piece(0).refuses(409, "upload_misplaced");
    piece(9).is(201);
    assert_eq!(server.ask("HEAD", &path, Some(&admin), "").status, 200);
}

#[test]
fn blobs_that_cannot_be_kept_are_not_acknowledged() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let bytes = b"some bytes".as_slice();
    let path = format!("/api/v1/blobs/{}", Digest::of(bytes));
    let uploads = place.data().join("blobs/uploads");
    fs_err::remove_dir(&uploads).unwrap();
    let problem = server.ask("PUT", &path, Some(&admin), bytes).refuses(503, "store_unavailable");
    assert!(!problem.to_string().contains("uploads"), "{problem}");
    fs_err::create_dir(&uploads).unwrap();
    server.ask("PUT", &path, Some(&admin), bytes).is(201);
    assert_eq!(server.ask("HEAD", &path, Some(&admin), "").status, 200);
}

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let address = server.address.strip_prefix("http://").unwrap();
    let whole = vec![7; 100_000];
    let path = format!("/api/v1/blobs/{}", Digest::of(&whole));
    let head =
        format!("PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {admin}\r\ncontent-length: 100000\r\n\r\n");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&whole[..50_000]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // The server has noticed when it has closed its side.
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(server.ask("HEAD", &path, Some(&admin), "").status, 204);
    server.stop();
    let left = consign::world::files::list(&place.data().join("blobs/uploads")).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn strange_bytes_do_not_stop_the_server() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let address = server.address.strip_prefix("http://").unwrap();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1 << 20));
    let chunks =
        "POST /api/v1/artifacts HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n";
    let twice = "POST /api/v1/artifacts HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello";
    for bytes in ["\0\0\0\0", "GET / HTTP/9\r\n\r\n", "\r\n\r\n\r\n", &long, chunks, twice] {
        let mut stream = TcpStream::connect(address).unwrap();
        // It may be closed before everything was sent.
        let _ = stream.write_all(bytes.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    server.ask("GET", "/healthz", None, "").is(200);
}

#[test]
fn what_was_begun_is_ended_before_the_server_goes() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    let address = server.address.strip_prefix("http://").unwrap().to_owned();
    let whole = vec![7; 1000];
    let head = format!(
        "PUT /api/v1/blobs/{} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {admin}\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n",
        Digest::of(&whole)
    );
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // The answer to this is the sign that the request is being worked on.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    let ending = std::thread::spawn(move || server.stop());
    // The listener goes first.
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }
    stream.write_all(&whole).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 201"), "{answer}");
    ending.join().unwrap();
}
