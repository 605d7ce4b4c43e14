//! Release archives: one deterministic form to write, and the same form and no other to read.
//!
//! The writer is a pure function of the entries, the date and the format; nothing of the machine
//! (user, umask, clock, locale, order of files in a directory) reaches the bytes. The reader
//! accepts only what the writer would have written: it renders each header again and compares.
//! Neither touches a disk.

use jiff::Timestamp;

use crate::model::Digest;
use crate::model::index::ArchiveFormat;

/// Limits of what is written and read.
pub const MAX_ENTRIES: usize = 10_000;
