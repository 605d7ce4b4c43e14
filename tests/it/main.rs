//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

mod archive;
mod git;
mod guard;
mod http;
mod notes;
mod pipeline;
mod sbom;
mod support;
mod workspaces;
