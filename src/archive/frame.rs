//! The header of a Zstandard frame: RFC 8878, section 3.1.1.1.
//!
//! The decoder reads it as well. It is read here first because much is allowed there that Consign
//! never writes, and because it says how much memory the decoder is going to take.

/// How far back a frame may refer, as a power of two: eight megabytes.
///
/// RFC 8878 has every decoder support that much, and nothing more than it; it is what level 19
/// needs. With more, whoever installs would need memory that grows with the archive.
pub(super) const MAX_WINDOW_LOG: u32 = 23;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The descriptor's bit for a checksum after the content.
const CHECKSUM: u8 = 0b100;
/// Its bits for a dictionary, and those that are unused or reserved.
const ABSENT: u8 = 0b1_1011;
/// Its bit for a window as large as the content.
const SINGLE_SEGMENT: u8 = 0b10_0000;

/// The magic number and the descriptor, which says what else there is.
pub(super) const START_BYTES: usize = 5;
/// The longest header: start, window and the largest form of the content's size.
pub(super) const MAX_HEADER_BYTES: usize = START_BYTES + 1 + 8;

/// How long the header is that starts with these bytes, or nothing if it is not one that Consign
/// writes: with a checksum and the content's size, and without a dictionary.
pub(super) fn header_bytes(start: [u8; START_BYTES]) -> Option<usize> {
    let descriptor = start[MAGIC.len()];
    let plain = start.starts_with(&MAGIC) && descriptor & (CHECKSUM | ABSENT) == CHECKSUM;
    let (window, size) = fields(descriptor);
    (plain && size > 0).then_some(START_BYTES + window + size)
}

/// The content's size in a header of the length that [`header_bytes`] says, or nothing if it asks for
/// a larger window than it may.
pub(super) fn content_bytes(header: &[u8]) -> Option<u64> {
    let (window, size) = fields(*header.get(MAGIC.len())?);
    let written = header.get(START_BYTES + window..)?;
    let mut number = [0; 8];
    number.get_mut(..size)?.copy_from_slice(written.get(..size)?);
    let number = u64::from_le_bytes(number);
    // Two bytes start counting where one ends.
    let content = if size == 2 { number + 256 } else { number };
    let window = if window == 0 { content } else { window_bytes(header[START_BYTES]) };
    (window <= 1 << MAX_WINDOW_LOG).then_some(content)
}

/// The lengths of the window's and of the content size's field.
fn fields(descriptor: u8) -> (usize, usize) {
    let single = descriptor & SINGLE_SEGMENT != 0;
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    (usize::from(!single), size)
}

fn window_bytes(field: u8) -> u64 {
    let base = 1_u64 << (10 + (field >> 3));
    base + base / 8 * u64::from(field & 0b111)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zstd::zstd_safe;

    fn frame(size: usize, level: i32, window_log: Option<u32>) -> Vec<u8> {
        let mut compressor = zstd::bulk::Compressor::new(level).unwrap();
        compressor.include_checksum(true).unwrap();
        if let Some(log) = window_log {
            compressor.set_parameter(zstd_safe::CParameter::WindowLog(log)).unwrap();
        }
        compressor.compress(&vec![0; size]).unwrap()
    }

    fn read(bytes: &[u8]) -> Option<u64> {
        content_bytes(&bytes[..header_bytes(*bytes.first_chunk().unwrap())?])
    }

    #[test]
    fn sizes_are_read_as_zstandard_reads_them() {
        for size in [0, 1, 255, 256, 257, 65_791, 65_792, 1 << 20, 9 << 20] {
            let bytes = frame(size, 1, None);
            assert_eq!(read(&bytes), Some(size as u64));
            assert_eq!(zstd_safe::get_frame_content_size(&bytes).unwrap(), Some(size as u64));
        }
    }

    #[test]
    fn a_window_of_more_than_eight_megabytes_is_refused() {
        assert_eq!(read(&frame(20 << 20, 19, None)), Some(20 << 20));
        assert_eq!(read(&frame(20 << 20, 19, Some(24))), None);
        assert_eq!(read(&frame(20 << 20, 19, Some(25))), None, "one segment");
    }

    #[test]
    fn what_consign_does_not_write_is_refused() {
        let bytes = frame(1000, 1, None);
        for at in 0..MAGIC.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(read(&other), None);
        }
        for bit in [0b1, 0b10, 0b100, 0b1000, 0b1_0000] {
            let mut other = bytes.clone();
            other[4] ^= bit;
            assert_eq!(read(&other), None, "{bit:b}");
        }
        assert_eq!(header_bytes([0x28, 0xb5, 0x2f, 0xfd, 0b100]), None, "without a size");
    }
}
