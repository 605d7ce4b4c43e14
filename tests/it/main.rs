//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

mod archive;
mod fixture;
mod git;
mod guard;
mod http;
mod notes;
mod publish;
mod remote_verify;
mod sbom;
mod support;
