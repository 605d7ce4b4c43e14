//! How an environment is changed: one file or directory per kind of place.

pub mod git;
