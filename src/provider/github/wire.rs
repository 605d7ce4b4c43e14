//! One request after another to GitHub's API, patiently and not too many.
//!
//! [`Wire::call`] sends a request and gives back the answer, whatever its status. It waits where GitHub
//! asks for that, and tries again where that is harmless; where nobody knows whether a request was
//! carried out it says so ([`Trouble::Unsure`]), and whoever asked has to look. No redirect is followed
//! here, and the token goes to the API's own server only.
//!
//! octocrab speaks for us, over the same client that everything else is fetched with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LINK, LOCATION, RETRY_AFTER};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jiff::fmt::rfc2822;
use octocrab::{OctoBody, Octocrab};
use reqwest::Url;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use super::target::{Target, Token};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::world::http::{jitter, speaker};

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// The most that is shown of what the other side says.
const MAX_SHOWN_CHARS: usize = 300;
/// What GitHub asks to be left alone for, where it gives no time.
const SECONDARY_PAUSE: Duration = Duration::from_secs(60);

/// How long to wait, and how often to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For the next byte to go or to come.
    pub stall_timeout: Duration,
    /// How often something is asked for.
    pub tries: u32,
    /// The pause after the first try; it doubles after each further one.
    pub first_pause: Duration,
    /// The longest pause that GitHub may ask for.
    pub longest_pause: Duration,
    /// How many files are sent at a time.
    pub parallel: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(60),
            tries: 4,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(180),
            parallel: 12,
        }
    }
}

/// The way to one server.
pub(super) struct Wire {
    octocrab: Octocrab,
    /// The only place that octocrab shows the token to.
    origin: String,
    token: Option<Token>,
    options: Options,
    /// Nothing is sent before this.
    quiet_until: Mutex<Option<Instant>>,
}

/// A request that can be made again.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub method: Method,
    pub address: String,
    pub body: Option<Vec<u8>>,
}

impl Call {
    pub(super) fn get(address: impl Into<String>) -> Self {
        Self { method: Method::GET, address: address.into(), body: None }
    }

    pub(super) fn delete(address: impl Into<String>) -> Self {
        Self { method: Method::DELETE, address: address.into(), body: None }
    }

    pub(super) fn with(method: Method, address: impl Into<String>, document: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(document).expect("documents of our own can be written");
        Self { method, address: address.into(), body: Some(body) }
    }

    /// Whether it does no harm to make it twice.
    fn is_repeatable(&self) -> bool {
        self.method == Method::GET || self.method == Method::DELETE
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may have been carried out, or not.
    Unsure(Failure),
    /// It was not carried out.
    Failed(Failure),
}

impl Trouble {
    /// The failure, for whoever makes no difference.
    pub(super) fn into_failure(self) -> Failure {
        let (Self::Unsure(failure) | Self::Failed(failure)) = self;
        failure
    }
}

/// Counts whatever shows that a request is still under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn steps(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An answer whose body is still to come.
pub(super) type Response = http::Response<http_body_util::combinators::BoxBody<bytes::Bytes, octocrab::Error>>;

impl Wire {
    /// Sets everything up; nothing is sent. Has to be called inside of a runtime.
    pub(super) fn new(target: &Target, options: Options) -> Result<Self> {
        let api = &target.api;
        let client = speaker(api, options.connect_timeout).map_err(|error| unusable(api, error))?;
        let origin = origin(api);
        let mut builder = Octocrab::builder()
            .base_uri(origin.as_str())
            .and_then(|builder| builder.upload_uri(origin.as_str()))
            .map_err(|error| unusable(api, error))?;
        if let Some(token) = &target.token {
            builder = builder.personal_token(token.secret().to_owned());
        }
        let octocrab = builder.build_with_reqwest(client).map_err(|error| unusable(api, error))?;
        Ok(Self { octocrab, origin, token: target.token.clone(), options, quiet_until: Mutex::default() })
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Makes a call, again where that helps and does no harm. An answer that refuses is an answer.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, Trouble> {
        let mut tried = 1;
        loop {
            let trouble = match self.attempt(call).await {
                Ok(answer) if answer.status.is_server_error() => {
                    Trouble::Unsure(answer.failure(&format!("`{}`", shown(&call.address))))
                }
                Err(Trouble::Unsure(failure)) => Trouble::Unsure(failure),
                settled => return settled,
            };
            if tried >= self.options.tries || !call.is_repeatable() {
                return Err(trouble);
            }
            self.pause(tried).await;
            tried += 1;
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, Trouble> {
        let progress = Progress::default();
        let make = || {
            let request = request(call.method.clone(), &call.address, "application/vnd.github+json");
            match &call.body {
                Some(body) => request.header(CONTENT_TYPE, "application/json").body(OctoBody::from(body.clone())),
                None => request.body(OctoBody::empty()),
            }
        };
        let make = || make().map_err(|error| unusable(&call.address, error));
        match self.send(&call.address, make, &progress).await? {
            Reply::Open(response) => self.read(&call.address, response, &progress).await,
            Reply::Refused(answer) => Ok(answer),
        }
    }

    /// Sends a file as a body, with the token: its caller knows that the address may see it. It is not
    /// tried again.
    pub(super) async fn upload(
        &self,
        address: &str,
        size_bytes: u64,
        progress: &Progress,
        open: impl Fn() -> Result<OctoBody>,
    ) -> Result<Answer, Trouble> {
        let make = || {
            let mut request = request(Method::POST, address, "application/vnd.github+json")
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, size_bytes);
            if let Some(token) = self.token.as_ref().filter(|_| origin(address) != self.origin) {
                request = request.header(AUTHORIZATION, token.header());
            }
            request.body(open()?).map_err(|error| unusable(address, error))
        };
        match self.send(address, make, progress).await? {
            Reply::Open(response) => self.read(address, response, progress).await,
            Reply::Refused(answer) if answer.status.is_server_error() => {
                Err(Trouble::Unsure(answer.failure(&format!("`{}`", shown(address)))))
            }
            Reply::Refused(answer) => Ok(answer),
        }
    }

    /// Asks for the bytes of a file: where they are, or the bytes themselves.
    pub(super) async fn open(&self, address: &str) -> Result<Source, Trouble> {
        let progress = Progress::default();
        let make = || {
            let request = request(Method::GET, address, "application/octet-stream");
            request.body(OctoBody::empty()).map_err(|error| unusable(address, error))
        };
        match self.send(address, make, &progress).await? {
            Reply::Open(response) if response.status().is_redirection() => {
                let from = Url::parse(address).map_err(|error| Trouble::Failed(unusable(address, error)))?;
                let location = response.headers().get(LOCATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
                crate::world::http::redirect(&from, location).map(Source::Elsewhere).map_err(Trouble::Failed)
            }
            Reply::Open(response) => Ok(Source::Here(response)),
            Reply::Refused(answer) => {
                let failure = answer.failure(&format!("`{}`", shown(address)));
                Err(if answer.status.is_server_error() { Trouble::Unsure(failure) } else { Trouble::Failed(failure) })
            }
        }
    }

    /// Reads the next piece of a body.
    pub(super) async fn piece(&self, address: &str, response: &mut Response) -> Result<Option<bytes::Bytes>, Trouble> {
        loop {
            let Ok(frame) = timeout(self.options.stall_timeout, response.body_mut().frame()).await else {
                return Err(Trouble::Unsure(stalled(address)));
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Trouble::Unsure(unreachable_place(address, error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// A pause that grows with each try.
    pub(super) async fn pause(&self, tried: u32) {
        let options = &self.options;
        let pause = (options.first_pause * (1 << (tried - 1).min(8))).min(options.longest_pause);
        sleep_until(Instant::now() + pause + jitter(pause)).await;
    }

    /// Sends a request, as often as GitHub asks to come back later.
    async fn send(
        &self,
        address: &str,
        make: impl Fn() -> Result<http::Request<OctoBody>>,
        progress: &Progress,
    ) -> Result<Reply, Trouble> {
        let mut turned_away = 0;
        loop {
            self.wait_for_quiet().await;
            let request = make().map_err(Trouble::Failed)?;
            let exchange = watched(self.options.stall_timeout, progress, self.octocrab.execute(request)).await;
            let response = match exchange {
                None => return Err(Trouble::Unsure(stalled(address))),
                Some(Err(error)) => return Err(Trouble::Unsure(unreachable_place(address, error))),
                Some(Ok(response)) => response,
            };
            if !response.status().is_client_error() && !response.status().is_server_error() {
                return Ok(Reply::Open(response));
            }
            let answer = self.read(address, response, progress).await?;
            let Some(pause) = answer.asked_pause() else { return Ok(Reply::Refused(answer)) };
            turned_away += 1;
            if pause > self.options.longest_pause || turned_away > self.options.tries {
                return Err(Trouble::Failed(left_alone(pause)));
            }
            self.be_quiet_for(pause);
        }
    }

    async fn read(&self, address: &str, response: Response, progress: &Progress) -> Result<Answer, Trouble> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect();
        match watched(self.options.stall_timeout, progress, body).await {
            None => Err(Trouble::Unsure(stalled(address))),
            Some(Err(error)) => Err(Trouble::Unsure(unreachable_place(address, error))),
            Some(Ok(body)) => Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes().to_vec() }),
        }
    }

    /// All requests wait together: those that were not turned away yet would be.
    fn be_quiet_for(&self, pause: Duration) {
        let until = Instant::now() + pause + jitter(pause.min(Duration::from_secs(5)));
        let mut quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = Some(quiet.map_or(until, |before| before.max(until)));
    }

    async fn wait_for_quiet(&self) {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }
}

/// Where the bytes of a file are.
pub(super) enum Source {
    /// At another address, that may be asked by anybody.
    Elsewhere(Url),
    /// In this answer.
    Here(Response),
}

enum Reply {
    /// The body is still to come.
    Open(Response),
    Refused(Answer),
}

impl Answer {
    /// The document in it.
    pub(super) fn document<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::new(Code::RemoteUnavailable, format!("GitHub's answer about {what} cannot be read"))
                .because(error)
                .hint("try again later; if that does not help, check the address of the API")
        })
    }

    /// The document in it, if it is a good answer.
    pub(super) fn accept<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        if self.status.is_success() { self.document(what) } else { Err(self.failure(what)) }
    }

    /// Where the next page of a list is. It has to be at the same place: the token goes there.
    pub(super) fn next_page(&self, api: &str) -> Result<Option<String>> {
        let header = self.headers.get(LINK).and_then(|link| link.to_str().ok()).unwrap_or_default();
        let next = header.split(',').find_map(|link| {
            let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
            rest.split(';').any(|word| word.trim() == "rel=\"next\"").then(|| address.to_owned())
        });
        match next {
            Some(address) if origin(&address) != origin(api) => {
                let message = format!("GitHub's list goes on at `{}`, which is another server", shown(&address));
                Err(Failure::new(Code::RedirectRefused, message).hint("check the address of the API"))
            }
            next => Ok(next),
        }
    }

    /// What GitHub says, for people.
    pub(super) fn message(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Said {
            #[serde(default)]
            message: String,
            #[serde(default)]
            errors: Vec<serde_json::Value>,
        }
        let said: Said =
            serde_json::from_slice(&self.body).unwrap_or(Said { message: String::new(), errors: Vec::new() });
        let details = said.errors.iter().map(|error| match error.get("message").and_then(|message| message.as_str()) {
            Some(message) => message.to_owned(),
            None => error.to_string(),
        });
        let all: Vec<String> = std::iter::once(said.message).chain(details).filter(|part| !part.is_empty()).collect();
        text::shown(&all.join("; ")).chars().take(MAX_SHOWN_CHARS).collect()
    }

    /// Whether it refuses for a reason that GitHub calls so.
    pub(super) fn names_error(&self, code: &str) -> bool {
        self.status == StatusCode::UNPROCESSABLE_ENTITY && String::from_utf8_lossy(&self.body).contains(code)
    }

    /// The failure that it is.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let (status, said) = (self.status.as_u16(), self.message());
        let (code, message, hint) = match self.status {
            StatusCode::UNAUTHORIZED => (
                Code::RemoteForbidden,
                format!("GitHub does not accept the token for {what}"),
                "set `GH_TOKEN` to a token that is still good",
            ),
            StatusCode::FORBIDDEN => (
                Code::RemoteForbidden,
                format!("GitHub does not allow {what}"),
                "use a token that may write the contents of the repository (`permissions: contents: write` in a workflow)",
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => (
                Code::RemoteNotFound,
                format!("GitHub knows nothing of {what}"),
                "check the target, and that the token may see it",
            ),
            status if status.is_redirection() => (
                Code::RemoteNotFound,
                format!("{what} has another address now"),
                "name the repository as it is called now",
            ),
            _ => (Code::RemoteUnavailable, format!("GitHub answers {what} with status {status}"), "try again later"),
        };
        let failure = Failure::new(code, message).subject(what.trim_matches('`')).hint(hint);
        if said.is_empty() { failure } else { failure.because(said) }
    }

    /// How long GitHub asks to be left alone, if it does.
    fn asked_pause(&self) -> Option<Duration> {
        if self.status != StatusCode::FORBIDDEN && self.status != StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        let header = |name: &str| self.headers.get(name)?.to_str().ok().map(str::trim);
        if let Some(asked) = header(RETRY_AFTER.as_str()) {
            let seconds = asked.parse().ok().or_else(|| Some(until(header("date")?, date(asked)?)?.as_secs()));
            return Some(seconds.map_or(SECONDARY_PAUSE, Duration::from_secs));
        }
        if header("x-ratelimit-remaining") == Some("0") {
            let reset = header("x-ratelimit-reset").and_then(|reset| reset.parse().ok());
            let wait = reset.and_then(|reset| until(header("date")?, reset));
            return Some(wait.unwrap_or(SECONDARY_PAUSE));
        }
        let is_secondary =
            self.status == StatusCode::TOO_MANY_REQUESTS || self.message().contains("secondary rate limit");
        is_secondary.then_some(SECONDARY_PAUSE)
    }
}

/// The time from the server's own clock until then; ours may be wrong.
fn until(now: &str, then: i64) -> Option<Duration> {
    Some(Duration::from_secs(u64::try_from(then - date(now)?).unwrap_or_default()))
}

fn date(text: &str) -> Option<i64> {
    rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_second())
}

/// Waits for something for as long as it makes progress.
async fn watched<T>(limit: Duration, progress: &Progress, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut seen = progress.steps();
    loop {
        if let Ok(done) = timeout(limit, work.as_mut()).await {
            return Some(done);
        }
        let steps = progress.steps();
        if steps == seen {
            return None;
        }
        seen = steps;
    }
}

fn request(method: Method, address: &str, accept: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(address)
        .header(ACCEPT, accept)
        .header("x-github-api-version", "2022-11-28")
}

/// Scheme, host and port alone: octocrab would put a path before addresses that have it already.
fn origin(address: &str) -> String {
    Url::parse(address).map_or_else(|_| address.to_owned(), |url| url.origin().ascii_serialization())
}

fn shown(address: &str) -> String {
    Url::parse(address).map_or_else(|_| String::new(), |url| crate::world::http::Shown(&url).to_string())
}

fn unusable(address: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Code::RemoteUnavailable, format!("failed to ask `{}`", shown(address))).because(error)
}

fn unreachable_place(address: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    let shown = shown(address);
    Failure::new(Code::RemoteUnavailable, format!("failed to reach `{shown}`"))
        .subject(shown)
        .because(error)
        .hint("check the address, the network, the proxy and the system's certificate authorities")
}

fn stalled(address: &str) -> Failure {
    let shown = shown(address);
    Failure::new(Code::RemoteUnavailable, format!("`{shown}` stopped to answer")).subject(shown).hint("try again later")
}

fn left_alone(pause: Duration) -> Failure {
    let message = format!("GitHub's rate limit is reached, and it asks to come back in {} seconds", pause.as_secs());
    Failure::new(Code::RemoteUnavailable, message).hint("run it again then: it goes on where it ended")
}
