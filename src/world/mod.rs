//! Everything outside the process: one file per thing we touch.

pub mod cargo;
pub mod cargo_config;
pub mod clock;
pub mod files;
pub mod git;
pub mod http;
pub mod keys;
pub mod lock;
pub mod parcel;
pub mod place;
pub mod process;
pub mod resolve;
pub mod scratch;
pub mod signer_command;
