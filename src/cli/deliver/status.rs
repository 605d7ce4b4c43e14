//! `status`: what a service has where.

use clap::Args;

use super::super::{Context, output};
use super::Subject;
use crate::model::Exit;
use crate::model::delivery::{Place, Release, State, Status};
use crate::model::failure::Result;
use crate::model::text::shown;

/// The arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign status --service web
  consign status --service web --format json")]
pub struct StatusArgs {
    #[command(flatten)]
    subject: Subject,
}

impl StatusArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let status = self.subject.server(context)?.status(&self.subject.service, self.subject.namespace.as_ref())?;
        context.output.result(&status, || describe(&status))?;
        Ok(Exit::Done)
    }
}

pub(super) fn describe(status: &Status) -> String {
    if status.places.is_empty() {
        return format!("Service {} is in no environment.\nAre you setting the right namespace?", status.service);
    }
    let heading = ["ENVIRONMENT", "NAMESPACE", "ARTIFACT", "STATE", "SINCE", "BY", ""].map(str::to_owned).to_vec();
    let mut rows = vec![heading];
    for place in &status.places {
        rows.extend(place.live.iter().chain(&place.waiting).map(|release| row(place, release)));
        if place.live.is_none() && place.waiting.is_empty() {
            let (environment, namespace) = (place.environment.to_string(), place.namespace.to_string());
            rows.push(vec![environment, namespace, "-".into(), "-".into(), "-".into(), "-".into(), held(place)]);
        }
    }
    format!("Status for service {}\n{}", status.service, output::table(&rows))
}

fn row(place: &Place, release: &Release) -> Vec<String> {
    let at = release.pushed_at.unwrap_or(release.order.requested_at);
    let reason = release.reason.as_deref().map(|reason| shown(reason).into_owned());
    let more = match release.state {
        State::Failed => {
            [reason.unwrap_or_default(), held(place)].into_iter().filter(|text| !text.is_empty()).collect()
        }
        state if state.is_live() => vec![held(place)],
        _ => vec![reason.unwrap_or_default()],
    };
    vec![
        place.environment.to_string(),
        place.namespace.to_string(),
        release.order.artifact.to_string(),
        release.state.to_string(),
        at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        shown(&release.order.actor.name).into_owned(),
        more.join("; "),
    ]
}

fn held(place: &Place) -> String {
    place.hold.as_ref().map(|hold| format!("held: {}", shown(&hold.reason))).unwrap_or_default()
}
