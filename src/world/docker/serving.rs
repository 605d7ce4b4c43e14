//! Files served to containers as a release's own server would: over https, at the gateway of their network.
//!
//! [`Server::start`] listens on that one address and no other, answers whoever is on that network and nobody
//! else, gives out the files it was given by their exact names, and ends when it is dropped. What is asked is a
//! stranger's: heads are bounded, times too, and no path is made of a request.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use fs_err::File;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::authority;
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// How long a request may take to come.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long a client may neither send nor take anything.
const STALL_TIME: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody has come.
const PAUSE: Duration = Duration::from_millis(20);
/// How many clients are answered at once; more are turned away.
const MAX_CLIENTS: usize = 64;
/// How much of a file is held at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Where a container's network meets this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway {
    /// This machine's address there.
    pub address: Ipv4Addr,
    /// How many bits of it are the network's.
    pub prefix_bits: u32,
}

impl Gateway {
    /// Whether somebody is on that network.
    pub fn reaches(self, other: IpAddr) -> bool {
        let IpAddr::V4(other) = other.to_canonical() else { return false };
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix_bits)).unwrap_or(0);
        (self.address.to_bits() ^ other.to_bits()) & mask == 0
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    listening: SocketAddr,
    authority: String,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What all connections share.
struct Site {
    gateway: Gateway,
    files: BTreeMap<String, Utf8PathBuf>,
    tls: Arc<ServerConfig>,
    clients: AtomicUsize,
}

impl Server {
    /// Serves files by their names at a gateway.
    pub fn start(gateway: Gateway, files: BTreeMap<String, Utf8PathBuf>) -> Result<Self> {
        let failed = |error: std::io::Error| unservable(gateway, error);
        let listener = TcpListener::bind((gateway.address, 0)).map_err(failed)?;
        let listening = listener.local_addr().map_err(failed)?;
        // An engine may take the address away before the end, so no client can be counted on to wake it up.
        listener.set_nonblocking(true).map_err(failed)?;
        let credentials = authority::issue(gateway.address)?;
        let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                let config = config.with_no_client_auth();
                config.with_single_cert(vec![credentials.certificate], credentials.key.into())
            });
        let config = config.map_err(|error| Failure::new(Code::Io, "failed to set up https").because(error))?;
        let site = Arc::new(Site { gateway, files, tls: config.into(), clients: AtomicUsize::new(0) });
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || accept(&listener, &site, &over));
        Ok(Self { listening, authority: credentials.authority, is_over, thread: Some(thread) })
    }

    /// The address of the directory that is served, without a slash at its end.
    pub fn url(&self) -> String {
        format!("https://{}", self.listening)
    }

    /// The certificate by which clients know the server.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panics nowhere, and if it did there would be nothing left to end.
            let _ = thread.join();
        }
    }
}

fn unservable(gateway: Gateway, error: std::io::Error) -> Failure {
    let address = gateway.address;
    let failure = if error.kind() == ErrorKind::AddrNotAvailable {
        let message = format!("the engine's network does not meet this machine: `{address}` is none of its addresses");
        Failure::new(Code::EngineFailed, message)
    } else {
        Failure::new(
            Code::EngineFailed,
            format!("failed to listen at `{address}`, the gateway of the engine's network"),
        )
    };
    failure.because(error).hint(
        "an engine that is remote, rootless or in a virtual machine cannot be served: use one of this machine, or `bundle = true`",
    )
}

fn accept(listener: &TcpListener, site: &Arc<Site>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let Ok((connection, peer)) = listener.accept() else {
            // Nobody is there; or too many files are open, and some will be closed.
            std::thread::sleep(PAUSE);
            continue;
        };
        let is_known = site.gateway.reaches(peer.ip());
        if !is_known || site.clients.fetch_add(1, Ordering::Relaxed) >= MAX_CLIENTS {
            if is_known {
                site.clients.fetch_sub(1, Ordering::Relaxed);
            }
            continue;
        }
        let site = Arc::clone(site);
        std::thread::spawn(move || {
            // A client that goes away or speaks something else is its own loss.
            let _ = attend(connection, &site);
            site.clients.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// One connection, one answer.
fn attend(connection: TcpStream, site: &Site) -> std::io::Result<()> {
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(STALL_TIME))?;
    connection.set_write_timeout(Some(STALL_TIME))?;
    connection.set_nodelay(true)?;
    let tls = ServerConnection::new(Arc::clone(&site.tls)).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(tls, connection);
    let head = read_head(&mut stream)?;
    answer(&head, &site.files, &mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// A request up to its empty line.
fn read_head(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let begun = Instant::now();
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD_BYTES || begun.elapsed() > HEAD_TIME {
            return Err(ErrorKind::InvalidData.into());
        }
        match stream.read(&mut piece)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    Ok(head)
}

fn answer(head: &[u8], files: &BTreeMap<String, Utf8PathBuf>, out: &mut impl Write) -> std::io::Result<()> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !matches!(method, "GET" | "HEAD") {
        return refuse(out, "405 Method Not Allowed");
    }
    // Names are compared and nothing is decoded: what is not among them is not there.
    let Some(path) = target.strip_prefix('/').and_then(|name| files.get(name)) else {
        return refuse(out, "404 Not Found");
    };
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    write!(
        out,
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n"
    )?;
    if method == "HEAD" {
        return Ok(());
    }
    let mut file = file.take(size);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => out.write_all(&piece[..read])?,
        }
    }
}

fn refuse(out: &mut impl Write, status: &str) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Gateway = Gateway { address: Ipv4Addr::LOCALHOST, prefix_bits: 8 };

    fn said(request: &str) -> String {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"the index").expect("written");
        let path = Utf8PathBuf::from_path_buf(file.path().to_owned()).expect("UTF-8");
        let mut out = Vec::new();
        let files = BTreeMap::from([("index.json".to_owned(), path)]);
        answer(format!("{request} HTTP/1.1\r\n\r\n").as_bytes(), &files, &mut out).expect("answered");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn files_are_given_out_by_their_exact_names() {
        assert!(said("GET /index.json").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(said("GET /index.json").ends_with("content-length: 9\r\nconnection: close\r\n\r\nthe index"));
        assert!(said("HEAD /index.json").ends_with("close\r\n\r\n"));
        for request in [
            "GET /",
            "GET /../index.json",
            "GET //index.json",
            "GET /index.json?x",
            "GET /%69ndex.json",
            "GET index.json",
            "GET",
        ] {
            assert!(said(request).starts_with("HTTP/1.1 404"), "{request}");
        }
        for request in ["POST /index.json", "", "\u{0}"] {
            assert!(said(request).starts_with("HTTP/1.1 405"), "{request}");
        }
    }

    #[test]
    fn a_head_without_an_end_is_not_read_for_ever() {
        assert_eq!(read_head(&mut std::io::repeat(b'x')).expect_err("refused").kind(), ErrorKind::InvalidData);
        assert_eq!(read_head(&mut &b"GET / HTTP/1.1\r\n"[..]).expect_err("refused").kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn only_who_is_on_the_network_is_answered() {
        let gateway = Gateway { address: Ipv4Addr::new(172, 18, 0, 1), prefix_bits: 16 };
        for (address, is_reached) in [
            ("172.18.0.2", true),
            ("172.18.255.254", true),
            ("::ffff:172.18.0.2", true),
            ("172.17.0.2", false),
            ("127.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(gateway.reaches(address.parse().expect("an address")), is_reached, "{address}");
        }
        let all = Gateway { prefix_bits: 0, ..gateway };
        assert!(all.reaches(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn a_server_ends_when_it_is_dropped() {
        let server = Server::start(HERE, BTreeMap::new()).expect("a server");
        let listening = server.listening;
        assert_eq!(listening.ip(), IpAddr::V4(HERE.address));
        // Whoever speaks no TLS, or nothing at all, holds up neither others nor the end.
        let silent = TcpStream::connect(listening).expect("connected");
        TcpStream::connect(listening).expect("connected").write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
        drop(server);
        assert!(TcpStream::connect(listening).is_err());
        drop(silent);
    }

    #[test]
    fn a_network_that_does_not_meet_this_machine_is_its_own_sentence() {
        // Set aside for documentation: nobody's address.
        let gateway = Gateway { address: Ipv4Addr::new(192, 0, 2, 1), prefix_bits: 24 };
        let failure = Server::start(gateway, BTreeMap::new()).expect_err("no such address");
        assert!(failure.to_string().contains("does not meet this machine"), "{failure}");
        assert!(failure.way_out().is_some_and(|hint| hint.contains("remote, rootless")));
    }
}
