//! Commits that are signed, as git signs them.
//!
//! The main item is [`SigningKey::sign`]. Where a key is set, a commit is signed or not made at all, also when
//! it is made anew on top of somebody else's.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::process::Program;

/// How long a signature may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What commits are signed with. The key has no passphrase, or an agent that knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// An ssh key: the file of the private one, or of a public one whose other half an agent has.
    Ssh(Utf8PathBuf),
    /// A key of `GnuPG`.
    Gpg {
        /// Its id.
        id: String,
        /// Where `GnuPG` keeps its keys; without it, where it always does.
        home: Option<Utf8PathBuf>,
    },
}

impl SigningKey {
    /// The signature of a commit's bytes, as lines.
    pub(super) fn sign(&self, commit: &[u8]) -> Result<String> {
        let program = match self {
            Self::Ssh(key) => Program::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", "git", "-f", key.as_str()]),
            Self::Gpg { id, home } => {
                // Where the agent does not know the passphrase, nobody is asked for it.
                let program = Program::new("gpg").args(["--batch", "--no-tty", "--pinentry-mode", "error"]);
                let program = program.args(["--detach-sign", "--armor", "--local-user", id.as_str()]);
                home.iter().fold(program, |program, home| program.env("GNUPGHOME", home))
            }
        };
        let program = program.env("SSH_ASKPASS_REQUIRE", "never").env("LC_ALL", "C").timeout(TIMEOUT);
        let output = program.clone().input(commit.to_vec()).output()?;
        let signature = output.text();
        if output.status.success() && signature.starts_with("-----BEGIN ") {
            return Ok(signature);
        }
        Err(Failure::new(Code::KeyInvalid, "a commit of the config repository cannot be signed")
            .because(program.ended(&output))
            .hint("check the signing key; nothing is ever committed without the signature that was asked for"))
    }
}
