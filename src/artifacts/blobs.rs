//! Blobs as those who push see them: whether one can be counted on, and whether all of a record's are there.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::Registry;
use crate::model::artifact::{Artifact, Blob};
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};
use crate::store::Standing;

/// How many blobs of a record are looked for at once: a bucket takes its time for each.
const AT_ONCE: usize = 16;
/// How many condemned blobs are removed between two questions for more.
const TOGETHER: u32 = 500;

impl Registry {
    /// Whether a blob is there and stays, so that nobody has to send it.
    pub async fn has(&self, sha256: &Digest, at: Timestamp) -> Result<bool> {
        // This question comes first: what is condemned may be gone the moment after it was seen.
        let standing = self.store.standing(sha256).await?;
        if standing == Standing::Condemned || self.blobs.size(sha256).await?.is_none() {
            return Ok(false);
        }
        match standing {
            Standing::Named => Ok(true),
            // It counts as new from now on, or somebody has condemned it meanwhile.
            _ => self.store.count_on(sha256, at).await,
        }
    }

    /// Refuses to take in what is being removed.
    pub async fn expect(&self, sha256: &Digest) -> Result<()> {
        if self.store.standing(sha256).await? == Standing::Condemned {
            return Err(Failure::new(Code::Busy, "this very file is being removed, for nobody needed it")
                .hint("send it again in a moment"));
        }
        Ok(())
    }

    /// Whether everything is there that a record names.
    pub(super) async fn find_blobs(&self, artifact: &Artifact) -> Result<()> {
        let blobs = artifact.blobs();
        let digests: Vec<_> = blobs.values().map(|blob| blob.sha256).collect();
        // Here too this question comes first.
        let condemned = self.store.condemned_among(&digests).await?;
        let looks = blobs.into_iter().map(|(name, blob)| {
            let is_condemned = condemned.contains(&blob.sha256);
            async move {
                let size = if is_condemned { None } else { self.blobs.size(&blob.sha256).await? };
                check(name, blob, size)
            }
        });
        // In the order of the record, so that the same push always fails at the same file.
        stream::iter(looks.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect::<()>().await
    }

    /// Removes what is condemned, by whomever, and gives how many there were.
    pub async fn expunge(&self) -> Result<u64> {
        let (mut removed, mut after) = (0, String::new());
        loop {
            let condemned = self.store.condemned(&after, TOGETHER).await?;
            let Some(last) = condemned.last() else { return Ok(removed) };
            after = last.to_string();
            for sha256 in &condemned {
                removed += u64::from(self.store.expunge(sha256, self.blobs.remove(sha256)).await?);
            }
        }
    }
}

/// Whether a blob is there, and as large as a record says.
fn check(name: String, Blob { sha256, size_bytes }: Blob, size: Option<u64>) -> Result<()> {
    match size {
        Some(size) if size == size_bytes => Ok(()),
        Some(_) => {
            let message = format!("`{name}` has another size than the record says");
            Err(Failure::new(Code::SizeMismatch, message).subject(name))
        }
        None => Err(Failure::new(Code::BlobMissing, format!("`{name}` ({sha256}) was not uploaded"))
            .subject(name)
            .hint("upload every file before the record that names it")),
    }
}
