//! Tokens of other issuers: continuous integration and identity providers that sign who somebody is.
//!
//! [`Federation::read`] reads which issuers are believed and what their claims allow; a rule holds where
//! every claim that it names is exactly the one of the token, and whoever no rule is about may do nothing.
//! Keys are fetched from the address that the operator has named, never from one in a token; they are
//! fetched again when they are old, and once in a while when a token names a key that is not among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::Grants;
use crate::model::failure::Result;
use crate::model::registry::{Login, LoginProvider, LoginToken};
use crate::model::{Code, Failure, FileName, text};
use crate::trust::jwt::{self, Claims, Expected, Keys, MAX_JWKS_BYTES, Refused};
use crate::world::http;

/// The largest file of issuers, in bytes.
pub const MAX_BYTES: usize = 256 << 10;
/// After how long keys are fetched again.
const OLD: Duration = Duration::from_secs(60 * 60);
/// How long it is waited before a key that is not known is looked for again.
const PAUSE: Duration = Duration::from_secs(10);
/// How many characters of a subject stand in the audit log.
const MAX_SUBJECT: usize = 300;

/// Every issuer that is believed.
#[derive(Clone, Debug, Default)]
pub struct Federation(Arc<Vec<Issuer>>);

#[derive(Debug)]
struct Issuer {
    name: FileName,
    expected: Expected,
    jwks: String,
    rules: Vec<Rule>,
    login: Option<LoginProvider>,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Rule {
    claims: BTreeMap<String, String>,
    grants: Grants,
}

#[derive(Debug, Default)]
struct Cache {
    keys: Arc<Keys>,
    fetched: Option<Instant>,
    /// When keys were last fetched because of a token that named another one.
    forced: Option<Instant>,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    issuer: Vec<IssuerRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerRow {
    name: FileName,
    url: String,
    audience: String,
    jwks: String,
    login: Option<LoginRow>,
    #[serde(default)]
    rule: Vec<RuleRow>,
}

/// How people log in with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRow {
    client_id: String,
    #[serde(default = "usual_scope")]
    scope: String,
    #[serde(default)]
    token: LoginToken,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
}

fn usual_scope() -> String {
    "openid offline_access".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleRow {
    claims: BTreeMap<String, String>,
    grants: String,
}

impl Federation {
    /// Reads the file of issuers.
    pub fn read(document: &str) -> Result<Self> {
        let refuse = |why: String| {
            Failure::new(Code::ConfigInvalid, format!("the issuers of tokens cannot be used: {why}"))
                .hint("docs/server.md shows the form of the file")
        };
        let document: Document =
            toml::from_str(document).map_err(|error| refuse("it is no such file".to_owned()).because(error))?;
        let mut issuers = Vec::new();
        for IssuerRow { name, url, audience, jwks, login, rule } in document.issuer {
            http::address(&jwks)?;
            if url.is_empty() || audience.is_empty() {
                return Err(refuse(format!("`{name}` has no url or no audience")));
            }
            let mut rules = Vec::new();
            for RuleRow { claims, grants } in rule {
                if claims.is_empty() {
                    return Err(refuse(format!("a rule of `{name}` names no claim, and would let everybody in")));
                }
                rules.push(Rule { claims, grants: grants.parse()? });
            }
            // A token that says who somebody is, is for the one who asked for it.
            if login.as_ref().is_some_and(|login| login.token == LoginToken::IdToken && login.client_id != audience) {
                return Err(refuse(format!(
                    "the audience of `{name}` is not the `client_id` of its login, and no id token would count"
                )));
            }
            let login = login.map(|LoginRow { client_id, scope, token, parameters }| LoginProvider {
                name: name.clone(),
                issuer: url.clone(),
                client_id,
                scope,
                token,
                parameters,
            });
            let expected = Expected { issuer: url, audience };
            issuers.push(Issuer { name, expected, jwks, rules, login, cache: Mutex::default() });
        }
        Ok(Self(Arc::new(issuers)))
    }

    /// How people log in.
    pub(super) fn login(&self) -> Login {
        Login { providers: self.0.iter().filter_map(|issuer| issuer.login.clone()).collect() }
    }

    /// Whom a token makes somebody, and what that allows; nothing where it does not count. One issuer may
    /// be there several times, with an audience each: for people and for machines.
    pub(super) async fn judge(&self, token: &str, now: Timestamp) -> Result<Option<(String, Claims, Grants)>> {
        let claimed = jwt::claimed_issuer(token);
        for issuer in self.0.iter().filter(|issuer| Some(&issuer.expected.issuer) == claimed.as_ref()) {
            let verified = match issuer.keys(Why::Usual).await?.verify(token, &issuer.expected, now) {
                Err(Refused::UnknownKey) => issuer.keys(Why::UnknownKey).await?.verify(token, &issuer.expected, now),
                verified => verified,
            };
            match verified {
                Ok(claims) => {
                    let subject: String = text::shown(&claims.subject).chars().take(MAX_SUBJECT).collect();
                    let grants = issuer.grants(&claims);
                    return Ok(Some((format!("{}:{subject}", issuer.name), claims, grants)));
                }
                Err(why) => tracing::info!(issuer = issuer.name.as_str(), %why, "a token was refused"),
            }
        }
        Ok(None)
    }
}

enum Why {
    Usual,
    UnknownKey,
}

impl Issuer {
    fn grants(&self, claims: &Claims) -> Grants {
        let holds = |rule: &&Rule| rule.claims.iter().all(|(name, value)| claims.texts.get(name) == Some(value));
        Grants::joined(self.rules.iter().filter(holds).map(|rule| &rule.grants))
    }

    /// The keys, fetched by one request however many ask for them.
    async fn keys(&self, why: Why) -> Result<Arc<Keys>> {
        let mut cache = self.cache.lock().await;
        let young = |since: Option<Instant>, limit: Duration| since.is_some_and(|since| since.elapsed() < limit);
        let enough = match why {
            Why::Usual => young(cache.fetched, OLD),
            Why::UnknownKey => young(cache.forced, PAUSE),
        };
        if enough {
            return Ok(Arc::clone(&cache.keys));
        }
        if matches!(why, Why::UnknownKey) {
            cache.forced = Some(Instant::now());
        }
        match fetch(self.jwks.clone()).await {
            Ok(keys) => {
                cache.keys = Arc::new(keys);
                cache.fetched = Some(Instant::now());
            }
            // Old keys are better than nobody being let in because of somebody else's outage.
            Err(failure) if !cache.keys.is_empty() => {
                cache.fetched = Some(Instant::now());
                tracing::warn!(issuer = self.name.as_str(), cause = failure.chain().join(": "), "old keys are used");
            }
            Err(failure) => return Err(failure),
        }
        Ok(Arc::clone(&cache.keys))
    }
}

async fn fetch(jwks: String) -> Result<Keys> {
    let unavailable = || Failure::new(Code::StoreUnavailable, "the keys of an issuer of tokens cannot be fetched");
    let fetching = tokio::task::spawn_blocking(move || {
        let patience = http::ClientOptions {
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(5),
            overall_timeout: Duration::from_secs(10),
            tries: 2,
            ..http::ClientOptions::default()
        };
        http::Client::new(patience).get(&jwks, MAX_JWKS_BYTES as u64)
    });
    let bytes = fetching.await.map_err(|error| unavailable().because(error))?;
    Keys::read(&bytes.map_err(|failure| unavailable().because(failure))?).map_err(|why| unavailable().because(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(document: &str) -> Option<Code> {
        Federation::read(document).err().map(|failure| failure.code())
    }

    #[test]
    fn a_file_that_would_let_everybody_in_is_refused() {
        let issuer = "[[issuer]]\nname = 'ci'\nurl = 'https://ci.example'\naudience = 'consign'\njwks = 'https://ci.example/jwks'\n";
        assert_eq!(code(""), None);
        assert_eq!(code(issuer), None);
        assert_eq!(
            code(&format!("{issuer}[[issuer.rule]]\nclaims = {{ repository = 'o/r' }}\ngrants = 'push:web'\n")),
            None
        );
        assert_eq!(
            code(&format!("{issuer}[[issuer.rule]]\nclaims = {{}}\ngrants = 'push:web'\n")),
            Some(Code::ConfigInvalid)
        );
        assert_eq!(
            code(&format!("{issuer}[[issuer.rule]]\nclaims = {{ a = 'b' }}\ngrants = 'all'\n")),
            Some(Code::Usage)
        );
        assert_eq!(code(&format!("{issuer}unknown = 1\n")), Some(Code::ConfigInvalid));
        assert_eq!(
            code(&issuer.replace("https://ci.example/jwks", "http://ci.example/jwks")),
            Some(Code::RemoteRefused)
        );
        assert_eq!(code(&issuer.replace("'consign'", "''")), Some(Code::ConfigInvalid));
        assert_eq!(code(&format!("{issuer}login = {{ client_id = 'consign' }}\n")), None);
        assert_eq!(code(&format!("{issuer}login = {{ client_id = 'other' }}\n")), Some(Code::ConfigInvalid));
        assert_eq!(code(&format!("{issuer}login = {{ client_id = 'other', token = 'access-token' }}\n")), None);
    }
}
