//! Releases: asked for, listed, shown; what a service has where; the environments.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;

use super::artifacts::{cursor, document, idempotency_key, sequence};
use super::query::{Asked, Query};
use crate::model::artifact::Person;
use crate::model::delivery::{
    Actor, Environments, Granted, Release, ReleaseRequest, Releases, Selector, State as Stage, Status,
};
use crate::model::failure::Result;
use crate::model::found::{Past, PastArtifacts, Statuses};
use crate::model::{Code, Failure, FileName};
use crate::server::identity::Identity;
use crate::server::problem::{Answer, invalid};
use crate::server::{App, Verb};
use crate::store::ReleaseFilter;

/// How many releases a page has where nobody says.
const PAGE: u32 = 20;
/// How many a page can have.
const LONGEST_PAGE: u32 = 200;
/// How many releases of a history can be left out.
const FARTHEST_BACK: u32 = 1000;
/// The largest request, in bytes.
const MAX_WISH_BYTES: usize = 64 << 10;
/// How many environments one request may name.
const MAX_ENVIRONMENTS: usize = 50;
/// The longest reason, in characters.
const MAX_REASON: usize = 1000;

/// Releases an artifact into environments. The answer says what became of each; what is accepted is kept.
#[utoipa::path(post, path = "/api/v1/releases", operation_id = "request_release", tag = "releases", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A name for the request: made again under it, it is answered as before and nothing else happens")),
    request_body(content = ReleaseRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "What became of it in each environment", body = Granted),
        (status = 400, description = "Not a request"),
        (status = 403, description = "Not allowed for this service in one of the environments"),
        (status = 404, description = "The service is not to be seen"),
        (status = 422, description = "The idempotency key was used for something else"),
    ))]
pub(in crate::server) async fn request(
    State(app): State<App>,
    identity: Identity,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Granted>> {
    identity.need_somewhere(Verb::Read)?;
    let name = idempotency_key(&headers)?;
    let bytes = document(&headers, body, MAX_WISH_BYTES).await?;
    let request: ReleaseRequest =
        serde_json::from_slice(&bytes).map_err(|error| invalid("the request cannot be read").because(error))?;
    check(&request)?;
    visible(&identity, &request.service)?;
    if !request.dry_run {
        for environment in &request.environments {
            identity.need_in(Verb::Release, &request.service, environment)?;
            if request.override_reason.is_some() {
                identity.need_in(Verb::Override, &request.service, environment)?;
            }
        }
    }
    let mut actor = actor(&identity, &request.service, request.environments.first());
    if let (Some(person), true) = (&request.person, actor.email.is_empty()) {
        (actor.name, actor.email) = (person.name.clone(), person.email.clone());
    }
    Ok(Json(app.manager.request(&request, &actor, name.as_deref()).await?))
}

/// Lists releases, the one that was asked for last first.
#[utoipa::path(get, path = "/api/v1/releases", operation_id = "list_releases", tag = "releases", security(("token" = [])),
    params(
        ("service" = Option<String>, Query, description = "Of this service"),
        ("environment" = Option<String>, Query, description = "Into this environment"),
        ("namespace" = Option<String>, Query, description = "In this namespace"),
        ("artifact" = Option<String>, Query, description = "Of this artifact"),
        ("commit" = Option<String>, Query, description = "Written with this commit"),
        ("state" = Option<Vec<String>>, Query, description = "In one of these states"),
        ("pushed" = Option<bool>, Query, description = "Only those that reached their environment"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many at most"),
    ),
    responses(
        (status = 200, description = "A page", body = Releases),
        (status = 400, description = "Not a question"),
        (status = 403, description = "Not allowed for any service"),
    ))]
pub(in crate::server) async fn list(
    State(app): State<App>,
    identity: Identity,
    asked: Asked,
) -> Answer<Json<Releases>> {
    identity.need_somewhere(Verb::Read)?;
    let mut filter = filter(Query::read(asked)?)?;
    filter.services = identity.seen(filter.services);
    let (releases, next) = app.manager.releases(&filter).await?;
    Ok(Json(Releases { releases, next: next.map(cursor) }))
}

/// Shows one release with every state that it had.
#[utoipa::path(get, path = "/api/v1/releases/{id}", operation_id = "show_release", tag = "releases", security(("token" = [])),
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The release", body = Release),
        (status = 400, description = "Not a name"),
        (status = 404, description = "Not there, or not to be seen"),
    ))]
pub(in crate::server) async fn show(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
) -> Answer<Json<Release>> {
    let Path(id) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    let id: FileName = id.parse().map_err(|error| invalid("the path names what is no release").because(error))?;
    let hidden = || {
        Failure::new(Code::ReleaseUnknown, format!("there is no release `{id}`"))
            .subject(id.as_str())
            .hint("`consign describe release` lists those that you may see")
    };
    let release = app.manager.release(id.as_str()).await?.ok_or_else(hidden)?;
    if !identity.grants.allow(Verb::Read, Some(&release.order.service)) {
        return Err(hidden().into());
    }
    Ok(Json(release))
}

/// Lists the environments, none before those that it is promoted from.
#[utoipa::path(get, path = "/api/v1/environments", tag = "releases", security(("token" = [])),
    responses(
        (status = 200, description = "The environments", body = Environments),
        (status = 403, description = "Not allowed for any service"),
    ))]
pub(in crate::server) async fn environments(State(app): State<App>, identity: Identity) -> Answer<Json<Environments>> {
    identity.need_somewhere(Verb::Read)?;
    Ok(Json(Environments { environments: app.manager.plan().environments().to_vec() }))
}

/// Says what a service has in its environments, what is on its way, and what is held.
#[utoipa::path(get, path = "/api/v1/services/{service}/status", tag = "releases", security(("token" = [])),
    params(("service" = String, Path), ("namespace" = Option<String>, Query, description = "In this namespace only")),
    responses(
        (status = 200, description = "What is where", body = Status),
        (status = 400, description = "Not a name"),
        (status = 404, description = "The service is not to be seen"),
    ))]
pub(in crate::server) async fn status(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Answer<Json<Status>> {
    let service = service(path)?;
    visible(&identity, &service)?;
    let namespace = namespace(asked)?;
    Ok(Json(app.manager.status(&service, namespace.as_ref()).await?))
}

/// Says what every service has that may be seen, in the order of their names.
#[utoipa::path(get, path = "/api/v1/status", operation_id = "every_status", tag = "releases", security(("token" = [])),
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many services at most"),
    ),
    responses(
        (status = 200, description = "What is where", body = Statuses),
        (status = 400, description = "Not a question"),
        (status = 403, description = "Not allowed for any service"),
    ))]
pub(in crate::server) async fn every_status(
    State(app): State<App>,
    identity: Identity,
    asked: Asked,
) -> Answer<Json<Statuses>> {
    identity.need_somewhere(Verb::Read)?;
    let mut query = Query::read(asked)?;
    let after: Option<FileName> = query.one("after")?;
    let limit = query.limit(LONGEST_PAGE, LONGEST_PAGE)?;
    query.end()?;
    let is_seen = |service: &FileName| identity.grants.allow(Verb::Read, Some(service));
    Ok(Json(app.manager.every_status(&is_seen, after.as_ref(), limit as usize).await?))
}

/// Says what a service had in an environment, the last one first: by this server's releases and by the history of its
/// configuration repository, whoever wrote it.
#[utoipa::path(get, path = "/api/v1/services/{service}/history", operation_id = "show_history", tag = "releases", security(("token" = [])),
    params(
        ("service" = String, Path, description = "In any case"),
        ("environment" = String, Query, description = "In this environment, in any case"),
        ("namespace" = Option<String>, Query, description = "In this namespace only"),
        ("skip" = Option<u32>, Query, maximum = 1000, description = "So many of the latest are left out"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many at most"),
    ),
    responses(
        (status = 200, description = "What it had; none is no failure", body = Past),
        (status = 400, description = "Not a question"),
        (status = 404, description = "The service is not to be seen"),
    ))]
pub(in crate::server) async fn history(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Answer<Json<Past>> {
    let service = service(path)?;
    visible(&identity, &service)?;
    let mut query = Query::read(asked)?;
    let environment: FileName =
        query.one("environment")?.ok_or_else(|| invalid("`environment` is missing in the query"))?;
    let namespace: Option<FileName> = query.one("namespace")?;
    let skip = query.one::<u32>("skip")?.unwrap_or_default();
    if skip > FARTHEST_BACK {
        return Err(invalid(format!("`skip` in the query is more than {FARTHEST_BACK}")).into());
    }
    let limit = query.limit(PAGE, LONGEST_PAGE)?;
    query.end()?;
    Ok(Json(app.manager.past(&service, &environment, namespace.as_ref(), skip as usize, limit as usize).await?))
}

/// Lists the artifacts of a service that configuration repositories have the records of, the one that was built last first.
/// They need not be in the registry.
#[utoipa::path(get, path = "/api/v1/services/{service}/history/artifacts", operation_id = "list_past_artifacts", tag = "releases", security(("token" = [])),
    params(
        ("service" = String, Path, description = "In any case"),
        ("branch" = Option<String>, Query, description = "Of exactly this branch"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many at most"),
    ),
    responses(
        (status = 200, description = "The artifacts, as far back as the last releases to each environment go", body = PastArtifacts),
        (status = 400, description = "Not a question"),
        (status = 404, description = "The service is not to be seen"),
    ))]
pub(in crate::server) async fn past_artifacts(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Answer<Json<PastArtifacts>> {
    let service = service(path)?;
    visible(&identity, &service)?;
    let mut query = Query::read(asked)?;
    let branch: Option<String> = query.one("branch")?;
    let limit = query.limit(PAGE, LONGEST_PAGE)?;
    query.end()?;
    Ok(Json(app.manager.past_artifacts(&service, branch.as_deref(), limit as usize).await?))
}

fn check(request: &ReleaseRequest) -> Result<()> {
    if request.environments.is_empty() {
        return Err(invalid("`environments` must contain at least one value"));
    }
    if request.environments.len() > MAX_ENVIRONMENTS {
        return Err(invalid(format!("more than {MAX_ENVIRONMENTS} environments are named at once")));
    }
    let twice = (1..request.environments.len()).find(|number| {
        let (before, rest) = request.environments.split_at(*number);
        rest.first().is_some_and(|one| before.contains(one))
    });
    if twice.is_some() {
        return Err(invalid("an environment is named twice"));
    }
    if let Selector::Branch { branch } = &request.what {
        plain("the branch", branch)?;
    }
    if let Some(Person { name, email }) = &request.person {
        plain("the person's name", name)?;
        plain("the person's address", email)?;
    }
    request.override_reason.as_deref().map_or(Ok(()), |reason| plain("the reason", reason))
}

/// A text of a person's own: something, not endless, and nothing in it that a database cannot hold.
pub(super) fn plain(what: &str, text: &str) -> Result<()> {
    let is_fine = !text.trim().is_empty() && text.chars().count() <= MAX_REASON && !text.chars().any(char::is_control);
    if is_fine {
        return Ok(());
    }
    Err(invalid(format!("{what} is empty, longer than {MAX_REASON} characters, or has control characters in it")))
}

/// The service of a path.
pub(super) fn service(path: std::result::Result<Path<String>, PathRejection>) -> Result<FileName> {
    let Path(service) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    service.parse().map_err(|error| invalid("the path names what cannot be a service").because(error))
}

/// The one thing that some questions can be asked with.
pub(super) fn namespace(asked: Asked) -> Result<Option<FileName>> {
    let mut query = Query::read(asked)?;
    let namespace = query.one("namespace")?;
    query.end()?;
    Ok(namespace)
}

/// Refuses a service that one may not see as if it was not there.
pub(super) fn visible(identity: &Identity, service: &FileName) -> Result<()> {
    if identity.grants.allow(Verb::Read, Some(service)) {
        return Ok(());
    }
    Err(Failure::new(Code::ArtifactUnknown, format!("there is no service `{service}`"))
        .subject(service.as_str())
        .hint("`consign artifact list` shows what you may see"))
}

/// Who asks, as releases remember them.
pub(super) fn actor(identity: &Identity, service: &FileName, environment: Option<&FileName>) -> Actor {
    let allowed = |verb: &Verb| match environment {
        Some(environment) => identity.grants.allow_in(*verb, service, environment),
        None => identity.grants.allow(*verb, Some(service)),
    };
    Actor {
        subject: identity.subject.clone(),
        name: identity.name.clone(),
        email: identity.email.clone().unwrap_or_default(),
        is_automation: false,
        groups: identity.groups.clone(),
        roles: Verb::ALL.iter().filter(|verb| allowed(verb)).map(|verb| verb.as_str().to_owned()).collect(),
        on_behalf_of: None,
    }
}

fn filter(mut query: Query) -> Result<ReleaseFilter> {
    let states: Vec<Stage> = query
        .all("state")
        .iter()
        .map(|word| word.parse().map_err(|_| invalid("`state` in the query is not one")))
        .collect::<Result<_>>()?;
    let filter = ReleaseFilter {
        services: query.one::<FileName>("service")?.map(|service| vec![service.to_string()]),
        environment: query.one::<FileName>("environment")?.map(|name| name.to_string()),
        namespace: query.one::<FileName>("namespace")?.map(|name| name.to_string()),
        artifact: query.one::<FileName>("artifact")?.map(|name| name.to_string()),
        commit: query.one::<FileName>("commit")?.map(|commit| commit.to_string()),
        states: states.into_iter().map(Stage::as_str).collect(),
        was_pushed: query.one::<bool>("pushed")?.unwrap_or_default(),
        gives_way: false,
        before: query.one::<String>("cursor")?.map(|text| sequence(&text)).transpose()?,
        most: query.limit(PAGE, LONGEST_PAGE)?,
    };
    query.end()?;
    Ok(filter)
}
