//! `login` and `logout`: keep a token for a registry, and forget it.

use std::io::Read as _;

use camino::Utf8PathBuf;
use clap::Args;

use super::registry::{RegistryArgs, credentials};
use super::{Context, usage};
use crate::client::{Server, Token};
use crate::config::environment::{CONSIGN_SERVER, CONSIGN_TOKEN};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::world::keys::{self, Exposure};

/// The longest token, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// The arguments of `login`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign login --server https://registry.example.com < token.txt
  consign login --server https://registry.example.com --token-file token.txt")]
pub struct LoginArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The file with the token [default: that of `CONSIGN_TOKEN`, else standard input]
    #[arg(long, value_name = "FILE")]
    token_file: Option<Utf8PathBuf>,
}

/// The arguments of `logout`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign logout --server https://registry.example.com")]
pub struct LogoutArgs {
    #[command(flatten)]
    registry: RegistryArgs,
}

impl LoginArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let address = address(&self.registry, context)?;
        let token = Token(self.token(context)?);
        // A token that does not count is not kept.
        let server = Server::at(&address, Some(token.clone()))?;
        let whoami = server.whoami()?;
        credentials(context)?.keep(&address, &token)?;
        context.output.result(&whoami, || {
            let (name, grants) = (shown(&whoami.name), shown(&whoami.grants));
            format!("logged in to {} as {name} ({}): {grants}", server.address(), shown(&whoami.subject))
        })?;
        Ok(Exit::Done)
    }

    fn token(&self, context: &Context) -> Result<String> {
        let text = match (&self.token_file, context.environment.get(CONSIGN_TOKEN)) {
            (Some(path), _) => {
                let bytes = keys::read_private(&context.path(path), Exposure::Tolerated)?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            (None, Some(token)) => token.to_owned(),
            (None, None) => {
                let mut text = String::new();
                let read = std::io::stdin().lock().take(MAX_TOKEN_BYTES).read_to_string(&mut text);
                read.map_err(|error| usage("no token can be read from standard input").because(error))?;
                text
            }
        };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                usage("what was given is no token").hint("give the file with `--token-file FILE`, or pipe it in")
            );
        }
        Ok(token.to_owned())
    }
}

impl LogoutArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let address = address(&self.registry, context)?;
        let was_there = credentials(context)?.forget(&address)?;
        context.output.result(&serde_json::json!({ "server": address, "forgotten": was_there }), || {
            let word = if was_there { "forgotten" } else { "there was none" };
            format!("the token for {}: {word}", shown(&address))
        })?;
        Ok(Exit::Done)
    }
}

fn address(registry: &RegistryArgs, context: &Context) -> Result<String> {
    let given = registry.server.clone().or_else(|| context.environment.get(CONSIGN_SERVER).map(str::to_owned));
    given.ok_or_else(|| usage("it is not said which registry is meant").hint("add `--server URL`"))
}
