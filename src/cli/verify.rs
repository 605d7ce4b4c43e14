//! `verify`: whether everything in a bundle agrees with everything.

use camino::Utf8PathBuf;
use clap::Args;
use owo_colors::OwoColorize as _;

use super::anchor::AnchorArgs;
use super::selection::ReleaseArgs;
use super::{Context, output, planning};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Exit, pretty};
use crate::pipeline::plan::Selection;
use crate::pipeline::verify::{self, Authenticated, Report, Requirements};
use crate::trust::anchor::InCatalog;
use crate::trust::evidence::NotChecked;
use crate::world::files;

/// The arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign verify                                 the bundle of this workspace's version
  consign verify dist/packages/v1.2.3 --pubkey release.pub
  consign verify dist/packages/v1.2.3 --trust-root root.json --catalog https://example.com/releases
  consign verify downloads/ --report verify.json --format json")]
pub struct VerifyArgs {
    /// The bundle's directory; one named after a release has to hold that release [default: that of this workspace's version]
    // The name is not that of the global `--directory`, which would take this value as its own.
    #[arg(id = "bundle", value_name = "DIR")]
    directory: Option<Utf8PathBuf>,
    #[command(flatten)]
    anchor: AnchorArgs,
    /// Also write the report to this file
    #[arg(long, value_name = "FILE")]
    report: Option<Utf8PathBuf>,
    /// How many files to read at once [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
}

impl VerifyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let (directory, expected) = if let Some(directory) = &self.directory {
            (context.path(directory), None)
        } else {
            let plan = planning::plan(context, &ReleaseArgs::default(), None, None, &Selection::default())?.plan;
            (plan.places.bundle, Some(plan.release))
        };
        let requirements = Requirements {
            threads: self.threads.map(Into::into),
            ..self.anchor.requirements_in(context, Some(&directory))?
        };
        let report = verify::verify(&directory, expected.as_ref(), &requirements, context.listener())?;
        if let Some(path) = &self.report {
            files::write(&context.path(path), &pretty(&report))?;
        }
        context.output.result(&report, || describe(&report))?;
        Ok(report.exit())
    }
}

/// The report for people.
pub fn describe(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        out.push_str(&format!(
            "{} {}: {} [{}]\n",
            "wrong:".red().bold(),
            shown(&finding.file),
            shown(&finding.message),
            finding.code
        ));
        out.push_str(&format!("  {} {}\n", "hint:".cyan(), shown(&finding.hint)));
    }
    if !report.findings.is_empty() {
        return format!("{out}{} problems: the bundle is not what was released", report.findings.len());
    }
    let rows: Vec<_> = report
        .files
        .iter()
        .map(|file| {
            vec![file.name.to_string(), file.kind.clone(), output::bytes(file.size_bytes), file.sha256.to_string()]
        })
        .collect();
    let mut lines = vec![output::table(&rows)];
    for NotChecked { file, reason } in &report.not_checked {
        lines.push(format!("not checked: {file}: {}", shown(reason)));
    }
    lines.extend(report.catalog.as_ref().and_then(catalog));
    lines.push(format!("{} files agree with each other; {}", report.files.len(), authenticity(report)));
    lines.join("\n")
}

/// What a user should know of what the catalog says.
fn catalog(said: &InCatalog) -> Option<String> {
    match said {
        InCatalog::Listed => None,
        InCatalog::NotRead => Some(
            "not checked: whether it was withdrawn, or a key replaced: no catalog was read (`--catalog`)".to_owned(),
        ),
        InCatalog::NotListed => Some("not checked: whether it was withdrawn: the catalog does not list it".to_owned()),
        InCatalog::Withdrawn { reason } => {
            Some(format!("{} the catalog says that it was withdrawn: {}", "warning:".yellow().bold(), shown(reason)))
        }
    }
}

/// How far it is known who made the bundle, and by which keys.
fn authenticity(report: &Report) -> String {
    let word = report.authenticity;
    let keys: Vec<_> = report.signed_by.iter().map(ToString::to_string).collect();
    let root = report.root_version.map(|version| format!(" of root version {version}")).unwrap_or_default();
    match (word, keys.as_slice()) {
        (Authenticated::Unchecked, _) => format!("authenticity {word}: no signature was checked"),
        (Authenticated::Catalog, []) => format!("authenticity {word}{root}: every asset is listed there"),
        (_, []) => format!("authenticity {word}{root}: every asset is signed by enough trusted keys"),
        (_, keys) => format!("authenticity {word}{root}: every asset is signed by {}", keys.join(" and ")),
    }
}
