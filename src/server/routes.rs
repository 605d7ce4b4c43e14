//! The route table.

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use axum::{Router, middleware};

use super::api::{artifacts, audit, blobs, policies, releases, service, tiles, tokens, webhooks};
use super::problem::Refusal;
use super::{App, wrap};
use crate::model::{Code, Failure};

/// The route whose bodies may be large.
pub(super) const BLOB: &str = "/api/v1/blobs/{sha256}";
/// The routes that are asked all the time by those who only look whether somebody is there.
const PROBES: [&str; 3] = ["/ping", "/healthz", "/readyz"];

/// Whether a route is asked all the time and not worth a line in the log.
pub(super) fn is_probe(route: &str) -> bool {
    PROBES.contains(&route)
}

/// Everything that is answered on the public address.
pub(super) fn public(app: App) -> Router {
    told(&app)
        .route("/ping", get(service::ping))
        .route("/healthz", get(service::healthz))
        .route("/readyz", get(service::readyz))
        .route("/api/v1/openapi.json", get(service::openapi))
        .route("/api/v1/whoami", get(service::whoami))
        .route("/api/v1/key", get(service::key))
        .route("/api/v1/login", get(service::login))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/tokens/{id}", delete(tokens::revoke))
        .route("/api/v1/artifacts", get(artifacts::list).post(artifacts::push))
        .route("/api/v1/services/{service}/artifacts/{id}", get(artifacts::show))
        .route("/api/v1/services/{service}/artifacts/{id}/outcome", put(artifacts::report))
        .route("/api/v1/services/{service}/artifacts/{id}/files/{name}", get(artifacts::file))
        .route(BLOB, put(blobs::upload).head(blobs::look))
        .route("/api/v1/releases", get(releases::list).post(releases::request))
        .route("/api/v1/releases/{id}", get(releases::show))
        .route("/api/v1/environments", get(releases::environments))
        .route("/api/v1/report", get(policies::report))
        .route("/api/v1/status", get(releases::every_status))
        .route("/api/v1/services/{service}/status", get(releases::status))
        .route("/api/v1/services/{service}/history", get(releases::history))
        .route("/api/v1/services/{service}/history/artifacts", get(releases::past_artifacts))
        .route("/api/v1/services/{service}/policies", get(policies::list).put(policies::apply).delete(policies::delete))
        .route("/api/v1/services/{service}/policies/test", post(policies::test))
        .route("/api/v1/services/{service}/holds/{environment}", put(policies::hold).delete(policies::resume))
        .route("/api/v1/services/{service}/approvals", post(policies::approve))
        .route("/api/v1/audit/checkpoint", get(audit::checkpoint))
        .route("/api/v1/audit/leaves", get(audit::leaves))
        .route("/api/v1/audit/consistency", get(audit::consistency))
        .route("/checkpoint", get(tiles::checkpoint))
        .route("/tile/{*path}", get(tiles::tile))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        // Every handler bounds what it reads by itself.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), wrap::around))
        .with_state(app)
}

/// What those may tell who have a secret. Without one there is no such address, by any method.
fn told(app: &App) -> Router<App> {
    let mut router = Router::new();
    if app.webhooks.github.is_some() {
        router = router.route("/webhook/github", post(webhooks::github));
    }
    if app.webhooks.flux.is_some() {
        router = router.route("/webhook/flux", post(webhooks::flux));
    }
    if app.webhooks.daemon.is_some() {
        router = router
            .route("/webhook/daemon/k8s/deploy", post(webhooks::deploy))
            .route("/webhook/daemon/k8s/error", post(webhooks::error))
            .route("/webhook/daemon/k8s/joberror", post(webhooks::joberror));
    }
    router
}

/// Everything that is answered on the address for operators.
pub(super) fn operators(app: App) -> Router {
    Router::new().route("/metrics", get(metrics)).fallback(nothing_here).with_state(app)
}

async fn metrics(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], app.metrics.render())
        .into_response()
}

async fn nothing_here() -> Refusal {
    Refusal(nothing())
}

/// The failure of an address that does not exist.
pub(super) fn nothing() -> Failure {
    Failure::new(Code::RouteUnknown, "there is nothing at this address")
        .hint("/api/v1/openapi.json lists what there is")
}

async fn not_so() -> Response {
    let failure = Failure::new(Code::RouteUnknown, "this address is not asked by this method");
    Refusal(failure.hint("/api/v1/openapi.json lists what there is")).with_status(StatusCode::METHOD_NOT_ALLOWED)
}
