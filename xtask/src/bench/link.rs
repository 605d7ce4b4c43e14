//! Links that are slower than this machine: 100 Mbit/s and 40 ms there and back, or 20 ms and lost packets.
//!
//! [`namespace`] makes one of a network namespace and `tc netem`, which root may and some kernels can.
//! [`relay`] is what stands in for it elsewhere: it takes connections and passes their bytes on as late as
//! such a link would. Over [`Shape::HOME`] packets are never lost, and connections do not begin slowly as those
//! of TCP do; over [`Shape::LOSSY`] each connection has the [`Window`] that TCP would have.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use consign::world::process::Program;

const BITS_PER_SECOND: f64 = 100e6;
/// There, or back.
const ONE_WAY: Duration = Duration::from_millis(20);
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

/// What a [`relay`] does to what passes it.
#[derive(Clone, Copy)]
pub(in crate::bench) struct Shape {
    /// How much it passes on, all connections together.
    pub(in crate::bench) bits_per_second: Option<f64>,
    /// There, or back.
    pub(in crate::bench) one_way: Duration,
    /// How many of a hundred packets get lost.
    pub(in crate::bench) lost_percent: u32,
}

impl Shape {
    /// What people install over.
    pub(super) const HOME: Self = Self { bits_per_second: Some(BITS_PER_SECOND), one_way: ONE_WAY, lost_percent: 0 };
    /// What is uploaded over: 20 ms there and back, and one packet of a hundred gets lost.
    pub(super) const LOSSY: Self = Self { bits_per_second: None, one_way: Duration::from_millis(10), lost_percent: 1 };

    pub(in crate::bench) fn round_trip(self) -> Duration {
        2 * self.one_way
    }
}

/// Passes everything on to a port, as late as the link would; gives the port to use instead.
pub(in crate::bench) fn relay(to: u16, shape: Shape) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    // All connections share the link.
    let (there, back) = (Arc::new(Mutex::new(Instant::now())), Arc::new(Mutex::new(Instant::now())));
    std::thread::spawn(move || {
        for (number, near) in (0..).zip(listener.incoming().flatten()) {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { continue };
            // A connection that is made has gone there and back before its first byte, and if one of these two
            // packets gets lost, the next is sent after a second.
            let (mut out, back_again) = (Window::new(shape, 2 * number), Window::new(shape, 2 * number + 1));
            let late = if out.is_lost() || out.is_lost() { Duration::from_secs(1) } else { Duration::ZERO };
            let begins = Instant::now() + shape.round_trip() + late;
            let (there, back) = (Arc::clone(&there), Arc::clone(&back));
            std::thread::spawn(move || pass(near, far, &there, begins, out));
            std::thread::spawn(move || pass(far_again, near_again, &back, begins, back_again));
        }
    });
    Ok(port)
}

/// Passes bytes on in one direction until there are no more. `free` is when the link has sent all that it
/// was given.
fn pass(mut from: TcpStream, mut to: TcpStream, free: &Mutex<Instant>, begins: Instant, mut window: Window) {
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
        let begins = Instant::now().max(begins);
        let due = match window.shape.bits_per_second {
            Some(bits_per_second) => {
                let mut free = free.lock().expect("nobody panics while it is held");
                let takes =
                    Duration::from_secs_f64(f64::from(u32::try_from(read).unwrap_or(u32::MAX)) * 8.0 / bits_per_second);
                *free = (*free).max(begins) + takes;
                *free + window.shape.one_way
            }
            None => window.arrives(begins, read.div_ceil(SEGMENT_BYTES)),
        };
        if give.send((due, piece[..read].to_vec())).is_err() {
            break;
        }
    }
    drop(give);
    let _ = sender.join();
}

/// What a packet carries, in bytes.
const SEGMENT_BYTES: usize = 1448;
/// How many packets a connection begins with, and begins anew with when it was silent for a while.
const FIRST_WINDOW: f64 = 10.0;
/// How long it has to be silent for that.
const SILENCE: Duration = Duration::from_millis(200);

/// When packets would arrive that a TCP sends over a link that loses some of them.
///
/// In each round trip so many packets are sent as the window has. It begins with ten and doubles until the
/// first loss; each round trip with a loss halves it, each other one adds a packet (RFC 5681). What was lost
/// is sent again when the other side says so, a round trip later; the last packet of a burst, behind which
/// nobody says anything, two round trips later (RFC 6675, RFC 8985). What comes after it waits for it, for TCP
/// gives bytes in order. At one lost packet of a hundred and 20 ms, CUBIC (RFC 9438) sends as much as this.
struct Window {
    shape: Shape,
    /// In packets.
    size: f64,
    /// Below it the window doubles.
    threshold: f64,
    /// When this round trip began, and how many packets were sent since.
    round: Option<(Instant, f64)>,
    has_lost: bool,
    /// When the last packet arrives.
    last: Option<Instant>,
    random: u64,
}

impl Window {
    fn new(shape: Shape, seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
        let (size, threshold) = (FIRST_WINDOW, f64::INFINITY);
        Self { shape, size, threshold, round: None, has_lost: false, last: None, random }
    }

    /// When the last of so many packets arrives that are there to be sent now.
    fn arrives(&mut self, now: Instant, packets: usize) -> Instant {
        let round_trip = self.shape.round_trip();
        for left in (0..packets).rev() {
            let sent = self.send(now);
            let mut arrives = sent + self.shape.one_way;
            while self.is_lost() {
                self.has_lost = true;
                arrives += if left == 0 { 2 * round_trip } else { round_trip };
            }
            self.last = Some(self.last.map_or(arrives, |last| last.max(arrives)));
        }
        self.last.unwrap_or(now)
    }

    /// When the next packet is sent.
    fn send(&mut self, now: Instant) -> Instant {
        let round_trip = self.shape.round_trip();
        let (mut begun, mut sent) = self.round.unwrap_or((now, 0.0));
        if sent >= self.size.floor() {
            // The acknowledgements of this round let the next one go.
            (begun, sent) = ((begun + round_trip).max(now), 0.0);
            self.grow();
        } else if now > begun + round_trip {
            // There was less to send than was allowed: then the window does not grow.
            if now > begun + round_trip + SILENCE {
                self.size = self.size.min(FIRST_WINDOW);
            }
            (begun, sent) = (now, 0.0);
        }
        let at = now.max(begun + round_trip.mul_f64(sent / self.size));
        self.round = Some((begun, sent + 1.0));
        at
    }

    fn grow(&mut self) {
        if self.has_lost {
            self.threshold = (self.size / 2.0).max(2.0);
            self.size = self.threshold;
        } else if self.size < self.threshold {
            self.size = (self.size * 2.0).min(self.threshold);
        } else {
            self.size += 1.0;
        }
        self.has_lost = false;
    }

    /// Whether the next packet gets lost: by chance, but by the same on every run.
    fn is_lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % 100 < u64::from(self.shape.lost_percent)
    }
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
        let mut stream = TcpStream::connect(("127.0.0.1", relay(port, Shape::HOME).unwrap())).unwrap();
        stream.write_all(b"x").unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got, sent);
        // Twice there and back, and 1.2 MB at 12.5 MB/s.
        assert!(begun.elapsed() >= 4 * ONE_WAY + Duration::from_millis(90), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_is_lost_slows_a_connection_down_as_is_known_of_tcp() {
        let begun = Instant::now();
        let (packets, mut seconds) = (200_000, 0.0);
        for seed in 0..4 {
            let mut window = Window::new(Shape::LOSSY, seed);
            let mut last = begun;
            for _ in 0..packets / 10 {
                last = window.arrives(begun, 10);
            }
            seconds += last.duration_since(begun).as_secs_f64() / 4.0;
        }
        // Mathis and others (1997): packets in a round trip, by the square root of how many are lost.
        let expected = f64::from(packets) * 0.02 / (1.5_f64 / 0.01).sqrt();
        assert!((0.8..1.25).contains(&(seconds / expected)), "{seconds} s, and {expected} s were expected");
    }

    #[test]
    fn a_lossy_relay_loses_nothing_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
            got
        });
        let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let begun = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", relay(port, Shape::LOSSY).unwrap())).unwrap();
        stream.write_all(&sent).unwrap();
        drop(stream);
        assert_eq!(reader.join().unwrap(), sent);
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}
