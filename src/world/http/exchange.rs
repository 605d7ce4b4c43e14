//! One request with a body, and its whole answer: how a client speaks with a server that it knows.
//!
//! [`Client::exchange`] follows no redirect, so a token never goes to another place than the one that it
//! was meant for. What an answer means is for the caller to say.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use camino::Utf8PathBuf;
use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{Client, Shown, address, once, unreachable_place};
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::files;

/// The slowest speed at which a body may go out, in bytes per second.
const SLOWEST: u64 = 64 << 10;
/// How long an answer may take that has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(90);

/// How something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// To read.
    Get,
    /// To see whether it is there.
    Head,
    /// To add.
    Post,
    /// To put in its place.
    Put,
    /// To take away.
    Delete,
}

/// What is sent along.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// A document.
    Json(Vec<u8>),
    /// The fields of a form, written as [`form`] does.
    Form(String),
    /// A message in the form of Protocol Buffers.
    Protobuf(Vec<u8>),
    /// Bytes of a file.
    Part {
        /// The file.
        path: Utf8PathBuf,
        /// The first byte that is sent.
        start: u64,
        /// How many are sent.
        length: u64,
        /// How many the file has.
        size: u64,
    },
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// How it asks.
    pub method: Method,
    /// Where.
    pub url: &'a str,
    /// Headers that the other side has to know. Their values are never shown.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent along.
    pub body: Body,
    /// The largest answer, in bytes.
    pub max_bytes: u64,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
    headers: HeaderMap,
}

impl Reply {
    /// An answer that nobody gave, for tests of what is made of one.
    #[cfg(test)]
    pub fn of(status: u16, body: Vec<u8>) -> Self {
        Self { status, body, headers: HeaderMap::new() }
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    /// Sends a request once and reads the whole answer.
    pub fn exchange(&self, request: Request<'_>) -> Result<Reply> {
        let place = address(request.url)?;
        let client = if place.scheme() == "https" {
            once(&self.outward, || self.outward_client())
        } else {
            once(&self.local, || self.local_client())
        };
        let client = client.map_err(|error| unreachable_place(&place, "set up a connection to", error))?;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Head => reqwest::Method::HEAD,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let patience = PATIENCE.min(self.options.overall_timeout);
        let mut builder = client.request(method, place.clone()).headers(headers(&request)?).timeout(patience);
        builder = match request.body {
            Body::Empty => builder,
            Body::Json(bytes) => builder.header(header::CONTENT_TYPE, "application/json").body(bytes),
            Body::Form(text) => builder.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(text),
            Body::Protobuf(bytes) => builder.header(header::CONTENT_TYPE, "application/x-protobuf").body(bytes),
            Body::Part { path, start, length, size } => {
                let open = || -> std::io::Result<std::fs::File> {
                    let mut file = std::fs::File::open(&path)?;
                    file.seek(SeekFrom::Start(start))?;
                    Ok(file)
                };
                let file = open().map_err(|error| files::failed("read", &path, error))?;
                if length < size {
                    let range = format!("bytes {start}-{}/{size}", start + length.saturating_sub(1));
                    builder = builder.header(header::CONTENT_RANGE, range);
                }
                let body = reqwest::blocking::Body::sized(file.take(length), length);
                builder.timeout(PATIENCE + Duration::from_secs(length / SLOWEST)).body(body)
            }
        };
        let response = builder.send().map_err(|error| unreachable_place(&place, "reach", error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            return Err(Failure::new(Code::RedirectRefused, format!("`{}` leads elsewhere", Shown(&place)))
                .subject(Shown(&place).to_string())
                .hint("name the address of the server itself"));
        }
        let body = read(response, request.max_bytes).map_err(|failure| failure.subject(Shown(&place).to_string()))?;
        Ok(Reply { status: status.as_u16(), body, headers })
    }
}

/// A text in which nothing can mean anything in an address or a form.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Names and values as the fields of a form, or of a query.
pub fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.into_iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn headers(request: &Request<'_>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| Failure::new(Code::Usage, format!("the value of `{name}` cannot be sent in a header")))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

fn read(response: Response, max_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    response.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| {
        Failure::new(Code::RemoteUnavailable, "the answer broke off").because(error).hint("try again later")
    })?;
    if bytes.len() as u64 > max_bytes {
        return Err(Failure::new(Code::FileTooLarge, format!("the answer is larger than {max_bytes} bytes")));
    }
    Ok(bytes)
}
