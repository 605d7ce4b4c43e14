//! `consign-server token`: make, list and take back tokens, beside a server that runs or without one.

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::super::{Context, output, usage};
use super::settings::ServerArgs;
use super::wait;
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::server::{self, Grants, Wanted};
use crate::store::TokenRow;
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
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// What it allows: `read:SERVICE`, `push:SERVICE`, `audit:*`, `admin:*`, with spaces between; `*` is every service
    #[arg(long, value_name = "GRANTS")]
    grants: String,
    /// After how many days it counts no more
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650), default_value_t = 365)]
    expires_in_days: u32,
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

#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    grants: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    counts: bool,
}

#[derive(Serialize)]
struct Created {
    id: String,
    token: String,
    grants: String,
    expires_at: Option<Timestamp>,
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
        let grants: Grants = self.grants.parse()?;
        if self.name.is_empty() || self.name.len() > 100 || self.name != shown(&self.name) {
            return Err(usage("the token's name is empty, longer than 100 bytes, or not plain text"));
        }
        let now = clock::now();
        let expires_at = now
            .checked_add(SignedDuration::from_hours(24 * i64::from(self.expires_in_days)))
            .map_err(|error| usage("the token would expire after the end of time").because(error))?;
        let wanted = Wanted { name: self.name.clone(), grants, expires_at: Some(expires_at) };
        let settings = self.server.settings(context)?;
        let issued = wait(async {
            let registry = server::open(&settings).await?;
            let issued = server::issue(&registry.store, wanted, SUBJECT, now).await;
            registry.store.close().await;
            issued
        })?;
        let created = Created {
            id: issued.id,
            token: issued.token,
            grants: issued.grants.to_string(),
            expires_at: issued.expires_at,
        };
        context.output.result(&created, || format!("{}\n{}  (shown this once)", created.id, created.token))?;
        Ok(Exit::Done)
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
        let rows: Vec<_> = rows.into_iter().map(|row| Row::of(row, now)).collect();
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

impl Row {
    fn of(row: TokenRow, now: Timestamp) -> Self {
        let TokenRow { id, name, grants, created_at, expires_at, revoked_at, last_used_at } = row;
        let counts = revoked_at.is_none() && expires_at.is_none_or(|expires| now < expires);
        Self { id, name, grants, created_at, expires_at, revoked_at, last_used_at, counts }
    }
}

fn table(rows: &[Row]) -> String {
    let day = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.strftime("%Y-%m-%d").to_string());
    let heading = ["ID", "NAME", "GRANTS", "EXPIRES", "LAST USED", "COUNTS"].map(str::to_owned).to_vec();
    let cells = rows.iter().map(|row| {
        let counts = if row.counts { "yes" } else { "no" };
        let (name, grants) = (shown(&row.name).into_owned(), row.grants.clone());
        vec![row.id.clone(), name, grants, day(row.expires_at), day(row.last_used_at), counts.to_owned()]
    });
    output::table(&std::iter::once(heading).chain(cells).collect::<Vec<_>>())
}
