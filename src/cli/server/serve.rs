//! `consign-server serve` and `check-config`.

use clap::Args;
use serde::Serialize;

use super::super::Context;
use super::settings::ServerArgs;
use super::wait;
use crate::artifacts::Belief;
use crate::model::Exit;
use crate::model::failure::Result;
use crate::server::{self, Logs};

/// The arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server serve
  consign-server serve --listen 127.0.0.1:0 --data /srv/consign --trust-root root.json
  CONSIGN_SERVER_DATABASE=postgres://consign@db/consign consign-server serve --key /etc/consign/server.key")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// How the log on standard error looks
    #[arg(long, value_name = "text|json|off", default_value = "text", hide_possible_values = true)]
    log: Logs,
}

/// The arguments of `check-config`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server check-config --data /srv/consign --trust-root root.json")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// What a server that has started says, once.
#[derive(Serialize)]
struct Started {
    #[serde(rename = "type")]
    kind: &'static str,
    address: String,
    metrics: Option<String>,
    /// The token of the administrator, at the first start only.
    admin_token: Option<String>,
}

impl ServeArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let settings = self.server.settings(context)?;
        server::log_to(self.log);
        if matches!(settings.belief, Belief::Nobody) {
            context.warn("nobody is believed: bundles are only checked to be whole; name `--trust-root` or `--pubkey`");
        }
        if settings.tls.is_none() && !settings.listen.ip().is_loopback() {
            context.warn("requests and tokens come as plain http: name `--tls-cert` and `--tls-key`, or put a proxy with TLS in front of this address");
        }
        wait(async {
            let scheme = if settings.tls.is_some() { "https" } else { "http" };
            let running = server::start(&settings).await?;
            let started = Started {
                kind: "consign.server/v1",
                address: format!("{scheme}://{}", running.address),
                metrics: running.metrics.map(|address| format!("http://{address}/metrics")),
                admin_token: running.first_token.as_ref().map(|issued| issued.token.clone()),
            };
            context.output.result(&started, || describe(&started))?;
            running.serve().await;
            Ok(Exit::Done)
        })
    }
}

impl CheckArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let settings = self.server.settings(context)?;
        let checked = wait(server::check(&settings))?;
        context.output.result(&checked, || {
            format!(
                "data       {}\ndatabase   {}\nblobs      {}\nlisten     {} ({})\nmetrics    {}\nkey        {}\nbelieves   {}",
                checked.data,
                checked.database,
                checked.blobs,
                checked.listen,
                if checked.tls { "https" } else { "http" },
                checked.metrics.map_or_else(|| "nowhere".to_owned(), |address| address.to_string()),
                checked.key_id,
                checked.belief
            )
        })?;
        Ok(Exit::Done)
    }
}

fn describe(started: &Started) -> String {
    let mut lines = Vec::new();
    if let Some(token) = &started.admin_token {
        lines.push(format!("admin token (shown this once): {token}"));
    }
    lines.push(format!("listening on {}", started.address));
    lines.extend(started.metrics.iter().map(|address| format!("metrics at {address}")));
    lines.join("\n")
}
