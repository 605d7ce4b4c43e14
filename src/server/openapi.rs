//! The description of every request, made from the handlers themselves.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};

use super::api::{artifacts, audit, blobs, policies, releases, service, tiles, tokens, webhooks};
use crate::model::pretty;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Consign's artifact registry", description = "Keeps what was released and says whether it can be trusted. Failures are problem+json with a stable `code`."),
    paths(
        service::ping, service::healthz, service::readyz, service::openapi, service::whoami, service::key, service::login,
        artifacts::push, artifacts::list, artifacts::show, artifacts::report, artifacts::file,
        blobs::look, blobs::upload,
        releases::wish, releases::list, releases::show, releases::environments, releases::status,
        policies::list, policies::apply, policies::delete, policies::test, policies::hold, policies::resume,
        policies::approve, policies::report,
        audit::checkpoint, audit::leaves, audit::consistency,
        tokens::create, tokens::list, tokens::revoke,
        webhooks::github, webhooks::flux, webhooks::deploy, webhooks::error, webhooks::joberror,
        tiles::checkpoint, tiles::tile,
    ),
    modifiers(&Tokens),
)]
struct Api;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        openapi.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document.
pub fn document() -> Vec<u8> {
    pretty(&Api::openapi())
}
