//! The release manager: what brings artifacts into environments.
//!
//! [`deployer`] is how an environment is changed. It is handed plain values and decides nothing.

pub mod deployer;
