//! Consign takes a Rust workspace from a commit to a release that can be proven.
//!
//! # The map
//!
//! The crate is a house of four floors; arrows point down only (`cargo xtask tidy` checks it).
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 1 core | [`model`], [`archive`], [`trust`] | nouns, their written forms, the verifier: no I/O, no clock |
//! | 2 outside | [`world`], [`provider`] | one file per thing we touch: processes, files, git, cargo, http |
//! | 3 work | [`catalog`], [`pipeline`], [`install`] | the TUF client and repository; plan, build, package, describe, verify, smoke, publish; and the way back |
//! | 4 faces | [`cli`], [`config`] | flags and files become values; values become text, JSON and exit codes |
//!
//! Start reading at [`pipeline`]: the whole story stands there on one screen.

pub mod archive;
#[cfg(feature = "server")]
pub mod artifacts;
pub mod catalog;
pub mod cli;
#[cfg(feature = "toolchain")]
pub mod client;
pub mod config;
pub mod install;
pub mod model;
#[cfg(feature = "toolchain")]
pub mod pipeline;
#[cfg(feature = "toolchain")]
pub mod provider;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod store;
pub mod trust;
pub mod world;
