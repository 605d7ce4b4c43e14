//! Behaviour of the whole crate, seen from outside. Modules mirror `src/`.

mod http;
mod publish;
mod support;
