//! Verdicts and what they were made by: a verdict counts as long as the server believes what it believed
//! when it was made.
//!
//! [`Registry::current`] gives an artifact with a verdict of now: where the root, or the keys, were replaced
//! since, its bundle goes before the verifier again and the new verdict takes the place of the old one, with
//! a line in the audit log. [`Registry::marked`] only says which verdicts do not count any more.

use jiff::Timestamp;

use super::{Registry, Verdict, read_pushed};
use crate::model::failure::Result;
use crate::model::{Digest, Exit, Failure};
use crate::store::{Change, NewVerdict, Row};

/// Who judges, in the audit log.
const SUBJECT: &str = "server";

impl Registry {
    /// An artifact with a verdict by what is believed now.
    ///
    /// Where none can be made at the moment, it says that there is none.
    pub async fn current(&self, row: Row, at: Timestamp) -> Result<Row> {
        let Ok(policy) = self.believed().await else { return Ok(outdated(row)) };
        if counts(&row, policy) {
            return Ok(row);
        }
        // What was begun comes to its end, even if whoever asked does not wait for it.
        let (registry, old) = (self.clone(), row.clone());
        let judging = tokio::spawn(async move { registry.judge_again(old, at).await });
        match judging.await {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(failure)) => {
                tracing::warn!(sequence = row.sequence, cause = failure.chain().join(": "), "not judged again");
                Ok(outdated(row))
            }
            Err(_) => Ok(outdated(row)),
        }
    }

    /// Artifacts whose verdicts say where they do not count any more.
    pub async fn marked(&self, rows: Vec<Row>) -> Vec<Row> {
        let policy = self.believed().await.ok();
        let mark = |row: Row| if policy.is_some_and(|policy| counts(&row, policy)) { row } else { outdated(row) };
        rows.into_iter().map(mark).collect()
    }

    async fn judge_again(&self, row: Row, at: Timestamp) -> Result<Row> {
        let _one = self.again.lock().await;
        let artifact = read_pushed(&row.record, row.sha256)?;
        let kept = self.find(&artifact.service, &artifact.id).await?.unwrap_or(row);
        let policy = self.believed().await?;
        if counts(&kept, policy) {
            return Ok(kept);
        }
        let (verdict, judged_by, summary, why) = match self.judge(&artifact, at).await {
            Ok(judged) => (judged.verdict, judged.policy, judged.summary, String::new()),
            Err(failure) if failure.code().exit() == Exit::Verification => {
                (Verdict::Failed, policy, None, format!(": {}", failure.code()))
            }
            Err(failure) => return Err(failure),
        };
        let change = Change {
            at,
            subject: SUBJECT.to_owned(),
            verb: "artifact.judge",
            object: format!("{}/{}", artifact.service, artifact.id),
            sha256: Some(kept.sha256),
            note: Some(format!("bundle {verdict}{why}")),
        };
        let new = NewVerdict { before: kept.policy, policy: judged_by, verdict: verdict.as_str(), summary };
        self.store.judge_again(kept.sequence, &new, &change).await?;
        let now = self.find(&artifact.service, &artifact.id).await?.unwrap_or(kept);
        Ok(if counts(&now, policy) { now } else { outdated(now) })
    }

    /// What verdicts have to be made by to count now.
    pub async fn believed(&self) -> Result<Digest> {
        let belief = self.belief.clone();
        tokio::task::spawn_blocking(move || belief.sha256()).await.map_err(|error| {
            Failure::new(crate::model::Code::StoreUnavailable, "the server is shutting down").because(error)
        })?
    }
}

/// Whether a verdict was made by what is believed now. That there is no bundle is true under any belief.
fn counts(row: &Row, policy: Digest) -> bool {
    row.policy == policy || row.verdict == Verdict::NoBundle.as_str()
}

fn outdated(row: Row) -> Row {
    if row.verdict == Verdict::NoBundle.as_str() {
        return row;
    }
    Row { verdict: Verdict::Outdated.as_str().to_owned(), summary: None, ..row }
}
