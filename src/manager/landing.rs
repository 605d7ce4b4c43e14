//! From a release to what a deployer writes.

use crate::archive::Inspector;
use crate::artifacts::Registry;
use crate::manager::deployer::git::{Change, Landing, PayloadFile, Place};
use crate::model::artifact::{Artifact, Blob, Payload, Person, export};
use crate::model::delivery::Order;
use crate::model::failure::Result;
use crate::model::index::ArchiveFormat;
use crate::model::release_commit::ReleaseCommit;
use crate::model::{Code, Failure, FileName};

/// What a deployer is to write for a release. `tried_before` says that it may have done so already.
pub(super) async fn landing(
    registry: &Registry,
    order: &Order,
    artifact: &Artifact,
    tried_before: bool,
) -> Result<Landing> {
    let nobody = || Person { name: String::new(), email: String::new() };
    let commit = ReleaseCommit {
        environment: order.environment.to_string(),
        service: order.service.to_string(),
        artifact_id: order.artifact.to_string(),
        released_by: Person { name: order.actor.name.clone(), email: order.actor.email.clone() },
        created_by: artifact.source.author.clone().unwrap_or_else(nobody),
        intent: order.intent.clone(),
    };
    Ok(Landing {
        release_id: order.id.clone(),
        tried_before,
        change: Change::Release {
            place: Place {
                environment: order.environment.to_string(),
                namespace: order.namespace.to_string(),
                service: order.service.to_string(),
            },
            artifact_json: export::older(artifact),
            files: manifests(registry, artifact, &order.environment).await?,
        },
        message: commit.message(),
        author: Some(Person { name: order.actor.name.clone(), email: order.actor.email.clone() })
            .filter(|person| !person.email.is_empty()),
    })
}

/// The manifests of one environment. The archive was opened when it was pushed, and is as it was then: a blob
/// that is not the one of its digest is not given out.
async fn manifests(registry: &Registry, artifact: &Artifact, environment: &FileName) -> Result<Vec<PayloadFile>> {
    let Some(payload) = artifact.payload.clone() else { return Err(no_manifests(artifact, environment)) };
    let blob = Blob { sha256: payload.sha256, size_bytes: payload.size_bytes };
    let bytes = registry.blobs.bytes(blob).await?;
    let prefix = format!("{environment}/");
    let unpacking = tokio::task::spawn_blocking(move || unpack(&payload, &bytes, &prefix));
    let files = unpacking.await.map_err(|error| {
        Failure::new(Code::StoreUnavailable, "unpacking a payload was interrupted").because(error)
    })??;
    if files.is_empty() { Err(no_manifests(artifact, environment)) } else { Ok(files) }
}

fn unpack(payload: &Payload, bytes: &[u8], prefix: &str) -> Result<Vec<PayloadFile>> {
    let damaged = || Failure::new(Code::StoreDamaged, "a payload that is kept cannot be read");
    let mut inspector = Inspector::default();
    let contents = inspector
        .inspect(ArchiveFormat::TarGz, bytes, Payload::STEM, payload.unpacked_size_bytes)
        .map_err(|problem| damaged().because(problem))?;
    let mut files = Vec::new();
    for entry in &contents.entries {
        let Some(path) = entry.path.strip_prefix(prefix) else { continue };
        let bytes = contents.read(&entry.path).ok_or_else(damaged)?;
        files.push(PayloadFile { path: path.to_owned(), bytes: bytes.to_vec(), is_executable: entry.executable });
    }
    Ok(files)
}

/// The failure of an artifact that cannot run in an environment.
pub(super) fn no_manifests(artifact: &Artifact, environment: &FileName) -> Failure {
    Failure::new(
        Code::ManifestsMissing,
        format!("the artifact `{}` has no manifests for the environment `{environment}`", artifact.id),
    )
    .subject(artifact.id.as_str())
    .hint("push an artifact whose payload has a directory of that name: `consign artifact push --payload DIR`")
}
