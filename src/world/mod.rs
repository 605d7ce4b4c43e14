//! Everything outside the process: one file per thing we touch.

#[cfg(feature = "toolchain")]
pub mod cargo;
#[cfg(feature = "toolchain")]
pub mod cargo_config;
pub mod clock;
#[cfg(feature = "toolchain")]
pub mod docker;
pub mod files;
#[cfg(feature = "toolchain")]
pub mod git;
pub mod http;
#[cfg(feature = "toolchain")]
pub mod interrupt;
pub mod keys;
pub mod lock;
#[cfg(feature = "toolchain")]
pub mod owner;
pub mod parcel;
pub mod place;
pub mod process;
#[cfg(feature = "toolchain")]
pub mod resolve;
pub mod scratch;
#[cfg(feature = "toolchain")]
pub mod signer_command;
