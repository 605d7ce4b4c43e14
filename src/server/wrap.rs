//! What is around every request: its id, its time limit, its line in the log, its counters.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::App;
use super::problem::{Refusal, Told};
use super::routes;
use super::tokens::PREFIX;
use super::traces::{About, Span};
use crate::model::{Code, Failure};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a caller, in bytes.
const MAX_ID_BYTES: usize = 64;
/// From how many bytes on what begins like a token is one, whole or in part.
const SHORTEST_TOKEN: usize = 20;

/// Who asked, as soon as that is known.
#[derive(Clone, Default)]
pub(super) struct Asker(pub(super) Arc<OnceLock<String>>);

/// Answers a request within its time and tells of it.
pub(super) async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers().get(&REQUEST_ID));
    let asker = Asker::default();
    request.extensions_mut().insert(asker.clone());
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "-".to_owned(), |path| path.as_str().to_owned());
    let path = without_tokens(request.uri().path());
    let caller = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let traced = app.traces.as_ref().filter(|_| !routes::is_probe(&route));
    let span = traced.and_then(|_| Span::begin(caller));
    let answering = next.run(request);
    let mut response = if route == routes::BLOB {
        // Large bodies have a limit per piece instead.
        answering.await
    } else {
        tokio::time::timeout(app.limits.request_timeout, answering).await.unwrap_or_else(|_| {
            let failure = Failure::new(Code::RequestTimeout, "the request took too long").hint("try again later");
            Refusal(failure).into_response()
        })
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let (status, took) = (response.status().as_u16(), began.elapsed());
    app.metrics.answered(method.as_str(), &route, status, took);
    let told = response.extensions().get::<Told>();
    let (code, cause) = told.map_or(("", ""), |told| (told.code.as_str(), told.chain.as_str()));
    let subject = asker.0.get().map_or("", String::as_str);
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if let Some((traces, span)) = app.traces.as_ref().zip(span.as_ref()) {
        traces.end(span, &About { method: method.as_str(), route: &route, status, request_id: &id, subject, code });
    }
    if status >= 500 {
        tracing::error!(%method, path, status, milliseconds, id, subject, code, cause, "answered");
    } else if !routes::is_probe(&route) {
        tracing::info!(%method, path, status, milliseconds, id, subject, code, "answered");
    }
    response
}

/// The caller's own id, if it is plain, or a new one.
fn request_id(given: Option<&HeaderValue>) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let given = given.and_then(|value| value.to_str().ok());
    let given = given.filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(plain));
    if let Some(given) = given.filter(|id| without_tokens(id) == **id) {
        return given.to_owned();
    }
    let mut bytes = [0; 8];
    // An id that could not be made random is still an id.
    let _ = SystemRandom::new().fill(&mut bytes);
    HEXLOWER.encode(&bytes)
}

/// A path or a name as it may stand in a log: somebody may have put a token where a name belongs.
fn without_tokens(text: &str) -> String {
    let is_token = |part: &&str| {
        let ours = part.find(PREFIX).is_some_and(|at| part.len() - at >= SHORTEST_TOKEN);
        // What other issuers make begins with a JSON object, in base64.
        ours || part.starts_with("eyJ")
    };
    let parts = text.split('/').map(|part| Some(part).filter(|part| !is_token(part)).unwrap_or("…"));
    parts.collect::<Vec<_>>().join("/")
}
