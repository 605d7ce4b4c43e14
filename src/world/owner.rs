//! Which process something belongs to that outlives it, and whether that process still runs.
//!
//! An [`Owner`] is written on things that stand outside of the process (containers, networks).
//! [`Owner::life`] is asked by a later run before it takes them away: a process id alone would be
//! somebody else's by then, and means nothing on another machine.

use std::fmt;
use std::str::FromStr;

use crate::model::Digest;

/// A process: where it runs, its id there, and when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    machine: String,
    boot: String,
    namespace: String,
    pid: u32,
    started: u64,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It has ended.
    Ended,
    /// It runs on another machine, or where this process cannot see it.
    Unknown,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            machine: machine(),
            boot: first_line("/proc/sys/kernel/random/boot_id").map_or_else(nothing, |boot| short(&boot)),
            namespace: namespace(),
            pid,
            started: started(pid).unwrap_or(0),
        }
    }

    /// Whether it still runs, as far as this process can tell.
    pub fn life(&self) -> Life {
        let this = Self::this();
        if self.machine != this.machine || self.machine == nothing() {
            return Life::Unknown;
        }
        if self.boot != this.boot {
            return Life::Ended;
        }
        if self.namespace != this.namespace {
            return Life::Unknown;
        }
        match (exists(self.pid), started(self.pid)) {
            (None, _) => Life::Unknown,
            (Some(false), _) => Life::Ended,
            // The id has been given to another process since.
            (Some(true), Some(started)) if started != self.started => Life::Ended,
            (Some(true), _) => Life::Running,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}:{}", self.machine, self.boot, self.namespace, self.pid, self.started)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<_> = text.split(':').collect();
        let [machine, boot, namespace, pid, started] = words.as_slice() else { return Err(()) };
        Ok(Self {
            machine: (*machine).to_owned(),
            boot: (*boot).to_owned(),
            namespace: (*namespace).to_owned(),
            pid: pid.parse().map_err(|_| ())?,
            started: started.parse().map_err(|_| ())?,
        })
    }
}

/// What stands for something that this system does not tell.
fn nothing() -> String {
    "-".to_owned()
}

/// The machine, in a form that does not give its id away.
fn machine() -> String {
    let id = ["/etc/machine-id", "/var/lib/dbus/machine-id"].into_iter().find_map(first_line);
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = String::new();
    match id.unwrap_or_default() + &name {
        both if both.is_empty() => nothing(),
        both => short(&both),
    }
}

/// The process ids of one container mean nothing in another.
fn namespace() -> String {
    fs_err::read_link("/proc/self/ns/pid")
        .ok()
        .and_then(|link| link.to_str().map(|link| link.chars().filter(char::is_ascii_digit).collect()))
        .unwrap_or_else(nothing)
}

fn first_line(path: &str) -> Option<String> {
    fs_err::read_to_string(path).ok()?.lines().next().map(str::to_owned).filter(|line| !line.is_empty())
}

fn short(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string().chars().take(16).collect()
}

/// When a process started, in ticks since the machine did: the 22nd field, counted behind the name,
/// which may hold anything.
fn started(pid: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(unix)]
fn exists(pid: u32) -> Option<bool> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    // A process of somebody else may not be signalled, and exists.
    Some(rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn exists(_pid: u32) -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_one_that_has_its_id_now() {
        let this = Owner::this();
        assert_eq!(this.to_string().parse(), Ok(this.clone()));
        if this.started == 0 {
            eprintln!("skipped: this system does not tell when a process started");
            return;
        }
        assert_eq!(this.life(), Life::Running);
        let before = Owner { started: this.started - 1, ..this.clone() };
        assert_eq!(before.life(), Life::Ended);
        let boot = Owner { boot: "another".to_owned(), ..this.clone() };
        assert_eq!(boot.life(), Life::Ended);
        let elsewhere = Owner { machine: "another".to_owned(), ..before.clone() };
        assert_eq!(elsewhere.life(), Life::Unknown);
        let contained = Owner { namespace: "1".to_owned(), ..before };
        assert_eq!(contained.life(), Life::Unknown);
    }

    #[test]
    fn what_somebody_else_wrote_is_no_owner() {
        for text in ["", "a:b:c:1", "a:b:c:x:1", "a:b:c:1:2:3"] {
            assert_eq!(text.parse::<Owner>(), Err(()), "{text}");
        }
    }
}
