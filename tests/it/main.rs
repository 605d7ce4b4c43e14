//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

mod git;
mod guard;
mod archive;
mod support;
