//! Installing from real servers and from servers that misbehave, through the real command.
//!
//! What is refused leaves everything as it was ([`Victim`]), and nothing is asked for afterwards.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use consign::model::index::ArchiveFormat;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::attacked::Bench;
use crate::attacks_install::{Victim, accepted, release_of};
use crate::fixture::Files;
use crate::hostile::{self, STEM};
use crate::hostile_formats::PROGRAM;
use crate::http::{Request, Server, answer, good, send, stay_silent};
use crate::signed_verify::scene;
use crate::support::{Scratch, both, need, succeed};

fn archive() -> String {
    format!("{STEM}.tar.gz")
}

fn files() -> Files {
    release_of(&accepted(ArchiveFormat::TarGz))
}

/// Serves a release, but one file of it in another way.
fn serving(name: &str, misbehave: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static) -> Server {
    let (files, name) = (files(), name.to_owned());
    Server::start(move |request, stream| {
        let path = request.path.trim_start_matches('/');
        match files.get(path) {
            _ if path == name => misbehave(request, stream),
            Some(bytes) => send(stream, &good(bytes)),
            None => send(stream, &answer("404 Not Found", "", b"no")),
        }
    })
}

/// Serves the archive always with the same answer.
fn answering(reply: Vec<u8>) -> Server {
    serving(&archive(), move |_, stream| send(stream, &reply))
}

/// The archive with other headers than its length.
fn raw(headers: &str) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), &files()[&archive()]].concat()
}

/// Where a request wants to go on.
fn wanted(request: &Request) -> Option<usize> {
    let line = request.head.lines().find(|line| line.to_ascii_lowercase().starts_with("range:"))?;
    line.split("bytes=").nth(1)?.trim().trim_end_matches('-').parse().ok()
}

#[track_caller]
fn refuses(what: &str, server: &Server, exit: i32, code: &str) {
    refuses_with(&Victim::new(), what, server, exit, code);
}

#[track_caller]
fn refuses_with(victim: &Victim, what: &str, server: &Server, exit: i32, code: &str) {
    let told = victim.refused(what, &mut victim.install(&server.url("index.json")), exit, code);
    assert!(!told.to_string().contains("panicked"), "{what}: {told}");
}

#[track_caller]
fn installs(what: &str, server: &Server) {
    let victim = Victim::new();
    let output = victim.install(&server.url("index.json")).output().unwrap();
    assert!(output.status.success(), "{what}: {}", both(&output));
    assert_installed(&victim, what);
}

#[track_caller]
fn assert_installed(victim: &Victim, what: &str) {
    assert_eq!(fs_err::read(victim.bench.path("prefix/bin/tool")).unwrap(), PROGRAM, "{what}");
}

fn asked(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.path.ends_with(&archive())).count()
}

/// A program that is stopped at the end of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A user of bundles with archives of all formats, signed by the scene's key.
struct Customer {
    bench: Bench,
}

impl Customer {
    fn new() -> Self {
        Self { bench: Bench::new(&scene().files) }
    }

    /// Installs every package of the bundle by its index, with one key.
    fn installs_all(&self, base: &str) {
        let run = |platform: &str, prefix: &str| {
            let line = format!("install --index {base}/index.json --pubkey key.pub --no-run");
            self.bench.passes(&format!("{line} --platform {platform} --prefix {prefix}"))
        };
        for (platform, program) in [("linux-amd64", "tool"), ("linux-arm64", "tool"), ("windows-amd64", "tool.exe")] {
            let done = run(platform, platform);
            assert_eq!((&done["status"], &done["trust"]["kind"]), (&"installed".into(), &"keys".into()));
            let installed = fs_err::read(self.bench.path(&format!("{platform}/bin/{program}"))).unwrap();
            assert!(installed.starts_with(format!("program of {platform}\n").as_bytes()));
            assert_eq!(run(platform, platform)["status"], "unchanged");
        }
        let output = self.bench.command(&format!("install --index {base}/nowhere/index.json --prefix other")).output();
        assert_eq!(output.unwrap().status.code(), Some(5));
        assert!(!self.bench.path("other").exists());
    }
}

#[test]
fn pythons_server_is_installed_from() {
    if !need("python3") {
        return;
    }
    let customer = Customer::new();
    let mut python = Command::new("python3");
    python.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]);
    python.arg(customer.bench.path("bundle")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut python = Running(python.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(python.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.split("port ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    customer.installs_all(&format!("http://127.0.0.1:{port}"));
}

/// Nginx on a free port with a directory and places that need something else, and its log.
fn nginx(root: &Utf8Path, scratch: &Scratch) -> (Running, u16) {
    let program =
        ["nginx", "/usr/sbin/nginx"].into_iter().find(|program| Command::new(program).arg("-v").output().is_ok());
    loop {
        // It cannot choose a port itself; one that was free a moment ago is taken by somebody else now and then.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = scratch.path();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("  {kind}_temp_path {at}/{kind};\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/errors;\nevents {{}}\nhttp {{\n{temporary}\
             log_format one '$connection $status $request_uri';\n  access_log {at}/log one;\n\
             gzip on;\n  gzip_types *;\n  gzip_min_length 1;\n  gzip_proxied any;\n\
             server {{\n    listen 127.0.0.1:{port};\n    root {root};\n\
             location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}\n\
             location /slow/ {{ alias {root}/; limit_rate 4k; }}\n\
             location /out/ {{ return 302 http://example.org/; }}\n\
             location /busy/ {{ return 503; }}\n\
             location /private/ {{ alias {root}/; auth_basic here; auth_basic_user_file {at}/users; }}\n  }}\n}}\n"
        );
        let path = scratch.write("nginx.conf", configuration);
        scratch.write("users", "user:{PLAIN}secret-word\n");
        let mut nginx = Command::new(program.unwrap());
        nginx
            .args(["-e", "stderr", "-p", at.as_str(), "-c", path.as_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut nginx = Running(nginx.spawn().unwrap());
        loop {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                if nginx.0.try_wait().unwrap().is_none() {
                    return (nginx, port);
                }
                break;
            }
            if let Some(status) = nginx.0.try_wait().unwrap() {
                let errors = fs_err::read_to_string(at.join("errors")).unwrap_or_default();
                assert!(errors.contains("bind()"), "{status}: {errors}");
                break;
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn nginx_is_installed_from() {
    let there = Command::new("nginx").arg("-v").output().is_ok() || need("/usr/sbin/nginx");
    if !there {
        return;
    }
    let (customer, scratch) = (Customer::new(), Scratch::new());
    let (_running, port) = nginx(&customer.bench.path("bundle"), &scratch);
    let base = format!("http://127.0.0.1:{port}");
    customer.installs_all(&base);
    let log = fs_err::read_to_string(scratch.path().join("log")).unwrap();
    // Cold: the index and its signatures at once, and the archive over one of their connections. Already
    // there: the index.
    let rows: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    let first: BTreeSet<_> = rows.iter().take(2).map(|row| row[2]).collect();
    assert_eq!(first, ["/index.json", "/signatures.json"].into(), "{log}");
    assert_eq!(rows[2][2], "/tool-1.0.0-linux-amd64.tar.gz", "{log}");
    let connections: BTreeSet<_> = rows[..3].iter().map(|row| row[0]).collect();
    assert!(connections.len() <= 2, "two connections are enough: {log}");
    assert_eq!(rows[3][2], "/index.json", "{log}");
    let second: BTreeSet<_> = rows[4..6].iter().map(|row| row[2]).collect();
    assert_eq!(second, first, "{log}");
    for (way, status) in [("moved", 0), ("slow", 0), ("out", 4), ("busy", 5), ("private", 5)] {
        let line = format!("install --index {base}/{way}/index.json --pubkey key.pub --platform linux-amd64 --no-run");
        let output = customer.bench.command(&format!("{line} --prefix {way}")).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{way}: {}", both(&output));
        assert_eq!(customer.bench.path(way).join("bin/tool").exists(), status == 0);
    }
    let line = format!("install --index http://user:secret-word@127.0.0.1:{port}/private/index.json --pubkey key.pub");
    let line = format!("{line} --platform linux-amd64 --no-run --prefix private");
    let output = customer.bench.command(&line).output().unwrap();
    assert!(output.status.success() && !both(&output).contains("secret-word"), "{}", both(&output));
}

#[test]
fn what_ends_too_early_is_not_installed() {
    let whole = files()[&archive()].clone();
    for sent in [0, 1, whole.len() / 2, whole.len() - 1] {
        let part = whole[..sent].to_vec();
        let length = whole.len();
        // Every time from the beginning, and never to the end.
        let server = serving(&archive(), move |_, stream| {
            send(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            send(stream, &part);
        });
        refuses(&format!("{sent} bytes"), &server, 4, "size_mismatch");
        assert!(asked(&server) <= 3, "{}", asked(&server));
        // Without a length nobody but the index knows better.
        let part = whole[..sent].to_vec();
        let server = answering([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(), part].concat());
        refuses(&format!("{sent} bytes without a length"), &server, 4, "size_mismatch");
        assert_eq!(asked(&server), 1);
    }
}

#[test]
fn what_lies_about_its_length_is_not_installed() {
    let length = files()[&archive()].len();
    for (headers, exit, code) in [
        (format!("Content-Length: {}\r\n", length - 1), 4, "size_mismatch"),
        (format!("Content-Length: {}\r\n", length + 1), 4, "file_too_large"),
        ("Content-Length: 0\r\n".to_owned(), 4, "size_mismatch"),
    ] {
        let server = answering(raw(&headers));
        refuses(&headers, &server, exit, code);
        assert_eq!(asked(&server), 1, "{headers}");
    }
    for headers in [
        format!("Content-Length: {length}\r\nContent-Length: {}\r\n", length + 1),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: many\r\n".to_owned(),
        "Content-Length: 18446744073709551615\r\n".to_owned(),
        "Content-Length: 99999999999999999999999\r\n".to_owned(),
    ] {
        refuses(&headers, &answering(raw(&headers)), 5, "remote_unavailable");
    }
    // Too much after the right length is no part of the answer.
    let mut longer = good(&files()[&archive()]);
    longer.extend(b"more");
    installs("more than it says", &answering(longer));
}

#[test]
fn an_answer_in_pieces_or_of_an_old_server_is_installed() {
    let whole = files()[&archive()].clone();
    let mut pieces = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in whole.chunks(100) {
        pieces.extend(format!("{:x};a=b\r\n", piece.len()).bytes());
        pieces.extend(piece);
        pieces.extend(b"\r\n");
    }
    let cut_off = pieces.clone();
    pieces.extend(b"0\r\nTrailer: x\r\n\r\n");
    installs("in pieces", &answering(pieces));
    let refused = answering(cut_off);
    refuses("pieces without an end", &refused, 5, "remote_unavailable");
    installs("without a length", &answering(raw("Connection: close\r\n")));
    installs("of HTTP 1.0", &answering([b"HTTP/1.0 200 OK\r\n\r\n", &whole[..]].concat()));
    // Whatever it says of the encoding, the bytes are the file's own.
    let length = whole.len();
    installs("encoded", &answering(raw(&format!("Content-Encoding: gzip\r\nContent-Length: {length}\r\n"))));
    let encoded = answer("200 OK", "Content-Encoding: gzip\r\n", &hostile::gzip(&whole));
    let server = answering(encoded);
    let victim = Victim::new();
    let output = victim.bench.unmoved("packed again", &mut victim.install(&server.url("index.json")), 4, "code");
    assert!(both(&output).contains("file_too_large") || both(&output).contains("size_mismatch"), "{}", both(&output));
    victim.assert_unmoved("packed again");
}

/// Breaks off in the middle at first; then whatever is wanted.
fn broken_off(then: impl Fn(&Request, &[u8], &mut TcpStream) + Send + Sync + 'static) -> Server {
    let whole = files()[&archive()].clone();
    serving(&archive(), move |request, stream| match request.earlier {
        0 => {
            let head = format!("HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: {}\r\n\r\n", whole.len());
            send(stream, head.as_bytes());
            send(stream, &whole[..200]);
        }
        _ => then(request, &whole, stream),
    })
}

/// The part of a file from some byte on.
fn part(from: usize, total: usize, bytes: &[u8]) -> Vec<u8> {
    let range = format!("Content-Range: bytes {from}-{}/{total}\r\nETag: \"one\"\r\n", from + bytes.len() - 1);
    answer("206 Partial Content", &range, bytes)
}

#[test]
fn what_breaks_off_is_installed_when_it_goes_on() {
    let server = broken_off(|request, whole, stream| {
        let from = wanted(request).unwrap();
        // Once more it breaks off, a little later.
        let to = if request.earlier == 1 { from + 50 } else { whole.len() };
        let mut reply = part(from, whole.len(), &whole[from..]);
        reply.truncate(reply.len() - (whole.len() - to));
        send(stream, &reply);
    });
    installs("goes on", &server);
    let heads: Vec<_> = server.requests().into_iter().filter(|request| request.path.ends_with(&archive())).collect();
    assert_eq!(heads.iter().map(wanted).collect::<Vec<_>>(), [None, Some(200), Some(250)]);
    installs("from the beginning", &broken_off(|_, whole, stream| send(stream, &good(whole))));
    installs(
        "in parts of its own",
        &broken_off(|request, whole, stream| {
            let from = wanted(request).unwrap();
            let to = whole.len().min(from + 300);
            send(stream, &part(from, whole.len(), &whole[from..to]));
        }),
    );
}

#[test]
fn what_goes_on_otherwise_is_not_installed() {
    type Reply = fn(usize, &[u8]) -> Vec<u8>;
    let replies: [(&str, Reply, i32, &str); 9] = [
        ("another part", |_, whole| part(0, whole.len(), &whole[..100]), 5, "remote_unavailable"),
        ("a later part", |from, whole| part(from + 1, whole.len(), &whole[from + 1..]), 5, "remote_unavailable"),
        ("a part of another file", |from, whole| part(from, whole.len() + 9, &whole[from..]), 5, "remote_unavailable"),
        ("no range", |from, whole| answer("206 Partial Content", "", &whole[from..]), 5, "remote_unavailable"),
        ("no such part", |_, _| answer("416 Range Not Satisfiable", "", b""), 5, "remote_unavailable"),
        ("a shorter file", |_, whole| good(&whole[..whole.len() - 1]), 5, "remote_unavailable"),
        ("it is gone", |_, _| answer("404 Not Found", "", b""), 5, "remote_not_found"),
        (
            "the end of another file",
            |from, whole| part(from, whole.len(), &vec![b'x'; whole.len() - from]),
            4,
            "digest_mismatch",
        ),
        ("another file of that length", |_, whole| good(&vec![b'x'; whole.len()]), 4, "digest_mismatch"),
    ];
    for (what, reply, exit, code) in replies {
        let server = broken_off(move |request, whole, stream| send(stream, &reply(wanted(request).unwrap(), whole)));
        refuses(what, &server, exit, code);
        assert_eq!(asked(&server), 2, "{what} is not asked for again");
    }
}

#[test]
fn other_answers_than_the_file_are_not_installed() {
    let page = answer("200 OK", "Content-Type: text/html\r\n", b"<!doctype html><title>Sign in</title>");
    let whole = files()[&archive()].clone();
    for (what, reply, exit, code) in [
        ("a page", page.clone(), 4, "size_mismatch"),
        ("not there", answer("404 Not Found", "", &whole), 5, "remote_not_found"),
        ("gone", answer("410 Gone", "", &whole), 5, "remote_not_found"),
        ("sign in", answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", &whole), 5, "remote_unavailable"),
        ("forbidden", answer("403 Forbidden", "", &whole), 5, "remote_unavailable"),
        ("broken", answer("500 Internal Server Error", "", &whole), 5, "remote_unavailable"),
        ("nothing", answer("204 No Content", "", b""), 5, "remote_unavailable"),
        ("another kind of good", answer("203 Non-Authoritative Information", "", &whole), 5, "remote_unavailable"),
        ("as before", answer("304 Not Modified", "", b""), 5, "remote_unavailable"),
        ("several", answer("300 Multiple Choices", "Location: /x\r\n", &whole), 5, "remote_unavailable"),
        ("a part that nobody wanted", part(0, whole.len(), &whole), 5, "remote_unavailable"),
        ("a part of nothing", answer("206 Partial Content", "", &whole), 5, "remote_unavailable"),
        ("later", answer("503 Service Unavailable", "Retry-After: 3600\r\n", b""), 5, "remote_unavailable"),
        ("much later", answer("429 Too Many Requests", "Retry-After: 99999999\r\n", b""), 5, "remote_unavailable"),
    ] {
        let server = answering(reply);
        refuses(what, &server, exit, code);
        assert_eq!(asked(&server), 1, "{what}");
    }
    let server = serving("index.json", move |_, stream| send(stream, &page));
    refuses("a page for the index", &server, 4, "document_invalid");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn who_is_busy_is_asked_again() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let whole = files()[&archive()].clone();
        let server = serving(&archive(), move |request, stream| {
            let busy = answer(status, "Retry-After: 0\r\n", b"");
            send(stream, &if request.earlier == 0 { busy } else { good(&whole) });
        });
        installs(status, &server);
        assert_eq!(asked(&server), 2);
    }
    let server = answering(answer("503 Service Unavailable", "Retry-After: 0\r\n", b""));
    refuses("always busy", &server, 5, "remote_unavailable");
    assert_eq!(asked(&server), 3);
}

#[test]
fn what_is_changed_between_two_requests_is_not_installed() {
    // The archive is another one already.
    let mut other = files()[&archive()].clone();
    *other.last_mut().unwrap() ^= 1;
    refuses("another archive", &answering(good(&other)), 4, "digest_mismatch");
    // The index is another one when its signatures come, or the signatures are those of another one.
    let victim = Victim::new();
    let one = crate::install::signed(crate::install::release("1.1.0"), "1.1.0", scene().key.as_ref());
    let two = crate::install::signed(crate::install::release("1.2.0"), "1.2.0", scene().key.as_ref());
    for (index, rest) in [(one.clone(), two.clone()), (two, one)] {
        let server = Server::start(move |request, stream| {
            let path = request.path.trim_start_matches('/');
            let files = if path == "index.json" { &index } else { &rest };
            send(stream, &files.get(path).map_or_else(|| answer("404 Not Found", "", b""), |bytes| good(bytes)));
        });
        let line = format!("install --index {} --pubkey key.pub", server.url("index.json"));
        victim.refused("mixed", &mut victim.command(&line), 4, "sig_invalid");
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn what_does_not_end_is_ended() {
    let begun = Instant::now();
    let endless = serving(&archive(), |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    refuses("an endless body", &endless, 4, "file_too_large");
    assert_eq!(asked(&endless), 1);
    let index = serving("index.json", |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b' '; 10_000]).is_ok() {}
    });
    refuses("an endless index", &index, 4, "file_too_large");
    let pieces = serving(&archive(), |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n").is_ok() {}
    });
    refuses("endless pieces", &pieces, 4, "file_too_large");
    let headers = serving(&archive(), |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X: y\r\n").is_ok() {}
    });
    refuses("endless headers", &headers, 5, "remote_unavailable");
    let header = serving(&archive(), |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(&[b'y'; 1000]).is_ok() {}
    });
    refuses("an endless header", &header, 5, "remote_unavailable");
    let promises = serving(&archive(), |_, stream| while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {});
    let victim = Victim::new();
    let mut command = victim.install(&promises.url("index.json"));
    command.env("CONSIGN_HTTP_TIMEOUT", "1");
    victim.refused("endless promises", &mut command, 5, "remote_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}

#[test]
fn who_falls_silent_or_drips_is_given_up() {
    let drip = |stream: &mut TcpStream| {
        let nagle = stream.set_nodelay(true);
        while nagle.is_ok() && stream.write_all(b"x").is_ok() {
            // Slow, and never silent.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    };
    let silent = serving(&archive(), |_, stream| stay_silent(stream));
    let stalls = serving(&archive(), |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        stay_silent(stream);
    });
    let index = serving("index.json", |_, stream| stay_silent(stream));
    let drips = serving(&archive(), move |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\n\r\n");
        drip(stream);
    });
    let head = serving(&archive(), move |_, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nX: ");
        drip(stream);
    });
    std::thread::scope(|scope| {
        for (what, server) in [
            ("silent", &silent),
            ("stalls", &stalls),
            ("a silent index", &index),
            ("drips", &drips),
            ("a head that drips", &head),
        ] {
            scope.spawn(move || {
                let victim = Victim::new();
                let mut command = victim.install(&server.url("index.json"));
                command.env("CONSIGN_HTTP_TIMEOUT", "1");
                victim.refused(what, &mut command, 5, "remote_unavailable");
                assert!(asked(server) <= 1, "{what} is asked again");
            });
        }
    });
    let victim = Victim::new();
    for wrong in ["0", "-1", "soon", "1.5", "99999999999999999999"] {
        let mut command = victim.install(&index.url("index.json"));
        command.env("CONSIGN_HTTP_TIMEOUT", wrong);
        victim.refused(wrong, &mut command, 3, "config_invalid");
    }
}

#[test]
fn nobody_there_and_nothing_said_are_remote_troubles() {
    let victim = Victim::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let index = format!("http://127.0.0.1:{port}/index.json");
    victim.refused("nobody", &mut victim.install(&index), 5, "remote_unavailable");
    let closes = serving(&archive(), |_, stream| drop(stream.shutdown(Shutdown::Both)));
    refuses("hangs up", &closes, 5, "remote_unavailable");
    assert_eq!(asked(&closes), 3);
    for nonsense in [&b"no HTTP at all\r\n\r\n"[..], b"\0\0\0\0", b"HTTP/9.9 200 OK\r\n\r\n", b"SSH-2.0-x\r\n\r\n"] {
        let what = String::from_utf8_lossy(nonsense).into_owned();
        refuses(&what, &answering(nonsense.to_vec()), 5, "remote_unavailable");
    }
}

/// A certificate authority, and a certificate of this machine and of a name that is not in any directory.
struct Authority {
    scratch: Scratch,
}

const HOST: &str = "releases.invalid";

impl Authority {
    fn new() -> Option<Self> {
        if !need("openssl") {
            return None;
        }
        let authority = Self { scratch: Scratch::new() };
        let extensions = format!("subjectAltName=IP:127.0.0.1,DNS:{HOST}\nextendedKeyUsage=serverAuth\n");
        authority.scratch.write("extensions", extensions);
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for line in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
            format!("req {key} -keyout server.key -out server.csr -subj /CN=server"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem"
                .to_owned(),
        ] {
            succeed(Command::new("openssl").args(line.split(' ')).current_dir(authority.scratch.path()));
        }
        Some(authority)
    }

    fn certificate(&self) -> String {
        self.scratch.path().join("ca.pem").into_string()
    }

    /// Speaks TLS with whoever comes, and plainly with a server; gives the port.
    fn before(&self, server: &Server) -> u16 {
        let read = |name: &str| fs_err::read(self.scratch.path().join(name)).unwrap();
        let certificate = CertificateDer::from_pem_slice(&read("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
        let (listener, plain) = (TcpListener::bind("127.0.0.1:0").unwrap(), server.port);
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = StreamOwned::new(connection, stream.unwrap());
                // Whoever does not trust the certificate hangs up.
                std::thread::spawn(move || drop(relay(stream, plain)));
            }
        });
        port
    }
}

/// Hands one request on, and its answer back.
fn relay(mut stream: StreamOwned<ServerConnection, TcpStream>, to: u16) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut plain = TcpStream::connect(("127.0.0.1", to))?;
    plain.write_all(&head)?;
    io::copy(&mut plain, &mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn run(victim: &Victim, index: &str, settings: &[(&str, &str)]) -> Output {
    let mut command = victim.install(index);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(settings.iter().copied()).output().unwrap()
}

#[test]
fn a_secure_place_is_one_whose_certificate_is_known() {
    let Some(authority) = Authority::new() else { return };
    let server = Server::of_files(files());
    let port = authority.before(&server);
    let index = format!("https://127.0.0.1:{port}/index.json");
    let victim = Victim::new();
    let mut command = victim.install(&index);
    let told = victim.refused("a certificate of nobody", &mut command, 5, "remote_unavailable");
    assert!(told["hint"].to_string().contains("certificate"), "{told}");
    assert_eq!(server.requests().len(), 0, "nothing was asked before the certificate was seen");
    let certificate = authority.certificate();
    let trusted = [("SSL_CERT_FILE", certificate.as_str())];
    // The right authority, and a name that is not in the certificate.
    let output = run(&victim, &index.replace("127.0.0.1", "localhost"), &trusted);
    assert_eq!(output.status.code(), Some(5), "{}", both(&output));
    victim.assert_unmoved("another name");
    let output = run(&victim, &index, &trusted);
    assert!(output.status.success(), "{}", both(&output));
    assert_installed(&victim, "a known certificate");
    // Plain HTTP at a port of TLS, and the other way round.
    let output = run(&victim, &index.replace("https", "http"), &trusted);
    assert_eq!(output.status.code(), Some(5), "{}", both(&output));
    let output = run(&victim, &server.url("index.json").replace("http", "https"), &trusted);
    assert_eq!(output.status.code(), Some(5), "{}", both(&output));
}

#[test]
fn a_secure_place_leads_to_no_weaker_one() {
    let Some(authority) = Authority::new() else { return };
    let certificate = authority.certificate();
    let trusted = [("SSL_CERT_FILE", certificate.as_str())];
    let plain = Server::of_files(files());
    for location in [plain.url("index.json"), "http://127.0.0.1/x".to_owned(), "file:///etc/passwd".to_owned()] {
        let victim = Victim::new();
        let reply = answer("302 Found", &format!("Location: {location}\r\n"), b"");
        let port = authority.before(&Server::always(reply));
        let mut command = victim.install(&format!("https://127.0.0.1:{port}/index.json"));
        command.envs(trusted);
        victim.refused(&location, &mut command, 4, "redirect_refused");
        assert_eq!(plain.requests().len(), 0, "{location}");
    }
    // From a secure place to a secure place, and without the first one's credentials.
    let to = format!("https://127.0.0.1:{}", authority.before(&plain));
    let from = Server::start(move |request, stream| {
        send(stream, &answer("307 Temporary Redirect", &format!("Location: {to}{}\r\n", request.path), b""));
    });
    let index = format!("https://user:canary@127.0.0.1:{}/index.json", authority.before(&from));
    let victim = Victim::new();
    let output = run(&victim, &index, &trusted);
    assert!(output.status.success() && !both(&output).contains("canary"), "{}", both(&output));
    assert!(from.requests().iter().all(|request| request.head.to_lowercase().contains("authorization: basic")));
    assert!(!plain.requests().iter().any(|request| request.head.to_lowercase().contains("authorization")));
}

/// A proxy that leads every secure connection to one port, or answers all with a refusal; and what it was asked.
fn proxy(leads_to: Option<u16>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), Arc::clone(&seen));
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if !matches!(stream.read(&mut byte), Ok(1)) {
                        return;
                    }
                    head.push(byte[0]);
                }
                seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                let Some(port) = leads_to else {
                    return send(&mut stream, &answer("407 Proxy Authentication Required", "", b"no"));
                };
                send(&mut stream, b"HTTP/1.1 200 Connection established\r\n\r\n");
                let mut onward = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let (mut back, mut forth) = (onward.try_clone().unwrap(), stream.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = io::copy(&mut back, &mut forth);
                    let _ = forth.shutdown(Shutdown::Both);
                });
                let _ = io::copy(&mut stream, &mut onward);
                let _ = onward.shutdown(Shutdown::Both);
            });
        }
    });
    (port, asked)
}

#[test]
fn a_proxy_is_used_where_the_environment_names_one() {
    let Some(authority) = Authority::new() else { return };
    let certificate = authority.certificate();
    let server = Server::of_files(files());
    let (port, asked) = proxy(Some(authority.before(&server)));
    let address = format!("http://user:canary@127.0.0.1:{port}");
    let index = format!("https://{HOST}/index.json");
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let victim = Victim::new();
        let output = run(&victim, &index, &[("SSL_CERT_FILE", &certificate), (name, &address)]);
        assert!(output.status.success(), "{name}: {}", both(&output));
        assert_installed(&victim, name);
        assert!(!both(&output).contains("canary"), "{}", both(&output));
    }
    let heads = std::mem::take(&mut *asked.lock().unwrap());
    assert!(heads.iter().all(|head| head.starts_with(&format!("CONNECT {HOST}:443 "))), "{heads:?}");
    assert!(heads.iter().all(|head| head.to_lowercase().contains("proxy-authorization: basic")), "{heads:?}");
    // The proxy's password is nothing that the server behind it sees.
    let seen = server.requests();
    assert!(!seen.iter().any(|request| request.head.to_lowercase().contains("authorization")), "{seen:?}");
    // A place that is excepted is looked for without it, and there is none of that name.
    let victim = Victim::new();
    let settings = [("SSL_CERT_FILE", certificate.as_str()), ("HTTPS_PROXY", &address), ("NO_PROXY", HOST)];
    let output = run(&victim, &index, &settings);
    assert_eq!(output.status.code(), Some(5), "{}", both(&output));
    assert!(!both(&output).contains("canary") && asked.lock().unwrap().is_empty());
    // What is on this machine is never asked for elsewhere.
    let plain = server.url("index.json");
    let output = run(&victim, &plain, &[("HTTP_PROXY", &address), ("http_proxy", &address), ("ALL_PROXY", &address)]);
    assert!(output.status.success() && asked.lock().unwrap().is_empty(), "{}", both(&output));
}

#[test]
fn a_proxy_that_refuses_or_is_not_there_is_a_remote_trouble() {
    let index = format!("https://{HOST}/index.json");
    let (port, asked) = proxy(None);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let victim = Victim::new();
    for port in [port, nobody] {
        let address = format!("http://user:canary@127.0.0.1:{port}");
        let mut command = victim.install(&index);
        command.env("HTTPS_PROXY", &address);
        let told = victim.refused("a proxy", &mut command, 5, "remote_unavailable");
        assert!(!told.to_string().contains("canary"), "{told}");
    }
    assert!(!asked.lock().unwrap().is_empty());
    // A proxy with an unknown certificate behind it is as little believed as the place itself.
    let Some(authority) = Authority::new() else { return };
    let server = Server::of_files(files());
    let (port, _) = proxy(Some(authority.before(&server)));
    let mut command = victim.install(&index);
    command.env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
    victim.refused("another's certificate", &mut command, 5, "remote_unavailable");
    assert!(server.requests().is_empty());
}
