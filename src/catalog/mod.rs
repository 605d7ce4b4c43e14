//! The catalog: a TUF repository over all published versions of a workspace.
//!
//! [`client::update`] reads one as the specification says: from a [`source`], with the [`state`] of
//! the last time, judged by [`crate::trust::tuf`].

pub mod client;
pub mod source;
pub mod state;
