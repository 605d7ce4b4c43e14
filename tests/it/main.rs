//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

mod sbom;
mod support;
