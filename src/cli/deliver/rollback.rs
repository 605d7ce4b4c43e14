//! `rollback`: an artifact that an environment had before, once more.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use super::super::{Context, usage};
use super::status::{because, called};
use super::{Subject, Waiting};
use crate::client::Server;
use crate::model::delivery::{Granting, ReleaseRequest, Selector, State, Verdict};
use crate::model::failure::Result;
use crate::model::found::PastRelease;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure, FileName};

/// The arguments of `rollback`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign rollback --service web --env prod                     choose on a terminal; the last one before otherwise
  consign rollback --service web --env prod --to 2 --wait
  consign rollback --service web --env prod --artifact main-0123456789-1a2b3c4d

A rollback is a release of its own. It holds automation off until `consign resume`, or until the artifact that is held
off is promoted.")]
pub struct RollbackArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where
    #[arg(long, short = 'e', value_name = "NAME")]
    env: FileName,
    /// To this artifact
    #[arg(long, value_name = "ID", conflicts_with = "to")]
    artifact: Option<FileName>,
    /// So many releases back: 1 is the one before
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    to: Option<u32>,
    /// How many releases there are to choose from
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=200))]
    length: u32,
    #[command(flatten)]
    waiting: Waiting,
}

impl RollbackArgs {
    pub(in crate::cli) fn run(&self, context: &Context) -> Result<Exit> {
        let server = self.subject.server(context)?;
        let releases = self.releases(&server)?;
        let chosen = self.choose(&releases)?;
        let artifact: FileName = chosen.artifact.parse().map_err(|error| {
            Failure::new(Code::ReleaseUnknown, "can't do rollback, because the artifact's id cannot be one here")
                .subject(chosen.artifact.clone())
                .because(error)
        })?;
        for line in self.preview(&server, &releases, &chosen.artifact)? {
            context.output.note(&line);
        }
        let Subject { service, namespace, .. } = self.subject.clone();
        let (starting, only_asked) = (
            format!("[✓] Starting rollback of service {service} to {artifact}"),
            format!("Rollback of service {service} to {artifact}"),
        );
        let request = ReleaseRequest {
            service,
            namespace,
            environments: vec![self.env.clone()],
            what: Selector::Rollback { artifact: Some(artifact) },
            override_reason: None,
            person: None,
            dry_run: false,
        };
        self.waiting.make(context, &server, request, |granted| {
            let starts = |granting: &Granting| matches!(granting.result, Verdict::Accepted | Verdict::NeedsApproval);
            if granted.results.iter().all(starts) { starting } else { only_asked }
        })
    }

    /// What the environment had, the present one first, whoever released it.
    fn releases(&self, server: &Server) -> Result<Vec<PastRelease>> {
        let most = self.to.map_or(self.length, |to| to.max(self.length) + 1).min(200);
        let mut query = vec![("environment", self.env.to_string()), ("limit", most.to_string())];
        query.extend(self.subject.namespace.iter().map(|namespace| ("namespace", namespace.to_string())));
        let past = server.past(&self.subject.service, &query)?;
        if past.releases.len() < 2 {
            super::known_environment(server, &self.env)?;
            let none =
                Failure::new(Code::ReleaseUnknown, "can't do rollback, because there isn't a release to rollback to")
                    .subject(self.env.as_str())
                    .hint("are you missing a namespace?");
            return Err(because(none, past.repositories));
        }
        Ok(past.releases)
    }

    fn choose<'a>(&self, releases: &'a [PastRelease]) -> Result<&'a PastRelease> {
        let chosen = self.find(releases)?;
        let present = releases.first().is_some_and(|present| present.artifact == chosen.artifact);
        if present {
            let artifact = shown(&chosen.artifact).into_owned();
            return Err(Failure::new(
                Code::ReleaseUnknown,
                format!("can't do rollback, because the artifact '{artifact}' is what {} has", self.env),
            )
            .subject(artifact)
            .hint("`consign describe release --count 10` shows what was there before"));
        }
        Ok(chosen)
    }

    fn find<'a>(&self, releases: &'a [PastRelease]) -> Result<&'a PastRelease> {
        if let Some(artifact) = &self.artifact {
            let found = releases.iter().find(|release| release.artifact == artifact.as_str());
            return found.ok_or_else(|| {
                Failure::new(
                    Code::ReleaseUnknown,
                    format!(
                        "can't do rollback, because the artifact '{artifact}' isn't found in the last {} releases",
                        releases.len()
                    ),
                )
                .subject(artifact.as_str())
                .hint("look further back with `--length N`")
            });
        }
        let number = match self.to {
            Some(to) => to as usize,
            None if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => pick(releases)?,
            None => previous(releases)?,
        };
        releases
            .get(number)
            .filter(|_| number > 0)
            .ok_or_else(|| usage(format!("there is no release number {number}; there are {}", releases.len() - 1)))
    }

    /// What goes away with it: the commits of the artifacts that came after the chosen one.
    fn preview(&self, server: &Server, releases: &[PastRelease], artifact: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for release in releases.iter().take_while(|release| release.artifact != artifact) {
            let id = release.artifact.as_str();
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            let source = match (&release.record, id.parse()) {
                (Some(record), _) => record.source.clone(),
                (None, Ok(id)) => server.artifact(&self.subject.service, &id)?.artifact.source,
                (None, Err(_)) => continue,
            };
            let message = source.message.as_deref().and_then(|message| message.lines().next()).unwrap_or_default();
            let sha: String = source.sha.chars().take(10).collect();
            lines.push(shown(&format!("removes {id}: {sha} {message}")).into_owned());
        }
        Ok(lines)
    }
}

/// The last one before with another artifact that did not fail.
fn previous(releases: &[PastRelease]) -> Result<usize> {
    let present = releases.first().map(|release| &release.artifact);
    let good = |one: &PastRelease| state(one) != Some(State::Failed) && Some(&one.artifact) != present;
    releases.iter().position(good).ok_or_else(|| {
        Failure::new(Code::ReleaseUnknown, "can't do rollback, because there isn't a release to rollback to")
    })
}

/// How far it has come; nothing, where this server has not made it.
fn state(release: &PastRelease) -> Option<State> {
    release.release.as_ref().map(|release| release.state)
}

/// Asks on the terminal.
fn pick(releases: &[PastRelease]) -> Result<usize> {
    let mut terminal = std::io::stderr().lock();
    let mut write = |text: &str| terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
    let broken = |error| usage("the terminal cannot be asked").because(error).hint("name it with `--to N`");
    for (number, release) in releases.iter().enumerate() {
        let now = if number == 0 { "  (current release)" } else { "" };
        let at = release.released_at.strftime("%Y-%m-%d %H:%M:%S");
        let by = called(&release.released_by.name, &release.released_by.email);
        let how = state(release).map_or("elsewhere", State::as_str);
        write(&format!("#{number} {} {at} by {} {how}{now}\n", shown(&release.artifact), shown(by))).map_err(broken)?;
    }
    write("roll back to #").map_err(broken)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(broken)?;
    line.trim().trim_start_matches('#').parse().map_err(|_| usage("Rollback cancelled: that is none of the numbers"))
}
