//! Flags that several verbs share: which registry, and as whom.
//!
//! A flag stands above the environment, and that above what `login` has kept. A token is in no flag, for
//! every list of processes would show it.

use clap::Args;

use super::catalog_source::state_directory;
use super::{Context, usage};
use crate::client::credentials::Credentials;
use crate::client::{Server, Token};
use crate::config::environment::{CONSIGN_SERVER, CONSIGN_TOKEN};
use crate::model::failure::Result;

/// Which registry. Its name is also the id of a group.
#[derive(Clone, Debug, Default, Args)]
pub struct RegistryArgs {
    /// The registry [default: that of `CONSIGN_SERVER`, else the only one of `consign login`]
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
}

impl RegistryArgs {
    /// The registry, as whoever the kept token says.
    pub(super) fn server(&self, context: &Context) -> Result<Server> {
        let credentials = credentials(context)?;
        let given = self.server.as_deref().or_else(|| context.environment.get(CONSIGN_SERVER));
        let address = given.or_else(|| credentials.only_server()).ok_or_else(|| {
            usage("it is not said which registry is meant")
                .hint("add `--server URL`, or run `consign login --server URL`")
        })?;
        Server::at(address, token(context, &credentials, address)?)
    }
}

/// The token for a registry: that of the environment, else the one that is kept.
pub(super) fn token(context: &Context, credentials: &Credentials, address: &str) -> Result<Option<Token>> {
    match context.environment.get(CONSIGN_TOKEN) {
        Some(token) => Ok(Some(Token(token.to_owned()))),
        None => credentials.token(address),
    }
}

/// What `login` has kept on this machine.
pub(super) fn credentials(context: &Context) -> Result<Credentials> {
    Credentials::read(&state_directory(context)?)
}
