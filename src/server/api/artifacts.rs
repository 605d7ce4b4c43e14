//! Artifacts: pushed, listed, shown, reported on, and their files fetched.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;

use super::query::{Asked, Query};
use crate::artifacts::read;
use crate::model::artifact::{self, Artifact};
use crate::model::failure::Result;
use crate::model::registry::{Outcome, Page, Report, Reported, Shown};
use crate::model::{Code, Failure, FileName};
use crate::server::api::blobs;
use crate::server::identity::Identity;
use crate::server::problem::{Answer, invalid, no_artifact};
use crate::server::{App, Verb};
use crate::store::{Filter, Row};

/// How many artifacts a page has where nobody says.
const PAGE: u32 = 20;
/// How many a page can have.
const LONGEST_PAGE: u32 = 200;
/// How many artifacts are asked for at once.
const TOGETHER: u32 = 20;
/// How large the records of a page may be together, in bytes, before it ends.
const MAX_PAGE_BYTES: usize = 4 << 20;
/// The most commits in one question.
const MAX_SHAS: usize = 100;
/// The largest report, in bytes.
const MAX_REPORT_BYTES: usize = 16 << 10;
/// The longest note of a report, in characters.
const MAX_NOTE: usize = 2000;
/// The longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 200;

/// What is shown of a row.
fn shown(row: Row) -> Result<Shown> {
    let reported = |(outcome, note, at, by): (String, _, _, _)| {
        let outcome = Outcome::parse(&outcome)
            .ok_or_else(|| Failure::new(Code::StoreDamaged, "an outcome that is kept cannot be read"))?;
        Ok::<_, Failure>(Reported { outcome, note, at, by })
    };
    Ok(Shown {
        artifact: read(&row)?,
        sha256: row.sha256,
        pushed_at: row.created_at,
        pushed_by: row.pushed_by,
        verdict: row.verdict,
        summary: row.summary,
        outcome: row.outcome.map(reported).transpose()?,
    })
}

/// Pushes a record whose files are there already. Pushed again unchanged it is fine; changed it is not.
#[utoipa::path(post, path = "/api/v1/artifacts", tag = "artifacts", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A name for the request: used again for another record it is refused")),
    request_body(content = Artifact, content_type = "application/json"),
    responses(
        (status = 201, description = "The registry has it now", body = Shown),
        (status = 200, description = "The registry had it already", body = Shown),
        (status = 400, description = "Not a record"),
        (status = 403, description = "Not allowed for this service"),
        (status = 409, description = "There is another one by this id"),
        (status = 422, description = "Something that it names is missing or does not verify"),
    ))]
pub(in crate::server) async fn push(
    State(app): State<App>,
    identity: Identity,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    // Nobody's body is read who may not push at all.
    identity.need_somewhere(Verb::Push)?;
    let key = idempotency_key(&headers)?;
    let artifact = Artifact::read(&document(&headers, body, artifact::MAX_BYTES).await?)?;
    identity.need(Verb::Push, Some(&artifact.service))?;
    let pushed = app.registry.push(artifact, key, &identity.caller()).await;
    let kept = pushed.inspect_err(|_| app.metrics.pushed("refused"))?;
    app.metrics.pushed(if kept.is_new { "new" } else { "known" });
    let status = if kept.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let row = app.registry.current(kept.row, identity.caller().at).await?;
    Ok((status, Json(shown(row)?)).into_response())
}

/// Lists artifacts, the one that was pushed last first.
#[utoipa::path(get, path = "/api/v1/artifacts", operation_id = "list_artifacts", tag = "artifacts", security(("token" = [])),
    params(
        ("service" = Option<String>, Query, description = "Of this service"),
        ("branch" = Option<String>, Query, description = "Of exactly this branch"),
        ("event" = Option<artifact::Event>, Query, description = "Made by this event"),
        ("id" = Option<String>, Query, description = "By this id"),
        ("sha" = Option<Vec<String>>, Query, description = "Of one of these commits"),
        ("since" = Option<String>, Query, description = "Pushed at this time or later (RFC 3339)"),
        ("until" = Option<String>, Query, description = "Pushed before this time (RFC 3339)"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many at most (20)"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = Page),
        (status = 400, description = "A question that is not understood"),
        (status = 403, description = "The token allows to see nothing"),
    ))]
pub(in crate::server) async fn list(State(app): State<App>, identity: Identity, asked: Asked) -> Answer<Json<Page>> {
    identity.need_somewhere(Verb::Read)?;
    let mut filter = filter(Query::read(asked)?)?;
    filter.services = identity.seen(filter.services);
    let (rows, more) = page(&app, filter).await?;
    let next = rows.last().filter(|_| more).map(|row| cursor(row.sequence));
    let rows = app.registry.marked(rows).await;
    let artifacts = rows.into_iter().map(|row| shown(Row { summary: None, ..row })).collect::<Result<_>>()?;
    Ok(Json(Page { artifacts, next }))
}

/// Shows one artifact.
#[utoipa::path(get, path = "/api/v1/services/{service}/artifacts/{id}", operation_id = "show_artifact", tag = "artifacts", security(("token" = [])),
    params(("service" = String, Path), ("id" = String, Path)),
    responses(
        (status = 200, description = "The artifact", body = Shown),
        (status = 400, description = "Not a name"),
        (status = 404, description = "Not there, or not to be seen"),
    ))]
pub(in crate::server) async fn show(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<(String, String)>, PathRejection>,
) -> Answer<Json<Shown>> {
    let Path((service, id)) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    let row = find(&app, &identity, &service, &id).await?;
    Ok(Json(shown(app.registry.current(row, identity.caller().at).await?)?))
}

/// Reports how the run that built an artifact ended. The first report stands.
#[utoipa::path(put, path = "/api/v1/services/{service}/artifacts/{id}/outcome", operation_id = "report_outcome", tag = "artifacts", security(("token" = [])),
    params(("service" = String, Path), ("id" = String, Path)),
    request_body(content = Report, content_type = "application/json"),
    responses(
        (status = 200, description = "It stands", body = Shown),
        (status = 400, description = "Not a report"),
        (status = 403, description = "Not allowed for this service"),
        (status = 404, description = "Not there, or not to be seen"),
        (status = 409, description = "Something else was reported before"),
    ))]
pub(in crate::server) async fn report(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Shown>> {
    let Path((service, id)) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    let row = find(&app, &identity, &service, &id).await?;
    identity.need(Verb::Push, service.parse().ok().as_ref())?;
    let bytes = document(&headers, body, MAX_REPORT_BYTES).await?;
    let report: Report =
        serde_json::from_slice(&bytes).map_err(|error| invalid("the report cannot be read").because(error))?;
    if report.note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE || note.contains('\0')) {
        return Err(invalid(format!("the note is longer than {MAX_NOTE} characters, or has a NUL in it")).into());
    }
    app.registry.report(&row, report, &identity.caller()).await?;
    let row = find(&app, &identity, &service, &id).await?;
    Ok(Json(shown(app.registry.current(row, identity.caller().at).await?)?))
}

/// Fetches a file of an artifact: one of its bundle, or `payload.tar.gz`.
#[utoipa::path(get, path = "/api/v1/services/{service}/artifacts/{id}/files/{name}", tag = "artifacts", security(("token" = [])),
    params(("service" = String, Path), ("id" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "Not a name"),
        (status = 404, description = "Not there, or not to be seen"),
    ))]
pub(in crate::server) async fn file(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<(String, String, String)>, PathRejection>,
) -> Answer<Response> {
    let Path((service, id, name)) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    let row = find(&app, &identity, &service, &id).await?;
    let unknown = || {
        Failure::new(Code::ArtifactUnknown, format!("the artifact `{service}/{id}` has no such file"))
            .hint("the record lists its files")
    };
    let blob = *read(&row)?.blobs().get(&name).ok_or_else(unknown)?;
    Ok(blobs::download(&app, blob).await?)
}

/// The rows of a page, and whether there are more. Large records make a page shorter, so that none
/// takes more memory than a page should.
async fn page(app: &App, mut filter: Filter) -> Result<(Vec<Row>, bool)> {
    let most = filter.most as usize;
    let (mut rows, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
    filter.most = filter.most.min(TOGETHER) + 1;
    loop {
        let mut found = app.registry.store.artifacts(&filter).await?;
        let are_all = found.len() < filter.most as usize;
        // One more than is shown tells whether there is another one.
        found.truncate(filter.most as usize - 1);
        for row in found {
            if rows.len() == most || bytes > MAX_PAGE_BYTES {
                return Ok((rows, true));
            }
            bytes += row.record.len();
            filter.before = Some(row.sequence);
            rows.push(row);
        }
        if are_all || rows.len() == most {
            return Ok((rows, !are_all));
        }
    }
}

/// The row of an artifact that one may see.
async fn find(app: &App, identity: &Identity, service: &str, id: &str) -> Result<Row> {
    let name = |text: &str| {
        text.parse::<FileName>()
            .map_err(|error| invalid("the path names what cannot be a service or an id").because(error))
    };
    let (service, id) = (name(service)?, name(id)?);
    let hidden = || no_artifact(service.as_str(), id.as_str());
    if !identity.grants.allow(Verb::Read, Some(&service)) {
        return Err(hidden());
    }
    app.registry.find(&service, &id).await?.ok_or_else(hidden)
}

fn filter(mut query: Query) -> Result<Filter> {
    let filter = Filter {
        services: query.one::<FileName>("service")?.map(|service| vec![service.to_string()]),
        branch: query.one("branch")?,
        event: query.one("event")?,
        id: query.one::<FileName>("id")?.map(|id| id.to_string()),
        shas: query.all("sha"),
        since: query.one("since")?,
        until: query.one("until")?,
        before: query.one::<String>("cursor")?.map(|text| sequence(&text)).transpose()?,
        most: query.limit(PAGE, LONGEST_PAGE)?,
    };
    query.end()?;
    if filter.shas.len() > MAX_SHAS {
        return Err(invalid(format!("more than {MAX_SHAS} commits are asked for at once")));
    }
    // PostgreSQL cannot hold such a text, so nothing has it.
    if filter.branch.iter().chain(&filter.shas).any(|text| text.contains('\0')) {
        return Err(invalid("there is a NUL in the query"));
    }
    Ok(filter)
}

/// A place in the list. It stays where it is when more is pushed.
pub(super) fn cursor(sequence: u64) -> String {
    BASE64URL_NOPAD.encode(&sequence.to_be_bytes())
}

pub(super) fn sequence(cursor: &str) -> Result<u64> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| invalid("`cursor` in the query is not `next` of a page"))
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= MAX_KEY_BYTES);
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        invalid(format!("the idempotency key is empty, longer than {MAX_KEY_BYTES} bytes, or not plain text"))
    })
}

/// A JSON document of at most so many bytes.
pub(super) async fn document(headers: &HeaderMap, body: Body, max_bytes: usize) -> Result<Vec<u8>> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    if kind
        .is_some_and(|kind| !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json"))
    {
        return Err(invalid("the body is not `application/json`"));
    }
    let bytes = to_bytes(body, max_bytes).await.map_err(|error| {
        Failure::new(Code::FileTooLarge, format!("the body is larger than {max_bytes} bytes, or broke off"))
            .because(error)
    })?;
    Ok(bytes.into())
}
