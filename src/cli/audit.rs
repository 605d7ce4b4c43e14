//! `audit`: read the registry's log of changes, and check that it only ever grew.
//!
//! The last checkpoint that was seen is remembered, with the key that signed it. A log that lost a line,
//! changed one, or shows this client something else than before does not lead from that checkpoint to the
//! new one.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::catalog_source::state_directory;
use super::pubkeys::public_of_file;
use super::registry::RegistryArgs;
use super::{Context, output};
use crate::client::Server;
use crate::model::audit::Entry;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Digest, Exit, Failure, pretty};
use crate::trust::key::{MAX_PEM_BYTES, PublicKey};
use crate::trust::tile::{Tile, WIDTH};
use crate::trust::transparency::{Checkpoint, leaf_hash, verify_consistency};
use crate::trust::tree::Frontier;
use crate::world::files;

/// How many lines are asked for at once.
const PAGE: u32 = 1000;
/// The document type of what is remembered.
const TYPE: &str = "consign.audit-seen/v1";
/// The largest file with what is remembered, in bytes.
const MAX_SEEN_BYTES: usize = 64 << 10;

/// The arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List changes, the oldest first
    List(ListArgs),
    /// Check the whole log against its signed checkpoint, and against the last one that was seen here
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign audit list
  consign audit list --from 1000 --limit 50 --format json
  consign audit list --verb artifact.push --object web/ --since 2026-01-01T00:00:00Z")]
struct ListArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The number of the first change
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Of exactly this subject, such as `token:tok-0123456789ab`
    #[arg(long, value_name = "WHO")]
    subject: Option<String>,
    /// Of exactly this kind, such as `artifact.push`
    #[arg(long, value_name = "WHAT")]
    verb: Option<String>,
    /// Whose object begins like this, such as `web/`
    #[arg(long, value_name = "TEXT")]
    object: Option<String>,
    /// At this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign audit verify
  consign audit verify --server-key server.pub   the key comes from whoever runs the server

Without `--server-key` the key that the server shows first is remembered, and has to stay.")]
struct VerifyArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The public half of the server's key
    #[arg(long, value_name = "FILE")]
    server_key: Option<Utf8PathBuf>,
}

/// What is remembered of a log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    #[serde(rename = "type")]
    kind: String,
    server: String,
    /// The key of the server, in PEM.
    key: String,
    /// The last checkpoint, as it was signed.
    checkpoint: String,
}

/// What came of verifying.
#[derive(Serialize)]
struct Verified {
    server: String,
    key_id: String,
    size: u64,
    root: Digest,
    /// The size that was seen before, where any was.
    grown_from: Option<u64>,
}

impl AuditArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            Verb::List(verb) => verb.run(context),
            Verb::Verify(verb) => verb.run(context),
        }
    }
}

impl ListArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let server = self.registry.server(context)?;
        let filtered = self.subject.is_some() || self.verb.is_some() || self.object.is_some();
        let filtered = filtered || self.since.is_some() || self.until.is_some();
        let (limit, mut from) = (self.limit as usize, self.from);
        let mut entries = Vec::new();
        // The server gives whole pages of lines; what is asked for is chosen here.
        while entries.len() < limit {
            let leaves = server.leaves(from, if filtered { PAGE } else { self.limit })?.leaves;
            from += leaves.len() as u64;
            let is_last = leaves.is_empty() || !filtered;
            for leaf in &leaves {
                entries.extend(Some(entry(leaf)?).filter(|entry| self.wants(entry)));
            }
            if is_last {
                break;
            }
        }
        entries.truncate(limit);
        context.output.result(&entries, || table(&entries))?;
        Ok(Exit::Done)
    }
}

impl ListArgs {
    fn wants(&self, entry: &Entry) -> bool {
        self.subject.as_ref().is_none_or(|subject| entry.subject == *subject)
            && self.verb.as_ref().is_none_or(|verb| entry.verb == *verb)
            && self.object.as_ref().is_none_or(|start| entry.object.starts_with(start.as_str()))
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
    }
}

impl VerifyArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let server = self.registry.server(context)?;
        let name = Digest::of(server.address().as_bytes());
        let place = state_directory(context)?.join("audit").join(format!("{name}.json"));
        let before = seen(&place)?;
        let key = self.key(context, &server, before.as_ref())?;
        let note = server.checkpoint()?;
        let checkpoint = checked(&note, &key)?;
        let grown_from = match &before {
            Some(seen) => Some(grown(&server, &checked(&seen.checkpoint, &key)?, &checkpoint)?),
            None => None,
        };
        replay(&server, &checkpoint)?;
        // Only what has passed everything is remembered.
        let seen =
            Seen { kind: TYPE.to_owned(), server: server.address().to_owned(), key: key.to_pem(), checkpoint: note };
        files::write(&place, &pretty(&seen))?;
        let verified = Verified {
            server: server.address().to_owned(),
            key_id: key.id().to_string(),
            size: checkpoint.size,
            root: checkpoint.root,
            grown_from,
        };
        context.output.result(&verified, || {
            let grown = match grown_from {
                Some(size) => format!("it has grown out of the {size} that were seen before"),
                None => format!("it was not seen before; key {} is remembered", verified.key_id),
            };
            format!("{} changes are those of the signed checkpoint; {grown}", verified.size)
        })?;
        Ok(Exit::Done)
    }

    /// The key that has to have signed: the one that is named, else the one of before, else the one shown.
    fn key(&self, context: &Context, server: &Server, before: Option<&Seen>) -> Result<PublicKey> {
        let known = before.map(|seen| public(seen.key.as_bytes())).transpose()?;
        match (&self.server_key, known) {
            (Some(path), known) => {
                let named = public_of_file(&context.path(path))?;
                if known.is_some_and(|known| known.id() != named.id()) {
                    context.warn("the key that is named is not the one of before");
                }
                Ok(named)
            }
            (None, Some(known)) => Ok(known),
            (None, None) => public(&server.key()?),
        }
    }
}

/// Whether the log grew out of the one that was seen before, whose size is given back.
fn grown(server: &Server, old: &Checkpoint, new: &Checkpoint) -> Result<u64> {
    let wrong = |why: String| {
        Failure::new(Code::StoreDamaged, format!("the log is not the one that was seen before: {why}"))
            .hint("somebody took lines out of it, changed them, or shows you another log: keep what you have, and ask who runs the server")
    };
    if old.origin != new.origin {
        return Err(wrong(format!("it is called {:?}, and was called {:?}", new.origin, old.origin)));
    }
    if new.size < old.size {
        return Err(wrong(format!("it has {} lines, and had {}", new.size, old.size)));
    }
    if old.size > 0 {
        let proof = server.consistency(old.size, new.size)?.hashes;
        verify_consistency((old.size, new.size), &proof, (&old.root, &new.root))
            .map_err(|error| wrong(format!("its first {} lines are others", old.size)).because(error))?;
    }
    Ok(old.size)
}

/// Reads every line and compares the tree over them with the checkpoint.
fn replay(server: &Server, checkpoint: &Checkpoint) -> Result<()> {
    let mut log = Frontier::default();
    while log.size() < checkpoint.size {
        let page = server.leaves(log.size(), PAGE)?;
        if page.leaves.is_empty() {
            return Err(wrong(log.size(), "is missing"));
        }
        for leaf in page.leaves {
            if log.size() == checkpoint.size {
                break;
            }
            match serde_json::from_str::<Entry>(&leaf) {
                Ok(entry) if entry.number == log.size() => {}
                Ok(entry) if entry.number > log.size() => {
                    return Err(wrong(log.size(), "is missing, or another one stands there"));
                }
                Ok(_) => return Err(wrong(log.size(), "is not the one of its number")),
                Err(error) => return Err(wrong(log.size(), "cannot be read").because(error)),
            }
            log.append(leaf_hash(leaf.as_bytes()));
        }
    }
    if log.root() == checkpoint.root { Ok(()) } else { Err(first_changed(server, checkpoint)?) }
}

/// Which line is not the one that was written, where every one is there and the tree is another one: the
/// tiles have the hashes that the checkpoint was signed over.
fn first_changed(server: &Server, checkpoint: &Checkpoint) -> Result<Failure> {
    let mut signed = Frontier::default();
    let mut changed = None;
    for number in 0..checkpoint.size.div_ceil(u64::from(WIDTH)) {
        let tile = Tile::of_leaves(number, checkpoint.size);
        let first = number * u64::from(WIDTH);
        let (hashes, leaves) = (server.tile(&tile)?, server.leaves(first, tile.width)?.leaves);
        for (hash, (line, leaf)) in hashes.iter().zip((first..).zip(&leaves)) {
            if changed.is_none() && *hash != leaf_hash(leaf.as_bytes()) {
                changed = Some(line);
            }
            signed.append(*hash);
        }
    }
    Ok(match changed {
        Some(line) if signed.root() == checkpoint.root => wrong(line, "was changed after it was written"),
        // Whoever changed the hashes too has hidden which line it is.
        _ => Failure::new(
            Code::StoreDamaged,
            format!("the {} lines of the log are not those of its checkpoint", checkpoint.size),
        )
        .hint("its hashes were changed too; `consign-server fsck` and a backup say where it begins to differ"),
    })
}

/// The failure of a line.
fn wrong(line: u64, what: &str) -> Failure {
    Failure::new(Code::StoreDamaged, format!("line {line} of the log {what}"))
        .subject(line.to_string())
        .hint("`consign-server fsck` beside the server says more, and a backup has the line")
}

fn checked(note: &str, key: &PublicKey) -> Result<Checkpoint> {
    let read = Checkpoint::parse(note).and_then(|checkpoint| checkpoint.verify(key).map(|()| checkpoint));
    read.map_err(|why| {
        Failure::new(Code::SignatureInvalid, "the checkpoint of the log is not signed by the server's key")
            .because(why)
            .hint("if the server has a new key, name it with `--server-key FILE`")
    })
}

fn seen(place: &camino::Utf8Path) -> Result<Option<Seen>> {
    if place.symlink_metadata().is_err() {
        return Ok(None);
    }
    let read = serde_json::from_slice(&files::read_bounded(place, MAX_SEEN_BYTES)?);
    read.map(Some).map_err(|error| {
        Failure::new(Code::ConfigInvalid, format!("what was remembered of the log cannot be read: `{place}`"))
            .subject(place.as_str())
            .because(error)
            .hint("removing it makes the next run trust what it is shown first")
    })
}

fn public(pem: &[u8]) -> Result<PublicKey> {
    let bounded = &pem[..pem.len().min(MAX_PEM_BYTES)];
    PublicKey::from_pem(bounded).map_err(|error| {
        Failure::new(Code::KeyInvalid, "the server's key cannot be read")
            .because(error)
            .hint("name it with `--server-key FILE`")
    })
}

fn entry(leaf: &str) -> Result<Entry> {
    serde_json::from_str(leaf).map_err(|error| {
        Failure::new(Code::StoreDamaged, "a line of the log cannot be read")
            .because(error)
            .hint("a newer server may write lines that this client does not know: upgrade it")
    })
}

fn table(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no changes".to_owned();
    }
    let mut rows = vec![["NUMBER", "TIME", "WHO", "WHAT", "TO WHAT", "NOTE"].map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| {
        vec![
            entry.number.to_string(),
            entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            shown(&entry.subject).into_owned(),
            shown(&entry.verb).into_owned(),
            shown(&entry.object).into_owned(),
            entry.note.as_deref().map(|note| shown(note).into_owned()).unwrap_or_default(),
        ]
    }));
    output::table(&rows)
}
