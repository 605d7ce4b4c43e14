//! Whether the database, the blobs and the audit log still agree with each other.
//!
//! [`Registry::fsck`] reads everything again and changes nothing.

use serde::Serialize;

use super::{Registry, read};
use crate::model::Code;
use crate::model::artifact::Blob;
use crate::model::failure::Result;
use crate::store::Filter;

/// How many rows are looked at together. A record may be large.
const TOGETHER: u32 = 50;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Condition {
    /// How many artifacts there are.
    pub artifacts: u64,
    /// How many blobs they name.
    pub blobs: u64,
    /// How many changes the audit log has.
    pub changes: u64,
    /// How many blobs are there that no artifact names. `consign-server prune` removes them in time.
    pub unreferenced: u64,
    /// How many bytes these have.
    pub unreferenced_bytes: u64,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// What it is about.
    pub about: String,
    /// What is wrong with it.
    pub what: String,
}

impl Registry {
    /// Looks at everything once.
    pub async fn fsck(&self) -> Result<Condition> {
        let mut condition = Condition { changes: self.store.audit_head().await?.size(), ..Condition::default() };
        if let Some(damage) = self.store.audit_damage().await? {
            condition.wrong(format!("audit log, line {}", damage.number), damage.what);
        }
        self.look_at_artifacts(&mut condition).await?;
        self.look_at_blobs(&mut condition).await?;
        self.look_for_others(&mut condition).await?;
        Ok(condition)
    }

    async fn look_at_artifacts(&self, condition: &mut Condition) -> Result<()> {
        let mut filter = Filter { most: TOGETHER, ..Filter::default() };
        loop {
            let rows = self.store.artifacts(&filter).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            filter.before = Some(last.sequence);
            for row in &rows {
                condition.artifacts += 1;
                let about = format!("artifact {}", row.sequence);
                match read(row) {
                    Ok(artifact) if artifact.digest() != row.sha256 => {
                        condition.wrong(about, "its record is not the one that was pushed".to_owned());
                    }
                    Ok(artifact) => {
                        let leaf = self.store.audit_leaves(row.sequence, 1).await?.pop().unwrap_or_default();
                        let named = format!("\"object\":\"{}/{}\"", artifact.service, artifact.id);
                        if !leaf.contains(&named) || !leaf.contains(&row.sha256.to_string()) {
                            condition.wrong(about, "the audit log says something else of it".to_owned());
                        }
                    }
                    Err(failure) => condition.wrong(about, failure.chain().join(": ")),
                }
            }
        }
    }

    async fn look_at_blobs(&self, condition: &mut Condition) -> Result<()> {
        let mut after = String::new();
        loop {
            let blobs = self.store.blobs_after(&after, TOGETHER).await?;
            let Some(last) = blobs.last() else { return Ok(()) };
            after = last.sha256.to_string();
            for blob in blobs {
                condition.blobs += 1;
                if let Some(what) = self.wrong_with(blob).await? {
                    condition.wrong(format!("blob {}", blob.sha256), what);
                }
            }
        }
    }

    async fn wrong_with(&self, blob: Blob) -> Result<Option<String>> {
        let Some(mut reading) = self.blobs.read(blob).await? else {
            // It may have been removed since it was asked for, together with all that named it.
            let is_named = self.store.unnamed(&[blob.sha256]).await?.is_empty();
            return Ok(is_named.then(|| "it is missing".to_owned()));
        };
        loop {
            match reading.piece().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(failure) if failure.code() == Code::StoreDamaged => {
                    return Ok(Some("its bytes are not those of its digest".to_owned()));
                }
                Err(failure) => return Ok(Some(format!("it cannot be read: {}", failure.chain().join(": ")))),
            }
        }
    }

    async fn look_for_others(&self, condition: &mut Condition) -> Result<()> {
        let mut after = None;
        loop {
            let (found, next) = self.blobs.page(after.as_deref()).await?;
            let digests: Vec<_> = found.iter().map(|found| found.blob.sha256).collect();
            let unnamed = self.store.unnamed(&digests).await?;
            for found in found.iter().filter(|found| unnamed.contains(&found.blob.sha256)) {
                condition.unreferenced += 1;
                condition.unreferenced_bytes += found.blob.size_bytes;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

impl Condition {
    fn wrong(&mut self, about: String, what: String) {
        self.problems.push(Problem { about, what });
    }
}
