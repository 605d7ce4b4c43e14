//! `report`: how releasing went, in DORA's four numbers.

use clap::Args;
use jiff::Timestamp;

use super::super::registry::RegistryArgs;
use super::super::{Context, output};
use crate::model::failure::Result;
use crate::model::management::Report;
use crate::model::{Exit, FileName};

/// The arguments of `report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign report --since 2026-01-01T00:00:00Z
  consign report --service web --format json

A release is one that was written into its environment. Lead time runs from the push of the artifact until then. A
failure is one of these that failed after that, or that was rolled back. Time to restore runs from the failure (of what was
rolled back: from when it was written) until the next release was written there. Of several times the middle one is told.")]
pub struct ReportArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Of this service [default: of all that you may see]
    #[arg(long, value_name = "NAME")]
    service: Option<FileName>,
    /// From this time on [default: 30 days before the end]
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Before this time [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl ReportArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let mut query = Vec::new();
        query.extend(self.service.iter().map(|service| ("service", service.to_string())));
        query.extend(self.since.iter().map(|time| ("since", time.to_string())));
        query.extend(self.until.iter().map(|time| ("until", time.to_string())));
        let report = self.registry.server(context)?.delivery_report(&query)?;
        context.output.result(&report, || describe(&report))?;
        Ok(Exit::Done)
    }
}

fn describe(report: &Report) -> String {
    let period = format!("from {} until {}", report.since, report.until);
    if report.environments.is_empty() {
        return format!("nothing was released {period}");
    }
    let heading = ["ENVIRONMENT", "RELEASES", "PER DAY", "LEAD TIME", "FAILURE RATE", "TIME TO RESTORE"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for numbers in &report.environments {
        rows.push(vec![
            numbers.environment.to_string(),
            numbers.releases.to_string(),
            format!("{:.2}", numbers.releases_per_day),
            time(numbers.lead_time_seconds),
            numbers.failure_rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.0} %", rate * 100.0)),
            time(numbers.restore_seconds),
        ]);
    }
    format!("{period}\n{}", output::table(&rows))
}

fn time(seconds: Option<f64>) -> String {
    let duration = seconds.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    duration.map_or_else(|| "-".to_owned(), output::duration)
}
