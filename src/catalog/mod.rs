//! The catalog: a TUF repository over all published versions of a workspace.
//!
//! It lies in `tuf/` beside the versions' directories, so that any TUF client can read it.
//! [`repository`] are its files, [`root`] is who may sign what, and [`edit`] changes what it lists.
//! Everything is verified before it is signed, and again before it is written.

pub mod audit;
pub mod edit;
pub mod entry;
mod listing;
pub mod overview;
pub mod proposal;
pub mod repository;
pub mod root;
mod signatures;
