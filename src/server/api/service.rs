//! Questions about the server itself.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::model::registry::{Login, Whoami};
use crate::server::identity::Identity;
use crate::server::problem::Answer;
use crate::server::{App, openapi};

/// Whether somebody is there.
#[utoipa::path(get, path = "/ping", tag = "server", responses((status = 200, description = "Somebody is there", body = String)))]
pub(in crate::server) async fn ping() -> &'static str {
    "pong"
}

/// Whether this process lives. It says nothing about the database.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, description = "The process lives", body = String)))]
pub(in crate::server) async fn healthz() -> &'static str {
    "ok"
}

/// Whether requests can be answered: the database does.
#[utoipa::path(get, path = "/readyz", tag = "server", responses(
    (status = 200, description = "Requests can be answered", body = String),
    (status = 503, description = "The database does not answer"),
))]
pub(in crate::server) async fn readyz(State(app): State<App>) -> Answer<&'static str> {
    app.registry.store.ping().await?;
    Ok("ok")
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "server", responses((status = 200, description = "The description of all requests", body = Object)))]
pub(in crate::server) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::document()).into_response()
}

/// Who the token makes one.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "server", security(("token" = [])), responses(
    (status = 200, description = "Who the token makes one", body = Whoami),
    (status = 401, description = "No token that counts"),
))]
pub(in crate::server) async fn whoami(identity: Identity) -> Json<Whoami> {
    let Identity { subject, name, grants, .. } = identity;
    Json(Whoami { subject, name, grants: grants.to_string() })
}

/// How people log in here: the providers of identities whose tokens count.
#[utoipa::path(get, path = "/api/v1/login", tag = "server", responses((status = 200, description = "The providers; none where only tokens of this server count", body = Login)))]
pub(in crate::server) async fn login(State(app): State<App>) -> Json<Login> {
    Json(app.federation.login())
}

/// The public half of the key that signs summaries and checkpoints. Whoever wants to rely on it gets it
/// by another way.
#[utoipa::path(get, path = "/api/v1/key", tag = "server", responses((status = 200, description = "A public key in PEM", body = String, content_type = "application/x-pem-file")))]
pub(in crate::server) async fn key(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], app.registry.signer().public().to_pem()).into_response()
}
