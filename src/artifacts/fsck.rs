//! Whether the database, the blobs and the audit log still agree with each other.
//!
//! [`Registry::fsck`] reads everything again and changes nothing.

use serde::Serialize;

use super::{Registry, read};
use crate::model::artifact::Blob;
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::store::Filter;

/// How many rows are looked at together. A record may be large.
const TOGETHER: u32 = 50;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Condition {
    /// How many artifacts there are.
    pub artifacts: u64,
    /// How many blobs they name.
    pub blobs: u64,
    /// How many changes the audit log has.
    pub changes: u64,
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
        let mut condition = Condition { artifacts: 0, blobs: 0, changes: 0, problems: Vec::new() };
        condition.changes = self.store.audit_head().await?.size();
        if let Some(damage) = self.store.audit_damage().await? {
            condition.wrong(format!("audit log, line {}", damage.number), damage.what);
        }
        self.look_at_artifacts(&mut condition).await?;
        self.look_at_blobs(&mut condition).await?;
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
                    condition.wrong(format!("blob {}", blob.sha256), what.to_owned());
                }
            }
        }
    }

    async fn wrong_with(&self, blob: Blob) -> Result<Option<&'static str>> {
        use tokio::io::AsyncReadExt as _;
        let Some(mut file) = self.blobs.read(&blob.sha256).await? else { return Ok(Some("it is missing")) };
        let (mut hasher, mut size, mut piece) = (Hasher::default(), 0, vec![0; 256 << 10]);
        loop {
            match file.read(&mut piece).await {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&piece[..read]);
                    size += read as u64;
                }
                Err(_) => return Ok(Some("it cannot be read")),
            }
        }
        let whole = size == blob.size_bytes && hasher.finish() == blob.sha256;
        Ok((!whole).then_some("its bytes are not those of its digest"))
    }
}

impl Condition {
    fn wrong(&mut self, about: String, what: String) {
        self.problems.push(Problem { about, what });
    }
}
