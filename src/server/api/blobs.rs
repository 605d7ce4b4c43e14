//! Blobs: sent in one request or in pieces, and kept under their digest.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};

use crate::model::artifact::Blob;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};
use crate::server::identity::Identity;
use crate::server::problem::{Answer, invalid};
use crate::server::{App, Verb};
use crate::store::blobs::Incoming;

/// How much of an upload is there.
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Says whether a blob is there; where it is not, how much of an upload in pieces is, if the size is given.
#[utoipa::path(head, path = "/api/v1/blobs/{sha256}", tag = "blobs", security(("token" = [])),
    params(
        ("sha256" = String, Path, description = "64 lower-case hexadecimal digits"),
        ("Upload-Length" = Option<u64>, Header, description = "The size of an upload that was begun"),
    ),
    responses(
        (status = 200, description = "It is there"),
        (status = 204, description = "It is not there; `Upload-Offset` says how much of it is"),
        (status = 400, description = "Not a digest"),
        (status = 401, description = "No token that counts"),
        (status = 403, description = "Whoever may not push may not ask"),
        (status = 503, description = "Try again later"),
    ))]
pub(in crate::server) async fn look(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Answer<Response> {
    identity.need_somewhere(Verb::Push)?;
    let sha256 = digest(path)?;
    if app.registry.has(&sha256, identity.caller().at).await? {
        return Ok(StatusCode::OK.into_response());
    }
    let offset = match number(&headers, &HeaderName::from_static("upload-length"))? {
        Some(size_bytes) => app.registry.blobs.resumable(Blob { sha256, size_bytes }, &identity.subject).await,
        None => 0,
    };
    Ok((StatusCode::NO_CONTENT, [(OFFSET, HeaderValue::from(offset))]).into_response())
}

/// Sends a blob: whole, or with `Content-Range` a piece that begins where the one before ended.
#[utoipa::path(put, path = "/api/v1/blobs/{sha256}", tag = "blobs", security(("token" = [])),
    params(
        ("sha256" = String, Path, description = "64 lower-case hexadecimal digits"),
        ("Content-Range" = Option<String>, Header, description = "`bytes FIRST-LAST/SIZE` for a piece"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "It is there now"),
        (status = 200, description = "It was there already"),
        (status = 202, description = "The piece is there; `Upload-Offset` says how much that makes"),
        (status = 400, description = "Not a digest, or no length"),
        (status = 403, description = "Not allowed"),
        (status = 408, description = "The body stopped to come"),
        (status = 409, description = "Pieces do not follow each other"),
        (status = 422, description = "The bytes are not those of the digest"),
    ))]
pub(in crate::server) async fn upload(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    identity.need_somewhere(Verb::Push)?;
    let sha256 = digest(path)?;
    let piece = piece(&headers)?;
    let size_bytes = piece.size;
    if size_bytes > app.limits.max_blob_bytes {
        return Err(Failure::new(
            Code::FileTooLarge,
            format!("{size_bytes} bytes are more than the {} that are taken", app.limits.max_blob_bytes),
        )
        .into());
    }
    if app.registry.has(&sha256, identity.caller().at).await? {
        return Ok(StatusCode::OK.into_response());
    }
    app.registry.expect(&sha256).await?;
    let expected = Blob { sha256, size_bytes };
    let mut incoming = if piece.is_part {
        app.registry.blobs.resume(expected, &identity.subject, piece.start).await?
    } else {
        app.registry.blobs.receive(expected).await?
    };
    let came = receive(&app, &mut incoming, body, piece.length).await;
    if piece.is_part {
        // What came is kept, even if the connection broke.
        let complete = incoming.pause().await?;
        came?;
        let Some(complete) = complete else {
            let offset = HeaderValue::from(piece.start + piece.length);
            return Ok((StatusCode::ACCEPTED, [(OFFSET, offset)]).into_response());
        };
        complete.finish().await?;
    } else {
        came?;
        incoming.finish().await?;
    }
    Ok(StatusCode::CREATED.into_response())
}

/// A blob as the body of an answer.
pub(super) async fn download(app: &App, blob: Blob) -> Result<Response> {
    let missing = || Failure::new(Code::StoreDamaged, "a blob of an artifact is missing");
    let reading = app.registry.blobs.read(blob).await?.ok_or_else(missing)?;
    let pieces = stream::try_unfold(reading, |mut reading| async move {
        let piece = reading.piece().await.inspect_err(|failure| {
            tracing::error!(cause = failure.chain().join(": "), "an answer was broken off");
        })?;
        Ok::<_, Failure>(piece.map(|piece| (piece, reading)))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(blob.size_bytes)),
        // A browser never shows what somebody pushed.
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Copies a body of exactly so many bytes, each piece of which has a time limit.
async fn receive(app: &App, incoming: &mut Incoming, body: Body, length: u64) -> Result<()> {
    let mut pieces = body.into_data_stream();
    let mut left = length;
    loop {
        let next = tokio::time::timeout(app.limits.stall_timeout, pieces.next()).await.map_err(|_| {
            Failure::new(Code::RequestTimeout, "the body stopped to come").hint("send it again, or in pieces")
        })?;
        let Some(piece) = next else { break };
        let piece = piece.map_err(|error| {
            Failure::new(Code::SizeMismatch, "the body broke off").because(error).hint("send it again, or in pieces")
        })?;
        left = left
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| Failure::new(Code::FileTooLarge, "the body is longer than was said"))?;
        incoming.write(&piece).await?;
    }
    if left == 0 {
        Ok(())
    } else {
        Err(Failure::new(Code::SizeMismatch, format!("{left} bytes of the body are missing")))
    }
}

/// Which bytes of a blob a request brings.
struct Piece {
    start: u64,
    length: u64,
    size: u64,
    is_part: bool,
}

fn piece(headers: &HeaderMap) -> Result<Piece> {
    let length = number(headers, &header::CONTENT_LENGTH)?;
    let Some(range) = headers.get(header::CONTENT_RANGE) else {
        let length = length.ok_or_else(|| invalid("the request does not say how long its body is"))?;
        return Ok(Piece { start: 0, length, size: length, is_part: false });
    };
    let read = || -> Option<Piece> {
        let (range, size) = range.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (start, last, size): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
        let fits = start <= last && last < size;
        fits.then(|| Piece { start, length: last - start + 1, size, is_part: true })
    };
    let piece = read().ok_or_else(|| invalid("`Content-Range` is not `bytes FIRST-LAST/SIZE`"))?;
    if length.is_some_and(|length| length != piece.length) {
        return Err(invalid("`Content-Range` and `Content-Length` contradict each other"));
    }
    Ok(piece)
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| invalid(format!("`{name}` is not a number")))
}

fn digest(path: std::result::Result<Path<String>, PathRejection>) -> Result<Digest> {
    let Path(text) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    text.parse().map_err(|error| invalid("the path does not name a digest").because(error))
}
