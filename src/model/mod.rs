//! The nouns: what a release is made of, as values.
//!
//! Everything here is plain data with its one written form. Nothing in this module touches a disk,
//! a process, the network, the environment or a clock; whoever needs those lives on a higher floor.

pub mod address;
#[cfg(feature = "toolchain")]
pub mod artifact;
#[cfg(feature = "toolchain")]
pub mod audit;
pub mod checksums;
pub mod code;
#[cfg(feature = "toolchain")]
pub mod delivery;
pub mod digest;
pub mod events;
pub mod failure;
pub mod finding;
#[cfg(feature = "toolchain")]
pub mod found;
#[cfg(feature = "toolchain")]
pub mod hint;
pub mod index;
pub mod installer;
#[cfg(feature = "toolchain")]
pub mod intent;
pub mod interop;
#[cfg(feature = "toolchain")]
pub mod management;
#[cfg(feature = "toolchain")]
pub mod markdown;
pub mod metadata;
pub mod name;
pub mod platform;
#[cfg(feature = "toolchain")]
pub mod policy;
pub mod provenance;
#[cfg(feature = "toolchain")]
pub mod registry;
pub mod release;
#[cfg(feature = "toolchain")]
pub mod release_commit;
#[cfg(feature = "toolchain")]
pub mod sbom;
#[cfg(feature = "toolchain")]
pub mod source;
pub mod stage;
pub mod text;

pub use code::{Code, Exit};
pub use digest::Digest;
pub use failure::Failure;
pub use finding::Finding;
pub use name::FileName;
pub use platform::Platform;
pub use release::Release;

/// JSON as Consign writes it where no other form is asked for: two spaces, a final line feed.
pub fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut out = serde_json::to_vec_pretty(value).expect("plain data with text keys always serialises");
    out.push(b'\n');
    out
}
