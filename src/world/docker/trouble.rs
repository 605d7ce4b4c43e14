//! What the engine's client says, as failures with their own sentence and way out.

use std::error::Error as _;
use std::io::ErrorKind;

use bollard::errors::Error;

use super::Address;
use crate::model::text::shown;
use crate::model::{Code, Failure};

/// The failure of something that the engine was asked for.
#[expect(clippy::needless_pass_by_value, reason = "whoever has the failure needs the error no more")]
pub(super) fn failure(deed: &str, error: Error) -> Failure {
    let said = said(&error);
    if said.contains("no space left on device") {
        return Failure::new(Code::EngineFull, format!("failed to {deed}: the engine's disk is full"))
            .because(said)
            .hint("`docker system df` shows what takes the space, `docker system prune` frees it");
    }
    if said.contains("exec format error") {
        return Failure::new(
            Code::EngineArchitecture,
            format!("failed to {deed}: the engine cannot run programs of its architecture"),
        )
        .because(said)
        .hint("install emulation (`qemu-user-static`, or `docker run --privileged tonistiigi/binfmt --install all`)");
    }
    Failure::new(Code::EngineFailed, format!("failed to {deed}")).because(said)
}

/// Whether the engine says that there is no such thing.
pub(super) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine says that it is so already, or is being done.
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, .. })
}

/// What the engine says, safe to show.
pub(super) fn said(error: &Error) -> String {
    let said = match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.clone(),
        other => {
            let mut words = other.to_string();
            let mut next = other.source();
            while let Some(cause) = next {
                let cause_words = cause.to_string();
                if !words.contains(&cause_words) {
                    words = format!("{words}: {cause_words}");
                }
                next = cause.source();
            }
            words
        }
    };
    shown(&said).into_owned()
}

/// Why nobody answers at an address.
pub(super) fn unreachable(address: &Address, error: &Error) -> Failure {
    match kind(error) {
        Some(ErrorKind::PermissionDenied) => {
            Failure::new(Code::EngineForbidden, format!("the container engine at `{address}` may not be used by this user"))
                .subject(address.to_string())
                .hint("join the group of the socket (`sudo usermod -aG docker $USER`, then log in again), or use a rootless engine and name it in `DOCKER_HOST`")
        }
        _ => Failure::new(Code::EngineMissing, format!("no container engine answers at `{address}`"))
            .subject(address.to_string())
            .because(said(error))
            .hint("start Docker or Podman's socket (`systemctl start docker`, `systemctl --user start podman.socket`), or name another place in `DOCKER_HOST`"),
    }
}

/// Whether nobody can be spoken to at an address, so that the next one may be tried.
pub(super) fn is_nobody_there(error: &Error) -> bool {
    matches!(error, Error::SocketNotFoundError(_))
        || matches!(kind(error), Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied))
}

/// What the system said, wherever in the chain that is.
fn kind(error: &Error) -> Option<ErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}
