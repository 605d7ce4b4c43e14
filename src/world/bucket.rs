//! Objects in a bucket that speaks S3.
//!
//! [`Bucket`] signs each request for itself and sends it over the one TLS of the house. What goes wrong
//! quickly is tried again a few times; whoever is silent, or next to it, is given up, so that no caller waits for ever.
//! Nothing is held in memory but the piece that is on its way. It does no multipart uploads: an object
//! has at most [`MAX_OBJECT_BYTES`], and is there as a whole or not at all.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64;
use http_body::{Frame, SizeHint};
use jiff::Timestamp;
use reqwest::{Method, Response, StatusCode, Url};
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Credentials, S3Action, UrlStyle};

use super::{clock, http};
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, text};

/// The largest object that one request may make.
pub const MAX_OBJECT_BYTES: u64 = 5 << 30;
/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the head of an answer, and for each further piece of it or of what is sent.
const PATIENCE: Duration = Duration::from_secs(15);
/// The slowest speed that is put up with while [`PATIENCE`] lasts, in bytes per second.
const SLOWEST: u64 = 4 << 10;
/// How long a signature counts. An upload has to have begun by then.
const VALID: Duration = Duration::from_secs(15 * 60);
/// How often a request is made that fails quickly.
const TRIES: u32 = 3;
/// The pause after the first try; it doubles after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How much is read from a file at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// The largest list, in bytes: a thousand names and what is said of them.
const MAX_LIST_BYTES: usize = 4 << 20;
/// How much of an answer that is a failure is looked at, in bytes.
const MAX_TOLD_BYTES: usize = 8 << 10;

/// Where a bucket is, and who asks.
#[derive(Clone)]
pub struct Settings {
    /// The bucket's name.
    pub bucket: String,
    /// What every object's name begins with: nothing, or segments that end with `/`.
    pub prefix: String,
    /// The address of the store, if it is not that of the region.
    pub endpoint: Option<String>,
    /// The region, which is a part of every signature.
    pub region: String,
    /// Who asks.
    pub key_id: String,
    /// The secret that belongs to it.
    pub secret: String,
    /// What belongs to it where it is only lent.
    pub session: Option<String>,
}

/// The name and the prefix in `s3://BUCKET/PREFIX`; nothing where it cannot be one.
pub fn address(text: &str) -> Option<(String, String)> {
    let rest = text.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let is_name = (3..=63).contains(&bucket.len()) && bucket.bytes().all(plain) && !bucket.starts_with(['.', '-']);
    let prefix = prefix.trim_end_matches('/');
    // Names are parts of addresses, in which these would lead elsewhere.
    let fits = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let are_segments = prefix.is_empty() || prefix.split('/').all(fits);
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    (is_name && are_segments && prefix.len() <= 200).then(|| (bucket.to_owned(), prefix))
}

/// A bucket, or the part of it below a prefix.
#[derive(Clone)]
pub struct Bucket(Arc<Parts>);

struct Parts {
    bucket: rusty_s3::Bucket,
    credentials: Credentials,
    prefix: String,
    client: reqwest::Client,
}

/// An object as a list has it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name below the prefix.
    pub name: String,
    /// How large it is.
    pub size_bytes: u64,
    /// When it was put there, if that was said.
    pub changed: Option<Timestamp>,
}

/// A page of a list, and where the next one begins.
#[derive(Clone, Debug)]
pub struct Page {
    /// What is on it, by name.
    pub objects: Vec<Listed>,
    /// The name that the next page begins behind, if there is one.
    pub next: Option<String>,
}

/// An object on its way in.
#[derive(Debug)]
pub struct Incoming {
    response: Response,
    pace: Pace,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.0.bucket.name(), self.0.prefix)
    }
}

/// An answer that has come, with its status looked at.
enum Answer {
    Done(Response),
    Missing,
    /// There is one by this name.
    There,
}

impl Bucket {
    /// A bucket. Nothing is asked yet.
    pub fn new(settings: &Settings) -> Result<Self> {
        let Settings { bucket, prefix, endpoint, region, key_id, secret, session } = settings;
        let own = format!("https://s3.{region}.amazonaws.com");
        let endpoint_url = http::address(endpoint.as_deref().unwrap_or(&own))?;
        // A name with dots fits no certificate, and other stores seldom have a name for each bucket.
        let style = if endpoint.is_some() || bucket.contains('.') { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let invalid = |error: &dyn std::fmt::Debug| {
            Failure::new(Code::ConfigInvalid, format!("the bucket `{}` cannot be addressed", text::shown(bucket)))
                .because(format!("{error:?}"))
                .hint("it looks like `s3://bucket/prefix`")
        };
        let client = http::speaker(endpoint_url.as_str(), CONNECT_TIMEOUT).map_err(|error| invalid(&error))?;
        let bucket = rusty_s3::Bucket::new(endpoint_url, style, bucket.clone(), region.clone())
            .map_err(|error| invalid(&error))?;
        let credentials = match session {
            Some(session) => Credentials::new_with_token(key_id, secret, session),
            None => Credentials::new(key_id, secret),
        };
        Ok(Self(Arc::new(Parts { bucket, credentials, prefix: prefix.clone(), client })))
    }

    /// How large an object is, if it is there.
    pub async fn size(&self, name: &str) -> Result<Option<u64>> {
        let key = self.key(name);
        let action = self.0.bucket.head_object(Some(&self.0.credentials), &key);
        match self.ask(Method::HEAD, "look at", &action).await? {
            Answer::Done(response) => {
                let length = response.headers().get(reqwest::header::CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                length.map(Some).ok_or_else(|| unavailable("look at", "it does not say how large an object is"))
            }
            Answer::Missing | Answer::There => Ok(None),
        }
    }

    /// Begins to fetch an object, if it is there.
    pub async fn get(&self, name: &str) -> Result<Option<Incoming>> {
        let key = self.key(name);
        let action = self.0.bucket.get_object(Some(&self.0.credentials), &key);
        match self.ask(Method::GET, "read", &action).await? {
            Answer::Done(response) => Ok(Some(Incoming::new(response))),
            Answer::Missing | Answer::There => Ok(None),
        }
    }

    /// Sends a file that is what it was said to be, unless there is an object by this name.
    pub async fn put(&self, name: &str, file: &std::fs::File, size_bytes: u64, sha256: &Digest) -> Result<()> {
        let key = self.key(name);
        let mut action = self.0.bucket.put_object(Some(&self.0.credentials), &key);
        // The store compares too, so that what broke on the way is not kept.
        action.headers_mut().insert("x-amz-checksum-sha256", BASE64.encode(sha256.as_bytes()));
        action.headers_mut().insert("if-none-match", "*");
        let mut pause = FIRST_PAUSE;
        for tried in 1.. {
            let outcome = self.send(&action, sha256, file, size_bytes).await;
            match outcome {
                Ok(Answer::Missing) => return Err(unavailable("write to", "there is no such bucket")),
                Ok(_) => break,
                Err(Trouble { failure, again }) if !again || tried == TRIES => return Err(failure),
                Err(_) => rest(&mut pause).await,
            }
        }
        Ok(())
    }

    /// Removes an object, whether it is there or not.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let key = self.key(name);
        let action = self.0.bucket.delete_object(Some(&self.0.credentials), &key);
        self.ask(Method::DELETE, "remove from", &action).await.map(drop)
    }

    /// The objects whose names begin with a text, behind a name, in the order of their names.
    pub async fn list(&self, beginning: &str, after: Option<&str>) -> Result<Page> {
        let mut action = self.0.bucket.list_objects_v2(Some(&self.0.credentials));
        action.with_prefix(self.key(beginning));
        if let Some(after) = after {
            action.with_start_after(self.key(after));
        }
        let Answer::Done(response) = self.ask(Method::GET, "list", &action).await? else {
            return Err(unavailable("list", "there is no such bucket"));
        };
        let bytes = bounded(response, MAX_LIST_BYTES).await?;
        let found = ListObjectsV2::parse_response(&String::from_utf8_lossy(&bytes))
            .map_err(|error| unavailable("list", format!("the list cannot be read: {error}")))?;
        let there_is_more = found.next_continuation_token.is_some();
        let objects = found.contents.into_iter().filter_map(|object| {
            Some(Listed {
                name: object.key.strip_prefix(&self.0.prefix)?.to_owned(),
                size_bytes: object.size.unwrap_or_default(),
                changed: object.last_modified.and_then(|at| at.parse().ok()),
            })
        });
        let objects: Vec<_> = objects.collect();
        let next = objects.last().filter(|_| there_is_more).map(|object| object.name.clone());
        Ok(Page { objects, next })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.prefix)
    }

    /// Makes a request without a body, and makes it again where that could help.
    async fn ask<'a>(&self, method: Method, deed: &str, action: &impl S3Action<'a>) -> Result<Answer> {
        let mut pause = FIRST_PAUSE;
        for tried in 1.. {
            let request = self.0.client.request(method.clone(), sign(action)).send();
            let outcome = match tokio::time::timeout(PATIENCE, request).await {
                Ok(Ok(response)) => judge(deed, response).await,
                Ok(Err(error)) => Err(Trouble { again: true, failure: unavailable(deed, error.without_url()) }),
                Err(_) => Err(slow(deed)),
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(Trouble { failure, again }) if !again || tried == TRIES => return Err(failure),
                Err(_) => rest(&mut pause).await,
            }
        }
        unreachable!("the last try returns")
    }

    /// One try to send a file. It may take long, and never stand still.
    async fn send<'a>(
        &self,
        action: &impl S3Action<'a>,
        sha256: &Digest,
        file: &std::fs::File,
        size_bytes: u64,
    ) -> Result<Answer, Trouble> {
        let deed = "write to";
        let broken = |error: std::io::Error| Trouble { again: false, failure: unavailable(deed, error) };
        let file = file.try_clone().map_err(broken)?;
        let sent = Arc::new(AtomicU64::new(0));
        let body = FileBody { file, at: 0, size: size_bytes, sent: Arc::clone(&sent) };
        let request = self
            .0
            .client
            .put(sign(action))
            .header("x-amz-checksum-sha256", BASE64.encode(sha256.as_bytes()))
            .header("if-none-match", "*")
            .header(reqwest::header::CONTENT_LENGTH, size_bytes)
            .body(reqwest::Body::wrap(body))
            .send();
        let mut request = std::pin::pin!(request);
        let (mut pace, mut seen) = (Pace::default(), 0);
        loop {
            match tokio::time::timeout(PATIENCE, request.as_mut()).await {
                Ok(Ok(response)) => return judge(deed, response).await,
                Ok(Err(error)) => return Err(Trouble { again: true, failure: unavailable(deed, error.without_url()) }),
                Err(_) => {
                    let now = sent.load(Ordering::Relaxed);
                    // The last piece may be a small one.
                    let is_at_its_end = now == size_bytes && now > seen;
                    if !pace.holds(PATIENCE, now - seen) && !is_at_its_end {
                        return Err(slow(deed));
                    }
                    seen = now;
                }
            }
        }
    }
}

impl Incoming {
    fn new(response: Response) -> Self {
        Self { response, pace: Pace::default() }
    }

    /// The next piece; nothing at the end. Only what is waited for here counts: who asks may take their time.
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        let began = Instant::now();
        match tokio::time::timeout(PATIENCE, self.response.chunk()).await {
            Ok(Ok(Some(piece))) if !self.pace.holds(began.elapsed(), piece.len() as u64) => Err(slow("read").failure),
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(unavailable("read", error.without_url())),
            Err(_) => Err(slow("read").failure),
        }
    }
}

/// How fast something goes, looked at each time that [`PATIENCE`] is over: somebody who sends a byte now and then is
/// not waited for any longer than somebody who is silent.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Whether it is fast enough after so many more bytes, which were waited for so long.
    fn holds(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < PATIENCE {
            return true;
        }
        let Self { waited, bytes } = std::mem::take(self);
        u128::from(bytes) * 1000 >= u128::from(SLOWEST) * waited.as_millis()
    }
}

/// Something went wrong, and whether trying again makes sense.
struct Trouble {
    failure: Failure,
    again: bool,
}

/// A file that is sent while it is read. It lies in the cache, for it was read just before.
struct FileBody {
    file: std::fs::File,
    at: u64,
    size: u64,
    sent: Arc<AtomicU64>,
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let left = self.size - self.at;
        if left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)];
        Poll::Ready(Some(read_at(&self.file, &mut piece, self.at).map(|()| {
            self.at += piece.len() as u64;
            self.sent.store(self.at, Ordering::Relaxed);
            Frame::data(Bytes::from(piece))
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.size
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.at)
    }
}

/// Reads without moving the place in the file, which a second try shares.
#[cfg(unix)]
fn read_at(file: &std::fs::File, piece: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, piece, at)
}

#[cfg(not(unix))]
fn read_at(mut file: &std::fs::File, piece: &mut [u8], at: u64) -> std::io::Result<()> {
    use std::io::{Read as _, Seek as _};
    file.seek(std::io::SeekFrom::Start(at))?;
    file.read_exact(piece)
}

fn sign<'a>(action: &impl S3Action<'a>) -> Url {
    action.sign_with_time(VALID, &clock::now())
}

async fn judge(deed: &str, response: Response) -> Result<Answer, Trouble> {
    let status = response.status();
    match status {
        _ if status.is_success() => Ok(Answer::Done(response)),
        StatusCode::PRECONDITION_FAILED => Ok(Answer::There),
        _ => {
            // Another one may be putting the same object there.
            let again = status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT | StatusCode::REQUEST_TIMEOUT);
            let told = bounded(response, MAX_TOLD_BYTES).await.unwrap_or_default();
            let told = String::from_utf8_lossy(&told).into_owned();
            let word = told.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
            if status == StatusCode::NOT_FOUND && word.is_none_or(|(word, _)| word != "NoSuchBucket") {
                return Ok(Answer::Missing);
            }
            let word = word.map_or_else(String::new, |(word, _)| format!(" ({})", text::shown(word)));
            Err(Trouble {
                again,
                failure: unavailable(deed, format!("it answers with status {}{word}", status.as_u16())),
            })
        }
    }
}

/// A body of at most so many bytes.
async fn bounded(response: Response, max_bytes: usize) -> Result<Vec<u8>> {
    let (mut incoming, mut bytes) = (Incoming::new(response), Vec::new());
    while let Some(piece) = incoming.piece().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > max_bytes {
            return Err(unavailable("read", "the answer is larger than it may be"));
        }
    }
    Ok(bytes)
}

async fn rest(pause: &mut Duration) {
    tokio::time::sleep(*pause + http::jitter(*pause)).await;
    *pause *= 2;
}

fn slow(deed: &str) -> Trouble {
    let why = format!("in {} seconds it moved fewer than {SLOWEST} bytes a second", PATIENCE.as_secs());
    Trouble { again: false, failure: unavailable(deed, why) }
}

/// The failure of a deed. What the store said is for the log alone.
fn unavailable(deed: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Code::StoreUnavailable, format!("failed to {deed} the bucket of the blobs"))
        .because(why)
        .hint("try again in a moment; `consign-server check-config` tries the bucket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_bucket_and_what_is_below_a_prefix() {
        let read = |text| address(text);
        assert_eq!(read("s3://blobs"), Some(("blobs".to_owned(), String::new())));
        assert_eq!(read("s3://blobs/"), Some(("blobs".to_owned(), String::new())));
        assert_eq!(read("s3://blobs/a/b"), Some(("blobs".to_owned(), "a/b/".to_owned())));
        for wrong in ["blobs", "s3:/blobs", "s3://", "s3://a", "s3://Blobs", "s3://blobs/a//b", "s3://blobs/../b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for wrong in ["s3://blobs/a b", "s3://blobs/a?b", "s3://user@host", "s3://-ab", "https://blobs/a"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_sends_a_byte_now_and_then_is_as_slow_as_who_is_silent() {
        let second = Duration::from_secs(1);
        let pace = |bytes: u64| {
            let mut pace = Pace::default();
            (0..300).position(|_| !pace.holds(second, bytes))
        };
        assert_eq!(pace(1), Some(14));
        assert_eq!(pace(SLOWEST - 1), Some(14));
        assert_eq!(pace(SLOWEST), None);
        // Who was fast has no credit for ever.
        let mut was_fast = Pace::default();
        assert!(was_fast.holds(PATIENCE, 1 << 30) && !was_fast.holds(PATIENCE, 1));
    }

    #[test]
    fn no_secret_is_shown() {
        let settings = Settings {
            bucket: "blobs".to_owned(),
            prefix: "a/".to_owned(),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            region: "us-east-1".to_owned(),
            key_id: "id".to_owned(),
            secret: "canary".to_owned(),
            session: Some("canary".to_owned()),
        };
        let bucket = Bucket::new(&settings).unwrap();
        assert_eq!(format!("{settings:?} {bucket:?}"), "s3://blobs/a/ s3://blobs/a/");
        let plain = Settings { endpoint: Some("http://blobs.example".to_owned()), ..settings };
        assert_eq!(Bucket::new(&plain).unwrap_err().code(), Code::RemoteRefused);
    }
}
