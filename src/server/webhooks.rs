//! Who may tell this server something: senders with a secret, each of which has an endpoint only then.
//!
//! A [`Secret`] judges a signature over the very bytes of a body, or a bearer token, in a time that says
//! nothing about it. What the messages mean is in [`crate::model::hint`]; the endpoints are in `api`.

use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;
use ring::hmac;
use tokio::sync::Semaphore;

use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// The shortest secret, in bytes: a shorter one can be found by whoever has seen one signature.
const MIN_SECRET_BYTES: usize = 16;
/// How many bodies are held at once, before it is known who sent them.
const BODIES: usize = 16;

/// The senders that are listened to.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// A forge.
    pub(super) github: Option<Secret>,
    /// Flux's notification controller.
    pub(super) flux: Option<Secret>,
    /// The daemons of clusters.
    pub(super) daemon: Option<Secret>,
    /// Turns at holding a body.
    pub(super) turns: Arc<Semaphore>,
}

impl Webhooks {
    /// Those whose secrets are given.
    pub fn new(github: Option<Secret>, flux: Option<Secret>, daemon: Option<Secret>) -> Self {
        Self { github, flux, daemon, turns: Arc::new(Semaphore::new(BODIES)) }
    }
}

/// What a sender and this server know, and nobody else.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// Reads a secret that was given by a name.
    pub fn read(text: &str, name: &str) -> Result<Self> {
        let text = text.trim();
        if text.len() < MIN_SECRET_BYTES {
            return Err(Failure::new(
                Code::ConfigInvalid,
                format!("`{name}` is shorter than {MIN_SECRET_BYTES} bytes"),
            )
            .subject(name)
            .hint("make one with `openssl rand -hex 32`"));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }

    /// Whether a header `sha256=<hex>` is the signature of a body.
    pub(super) fn has_signed(&self, header: &str, body: &[u8]) -> bool {
        let tag = header.strip_prefix("sha256=").and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok());
        tag.is_some_and(|tag| hmac::verify(&self.0, body, &tag).is_ok())
    }

    /// Whether it is what somebody sent as a token. The tags of both are compared, so that time says nothing.
    pub(super) fn is(&self, token: &str) -> bool {
        const ONE: &[u8] = b"the same for both";
        let theirs = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()), ONE);
        hmac::verify(&self.0, ONE, theirs.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signature_of_the_very_bytes_counts() {
        // The example of GitHub's documentation.
        let secret = Secret::read("It's a Secret to Everybody", "x").expect("a secret");
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(secret.has_signed(good, b"Hello, World!"));
        assert!(!secret.has_signed(good, b"Hello, World! "));
        for wrong in
            ["", "sha256=", "sha1=757107ea", &good[7..], &good[..70], &format!("{good}00"), &format!(" {good}")]
        {
            assert!(!secret.has_signed(wrong, b"Hello, World!"), "{wrong}");
        }
    }

    #[test]
    fn a_token_counts_whole_and_a_secret_is_not_shown() {
        let secret = Secret::read("0123456789abcdef-canary\n", "x").expect("a secret");
        assert!(secret.is("0123456789abcdef-canary"));
        assert!(!secret.is("0123456789abcdef-canar") && !secret.is("") && !secret.is("0123456789abcdef-canary "));
        assert!(!format!("{secret:?}").contains("canary"));
        assert!(Secret::read("", "x").is_err() && Secret::read("short", "x").is_err());
    }
}
