//! Policies, holds and votes; and how releasing went.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use super::artifacts::document;
use super::query::{Asked, Query};
use super::releases::{actor, namespace, plain, service, visible};
use crate::model::FileName;
use crate::model::delivery::Status;
use crate::model::failure::Result;
use crate::model::management::{
    Applied, ApprovalGiven, Deleted, HoldSet, PolicyList, PolicyTest, PolicyTested, Report, Resumed,
};
use crate::model::policy::{Actor, ActorKind, MAX_BYTES, Policy};
use crate::server::identity::Identity;
use crate::server::problem::{Answer, invalid};
use crate::server::{App, Verb};
use crate::store::Target;

/// The largest small document, in bytes.
const MAX_SMALL_BYTES: usize = 64 << 10;
/// How long a report looks back where nobody says.
const REPORTED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Lists the policies that hold for a service: the server's own first.
#[utoipa::path(get, path = "/api/v1/services/{service}/policies", operation_id = "list_policies", tag = "policies", security(("token" = [])),
    params(("service" = String, Path)),
    responses(
        (status = 200, description = "The policies", body = PolicyList),
        (status = 400, description = "Not a name"),
        (status = 404, description = "The service is not to be seen"),
    ))]
pub(in crate::server) async fn list(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
) -> Answer<Json<PolicyList>> {
    let service = service(path)?;
    visible(&identity, &service)?;
    Ok(Json(app.manager.policies(&service).await?))
}

/// Puts a policy in the place of the one that it replaces, or beside the others.
#[utoipa::path(put, path = "/api/v1/services/{service}/policies", tag = "policies", security(("token" = [])),
    params(("service" = String, Path)),
    request_body(content = Policy, content_type = "application/json"),
    responses(
        (status = 200, description = "It holds", body = Applied),
        (status = 400, description = "Not a policy"),
        (status = 403, description = "Not allowed for this service"),
        (status = 404, description = "The service is not to be seen"),
        (status = 409, description = "It contradicts another policy"),
    ))]
pub(in crate::server) async fn apply(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Applied>> {
    let service = service(path)?;
    visible(&identity, &service)?;
    identity.need(Verb::Policy, Some(&service))?;
    let policy: Policy = read(&headers, body, MAX_SMALL_BYTES, "the policy").await?;
    Ok(Json(app.manager.apply_policy(&service, policy, &identity.caller()).await?))
}

/// Takes policies away: all that are named, or none.
#[utoipa::path(delete, path = "/api/v1/services/{service}/policies", tag = "policies", security(("token" = [])),
    params(("service" = String, Path), ("id" = Vec<String>, Query, description = "Which")),
    responses(
        (status = 200, description = "They are gone", body = Deleted),
        (status = 400, description = "Not a question"),
        (status = 403, description = "Not allowed for this service"),
        (status = 404, description = "Not there, or not to be seen"),
        (status = 409, description = "One is the server's own"),
    ))]
pub(in crate::server) async fn delete(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Answer<Json<Deleted>> {
    let service = service(path)?;
    visible(&identity, &service)?;
    identity.need(Verb::Policy, Some(&service))?;
    let mut query = Query::read(asked)?;
    let ids = query.all("id");
    query.end()?;
    Ok(Json(app.manager.delete_policies(&service, &ids, &identity.caller()).await?))
}

/// Says what other policies would have answered to the releases that there were.
#[utoipa::path(post, path = "/api/v1/services/{service}/policies/test", tag = "policies", security(("token" = [])),
    params(("service" = String, Path)),
    request_body(content = PolicyTest, content_type = "application/json"),
    responses(
        (status = 200, description = "What would have been different", body = PolicyTested),
        (status = 400, description = "Not policies"),
        (status = 404, description = "The service is not to be seen"),
        (status = 409, description = "They contradict each other"),
    ))]
pub(in crate::server) async fn test(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<PolicyTested>> {
    let service = service(path)?;
    visible(&identity, &service)?;
    let test: PolicyTest = read(&headers, body, MAX_BYTES, "the policies").await?;
    Ok(Json(app.manager.test_policies(&service, &test).await?))
}

/// Suspends automation for a service in an environment.
#[utoipa::path(put, path = "/api/v1/services/{service}/holds/{environment}", tag = "policies", security(("token" = [])),
    params(("service" = String, Path), ("environment" = String, Path)),
    request_body(content = HoldSet, content_type = "application/json"),
    responses(
        (status = 200, description = "It is held", body = Status),
        (status = 400, description = "Not a hold"),
        (status = 403, description = "Not allowed in this environment"),
        (status = 404, description = "The service is not to be seen"),
    ))]
pub(in crate::server) async fn hold(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<Status>> {
    let (service, environment) = place(&app, path)?;
    visible(&identity, &service)?;
    identity.need_in(Verb::Release, &service, &environment)?;
    let HoldSet { namespace, reason } = read(&headers, body, MAX_SMALL_BYTES, "the hold").await?;
    plain("the reason", &reason)?;
    let target = target(&service, &environment, namespace.as_ref());
    app.manager.hold(&target, &reason, &identity.caller()).await?;
    Ok(Json(app.manager.status(&service, namespace.as_ref()).await?))
}

/// Lets automation go on.
#[utoipa::path(delete, path = "/api/v1/services/{service}/holds/{environment}", tag = "policies", security(("token" = [])),
    params(("service" = String, Path), ("environment" = String, Path), ("namespace" = Option<String>, Query, description = "Where it is not the environment's name")),
    responses(
        (status = 200, description = "It goes on", body = Resumed),
        (status = 400, description = "Not a name"),
        (status = 403, description = "Not allowed in this environment"),
        (status = 404, description = "The service is not to be seen"),
    ))]
pub(in crate::server) async fn resume(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<(String, String)>, PathRejection>,
    asked: Asked,
) -> Answer<Json<Resumed>> {
    let (service, environment) = place(&app, path)?;
    visible(&identity, &service)?;
    identity.need_in(Verb::Release, &service, &environment)?;
    let target = target(&service, &environment, namespace(asked)?.as_ref());
    let was_held = app.manager.resume(&target, &identity.caller()).await?;
    Ok(Json(Resumed { was_held }))
}

/// Keeps a vote on an artifact in an environment. The last one of a person counts.
#[utoipa::path(post, path = "/api/v1/services/{service}/approvals", tag = "policies", security(("token" = [])),
    params(("service" = String, Path)),
    request_body(content = ApprovalGiven, content_type = "application/json"),
    responses(
        (status = 200, description = "It counts", body = ApprovalGiven),
        (status = 400, description = "Not a vote"),
        (status = 403, description = "Not one of the approvers"),
        (status = 404, description = "There is no such artifact, or it is not to be seen"),
    ))]
pub(in crate::server) async fn approve(
    State(app): State<App>,
    identity: Identity,
    path: std::result::Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<ApprovalGiven>> {
    let service = service(path)?;
    visible(&identity, &service)?;
    let given: ApprovalGiven = read(&headers, body, MAX_SMALL_BYTES, "the vote").await?;
    identity.need_in(Verb::Approve, &service, &given.environment)?;
    given.comment.as_deref().map_or(Ok(()), |comment| plain("the comment", comment))?;
    let who = actor(&identity, &service, Some(&given.environment));
    let voter = Actor {
        subject: who.subject,
        kind: ActorKind::User,
        groups: who.groups,
        roles: who.roles,
        // Commits know people by their addresses, and nobody votes on what their own push set going.
        on_behalf_of: identity.email.clone(),
    };
    app.manager.approve(&service, &given, &voter, &identity.caller()).await?;
    Ok(Json(given))
}

/// Tells DORA's four numbers for a time: how often, how fast, how badly, and how soon again well.
#[utoipa::path(get, path = "/api/v1/report", tag = "releases", security(("token" = [])),
    params(
        ("service" = Option<String>, Query, description = "Of this service"),
        ("since" = Option<String>, Query, description = "From this instant on; 30 days before the end otherwise"),
        ("until" = Option<String>, Query, description = "Before this instant; now otherwise"),
    ),
    responses(
        (status = 200, description = "The numbers", body = Report),
        (status = 400, description = "Not a question"),
        (status = 403, description = "Not allowed for any service"),
    ))]
pub(in crate::server) async fn report(
    State(app): State<App>,
    identity: Identity,
    asked: Asked,
) -> Answer<Json<Report>> {
    identity.need_somewhere(Verb::Read)?;
    let mut query = Query::read(asked)?;
    let asked = query.one::<FileName>("service")?.map(|service| vec![service.to_string()]);
    let until = query.one::<Timestamp>("until")?.unwrap_or(identity.at);
    let since = query.one::<Timestamp>("since")?.or_else(|| until.checked_sub(REPORTED).ok()).unwrap_or(Timestamp::MIN);
    query.end()?;
    if since >= until {
        return Err(invalid("`since` is not before `until`").into());
    }
    Ok(Json(app.manager.report(identity.seen(asked).as_deref(), since, until).await?))
}

async fn read<T: serde::de::DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    max_bytes: usize,
    what: &str,
) -> Result<T> {
    let bytes = document(headers, body, max_bytes).await?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("{what} cannot be read")).because(error))
}

fn place(app: &App, path: std::result::Result<Path<(String, String)>, PathRejection>) -> Result<(FileName, FileName)> {
    let Path((service, environment)) = path.map_err(|error| invalid("the path cannot be read").because(error))?;
    let name = |text: &str| {
        text.parse::<FileName>().map_err(|error| invalid("the path names what cannot be a service").because(error))
    };
    let (service, environment) = (name(&service)?, name(&environment)?);
    app.manager.plan().environment(&environment)?;
    Ok((service, environment))
}

fn target(service: &FileName, environment: &FileName, namespace: Option<&FileName>) -> Target {
    Target {
        service: service.to_string(),
        namespace: namespace.unwrap_or(environment).to_string(),
        environment: environment.to_string(),
        artifact: String::new(),
    }
}
