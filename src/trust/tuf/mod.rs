//! The Update Framework: what its documents say, and whether they may be believed.
//!
//! [`roles`] are the documents with the check of their signatures, over [`json`], which reads them
//! without ambiguity, and [`delegations`] are what targets metadata says about further such
//! documents. [`trusted`] takes the documents of a repository in the order of the specification's
//! client workflow; at its end stands a [`view::View`], the only way to believe what a catalog says.
//! Fetching, keeping and the clock are somebody else's.

pub mod delegations;
pub mod hashes;
pub mod json;
pub mod roles;
pub mod trusted;
pub mod view;
