//! What a verb is given: the global options, the environment, where to print and who listens.
//!
//! The settings of a workspace are read only where a verb asks for them, in [`super::settings`], so that
//! `consign --version` and shell completion answer at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::display::Display;
use super::output::{self, Output};
use super::{Globals, usage};
use crate::config::environment::{self, Environment};
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::world::files;
use crate::world::http::ClientOptions;

/// The longest that a server may be waited for.
const MAX_HTTP_TIMEOUT_SECONDS: u64 = 3600;

/// What a verb is given.
pub struct Context {
    /// The options that every verb takes.
    pub globals: Globals,
    /// Where results and notes are printed.
    pub output: Output,
    /// The environment variables that mean something to Consign, read once.
    pub environment: Environment,
    /// The directory to work in, absolute: the current one or that of `--directory`.
    pub directory: Utf8PathBuf,
    /// The settings file that was named, if one was.
    pub config: Option<Utf8PathBuf>,
    display: Display,
    warned: RefCell<BTreeSet<String>>,
}

impl Context {
    pub(super) fn new(globals: &Globals, config: Option<&Utf8Path>) -> Result<Self> {
        let environment = Environment::read();
        output::keep(environment.secrets());
        // One that cannot be read is none that was left out: it may be a key that has to have signed.
        if let Some(name) = environment.unreadable().iter().find(|name| name.starts_with("CONSIGN_")) {
            return Err(Failure::new(Code::ConfigInvalid, format!("the value of `{name}` is not UTF-8")).subject(name));
        }
        let directory = directory(globals.directory.as_deref())?;
        Ok(Self {
            output: Output::new(globals),
            display: Display::choose(globals, &environment),
            globals: globals.clone(),
            environment,
            directory,
            config: config.map(Utf8Path::to_owned),
            warned: RefCell::default(),
        })
    }

    /// Whoever shows what happens while a verb runs.
    pub fn listener(&self) -> &dyn Listener {
        self.display.listener()
    }

    /// Tells the user something that stops nothing, once.
    pub fn warn(&self, message: impl Into<String>) {
        let message = message.into();
        if self.warned.borrow_mut().insert(message.clone()) {
            self.listener().hear(&Event::Warning { message });
        }
    }

    /// Whether every verification demands signatures: asked for, or implied by a key.
    pub fn requires_signatures(&self) -> bool {
        self.environment.get(environment::CONSIGN_REQUIRE_SIGNATURES).is_some_and(|value| value != "0")
            || self.environment.get(environment::CONSIGN_VERIFY_PUBKEY).is_some()
    }

    /// How long servers are waited for.
    pub fn client_options(&self) -> Result<ClientOptions> {
        let Some(given) = self.environment.get(environment::CONSIGN_HTTP_TIMEOUT) else {
            return Ok(ClientOptions::default());
        };
        let seconds = given.parse().ok().filter(|seconds| (1..=MAX_HTTP_TIMEOUT_SECONDS).contains(seconds));
        let seconds = seconds.ok_or_else(|| {
            let name = environment::CONSIGN_HTTP_TIMEOUT;
            Failure::new(Code::ConfigInvalid, format!("{name} is `{}`", text::shown(given)))
                .subject(name)
                .hint(format!("write it as a number of seconds from 1 to {MAX_HTTP_TIMEOUT_SECONDS}"))
        })?;
        Ok(ClientOptions::waiting(Duration::from_secs(seconds)))
    }

    /// A path from a flag, seen from the directory that is worked in.
    pub fn path(&self, given: &Utf8Path) -> Utf8PathBuf {
        self.directory.join(given)
    }

    /// Takes the live view away, so that what is printed next stands alone.
    pub(super) fn finish(&self) {
        self.display.finish();
    }
}

fn directory(given: Option<&Utf8Path>) -> Result<Utf8PathBuf> {
    let current = std::env::current_dir()
        .map_err(|error| usage("the current directory cannot be used").because(error))
        .and_then(files::utf8)?;
    let Some(given) = given else { return Ok(current) };
    let directory = current.join(given);
    if directory.is_dir() {
        Ok(directory)
    } else {
        Err(usage(format!("`{given}` is not a directory")).subject(given.as_str()).hint("`--directory` takes one"))
    }
}
