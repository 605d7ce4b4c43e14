//! Flags that several verbs share: which registry, and as whom.
//!
//! A flag stands above the environment, and that above what `login` has kept. A token is in no flag, for
//! every list of processes would show it.

use clap::Args;

use super::catalog_source::state_directory;
use super::{Context, usage};
use crate::client::credentials::{Credentials, fresh};
use crate::client::{Server, Token, normal, oidc};
use crate::config::environment::{
    ACTIONS_ID_TOKEN_REQUEST_TOKEN, ACTIONS_ID_TOKEN_REQUEST_URL, CONSIGN_AUDIENCE, CONSIGN_SERVER, CONSIGN_TOKEN,
};
use crate::model::failure::Result;
use crate::world::clock;

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
        let address = self.address(context, &credentials)?;
        Server::at(&address, token(context, &address)?)
    }

    /// The same as far as that is known without asking anybody for a token.
    pub(super) fn quick_server(&self, context: &Context) -> Result<Server> {
        let credentials = credentials(context)?;
        let address = self.address(context, &credentials)?;
        let token = match context.environment.get(CONSIGN_TOKEN) {
            Some(token) => Some(Token(token.to_owned())),
            None => credentials.token(&address)?,
        };
        Server::at(&address, token)
    }

    fn address(&self, context: &Context, credentials: &Credentials) -> Result<String> {
        let given = self.server.as_deref().or_else(|| context.environment.get(CONSIGN_SERVER));
        given.or_else(|| credentials.only_server()).map(str::to_owned).ok_or_else(|| {
            usage("it is not said which registry is meant")
                .hint("add `--server URL`, or run `consign login --server URL`")
        })
    }
}

/// The token for a registry: that of the environment, else the one that is kept, else that of a workflow's run.
pub(super) fn token(context: &Context, address: &str) -> Result<Option<Token>> {
    if let Some(token) = context.environment.get(CONSIGN_TOKEN) {
        return Ok(Some(Token(token.to_owned())));
    }
    match fresh(&state_directory(context)?, address, clock::now())? {
        Some(token) => Ok(Some(token)),
        None => of_run(context, address),
    }
}

/// The token that a forge gives to the run of a workflow, where this is one that may have it. It is asked
/// for each time, for it lasts minutes only. It is for this server alone, which does not choose for whom:
/// otherwise one server could ask for a token that another one takes.
fn of_run(context: &Context, address: &str) -> Result<Option<Token>> {
    let variable = |name: &str| context.environment.get(name);
    let (Some(url), Some(secret)) = (variable(ACTIONS_ID_TOKEN_REQUEST_URL), variable(ACTIONS_ID_TOKEN_REQUEST_TOKEN))
    else {
        return Ok(None);
    };
    let audience = match variable(CONSIGN_AUDIENCE) {
        Some(audience) => audience.to_owned(),
        None => normal(address)?,
    };
    oidc::of_workflow(url, secret, &audience).map(|token| Some(Token(token)))
}

/// What `login` has kept on this machine.
pub(super) fn credentials(context: &Context) -> Result<Credentials> {
    Credentials::read(&state_directory(context)?)
}
