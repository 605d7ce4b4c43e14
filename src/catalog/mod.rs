//! The catalog: a TUF repository over all published versions of a workspace.
//!
//! It lies in `tuf/` beside the versions' directories, so that any TUF client can read it.
//!
//! Reading: [`client::update`] reads one as the specification says: from a [`source`], with the
//! [`state`] of the last time, judged by [`crate::trust::tuf`].
//!
//! Keeping: [`repository`] are its files, [`root`] is who may sign what, [`proposal`] collects
//! signatures, and [`edit`] changes what it lists. Everything is verified before it is signed, and
//! again by the client's rules before it is written.

#[cfg(feature = "toolchain")]
pub mod audit;
pub mod client;
#[cfg(feature = "toolchain")]
mod differences;
#[cfg(feature = "toolchain")]
pub mod edit;
pub mod entry;
#[cfg(feature = "toolchain")]
pub mod lifetimes;
#[cfg(feature = "toolchain")]
mod listing;
#[cfg(feature = "toolchain")]
pub mod overview;
#[cfg(feature = "toolchain")]
pub mod proposal;
#[cfg(feature = "toolchain")]
pub mod repository;
#[cfg(feature = "toolchain")]
pub mod root;
#[cfg(feature = "toolchain")]
mod settle;
#[cfg(feature = "toolchain")]
mod signatures;
pub mod source;
pub mod state;
