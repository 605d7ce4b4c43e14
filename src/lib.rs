//! Consign takes a Rust workspace from a commit to a release that can be proven.
//!
//! # The map
//!
//! The crate is a house of four floors; arrows point down only (`cargo xtask tidy` checks it).
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 1 core | [`model`], [`archive`], [`trust`] | nouns, their written forms, the verifier: no I/O, no clock |
//! | 2 outside | [`world`], [`provider`], `store`, [`client`] | one file per thing we touch: processes, files, git, cargo, http, containers; the registry's database |
//! | 3 work | [`catalog`], [`pipeline`], [`install`], `artifacts` | the TUF client and repository; plan, build, package, describe, verify, smoke, publish; the way back; the registry |
//! | 4 faces | [`cli`], [`config`], `server` | flags and files become values; values become text, JSON, answers and exit codes |
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
#[cfg(feature = "server")]
pub mod manager;
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
