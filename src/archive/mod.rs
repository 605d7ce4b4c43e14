//! Release archives: one deterministic form to write, and the same form and no other to read.
//!
//! [`Writer`] is a pure function of the entries, the date, the format and the level; nothing of the
//! machine (user, umask, clock, locale, order of files in a directory) reaches the bytes.
//! [`Inspector`] accepts only what the writer would have written: it renders each header again and
//! compares. [`stream`] accepts the same in one pass, and hands on what is in it. None of them touches
//! a disk. [`PlainWriter`] writes the same without compression, for files that are compressed already.
//!
//! An archive holds one directory, its *stem*, and below it regular files and the directories that
//! they need: `stem/`, `stem/bin/`, `stem/bin/tool`. Entries are sorted by the bytes of their path.

mod contents;
mod frame;
#[cfg(feature = "toolchain")]
mod glance;
mod layout;
#[cfg(feature = "toolchain")]
mod plain;
pub mod programs;
#[cfg(feature = "toolchain")]
mod reader;
pub mod stream;
mod ustar;
#[cfg(feature = "toolchain")]
mod writer;
mod zip;

pub use contents::{Date, Entry, Problem};
#[cfg(feature = "toolchain")]
pub use glance::{Glance, glance};
#[cfg(feature = "toolchain")]
pub use plain::PlainWriter;
#[cfg(feature = "toolchain")]
pub use reader::{Contents, Inspector};
#[cfg(feature = "toolchain")]
pub use writer::{Memory, Options, Packed, Sealed, Writer};

/// The largest number of entries in an archive, directories included.
pub const MAX_ENTRIES: usize = 10_000;
/// The longest path below the stem, in bytes.
pub const MAX_PATH_BYTES: usize = 200;
/// The deepest path below the stem, in components.
pub const MAX_DEPTH: usize = 16;
/// The largest archive, packed or unpacked: what a zip file can say without its 64-bit extension.
pub const MAX_BYTES: u64 = u32::MAX as u64 - 1;

/// The header of every gzip member: deflate, no flags, no time, no level, unknown system (RFC 1952).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
