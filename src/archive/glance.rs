//! Looking into a whole archive with little memory besides its own bytes.
//!
//! [`glance`] says what [`super::Inspector`] says, and unpacks piece by piece instead of at once: slower,
//! and in memory that does not grow with what is inside.

use std::collections::BTreeMap;
use std::io;

use crate::model::index::ArchiveFormat;

use super::contents::{Date, Entry, Problem};
use super::stream::{self, Accepted, Expected, Refused, Sink};

/// How much of small files is kept in case that one of them is the one that is asked for, in bytes.
const KEPT_BYTES: usize = 1 << 20;

/// What was seen of an archive.
pub struct Glance {
    /// Every file, sorted by path.
    pub entries: Vec<Entry>,
    /// The one time that every entry carries.
    pub date: Date,
    /// The content of the file that was asked for, or its beginning.
    pub content: Option<Vec<u8>>,
}

/// Reads a whole archive whose one directory is `stem`, and which unpacks to exactly so many bytes. Of one
/// file, named by its path below the stem, the content comes along, but no more of it than one byte above
/// `max_bytes`.
pub fn glance(
    format: ArchiveFormat,
    bytes: &[u8],
    stem: &str,
    unpacked_size_bytes: u64,
    path: &str,
    max_bytes: usize,
) -> Result<Glance, Problem> {
    let expected = Expected { stem: Some(stem), unpacked_size_bytes: Some(unpacked_size_bytes) };
    let look = |keeper: &mut Keeper| -> Result<Accepted, Problem> {
        stream::read(format, &mut &*bytes, &expected, keeper).map_err(|refused| match refused {
            Refused::Archive(problem) => problem,
            Refused::Source(error) | Refused::Sink(error) => Problem::new(format!("it cannot be unpacked: {error}")),
        })
    };
    let mut keeper = Keeper::new(None, max_bytes);
    let Accepted { entries, date, .. } = look(&mut keeper)?;
    let Some(number) = entries.iter().position(|entry| entry.path == path) else {
        return Ok(Glance { entries, date, content: None });
    };
    let content = if let Some(content) = keeper.kept.remove(&number) {
        content
    } else {
        // It is large, or behind very many others.
        let mut again = Keeper::new(Some(number), max_bytes);
        look(&mut again)?;
        again.kept.remove(&number).unwrap_or_default()
    };
    Ok(Glance { entries, date, content: Some(content) })
}

/// Keeps the beginning of one file or, where nobody knows yet which, the whole of small ones.
struct Keeper {
    wanted: Option<usize>,
    max_bytes: usize,
    left: usize,
    /// The number of the file that comes next.
    next: usize,
    kept: BTreeMap<usize, Vec<u8>>,
}

impl Keeper {
    fn new(wanted: Option<usize>, max_bytes: usize) -> Self {
        Self { wanted, max_bytes, left: KEPT_BYTES, next: 0, kept: BTreeMap::new() }
    }
}

impl Sink for Keeper {
    fn begin(&mut self, size_bytes: u64) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let is_kept = match (self.wanted, usize::try_from(size_bytes)) {
            (Some(wanted), _) => wanted == number,
            (None, Ok(size)) if size <= self.max_bytes && size <= self.left => {
                self.left -= size;
                true
            }
            (None, _) => false,
        };
        if is_kept {
            self.kept.insert(number, Vec::new());
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(kept) = self.next.checked_sub(1).and_then(|number| self.kept.get_mut(&number)) {
            let room = (self.max_bytes + 1).saturating_sub(kept.len());
            kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Inspector, Options, Writer};

    #[test]
    fn a_glance_sees_what_the_inspector_sees() {
        let stem = "stem".parse().expect("a name");
        for format in [ArchiveFormat::TarGz, ArchiveFormat::TarZst, ArchiveFormat::Zip] {
            let options =
                Options { format, level: None, date: jiff::Timestamp::from_second(315_532_800).expect("a time") };
            let mut writer = Writer::new(&stem, options);
            let files: BTreeMap<String, Vec<u8>> =
                (0..40).map(|number: u8| (format!("bin/{number:02}"), vec![number; 60_000])).collect();
            for (path, content) in &files {
                writer.append(path, true, content.len() as u64, &mut content.as_slice()).expect("in order");
            }
            let packed = writer.finish().expect("an archive");
            let (bytes, size) = (&packed.bytes, packed.unpacked_size_bytes);
            let mut inspector = Inspector::default();
            let seen = inspector.inspect(format, bytes, "stem", size).expect("our own");
            // The first is kept on the way, the last is behind too many others; 100 bytes are too few for either.
            for (path, max, expected) in
                [("bin/00", 60_000, 60_000), ("bin/39", 60_000, 60_000), ("bin/00", 100, 101), ("bin/39", 100, 101)]
            {
                let glance = glance(format, bytes, "stem", size, path, max).expect("our own");
                assert_eq!((&glance.entries, glance.date), (&seen.entries, seen.date));
                assert_eq!(
                    glance.content.as_deref(),
                    seen.read(path).map(|content| &content[..expected]),
                    "{path} {max}"
                );
            }
            assert_eq!(glance(format, bytes, "stem", size, "none", 9).expect("our own").content, None);
            for (size, end) in [(size + 1, bytes.len()), (size - 1, bytes.len()), (size, bytes.len() - 1)] {
                assert!(glance(format, &bytes[..end], "stem", size, "none", 9).is_err());
            }
        }
    }
}
