//! Runs that are interrupted or killed, and the runs beside and after them.

use rustix::process::{Pid, Signal, kill_process};

use super::docker_scene::{
    IMAGE, cause, docker, end, log, need_scene, nothing_stands, run_smoke, scene, service, standing, start, try_docker,
    verdict, wait_for,
};
use super::support::Scratch;

/// Services that run until they are taken down: with a network, and one whose image is being built.
fn endless() -> Scratch {
    let scratch = scene(
        &[
            service("asleep", "commands = [[\"sh\", \"-c\", \"echo ready; sleep 1000\"]]"),
            service("served", "run = [\"sleep\", \"1000\"]\n[[service.served.probe]]\ncommand = [\"true\"]"),
            service("serving", "needs = [\"served\"]\ncommands = [[\"true\"], [\"sh\", \"-c\", \"echo ready; sleep 1000\"]]"),
            format!("[base.small]\nimage = \"{IMAGE}\"\npull = \"never\"\n[service.building]\nbase = \"small\"\ndockerfile = \"slow.Dockerfile\"\ncommands = [[\"true\"]]\n"),
        ]
        .concat(),
    );
    scratch.write(
        "docker/slow.Dockerfile",
        "ARG BASE\nFROM ${BASE}\nRUN echo one > /one\nRUN echo building; sleep 1000\n",
    );
    scratch
}

fn wait_until_all_is_up(scratch: &Scratch) {
    wait_for(|| log(scratch.path(), "asleep").contains("out| ready"));
    wait_for(|| log(scratch.path(), "serving").contains("out| ready"));
    wait_for(|| log(scratch.path(), "building").contains("bld| building"));
}

fn send(child: &std::process::Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The run that a process's things are labelled with.
fn run_of(child: &std::process::Child) -> String {
    let format = "{{.Label \"consign.smoke.owner\"}} {{.Label \"consign.smoke.run\"}}";
    let listed = docker(&["ps", "-a", "--filter", "label=consign.smoke.run", "--format", format]);
    let owner = format!(":{}:", child.id());
    let line = listed.lines().find(|line| line.contains(&owner)).unwrap();
    format!("consign.smoke.run={}", line.split(' ').nth(1).unwrap())
}

#[test]
fn an_interrupted_run_takes_everything_down() {
    if !need_scene() {
        return;
    }
    for signal in [Signal::INT, Signal::TERM] {
        let scratch = endless();
        let child = start(scratch.path());
        wait_until_all_is_up(&scratch);
        let run = run_of(&child);
        assert!(standing(&run).len() >= 4, "{:?}", standing(&run));
        send(&child, signal);
        let ran = end(child);
        ran.failed(1, "interrupted");
        assert_eq!(standing(&run), [""; 0]);
        let last = log(scratch.path(), "asleep");
        let last: serde_json::Value = serde_json::from_str(last.lines().next_back().unwrap()).unwrap();
        assert_eq!(cause(&last).0, "interrupted");
    }
}

#[test]
fn what_a_killed_run_left_goes_with_the_next_one_and_nothing_else_does() {
    if !need_scene() {
        return;
    }
    let (killed, living) = (endless(), endless());
    let mut dead = start(killed.path());
    let alive = start(living.path());
    wait_until_all_is_up(&killed);
    wait_until_all_is_up(&living);
    let (run_of_dead, run_of_alive) = (run_of(&dead), run_of(&alive));
    dead.kill().unwrap();
    dead.wait().unwrap();
    // Somebody else's, one of another machine, and one whose label says nothing.
    let name = |kind: &str| format!("consign-test-{kind}-{}", std::process::id());
    let others = [
        (name("plain"), "a=b"),
        (name("machine"), "consign.smoke.owner=0000:0000:1:1:1"),
        (name("nonsense"), "consign.smoke.owner=nonsense"),
    ];
    for (name, label) in &others {
        docker(&["create", "--name", name, "--label", label, "--label", "consign.smoke.run=x", IMAGE, "true"]);
    }
    let next = scene(&service("quick", "commands = [[\"true\"]]"));
    let ran = run_smoke(next.path());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    // The engine itself may still be at the build that nobody waits for any more.
    wait_for(|| standing(&run_of_dead).is_empty());
    assert!(standing(&run_of_alive).len() >= 4, "the living run was disturbed");
    for (name, _) in &others {
        assert!(try_docker(&["rm", name]), "{name} is gone");
    }
    send(&alive, Signal::INT);
    end(alive).failed(1, "interrupted");
    assert_eq!(standing(&run_of_alive), [""; 0]);
    nothing_stands(&ran.json());
}

#[test]
fn a_container_that_is_taken_away_by_somebody_else_is_a_failure_of_its_service_alone() {
    if !need_scene() {
        return;
    }
    let scratch = scene(
        &[
            service("taken", "commands = [[\"sh\", \"-c\", \"echo ready; sleep 1000\"]]"),
            service("good", "commands = [[\"true\"]]"),
        ]
        .concat(),
    );
    let child = start(scratch.path());
    wait_for(|| log(scratch.path(), "taken").contains("out| ready"));
    docker(&["rm", "-f", &super::docker_scene::container_of(scratch.path(), "taken")]);
    let ran = end(child);
    let summary = ran.json();
    assert_eq!((ran.code, summary["passed"].as_u64()), (1, Some(1)), "{}{}", ran.out, ran.err);
    assert_eq!(verdict(scratch.path(), &summary, "taken")["status"], "failed");
    nothing_stands(&summary);
}

#[test]
fn two_runs_do_not_write_the_same_logs() {
    if !need_scene() {
        return;
    }
    let scratch = scene(&service("asleep", "commands = [[\"sh\", \"-c\", \"echo ready; sleep 1000\"]]"));
    let child = start(scratch.path());
    wait_for(|| log(scratch.path(), "asleep").contains("out| ready"));
    run_smoke(scratch.path()).failed(1, "busy");
    send(&child, Signal::INT);
    end(child).failed(1, "interrupted");
}
