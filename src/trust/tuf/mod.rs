//! The Update Framework: what its documents say, and whether they may be believed.
//!
//! [`roles`] are the documents with the check of their signatures, over [`json`], which reads them
//! without ambiguity.

pub mod json;
pub mod roles;
