//! The description of every request, made from the handlers themselves.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi as _};

use super::api::{artifacts, audit, blobs, policies, releases, service, tiles, tokens, webhooks};
use super::problem::Problem;
use crate::model::pretty;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Consign's artifact registry", description = "Keeps what was released and says whether it can be trusted. Failures are problem+json with a stable `code`."),
    paths(
        service::ping, service::healthz, service::readyz, service::openapi, service::whoami, service::key, service::login,
        artifacts::push, artifacts::list, artifacts::show, artifacts::report, artifacts::file,
        blobs::look, blobs::upload,
        releases::request, releases::list, releases::show, releases::environments, releases::status,
        releases::every_status, releases::history, releases::past_artifacts,
        policies::list, policies::apply, policies::delete, policies::test, policies::hold, policies::resume,
        policies::approve, policies::report,
        audit::checkpoint, audit::leaves, audit::consistency,
        tokens::create, tokens::list, tokens::revoke,
        webhooks::github, webhooks::flux, webhooks::deploy, webhooks::error, webhooks::joberror,
        tiles::checkpoint, tiles::tile,
    ),
    components(schemas(Problem)),
    modifiers(&Tokens, &Kinds, &Refusals),
)]
struct Api;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        openapi.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Handlers say why they refuse; what a refusal looks like, and those that every one of a kind has, are said here.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            operations(item).for_each(refusals);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

fn refusals(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    let mut every = |status: &str, description: &str| {
        let refusal = || RefOr::T(ResponseBuilder::new().description(description).build());
        responses.entry(status.to_owned()).or_insert_with(refusal);
    };
    if operation.security.is_some() {
        every("401", "No token that counts");
    }
    if operation.request_body.is_some() {
        every("413", "Too large");
    }
    if operation.security.is_some() || operation.request_body.is_some() {
        every("503", "Try again later");
    }
    let refused = responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5']));
    for (_, response) in refused {
        if let RefOr::T(response) = response {
            let problem = RefOr::T(Content::new(Some(Ref::from_schema_name("Problem"))));
            response.content.insert("application/problem+json".to_owned(), problem);
        }
    }
}

/// A policy is one of several objects with the word for its kind beside it. None of them may say that there is
/// nothing else in it, or nothing would be a policy.
struct Kinds;

impl Modify for Kinds {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let schemas = &mut openapi.components.get_or_insert_default().schemas;
        let Some(RefOr::T(Schema::OneOf(policy))) = schemas.get("Policy") else { return };
        let parts = policy.items.iter().filter_map(|kind| match kind {
            RefOr::T(Schema::AllOf(both)) => Some(&both.items),
            _ => None,
        });
        let names = parts.flatten().filter_map(|part| match part {
            RefOr::Ref(named) => named.ref_location.strip_prefix("#/components/schemas/").map(str::to_owned),
            RefOr::T(_) => None,
        });
        for name in names.collect::<Vec<_>>() {
            if let Some(RefOr::T(Schema::Object(object))) = schemas.get_mut(&name) {
                object.additional_properties = None;
            }
        }
    }
}

/// The document.
pub fn document() -> Vec<u8> {
    pretty(&Api::openapi())
}
