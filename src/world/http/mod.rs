//! Fetching files over HTTP, strictly.
//!
//! [`Client::get`] brings a small document into memory, [`Client::download`] a large file to a new
//! place on disk, and what [`Client::open`] gives is read while it comes. Only https is spoken, and
//! plain http with this very machine. Every answer is bounded in bytes and in time; redirects are
//! followed one by one and only to a place that is as safe as the one before. Nothing is
//! decompressed: the bytes are those that the other side has stored, and whether they are the right
//! ones is the verifier's question, not this module's.
//!
//! Proxies and certificate authorities are those of the system (`HTTPS_PROXY`, `SSL_CERT_FILE`…);
//! plain http never goes through a proxy. A date in `Retry-After` is not read, for that would need
//! a clock: the usual pause is made instead.

mod address;
mod download;
#[cfg(feature = "toolchain")]
pub mod exchange;
#[cfg(feature = "toolchain")]
mod parts;

use std::io::{Read as _, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header;

pub use address::{Shown, address, is_loopback};
pub use download::Download;

use self::address::redirected;
use super::files;
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// How many redirects are followed for one file.
const MAX_REDIRECTS: usize = 5;
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// How long to wait, and how often to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For the head of the answer, and for each further piece of it.
    pub stall_timeout: Duration,
    /// For one file as a whole, in one try.
    pub overall_timeout: Duration,
    /// The slowest speed that is put up with.
    pub minimum_bytes_per_second: u64,
    /// How long a file may be slower than that at its beginning.
    pub slow_start: Duration,
    /// How often one file is asked for.
    pub tries: u32,
    /// The pause after the first try; it doubles after each further one.
    pub first_pause: Duration,
    /// The longest pause that the other side may ask for.
    pub longest_pause: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            overall_timeout: Duration::from_secs(60 * 60),
            minimum_bytes_per_second: 1 << 10,
            slow_start: Duration::from_secs(20),
            tries: 3,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl ClientOptions {
    /// With another limit to how long the other side may be silent, or too slow.
    #[must_use]
    pub fn waiting(patience: Duration) -> Self {
        Self { connect_timeout: patience, stall_timeout: patience, slow_start: patience, ..Self::default() }
    }
}

/// Fetches files. Making one costs nothing: sockets, threads and certificates wait for the first file.
#[derive(Debug, Default)]
pub struct Client {
    options: ClientOptions,
    /// For https.
    outward: OnceLock<reqwest::blocking::Client>,
    /// For plain http with this machine: without proxies, and without certificates.
    local: OnceLock<reqwest::blocking::Client>,
}

impl Client {
    /// A client that has done nothing yet.
    pub fn new(options: ClientOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// A document of at most `max_bytes`.
    pub fn get(&self, url: &str, max_bytes: u64) -> Result<Vec<u8>> {
        let url = address(url)?;
        self.persist(|| {
            let mut bytes = Vec::new();
            self.fetch(&url, max_bytes, &mut bytes)?;
            Ok(bytes)
        })
    }

    /// Writes a file of at most `max_bytes` to a path where nothing may be yet, and gives its size.
    ///
    /// Only this user can read the file. Each try starts a new one, and a failure leaves none.
    pub fn download(&self, url: &str, max_bytes: u64, to: &Utf8Path) -> Result<u64> {
        let url = address(url)?;
        self.persist(|| {
            let mut file = create_private(to).map_err(|error| Trouble::last(files::failed("create", to, error)))?;
            self.fetch(&url, max_bytes, &mut file).inspect_err(|_| {
                // What is left is the failure that is already being told.
                let _ = fs_err::remove_file(to);
            })
        })
    }

    /// Tries until it works, until trying again makes no sense, or until it was tried often enough.
    fn persist<T>(&self, attempt: impl Fn() -> Result<T, Trouble>) -> Result<T> {
        let mut pause = self.options.first_pause;
        let mut tried = 1;
        loop {
            let Trouble { failure, again } = match attempt() {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            let wait = match again {
                Again::Never => return Err(failure),
                Again::Soon => pause,
                Again::After(asked) if asked > self.options.longest_pause => {
                    return Err(failure.hint(format!("try again in {} seconds", asked.as_secs())));
                }
                Again::After(asked) => asked.max(pause),
            };
            if tried >= self.options.tries {
                return Err(failure);
            }
            std::thread::sleep(wait + jitter(pause));
            tried += 1;
            pause = (pause * 2).min(self.options.longest_pause);
        }
    }

    /// A file of at most `max_bytes`, to be read while it comes. A connection that breaks is made anew
    /// where it broke; that all of it is one file is for the reader's digest to see.
    pub fn open(&self, url: &str, max_bytes: u64) -> Result<Download<'_>> {
        let url = address(url)?;
        self.persist(|| Download::begin(self, &url, max_bytes))
    }

    /// One try: follows redirects and copies the answer's body.
    fn fetch(&self, url: &Url, max_bytes: u64, sink: &mut dyn Write) -> Result<u64, Trouble> {
        let started = Instant::now();
        let (place, response) = self.follow(url, &header::HeaderMap::new())?;
        match response.status() {
            StatusCode::OK => self.copy(&place, response, max_bytes, started, sink),
            status => Err(refused_answer(&place, status, response.headers())),
        }
    }

    /// Asks, and asks again wherever redirects lead.
    fn follow(&self, url: &Url, headers: &header::HeaderMap) -> Result<(Url, Response), Trouble> {
        let mut place = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&place, headers)?;
            match response.status() {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let mut locations = response.headers().get_all(header::LOCATION).iter();
                    let (location, further) = (locations.next(), locations.next());
                    place = match (location, further) {
                        (Some(location), None) => redirected(&place, location.as_bytes())?,
                        (None, _) => return Err(refuse_redirect(&place, "that names no place")),
                        (Some(_), Some(_)) => return Err(refuse_redirect(&place, "that names several places")),
                    };
                }
                _ => return Ok((place, response)),
            }
        }
        Err(refuse_redirect(url, "that does not end"))
    }

    fn ask(&self, place: &Url, headers: &header::HeaderMap) -> Result<Response, Trouble> {
        let client = if place.scheme() == "https" {
            once(&self.outward, || self.outward_client())
        } else {
            once(&self.local, || self.local_client())
        };
        // The address is taken out of the cause, which would show the password in it.
        client
            .map_err(|error| Trouble::last(unreachable_place(place, "set up a connection to", error)))?
            .get(place.clone())
            .headers(headers.clone())
            // Some servers compress on the fly unless they are told not to.
            .header(header::ACCEPT_ENCODING, "identity")
            .send()
            .map_err(|error| Trouble { again: again_after(&error), failure: unreachable_place(place, "reach", error) })
    }

    /// Copies a body, watching its size, its speed and the time.
    fn copy(
        &self,
        place: &Url,
        mut response: Response,
        max_bytes: u64,
        started: Instant,
        sink: &mut dyn Write,
    ) -> Result<u64, Trouble> {
        let announced = response.content_length();
        if announced.is_some_and(|announced| announced > max_bytes) {
            return Err(too_large(place, max_bytes));
        }
        let mut piece = vec![0; PIECE_BYTES];
        let mut copied = 0;
        loop {
            let read = response.read(&mut piece).map_err(|error| broken_off(place, announced, copied, error))?;
            if read == 0 {
                return Ok(copied);
            }
            copied += read as u64;
            if copied > max_bytes {
                return Err(too_large(place, max_bytes));
            }
            sink.write_all(&piece[..read]).map_err(|error| {
                let message = format!("failed to store `{}`", Shown(place));
                Trouble::last(Failure::new(Code::Io, message).because(error))
            })?;
            self.check_speed(place, started.elapsed(), copied)?;
        }
    }

    fn check_speed(&self, place: &Url, elapsed: Duration, copied: u64) -> Result<(), Trouble> {
        let slow = |problem: &str| {
            let message = format!("`{}` {problem}", Shown(place));
            Trouble::last(
                Failure::new(Code::RemoteUnavailable, message)
                    .subject(Shown(place).to_string())
                    .hint("try again later, or from another network"),
            )
        };
        if elapsed > self.options.overall_timeout {
            return Err(slow("takes longer than it may"));
        }
        let floor = u128::from(self.options.minimum_bytes_per_second) * elapsed.as_micros() / 1_000_000;
        if elapsed > self.options.slow_start && u128::from(copied) < floor {
            return Err(slow("comes too slowly"));
        }
        Ok(())
    }

    fn outward_client(&self) -> reqwest::Result<reqwest::blocking::Client> {
        // An error means that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        self.builder().https_only(true).build()
    }

    fn local_client(&self) -> reqwest::Result<reqwest::blocking::Client> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].map(|ip| SocketAddr::new(ip, 0));
        self.builder()
            .no_proxy()
            // Whatever a resolver says, this name means this machine.
            .resolve_to_addrs("localhost", &loopback)
            .tls_certs_only([])
            .build()
    }

    fn builder(&self) -> reqwest::blocking::ClientBuilder {
        reqwest::blocking::Client::builder()
            .user_agent(concat!("consign/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(self.options.connect_timeout)
            .timeout(self.options.stall_timeout)
    }
}

/// What speaks with one server for a library that has its own requests, as strictly as [`Client`] does:
/// https alone, or plain http with this machine, and no redirects. Times and bounds are its user's.
pub fn speaker(address: &str, connect_timeout: Duration) -> reqwest::Result<reqwest::Client> {
    // An error means that a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(connect_timeout);
    if address.starts_with("https:") {
        return builder.https_only(true).build();
    }
    builder.no_proxy().tls_certs_only([]).build()
}

/// Where a redirect leads, for whoever follows it without [`Client`].
pub fn redirect(from: &Url, location: &[u8]) -> Result<Url> {
    redirected(from, location).map_err(|trouble| trouble.failure)
}

/// A random part of a pause, so that many who were turned away together do not come back together.
pub fn jitter(pause: Duration) -> Duration {
    use std::hash::{BuildHasher as _, Hasher as _};
    // Each of these hashers begins with another random key.
    let random = std::hash::RandomState::new().build_hasher().finish();
    pause.mul_f64(f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX) / 2.0)
}

/// Something went wrong, and whether trying again makes sense.
struct Trouble {
    failure: Failure,
    again: Again,
}

enum Again {
    Never,
    Soon,
    After(Duration),
}

impl Trouble {
    fn last(failure: Failure) -> Self {
        Self { failure, again: Again::Never }
    }
}

fn refuse_redirect(from: &Url, what: &str) -> Trouble {
    let message = format!("`{}` answers with a redirect {what}", Shown(from));
    Trouble::last(
        Failure::new(Code::RedirectRefused, message)
            .subject(Shown(from).to_string())
            .hint("give the address that it should lead to, if you trust it"),
    )
}

fn refused_answer(place: &Url, status: StatusCode, headers: &header::HeaderMap) -> Trouble {
    let shown = Shown(place).to_string();
    if status == StatusCode::NOT_FOUND || status == StatusCode::GONE {
        return Trouble::last(
            Failure::new(Code::RemoteNotFound, format!("there is no `{shown}`"))
                .subject(shown)
                .hint("check the address and the version"),
        );
    }
    let again = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => asked_pause(headers).map_or(Again::Soon, Again::After),
        _ => Again::Never,
    };
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "check that it may be read without signing in",
        _ => "try again later",
    };
    let failure = Failure::new(Code::RemoteUnavailable, format!("`{shown}` answers with status {}", status.as_u16()));
    Trouble { failure: failure.subject(shown).hint(hint), again }
}

/// The pause that an answer asks for in seconds.
fn asked_pause(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn again_after(error: &reqwest::Error) -> Again {
    // A host that takes its time to answer has been waited for long enough already.
    if error.is_timeout() && !error.is_connect() { Again::Never } else { Again::Soon }
}

fn unreachable_place(place: &Url, deed: &str, error: reqwest::Error) -> Failure {
    let shown = Shown(place).to_string();
    Failure::new(Code::RemoteUnavailable, format!("failed to {deed} `{shown}`"))
        .subject(shown)
        .because(error.without_url())
        .hint("check the address, the network, the proxy and the system's certificate authorities")
}

fn too_large(place: &Url, max_bytes: u64) -> Trouble {
    let message = format!("`{}` is larger than {max_bytes} bytes", Shown(place));
    Trouble::last(
        Failure::new(Code::FileTooLarge, message)
            .subject(Shown(place).to_string())
            .hint("what is published there is not what its index says"),
    )
}

/// The body ended before its end.
fn broken_off(place: &Url, announced: Option<u64>, copied: u64, error: std::io::Error) -> Trouble {
    let shown = Shown(place).to_string();
    let timed_out = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<reqwest::Error>())
        .is_some_and(reqwest::Error::is_timeout);
    let (code, message, again) = match announced {
        _ if timed_out => (Code::RemoteUnavailable, format!("`{shown}` stopped to answer"), Again::Never),
        Some(announced) => {
            let message = format!("`{shown}` ended after {copied} bytes of {announced}");
            (Code::SizeMismatch, message, Again::Soon)
        }
        None => (Code::RemoteUnavailable, format!("`{shown}` broke off after {copied} bytes"), Again::Soon),
    };
    Trouble { failure: Failure::new(code, message).subject(shown).because(error).hint("try again later"), again }
}

/// The client in the cell, which is made when it is needed first.
fn once(
    cell: &OnceLock<reqwest::blocking::Client>,
    make: impl FnOnce() -> reqwest::Result<reqwest::blocking::Client>,
) -> reqwest::Result<&reqwest::blocking::Client> {
    if let Some(client) = cell.get() {
        return Ok(client);
    }
    // Two threads may both make one; one of them is used and the other dropped.
    let client = make()?;
    Ok(cell.get_or_init(|| client))
}

fn create_private(path: &Utf8Path) -> std::io::Result<fs_err::File> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}
