//! One question over HTTP to a service in a container.
//!
//! It is asked of a port that the engine published on its own machine, so no proxy is used and no
//! redirect followed: the answer itself is what is looked at.

use std::io::Read as _;
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::redirect::Policy;

use super::Engine;
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// How much of an answer is looked at, in bytes.
const MAX_BODY_BYTES: u64 = 256 << 10;

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

impl Engine {
    /// Asks once. That nobody answers is a failure.
    pub fn ask(&self, port: u16, path: &str, timeout: Duration) -> Result<Answer> {
        let url = format!("http://{}:{port}{path}", self.address.host());
        let failed = |error: &dyn std::error::Error| {
            let mut cause = error.to_string();
            let mut next = error.source();
            while let Some(error) = next {
                cause = error.to_string();
                next = error.source();
            }
            Failure::new(Code::EngineFailed, format!("no answer: {cause}"))
        };
        // Every client wants one, although nothing is encrypted here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(timeout).tls_certs_only([]).build();
        let client = client.map_err(|error| failed(&error))?;
        let answer = client.get(url).send().map_err(|error| failed(&error))?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        answer.take(MAX_BODY_BYTES).read_to_end(&mut body).map_err(|error| failed(&error))?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}
