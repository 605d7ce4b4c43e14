//! The audit log: its leaves, its signed checkpoint, and proofs that it only ever grew.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::query::{Asked, Query};
use crate::model::registry::{Leaves, Proof};
use crate::server::identity::Identity;
use crate::server::problem::{Answer, invalid};
use crate::server::{App, Verb};
use crate::trust::tree;

/// How many leaves there are at once where nobody says.
const PAGE: u32 = 100;
/// How many leaves there can be at once.
const LONGEST_PAGE: u32 = 1000;

/// The log's size and root hash, signed, as a C2SP checkpoint.
#[utoipa::path(get, path = "/api/v1/audit/checkpoint", operation_id = "audit_checkpoint", tag = "audit", security(("token" = [])), responses(
    (status = 200, description = "A signed note", body = String, content_type = "text/plain; charset=utf-8"),
    (status = 401, description = "No token that counts"),
    (status = 403, description = "Not allowed"),
    (status = 503, description = "Try again later"),
))]
pub(in crate::server) async fn checkpoint(State(app): State<App>, identity: Identity) -> Answer<Response> {
    identity.need(Verb::Audit, None)?;
    let head = app.registry.store.audit_head().await?;
    let note = tree::checkpoint(&app.origin, &head, app.registry.signer())?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

/// The leaves from a number on.
#[utoipa::path(get, path = "/api/v1/audit/leaves", tag = "audit", security(("token" = [])),
    params(
        ("from" = Option<u64>, Query, description = "The number of the first one (0)"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "How many at most (100)"),
    ),
    responses(
        (status = 200, description = "Leaves; none behind the last one", body = Leaves),
        (status = 400, description = "A question that is not understood"),
        (status = 403, description = "Not allowed"),
    ))]
pub(in crate::server) async fn leaves(
    State(app): State<App>,
    identity: Identity,
    asked: Asked,
) -> Answer<Json<Leaves>> {
    identity.need(Verb::Audit, None)?;
    let mut query = Query::read(asked)?;
    let (from, limit) = (query.one("from")?.unwrap_or_default(), query.limit(PAGE, LONGEST_PAGE)?);
    query.end()?;
    if i64::try_from(from).is_err() {
        return Err(invalid("`from` in the query is more than a log can have").into());
    }
    Ok(Json(Leaves { from, leaves: app.registry.store.audit_leaves(from, limit).await? }))
}

/// The proof that the log of one size began as the log of a smaller size.
#[utoipa::path(get, path = "/api/v1/audit/consistency", tag = "audit", security(("token" = [])),
    params(("smaller" = u64, Query, minimum = 1), ("larger" = u64, Query, minimum = 1)),
    responses(
        (status = 200, description = "A proof as of RFC 6962", body = Proof),
        (status = 400, description = "No such sizes"),
        (status = 403, description = "Not allowed"),
    ))]
pub(in crate::server) async fn consistency(
    State(app): State<App>,
    identity: Identity,
    asked: Asked,
) -> Answer<Json<Proof>> {
    identity.need(Verb::Audit, None)?;
    let mut query = Query::read(asked)?;
    let (smaller, larger) = (query.one::<u64>("smaller")?, query.one::<u64>("larger")?);
    query.end()?;
    let size = app.registry.store.audit_head().await?.size();
    let sizes = smaller.zip(larger).filter(|(smaller, larger)| (1..=*larger).contains(smaller) && *larger <= size);
    let (smaller, larger) =
        sizes.ok_or_else(|| invalid(format!("`smaller` and `larger` are not sizes up to {size}")))?;
    Ok(Json(Proof { hashes: app.registry.store.audit_proof(tree::consistency(smaller, larger)).await? }))
}
