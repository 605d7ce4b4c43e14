//! `consign-server prune`, `pin`, `unpin` and `pins`: what is removed, and what stays.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Args;
use serde::Serialize;

use super::super::{Context, output, usage};
use super::settings::ServerArgs;
use super::wait;
use crate::artifacts::retention::{self, Pruned, Rules, Wanted};
use crate::artifacts::{self, Caller, Registry};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Exit, FileName};
use crate::server::{self, Settings};
use crate::world::{clock, files};

/// Who the audit log says has done what is done here.
const SUBJECT: &str = "console";
/// The longest note, in bytes.
const MAX_NOTE_BYTES: usize = 500;

/// The arguments of `prune`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server prune --rules retention.toml --dry-run
  consign-server prune --rules retention.toml
  consign-server prune                            blobs alone that no artifact names

A rule, of which the first that is about an artifact decides:
  [[rule]]
  service = \"web\"       # patterns with * ? [a-z] {a,b}
  branch = \"feature/*\"  # [default: every branch]
  keep_last = 5         # the last five of each service and branch stay
  keep_days = 30        # and so does what is younger than this
  keep = [\"v*\"]         # and what has such an id

What is pinned or released stays, and so does what no rule is about.")]
pub(super) struct PruneArgs {
    /// The rules by which artifacts go
    #[arg(long, value_name = "FILE")]
    rules: Option<Utf8PathBuf>,
    /// How many hours a blob stays that no artifact names
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    grace_hours: u32,
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `pin`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server pin web main-0123456789-1a2b3c4d --note 'runs at the customer'")]
pub(super) struct PinArgs {
    #[command(flatten)]
    artifact: ArtifactArgs,
    /// Why
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `unpin`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server unpin web main-0123456789-1a2b3c4d")]
pub(super) struct UnpinArgs {
    #[command(flatten)]
    artifact: ArtifactArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `pins`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign-server pins --data /srv/consign")]
pub(super) struct PinsArgs {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct ArtifactArgs {
    /// The artifact's service
    #[arg(value_name = "SERVICE")]
    service: FileName,
    /// The artifact's id
    #[arg(value_name = "ID")]
    id: FileName,
}

#[derive(Serialize)]
struct Row {
    service: String,
    id: String,
    note: Option<String>,
    at: jiff::Timestamp,
    by: String,
}

impl PruneArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let settings = self.server.settings(context)?;
        let rules = match &self.rules {
            Some(path) => {
                let bytes = files::read_bounded(&context.path(path), retention::MAX_BYTES)?;
                Rules::read(&String::from_utf8_lossy(&bytes)).map_err(|failure| failure.subject(path.as_str()))?
            }
            None => Rules::default(),
        };
        let grace = Duration::from_secs(3600 * u64::from(self.grace_hours));
        let wanted = Wanted { rules, grace, is_rehearsal: self.dry_run };
        let pruned = with(&settings, async |registry| {
            let _turn = artifacts::turn(&settings.data)?;
            registry.prune(&wanted, &caller()).await
        })?;
        context.output.result(&pruned, || describe(&pruned))?;
        Ok(Exit::Done)
    }
}

impl PinArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let ArtifactArgs { service, id } = &self.artifact;
        if self.note.as_ref().is_some_and(|note| note.len() > MAX_NOTE_BYTES || *note != shown(note)) {
            return Err(usage(format!("the note is longer than {MAX_NOTE_BYTES} bytes, or not plain text")));
        }
        let settings = self.server.settings(context)?;
        with(&settings, async |registry| registry.pin(service, id, self.note.as_deref(), &caller()).await)?;
        let pinned = serde_json::json!({ "service": service, "id": id, "pinned": true });
        context.output.result(&pinned, || format!("{service}/{id} stays"))?;
        Ok(Exit::Done)
    }
}

impl UnpinArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let ArtifactArgs { service, id } = &self.artifact;
        let settings = self.server.settings(context)?;
        let was_pinned = with(&settings, async |registry| registry.unpin(service, id, &caller()).await)?;
        let pinned = serde_json::json!({ "service": service, "id": id, "pinned": false });
        context.output.result(&pinned, || {
            if was_pinned {
                format!("{service}/{id} is pinned no more")
            } else {
                format!("{service}/{id} was not pinned")
            }
        })?;
        Ok(Exit::Done)
    }
}

impl PinsArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let settings = self.server.settings(context)?;
        let pins = with(&settings, async |registry| registry.store.pins().await)?;
        let rows: Vec<_> = pins
            .into_iter()
            .map(|pin| Row { service: pin.service, id: pin.id, note: pin.note, at: pin.at, by: pin.by })
            .collect();
        context.output.result(&rows, || table(&rows))?;
        Ok(Exit::Done)
    }
}

fn caller() -> Caller {
    Caller { subject: SUBJECT.to_owned(), at: clock::now() }
}

/// Does something with the registry, and closes it.
fn with<T>(settings: &Settings, deed: impl AsyncFnOnce(&Registry) -> Result<T>) -> Result<T> {
    wait(async {
        let registry = server::open(settings).await?;
        let done = deed(&registry).await;
        registry.store.close().await;
        done
    })
}

fn table(rows: &[Row]) -> String {
    let heading = ["SERVICE", "ID", "SINCE", "BY", "NOTE"].map(str::to_owned).to_vec();
    let cells = rows.iter().map(|row| {
        let day = row.at.strftime("%Y-%m-%d").to_string();
        let note = shown(row.note.as_deref().unwrap_or_default()).into_owned();
        vec![row.service.clone(), row.id.clone(), day, row.by.clone(), note]
    });
    output::table(&std::iter::once(heading).chain(cells).collect::<Vec<_>>())
}

fn describe(pruned: &Pruned) -> String {
    let (goes, went) = if pruned.dry_run { ("would go", "would be removed") } else { ("gone", "were removed") };
    let mut lines: Vec<_> =
        pruned.removed.iter().map(|removed| format!("{goes}: {}/{}", removed.service, removed.id)).collect();
    lines.extend(pruned.in_use.iter().map(|kept| format!("in use: {}/{}", kept.service, kept.id)));
    lines.push(format!(
        "{} of {} artifacts and {} blobs ({}) {went}",
        pruned.removed.len(),
        pruned.artifacts,
        pruned.blobs,
        output::bytes(pruned.bytes)
    ));
    lines.join("\n")
}
