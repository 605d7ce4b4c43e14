//! From a commit to a published, verified bundle.

pub mod events;
pub mod guard;
pub mod notes;
pub mod request;
pub mod stage;
pub mod summary;
