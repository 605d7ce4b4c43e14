//! The other side of a transparency log: the tree that grows, and the proofs that it gives.
//!
//! A [`Frontier`] is all that has to be kept to take in the next leaf. Every node that becomes final
//! is given back once, to be stored under its level and number; a proof names the nodes that it is
//! made of ([`inclusion`], [`consistency`]) and [`Range::hash`] joins them. The arithmetic is that of
//! RFC 6962; whether a proof holds is decided in [`super::transparency`].

use data_encoding::BASE64;

use super::key::{self, Signer};
use super::transparency::{hints, node_hash};
use crate::model::Digest;
use crate::model::failure::Result;

/// A node that will never change: the root of the whole tree over `2^level` leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// How many levels of nodes are below it; none below a leaf.
    pub level: u32,
    /// Which one of its level it is.
    pub number: u64,
}

/// The roots of the whole trees that the leaves so far are made of, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Digest>,
}

impl Frontier {
    /// A frontier that was kept. It has as many roots as its size has bits that are set.
    pub fn of(size: u64, roots: Vec<Digest>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What has to be kept.
    pub fn roots(&self) -> &[Digest] {
        &self.roots
    }

    /// Takes in the hash of a leaf and gives every node that became final, the leaf first.
    pub fn append(&mut self, leaf: Digest) -> Vec<(Node, Digest)> {
        let mut node = Node { level: 0, number: self.size };
        let mut hash = leaf;
        let mut made = vec![(node, hash)];
        while node.number & 1 == 1
            && let Some(left) = self.roots.pop()
        {
            hash = node_hash(&left, &hash);
            node = Node { level: node.level + 1, number: node.number >> 1 };
            made.push((node, hash));
        }
        self.roots.push(hash);
        self.size += 1;
        made
    }

    /// The root hash; that of nothing is the digest of nothing.
    pub fn root(&self) -> Digest {
        join(&self.roots).unwrap_or_else(|| Digest::of(b""))
    }
}

/// The signed statement that a log has this size and root hash, as the C2SP writes it.
pub fn checkpoint(origin: &str, log: &Frontier, signer: &dyn Signer) -> Result<String> {
    let text = format!("{origin}\n{}\n{}\n", log.size(), BASE64.encode(log.root().as_bytes()));
    let signature = key::sign(signer, text.as_bytes())?;
    // The hint of an Ed25519 key is the C2SP's own; it stands behind the one that every key has.
    let hint = hints(signer.public(), origin).pop().unwrap_or_default();
    let signed = BASE64.encode(&[hint.as_slice(), signature.as_slice()].concat());
    Ok(format!("{text}\n\u{2014} {origin} {signed}\n"))
}

/// Leaves beside each other that have a hash of their own in some proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// The final nodes that it is made of, the largest first.
    pub fn nodes(self) -> Vec<Node> {
        let Self { mut start, end } = self;
        let mut nodes = Vec::new();
        while start < end {
            let level = (end - start).ilog2();
            nodes.push(Node { level, number: start >> level });
            start += 1 << level;
        }
        nodes
    }

    /// Its hash, from those of its nodes.
    pub fn hash(hashes: &[Digest]) -> Option<Digest> {
        join(hashes)
    }
}

/// The hash over whole trees side by side.
fn join(roots: &[Digest]) -> Option<Digest> {
    let (last, larger) = roots.split_last()?;
    Some(larger.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// The proof that a leaf is in a tree of this size: `PATH` of RFC 6962.
pub fn inclusion(number: u64, size: u64) -> Vec<Range> {
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if number < middle {
            proof.push(Range { start: middle, end });
            end = middle;
        } else {
            proof.push(Range { start, end: middle });
            start = middle;
        }
    }
    proof.reverse();
    proof
}

/// The proof that a tree begins with a smaller one: `SUBPROOF` of RFC 6962.
pub fn consistency(smaller: u64, larger: u64) -> Vec<Range> {
    if smaller == 0 || smaller >= larger {
        return Vec::new();
    }
    let (mut start, mut end) = (0, larger);
    let mut proof = Vec::new();
    while end != smaller {
        let middle = start + split(end - start);
        if smaller <= middle {
            proof.push(Range { start: middle, end });
            end = middle;
        } else {
            proof.push(Range { start, end: middle });
            start = middle;
        }
    }
    // Where the smaller tree is a whole one, whoever checks the proof has its root already.
    if start != 0 {
        proof.push(Range { start, end });
    }
    proof.reverse();
    proof
}

/// The largest power of two that is smaller than a number of leaves.
fn split(leaves: u64) -> u64 {
    leaves.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::trust::transparency::{leaf_hash, verify_consistency, verify_inclusion};

    /// A log that keeps what it is given back.
    fn log(size: u64) -> (Vec<Frontier>, BTreeMap<Node, Digest>) {
        let mut frontiers = vec![Frontier::default()];
        let mut nodes = BTreeMap::new();
        for number in 0..size {
            let mut next = frontiers.last().expect("one").clone();
            nodes.extend(next.append(leaf_hash(&number.to_be_bytes())));
            frontiers.push(next);
        }
        (frontiers, nodes)
    }

    fn hashes(proof: Vec<Range>, nodes: &BTreeMap<Node, Digest>) -> Vec<Digest> {
        let of = |range: Range| range.nodes().iter().map(|node| nodes[node]).collect::<Vec<_>>();
        proof.into_iter().map(|range| Range::hash(&of(range)).expect("not empty")).collect()
    }

    #[test]
    fn the_verifier_takes_every_proof_of_every_small_log() {
        let (frontiers, nodes) = log(40);
        for size in 1..=40_u64 {
            let root = frontiers[usize::try_from(size).expect("small")].root();
            for number in 0..size {
                let proof = hashes(inclusion(number, size), &nodes);
                let leaf = leaf_hash(&number.to_be_bytes());
                assert_eq!(verify_inclusion(number, size, &leaf, &proof, &root), Ok(()), "{number} of {size}");
            }
            for smaller in 1..=size {
                let old = frontiers[usize::try_from(smaller).expect("small")].root();
                let proof = hashes(consistency(smaller, size), &nodes);
                assert_eq!(verify_consistency((smaller, size), &proof, (&old, &root)), Ok(()), "{smaller} to {size}");
            }
        }
    }

    #[test]
    fn a_checkpoint_is_read_and_verified() {
        use crate::trust::key::Algorithm;
        use crate::trust::private::PrivateKey;
        use crate::trust::transparency::Checkpoint;
        let (frontiers, _) = log(5);
        let signer = PrivateKey::generate(Algorithm::Ed25519).expect("random numbers");
        let other = PrivateKey::generate(Algorithm::Ed25519).expect("random numbers");
        for frontier in &frontiers {
            let note = checkpoint("consign.audit/x", frontier, &signer).expect("signs");
            let read = Checkpoint::parse(&note).expect("a note");
            assert_eq!((read.size, read.root), (frontier.size(), frontier.root()));
            assert_eq!(read.verify(signer.public()), Ok(()));
            assert!(read.verify(other.public()).is_err());
        }
    }

    #[test]
    fn every_node_becomes_final_once() {
        let mut frontier = Frontier::default();
        let made: Vec<_> = (0..64_u8).flat_map(|number| frontier.append(leaf_hash(&[number]))).collect();
        let different: BTreeMap<_, _> = made.iter().copied().collect();
        assert_eq!((made.len(), different.len()), (127, 127));
        assert_eq!(frontier.roots().len(), 1);
    }

    #[test]
    fn a_frontier_is_kept_and_taken_up_again() {
        let (frontiers, _) = log(11);
        for frontier in &frontiers {
            assert_eq!(Frontier::of(frontier.size(), frontier.roots().to_vec()).as_ref(), Some(frontier));
            assert_eq!(Frontier::of(frontier.size() + 16, frontier.roots().to_vec()), None);
        }
        assert_eq!(Frontier::default().root(), Digest::of(b""));
    }
}
