//! A link of 100 Mbit/s that takes its time, by default 40 ms there and back.
//!
//! [`namespace`] makes one of a network namespace and `tc netem`, which root may and some kernels can.
//! [`relay`] is what stands in for it elsewhere: it takes connections and passes their bytes on as late as
//! such a link would. Packets are never lost, and connections do not begin slowly as those of TCP do.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use consign::world::process::Program;

const BITS_PER_SECOND: f64 = 100e6;
/// There, or back.
pub(super) const ONE_WAY: Duration = Duration::from_millis(20);
const PIECE_BYTES: usize = 16 << 10;
/// How many pieces wait in a queue of the link.
const QUEUE: usize = 32;

/// What came of making a namespace.
pub(super) enum Link {
    Namespace(Namespace),
    /// Why there is none.
    Refused(String),
}

/// A network of its own, removed when it is dropped.
pub(super) struct Namespace(String);

impl Namespace {
    /// What has to stand before a command that runs in it.
    pub(super) fn wrapper(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.0].map(str::to_owned).to_vec()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What is left would be an empty network without a process in it.
        let _ = Program::new("ip").args(["netns", "delete", &self.0]).output();
    }
}

/// A namespace in which everything that is sent takes its time.
pub(super) fn namespace() -> Result<Link> {
    let name = format!("consign-bench-{}", std::process::id());
    let delay = format!("{}ms", ONE_WAY.as_millis());
    let rate = format!("{}mbit", BITS_PER_SECOND / 1e6);
    let shape = ["qdisc", "add", "dev", "lo", "root", "netem", "delay", &delay, "rate", &rate, "limit", "10000"];
    let mut namespace = None;
    for (program, arguments) in [
        ("ip", &["netns", "add", &name][..]),
        ("ip", &["-n", &name, "link", "set", "lo", "up", "mtu", "1500"]),
        ("tc", &[&["-n", &name], &shape[..]].concat()),
    ] {
        match Program::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => {
                namespace.get_or_insert_with(|| Namespace(name.clone()));
            }
            Ok(output) => return Ok(Link::Refused(output.complaint())),
            Err(failure) => return Ok(Link::Refused(failure.to_string())),
        }
    }
    Ok(Link::Namespace(namespace.context("nothing was made")?))
}

/// Passes everything on to a port, as late as a link would that takes so long one way; gives the port to use
/// instead.
pub(super) fn relay(to: u16, one_way: Duration) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    // All connections share the link.
    let (there, back) = (Arc::new(Mutex::new(Instant::now())), Arc::new(Mutex::new(Instant::now())));
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { continue };
            // A connection that is made has gone there and back before its first byte.
            let begins = Instant::now() + 2 * one_way;
            let (there, back) = (Arc::clone(&there), Arc::clone(&back));
            std::thread::spawn(move || pass(near, far, &there, (begins, one_way)));
            std::thread::spawn(move || pass(far_again, near_again, &back, (begins, one_way)));
        }
    });
    Ok(port)
}

/// Passes bytes on in one direction until there are no more. `free` is when the link has sent all that it
/// was given.
fn pass(mut from: TcpStream, mut to: TcpStream, free: &Mutex<Instant>, (begins, one_way): (Instant, Duration)) {
    let (give, take) = mpsc::sync_channel::<(Instant, Vec<u8>)>(QUEUE);
    let sender = std::thread::spawn(move || {
        let _ = to.set_nodelay(true);
        for (due, bytes) in take {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        let due = {
            let mut free = free.lock().expect("nobody panics while it is held");
            let takes =
                Duration::from_secs_f64(f64::from(u32::try_from(read).unwrap_or(u32::MAX)) * 8.0 / BITS_PER_SECOND);
            *free = (*free).max(Instant::now()).max(begins) + takes;
            *free + one_way
        };
        if give.send((due, piece[..read].to_vec())).is_err() {
            break;
        }
    }
    drop(give);
    let _ = sender.join();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_the_relay_arrives_late_and_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let bytes = sent.clone();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let begun = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", relay(port, ONE_WAY).unwrap())).unwrap();
        stream.write_all(b"x").unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got, sent);
        // Twice there and back, and 1.2 MB at 12.5 MB/s.
        assert!(begun.elapsed() >= 4 * ONE_WAY + Duration::from_millis(90), "{:?}", begun.elapsed());
    }
}
