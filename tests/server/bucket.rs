//! A store that speaks S3, of the tests' own: `moto_server`, started once per run and ended with it; and
//! somebody between it and the server who can be told to misbehave.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::place::{Kind, Place};
use crate::support::need;

struct Moto {
    address: String,
    _shell: Child,
}

static MOTO: OnceLock<Moto> = OnceLock::new();
static BUCKETS: AtomicUsize = AtomicUsize::new(0);

/// It ends when the standard input of its shell does.
const SCRIPT: &str = "moto_server -H 127.0.0.1 -p 0 & pid=$!; cat >/dev/null; kill $pid";

fn start() -> Moto {
    let mut shell = Command::new("sh");
    shell.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut shell = shell.env("PYTHONUNBUFFERED", "1").spawn().unwrap();
    let mut lines = BufReader::new(shell.stderr.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "moto_server ended before it said where it is");
        if let Some((_, address)) = line.split_once("Running on ") {
            break address.trim().to_owned();
        }
    };
    // What it says of each request has to go somewhere.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    Moto { address, _shell: shell }
}

/// A bucket.
pub struct Bucket {
    pub endpoint: String,
    pub name: String,
}

impl Bucket {
    /// A new one; nothing where `moto_server` is not installed, which is said.
    pub fn new() -> Option<Self> {
        if !need("moto_server") {
            return None;
        }
        let moto = MOTO.get_or_init(start);
        let name = format!("blobs-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        let bucket = Self { endpoint: moto.address.clone(), name };
        bucket.ask(reqwest::Method::PUT, "", Vec::new());
        Some(bucket)
    }

    /// Does something to an object without asking anybody.
    pub fn ask(&self, method: reqwest::Method, key: &str, body: Vec<u8>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let address = format!("{}/{}/{key}", self.endpoint, self.name);
        // It does not look at signatures, and yet wants to be shown one.
        let request = client.request(method, address).header("authorization", "AWS somebody:signature");
        let answer = request.body(body).send().unwrap();
        assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().unwrap());
    }

    /// A place whose blobs are in this bucket, behind an endpoint.
    pub fn place(&self, kind: Kind, endpoint: &str) -> Option<Place> {
        let mut place = Place::new(kind, &[])?;
        place.variable("CONSIGN_SERVER_BLOBS", &format!("s3://{}/some/where", self.name));
        place.variable("AWS_ENDPOINT_URL_S3", endpoint);
        place.variable("AWS_ACCESS_KEY_ID", "somebody");
        place.variable("AWS_SECRET_ACCESS_KEY", "canary-secret");
        Some(place)
    }
}

/// How a [`Proxy`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As if it was not there.
    Pass,
    /// As if there was a slow line between.
    Slow,
    /// Each request is answered with 500.
    Refuse,
    /// No request is ever answered.
    Silent,
    /// Everything is broken off after some bytes.
    Break,
}

/// Somebody in the middle.
pub struct Proxy {
    pub address: String,
    state: Arc<Mutex<(Manner, Vec<TcpStream>)>>,
}

impl Proxy {
    pub fn before(endpoint: &str) -> Self {
        let target = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new((Manner::Pass, Vec::new())));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), target) = (stream, target.clone()) else { continue };
                let mut state = shared.lock().unwrap();
                state.1.push(stream.try_clone().unwrap());
                let manner = state.0;
                std::thread::spawn(move || behave(manner, stream, &target));
            }
        });
        Self { address, state }
    }

    /// Behaves differently from now on; what is open is closed.
    pub fn behave(&self, manner: Manner) {
        let mut state = self.state.lock().unwrap();
        state.0 = manner;
        for stream in state.1.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn behave(manner: Manner, mut stream: TcpStream, target: &str) {
    match manner {
        Manner::Pass | Manner::Slow => {
            let Ok(mut other) = TcpStream::connect(target) else { return };
            let (mut back, mut forth) = (other.try_clone().unwrap(), stream.try_clone().unwrap());
            let returning = std::thread::spawn(move || {
                let _ = carry(manner, &mut back, &mut forth);
                let _ = forth.shutdown(Shutdown::Both);
            });
            let _ = carry(manner, &mut stream, &mut other);
            let _ = other.shutdown(Shutdown::Write);
            let _ = returning.join();
        }
        Manner::Refuse => {
            let mut piece = [0; 4096];
            let _ = stream.read(&mut piece);
            let answer = "HTTP/1.1 500 no\r\ncontent-length: 36\r\nconnection: close\r\n\r\n<Error><Code>Canary</Code></Error>\r\n";
            let _ = stream.write_all(answer.as_bytes());
            // The rest is read, so that the answer is not lost with it.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
        Manner::Silent => {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
        Manner::Break => {
            let mut piece = [0; 200];
            let _ = stream.read_exact(&mut piece);
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Carries bytes over, at most two megabytes a second where the line is slow.
fn carry(manner: Manner, from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<()> {
    let mut piece = [0; 16 << 10];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&piece[..count])?;
        if manner == Manner::Slow {
            std::thread::sleep(Duration::from_millis(8));
        }
    }
}
