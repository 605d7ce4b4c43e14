//! A request to stop: ctrl-C, or a termination signal.
//!
//! [`watch`] turns the first signal into a flag, so that whatever stands outside of this process can
//! be taken down first. A second one ends the process at once, as does any after the watch is over.
//! Nothing here waits: whoever works asks [`Interrupt::check`] between two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// Whether to stop. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Whether a signal has come.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks to stop, as a signal would.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Fails once a signal has come.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(interrupted()) } else { Ok(()) }
    }
}

/// The failure of work that was asked to stop.
fn interrupted() -> Failure {
    Failure::new(Code::Interrupted, "interrupted: what had been started was taken down")
}

/// While it lives, signals set its flag.
#[derive(Debug)]
pub struct Watch {
    interrupt: Interrupt,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    /// The flag.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Starts to watch.
pub fn watch() -> Result<Watch> {
    let watch = Watch { interrupt: Interrupt::default(), is_over: Arc::default() };
    let register = |signal| -> std::io::Result<()> {
        // In this order: what ends the process looks at the flags before the first signal sets one.
        flag::register_conditional_default(signal, Arc::clone(&watch.interrupt.0))?;
        flag::register_conditional_default(signal, Arc::clone(&watch.is_over))?;
        flag::register(signal, Arc::clone(&watch.interrupt.0))?;
        Ok(())
    };
    let signals = [
        SIGINT,
        SIGTERM,
        #[cfg(unix)]
        signal_hook::consts::SIGHUP,
    ];
    signals
        .into_iter()
        .try_for_each(register)
        .map_err(|error| Failure::new(Code::Io, "failed to listen for signals").because(error))?;
    Ok(watch)
}
