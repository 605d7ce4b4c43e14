//! The artifact registry as seen from the command line and from pipelines.
//!
//! A [`Server`] knows its address and a token. Everything that it does can be done again: an answer that
//! got lost, or a server that is busy, is asked again a few times. What is kept of tokens on this machine
//! is in [`credentials`].

pub mod credentials;
pub mod oidc;
mod releases;
mod upload;

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::artifact::Artifact;
use crate::model::failure::Result;
use crate::model::registry::{
    Leaves, Login, NewToken, Page, Proof, Report, Shown, TokenMade, TokenRow, Tokens, Whoami,
};
use crate::model::text::shown;
use crate::model::{Code, Digest, Failure, FileName};
use crate::trust::tile::Tile;
use crate::world::http::exchange::{Body, Method, Reply, Request, escaped, form};
use crate::world::http::{self, address};

/// The largest answer that is no file, in bytes.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
/// How often something is asked for.
const TRIES: u32 = 4;
/// The pause after the first try; it doubles after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A registry that can be asked.
#[derive(Debug)]
pub struct Server {
    base: String,
    token: Option<Token>,
    http: http::Client,
}

/// A token. It is never shown.
#[derive(Clone)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// What became of a push.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Whether the registry did not have it before.
    pub is_new: bool,
    /// How many files were sent.
    pub sent: usize,
    /// What it has now.
    pub shown: Shown,
}

/// The document of a failure, as far as it is used.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    subject: Option<String>,
    hint: Option<String>,
}

impl Server {
    /// The server at an address, asked as whoever the token says.
    pub fn at(given: &str, token: Option<Token>) -> Result<Self> {
        let base = normal(given)?;
        Ok(Self { base, token, http: http::Client::default() })
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Who the token makes one.
    pub fn whoami(&self) -> Result<Whoami> {
        self.ask(Method::Get, "/api/v1/whoami", &Body::Empty)
    }

    /// How people log in here, and with which provider of identities.
    pub fn login(&self) -> Result<Login> {
        self.ask(Method::Get, "/api/v1/login", &Body::Empty)
    }

    /// Makes a token. It is asked for once: an answer that got lost has made one that nobody knows.
    pub fn make_token(&self, new: &NewToken) -> Result<TokenMade> {
        let body = Body::Json(crate::model::pretty(new));
        document(&accepted(self.once(Method::Post, "/api/v1/tokens", body, &[])?)?)
    }

    /// Every token, without its secret.
    pub fn tokens(&self) -> Result<Vec<TokenRow>> {
        Ok(self.ask::<Tokens>(Method::Get, "/api/v1/tokens", &Body::Empty)?.tokens)
    }

    /// Takes a token back.
    pub fn revoke_token(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/tokens/{}", escaped(id));
        accepted(self.once(Method::Delete, &path, Body::Empty, &[])?).map(drop)
    }

    /// Sends the files that a record names and that the registry has not, and then the record.
    pub fn push(
        &self,
        artifact: &Artifact,
        places: &BTreeMap<String, Utf8PathBuf>,
        idempotency_key: Option<&str>,
    ) -> Result<Pushed> {
        let mut sent = 0;
        for (name, blob) in artifact.blobs() {
            sent += usize::from(self.send(&name, blob, places.get(&name))?);
        }
        let headers: Vec<_> = idempotency_key.iter().map(|key| ("idempotency-key", (*key).to_owned())).collect();
        let reply = self.persist(Method::Post, "/api/v1/artifacts", &Body::Json(artifact.render()), &headers)?;
        Ok(Pushed { is_new: reply.status == 201, sent, shown: document(&reply)? })
    }

    /// A page of artifacts, by the names and values of a query.
    pub fn artifacts(&self, query: &[(&str, String)]) -> Result<Page> {
        self.ask(Method::Get, &with_query("/api/v1/artifacts", query), &Body::Empty)
    }

    /// One artifact.
    pub fn artifact(&self, service: &FileName, id: &FileName) -> Result<Shown> {
        self.ask(Method::Get, &format!("/api/v1/services/{service}/artifacts/{id}"), &Body::Empty)
    }

    /// Says how the run that built an artifact ended.
    pub fn report(&self, service: &FileName, id: &FileName, report: &Report) -> Result<Shown> {
        let body = Body::Json(crate::model::pretty(report));
        self.ask(Method::Put, &format!("/api/v1/services/{service}/artifacts/{id}/outcome"), &body)
    }

    /// The signed checkpoint of the audit log.
    pub fn checkpoint(&self) -> Result<String> {
        let reply = self.persist(Method::Get, "/api/v1/audit/checkpoint", &Body::Empty, &[])?;
        String::from_utf8(reply.body).map_err(|error| unreadable().because(error))
    }

    /// Lines of the audit log.
    pub fn leaves(&self, from: u64, limit: u32) -> Result<Leaves> {
        let query = [("from", from.to_string()), ("limit", limit.to_string())];
        self.ask(Method::Get, &with_query("/api/v1/audit/leaves", &query), &Body::Empty)
    }

    /// The hashes of a tile of the audit log.
    pub fn tile(&self, tile: &Tile) -> Result<Vec<Digest>> {
        let bytes = self.persist(Method::Get, &format!("/tile/{tile}"), &Body::Empty, &[])?.body;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if hashes.len() != tile.width as usize || !rest.is_empty() {
            return Err(unreadable());
        }
        Ok(hashes.iter().map(|hash| Digest::from(*hash)).collect())
    }

    /// The proof that the audit log only grew between two sizes.
    pub fn consistency(&self, smaller: u64, larger: u64) -> Result<Proof> {
        let query = [("smaller", smaller.to_string()), ("larger", larger.to_string())];
        self.ask(Method::Get, &with_query("/api/v1/audit/consistency", &query), &Body::Empty)
    }

    /// The public half of the server's key, in PEM. It proves nothing by itself.
    pub fn key(&self) -> Result<Vec<u8>> {
        Ok(self.persist(Method::Get, "/api/v1/key", &Body::Empty, &[])?.body)
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: &Body) -> Result<T> {
        document(&self.persist(method, path, body, &[])?)
    }

    /// Asks until there is an answer that asking again would not change.
    fn persist(&self, method: Method, path: &str, body: &Body, headers: &[(&'static str, String)]) -> Result<Reply> {
        let mut pause = FIRST_PAUSE;
        for tried in 1.. {
            let asked = self.once(method, path, body.clone(), headers);
            let again = match &asked {
                Ok(reply) => matches!(reply.status, 408 | 429 | 502 | 503 | 504),
                Err(failure) => failure.code() == Code::RemoteUnavailable,
            };
            if !again || tried >= TRIES {
                return asked.and_then(accepted);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        Err(unreadable())
    }

    fn once(&self, method: Method, path: &str, body: Body, headers: &[(&'static str, String)]) -> Result<Reply> {
        let mut headers = headers.to_vec();
        headers.extend(self.token.iter().map(|Token(token)| ("authorization", format!("Bearer {token}"))));
        let url = format!("{}{path}", self.base);
        self.http.exchange(Request { method, url: &url, headers, body, max_bytes: MAX_ANSWER_BYTES })
    }
}

/// The one spelling of a server's address.
pub fn normal(given: &str) -> Result<String> {
    let url = address(given)?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(Failure::new(
            Code::Usage,
            format!("more than a server is in the address at `{}`", shown(&url.origin().ascii_serialization())),
        )
        .hint("give `https://registry.example.com`; a token goes into `consign login` or `CONSIGN_TOKEN`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The answer, if it is not a refusal.
fn accepted(reply: Reply) -> Result<Reply> {
    if (200..300).contains(&reply.status) {
        return Ok(reply);
    }
    let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body) else {
        return Err(Failure::new(
            Code::RemoteUnavailable,
            format!("the server answers with status {} and without a reason", reply.status),
        )
        .hint("check that the address is that of a Consign server"));
    };
    // A newer server may know a code that this client does not.
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == problem.code).unwrap_or(Code::RemoteUnavailable);
    let reference = reply.header("x-request-id").unwrap_or("none");
    let mut failure = Failure::new(code, format!("{} (request {})", shown(&problem.detail), shown(reference)));
    if let Some(subject) = problem.subject {
        failure = failure.subject(subject);
    }
    Err(match problem.hint {
        Some(hint) => failure.hint(shown(&hint)),
        None => failure,
    })
}

fn document<T: DeserializeOwned>(reply: &Reply) -> Result<T> {
    serde_json::from_slice(&reply.body).map_err(|error| unreadable().because(error))
}

fn unreadable() -> Failure {
    Failure::new(Code::RemoteUnavailable, "the server's answer cannot be read")
        .hint("check that the address is that of a Consign server, and not of a page to sign in at")
}

/// A path with a query. Everything that could mean something in it is written as its bytes.
fn with_query(path: &str, query: &[(&str, String)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    format!("{path}?{}", form(query.iter().map(|(name, value)| (*name, value.as_str()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_address_has_one_spelling() {
        assert_eq!(normal("https://registry.example.com/").expect("an address"), "https://registry.example.com");
        assert_eq!(normal("https://example.com/consign/").expect("an address"), "https://example.com/consign");
        for wrong in ["http://example.com", "https://u:canary@example.com", "https://example.com/?token=canary", "x"] {
            let failure = normal(wrong).expect_err(wrong);
            assert!(!failure.chain().join(" ").contains("canary"), "{failure}");
        }
    }

    #[test]
    fn a_query_cannot_become_another_one() {
        let query = [("branch", "a&b=c/d e%".to_owned()), ("sha", "ab".to_owned())];
        assert_eq!(with_query("/x", &query), "/x?branch=a%26b%3Dc%2Fd%20e%25&sha=ab");
        assert_eq!(with_query("/x", &[]), "/x");
    }

    #[test]
    fn a_token_is_not_shown() {
        let server = Server::at("https://example.com", Some(Token("rel_canary".to_owned()))).expect("an address");
        assert!(!format!("{server:?}").contains("canary"));
    }
}
