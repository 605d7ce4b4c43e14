//! Transparency logs: whether a leaf is in a tree, and whether one tree grew out of another.
//!
//! The arithmetic is that of RFC 6962 with the bounds of RFC 9162; a checkpoint is a signed note as
//! the C2SP writes it down. Which log is trusted is not decided here: [`Checkpoint::verify`] takes
//! the key of one.

use data_encoding::BASE64;

use super::key::{Algorithm, PublicKey};
use crate::model::Digest;
use crate::model::digest::Hasher;

/// The longest checkpoint that is read, in bytes.
const MAX_CHECKPOINT_BYTES: usize = 16 << 10;
/// The most signatures under a checkpoint that are looked at.
const MAX_CHECKPOINT_SIGNATURES: usize = 64;

/// The proof does not prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof of the transparency log does not lead to its root hash")]
pub struct NotProven;

/// The hash of a leaf.
pub fn leaf_hash(body: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(&[0]);
    hasher.update(body);
    hasher.finish()
}

pub(super) fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}

/// Whether the leaf with this number and hash is in the tree of this size and root hash.
pub fn verify_inclusion(
    number: u64,
    size: u64,
    leaf: &Digest,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), NotProven> {
    if number >= size {
        return Err(NotProven);
    }
    let (mut node, mut last) = (number, size - 1);
    let mut hash = *leaf;
    for other in proof {
        if last == 0 {
            return Err(NotProven);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(other, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, other);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(NotProven) }
}

/// Whether the first leaves of the larger tree are those of the smaller one.
pub fn verify_consistency(sizes: (u64, u64), proof: &[Digest], roots: (&Digest, &Digest)) -> Result<(), NotProven> {
    let (smaller, larger) = sizes;
    let prove = |holds: bool| if holds { Ok(()) } else { Err(NotProven) };
    // That a tree grew out of the empty one says nothing about it.
    if smaller == 0 || smaller > larger {
        return Err(NotProven);
    }
    if smaller == larger {
        return prove(proof.is_empty() && roots.0 == roots.1);
    }
    // Where the smaller tree is a whole one, its root hash is left out of the proof.
    let (seed, rest) = if smaller.is_power_of_two() {
        (*roots.0, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(NotProven)?;
        (*first, rest)
    };
    let (mut node, mut last) = (smaller - 1, larger - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old, mut new) = (seed, seed);
    for other in rest {
        if last == 0 {
            return Err(NotProven);
        }
        if node & 1 == 1 || node == last {
            (old, new) = (node_hash(other, &old), node_hash(other, &new));
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new = node_hash(&new, other);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    prove(last == 0 && old == *roots.0 && new == *roots.1)
}

/// A signed statement of a log: so large, with this root hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log says it.
    pub origin: String,
    /// How many leaves it has.
    pub size: u64,
    /// Its root hash.
    pub root: Digest,
    /// What is signed.
    text: String,
    signatures: Vec<NoteSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    hint: [u8; 4],
    signature: Vec<u8>,
}

impl Checkpoint {
    /// Reads one, strictly: origin, size, root hash, perhaps more lines, an empty one, signatures.
    pub fn parse(note: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("the log's checkpoint {what}");
        if note.len() > MAX_CHECKPOINT_BYTES {
            return Err(wrong("is too long"));
        }
        let (text, signatures) = note.split_once("\n\n").ok_or_else(|| wrong("has no signatures"))?;
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or_else(|| wrong("names no log"))?;
        let size = lines.next().and_then(decimal).ok_or_else(|| wrong("has no size in its second line"))?;
        let root = lines.next().and_then(digest).ok_or_else(|| wrong("has no root hash in its third line"))?;
        if lines.any(|line| line.is_empty() || line.chars().any(char::is_control)) {
            return Err(wrong("has a line that is none"));
        }
        let signatures = signatures.strip_suffix('\n').ok_or_else(|| wrong("does not end with a line feed"))?;
        let signatures: Option<Vec<_>> =
            signatures.split('\n').take(MAX_CHECKPOINT_SIGNATURES + 1).map(NoteSignature::parse).collect();
        let signatures = signatures.ok_or_else(|| wrong("has a signature line that is none"))?;
        if signatures.len() > MAX_CHECKPOINT_SIGNATURES {
            return Err(wrong("has too many signatures"));
        }
        if !signatures.iter().any(|signature| is_log(&signature.name, origin)) {
            return Err(wrong("is not signed by the log that it names"));
        }
        let text = format!("{text}\n");
        Ok(Self { origin: origin.to_owned(), size, root, text, signatures })
    }

    /// Whether the log with this key has signed it.
    pub fn verify(&self, log: &PublicKey) -> Result<(), String> {
        let own: Vec<_> = self.signatures.iter().filter(|signature| is_log(&signature.name, &self.origin)).collect();
        let hinted: Vec<_> =
            own.iter().filter(|signature| hints(log, &signature.name).contains(&signature.hint)).collect();
        if hinted.is_empty() {
            return Err("the log's checkpoint is not signed with the log's key".to_owned());
        }
        if hinted.iter().any(|signature| log.verify(self.text.as_bytes(), &signature.signature).is_ok()) {
            Ok(())
        } else {
            Err("the signature of the log's checkpoint is not valid".to_owned())
        }
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let raw = BASE64.decode(encoded.as_bytes()).ok()?;
        let (hint, signature) = raw.split_first_chunk::<4>()?;
        let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
        (is_name && !signature.is_empty()).then(|| Self {
            name: name.to_owned(),
            hint: *hint,
            signature: signature.to_vec(),
        })
    }
}

/// Rekor's first version puts the number of a tree behind the name of the log.
fn is_log(name: &str, origin: &str) -> bool {
    origin == name || origin.strip_prefix(name).is_some_and(|rest| rest.starts_with(" - "))
}

/// The ways in which a key is hinted at: by the digest of its SPKI, or as the C2SP has it.
pub(super) fn hints(key: &PublicKey, name: &str) -> Vec<[u8; 4]> {
    let start = |digest: Digest| -> [u8; 4] {
        let bytes = digest.as_bytes();
        [bytes[0], bytes[1], bytes[2], bytes[3]]
    };
    let mut all = vec![start(key.id())];
    if key.algorithm() == Algorithm::Ed25519 {
        all.push(start(Digest::of(&[name.as_bytes(), b"\n\x01", key.raw()].concat())));
    }
    all
}

/// A whole number without a sign and without leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// A digest in base64.
pub(super) fn digest(text: &str) -> Option<Digest> {
    let raw = BASE64.decode(text.as_bytes()).ok()?;
    <[u8; 32]>::try_from(raw).ok().map(Digest::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_three_leaves_proves_each_of_them() {
        let leaves: Vec<Digest> = [b"a", b"b", b"c"].map(|body| leaf_hash(body)).to_vec();
        let left = node_hash(&leaves[0], &leaves[1]);
        let root = node_hash(&left, &leaves[2]);
        assert_eq!(verify_inclusion(0, 3, &leaves[0], &[leaves[1], leaves[2]], &root), Ok(()));
        assert_eq!(verify_inclusion(1, 3, &leaves[1], &[leaves[0], leaves[2]], &root), Ok(()));
        assert_eq!(verify_inclusion(2, 3, &leaves[2], &[left], &root), Ok(()));
        assert_eq!(verify_inclusion(2, 3, &leaves[1], &[left], &root), Err(NotProven));
        assert_eq!(verify_inclusion(3, 3, &leaves[2], &[left], &root), Err(NotProven));
        assert_eq!(verify_consistency((2, 3), &[leaves[2]], (&left, &root)), Ok(()));
        assert_eq!(verify_consistency((3, 2), &[leaves[2]], (&root, &left)), Err(NotProven));
    }

    /// The root hash of a tree, as RFC 6962 defines it.
    fn root_of(leaves: &[Digest]) -> Digest {
        if let [leaf] = leaves {
            return *leaf;
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        node_hash(&root_of(left), &root_of(right))
    }

    /// The proof that a leaf is in a tree: `PATH` of RFC 6962.
    fn path(number: usize, leaves: &[Digest]) -> Vec<Digest> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut path, other) =
            if number < left.len() { (path(number, left), right) } else { (path(number - left.len(), right), left) };
        path.push(root_of(other));
        path
    }

    /// The proof that a tree begins with a smaller one: `SUBPROOF` of RFC 6962.
    fn growth(smaller: usize, leaves: &[Digest], is_whole: bool) -> Vec<Digest> {
        if smaller == leaves.len() {
            return if is_whole { Vec::new() } else { vec![root_of(leaves)] };
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut proof, other) = if smaller <= left.len() {
            (growth(smaller, left, is_whole), right)
        } else {
            (growth(smaller - left.len(), right, false), left)
        };
        proof.push(root_of(other));
        proof
    }

    /// Everything that is one step away from a proof.
    fn near(proof: &[Digest]) -> Vec<Vec<Digest>> {
        let stranger = leaf_hash(b"stranger");
        let mut all = vec![[proof, &[stranger]].concat(), [&[stranger], proof].concat()];
        for at in 0..proof.len() {
            let mut other = proof.to_vec();
            other[at] = stranger;
            all.push(other);
            all.push([&proof[..at], &proof[at + 1..]].concat());
        }
        all
    }

    fn leaves() -> Vec<Digest> {
        (0_u8..20).map(|number| leaf_hash(&[number])).collect()
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proven_and_in_one_place_only() {
        for size in 1..=20 {
            let leaves = &leaves()[..size];
            let root = root_of(leaves);
            for number in 0..size {
                let proof = path(number, leaves);
                for claimed in 0..size + 2 {
                    let judged = verify_inclusion(claimed as u64, size as u64, &leaves[number], &proof, &root);
                    assert_eq!(judged.is_ok(), claimed == number, "{number} of {size} as {claimed}");
                }
                for wrong in near(&proof) {
                    assert!(verify_inclusion(number as u64, size as u64, &leaves[number], &wrong, &root).is_err());
                }
            }
        }
    }

    #[test]
    fn every_small_tree_is_seen_to_grow_out_of_every_smaller_one() {
        let all = leaves();
        for larger in 1..=20 {
            let new = root_of(&all[..larger]);
            for smaller in 1..=larger {
                let (old, proof) = (root_of(&all[..smaller]), growth(smaller, &all[..larger], true));
                let sizes = (smaller as u64, larger as u64);
                assert_eq!(verify_consistency(sizes, &proof, (&old, &new)), Ok(()), "{smaller} to {larger}");
                let stranger = leaf_hash(b"stranger");
                for (wrong_sizes, roots) in [
                    (sizes, (&stranger, &new)),
                    (sizes, (&old, &stranger)),
                    ((0, sizes.1), (&old, &new)),
                    ((sizes.1 + 1, sizes.1), (&old, &new)),
                ] {
                    assert_eq!(verify_consistency(wrong_sizes, &proof, roots), Err(NotProven), "{smaller} to {larger}");
                }
                for wrong in near(&proof) {
                    assert_eq!(
                        verify_consistency(sizes, &wrong, (&old, &new)),
                        Err(NotProven),
                        "{smaller} to {larger}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_checkpoint_is_bounded_in_size_and_signatures() {
        let line = format!("\u{2014} log.example {}\n", BASE64.encode(&[1; 68]));
        let note = |extra: &str, signatures: usize| {
            format!("log.example\n7\n{}\n{extra}\n{}", BASE64.encode(&[7; 32]), line.repeat(signatures))
        };
        assert!(Checkpoint::parse(&note("more\n", MAX_CHECKPOINT_SIGNATURES)).is_ok());
        assert!(Checkpoint::parse(&note("", MAX_CHECKPOINT_SIGNATURES + 1)).is_err());
        assert!(Checkpoint::parse(&note("\u{7}\n", 1)).is_err());
        let room = MAX_CHECKPOINT_BYTES - note("", 1).len() - 1;
        assert!(Checkpoint::parse(&note(&format!("{}\n", "x".repeat(room)), 1)).is_ok());
        assert!(Checkpoint::parse(&note(&format!("{}\n", "x".repeat(room + 1)), 1)).is_err());
    }

    #[test]
    fn a_signature_line_has_a_name_a_hint_and_a_signature() {
        let parse = |name: &str, raw: &[u8]| NoteSignature::parse(&format!("\u{2014} {name} {}", BASE64.encode(raw)));
        assert!(parse("log.example", &[1; 5]).is_some());
        for (name, raw) in
            [("", &[1; 5][..]), ("a+b", &[1; 5]), ("a\tb", &[1; 5]), ("a\u{7}b", &[1; 5]), ("a", &[1; 4])]
        {
            assert!(parse(name, raw).is_none(), "{name:?}");
        }
    }

    #[test]
    fn the_log_s_own_signature_counts_by_either_hint_and_no_other() {
        use crate::trust::key::Signer as _;
        let key = crate::trust::private::PrivateKey::generate(Algorithm::Ed25519).expect("random numbers");
        let other = crate::trust::private::PrivateKey::generate(Algorithm::Ed25519).expect("random numbers");
        let text = format!("log.example - 3\n7\n{}\n", BASE64.encode(&[7; 32]));
        let signature = crate::trust::key::sign(&key, text.as_bytes()).expect("signs");
        let note = |name: &str, hint: &[u8], signature: &[u8]| {
            let note = format!("{text}\n\u{2014} {name} {}\n", BASE64.encode(&[hint, signature].concat()));
            Checkpoint::parse(&note).and_then(|checkpoint| checkpoint.verify(key.public()))
        };
        for hint in hints(key.public(), "log.example") {
            assert_eq!(note("log.example", &hint, &signature), Ok(()));
            assert!(note("log.example", &hint, &signature[1..]).is_err());
            assert!(note("other.example", &hint, &signature).is_err());
        }
        assert!(note("log.example", &hints(other.public(), "log.example")[0], &signature).is_err());
        assert!(note("log.exa", &hints(key.public(), "log.exa")[1], &signature).is_err());
    }

    #[test]
    fn a_checkpoint_without_one_of_its_parts_is_refused() {
        let root = BASE64.encode(&[7; 32]);
        let signature = BASE64.encode(&[1; 68]);
        let good = format!("log.example - 1\n7\n{root}\n\n\u{2014} log.example {signature}\n");
        assert_eq!(Checkpoint::parse(&good).map(|it| (it.size, it.root)), Ok((7, Digest::from([7; 32]))));
        for wrong in [
            good.replacen("log.example - 1\n", "", 1),
            good.replacen("log.example - 1\n", "\n", 1),
            good.replace("\n7\n", "\n"),
            good.replace("\n7\n", "\n07\n"),
            good.replace("\n7\n", "\n-7\n"),
            good.replace("\n7\n", "\n99999999999999999999\n"),
            good.replace(&root, ""),
            good.replace(&root, &root[4..]),
            good.replace("\n\n", "\n"),
            good.replace("\u{2014} log.example", "\u{2014} other.example"),
            good.replace('\u{2014}', "-"),
            good.replace(&signature, "AAAA"),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            good.replace('\n', "\r\n"),
        ] {
            assert!(Checkpoint::parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
