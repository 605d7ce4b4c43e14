//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

mod archive;
mod fixture;
mod git;
mod guard;
mod hostile;
mod http;
mod notes;
mod support;
mod verify;
