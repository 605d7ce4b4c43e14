//! How long a run takes, and how much memory: many services at once, and much output.

use super::docker_scene::{end, log, need_scene, nothing_stands, run_smoke, scene, service, start};

/// A service that takes a while and does nothing.
fn sleeping(name: usize, seconds: u64) -> String {
    service(&format!("s{name}"), &format!("commands = [[\"sleep\", \"{seconds}\"]]"))
}

#[test]
fn independent_services_take_as_long_as_the_slowest() {
    if !need_scene() {
        return;
    }
    let (services, seconds) = (8, 5);
    let taken = |matrix: String| {
        let scratch = scene(&matrix);
        let ran = run_smoke(scratch.path());
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let summary = ran.json();
        nothing_stands(&summary);
        summary["duration_ms"].as_u64().unwrap()
    };
    let one = taken(sleeping(0, seconds));
    let all = taken((0..services).map(|name| sleeping(name, seconds)).collect());
    // What is not sleeping is work of the engine, which two processors share.
    let work = one - seconds * 1000;
    let bound = one * 13 / 10 + services as u64 * work / 2;
    eprintln!("one service: {one} ms; {services} services: {all} ms; bound: {bound} ms");
    assert!(all < bound, "one service takes {one} ms, and {services} take {all} ms");
}

/// The most memory that a process has had so far, in kibibytes.
fn peak(process: u32) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[test]
fn much_output_takes_little_memory() {
    if !need_scene() {
        return;
    }
    let print = "commands = [[\"sh\", \"-c\", \"yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 100000000\"]]";
    let scratch = scene(&["a", "b", "c"].map(|name| service(name, print)).concat());
    let mut child = start(scratch.path());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(peak(child.id()).unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let ran = end(child);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for name in ["a", "b", "c"] {
        assert!(log(scratch.path(), name).len() > 100_000_000);
    }
    nothing_stands(&ran.json());
    eprintln!("the runner had {most} KiB at most");
    assert!((1..60_000).contains(&most), "the runner had {most} KiB");
}
