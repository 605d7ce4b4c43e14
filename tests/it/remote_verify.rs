//! Verifying what was published, from places that behave and places that do not.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use consign::model::events::Silence;
use consign::model::failure::Result;
use consign::model::{Code, Failure, Release};
use consign::pipeline::Tools;
use consign::pipeline::guard::Guard;
use consign::pipeline::rebuild::Fetched;
use consign::pipeline::remote_verify::{Published, RemoteReport, fetch_original, recorded_status, remote_verify};
use consign::pipeline::summary::RemoteStatus;
use consign::pipeline::verify::Requirements;

use crate::fixture::{self, Files, bundle_fixture};
use crate::http::{Server, answer, good, send};
use crate::support::{self, Scratch};

fn run(place: &Published) -> Result<RemoteReport> {
    let tools = Tools {
        repository: None,
        guard: Guard::default(),
        requirements: Requirements::default(),
        signers: &[],
        registry: None,
        catalog_signers: &[],
        step_summary: None,
        listener: &Silence,
        now: &|| "2025-06-07T08:09:10Z".parse().unwrap(),
    };
    remote_verify(place, &tools)
}

fn check(url: &str) -> Result<RemoteReport> {
    run(&Published::of_base_url(url)?)
}

/// A server of a bundle in which one file is answered otherwise.
fn spoiled(name: &'static str, reply: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Server {
    let files = bundle_fixture();
    Server::start(move |request, stream| {
        let wanted = request.path.rsplit('/').next().unwrap_or_default();
        let reply = match files.get(wanted) {
            Some(bytes) if wanted == name => reply(bytes),
            Some(bytes) => good(bytes),
            None => answer("404 Not Found", "", b""),
        };
        send(stream, &reply);
    })
}

fn archive() -> &'static str {
    let name = bundle_fixture().into_keys().find(|name| name.ends_with(".tar.gz")).unwrap();
    name.leak()
}

fn failure(server: &Server) -> Failure {
    check(&server.url("releases/v1.0.0")).unwrap_err()
}

#[test]
fn a_published_bundle_is_fetched_and_verified() {
    let files = bundle_fixture();
    let server = Server::of_files(files.clone());
    for url in ["v1.0.0", "v1.0.0/"] {
        let report = check(&server.url(url)).unwrap();
        assert_eq!((report.status, report.files.len(), report.archives), (RemoteStatus::Passed, files.len(), 3));
    }
    run(&Published::of_index(&server.url("v1.0.0/index.json")).unwrap()).unwrap();
    assert!(server.requests().iter().all(|request| request.path.starts_with("/v1.0.0/")));
}

#[test]
fn a_published_directory_is_verified_by_path_and_address() {
    let scratch = Scratch::new();
    fixture::write(&bundle_fixture(), scratch.path());
    let path = scratch.path().as_str();
    for place in [path.to_owned(), format!("file://{path}"), format!("file://{path}/")] {
        check(&place).unwrap();
        run(&Published::of_index(&format!("{}/index.json", place.trim_end_matches('/'))).unwrap()).unwrap();
    }
    scratch.write("stranger.txt", "x");
    assert_eq!(check(path).unwrap_err().code(), Code::FileUnlisted);
}

#[test]
fn a_server_that_nobody_here_wrote_serves_it_too() {
    if !support::need("python3") {
        return;
    }
    let scratch = Scratch::new();
    fs_err::create_dir(scratch.path().join("v1.0.0")).unwrap();
    fixture::write(&bundle_fixture(), &scratch.path().join("v1.0.0"));
    let mut server = Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", scratch.path().as_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.split("port ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let found = check(&format!("http://127.0.0.1:{port}/v1.0.0"));
    let missing = check(&format!("http://127.0.0.1:{port}/v2.0.0"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(found.unwrap().status, RemoteStatus::Passed);
    assert_eq!(missing.unwrap_err().code(), Code::RemoteNotFound);
}

#[test]
fn a_file_that_is_not_the_published_one_is_found() {
    let flipped = spoiled(archive(), |bytes| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        good(&bytes)
    });
    let failure = failure(&flipped);
    assert_eq!((failure.code(), failure.about()), (Code::DigestMismatch, Some(archive())));
    assert_eq!(failure.code().exit() as u8, 4);
}

#[test]
fn a_length_that_lies_is_found() {
    let longer = spoiled(archive(), |bytes| good(&[bytes, b"x"].concat()));
    assert_eq!(failure(&longer).code(), Code::FileTooLarge);
    let shorter = spoiled(archive(), |bytes| good(&bytes[1..]));
    assert_eq!(failure(&shorter).code(), Code::SizeMismatch);
    let cut = spoiled(archive(), |bytes| good(bytes)[..good(bytes).len() - 1].to_vec());
    assert_eq!(failure(&cut).code(), Code::SizeMismatch);
    let little = spoiled(archive(), |bytes| {
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", bytes].concat()
    });
    assert_eq!(failure(&little).code(), Code::SizeMismatch);
}

#[test]
fn a_document_that_cannot_be_read_is_found_and_nothing_more_is_asked_for() {
    for name in ["index.json", "checksums.txt"] {
        let server = spoiled(name, |_| good(b"{\"../../etc/passwd\": 1}"));
        let failure = failure(&server);
        assert_eq!((failure.code(), failure.about()), (Code::DocumentInvalid, Some(name)));
        assert_eq!(server.requests().len(), 3, "{name}");
    }
}

#[test]
fn a_missing_file_is_a_remote_trouble() {
    let server = spoiled(archive(), |_| answer("404 Not Found", "", b""));
    let failure = failure(&server);
    assert_eq!(failure.code(), Code::RemoteNotFound);
    assert_eq!(failure.code().exit() as u8, 5);
    assert_eq!(check("/nowhere/at/all").unwrap_err().code(), Code::RemoteNotFound);
}

#[test]
fn a_redirect_to_elsewhere_is_refused() {
    let server = spoiled(archive(), |_| answer("302 Found", "Location: http://example.org/x\r\n", b""));
    assert_eq!(failure(&server).code(), Code::RedirectRefused);
}

#[test]
fn another_release_at_the_address_is_found() {
    let server = Server::of_files(bundle_fixture());
    let place = Published::of_base_url(&server.url("v2.0.0")).unwrap();
    let release = |tag| Release::parse(tag).unwrap();
    assert_eq!(run(&place.clone().expecting(release("v2.0.0"))).unwrap_err().code(), Code::DocumentsDisagree);
    run(&place.expecting(release("v1.0.0"))).unwrap();
    // Where nobody says what should be there, the address does.
    for (path, is_right) in
        [("v1.0.0", true), ("releases", true), ("v2.0.0", false), ("v2.0.0/", false), ("v1.0.0%2Bb", false)]
    {
        let found = check(&server.url(path)).map_err(|failure| failure.code());
        assert_eq!(found.err(), (!is_right).then_some(Code::DocumentsDisagree), "{path}");
        let index = Published::of_index(&server.url(&format!("{}/index.json", path.trim_end_matches('/')))).unwrap();
        assert_eq!(run(&index).is_ok(), is_right, "{path}");
    }
}

#[test]
fn the_reports_tell_how_it_ended_and_no_password() {
    let scratch = Scratch::new();
    let read = |name: &str| fs_err::read_to_string(scratch.path().join(name)).unwrap();
    assert_eq!(recorded_status(scratch.path()), None);

    let server = Server::of_files(bundle_fixture());
    let url = format!("http://user:canary@127.0.0.1:{}/v1.0.0", server.port);
    run(&Published::of_base_url(&url).unwrap().reporting_to(scratch.path())).unwrap();
    assert_eq!(recorded_status(scratch.path()), Some(RemoteStatus::Passed));
    let json = read("remote-verify.json");
    assert!(json.contains("\"generated_at\": \"2025-06-07T08:09:10Z\""), "{json}");
    assert!(json.contains("\"authenticity\": \"unchecked\""), "{json}");
    assert!(!json.contains("canary") && !read("remote-verify.md").contains("canary"));

    let mut files: Files = bundle_fixture();
    files.get_mut("sbom.spdx.json").unwrap()[20] ^= 1;
    let server = Server::of_files(files);
    run(&Published::of_base_url(&server.url("v1.0.0")).unwrap().reporting_to(scratch.path())).unwrap_err();
    assert_eq!(recorded_status(scratch.path()), Some(RemoteStatus::Failed));
    assert!(read("remote-verify.md").contains("`sbom.spdx.json` | `digest_mismatch`"), "{}", read("remote-verify.md"));
}

#[test]
fn places_that_are_none_are_refused() {
    for (wrong, code) in [
        ("http://example.org/x", Code::RemoteRefused),
        ("ftp://example.org/x", Code::RemoteRefused),
        ("https://example.org/x?y", Code::Usage),
        ("https://example.org/x#y", Code::Usage),
        ("file://host/x?y", Code::Usage),
    ] {
        assert_eq!(Published::of_base_url(wrong).unwrap_err().code(), code, "{wrong}");
    }
    for wrong in ["https://example.org/x", "https://example.org/xindex.json", "dist/index.jso", ""] {
        assert_eq!(Published::of_index(wrong).unwrap_err().code(), Code::Usage, "{wrong}");
    }
}

#[test]
fn what_is_compared_with_a_rebuild_is_fetched() {
    let files = bundle_fixture();
    let server = Server::of_files(files.clone());
    let original = fetch_original(&server.url("v1.0.0/index.json"), None).unwrap();
    assert_eq!((&original.index, &original.provenance), (&files["index.json"], &files["provenance.json"]));
    assert_eq!(original.files.values().filter(|file| matches!(file, Fetched::Bytes(_))).count(), 5);
    let partly = spoiled(archive(), |_| answer("404 Not Found", "", b""));
    let original = fetch_original(&partly.url("v1.0.0/index.json"), None).unwrap();
    assert_eq!(original.files.values().filter(|file| matches!(file, Fetched::Missing)).count(), 1);
}
