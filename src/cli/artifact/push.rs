//! `artifact push`, `successful` and `failure`: what the registry is told.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde::Serialize;

use super::super::Context;
use super::super::registry::RegistryArgs;
use super::{FileArgs, add};
use crate::archive::{Options, Writer};
use crate::model::artifact::{BundleFiles, Payload};
use crate::model::failure::Result;
use crate::model::index::ArchiveFormat;
use crate::model::registry::{Outcome, Report, Shown};
use crate::model::source::EARLIEST_SECONDS;
use crate::model::text::shown;
use crate::model::{Code, Digest, Exit, Failure, FileName};
use crate::world::{files, scratch};

/// The arguments of `artifact push`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact push --server https://registry.example.com
  consign artifact push --bundle dist/packages/v1.2.3
  consign artifact push --payload deploy/ --idempotency-key $CI_JOB_ID")]
pub(super) struct PushArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// The directory of the bundle; it is added to the record where it is not in it
    #[arg(long, value_name = "DIR")]
    bundle: Option<Utf8PathBuf>,
    /// A directory with one directory of manifests per environment; it is packed and added to the record
    #[arg(long, value_name = "DIR")]
    payload: Option<Utf8PathBuf>,
    /// A name for this push: used again for another record it is refused
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

/// The arguments of `artifact successful` and `artifact failure`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign artifact successful
  consign artifact failure --note 'the tests failed'

A build never fails because of this: what could not be told is a warning.")]
pub(super) struct OutcomeArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// What else there is to say
    #[arg(long, value_name = "TEXT", alias = "error-message")]
    note: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Serialize)]
struct Done {
    is_new: bool,
    files_sent: usize,
    #[serde(flatten)]
    shown: Shown,
}

impl PushArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let before = self.file.read(context)?;
        let mut artifact = before.clone();
        let scratch = scratch::Directory::new("consign-push-")?;
        let mut places = BTreeMap::new();
        if let Some(directory) = &self.bundle {
            let directory = context.path(directory);
            let found = add::digests(&directory)?;
            places.extend(found.keys().map(|name| (name.to_string(), directory.join(name.as_str()))));
            match &artifact.bundle {
                None => artifact.bundle = Some(BundleFiles { index_url: None, files: found }),
                Some(bundle) if bundle.files == found => {}
                Some(_) => {
                    return Err(Failure::new(
                        Code::DocumentsDisagree,
                        format!("`{directory}` is not the bundle of the record"),
                    )
                    .subject(directory.as_str())
                    .hint("add it again with `consign artifact add bundle`, if it is the right one"));
                }
            }
        }
        if let Some(directory) = &self.payload {
            let packed = pack(&context.path(directory))?;
            let place = scratch.path().join(Payload::FILE);
            files::write(&place, &packed.bytes)?;
            places.insert(Payload::FILE.to_owned(), place);
            artifact.payload = Some(packed.payload);
        }
        artifact.check()?;
        if artifact != before {
            // What was pushed is in the file, so that pushing the file again is the same push.
            files::write(&context.path(&self.file.file), &artifact.render())?;
        }
        let server = self.registry.server(context)?;
        let pushed = server.push(&artifact, &places, self.idempotency_key.as_deref())?;
        let done = Done { is_new: pushed.is_new, files_sent: pushed.sent, shown: pushed.shown };
        context.output.result(&done, || {
            let word = if done.is_new { "pushed" } else { "was there already" };
            let Shown { artifact, verdict, .. } = &done.shown;
            format!(
                "{}/{} {word}: {} files sent, verification {}",
                artifact.service,
                artifact.id,
                done.files_sent,
                shown(verdict)
            )
        })?;
        Ok(Exit::Done)
    }
}

impl OutcomeArgs {
    pub(super) fn successful(&self, context: &Context) -> Result<Exit> {
        self.report(context, Outcome::Successful)
    }

    pub(super) fn failure(&self, context: &Context) -> Result<Exit> {
        self.report(context, Outcome::Failed)
    }

    fn report(&self, context: &Context, outcome: Outcome) -> Result<Exit> {
        let artifact = self.file.read(context)?;
        let report = Report { outcome, note: self.note.clone() };
        let told =
            self.registry.server(context).and_then(|server| server.report(&artifact.service, &artifact.id, &report));
        match told {
            Ok(shown) => {
                let described = || format!("{}/{}: {}", artifact.service, artifact.id, outcome.as_str());
                context.output.result(&shown, described)?;
            }
            Err(failure) => context.warn(format!("the registry was not told: {}", failure.chain().join(": "))),
        }
        Ok(Exit::Done)
    }
}

/// A payload and its archive.
struct Packed {
    payload: Payload,
    bytes: Vec<u8>,
}

/// Packs a directory of environments' directories. The same files give the same bytes.
fn pack(directory: &Utf8Path) -> Result<Packed> {
    let refuse = |what: String| {
        Failure::new(Code::IncludeRefused, what).subject(directory.as_str()).hint(
            "the payload is a directory with one directory of manifests per environment, such as `dev/` and `prod/`",
        )
    };
    if !directory.is_dir() {
        return Err(refuse(format!("there is no directory `{directory}`")));
    }
    let mut found = BTreeMap::new();
    gather(directory, "", &mut found)?;
    let mut environments = BTreeSet::new();
    for path in found.keys() {
        let (environment, _) =
            path.split_once('/').ok_or_else(|| refuse(format!("`{path}` lies in no environment's directory")))?;
        environments.insert(
            environment
                .parse::<FileName>()
                .map_err(|error| refuse(format!("`{environment}` cannot be an environment")).because(error))?,
        );
    }
    if environments.is_empty() {
        return Err(refuse(format!("`{directory}` has no manifests")));
    }
    let date = jiff::Timestamp::from_second(EARLIEST_SECONDS).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let stem: FileName =
        Payload::STEM.parse().map_err(|error| refuse("the payload has no name".to_owned()).because(error))?;
    let mut writer = Writer::new(&stem, Options { format: ArchiveFormat::TarGz, level: None, date });
    for (path, content) in &found {
        writer.append(path, false, content.len() as u64, &mut content.as_slice())?;
    }
    let packed = writer.finish()?;
    let payload = Payload {
        sha256: Digest::of(&packed.bytes),
        size_bytes: packed.bytes.len() as u64,
        unpacked_size_bytes: packed.unpacked_size_bytes,
        environments: environments.into_iter().collect(),
    };
    Ok(Packed { payload, bytes: packed.bytes })
}

/// The largest manifest, in bytes.
const MAX_MANIFEST_BYTES: usize = 16 << 20;

fn gather(directory: &Utf8Path, below: &str, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for (name, is_file) in files::list(directory)? {
        let path = directory.join(&name);
        let inside = if below.is_empty() { name } else { format!("{below}/{name}") };
        if is_file {
            found.insert(inside, files::read_bounded(&path, MAX_MANIFEST_BYTES)?);
        } else if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            gather(&path, &inside, found)?;
        } else {
            return Err(Failure::new(Code::FileIrregular, format!("`{path}` is neither a file nor a directory"))
                .subject(path.as_str())
                .hint("links are not followed: put the file itself there"));
        }
    }
    Ok(())
}
