//! Everything outside the process: one file per thing we touch.

pub mod cargo;
pub mod cargo_config;
pub mod clock;
pub mod docker;
pub mod files;
pub mod git;
pub mod http;
pub mod interrupt;
pub mod keys;
pub mod lock;
pub mod owner;
pub mod place;
pub mod process;
pub mod resolve;
pub mod scratch;
pub mod signer_command;
