//! The audit log as the C2SP's tiles, which any client of transparency logs reads: see
//! <https://c2sp.org/tlog-tiles>.
//!
//! A tile is up to 256 hashes beside each other; one that is there never changes, and may be kept for ever by
//! whoever asked. The same log with questions of our own is in [`super::audit`].

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::model::{Code, Failure};
use crate::server::identity::Identity;
use crate::server::problem::{Answer, invalid};
use crate::server::{App, Verb};
use crate::trust::tile::{Kind, Tile, WIDTH};
use crate::trust::tree;

/// A tile never changes. It is for whoever asked, and for no cache between.
const FOR_EVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// A checkpoint is that of now.
const OF_NOW: HeaderValue = HeaderValue::from_static("no-cache");

/// The log's size and root hash, signed; the same as `/api/v1/audit/checkpoint`.
#[utoipa::path(get, path = "/checkpoint", tag = "tiles", security(("token" = [])), responses(
    (status = 200, description = "A signed note", body = String, content_type = "text/plain; charset=utf-8"),
    (status = 401, description = "No token that counts"),
    (status = 403, description = "Not allowed"),
    (status = 503, description = "Try again later"),
))]
pub(in crate::server) async fn checkpoint(State(app): State<App>, identity: Identity) -> Answer<Response> {
    identity.need(Verb::Audit, None)?;
    let head = app.registry.store.audit_head().await?;
    let note = tree::checkpoint(&app.origin, &head, app.registry.signer())?;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, OF_NOW)], note).into_response())
}

/// A tile: `<L>/<N>[.p/<W>]` for hashes, `entries/<N>[.p/<W>]` for the lines themselves.
#[utoipa::path(get, path = "/tile/{path}", tag = "tiles", security(("token" = [])),
    params(("path" = String, Path, description = "`<L>/<N>`, `entries/<N>`, each with `.p/<W>` behind it where the tile is not full")),
    responses(
        (status = 200, description = "Hashes of 32 bytes each, or lines with two bytes of length before each", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "Not a tile"),
        (status = 403, description = "Not allowed"),
        (status = 404, description = "The log is not that long yet"),
    ))]
pub(in crate::server) async fn tile(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
) -> Answer<Response> {
    identity.need(Verb::Audit, None)?;
    let Path(path) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    let tile = Tile::parse(&path).ok_or_else(|| invalid("the path is not that of a tile"))?;
    let size = app.registry.store.audit_head().await?.size();
    let missing = || {
        Failure::new(Code::RouteUnknown, "the log is not long enough for this tile")
            .hint("ask for `/checkpoint` first: it says how long the log is")
    };
    if !tile.is_in(size) {
        return Err(missing().into());
    }
    let (first, width) = (tile.number * u64::from(WIDTH), tile.width);
    let mut body = Vec::new();
    let found = match tile.kind {
        Kind::Hashes(level) => {
            let hashes = app.registry.store.audit_nodes(8 * level, first, width).await?;
            for hash in &hashes {
                body.extend_from_slice(hash.as_bytes());
            }
            hashes.len()
        }
        Kind::Entries => {
            let leaves = app.registry.store.audit_leaves(first, width).await?;
            for leaf in &leaves {
                let length = u16::try_from(leaf.len()).map_err(|error| {
                    Failure::new(Code::StoreDamaged, "a line of the audit log is too long").because(error)
                })?;
                body.extend_from_slice(&length.to_be_bytes());
                body.extend_from_slice(leaf.as_bytes());
            }
            leaves.len()
        }
    };
    if found != width as usize {
        return Err(Failure::new(Code::StoreDamaged, "the audit log has lost lines").into());
    }
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, FOR_EVER)], body).into_response())
}
