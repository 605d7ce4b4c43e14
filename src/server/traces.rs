//! Traces: one span per request, sent to a collector by OTLP (HTTP with Protocol Buffers), if one is named.
//!
//! [`Span::begin`] joins the trace of a caller that has one (`traceparent`), [`Exporter::run`] sends what
//! has ended, in batches. Nobody waits for a collector: where it is away, or slower than requests come,
//! spans are thrown away and the log says so. The few messages are written by hand: the form has not
//! changed since it is stable, and a library for it would be larger than this server.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc;

use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::clock;
use crate::world::http::exchange::{Body, Method, Request};
use crate::world::http::{self, ClientOptions};

/// How often ended spans are sent.
const EVERY: Duration = Duration::from_secs(2);
/// How many are sent at once.
const BATCH: usize = 512;
/// How many wait.
const WAITING: usize = 4096;
/// How long a collector is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer of a collector that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Where spans go.
pub(super) struct Traces(mpsc::Sender<Ended>);

/// What sends them.
pub(super) struct Exporter {
    url: String,
    ended: mpsc::Receiver<Ended>,
    http: Arc<http::Client>,
}

/// A request that is being answered.
pub(super) struct Span {
    trace: [u8; 16],
    parent: Option<[u8; 8]>,
    at: Timestamp,
    began: Instant,
}

/// What is told of a request.
#[derive(Debug, Default)]
pub(super) struct About<'a> {
    pub(super) method: &'a str,
    pub(super) route: &'a str,
    pub(super) status: u16,
    pub(super) request_id: &'a str,
    pub(super) subject: &'a str,
    pub(super) code: &'a str,
}

struct Ended {
    message: Vec<u8>,
}

impl Traces {
    /// A place for spans, and what sends them to the collector at an address.
    pub(super) fn to(url: &str) -> Result<(Self, Exporter)> {
        http::address(url)?;
        let (sender, ended) = mpsc::channel(WAITING);
        let options = ClientOptions { overall_timeout: PATIENCE, tries: 1, ..ClientOptions::waiting(PATIENCE) };
        Ok((Self(sender), Exporter { url: url.to_owned(), ended, http: Arc::new(http::Client::new(options)) }))
    }

    /// Ends a span.
    pub(super) fn end(&self, span: &Span, about: &About<'_>) {
        // What does not fit is not waited for.
        if self.0.try_send(Ended { message: span.message(about) }).is_err() {
            tracing::debug!("a span was thrown away: the collector is slower than requests come");
        }
    }
}

impl Exporter {
    /// Sends what has ended, until `stop` comes and everything is sent.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let is_over = tokio::select! {
                () = &mut stop => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            loop {
                let mut batch = Vec::new();
                while batch.len() < BATCH
                    && let Ok(ended) = self.ended.try_recv()
                {
                    batch.push(ended.message);
                }
                if batch.is_empty() {
                    break;
                }
                let count = batch.len();
                if let Err(failure) = self.send(batch).await {
                    tracing::warn!(count, cause = failure.chain().join(": "), "spans were thrown away");
                }
            }
            if is_over {
                return;
            }
        }
    }

    async fn send(&self, spans: Vec<Vec<u8>>) -> Result<()> {
        let (url, http) = (self.url.clone(), Arc::clone(&self.http));
        let away = |why: String| Failure::new(Code::RemoteUnavailable, why);
        let sending = tokio::task::spawn_blocking(move || {
            let body = Body::Protobuf(request(&spans));
            http.exchange(Request {
                method: Method::Post,
                url: &url,
                headers: vec![],
                body,
                max_bytes: MAX_ANSWER_BYTES,
            })
        });
        let sent = tokio::time::timeout(PATIENCE, sending).await;
        let sent = sent.map_err(|error| away("the collector took too long".to_owned()).because(error))?;
        let reply = sent.map_err(|error| away("nothing could be sent".to_owned()).because(error))??;
        match reply.status {
            200..300 => Ok(()),
            status => Err(away(format!("the collector answers with status {status}"))),
        }
    }
}

impl Span {
    /// Begins a span, in the caller's trace where there is one; none, where the caller wants none.
    pub(super) fn begin(traceparent: Option<&str>) -> Option<Self> {
        let (at, began) = (clock::now(), Instant::now());
        if let Some((trace, parent, is_sampled)) = traceparent.and_then(joined) {
            return is_sampled.then_some(Self { trace, parent: Some(parent), at, began });
        }
        Some(Self { trace: random(), parent: None, at, began })
    }

    /// The span as a message.
    fn message(&self, about: &About<'_>) -> Vec<u8> {
        let id: [u8; 8] = random();
        let begin = u64::try_from(self.at.as_nanosecond()).unwrap_or(0);
        let end = begin.saturating_add(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let mut out = Message::default();
        out.bytes(1, &self.trace);
        out.bytes(2, &id);
        out.bytes(4, self.parent.as_ref().map_or(&[], |parent| parent.as_slice()));
        out.bytes(5, format!("{} {}", about.method, about.route).as_bytes());
        // A server's span.
        out.number(6, 2);
        out.fixed(7, begin);
        out.fixed(8, end);
        for (key, text) in [
            ("http.request.method", about.method),
            ("http.route", about.route),
            ("consign.request_id", about.request_id),
            ("consign.subject", about.subject),
            ("error.type", about.code),
        ] {
            if !text.is_empty() {
                out.bytes(9, &attribute(key, text));
            }
        }
        let mut value = Message::default();
        value.number(3, u64::from(about.status));
        let mut status = Message::default();
        status.bytes(1, b"http.response.status_code");
        status.bytes(2, &value.0);
        out.bytes(9, &status.0);
        if about.status >= 500 {
            let mut failed = Message::default();
            failed.number(3, 2);
            out.bytes(15, &failed.0);
        }
        out.0
    }
}

/// `ExportTraceServiceRequest` with the spans of this server.
fn request(spans: &[Vec<u8>]) -> Vec<u8> {
    let mut resource = Message::default();
    resource.bytes(1, &attribute("service.name", "consign-server"));
    resource.bytes(1, &attribute("service.version", env!("CARGO_PKG_VERSION")));
    let mut scope = Message::default();
    scope.bytes(1, b"consign");
    let mut of_scope = Message::default();
    of_scope.bytes(1, &scope.0);
    for span in spans {
        of_scope.bytes(2, span);
    }
    let mut of_resource = Message::default();
    of_resource.bytes(1, &resource.0);
    of_resource.bytes(2, &of_scope.0);
    let mut out = Message::default();
    out.bytes(1, &of_resource.0);
    out.0
}

/// A `KeyValue` whose value is a text.
fn attribute(key: &str, text: &str) -> Vec<u8> {
    let mut value = Message::default();
    value.bytes(1, text.as_bytes());
    let mut out = Message::default();
    out.bytes(1, key.as_bytes());
    out.bytes(2, &value.0);
    out.0
}

/// A message of Protocol Buffers that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        loop {
            let low = u8::try_from(number & 0x7f).unwrap_or(0);
            number >>= 7;
            if number == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | 1);
        self.0.extend(number.to_le_bytes());
    }

    /// Bytes, a text or a message; nothing where there are none.
    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.varint(field << 3 | 2);
            self.varint(bytes.len() as u64);
            self.0.extend(bytes);
        }
    }
}

/// The trace and the span that a caller is in, and whether it is recorded (W3C Trace Context).
fn joined(text: &str) -> Option<([u8; 16], [u8; 8], bool)> {
    let parts: Vec<_> = text.split('-').collect();
    let [version, trace, parent, flags] = parts.get(..4)?.try_into().ok()?;
    // A later version may have further parts.
    if version.len() != 2 || version == "ff" || (version == "00" && parts.len() != 4) {
        return None;
    }
    let trace: [u8; 16] = HEXLOWER.decode(trace.as_bytes()).ok()?.try_into().ok()?;
    let parent: [u8; 8] = HEXLOWER.decode(parent.as_bytes()).ok()?.try_into().ok()?;
    let flags: [u8; 1] = HEXLOWER.decode(flags.as_bytes()).ok()?.try_into().ok()?;
    (trace != [0; 16] && parent != [0; 8]).then_some((trace, parent, flags[0] & 1 == 1))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // A span without a name of its own is lost among others, and nothing else is.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_protocol_buffers_are() {
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        message.bytes(3, b"");
        // Both are the examples of the format's own documentation.
        assert_eq!(message.0, b"\x08\x96\x01\x12\x07testing");
    }

    #[test]
    fn a_caller_s_trace_is_joined_if_it_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (trace, parent, is_sampled) = joined(good).expect("a trace");
        assert_eq!(
            (HEXLOWER.encode(&trace), HEXLOWER.encode(&parent)),
            (good[3..35].to_owned(), good[36..52].to_owned())
        );
        assert!(is_sampled && !joined(&good.replace("-01", "-00")).expect("a trace").2);
        for wrong in [
            "",
            "00",
            &good[..54],
            &good.to_uppercase(),
            &good.replace("00-4", "ff-4"),
            &format!("{good}-x"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-é",
        ] {
            assert!(joined(wrong).is_none(), "{wrong}");
        }
    }
}
