//! `consign-server token`: make, list and take back tokens, beside a server that runs or without one.

use clap::{Args, Subcommand};

use super::super::Context;
use super::super::token::{WantedArgs, show_made, table};
use super::settings::ServerArgs;
use super::wait;
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::registry::TokenMade;
use crate::server::{self, Wanted};
use crate::world::clock;

/// Who the audit log says has done what is done here.
const SUBJECT: &str = "console";

/// The arguments of `token`.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token, and show it this once
    Create(CreateArgs),
    /// List tokens, without their secrets
    List(ListArgs),
    /// Take a token back
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server token create --name ci --grants 'push:web push:api'
  consign-server token create --name dashboard --grants 'read:*' --expires-in-days 90")]
struct CreateArgs {
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server token list --data /srv/consign")]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server token revoke tok-0123456789ab")]
struct RevokeArgs {
    /// The token's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl TokenArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            Verb::Create(verb) => verb.run(context),
            Verb::List(verb) => verb.run(context),
            Verb::Revoke(verb) => verb.run(context),
        }
    }
}

impl CreateArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let now = clock::now();
        let wanted = Wanted::read(&self.wanted.token(), now)?;
        let settings = self.server.settings(context)?;
        let issued = wait(async {
            let registry = server::open(&settings).await?;
            let issued = server::issue(&registry.store, wanted, SUBJECT, now).await;
            registry.store.close().await;
            issued
        })?;
        let made = TokenMade {
            id: issued.id,
            token: issued.token,
            grants: issued.grants.to_string(),
            expires_at: issued.expires_at,
        };
        show_made(context, &made)
    }
}

impl ListArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let settings = self.server.settings(context)?;
        let now = clock::now();
        let rows = wait(async {
            let registry = server::open(&settings).await?;
            let rows = registry.store.tokens().await;
            registry.store.close().await;
            rows
        })?;
        let rows: Vec<_> = rows.into_iter().map(|row| server::shown(row, now)).collect();
        context.output.result(&rows, || table(&rows))?;
        Ok(Exit::Done)
    }
}

impl RevokeArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let settings = self.server.settings(context)?;
        wait(async {
            let registry = server::open(&settings).await?;
            let done = server::revoke(&registry.store, &self.id, SUBJECT, clock::now()).await;
            registry.store.close().await;
            done
        })?;
        context.output.result(&serde_json::json!({ "id": self.id }), || format!("{} counts no more", self.id))?;
        Ok(Exit::Done)
    }
}
