//! The tokens of this machine's user, one per server, in a file that nobody else can read.
//!
//! A token of a login that ends soon is replaced by [`fresh`], by one process at a time: many providers
//! take a login back whose refresh token is used twice.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::oidc::{self, Provider, Tokens};
use super::{Token, normal};
use crate::model::failure::Result;
use crate::model::registry::LoginToken;
use crate::model::{Code, Failure, pretty};
use crate::world::files;
use crate::world::keys::{self, Exposure, InTheWay};
use crate::world::lock::Lock;

/// The file's name.
const FILE_NAME: &str = "credentials.json";
/// The file that says whose turn it is to replace a token.
const LOCK_NAME: &str = "credentials.lock";
/// The document type.
const TYPE: &str = "consign.credentials/v1";

/// The tokens.
#[derive(Debug)]
pub struct Credentials {
    path: Utf8PathBuf,
    document: Document,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    /// Tokens by the addresses of their servers.
    servers: BTreeMap<String, Kept>,
}

/// What is kept for a server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    /// A token that counts until the server says that it does not.
    Token(String),
    /// The token of a login.
    Login(Login),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
    /// From when on it counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewal: Option<Renewal>,
}

/// How a new token is got. None of this is for the server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// The provider.
    pub issuer: String,
    /// Whom it knows this command as.
    pub client_id: String,
    /// Which of its tokens the server takes.
    pub token: LoginToken,
    /// What it gives the new one for.
    pub refresh_token: String,
}

impl Login {
    fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires| expires.as_second() - now.as_second() < SOON_SECONDS)
    }
}

/// A token that ends within this time is replaced, in seconds.
const SOON_SECONDS: i64 = 30;

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.servers.keys()).finish()
    }
}

impl Credentials {
    /// Reads what is kept in a directory.
    pub fn read(directory: &Utf8Path) -> Result<Self> {
        let path = directory.join(FILE_NAME);
        if path.symlink_metadata().is_err() {
            return Ok(Self { path, document: Document { kind: TYPE.to_owned(), servers: BTreeMap::new() } });
        }
        let bytes = keys::read_private(&path, Exposure::Refused)?;
        let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(Code::ConfigInvalid, format!("`{path}` cannot be read"))
                .subject(path.as_str())
                .because(error)
                .hint("remove it and run `consign login` again")
        })?;
        Ok(Self { path, document })
    }

    /// The token for a server, whether it counts or not.
    pub fn token(&self, server: &str) -> Result<Option<Token>> {
        Ok(self.document.servers.get(&normal(server)?).map(|kept| match kept {
            Kept::Token(token) | Kept::Login(Login { token, .. }) => Token(token.clone()),
        }))
    }

    /// The only server that there is a token for.
    pub fn only_server(&self) -> Option<&str> {
        let mut servers = self.document.servers.keys();
        servers.next().filter(|_| servers.next().is_none()).map(String::as_str)
    }

    /// Keeps a token.
    pub fn keep(&mut self, server: &str, token: &Token) -> Result<()> {
        self.document.servers.insert(normal(server)?, Kept::Token(token.0.clone()));
        self.write()
    }

    /// Keeps the token of a login, and how the next one is got.
    pub fn keep_login(
        &mut self,
        server: &str,
        tokens: &Tokens,
        renewal: Option<Renewal>,
        now: Timestamp,
    ) -> Result<()> {
        let claimed = oidc::claimed_expiry(&tokens.token).and_then(|second| Timestamp::from_second(second).ok());
        let told = tokens.life_seconds.and_then(|life| i64::try_from(life).ok());
        let told = told.and_then(|life| now.checked_add(jiff::SignedDuration::from_secs(life)).ok());
        let login = Login { token: tokens.token.clone(), expires_at: claimed.or(told), renewal };
        self.document.servers.insert(normal(server)?, Kept::Login(login));
        self.write()
    }

    /// The login for a server, if its token is over.
    fn over(&self, server: &str, now: Timestamp) -> Result<Option<Login>> {
        Ok(match self.document.servers.get(&normal(server)?) {
            Some(Kept::Login(login)) if login.is_over(now) => Some(login.clone()),
            _ => None,
        })
    }

    /// Forgets a token, and says whether there was one.
    pub fn forget(&mut self, server: &str) -> Result<bool> {
        let was_there = self.document.servers.remove(&normal(server)?).is_some();
        self.write()?;
        Ok(was_there)
    }

    fn write(&self) -> Result<()> {
        files::create_directory(self.path.parent().unwrap_or(Utf8Path::new(".")))?;
        let text = String::from_utf8(pretty(&self.document)).expect("JSON is text");
        keys::write_pair((&self.path, &text), None, InTheWay::Goes)
    }
}

/// The token for a server, replaced by a new one where it is over and a login knows how.
pub fn fresh(directory: &Utf8Path, server: &str, now: Timestamp) -> Result<Option<Token>> {
    let credentials = Credentials::read(directory)?;
    if credentials.over(server, now)?.is_none_or(|login| login.renewal.is_none()) {
        return credentials.token(server);
    }
    let place = directory.join(LOCK_NAME);
    let _turn = Lock::take(&place, &|_| {}).map_err(|error| files::failed("lock", &place, error))?;
    // Somebody else may have had a turn before.
    let mut credentials = Credentials::read(directory)?;
    let Some(renewal) = credentials.over(server, now)?.and_then(|login| login.renewal) else {
        return credentials.token(server);
    };
    let provider = Provider::discover(&renewal.issuer)?;
    let tokens = provider.refresh(&renewal.client_id, &renewal.refresh_token, renewal.token)?;
    let renewal = tokens.refresh_token.clone().map(|refresh_token| Renewal { refresh_token, ..renewal });
    credentials.keep_login(server, &tokens, renewal, now)?;
    credentials.token(server)
}
