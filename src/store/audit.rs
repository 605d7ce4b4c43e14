//! The audit log's rows: leaves, the nodes over them that are final, and the one head.
//!
//! [`append`] is the first and the last thing that every change does: it takes the head's lock, so that
//! changes have one order in every replica, and writes the leaf in the change's own transaction.

use jiff::Timestamp;

use super::{Store, broken, damaged, digest, reading, signed, unsigned};
use crate::model::Digest;
use crate::model::audit::Entry;
use crate::model::failure::Result;
use crate::trust::transparency::leaf_hash;
use crate::trust::tree::{Frontier, Node, Range};

/// What is written down of a change.
#[derive(Clone, Debug)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub subject: String,
    /// What.
    pub verb: &'static str,
    /// To what.
    pub object: String,
    /// The digest of what it is now.
    pub sha256: Option<Digest>,
    /// What else there is to say.
    pub note: Option<String>,
}

impl Change {
    pub(super) fn entry(&self, number: u64) -> Entry {
        let Self { at, subject, verb, object, sha256, note } = self.clone();
        Entry { number, at, subject, verb: verb.to_owned(), object, sha256, note }
    }
}

/// The first thing that is wrong with the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which leaf, or how many there should be.
    pub number: u64,
    /// What is wrong.
    pub what: String,
}

pub(super) fn frontier(size: i64, roots: &str) -> Result<Frontier> {
    let roots: Vec<Digest> = roots.split_whitespace().map(digest).collect::<Result<_>>()?;
    Frontier::of(unsigned(size)?, roots).ok_or_else(|| damaged("the head of the audit log contradicts itself"))
}

pub(super) fn written(frontier: &Frontier) -> String {
    frontier.roots().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Takes the head's lock and gives the frontier.
macro_rules! lock_log {
    ($transaction:ident) => {{
        let (size, roots): (i64, String) =
            sqlx::query_as("UPDATE audit_head SET size = size WHERE one = 1 RETURNING size, roots")
                .fetch_one(&mut *$transaction)
                .await
                .map_err($crate::store::broken)?;
        $crate::store::audit::frontier(size, &roots)?
    }};
}

/// Writes a change down, behind the frontier that [`lock_log`] gave.
macro_rules! append {
    ($transaction:ident, $frontier:ident, $change:expr) => {{
        let leaf = $change.entry($frontier.size()).render();
        let number = $crate::store::signed($frontier.size());
        let made = $frontier.append($crate::trust::transparency::leaf_hash(leaf.as_bytes()));
        sqlx::query("INSERT INTO audit_leaf (number, leaf) VALUES ($1, $2)")
            .bind(number)
            .bind(leaf)
            .execute(&mut *$transaction)
            .await
            .map_err($crate::store::broken)?;
        for (node, hash) in made {
            sqlx::query("INSERT INTO audit_node (level, number, hash) VALUES ($1, $2, $3)")
                .bind(i64::from(node.level))
                .bind($crate::store::signed(node.number))
                .bind(hash.to_string())
                .execute(&mut *$transaction)
                .await
                .map_err($crate::store::broken)?;
        }
        sqlx::query("UPDATE audit_head SET size = $1, roots = $2 WHERE one = 1")
            .bind($crate::store::signed($frontier.size()))
            .bind($crate::store::audit::written(&$frontier))
            .execute(&mut *$transaction)
            .await
            .map_err($crate::store::broken)?;
        number
    }};
}
pub(super) use {append, lock_log};

impl Store {
    /// The log's frontier: its size and root hash follow from it.
    pub async fn audit_head(&self) -> Result<Frontier> {
        let (size, roots): (i64, String) = reading!(self, pool => {
            sqlx::query_as("SELECT size, roots FROM audit_head WHERE one = 1").fetch_one(pool).await
        })
        .map_err(broken)?;
        frontier(size, &roots)
    }

    /// The leaves from a number on, as they were written.
    pub async fn audit_leaves(&self, from: u64, most: u32) -> Result<Vec<String>> {
        let rows: Vec<(String,)> = reading!(self, pool => {
            sqlx::query_as("SELECT leaf FROM audit_leaf WHERE number >= $1 ORDER BY number LIMIT $2")
                .bind(signed(from))
                .bind(i64::from(most))
                .fetch_all(pool)
                .await
        })
        .map_err(broken)?;
        Ok(rows.into_iter().map(|(leaf,)| leaf).collect())
    }

    /// The hashes of a proof.
    pub async fn audit_proof(&self, proof: Vec<Range>) -> Result<Vec<Digest>> {
        let mut hashes = Vec::new();
        for range in proof {
            let mut parts = Vec::new();
            for node in range.nodes() {
                parts.push(self.audit_node(node).await?.ok_or_else(|| damaged("a node of the audit log is missing"))?);
            }
            hashes.push(Range::hash(&parts).ok_or_else(|| damaged("a proof of the audit log is empty"))?);
        }
        Ok(hashes)
    }

    /// The hashes of final nodes beside each other on a level, from a number on.
    pub async fn audit_nodes(&self, level: u32, from: u64, most: u32) -> Result<Vec<Digest>> {
        let rows: Vec<(String,)> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT hash FROM audit_node WHERE level = $1 AND number >= $2 AND number < $3 ORDER BY number",
            )
            .bind(i64::from(level))
            .bind(signed(from))
            .bind(signed(from.saturating_add(u64::from(most))))
            .fetch_all(pool)
            .await
        })
        .map_err(broken)?;
        rows.into_iter().map(|(hash,)| digest(&hash)).collect()
    }

    async fn audit_node(&self, node: Node) -> Result<Option<Digest>> {
        let row: Option<(String,)> = reading!(self, pool => {
            sqlx::query_as("SELECT hash FROM audit_node WHERE level = $1 AND number = $2")
                .bind(i64::from(node.level))
                .bind(signed(node.number))
                .fetch_optional(pool)
                .await
        })
        .map_err(broken)?;
        row.map(|(hash,)| digest(&hash)).transpose()
    }

    /// Reads the whole log again and gives the first leaf that is not what was written, if there is one.
    pub async fn audit_damage(&self) -> Result<Option<Damage>> {
        // What is appended meanwhile is not looked at.
        let head = self.audit_head().await?;
        let mut again = Frontier::default();
        while again.size() < head.size() {
            let number = again.size();
            let rows: Vec<(i64, String, Option<String>)> = reading!(self, pool => {
                sqlx::query_as(
                    "SELECT l.number, l.leaf, n.hash FROM audit_leaf l \
                     LEFT JOIN audit_node n ON n.level = 0 AND n.number = l.number \
                     WHERE l.number >= $1 AND l.number < $2 ORDER BY l.number LIMIT 1000",
                )
                .bind(signed(number))
                .bind(signed(head.size()))
                .fetch_all(pool)
                .await
            })
            .map_err(broken)?;
            if rows.is_empty() {
                return Ok(Some(Damage { number, what: "it is missing".to_owned() }));
            }
            for (found, leaf, hash) in rows {
                let number = again.size();
                let damage = |what: &str| Ok(Some(Damage { number, what: what.to_owned() }));
                let entry: Option<Entry> = serde_json::from_str(&leaf).ok();
                if unsigned(found)? != number {
                    return damage("it is missing");
                }
                if entry.is_none_or(|entry| entry.number != number) {
                    return damage("it is not the one of its number");
                }
                let own = leaf_hash(leaf.as_bytes());
                if hash.is_none_or(|hash| digest(&hash).ok() != Some(own)) {
                    return damage("it was changed after it was written");
                }
                again.append(own);
            }
        }
        let agrees = again == head;
        Ok((!agrees)
            .then(|| Damage { number: head.size(), what: "the log's head is not that of its leaves".to_owned() }))
    }
}
