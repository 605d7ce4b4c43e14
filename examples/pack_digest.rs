//! Packs one made-up file in every format and prints each archive's digest.
//!
//! The tests run it on emulated processors, because the compressor chooses its code by what the
//! processor can do, and its bytes must not depend on that.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use consign::archive::{Options, Writer};
use consign::model::index::ArchiveFormat;
use consign::model::{Digest, Failure};

/// Enough for every loop of the compressors, and soon done under emulation.
const CORPUS_BYTES: usize = 1 << 20;

fn main() -> Result<(), Failure> {
    let corpus = corpus();
    for (format, level) in [
        (ArchiveFormat::TarGz, None),
        (ArchiveFormat::TarGz, Some(1)),
        (ArchiveFormat::TarGz, Some(12)),
        (ArchiveFormat::Zip, None),
        (ArchiveFormat::TarZst, Some(3)),
        (ArchiveFormat::TarZst, None),
    ] {
        let options = Options { format, level, date: jiff::Timestamp::UNIX_EPOCH };
        let mut writer = Writer::new(&"corpus".parse().expect("a plain name"), options);
        writer.append("bin/corpus", true, corpus.len() as u64, &mut corpus.as_slice())?;
        let packed = writer.finish()?;
        let level = level.map_or("-".to_owned(), |level| level.to_string());
        println!("{} {level} {} {}", format.extension(), packed.bytes.len(), Digest::of(&packed.bytes));
    }
    Ok(())
}

/// Something like a program: words that come again at all distances, runs, and noise between them.
fn corpus() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or_default() % below
    };
    let mut corpus = vec![0x48, 0x89, 0xe5, 0x41];
    while corpus.len() < CORPUS_BYTES {
        match random(8) {
            0..4 => {
                let start = random(corpus.len());
                let end = (start + 3 + random(30)).min(corpus.len());
                corpus.extend_from_within(start..end);
            }
            4 => corpus.extend(std::iter::repeat_n(0, 1 + random(60))),
            _ => corpus.extend((0..1 + random(16)).map(|_| random(256).to_le_bytes()[0])),
        }
    }
    corpus.truncate(CORPUS_BYTES);
    corpus
}
