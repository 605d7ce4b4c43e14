//! Fetching files over HTTP, strictly.
//!
//! [`Client::get`] brings a small document into memory and [`Client::download`] a large file to a
//! new place on disk. Only https is spoken, and plain http with this very machine. Every answer is
//! bounded in bytes and in time; redirects are followed one by one and only to a place that is as
//! safe as the one before. Nothing is decompressed: the bytes are those that the other side has
//! stored, and whether they are the right ones is the verifier's question, not this module's.
//!
//! Proxies and certificate authorities are those of the system (`HTTPS_PROXY`, `SSL_CERT_FILE`…);
//! plain http never goes through a proxy. A date in `Retry-After` is not read, for that would need
//! a clock: the usual pause is made instead.

use std::fmt;
use std::io::{Read as _, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header;

use super::files;
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};

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
            std::thread::sleep(wait);
            tried += 1;
            pause = (pause * 2).min(self.options.longest_pause);
        }
    }

    /// One try: follows redirects and copies the answer's body.
    fn fetch(&self, url: &Url, max_bytes: u64, sink: &mut dyn Write) -> Result<u64, Trouble> {
        let started = Instant::now();
        let mut place = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&place)?;
            match response.status() {
                StatusCode::OK => return self.copy(&place, response, max_bytes, started, sink),
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
                status => return Err(refused_answer(&place, status, response.headers())),
            }
        }
        Err(refuse_redirect(url, "that does not end"))
    }

    fn ask(&self, place: &Url) -> Result<Response, Trouble> {
        let client = if place.scheme() == "https" {
            once(&self.outward, || self.outward_client())
        } else {
            once(&self.local, || self.local_client())
        };
        // The address is taken out of the cause, which would show the password in it.
        client
            .map_err(|error| Trouble::last(unreachable_place(place, "set up a connection to", error)))?
            .get(place.clone())
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

/// An address as it is shown: without user name, password, query and fragment, any of which may
/// hold a secret.
pub struct Shown<'a>(pub &'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(url) = self;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(&text::shown(url.path()))
    }
}

/// Reads an address that may be fetched from.
pub fn address(given: &str) -> Result<Url> {
    let url = Url::parse(given).map_err(|error| {
        let shown = text::without_credentials(given).into_owned();
        Failure::new(Code::Usage, format!("{:?} is not an address", text::shown(&shown)))
            .because(error)
            .hint("give an address such as `https://example.org/releases/v1.0.0`")
    })?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(Failure::new(Code::RemoteRefused, format!("`{}` is plain http", Shown(&url)))
            .subject(Shown(&url).to_string())
            .hint("use https; plain http is only spoken with this machine (127.0.0.1, [::1], localhost)")),
        scheme => Err(Failure::new(Code::RemoteRefused, format!("nothing is fetched over `{}`", text::shown(scheme)))
            .subject(Shown(&url).to_string())
            .hint("use https")),
    }
}

/// Whether an address can only mean this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Where a redirect leads: https to https, and this machine to this machine; nothing else.
fn redirected(from: &Url, location: &[u8]) -> Result<Url, Trouble> {
    // The address parser would drop line feeds and tabs without a word.
    let text = std::str::from_utf8(location).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    // A relative redirect would take the user name and password along.
    let mut base = from.clone();
    let _ = base.set_username("");
    let _ = base.set_password(None);
    let to = text.and_then(|text| base.join(text).ok()).ok_or_else(|| refuse_redirect(from, "that is no address"))?;
    if !to.username().is_empty() || to.password().is_some() {
        return Err(refuse_redirect(from, "with a user name in it"));
    }
    match (from.scheme(), to.scheme()) {
        ("https", "https") => Ok(to),
        ("http", "http") if is_loopback(&to) => Ok(to),
        _ => Err(refuse_redirect(from, &format!("to `{}`", Shown(&to)))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    #[test]
    fn plain_http_is_spoken_with_this_machine_only() {
        for good in ["https://example.org/x", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost:8000/x"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for (wrong, code) in [
            ("http://example.org/", Code::RemoteRefused),
            ("http://localhost.example.org/", Code::RemoteRefused),
            ("http://127.0.0.1.example.org/", Code::RemoteRefused),
            ("http://10.0.0.1/", Code::RemoteRefused),
            ("ftp://127.0.0.1/", Code::RemoteRefused),
            ("file:///etc/passwd", Code::RemoteRefused),
            ("data:text/plain,x", Code::RemoteRefused),
            ("example.org/x", Code::Usage),
            ("", Code::Usage),
        ] {
            assert_eq!(address(wrong).expect_err(wrong).code(), code, "{wrong}");
        }
    }

    #[test]
    fn a_redirect_leads_to_a_place_that_is_as_safe_or_nowhere() {
        for (from, location, to) in [
            ("https://a.example/x/y", "z", Some("https://a.example/x/z")),
            ("https://user:pass@a.example/x/y", "z", Some("https://a.example/x/z")),
            ("https://a.example/x", "https://b.example/y?token=1", Some("https://b.example/y?token=1")),
            ("https://a.example/x", "//b.example/y", Some("https://b.example/y")),
            ("https://a.example/x", "http://a.example/x", None),
            ("https://a.example/x", "http://127.0.0.1/x", None),
            ("https://a.example/x", "file:///etc/passwd", None),
            ("https://a.example/x", "https://user:pass@b.example/", None),
            ("https://a.example/x", "/a b", None),
            ("https://a.example/x", "/a\tb", None),
            ("https://a.example/x", "/a\u{7f}", None),
            ("https://a.example/x", "/\u{e4}", None),
            ("http://127.0.0.1/x", "http://[::1]:80/y", Some("http://[::1]/y")),
            ("http://127.0.0.1/x", "https://a.example/", None),
            ("http://127.0.0.1/x", "http://a.example/", None),
            ("http://127.0.0.1/x", "http://169.254.169.254/", None),
        ] {
            let got = redirected(&url(from), location.as_bytes());
            match (got, to) {
                (Ok(got), Some(to)) => assert_eq!(got.as_str(), to),
                (Err(trouble), None) => assert_eq!(trouble.failure.code(), Code::RedirectRefused),
                (Ok(got), None) => panic!("{from} -> {location:?} was followed to {got}"),
                (Err(trouble), Some(_)) => panic!("{from} -> {location:?}: {}", trouble.failure),
            }
        }
    }

    #[test]
    fn no_secret_of_an_address_is_shown() {
        let secret = url("https://user:canary@example.org:8443/a/b?token=canary#canary");
        assert_eq!(Shown(&secret).to_string(), "https://example.org:8443/a/b");
        for wrong in ["http://user:canary@example.org/", "https://user:canary@exa mple.org/", "x://user:canary@host/"] {
            let lines = address(wrong).expect_err(wrong).chain().join("\n");
            assert!(!lines.contains("canary"), "{lines}");
        }
    }
}
