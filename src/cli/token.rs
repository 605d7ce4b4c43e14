//! `token`: make, list and take back the tokens of a registry, as one of its administrators.
//!
//! `consign-server token` does the same beside the server's database.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::registry::RegistryArgs;
use super::{Context, output};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::registry::{NewToken, TokenMade, TokenRow};
use crate::model::text::shown;

/// The arguments of `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
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
  consign token create --name ci --grants 'push:web release:web@dev'
  consign token create --name dashboard --grants 'read:*' --expires-in-days 90")]
struct CreateArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    wanted: WantedArgs,
}

/// What a token is to be, for both commands that make one. Its name is also the id of a group.
#[derive(Clone, Debug, Args)]
pub(super) struct WantedArgs {
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// What it allows, with spaces between: `read:SERVICE`, `push:SERVICE`, `release:SERVICE@ENVIRONMENT`, `override:…`, `approve:…`, `policy:SERVICE`, `audit:*`, `admin:*`; `*` is every service
    #[arg(long, value_name = "GRANTS")]
    grants: String,
    /// After how many days it counts no more
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650), default_value_t = 365)]
    expires_in_days: u32,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign token list --format json")]
struct ListArgs {
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign token revoke tok-0123456789ab")]
struct RevokeArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The token's id
    #[arg(value_name = "ID")]
    id: String,
}

impl TokenArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            Verb::Create(CreateArgs { registry, wanted }) => {
                show_made(context, &registry.server(context)?.make_token(&wanted.token())?)
            }
            Verb::List(ListArgs { registry }) => {
                let rows = registry.server(context)?.tokens()?;
                context.output.result(&rows, || table(&rows))?;
                Ok(Exit::Done)
            }
            Verb::Revoke(RevokeArgs { registry, id }) => {
                registry.server(context)?.revoke_token(id)?;
                context.output.result(&serde_json::json!({ "id": id }), || format!("{} counts no more", shown(id)))?;
                Ok(Exit::Done)
            }
        }
    }
}

impl WantedArgs {
    pub(super) fn token(&self) -> NewToken {
        let Self { name, grants, expires_in_days } = self.clone();
        NewToken { name, grants, expires_in_days }
    }
}

/// Shows a token that was made, this once.
pub(super) fn show_made(context: &Context, made: &TokenMade) -> Result<Exit> {
    context.output.result(made, || format!("{}\n{}  (shown this once)", shown(&made.id), shown(&made.token)))?;
    Ok(Exit::Done)
}

/// Tokens for people.
pub(super) fn table(rows: &[TokenRow]) -> String {
    let day = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.strftime("%Y-%m-%d").to_string());
    let heading = ["ID", "NAME", "GRANTS", "EXPIRES", "LAST USED", "COUNTS"].map(str::to_owned).to_vec();
    let cells = rows.iter().map(|row| {
        let counts = if row.counts { "yes" } else { "no" };
        let texts = [&row.id, &row.name, &row.grants].map(|text| shown(text).into_owned());
        [texts.to_vec(), vec![day(row.expires_at), day(row.last_used_at), counts.to_owned()]].concat()
    });
    output::table(&std::iter::once(heading).chain(cells).collect::<Vec<_>>())
}
