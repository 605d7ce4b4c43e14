//! The registry's face on the network: one route table, one way to fail, one way to be who one is.
//!
//! [`start`] opens everything that [`Settings`] name, and [`Running::serve`] answers until it is told to
//! stop. What an artifact is and what is kept of it is decided in [`crate::artifacts`]; the command line
//! around it is in [`crate::cli`]. Nothing here reads the environment or prints.

mod api;
mod connection;
pub mod federation;
mod grants;
mod identity;
mod key;
mod logs;
mod metrics;
pub mod openapi;
mod problem;
mod routes;
mod start;
mod tls;
mod tokens;
mod traces;
pub mod webhooks;
mod wrap;

use std::sync::Arc;

pub use api::tokens::shown;
pub use grants::{Grants, Verb};
pub use logs::{Logs, log_to};
pub use start::{Checked, Running, Settings, check, open, start};
pub use tls::TlsFiles;
pub use tokens::{Issued, Wanted, issue, revoke};

use crate::artifacts::Registry;
use crate::manager::Manager;
use federation::Federation;
use metrics::Metrics;
use traces::Traces;
use webhooks::Webhooks;

/// What every request is answered from.
#[derive(Clone)]
struct App(Arc<Parts>);

struct Parts {
    registry: Registry,
    manager: Manager,
    metrics: Metrics,
    limits: Limits,
    federation: Federation,
    webhooks: Webhooks,
    /// Where spans go, if anywhere.
    traces: Option<Traces>,
    /// The name of the audit log in its checkpoints.
    origin: String,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// How much and how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest blob, in bytes.
    pub max_blob_bytes: u64,
    /// For the head of a request, and for each further piece of it.
    pub stall_timeout: std::time::Duration,
    /// For a request without a large body, and for the answer to one with it.
    pub request_timeout: std::time::Duration,
    /// For what is still being answered when the server is told to stop.
    pub farewell: std::time::Duration,
    /// How many connections there are at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = std::time::Duration::from_secs;
        Self {
            max_blob_bytes: 4 << 30,
            stall_timeout: seconds(20),
            request_timeout: seconds(60),
            farewell: seconds(20),
            connections: 1024,
        }
    }
}
