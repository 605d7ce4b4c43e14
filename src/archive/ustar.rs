//! Headers of the POSIX ustar format, with every field that could vary fixed.
//!
//! Format: POSIX.1-2017, `pax` utility, "ustar Interchange Format". No PAX or GNU records: a path
//! that does not fit is refused.

use tar::{EntryType, Header};

/// Headers and content are padded to whole blocks.
pub(super) const BLOCK: usize = 512;
/// An archive ends with two blocks of zeros.
pub(super) const END: usize = 2 * BLOCK;

/// The largest time that fits into a header: eleven octal digits.
const MAX_SECONDS: i64 = 0o777_7777_7777;

/// One entry, as far as it is not fixed. Directories have a slash at the end of their path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) path: &'a str,
    pub(super) executable: bool,
    pub(super) size: u64,
    pub(super) seconds: u64,
}

impl Item<'_> {
    fn is_directory(&self) -> bool {
        self.path.ends_with('/')
    }

    /// Writes the header, or nothing if the path does not fit into it.
    pub(super) fn render(&self) -> Option<Header> {
        let mut header = Header::new_ustar();
        let (prefix, name) = split(self.path)?;
        let fields = header.as_ustar_mut()?;
        fields.prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(if self.is_directory() { EntryType::Directory } else { EntryType::Regular });
        header.set_mode(if self.is_directory() || self.executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(self.size);
        header.set_mtime(self.seconds);
        header.set_cksum();
        Some(header)
    }

    /// Reads a header that [`Item::render`] wrote, and no other. The path goes into `path`.
    pub(super) fn read<'a>(block: &[u8; BLOCK], path: &'a mut String) -> Result<Item<'a>, &'static str> {
        let header = Header::from_byte_slice(block);
        let fields = header.as_ustar().ok_or("it is not a ustar header")?;
        path.clear();
        for part in [text_of(&fields.prefix), text_of(&fields.name)] {
            let part = std::str::from_utf8(part).map_err(|_| "its path is not ASCII")?;
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
        }
        if !matches!(header.entry_type(), EntryType::Regular | EntryType::Directory) {
            return Err("it is neither a regular file nor a directory");
        }
        let mode = header.mode().map_err(|_| "its mode is not a number")?;
        let item = Item {
            path,
            executable: mode == 0o755 && header.entry_type() == EntryType::Regular,
            size: header.entry_size().map_err(|_| "its size is not a number")?,
            seconds: header.mtime().map_err(|_| "its time is not a number")?,
        };
        let fits =
            item.render().is_some_and(|same| same.as_bytes() == block) && (!item.is_directory() || item.size == 0);
        if fits { Ok(item) } else { Err("its header is not in the form that Consign writes") }
    }
}

/// The time as it stands in a header.
pub(super) fn seconds(date: jiff::Timestamp) -> u64 {
    date.as_second().clamp(0, MAX_SECONDS).unsigned_abs()
}

/// How many bytes of zeros follow content of this size.
pub(super) fn padding(size: u64) -> usize {
    let over = size % BLOCK as u64;
    if over == 0 { 0 } else { BLOCK - usize::try_from(over).expect("less than a block") }
}

/// Splits a path into the header's prefix (155 bytes) and name (100 bytes).
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    // The name may be a directory's, whose own slash cannot be the one to split at.
    let inner = path.strip_suffix('/').unwrap_or(path);
    inner
        .rmatch_indices('/')
        .map(|(slash, _)| (&path[..slash], &path[slash + 1..]))
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100)
}

fn text_of(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(path: &str) -> Item<'_> {
        Item { path, executable: !path.ends_with('/'), size: 0, seconds: 315_532_800 }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = format!("{}/{}", "s".repeat(90), "f".repeat(60));
        for path in ["s/", "s/a", &long, &format!("{long}/")] {
            let header = item(path).render().unwrap();
            let mut buffer = String::new();
            assert_eq!(Item::read(header.as_bytes(), &mut buffer), Ok(item(path)));
        }
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        assert!(item(&"a".repeat(101)).render().is_none());
        assert!(item(&format!("{}/", "a".repeat(100))).render().is_none());
        assert!(item(&format!("{}/a", "a".repeat(156))).render().is_none());
    }

    #[test]
    fn no_other_byte_in_a_header_is_accepted() {
        let header = item("s/bin/tool").render().unwrap();
        let mut path = String::new();
        for at in 0..BLOCK {
            for flip in [1, 0x20, 0x80] {
                let mut block = *header.as_bytes();
                block[at] ^= flip;
                assert!(Item::read(&block, &mut path).is_err(), "byte {at}");
                // With its checksum put right again, a header is another header, never the same.
                let mut other = Header::from_byte_slice(&block).clone();
                other.set_cksum();
                if other.as_bytes() != header.as_bytes()
                    && let Ok(read) = Item::read(other.as_bytes(), &mut path)
                {
                    assert_ne!(read, item("s/bin/tool"));
                }
            }
        }
    }
}
