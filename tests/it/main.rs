//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

mod cli;
mod config;
mod support;
