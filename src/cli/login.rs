//! `login` and `logout`: keep a token for a registry, and forget it.

use std::io::{IsTerminal as _, Read as _};

use camino::Utf8PathBuf;
use clap::Args;

use super::registry::{RegistryArgs, credentials};
use super::{Context, output, usage};
use crate::client::credentials::Renewal;
use crate::client::oidc::{Device, Provider};
use crate::client::{Server, Token};
use crate::config::environment::{CONSIGN_CLIENT_ID, CONSIGN_CLIENT_SECRET, CONSIGN_SERVER, CONSIGN_TOKEN};
use crate::model::failure::Result;
use crate::model::registry::{LoginProvider, Whoami};
use crate::model::text::shown;
use crate::model::{Exit, FileName};
use crate::world::clock;
use crate::world::keys::{self, Exposure};

/// The longest token, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// The arguments of `login`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign login --server https://registry.example.com < token.txt
  consign login --server https://registry.example.com --token-file token.txt
  consign login --server https://registry.example.com --oidc
  CONSIGN_CLIENT_ID=ci CONSIGN_CLIENT_SECRET=… consign login --server https://registry.example.com --client-credentials")]
pub struct LoginArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The file with the token [default: that of `CONSIGN_TOKEN`, else standard input]
    #[arg(long, value_name = "FILE")]
    token_file: Option<Utf8PathBuf>,
    /// Log in with a provider of identities, by a code that is confirmed in a browser anywhere; so it is on a terminal too where no token is given
    #[arg(long, conflicts_with = "token_file")]
    oidc: bool,
    /// Log in as the machine that `CONSIGN_CLIENT_ID` and `CONSIGN_CLIENT_SECRET` name
    #[arg(long, conflicts_with_all = ["token_file", "oidc"])]
    client_credentials: bool,
    /// Which provider, where the registry knows several
    #[arg(long, value_name = "NAME")]
    provider: Option<FileName>,
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
        let whoami = if self.client_credentials {
            self.as_machine(context, &address)?
        } else if self.asks_a_person(context) {
            self.as_person(context, &address)?
        } else {
            let token = Token(self.token(context)?);
            // A token that does not count is not kept.
            let whoami = Server::at(&address, Some(token.clone()))?.whoami()?;
            credentials(context)?.keep(&address, &token)?;
            whoami
        };
        context.output.result(&whoami, || {
            let (name, grants) = (shown(&whoami.name), shown(&whoami.grants));
            format!("logged in to {} as {name} ({}): {grants}", shown(&address), shown(&whoami.subject))
        })?;
        Ok(Exit::Done)
    }

    fn asks_a_person(&self, context: &Context) -> bool {
        let given = self.token_file.is_some() || context.environment.get(CONSIGN_TOKEN).is_some();
        self.oidc || (!given && std::io::stdin().is_terminal())
    }

    /// The provider that the registry names, if it is one, or the one that is asked for.
    fn provider(&self, address: &str) -> Result<LoginProvider> {
        let known = Server::at(address, None)?.login()?.providers;
        let names: Vec<_> = known.iter().map(|provider| provider.name.to_string()).collect();
        let mut fitting = known.into_iter().filter(|one| self.provider.as_ref().is_none_or(|name| *name == one.name));
        match (fitting.next(), fitting.next()) {
            (Some(provider), None) => Ok(provider),
            (None, _) if names.is_empty() => {
                Err(usage("the registry knows no provider of identities")
                    .hint("use a token: `consign login < token.txt`"))
            }
            _ => Err(usage(format!("it is not said which provider is meant: {}", names.join(", ")))
                .hint("add `--provider NAME`")),
        }
    }

    fn as_person(&self, context: &Context, address: &str) -> Result<Whoami> {
        let login = self.provider(address)?;
        let provider = Provider::discover(&login.issuer)?;
        let device = provider.begin(&login)?;
        tell(address, &login, &device);
        let tokens = provider.wait(&login, &device)?;
        let whoami = Server::at(address, Some(Token(tokens.token.clone())))?.whoami()?;
        let renewal = tokens.refresh_token.clone().map(|refresh_token| Renewal {
            issuer: login.issuer,
            client_id: login.client_id,
            token: login.token,
            refresh_token,
        });
        credentials(context)?.keep_login(address, &tokens, renewal, clock::now())?;
        Ok(whoami)
    }

    fn as_machine(&self, context: &Context, address: &str) -> Result<Whoami> {
        let variable = |name: &'static str| {
            context.environment.get(name).ok_or_else(|| usage(format!("`{name}` is not set")).subject(name))
        };
        let (id, secret) = (variable(CONSIGN_CLIENT_ID)?, variable(CONSIGN_CLIENT_SECRET)?);
        let login = self.provider(address)?;
        let tokens = Provider::discover(&login.issuer)?.as_machine(id, secret, &login)?;
        let whoami = Server::at(address, Some(Token(tokens.token.clone())))?.whoami()?;
        // Whoever has the secret needs nothing else to log in again.
        credentials(context)?.keep_login(address, &tokens, None, clock::now())?;
        Ok(whoami)
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

/// Says what is to be confirmed, where, and for whom. Whoever reads a code that another one has begun can
/// see by this that it is not theirs.
fn tell(address: &str, login: &LoginProvider, device: &Device) {
    let minutes = device.life_seconds.div_ceil(60);
    let mut lines = format!(
        "`{}` asks `{}` who you are.\nOpen {} and enter the code {}\n",
        shown(address),
        shown(&login.issuer),
        shown(&device.place),
        shown(&device.user_code)
    );
    if let Some(place) = &device.place_with_code {
        lines.push_str(&format!("or open {} and compare the code\n", shown(place)));
    }
    lines.push_str(&format!("It counts for {minutes} minutes. Confirm no code that you have not asked for.\n"));
    output::complain(&lines);
}

fn address(registry: &RegistryArgs, context: &Context) -> Result<String> {
    let given = registry.server.clone().or_else(|| context.environment.get(CONSIGN_SERVER).map(str::to_owned));
    given.ok_or_else(|| usage("it is not said which registry is meant").hint("add `--server URL`"))
}
