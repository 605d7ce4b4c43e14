//! `consign config`: the settings, where each comes from, and their schema.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::planning;
use super::pubkeys::public_of_file;
use super::selection::{PublishArgs, ReleaseArgs};
use super::{Context, output};
use crate::config::{self, Row};
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure, text};
use crate::pipeline::interop;
use crate::pipeline::plan::Selection;
use owo_colors::OwoColorize as _;

/// The arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Print every setting, its value and where it comes from
    #[command(
        after_help = "Examples:\n  consign config show\n  consign config show --platform linux-amd64 --format json\n  CONSIGN_PLATFORMS=linux-amd64 consign config show"
    )]
    Show(Box<ShowArgs>),
    /// Print the JSON schema of consign.toml
    #[command(after_help = "Examples:\n  consign config schema > consign.schema.json")]
    Schema,
    /// Print what Cargo.toml has to say so that cargo-binstall finds the releases
    #[command(
        after_help = "Examples:\n  consign config binstall >> Cargo.toml\n  consign config binstall --pubkey release.pub.pem    with the key of its .minisig files"
    )]
    Binstall(Box<BinstallArgs>),
    /// Print where consign.toml was found
    #[command(after_help = "Examples:\n  consign config path\n  consign -C member config path")]
    Path,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    #[command(flatten)]
    publish: PublishArgs,
}

#[derive(Debug, Args)]
struct BinstallArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// The Ed25519 key whose signatures in minisign's form lie beside each archive
    #[arg(long, value_name = "FILE")]
    pubkey: Option<Utf8PathBuf>,
}

#[derive(Serialize)]
struct Binstall {
    #[serde(rename = "type")]
    kind: &'static str,
    toml: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    file: Option<&'a str>,
    values: &'a [Row],
}

#[derive(Serialize)]
struct Place<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    path: Option<&'a str>,
}

impl ConfigArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            ConfigVerb::Show(arguments) => show(arguments, context)?,
            ConfigVerb::Schema => context.output.document(config::schema().as_bytes())?,
            ConfigVerb::Binstall(arguments) => binstall(arguments, context)?,
            ConfigVerb::Path => path(context)?,
        }
        Ok(Exit::Done)
    }
}

fn show(arguments: &ShowArgs, context: &Context) -> Result<()> {
    let mut flags = arguments.release.overrides();
    arguments.publish.apply(&mut flags);
    let resolved = context.resolve(&flags)?;
    let settings = context.settings()?;
    let file = settings.path().map(camino::Utf8Path::as_str);
    let document = Shown { kind: "consign.config/v1", file, values: &resolved.rows };
    context.output.result(&document, || {
        let mut rows = vec![["key", "value", "origin"].map(|word| word.bold().to_string()).to_vec()];
        rows.extend(resolved.rows.iter().map(|row| {
            let value = text::shown(&row.text()).into_owned();
            let origin = row.origin.to_string();
            vec![row.key.clone(), value, text::shown(&origin).dimmed().to_string()]
        }));
        output::table(&rows)
    })
}

fn binstall(arguments: &BinstallArgs, context: &Context) -> Result<()> {
    let planned = planning::plan(context, &arguments.release, None, None, &Selection::default())?;
    let plan = &planned.plan;
    let base_url = plan.installer.base_url.as_deref().ok_or_else(|| {
        Failure::new(Code::ConfigInvalid, "nobody says where releases can be fetched from")
            .subject("installer.base-url")
            .hint("set `installer.base-url`, such as \"https://example.com/releases/{tag}\"")
    })?;
    let key = arguments.pubkey.as_ref().map(|path| public_of_file(&context.path(path))).transpose()?;
    let toml = interop::binstall::metadata(plan, base_url, key.as_ref())?;
    let document = Binstall { kind: "consign.binstall/v1", toml };
    context.output.result(&document, || document.toml.trim_end().to_owned())
}

fn path(context: &Context) -> Result<()> {
    let settings = context.settings()?;
    let path = settings.path().map(camino::Utf8Path::as_str);
    if path.is_none() {
        context.output.note("there is no consign.toml; every setting has its default");
    }
    let document = Place { kind: "consign.config-path/v1", path };
    context.output.result(&document, || path.map(|path| text::shown(path).into_owned()).unwrap_or_default())
}
