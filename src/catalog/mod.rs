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

pub mod audit;
pub mod client;
mod differences;
pub mod edit;
pub mod entry;
pub mod lifetimes;
mod listing;
pub mod overview;
pub mod proposal;
pub mod repository;
pub mod root;
mod settle;
mod signatures;
pub mod source;
pub mod state;
