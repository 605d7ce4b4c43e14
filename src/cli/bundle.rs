//! `bundle`: releases as one file, for machines without a network.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use owo_colors::OwoColorize as _;

use super::catalog_source::CatalogArgs;
use super::install::{request, row};
use super::pubkeys::PubkeyArgs;
use super::{Context, output, usage};
use crate::install::export::{self, Exported, Order, Origin};
use crate::install::resolve;
use crate::model::failure::Result;
use crate::model::{Exit, FileName, Platform};
use crate::trust::Anchor;
use crate::world::http::Client;

/// The arguments of `bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    #[command(subcommand)]
    verb: BundleVerb,
}

#[derive(Debug, Subcommand)]
enum BundleVerb {
    /// Write releases, and what vouches for them, into one file that can be carried anywhere
    #[command(after_help = "Examples:
  consign bundle export --catalog https://example.com/releases --trust-root root.json --output tool.tar
  consign bundle export --catalog /srv/releases --trust-root root.json --version '^1' --version 2.0.0 \\
    --platform linux-amd64 --output tool.tar
  consign bundle export --index dist/packages/v1.2.3 --pubkey release.pub --output tool.tar
  consign install --from tool.tar --trust-root root.json --offline       where there is no network")]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// The address or path of an index.json, instead of a catalog
    #[arg(long, value_name = "PATH|URL", conflicts_with_all = ["catalog", "version", "name", "allow_yanked"])]
    index: Option<String>,
    #[command(flatten)]
    catalog: CatalogArgs,
    /// A version, or the newest of a range such as `^1.2` (repeatable) [default: the latest]
    #[arg(long = "version", id = "version", value_name = "REQ")]
    versions: Vec<String>,
    /// A platform whose archives are taken, without everything else of the releases (repeatable) [default: everything]
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<Platform>,
    /// The product, where a catalog has several
    #[arg(long, value_name = "NAME")]
    name: Option<FileName>,
    /// Take a version that was withdrawn
    #[arg(long)]
    allow_yanked: bool,
    #[command(flatten)]
    pubkeys: PubkeyArgs,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    output: Utf8PathBuf,
}

impl BundleArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let BundleVerb::Export(args) = &self.verb;
        let done = args.export(context)?;
        context.output.result(&done, || describe(&done))?;
        Ok(Exit::Done)
    }
}

impl ExportArgs {
    fn export(&self, context: &Context) -> Result<Exported> {
        let output = context.path(&self.output);
        if !output.as_str().ends_with(crate::world::parcel::ENDING) {
            return Err(usage(format!("`{output}` does not end with `.tar`"))
                .hint("give it that ending: it is how a parcel is told from a program"));
        }
        let order = Order { platforms: &self.platforms, output: &output };
        match &self.index {
            Some(index) => self.of_index(context, index, &order),
            None => self.of_catalog(context, &order),
        }
    }

    fn of_catalog(&self, context: &Context, order: &Order<'_>) -> Result<Exported> {
        if self.catalog.catalog.is_none() {
            return Err(usage("it is not said what to export").hint("add `--catalog PATH|URL` or `--index PATH|URL`"));
        }
        let latest = [None];
        let versions: Vec<_> = self.versions.iter().map(Some).collect();
        let versions = if versions.is_empty() { &latest[..] } else { &versions[..] };
        let requests = versions.iter().map(|version| {
            let request = request(*version)?;
            Ok(resolve::Request { name: self.name.clone(), allow_yanked: self.allow_yanked, ..request })
        });
        let requests = requests.collect::<Result<Vec<_>>>()?;
        let place = self.catalog.place(context)?;
        let mut catalog = place.update(context)?;
        let from = Origin { catalog: &mut catalog, source: place.source(), pinned_root: place.pinned_root() };
        export::of_catalog(from, &requests, order)
    }

    fn of_index(&self, context: &Context, index: &str, order: &Order<'_>) -> Result<Exported> {
        let keys = self.pubkeys.keys(context)?;
        if keys.is_empty() {
            context.warn("nobody is asked who made the release: add `--pubkey FILE`");
        }
        let anchor = if keys.is_empty() { Anchor::Unchecked } else { Anchor::Keys(keys) };
        let client = Client::new(context.client_options()?);
        let place = resolve::place_of_index(index, &context.directory)?;
        let resolved = resolve::from_index(place, &anchor, &[], &client)?;
        export::of_index(&resolved, &client, order)
    }
}

fn describe(done: &Exported) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let mut rows = vec![
        row("product", done.name.to_string()),
        row("releases", list(done.releases.iter().map(ToString::to_string).collect())),
        row("platforms", list(done.platforms.iter().map(ToString::to_string).collect())),
        row("files", done.files.to_string()),
        row("size", output::bytes(done.size_bytes)),
        row("sha256", done.sha256.to_string()),
    ];
    if let Some(catalog) = &done.catalog {
        rows.push(row("root", format!("version {}", catalog.root_version)));
        rows.push(row("good until", catalog.expires.to_string()));
    }
    format!("{} {}\n{}", "exported".green(), done.output, output::table(&rows))
}
