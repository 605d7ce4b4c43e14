//! A zip file from its first byte to its last, as no other reader of zip files does it.
//!
//! The local headers are believed at first, and all that was believed is compared with the directory
//! at the end.

use crate::model::Digest;
use crate::model::digest::Hasher;

use super::super::contents::{Entry, Gathered, Gathering, Problem, Stamp};
use super::super::zip::{self, Method, Moment, Record};
use super::inflate::Inflate;
use super::source::{Source, cut_off};
use super::{Budget, PIECE_BYTES, Refused, Sink};

/// Reads a zip file up to and including its last record.
pub(super) fn read(
    source: &mut Source<'_>,
    budget: &mut Budget,
    stem: Option<&str>,
    sink: &mut dyn Sink,
) -> Result<Gathered, Refused> {
    let mut gathering = Gathering::new(stem);
    let mut unpacker = Unpacker { inflate: Inflate::new(), piece: vec![0; PIECE_BYTES] };
    let mut records: Vec<Record> = Vec::new();
    let mut last_moment = None;
    let mut signature = [0; 4];
    loop {
        let offset = source.taken();
        source.fill(&mut signature)?;
        if signature != zip::LOCAL_SIGNATURE {
            break;
        }
        let (record, moment) = read_local(source, offset)?;
        last_moment = Some(moment);
        let admitted = gathering.admit(&record.path, Stamp::Zip(moment))?;
        record.check_sizes().map_err(|problem| Problem::at(&record.path, problem))?;
        budget.spend(u64::from(record.size))?;
        if let Some(path) = admitted {
            sink.begin(u64::from(record.size)).map_err(Refused::Sink)?;
            let sha256 = unpacker.content(source, &record, sink)?;
            // Whether it may be run is only said in the directory.
            gathering.push(Entry { path, executable: false, size_bytes: u64::from(record.size), sha256 });
        }
        records.push(record);
    }
    let moment = last_moment.ok_or_else(|| Problem::new("it is cut off, or not a zip file"))?;
    read_directory(source, &mut records, moment, signature)?;
    let mut gathered = gathering.finish()?;
    let files = records.iter().filter(|record| !record.is_directory());
    for (entry, record) in gathered.entries.iter_mut().zip(files) {
        entry.executable = record.executable;
    }
    Ok(gathered)
}

/// Reads a local header whose signature was taken.
fn read_local(source: &mut Source<'_>, offset: u64) -> Result<(Record, Moment), Refused> {
    let mut fixed = [0; zip::LOCAL_BYTES];
    let (signature, rest) = fixed.split_at_mut(zip::LOCAL_SIGNATURE.len());
    signature.copy_from_slice(&zip::LOCAL_SIGNATURE);
    source.fill(rest)?;
    let mut header = fixed.to_vec();
    header.resize(zip::local_bytes(&fixed).ok_or_else(cut_off)?, 0);
    source.fill(&mut header[zip::LOCAL_BYTES..])?;
    Record::read_local(&header, offset)
        .map_err(|problem| Problem::new(format!("the entry at byte {offset} is refused: {problem}")).into())
}

/// Reads the directory and the record after it, whose first signature was taken.
fn read_directory(
    source: &mut Source<'_>,
    records: &mut [Record],
    moment: Moment,
    signature: [u8; 4],
) -> Result<(), Refused> {
    let wrong = || Problem::new(zip::WRONG_DIRECTORY);
    let mut header = signature.to_vec();
    for record in records.iter_mut() {
        let taken = header.len();
        header.resize(record.central_bytes(), 0);
        source.fill(&mut header[taken..])?;
        if !record.read_central(moment, &header) {
            return Err(wrong().into());
        }
        header.clear();
    }
    let mut end = [0; zip::END_BYTES];
    source.fill(&mut end)?;
    if zip::end_record(records) == end { Ok(()) } else { Err(wrong().into()) }
}

/// What is needed to unpack one entry after the other.
struct Unpacker {
    inflate: Inflate,
    piece: Vec<u8>,
}

impl Unpacker {
    /// Unpacks the content of an entry, checks its checksum and gives back its digest.
    fn content(&mut self, source: &mut Source<'_>, record: &Record, sink: &mut dyn Sink) -> Result<Digest, Refused> {
        let mut received = Received { sink, hasher: Hasher::default(), checksum: crc32fast::Hasher::new() };
        let end = match record.method {
            Method::Stored => self.stored(source, record, &mut received),
            Method::Deflated => self.deflated(source, record, &mut received),
        };
        end.map_err(|refused| match refused {
            Refused::Archive(problem) => Problem::at(&record.path, &problem.to_string()).into(),
            other => other,
        })?;
        if received.checksum.finalize() != record.crc {
            return Err(Problem::at(&record.path, "it is damaged").into());
        }
        Ok(received.hasher.finish())
    }

    fn stored(&mut self, source: &mut Source<'_>, record: &Record, to: &mut Received<'_>) -> Result<(), Refused> {
        let mut left = record.size as usize;
        while left > 0 {
            let part = left.min(self.piece.len());
            let part = &mut self.piece[..part];
            source.fill(part)?;
            to.write(part)?;
            left -= part.len();
        }
        Ok(())
    }

    /// The stream has to end with the packed bytes, and its content with the unpacked ones.
    fn deflated(&mut self, source: &mut Source<'_>, record: &Record, to: &mut Received<'_>) -> Result<(), Refused> {
        let wrong = || Problem::new("it is damaged, or something follows its compressed data");
        self.inflate.restart();
        let mut packed = record.packed_size as usize;
        let mut left = record.size as usize;
        loop {
            let input = source.peek()?;
            let step = self.inflate.step(&input[..input.len().min(packed)], &mut self.piece)?;
            source.take(step.taken)?;
            packed -= step.taken;
            left = left.checked_sub(step.filled).ok_or_else(wrong)?;
            to.write(&self.piece[..step.filled])?;
            if step.ended {
                return if packed == 0 && left == 0 { Ok(()) } else { Err(wrong().into()) };
            }
        }
    }
}

/// Where content goes, and what is made of it on the way.
struct Received<'k> {
    sink: &'k mut dyn Sink,
    hasher: Hasher,
    checksum: crc32fast::Hasher,
}

impl Received<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.hasher.update(bytes);
        self.checksum.update(bytes);
        self.sink.write(bytes).map_err(Refused::Sink)
    }
}
