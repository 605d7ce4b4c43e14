//! `upgrade`: bring what is installed up to date, from where it came.

use clap::Args;
use serde::Serialize;

use super::Context;
use super::catalog_source::{CatalogArgs, state_directory};
use super::install::{HowArgs, SourceArgs, describe, tell};
use crate::install::installed::{self, Installed};
use crate::install::pins::Pins;
use crate::install::receipt::{Origin, Receipt};
use crate::install::resolve;
use crate::install::session::Installation;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure, FileName};
use crate::world::place;

/// The arguments of `upgrade`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign upgrade                                everything that came from a catalog or an index
  consign upgrade tool --version '^2'
  consign upgrade tool --dry-run")]
pub struct UpgradeArgs {
    /// The products [default: all that are installed]
    #[arg(id = "products", value_name = "NAME")]
    names: Vec<FileName>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Serialize)]
struct Upgraded {
    #[serde(rename = "type")]
    kind: &'static str,
    products: Vec<Installation>,
}

impl UpgradeArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let prefix = self.how.prefix.prefix(context)?;
        let there = installed::installed(&prefix)?;
        for name in &self.names {
            installed::required(&prefix, name)?;
        }
        let is_meant = |product: &&Installed| self.names.is_empty() || self.names.contains(&product.name);
        let receipts: Vec<_> = there.iter().filter(is_meant).filter_map(Installed::used).collect();
        if receipts.is_empty() {
            context.warn(format!("nothing is installed in `{}`", prefix.path()));
        }
        let mut products = Vec::new();
        for receipt in receipts {
            // What came from a file on its own stays as it is, unless it was named.
            if matches!(receipt.origin, Origin::Loose { .. }) && self.names.is_empty() && !self.source.is_named() {
                context.warn(format!("{} came from a file and has no place to be upgraded from", receipt.name));
                continue;
            }
            products.push(self.one(context, receipt)?);
        }
        let upgraded = Upgraded { kind: "consign.upgrade/v1", products };
        context.output.result(&upgraded, || upgraded.products.iter().map(describe).collect::<Vec<_>>().join("\n"))?;
        upgraded.products.iter().for_each(|done| tell(context, done));
        Ok(Exit::Done)
    }

    fn one(&self, context: &Context, receipt: &Receipt) -> Result<Installation> {
        let platform = self.source.platform.or(receipt.platform);
        let mut source = SourceArgs { name: Some(receipt.name.clone()), platform, ..self.source.clone() };
        // Whoever names a version wants that one, and nobody else wants to hear that there is nothing newer.
        let used = source.version.is_none().then(|| receipt.version.clone());
        if let Some(catalog) = &source.catalog.catalog {
            source.stay_here(catalog)?;
            let place = place::located(catalog, &context.directory);
            let place = CatalogArgs::place_by(context, &place, root(context, &source, receipt)?, source.catalog.at)?;
            source.install_catalog(context, &self.how, place, used)
        } else if source.is_named() {
            source.installation(context, &self.how)
        } else {
            match &receipt.origin {
                Origin::Index { place } => {
                    source.install_index(context, &self.how, resolve::place_of_index(place, &context.directory)?)
                }
                Origin::Catalog { place, wanted } => {
                    source.stay_here(place)?;
                    source.version = source.version.or_else(|| wanted.clone());
                    let root = root(context, &source, receipt)?;
                    let place = CatalogArgs::place_by(context, place, root, source.catalog.at)?;
                    source.install_catalog(context, &self.how, place, used)
                }
                Origin::Loose { place } => {
                    let message =
                        format!("{} came from `{}`, which is no index and no catalog", receipt.name, shown(place));
                    Err(Failure::new(Code::Usage, message)
                        .subject(receipt.name.as_str())
                        .hint("name its index or its catalog with `--index` or `--catalog`"))
                }
            }
        }
    }
}

/// The root that was named, or the one that the product was installed by.
fn root(context: &Context, source: &SourceArgs, receipt: &Receipt) -> Result<Vec<u8>> {
    if let Some(root) = source.catalog.root(context)? {
        return Ok(root);
    }
    let pins = Pins::read(&state_directory(context)?, &receipt.name)?;
    pins.and_then(|pins| pins.root).map(String::into_bytes).ok_or_else(|| {
        Failure::new(Code::KeyMissing, format!("the root that vouches for {} is not remembered here", receipt.name))
            .subject(receipt.name.as_str())
            .hint("name it with `--trust-root FILE`")
    })
}
