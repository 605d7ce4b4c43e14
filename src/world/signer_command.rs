//! A program that signs in our stead: a key management service, a card, an agent.
//!
//! [`SignerCommand`] hands it the digest in hex (for Ed25519 the message) and takes the raw signature
//! back. Whether that signature is one is decided by the public key, in `trust::key::sign`.

use std::time::Duration;

use data_encoding::HEXLOWER;
use ring::digest;

use super::process::Program;
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::trust::key::{Algorithm, PublicKey, Signer};

/// No signature of the algorithms is longer than 512 bytes.
const MAX_SIGNATURE_BYTES: usize = 1024;

/// A program with a private key that we never see.
#[derive(Debug)]
pub struct SignerCommand {
    program: Program,
    public: PublicKey,
}

impl SignerCommand {
    /// The program `argv`, which has the private half of `public` and has to be done in time.
    ///
    /// The variables of `withheld` are kept from it.
    pub fn new(argv: &[String], public: PublicKey, timeout: Duration, withheld: &[&str]) -> Result<Self> {
        let program = Program::of(argv)
            .filter(|_| argv.iter().all(|word| !word.contains('\0')) && !argv[0].is_empty())
            .ok_or_else(|| {
                Failure::new(Code::Usage, "the signer command is empty").hint("`--signer-cmd` names a program")
            })?;
        let program = withheld.iter().fold(program, Program::env_remove);
        Ok(Self { program: program.contained(timeout), public })
    }
}

impl Signer for SignerCommand {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign_unverified(&self, message: &[u8]) -> Result<Vec<u8>> {
        let program = self.program.clone().input(asked(self.public.algorithm(), message));
        let output = program.output_up_to(MAX_SIGNATURE_BYTES + 1).map_err(|failure| named(failure, &program))?;
        if !output.status.success() {
            let ended = program.ended(&output);
            return Err(named(ended, &program));
        }
        let complaint = match output.stdout.len() {
            0 => "printed no signature",
            1..=MAX_SIGNATURE_BYTES => return Ok(output.stdout),
            _ => "printed more than a signature",
        };
        Err(named(Failure::new(Code::CommandFailed, format!("`{}` {complaint}", program.name())), &program))
    }
}

/// What is written to the program's standard input.
fn asked(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let hexed = |hash| format!("{}\n", HEXLOWER.encode(digest::digest(hash, message).as_ref())).into_bytes();
    match algorithm {
        Algorithm::EcdsaP256 | Algorithm::Rsa => hexed(&digest::SHA256),
        Algorithm::EcdsaP384 => hexed(&digest::SHA384),
        Algorithm::Ed25519 => message.to_vec(),
    }
}

fn named(failure: Failure, program: &Program) -> Failure {
    Failure::new(failure.code(), "the signer command did not sign")
        .subject(program.name())
        .hint("it gets the digest in hex on standard input (for Ed25519 the message) and prints the raw signature, with exit code 0")
        .because(failure)
}
