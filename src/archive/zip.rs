//! The records of a zip file, with every field that could vary fixed.
//!
//! Format: PKWARE APPNOTE 6.3.3, without encryption, data descriptors, extra fields, comments or
//! 64-bit extension.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How an entry's content is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// One entry, as far as it is not fixed. Directories have a slash at the end of their path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) path: String,
    pub(super) executable: bool,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) packed_size: u32,
    pub(super) size: u32,
    /// Where its local header starts.
    pub(super) offset: u32,
}

/// The length of a local header without its path.
pub(super) const LOCAL_BYTES: usize = 30;

/// The length of a header in the directory without its path.
const CENTRAL_BYTES: usize = 46;
/// The length of the last record.
pub(super) const END_BYTES: usize = 22;
/// What every local header starts with.
pub(super) const LOCAL_SIGNATURE: [u8; 4] = LOCAL.to_le_bytes();
/// What is said of a directory that is not the one that belongs to the records.
pub(super) const WRONG_DIRECTORY: &str = "its directory is not in the form that Consign writes";

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// Version 2.0 is what directories and deflate need.
const NEEDED: u16 = 20;
/// Made on Unix, so that readers look for modes in the external attributes.
const MADE_BY: u16 = 0x0300 + NEEDED;

impl Record {
    pub(super) fn is_directory(&self) -> bool {
        self.path.ends_with('/')
    }

    /// Writes the header that stands before the content.
    pub(super) fn render_local(&self, moment: Moment, out: &mut Vec<u8>) {
        out.extend(LOCAL.to_le_bytes());
        self.render_common(moment, out);
        out.extend(self.path.as_bytes());
    }

    /// Writes the header in the directory at the end.
    pub(super) fn render_central(&self, moment: Moment, out: &mut Vec<u8>) {
        out.extend(CENTRAL.to_le_bytes());
        out.extend(MADE_BY.to_le_bytes());
        self.render_common(moment, out);
        // No comment, first disk, no internal attributes.
        out.extend([0; 6]);
        let (kind, mode, attributes) = match (self.is_directory(), self.executable) {
            (true, _) => (0o040_000, 0o755, 0x10),
            (false, true) => (0o100_000, 0o755, 0),
            (false, false) => (0o100_000, 0o644, 0_u32),
        };
        out.extend((((kind | mode) << 16) | attributes).to_le_bytes());
        out.extend(self.offset.to_le_bytes());
        out.extend(self.path.as_bytes());
    }

    fn render_common(&self, moment: Moment, out: &mut Vec<u8>) {
        let method: u16 = match self.method {
            Method::Stored => 0,
            Method::Deflated => 8,
        };
        // Paths are ASCII, so no flag is needed.
        for number in [NEEDED, 0, method, moment.time, moment.date] {
            out.extend(number.to_le_bytes());
        }
        for number in [self.crc, self.packed_size, self.size] {
            out.extend(number.to_le_bytes());
        }
        let path_bytes = u16::try_from(self.path.len()).expect("paths are bounded");
        out.extend(path_bytes.to_le_bytes());
        out.extend([0; 2]);
    }

    /// Reads a local header that [`Record::render_local`] wrote, of the length that [`local_bytes`] says.
    ///
    /// Whether it is executable is not known yet: only the directory at the end says so.
    pub(super) fn read_local(header: &[u8], offset: u64) -> Result<(Self, Moment), &'static str> {
        let (fixed, path) = header.split_first_chunk::<LOCAL_BYTES>().ok_or("its header is cut off")?;
        let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let long = |at: usize| u32::from(short(at)) | (u32::from(short(at + 2)) << 16);
        let method = match short(8) {
            0 => Method::Stored,
            8 => Method::Deflated,
            _ => return Err("it is packed in a way that Consign does not write"),
        };
        let record = Self {
            executable: false,
            method,
            crc: long(14),
            packed_size: long(18),
            size: long(22),
            offset: u32::try_from(offset).map_err(|_| "the archive is larger than a zip file can be")?,
            path: std::str::from_utf8(path).map_err(|_| "its path is not ASCII")?.to_owned(),
        };
        let moment = Moment { time: short(10), date: short(12) };
        let mut same = Vec::with_capacity(header.len());
        record.render_local(moment, &mut same);
        if same != header {
            return Err("its header is not in the form that Consign writes");
        }
        Ok((record, moment))
    }

    /// Whether sizes and method are those that the writer gives to content of that kind.
    pub(super) fn check_sizes(&self) -> Result<(), &'static str> {
        let nothing = self.packed_size == 0 && self.size == 0 && self.crc == 0;
        match self.method {
            _ if self.is_directory() => match (self.method, nothing) {
                (Method::Stored, true) => Ok(()),
                _ => Err("it is a directory with content"),
            },
            Method::Stored if self.packed_size != self.size => Err("it is damaged"),
            Method::Deflated if self.packed_size >= self.size => Err("it is compressed although that makes it larger"),
            _ => Ok(()),
        }
    }

    /// The length of its header in the directory at the end.
    pub(super) fn central_bytes(&self) -> usize {
        CENTRAL_BYTES + self.path.len()
    }

    /// Reads from its header in the directory at the end whether it is executable; false if these
    /// bytes are not that header.
    pub(super) fn read_central(&mut self, moment: Moment, header: &[u8]) -> bool {
        // Both spellings are tried; at most one can be there.
        [false, true].into_iter().any(|executable| {
            self.executable = executable;
            let mut same = Vec::with_capacity(header.len());
            self.render_central(moment, &mut same);
            same == header
        })
    }
}

/// The length of the local header that starts so, with its path; nothing if it is another record.
pub(super) fn local_bytes(fixed: &[u8; LOCAL_BYTES]) -> Option<usize> {
    let path_bytes = u16::from_le_bytes([fixed[26], fixed[27]]);
    fixed.starts_with(&LOCAL_SIGNATURE).then(|| LOCAL_BYTES + usize::from(path_bytes))
}

/// The record after the directory of these records.
pub(super) fn end_record(records: &[Record]) -> Vec<u8> {
    let size = records.iter().map(Record::central_bytes).sum();
    let mut out = Vec::with_capacity(END_BYTES);
    render_end(records.len(), size, records_end(records), &mut out);
    out
}

/// Writes the last record: how many there are, how long their directory is, and where it starts.
pub(super) fn render_end(records: usize, size: usize, start: usize, out: &mut Vec<u8>) {
    let count = u16::try_from(records).expect("entries are bounded");
    let (size, start) = (narrow(size), narrow(start));
    out.extend(END.to_le_bytes());
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
}

fn narrow(size: usize) -> u32 {
    u32::try_from(size).expect("archives are bounded")
}

/// Where the directory starts: after the last record's content.
fn records_end(records: &[Record]) -> usize {
    records.last().map_or(0, |last| last.offset as usize + LOCAL_BYTES + last.path.len() + last.packed_size as usize)
}

/// A date and a time in the form of MS-DOS: local time without a zone (always UTC here), in steps of
/// two seconds, from 1980 to 2107.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    time: u16,
    date: u16,
}

impl Moment {
    pub(super) fn of(date: Timestamp) -> Self {
        let date = date.to_zoned(TimeZone::UTC).datetime();
        let part = |number: i8| u16::try_from(number).expect("parts of a date are not negative");
        match date.year() {
            ..1980 => Self::packed([1980, 1, 1], [0, 0, 0]),
            2108.. => Self::packed([2107, 12, 31], [23, 59, 58]),
            year => Self::packed(
                [year.unsigned_abs(), part(date.month()), part(date.day())],
                [part(date.hour()), part(date.minute()), part(date.second())],
            ),
        }
    }

    fn packed([year, month, day]: [u16; 3], [hour, minute, second]: [u16; 3]) -> Self {
        Self { time: (hour << 11) + (minute << 5) + second / 2, date: ((year - 1980) << 9) + (month << 5) + day }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_steps_of_two_seconds_and_within_the_format() {
        let moment = |text: &str| Moment::of(text.parse().unwrap());
        assert_eq!(moment("2025-01-02T03:04:05Z"), Moment { time: 0x1882, date: 0x5a22 });
        assert_eq!(moment("1970-01-01T00:00:00Z"), moment("1980-01-01T00:00:00Z"));
        assert_eq!(moment("1980-01-01T00:00:00Z"), Moment { time: 0, date: 0x21 });
        assert_eq!(moment("2300-01-01T00:00:00Z"), moment("2107-12-31T23:59:58Z"));
    }
}
