//! Many objects in one file, with its index, as git keeps them.
//!
//! The main item is [`Pack`]. It is filled in memory and stored at once, whole or not at all. A directory
//! that changes from commit to commit is kept as what differs from its last form, because whoever made
//! the change knows what that is and nobody has to search for it.

use std::collections::HashMap;

use camino::Utf8Path;
use libdeflater::{CompressionLvl, Compressor};
use sha1::{Digest as _, Sha1};

use crate::model::Failure;
use crate::model::failure::Result;
use crate::world::files;

use super::objects::{Id, Kind};

/// How many differences may follow each other before a directory is written whole again; git's own number.
const MAX_DEPTH: usize = 50;
/// How much is compared at once.
const PIECE: usize = 256;
/// The longest piece that one instruction of a difference copies.
const MAX_COPY: usize = 0x1_0000;
/// The longest piece that one instruction of a difference brings.
const MAX_INSERT: usize = 0x7f;

/// Objects on their way to a repository.
pub(super) struct Pack {
    bytes: Vec<u8>,
    entries: Vec<(Id, u32, u64)>,
    places: HashMap<Id, Placed>,
    compressor: Compressor,
}

#[derive(Clone, Copy)]
struct Placed {
    offset: u64,
    depth: usize,
}

impl Pack {
    pub(super) fn new() -> Self {
        Self {
            // The count is filled in at the end.
            bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(),
            entries: Vec::new(),
            places: HashMap::new(),
            compressor: Compressor::new(CompressionLvl::fastest()),
        }
    }

    /// The objects in it.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.entries.iter().map(|(id, ..)| *id)
    }

    /// Adds an object, once.
    pub(super) fn put(&mut self, kind: Kind, id: Id, bytes: &[u8]) {
        if self.places.contains_key(&id) {
            return;
        }
        let number = match kind {
            Kind::Commit => 1,
            Kind::Tree => 2,
            Kind::Blob => 3,
        };
        let offset = self.bytes.len() as u64;
        self.head(number, bytes.len());
        self.body(bytes);
        self.placed(id, offset, 0);
    }

    /// Adds a tree of which an earlier form is known.
    pub(super) fn put_tree_after(&mut self, earlier: Option<(Id, &[u8])>, id: Id, bytes: &[u8]) {
        let base = earlier.and_then(|(id, bytes)| Some((*self.places.get(&id)?, bytes)));
        match base {
            Some((placed, earlier)) if placed.depth < MAX_DEPTH && !self.places.contains_key(&id) => {
                let delta = difference(earlier, bytes);
                let offset = self.bytes.len() as u64;
                self.head(6, delta.len());
                self.distance(offset - placed.offset);
                self.body(&delta);
                self.placed(id, offset, placed.depth + 1);
            }
            _ => self.put(Kind::Tree, id, bytes),
        }
    }

    /// Writes the pack and its index into a repository's directory of objects.
    pub(super) fn store(mut self, objects: &Utf8Path) -> Result<()> {
        let count = u32::try_from(self.entries.len()).map_err(|_| too_many())?;
        self.bytes[8..12].copy_from_slice(&count.to_be_bytes());
        let checksum = Sha1::digest(&self.bytes);
        self.bytes.extend(checksum);
        self.entries.sort_unstable_by_key(|(id, ..)| *id);
        let index = index(&self.entries, &checksum)?;
        let place = objects.join("pack");
        let name = Id(checksum.into());
        // Git looks at the index first: it comes last.
        files::write(&place.join(format!("pack-{name}.pack")), &self.bytes)?;
        files::write(&place.join(format!("pack-{name}.idx")), &index)
    }

    /// Kind and size: four bits of the size, then seven at a time.
    fn head(&mut self, number: u8, mut size: usize) {
        let mut byte = number << 4 | low_bits(size, 4);
        size >>= 4;
        while size > 0 {
            self.bytes.push(byte | 0x80);
            byte = low_bits(size, 7);
            size >>= 7;
        }
        self.bytes.push(byte);
    }

    /// How far back the base is: seven bits at a time, of which each further byte counts one more.
    fn distance(&mut self, distance: u64) {
        let mut groups = vec![low_bits_of(distance)];
        let mut rest = distance >> 7;
        while rest > 0 {
            rest -= 1;
            groups.push(0x80 | low_bits_of(rest));
            rest >>= 7;
        }
        self.bytes.extend(groups.iter().rev());
    }

    fn body(&mut self, bytes: &[u8]) {
        let from = self.bytes.len();
        self.bytes.resize(from + self.compressor.zlib_compress_bound(bytes.len()), 0);
        let written = self
            .compressor
            .zlib_compress(bytes, &mut self.bytes[from..])
            .expect("there is as much room as the compressor itself asks for");
        self.bytes.truncate(from + written);
    }

    fn placed(&mut self, id: Id, offset: u64, depth: usize) {
        let from = usize::try_from(offset).expect("it is within what lies in memory");
        self.entries.push((id, crc32fast::hash(&self.bytes[from..]), offset));
        self.places.insert(id, Placed { offset, depth });
    }
}

/// The second version of the index: counts by first byte, names, checksums, offsets.
fn index(entries: &[(Id, u32, u64)], pack: &[u8]) -> Result<Vec<u8>> {
    let mut out = b"\xfftOc\0\0\0\x02".to_vec();
    let mut count = 0u32;
    let mut rest = entries.iter().peekable();
    for first in 0..=u8::MAX {
        while rest.next_if(|(id, ..)| id.0[0] == first).is_some() {
            count += 1;
        }
        out.extend(count.to_be_bytes());
    }
    out.extend(entries.iter().flat_map(|(id, ..)| id.0));
    out.extend(entries.iter().flat_map(|(_, checksum, _)| checksum.to_be_bytes()));
    for (.., offset) in entries {
        let offset = i32::try_from(*offset).map_err(|_| too_many())?;
        out.extend(offset.to_be_bytes());
    }
    out.extend(pack);
    let checksum = Sha1::digest(&out);
    out.extend(checksum);
    Ok(out)
}

/// What turns one text into another: everything before the first and behind the last byte that differs is
/// copied.
fn difference(from: &[u8], to: &[u8]) -> Vec<u8> {
    let before = common(from.chunks(PIECE).zip(to.chunks(PIECE)), from.iter().zip(to));
    let (from_rest, to_rest) = (&from[before..], &to[before..]);
    let behind =
        common(from_rest.rchunks(PIECE).zip(to_rest.rchunks(PIECE)), from_rest.iter().rev().zip(to_rest.iter().rev()));
    let mut out = Vec::new();
    size(&mut out, from.len());
    size(&mut out, to.len());
    copy(&mut out, 0, before);
    for piece in to[before..to.len() - behind].chunks(MAX_INSERT) {
        out.push(low_bits(piece.len(), 7));
        out.extend(piece);
    }
    copy(&mut out, from.len() - behind, behind);
    out
}

/// How many bytes are the same: whole pieces first, which is much faster, then one by one.
fn common<'a>(
    pieces: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    pairs: impl Iterator<Item = (&'a u8, &'a u8)>,
) -> usize {
    let whole = pieces.take_while(|(one, other)| one.len() == PIECE && one == other).count() * PIECE;
    whole + pairs.skip(whole).take_while(|(one, other)| one == other).count()
}

fn size(out: &mut Vec<u8>, mut size: usize) {
    while size > 0x7f {
        out.push(0x80 | low_bits(size, 7));
        size >>= 7;
    }
    out.push(low_bits(size, 7));
}

/// Copies in pieces. A byte says which bytes of offset and length follow; a length of none is the longest.
fn copy(out: &mut Vec<u8>, mut offset: usize, mut length: usize) {
    while length > 0 {
        let piece = length.min(MAX_COPY);
        let at = out.len();
        out.push(0x80);
        let numbers = [(offset, 4, 0), (if piece == MAX_COPY { 0 } else { piece }, 2, 4)];
        for (number, bytes, first_bit) in numbers {
            for byte in 0..bytes {
                let value = low_bits(number >> (8 * byte), 8);
                if value != 0 {
                    out[at] |= 1 << (first_bit + byte);
                    out.push(value);
                }
            }
        }
        offset += piece;
        length -= piece;
    }
}

fn low_bits(number: usize, bits: u32) -> u8 {
    u8::try_from(number & ((1 << bits) - 1)).expect("no more than eight bits are left")
}

fn low_bits_of(number: u64) -> u8 {
    u8::try_from(number & 0x7f).expect("no more than seven bits are left")
}

fn too_many() -> Failure {
    Failure::new(crate::model::Code::FileTooLarge, "what is to be landed at once is larger than one pack can be")
        .hint("land it in smaller batches")
}
