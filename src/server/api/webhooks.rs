//! What others tell: read once it is known who sent it, kept as an event, and acted upon elsewhere.
//!
//! The order is the same everywhere: a signature has to be there, the body is read up to its bound, the
//! signature is judged over its bytes, and only then anything in it is looked at.

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::Serialize;

use super::query::{Asked, Query};
use crate::model::failure::Result;
use crate::model::hint::{Hint, sent};
use crate::model::{Code, Digest, Failure};
use crate::server::App;
use crate::server::problem::{Answer, invalid};
use crate::server::routes;
use crate::server::webhooks::Secret;
use crate::store::{Change, NewEvent};
use crate::world::clock;

/// The largest message of GitHub's that is read, in bytes. A push of two thousand commits is smaller.
const MAX_GITHUB_BYTES: usize = 8 << 20;
/// The largest message of anybody else.
const MAX_BYTES: usize = 1 << 20;
/// The longest name of a delivery, in bytes.
const MAX_DELIVERY_BYTES: usize = 100;

/// What became of a message.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct Taken {
    /// `taken`; `known`, if it was there before; `ignored`, if it is about nothing that matters here.
    result: &'static str,
}

/// Takes an event of GitHub's. There is nothing at this address where no secret is set.
#[utoipa::path(post, path = "/webhook/github", tag = "webhooks",
    params(
        ("X-Hub-Signature-256" = String, Header, description = "`sha256=` and the HMAC of the body"),
        ("X-GitHub-Event" = String, Header, description = "push, create, delete, release or ping; others are ignored"),
        ("X-GitHub-Delivery" = String, Header, description = "Each counts once"),
    ),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "Whether it was taken", body = Taken),
        (status = 400, description = "Not such an event"),
        (status = 401, description = "Not signed with the secret"),
        (status = 404, description = "No secret is set"),
    ))]
pub(in crate::server) async fn github(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer<Json<Taken>> {
    let secret = app.webhooks.github.as_ref().ok_or_else(routes::nothing)?;
    let signature = one(&headers, "x-hub-signature-256")?;
    let signature = signature.ok_or_else(|| unsigned("X-Hub-Signature-256"))?;
    let body = signed(&app, secret, signature, body, MAX_GITHUB_BYTES).await?;
    let event = one(&headers, "x-github-event")?.ok_or_else(|| invalid("there is no `X-GitHub-Event`"))?;
    if event == "ping" {
        return Ok(Json(Taken { result: "ignored" }));
    }
    let kind = one(&headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(invalid("the body is not `application/json`")
            .hint("choose that content type for the webhook")
            .into());
    }
    let delivery = one(&headers, "x-github-delivery")?.filter(|id| is_plain(id));
    let delivery = delivery.ok_or_else(|| invalid("there is no plain `X-GitHub-Delivery`"))?;
    match sent::github(event, &body).map_err(unreadable)? {
        // What is signed is the body alone: its digest keeps it from being sent again under another name.
        Some(hint) => take(&app, "github", Some(delivery.to_owned()), Some(Digest::of(&body)), &hint).await,
        None => Ok(Json(Taken { result: "ignored" })),
    }
}

/// Takes an event of Flux's notification controller (provider `generic-hmac`). There is nothing at this
/// address where no secret is set.
#[utoipa::path(post, path = "/webhook/flux", tag = "webhooks",
    params(
        ("X-Signature" = String, Header, description = "`sha256=` and the HMAC of the body"),
        ("env" = Option<String>, Query, description = "The environment, where the event's metadata does not say it"),
    ),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "Whether it was taken", body = Taken),
        (status = 400, description = "Not such an event"),
        (status = 401, description = "Not signed with the secret"),
        (status = 404, description = "No secret is set"),
    ))]
pub(in crate::server) async fn flux(
    State(app): State<App>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Taken>> {
    let secret = app.webhooks.flux.as_ref().ok_or_else(routes::nothing)?;
    let signature = one(&headers, "x-signature")?.ok_or_else(|| unsigned("X-Signature"))?;
    let body = signed(&app, secret, signature, body, MAX_BYTES).await?;
    let mut hint = sent::flux(&body).map_err(unreadable)?;
    // What is signed says more than the address that it was sent to.
    if let (Hint::Flux { environment: environment @ None, .. }, Some(name)) =
        (&mut hint, Query::read(asked)?.one::<String>("env")?)
    {
        *environment = Some(name.chars().take(200).collect());
    }
    // An event has its time in it, so the same bytes are the same event.
    take(&app, "flux", None, Some(Digest::of(&body)), &hint).await
}

/// Takes the word of a cluster's daemon that a workload runs. There is nothing at this address where no
/// secret is set.
#[utoipa::path(post, path = "/webhook/daemon/k8s/deploy", tag = "webhooks",
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "Whether it was taken", body = Taken),
        (status = 400, description = "Not such a message"),
        (status = 401, description = "Neither the secret nor signed with it"),
        (status = 404, description = "No secret is set"),
    ))]
pub(in crate::server) async fn deploy(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer<Json<Taken>> {
    daemon(&app, &headers, body, sent::deploy).await
}

/// Takes the word of a cluster's daemon that a pod fails. There is nothing at this address where no secret
/// is set.
#[utoipa::path(post, path = "/webhook/daemon/k8s/error", tag = "webhooks",
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "Whether it was taken", body = Taken),
        (status = 400, description = "Not such a message"),
        (status = 401, description = "Neither the secret nor signed with it"),
        (status = 404, description = "No secret is set"),
    ))]
pub(in crate::server) async fn error(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer<Json<Taken>> {
    daemon(&app, &headers, body, sent::pod_error).await
}

/// Takes the word of a cluster's daemon that a job failed. There is nothing at this address where no secret
/// is set.
#[utoipa::path(post, path = "/webhook/daemon/k8s/joberror", tag = "webhooks",
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "Whether it was taken", body = Taken),
        (status = 400, description = "Not such a message"),
        (status = 401, description = "Neither the secret nor signed with it"),
        (status = 404, description = "No secret is set"),
    ))]
pub(in crate::server) async fn joberror(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer<Json<Taken>> {
    daemon(&app, &headers, body, sent::job_error).await
}

/// A daemon signs what it sends, or, as older ones do, sends the secret as a bearer token.
async fn daemon(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    read: fn(&[u8]) -> serde_json::Result<Hint>,
) -> Answer<Json<Taken>> {
    let secret = app.webhooks.daemon.as_ref().ok_or_else(routes::nothing)?;
    if let Some(signature) = one(headers, "x-signature")? {
        let body = signed(app, secret, signature, body, MAX_BYTES).await?;
        let hint = read(&body).map_err(unreadable)?;
        return take(app, "daemon", None, Some(Digest::of(&body)), &hint).await;
    }
    let given = one(headers, header::AUTHORIZATION.as_str())?.and_then(|given| given.split_once(' '));
    let token = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if !token.is_some_and(|(_, token)| secret.is(token)) {
        return Err(unsigned("X-Signature").into());
    }
    let hint = read(&bounded(app, body, MAX_BYTES).await?).map_err(unreadable)?;
    // The same words may come again, when a workload runs again that had failed meanwhile.
    take(app, "daemon", None, None, &hint).await
}

/// Keeps what was said.
async fn take(
    app: &App,
    source: &'static str,
    delivery: Option<String>,
    sha256: Option<Digest>,
    hint: &Hint,
) -> Answer<Json<Taken>> {
    let change = Change {
        at: clock::now(),
        subject: format!("webhook:{source}"),
        verb: "event.receive",
        object: delivery.clone().unwrap_or_else(|| hint.kind().to_owned()),
        sha256,
        note: Some(hint.about()),
    };
    let service = hint.service().map(|service| service.to_string());
    let event = NewEvent { source, delivery, sha256, kind: hint.kind(), service, payload: hint.render() };
    let is_new = app.registry.store.add_event(&event, &change).await?;
    Ok(Json(Taken { result: if is_new { "taken" } else { "known" } }))
}

/// A body that was signed with a secret.
async fn signed(app: &App, secret: &Secret, signature: &str, body: Body, max_bytes: usize) -> Result<Bytes> {
    let bytes = bounded(app, body, max_bytes).await?;
    if secret.has_signed(signature, &bytes) {
        return Ok(bytes);
    }
    Err(Failure::new(Code::Unauthenticated, "the body was not signed with the secret of this address")
        .hint("both sides need the same secret, and nothing between them may change the body"))
}

/// A body of at most so many bytes, which has to come soon: nobody knows yet who sends it.
async fn bounded(app: &App, body: Body, max_bytes: usize) -> Result<Bytes> {
    // It is never closed, so there is a turn sooner or later.
    let _turn = app.webhooks.turns.acquire().await;
    let read = tokio::time::timeout(app.limits.stall_timeout, to_bytes(body, max_bytes)).await;
    let read = read.map_err(|error| Failure::new(Code::RequestTimeout, "the body took too long").because(error))?;
    read.map_err(|error| {
        Failure::new(Code::FileTooLarge, format!("the body is larger than {max_bytes} bytes, or broke off"))
            .because(error)
    })
}

/// The value of a header that may stand once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str().map_err(|error| invalid(format!("`{name}` is no text")).because(error));
            text.map(Some)
        }
        (Some(_), Some(_)) => Err(invalid(format!("`{name}` stands twice"))),
    }
}

fn unsigned(header: &str) -> Failure {
    Failure::new(Code::Unauthenticated, "who sent this is not known")
        .hint(format!("sign the body with HMAC-SHA256 and send it as `{header}: sha256=…`"))
}

fn unreadable(error: serde_json::Error) -> Failure {
    invalid("the body is not what it should be here").because(error)
}

fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= MAX_DELIVERY_BYTES && text.bytes().all(plain)
}
