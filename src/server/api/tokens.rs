//! The tokens of this server: made, listed and taken back by administrators.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::artifacts::document;
use crate::model::failure::Result;
use crate::model::registry::{NewToken, TokenMade, TokenRow, Tokens};
use crate::server::identity::Identity;
use crate::server::problem::{Answer, invalid};
use crate::server::{App, Verb, Wanted, issue, revoke as take_back};
use crate::store;

/// The largest request, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// Makes a token. The answer is the only time that it is shown.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", security(("token" = [])),
    request_body(content = NewToken, content_type = "application/json"),
    responses(
        (status = 201, description = "The token", body = TokenMade),
        (status = 400, description = "Not such a request"),
        (status = 403, description = "Not allowed"),
    ))]
pub(in crate::server) async fn create(
    State(app): State<App>,
    identity: Identity,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    identity.need(Verb::Admin, None)?;
    let bytes = document(&headers, body, MAX_BYTES).await?;
    let new: NewToken =
        serde_json::from_slice(&bytes).map_err(|error| invalid("the body cannot be read").because(error))?;
    let wanted = Wanted::read(&new, identity.at)?;
    let issued = issue(&app.registry.store, wanted, &identity.subject, identity.at).await?;
    let (grants, expires_at) = (issued.grants.to_string(), issued.expires_at);
    Ok((StatusCode::CREATED, Json(TokenMade { id: issued.id, token: issued.token, grants, expires_at }))
        .into_response())
}

/// Lists tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "list_tokens", tag = "tokens", security(("token" = [])), responses(
    (status = 200, description = "Every token, the oldest first", body = Tokens),
    (status = 401, description = "No token that counts"),
    (status = 403, description = "Not allowed"),
    (status = 503, description = "Try again later"),
))]
pub(in crate::server) async fn list(State(app): State<App>, identity: Identity) -> Answer<Json<Tokens>> {
    identity.need(Verb::Admin, None)?;
    let rows = app.registry.store.tokens().await?;
    Ok(Json(Tokens { tokens: rows.into_iter().map(|row| shown(row, identity.at)).collect() }))
}

/// Takes a token back.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", security(("token" = [])),
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "It counts no more"),
        (status = 400, description = "Not an id"),
        (status = 403, description = "Not allowed"),
        (status = 404, description = "There is none that counts"),
    ))]
pub(in crate::server) async fn revoke(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
) -> Answer<StatusCode> {
    identity.need(Verb::Admin, None)?;
    let Path(id) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    check(&id)?;
    take_back(&app.registry.store, &id, &identity.subject, identity.at).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if id.len() <= 100 && id.bytes().all(plain) {
        Ok(())
    } else {
        Err(invalid("the path names what cannot be a token's id"))
    }
}

/// A row as it is shown.
pub fn shown(row: store::TokenRow, now: Timestamp) -> TokenRow {
    let store::TokenRow { id, name, grants, created_at, expires_at, revoked_at, last_used_at } = row;
    let counts = revoked_at.is_none() && expires_at.is_none_or(|expires| now < expires);
    TokenRow { id, name, grants, created_at, expires_at, revoked_at, last_used_at, counts }
}
