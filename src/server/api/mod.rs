//! The resources: one file each, one function per method. A handler reads the request, asks the
//! registry once, and writes the answer.

pub(super) mod artifacts;
pub(super) mod audit;
pub(super) mod blobs;
pub(super) mod policies;
mod query;
pub(super) mod releases;
pub(super) mod service;
pub(super) mod tiles;
pub(super) mod tokens;
pub(super) mod webhooks;
