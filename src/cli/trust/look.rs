//! `trust show` and `trust verify`: looking, and changing nothing.

use camino::Utf8PathBuf;
use clap::Args;
use owo_colors::OwoColorize as _;
use serde::Serialize;

use crate::catalog::audit;
use crate::catalog::overview::{self, Overview, RoleOverview};
use crate::cli::catalog::place::repository;
use crate::cli::{Context, output};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::world::clock;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The directory of the versions [default: the publishing target]
    #[arg(id = "catalog-root", value_name = "DIR")]
    root: Option<Utf8PathBuf>,
}

impl ShowArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let overview = overview::look(&repository(context, self.root.as_ref())?, clock::now())?;
        context.output.result(&overview, || describe(&overview))?;
        Ok(Exit::Done)
    }
}

fn describe(overview: &Overview) -> String {
    let mut out = String::new();
    if !overview.roles.is_empty() {
        let heading = ["role", "version", "ends", "days left", "sign", "key", "algorithm"].map(str::to_owned).to_vec();
        let rows = overview.roles.iter().flat_map(rows);
        out.push_str(&output::table(&[heading].into_iter().chain(rows).collect::<Vec<_>>()));
    }
    for proposal in &overview.proposals {
        let what = "waits for signatures".yellow().to_string();
        out.push_str(&format!("\n{} {} {what}: {}\n", proposal.role, proposal.version, shown(&proposal.file)));
        for change in &proposal.changes {
            out.push_str(&format!("  {change}\n"));
        }
        for counted in &proposal.signatures {
            out.push_str(&format!("  {} of {} by the keys of root {}", counted.have, counted.need, counted.by_root));
            let open = counted.could_sign.join(", ");
            out.push_str(&if counted.have < counted.need {
                format!("; could sign: {open}\n")
            } else {
                "\n".to_owned()
            });
        }
    }
    out
}

/// One row per key; what is the role's stands in the first of them.
fn rows(role: &RoleOverview) -> Vec<Vec<String>> {
    let version = match (role.version, role.signed) {
        (Some(version), true) => version.to_string(),
        (Some(version), false) => format!("{version} ({})", "not by these keys".red()),
        (None, _) => "none".to_owned(),
    };
    let days = role
        .days_left
        .map_or_else(String::new, |days| if days < 0 { days.red().to_string() } else { days.to_string() });
    let ends = role.expires.map_or_else(String::new, |end| end.strftime("%Y-%m-%d").to_string());
    let of_keys = format!("{} of {}", role.threshold, role.keys.len());
    let mut leads = vec![vec![role.role.clone(), version, ends, days, of_keys]];
    leads.resize(role.keys.len().max(1), vec![String::new(); 5]);
    for (lead, key) in leads.iter_mut().zip(&role.keys) {
        lead.extend([shown(&key.id).into_owned(), key.algorithm.clone()]);
    }
    leads
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The directory of the versions [default: the publishing target]
    #[arg(id = "catalog-root", value_name = "DIR")]
    root: Option<Utf8PathBuf>,
    /// The root that is trusted, from elsewhere
    #[arg(long, value_name = "FILE")]
    trust_root: Option<Utf8PathBuf>,
}

#[derive(Serialize)]
struct Followed {
    #[serde(rename = "type")]
    kind: &'static str,
    catalog: String,
    root: u64,
    pinned_root: Option<u64>,
    expires: jiff::Timestamp,
}

impl VerifyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let repository = repository(context, self.root.as_ref())?;
        let pinned = self.trust_root.as_ref().map(|path| context.path(path));
        let (chain, pinned_root) = audit::roots(&repository, pinned.as_deref(), clock::now())?;
        let current = chain.current();
        let followed = Followed {
            kind: "consign.trust-verify/v1",
            catalog: repository.target().to_string(),
            root: current.version,
            pinned_root,
            expires: current.expires,
        };
        context.output.result(&followed, || {
            let from = pinned_root.unwrap_or(1);
            let day = current.expires.strftime("%Y-%m-%d");
            format!(
                "{} roots {from} to {} follow each other; the newest ends {day}",
                "verified:".green(),
                current.version
            )
        })?;
        Ok(Exit::Done)
    }
}
