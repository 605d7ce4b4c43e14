//! Where the passphrase of an encrypted key comes from: a file descriptor, the environment, a terminal.
//!
//! [`Passphrases`] asks in that order, each at most once. A terminal is only asked where somebody sits at
//! one. Nothing is shown and nothing is kept longer than the key takes to open.

use std::cell::OnceCell;
use std::io::IsTerminal as _;

use clap::Args;
use zeroize::Zeroizing;

use super::Context;
use crate::config::environment::CONSIGN_KEY_PASSPHRASE;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Failure};
use crate::world::keys;

/// The shortest passphrase that a new key is encrypted with, in bytes.
const MIN_BYTES: usize = 8;

/// Where the passphrase comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct PassphraseArgs {
    /// Read the passphrase of an encrypted key from this file descriptor [default: that of `CONSIGN_KEY_PASSPHRASE`, or the terminal]
    #[arg(long, value_name = "N")]
    pub passphrase_fd: Option<u32>,
}

/// The passphrases of one run.
pub struct Passphrases<'a> {
    context: &'a Context,
    descriptor: Option<u32>,
    handed_in: OnceCell<Zeroizing<Vec<u8>>>,
}

impl<'a> Passphrases<'a> {
    /// Asks nobody yet.
    pub fn new(context: &'a Context, arguments: &PassphraseArgs) -> Self {
        Self { context, descriptor: arguments.passphrase_fd, handed_in: OnceCell::new() }
    }

    /// The passphrase of a key that is there, whose file or variable is named.
    pub fn known(&self, place: &str) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(passphrase) = self.handed_in()? {
            return Ok(passphrase);
        }
        ask(&format!("passphrase of {}: ", shown(place)), || {
            Failure::new(Code::KeyInvalid, format!("`{place}` is encrypted, and there is no passphrase for it"))
                .subject(place)
                .hint("hand it in with `--passphrase-fd 3 3< FILE`, or set CONSIGN_KEY_PASSPHRASE")
        })
    }

    /// The passphrase of a key that is there, if there is one without asking anybody.
    pub fn handed_in(&self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if let Some(descriptor) = self.descriptor {
            if self.handed_in.get().is_none() {
                let read = keys::read_passphrase(descriptor)?;
                // It was empty a line above.
                let _ = self.handed_in.set(read);
            }
            return Ok(self.handed_in.get().cloned());
        }
        let set = self.context.environment.get(CONSIGN_KEY_PASSPHRASE);
        Ok(set.map(|passphrase| Zeroizing::new(passphrase.as_bytes().to_vec())))
    }

    /// The passphrase for a key that is going to be encrypted; a terminal is asked for it twice.
    pub fn new_one(&self, place: &str) -> Result<Zeroizing<Vec<u8>>> {
        let passphrase = match self.handed_in()? {
            Some(passphrase) => passphrase,
            None => chosen(place)?,
        };
        if passphrase.len() < MIN_BYTES {
            return Err(Failure::new(
                Code::KeyInvalid,
                format!("the new passphrase is shorter than {MIN_BYTES} bytes"),
            )
            .hint("take four words, or a line from a password manager"));
        }
        Ok(passphrase)
    }
}

fn chosen(place: &str) -> Result<Zeroizing<Vec<u8>>> {
    let nobody = || {
        Failure::new(Code::KeyInvalid, format!("there is no passphrase to encrypt `{place}` with"))
            .subject(place)
            .hint("hand it in with `--passphrase-fd 3 3< FILE`, or set CONSIGN_KEY_PASSPHRASE")
    };
    let first = ask(&format!("new passphrase for {}: ", shown(place)), nobody)?;
    if first == ask("the same again: ", nobody)? {
        Ok(first)
    } else {
        Err(Failure::new(Code::KeyInvalid, "the two passphrases differ").hint("try again"))
    }
}

fn ask(prompt: &str, nobody: impl FnOnce() -> Failure) -> Result<Zeroizing<Vec<u8>>> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(nobody());
    }
    match rpassword::prompt_password(prompt) {
        Ok(passphrase) => Ok(Zeroizing::new(passphrase.into_bytes())),
        Err(error) => Err(nobody().because(error)),
    }
}
