//! Installing what was released: the story of a release, backwards.
//!
//! ```text
//! origin  = index | catalog | archive             where it comes from, and whom to believe
//! chosen  = select(index, host)                   the package for this machine
//! turn    = lock(prefix, name)                    one process at a time; what a killed one left is healed
//! staged  = fetch(chosen)                         network -> hash -> bound -> private files, beside the target
//! tried   = run it once
//! done    = activate(turn, staged)                one rename makes it the current version
//! ```
//!
//! Nothing is visible in the prefix before the last step, and what was there before stays until
//! after it: a kill at any instant leaves the old version or the new one working.

pub mod activate;
mod behind;
pub mod current;
#[cfg(feature = "toolchain")]
pub mod export;
pub mod glibc;
pub mod history;
pub mod host;
pub mod installed;
pub mod lock;
pub mod loose;
pub mod pins;
pub mod prefix;
pub mod programs;
pub mod receipt;
pub mod resolve;
pub mod revert;
pub mod session;
pub mod settle;
pub mod staging;
pub mod transfer;
pub mod uninstall;
pub mod unpack;
pub mod windows;
