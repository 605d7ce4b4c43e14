//! `explain`: why an artifact cannot go to an environment now, what must become true, and when.

use clap::Args;

use super::super::Context;
use super::Subject;
use crate::model::delivery::{Granting, ReleaseRequest, Selector, Verdict};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure, FileName};

/// The arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign explain --service web --artifact main-0123456789-1a2b3c4d --env prod

It ends with 0 whatever the answer is, unless there is no such artifact or environment.")]
pub struct ExplainArgs {
    #[command(flatten)]
    subject: Subject,
    /// The artifact
    #[arg(long, value_name = "ID")]
    artifact: FileName,
    /// Where to
    #[arg(long, short = 'e', value_name = "NAME")]
    env: FileName,
}

impl ExplainArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let Subject { service, namespace, .. } = self.subject.clone();
        let request = ReleaseRequest {
            service,
            namespace,
            environments: vec![self.env.clone()],
            what: Selector::Artifact { id: self.artifact.clone() },
            override_reason: None,
            person: None,
            dry_run: true,
        };
        let granted = self.subject.server(context)?.request(&request, None)?;
        context.output.result(&granted, || granted.results.iter().map(describe).collect::<Vec<_>>().join("\n"))?;
        // Of what there is not, nothing can be explained.
        match granted.results.iter().find_map(|granting| Some((granting, super::code(granting.code.as_deref())?))) {
            Some((granting, code @ (Code::EnvironmentUnknown | Code::ArtifactUnknown))) => {
                let failure = Failure::new(code, "there is nothing to explain").subject(self.artifact.as_str());
                Err(match &granting.hint {
                    Some(hint) => failure.hint(shown(hint)),
                    None => failure,
                })
            }
            _ => Ok(Exit::Done),
        }
    }
}

fn describe(granting: &Granting) -> String {
    let mut lines = vec![super::line(granting)];
    let Some(decision) = &granting.decision else {
        lines.extend(granting.hint.as_deref().map(|hint| format!("    {}", shown(hint))));
        return lines.join("\n");
    };
    for reason in &decision.reasons {
        let policy = reason.policy.as_deref().map(|policy| format!(" ({})", shown(policy))).unwrap_or_default();
        lines.push(format!("  because {}{policy}", shown(&reason.sentence)));
        lines.push(format!("    until {}", shown(&reason.needs)));
    }
    match decision.earliest {
        Some(at) if granting.result != Verdict::WouldBeAccepted => {
            lines.push(format!("  not before {at}, if nothing else happens"));
        }
        _ => {}
    }
    lines.push(format!("  by the policies {}", decision.policy_digest));
    lines.join("\n")
}
