//! The tokens of this machine's user, one per server, in a file that nobody else can read.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{Token, normal};
use crate::model::failure::Result;
use crate::model::{Code, Failure, pretty};
use crate::world::files;
use crate::world::keys::{self, Exposure, InTheWay};

/// The file's name.
const FILE_NAME: &str = "credentials.json";
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
    servers: BTreeMap<String, String>,
}

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

    /// The token for a server.
    pub fn token(&self, server: &str) -> Result<Option<Token>> {
        Ok(self.document.servers.get(&normal(server)?).cloned().map(Token))
    }

    /// The only server that there is a token for.
    pub fn only_server(&self) -> Option<&str> {
        let mut servers = self.document.servers.keys();
        servers.next().filter(|_| servers.next().is_none()).map(String::as_str)
    }

    /// Keeps a token.
    pub fn keep(&mut self, server: &str, token: &Token) -> Result<()> {
        self.document.servers.insert(normal(server)?, token.0.clone());
        self.write()
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
