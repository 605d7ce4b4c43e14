//! `installed`: what is installed, from where, and whether it is whole.

use clap::Args;
use owo_colors::OwoColorize as _;
use serde::Serialize;

use super::install::PrefixArgs;
use super::{Context, output};
use crate::install::installed::{self, Installed};
use crate::install::receipt::Trust;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit};

/// The arguments of `installed`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign installed
  consign installed --prefix /opt/tool --format json")]
pub struct InstalledArgs {
    #[command(flatten)]
    prefix: PrefixArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    prefix: &'a str,
    products: &'a [Installed],
}

impl InstalledArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let prefix = self.prefix.prefix(context)?;
        let products = installed::installed(&prefix)?;
        let report = Report { kind: "consign.installed/v1", prefix: prefix.path().as_str(), products: &products };
        context.output.result(&report, || describe(&products))?;
        let is_whole = products.iter().flat_map(|product| &product.versions).all(|kept| kept.damage.is_empty());
        Ok(if is_whole { Exit::Done } else { Code::InstallationDamaged.exit() })
    }
}

fn describe(products: &[Installed]) -> String {
    if products.is_empty() {
        return "nothing is installed\n".to_owned();
    }
    let heading = ["product", "version", "in use", "verified", "installed", "whole"].map(str::to_owned).to_vec();
    let mut rows = vec![heading];
    for product in products {
        for kept in &product.versions {
            let receipt = &kept.receipt;
            let used = if Some(&receipt.version) == product.current.as_ref() {
                "yes".green().to_string()
            } else {
                String::new()
            };
            let trust = match &receipt.trust {
                Trust::Unchecked => "by nobody".to_owned(),
                Trust::Keys { keys } if keys.len() == 1 => "by a key".to_owned(),
                Trust::Keys { keys } => format!("by {} keys", keys.len()),
                Trust::Catalog { root_version, .. } => format!("by root {root_version}"),
            };
            let whole = match kept.damage.first() {
                None => "yes".to_owned(),
                Some(first) => shown(first).red().to_string(),
            };
            let date = receipt.installed_at.strftime("%Y-%m-%d").to_string();
            rows.push(vec![product.name.to_string(), receipt.version.to_string(), used, trust, date, whole]);
        }
    }
    output::table(&rows)
}
