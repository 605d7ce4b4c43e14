//! Who asks: the token of a request, looked up by its digest, or judged by its issuer's keys.
//!
//! A digest is compared by the database, so how long that takes says nothing about a token. Without a
//! token that counts nobody is anybody.

use std::collections::BTreeSet;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::problem::Refusal;
use super::tokens::PREFIX;
use super::wrap::Asker;
use super::{App, Grants, Verb};
use crate::artifacts::Caller;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, FileName};
use crate::world::clock;

/// How often it is noted that a token was used, in seconds.
const NOTED_EVERY_SECONDS: i64 = 60;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The name in the audit log.
    pub(super) subject: String,
    /// What the token is called.
    pub(super) name: String,
    /// Their address, where the issuer of the token says it.
    pub(super) email: Option<String>,
    /// The groups that the issuer says they are in.
    pub(super) groups: BTreeSet<String>,
    /// What it allows.
    pub(super) grants: Grants,
    /// When the request came.
    pub(super) at: jiff::Timestamp,
}

impl Identity {
    /// Lets the log know who asked.
    fn tell(&self, parts: &Parts) {
        if let Some(Asker(asker)) = parts.extensions.get() {
            // It is set once for every request, and this is the request.
            let _ = asker.set(self.subject.clone());
        }
    }

    /// The one whom the registry is told of.
    pub(super) fn caller(&self) -> Caller {
        Caller { subject: self.subject.clone(), at: self.at }
    }

    /// Refuses what is not granted.
    pub(super) fn need(&self, verb: Verb, service: Option<&FileName>) -> Result<()> {
        if self.grants.allow(verb, service) {
            return Ok(());
        }
        Err(not_allowed(verb, service.map_or("*", FileName::as_str)))
    }

    /// Refuses what is not granted in an environment.
    pub(super) fn need_in(&self, verb: Verb, service: &FileName, environment: &FileName) -> Result<()> {
        if self.grants.allow_in(verb, service, environment) {
            return Ok(());
        }
        Err(not_allowed(verb, &format!("{service}@{environment}")))
    }

    /// Of the services that are asked about, those that may be seen; nothing where it is all of them. Those that
    /// may not be seen are as if they were not there.
    pub(super) fn seen(&self, asked: Option<Vec<String>>) -> Option<Vec<String>> {
        match (asked, self.grants.visible()) {
            (Some(asked), Some(visible)) => Some(asked.into_iter().filter(|name| visible.contains(name)).collect()),
            (asked, None) => asked,
            (None, visible) => visible,
        }
    }

    /// Refuses what is granted for no service.
    pub(super) fn need_somewhere(&self, verb: Verb) -> Result<()> {
        if self.grants.allow_somewhere(verb) { Ok(()) } else { Err(not_allowed(verb, "*")) }
    }
}

fn not_allowed(verb: Verb, service: &str) -> Failure {
    Failure::new(Code::Forbidden, format!("the token does not allow `{}:{service}`", verb.as_str()))
        .hint("ask whoever runs the server for a token that does")
}

impl FromRequestParts<App> for Identity {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Refusal> {
        let refuse = |why: &str| {
            Failure::new(Code::Unauthenticated, why)
                .hint("send `Authorization: Bearer TOKEN`; `consign login` keeps a token")
        };
        let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(given), None) = (given.next(), given.next()) else {
            return Err(refuse("a token is needed").into());
        };
        let token = given.to_str().ok().and_then(|given| given.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(|| refuse("a bearer token is needed"))?;
        let at = clock::now();
        if !token.starts_with(PREFIX) {
            let judged = app.federation.judge(token, at).await?;
            let (subject, claims, grants) = judged.ok_or_else(|| refuse("the token does not count here"))?;
            let email = claims.texts.get("email").cloned();
            let name = claims.texts.get("name").cloned().unwrap_or(claims.subject);
            let identity = Self { subject, name, email, groups: claims.groups, grants, at };
            identity.tell(parts);
            return Ok(identity);
        }
        let row = app.registry.store.token(&Digest::of(token.as_bytes())).await?;
        let counts = |row: &crate::store::TokenRow| {
            row.revoked_at.is_none() && row.expires_at.is_none_or(|expires| at < expires)
        };
        // Whether it never was or is no more is nobody's business who does not have a better one.
        let row = row.filter(counts).ok_or_else(|| refuse("the token does not count, or no longer"))?;
        let noted = row.last_used_at.map_or(i64::MAX, |used| at.as_second() - used.as_second());
        if noted >= NOTED_EVERY_SECONDS {
            // Not knowing it is no reason to answer nobody.
            if let Err(failure) = app.registry.store.touch_token(&row.id, at).await {
                tracing::warn!(cause = failure.chain().join(": "), "the use of a token was not noted");
            }
        }
        let identity = Self {
            subject: format!("token:{}", row.id),
            name: row.name,
            email: None,
            groups: BTreeSet::new(),
            grants: row.grants.parse().map_err(|failure| {
                Failure::new(Code::StoreDamaged, "the grants of a token cannot be read").because(failure)
            })?,
            at,
        };
        identity.tell(parts);
        Ok(identity)
    }
}
