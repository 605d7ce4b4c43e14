//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

mod archive;
mod cli;
mod config;
mod git;
mod guard;
mod http;
mod notes;
mod sbom;
mod support;
