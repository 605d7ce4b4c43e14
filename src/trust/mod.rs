//! The verifier: what an auditor reads first.
//!
//! [`Verified`] marks what has been checked, and only this module can make one. [`bundle::Case`]
//! checks a whole bundle: it is opened with the documents, examines every file once, and judges.
//! Whom to believe is an [`anchor::Anchor`], which comes from outside of what is verified. Nothing here
//! reads a disk or asks a clock; whoever does hands the bytes in.

pub mod anchor;
pub mod approval;
#[cfg(feature = "toolchain")]
pub mod bundle;
pub mod documents;
#[cfg(feature = "toolchain")]
pub mod dsse;
#[cfg(feature = "toolchain")]
pub mod encrypted;
#[cfg(feature = "toolchain")]
pub mod evidence;
#[cfg(feature = "toolchain")]
mod judge;
#[cfg(feature = "server")]
pub mod jwt;
pub mod key;
#[cfg(feature = "toolchain")]
pub mod minisign;
mod pem;
#[cfg(feature = "toolchain")]
pub mod private;
pub mod shapes;
pub mod signatures;
#[cfg(feature = "toolchain")]
pub mod sigstore;
mod spki;
#[cfg(feature = "toolchain")]
pub mod tile;
#[cfg(feature = "toolchain")]
pub mod transparency;
#[cfg(feature = "toolchain")]
pub mod tree;
pub mod tuf;
#[cfg(feature = "toolchain")]
mod unambiguous;

use std::ops::Deref;

pub use anchor::Anchor;
#[cfg(feature = "toolchain")]
pub use bundle::{Asset, Bundle};

/// Something that has been verified. There is no other way to get one.
#[derive(Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    fn vouch(value: T) -> Self {
        Self(value)
    }

    /// The value, without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
