//! A tar stream, header by header.

use crate::model::digest::Hasher;

use super::super::contents::{Entry, Gathered, Gathering, Problem, Stamp};
use super::super::ustar;
use super::compressed::Plain;
use super::{Budget, PIECE_BYTES, Refused, Sink};

/// Reads a tar stream and its compression to the end of both.
pub(super) fn read(
    plain: &mut dyn Plain,
    budget: &mut Budget,
    stem: Option<&str>,
    sink: &mut dyn Sink,
) -> Result<Gathered, Refused> {
    let mut stream = Stream { plain, budget, taken: 0 };
    let mut gathering = Gathering::new(stem);
    let mut path = String::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let at = stream.taken;
        let mut block = [0; ustar::BLOCK];
        stream.fill(&mut block, || Problem::new("its end is missing"))?;
        if is_zero(&block) {
            break;
        }
        let item = ustar::Item::read(&block, &mut path)
            .map_err(|problem| Problem::new(format!("the entry at byte {at} of its stream is refused: {problem}")))?;
        let admitted = gathering.admit(item.path, Stamp::Tar(item.seconds))?;
        let cut_off = || Problem::at(item.path, "it is cut off");
        if item.size > stream.budget.left() {
            return Err(cut_off().into());
        }
        if let Some(path) = admitted {
            sink.begin(item.size).map_err(Refused::Sink)?;
            let mut hasher = Hasher::default();
            let mut left = item.size;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                let part = &mut piece[..part];
                stream.fill(part, cut_off)?;
                hasher.update(part);
                sink.write(part).map_err(Refused::Sink)?;
                left -= part.len() as u64;
            }
            let sha256 = hasher.finish();
            gathering.push(Entry { path, executable: item.executable, size_bytes: item.size, sha256 });
        }
        let padding = &mut block[..ustar::padding(item.size)];
        stream.fill(padding, cut_off)?;
        if !is_zero(padding) {
            return Err(Problem::at(item.path, "something stands between it and the next").into());
        }
    }
    stream.finish(&mut piece[..ustar::END])?;
    Ok(gathering.finish()?)
}

/// The stream with what it may cost.
struct Stream<'p> {
    plain: &'p mut dyn Plain,
    budget: &'p mut Budget,
    taken: u64,
}

impl Stream<'_> {
    /// Fills a buffer, or says what it means that there is not so much.
    fn fill(&mut self, out: &mut [u8], otherwise: impl FnOnce() -> Problem) -> Result<(), Refused> {
        let mut filled = 0;
        while filled < out.len() {
            match self.read(&mut out[filled..])? {
                0 => return Err(otherwise().into()),
                read => filled += read,
            }
        }
        Ok(())
    }

    fn read(&mut self, out: &mut [u8]) -> Result<usize, Refused> {
        let read = self.plain.read(out)?;
        self.budget.spend(read as u64)?;
        self.taken += read as u64;
        Ok(read)
    }

    /// Sees that after the first block of zeros there is a second, and nothing else.
    fn finish(&mut self, buffer: &mut [u8]) -> Result<(), Refused> {
        let wrong = || Problem::new("it does not end with two blocks of zeros and nothing after them");
        let second = &mut buffer[..ustar::END - ustar::BLOCK];
        self.fill(second, wrong)?;
        if !is_zero(second) || self.read(second)? > 0 {
            return Err(wrong().into());
        }
        Ok(())
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
