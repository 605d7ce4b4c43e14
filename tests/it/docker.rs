//! Services in containers: each way to fail, what they need of each other, and what is reported.

use super::docker_scene::{
    IMAGE, cause, log, need_scene, nothing_stands, run_smoke, scene, service, standing, verdict,
};

/// One matrix in which services pass, and fail in every way there is.
fn every_way() -> String {
    [
        "jobs = 10\n".to_owned(),
        service("good", "commands = [[\"echo\", \"all is well\"]]\noutput = [\"is well\"]\noutput-matches = [\"^all .* well$\"]\nfiles = [\"/bin/sh\"]"),
        service("steps", "setup = [[\"touch\", \"/made\"]]\ncommands = [[\"true\"], [\"sh\", \"-c\", \"exit 4\"]]\nexit-code = 4\nfiles = [\"/made\"]"),
        service("code", "commands = [[\"sh\", \"-c\", \"echo before; exit 3\"]]"),
        service("step-code", "commands = [[\"false\"], [\"true\"]]"),
        service("setup", "setup = [[\"false\"]]\ncommands = [[\"true\"]]"),
        service("after-setup", "setup = [[\"true\"]]\nrun = [\"sh\", \"-c\", \"exit 6\"]"),
        service("output", "commands = [[\"echo\", \"something else\"]]\noutput = [\"is well\"]"),
        service("pattern", "commands = [[\"echo\", \"something else\"]]\noutput-matches = [\"^else\"]"),
        service("ill", "run = [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n[[service.ill.probe]]\nport = 8080\npath = \"/never\"\ntries = 40\ninterval = \"50ms\""),
        service("fallen", "run = [\"sh\", \"-c\", \"exit 9\"]\n[[service.fallen.probe]]\ncommand = [\"true\"]\ntries = 600\ninterval = \"50ms\"\n[[service.fallen.probe]]\ncommand = [\"false\"]\ntries = 600\ninterval = \"50ms\""),
        service("slow", "time-limit = \"1s\"\ncommands = [[\"sleep\", \"1000\"]]"),
        service("slow-step", "time-limit = \"1s\"\ncommands = [[\"true\"], [\"sleep\", \"1000\"]]"),
        // An engine begins to watch a container's memory after it has started it: what is killed sooner is only killed.
        service("greedy", "memory = \"16MiB\"\ncommands = [[\"sh\", \"-c\", \"sleep 1; exec dd if=/dev/zero of=/dev/null bs=64M count=1\"]]"),
        service("greedy-step", "memory = \"16MiB\"\ncommands = [[\"true\"], [\"dd\", \"if=/dev/zero\", \"of=/dev/null\", \"bs=64M\", \"count=1\"]]"),
        service("missing", "commands = [[\"true\"]]\nfiles = [\"/bin/sh\", \"/nowhere\"]"),
        service("no-program", "commands = [[\"/bin/nothing\"]]"),
        service("dependent", "needs = [\"ill\"]\ncommands = [[\"true\"]]"),
        "[service.no-image]\nimage = \"consign-test/nothing:1\"\npull = \"never\"\ncommands = [[\"true\"]]\n".to_owned(),
    ]
    .concat()
}

#[test]
fn each_way_to_fail_is_reported_and_the_others_are_not_disturbed() {
    if !need_scene() {
        return;
    }
    let scratch = scene(&every_way());
    let ran = run_smoke(scratch.path());
    assert_eq!(ran.code, 1, "{}", ran.err);
    let summary = ran.json();
    assert_eq!(summary["type"], "consign.docker-smoke/v1");
    assert_eq!((summary["passed"].as_u64(), summary["failed"].as_u64()), (Some(2), Some(16)), "{}", ran.out);
    let expected = [
        ("code", "exit-code", "ended with 3 instead of 0"),
        ("step-code", "exit-code", "`false` ended with 1 instead of 0"),
        ("setup", "setup", "`false` ended with 1"),
        ("after-setup", "exit-code", "`sh -c exit 6` ended with 6 instead of 0"),
        ("output", "output \"is well\"", "no line of the output is like that"),
        ("pattern", "output /^else/", "no line of the output is like that"),
        ("ill", "probe GET :8080/never", "never healthy in 40 tries: status 404 instead of 200"),
        ("slow", "time-limit", "did not end within 1s"),
        ("slow-step", "time-limit", "did not end within 1s"),
        ("greedy", "memory", "used more than 16 MiB and was ended"),
        ("greedy-step", "memory", "used more than 16 MiB and was ended"),
        ("missing", "file /nowhere", "is not there"),
        ("dependent", "needs", "`ill`, which it needs, failed"),
    ];
    for (name, check, detail) in expected {
        let verdict = verdict(scratch.path(), &summary, name);
        assert_eq!(verdict["status"], "failed");
        assert_eq!(cause(&verdict), (check.to_owned(), detail.to_owned()), "{name}");
    }
    let told = |name: &str| cause(&verdict(scratch.path(), &summary, name));
    assert!(told("fallen").1.contains("ended with 9 before it was healthy"), "{:?}", told("fallen"));
    assert_eq!(told("no-image").0, "image_missing");
    assert_eq!(told("no-program").0, "start");
    assert!(told("no-program").1.contains("/bin/nothing"), "{:?}", told("no-program"));
    for name in ["good", "steps"] {
        assert_eq!(verdict(scratch.path(), &summary, name)["status"], "passed");
    }
    assert!(log(scratch.path(), "code").contains("out| before\n"));
    let good = verdict(scratch.path(), &summary, "good");
    assert_eq!(good["image"], IMAGE);
    assert!(good["image_digest"].as_str().unwrap().starts_with("sha256:"));
    let written = fs_err::read_to_string(scratch.path().join("dist/docker-smoke/summary.json")).unwrap();
    assert_eq!(written, ran.out);
    let junit = fs_err::read_to_string(scratch.path().join("dist/docker-smoke/junit.xml")).unwrap();
    assert!(junit.contains("tests=\"18\" failures=\"16\"") && junit.contains("<failure type=\"memory\""), "{junit}");
    nothing_stands(&summary);
}

#[test]
fn services_that_need_each_other_meet_on_a_network_of_their_own() {
    if !need_scene() {
        return;
    }
    // With one place at work, waiting must not hold it.
    let scratch = scene(
        &[
            "jobs = 1\n".to_owned(),
            service("database", "run = [\"nc\", \"-ll\", \"-p\", \"5432\", \"-e\", \"echo\", \"forty-two\"]\n[[service.database.probe]]\ncommand = [\"sh\", \"-c\", \"nc 127.0.0.1 5432 < /dev/null | grep two\"]\ninterval = \"50ms\""),
            service("web", "needs = [\"database\"]\nsetup = [[\"sh\", \"-c\", \"nc database 5432 < /dev/null > /www/answer\"]]\nrun = [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]\ncapabilities = [\"NET_BIND_SERVICE\"]\n[[service.web.probe]]\nport = 80\npath = \"/answer\"\ncontains = [\"forty-two\"]\ninterval = \"50ms\""),
            service("client", "needs = [\"web\"]\ncommands = [[\"wget\", \"-q\", \"-O\", \"-\", \"http://web/answer\"]]\noutput = [\"forty-two\"]"),
            service("hermit", "network = \"none\"\ncommands = [[\"sh\", \"-c\", \"ip addr | grep -c 'inet '\"]]\noutput-matches = [\"^1$\"]"),
        ]
        .concat(),
    );
    let ran = run_smoke(scratch.path());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    nothing_stands(&ran.json());
}

#[test]
fn a_service_has_no_capability_that_it_does_not_name() {
    if !need_scene() {
        return;
    }
    let show = "commands = [[\"grep\", \"-E\", \"CapEff|NoNewPrivs\", \"/proc/self/status\"]]";
    let scratch = scene(
        &[
            service("none", &format!("{show}\noutput-matches = [\"^CapEff:\\\\s+0+$\", \"^NoNewPrivs:\\\\s+1$\"]")),
            service("one", &format!("{show}\ncapabilities = [\"CHOWN\"]\noutput-matches = [\"^CapEff:\\\\s+0+1$\"]")),
            service("user", "user = \"1234\"\ncommands = [[\"id\", \"-u\"]]\noutput-matches = [\"^1234$\"]"),
            service("pids", "pids = 4\ncommands = [[\"sh\", \"-c\", \"for i in 1 2 3 4 5 6; do sleep 1 & done; wait\"]]\nexit-code = 2\noutput = [\"fork\"]"),
        ]
        .concat(),
    );
    let ran = run_smoke(scratch.path());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn images_are_built_labelled_and_taken_away_with_everything_in_between() {
    if !need_scene() {
        return;
    }
    let scratch = scene(&format!(
        "[base.small]\nimage = \"{IMAGE}\"\npull = \"never\"\n
[service.built]\nbase = \"small\"\ndockerfile = \"built.Dockerfile\"\ncontext = \"../files\"\nbuild-arguments = {{ WORD = \"argued\" }}\ncommands = [[\"cat\", \"/from-context\", \"/from-stage\"]]\noutput = [\"brought along\", \"argued\"]\n
[service.again]\nbase = \"small\"\ndockerfile = \"built.Dockerfile\"\ncontext = \"../files\"\nbuild-arguments = {{ WORD = \"argued\" }}\ncommands = [[\"cat\", \"/ignored\"]]\nexit-code = 1\n
[service.broken]\nbase = \"small\"\ndockerfile = \"broken.Dockerfile\"\ncommands = [[\"true\"]]\n"
    ));
    scratch.write(
        "docker/built.Dockerfile",
        "ARG BASE\nFROM ${BASE} AS first\nARG WORD\nRUN echo $WORD > /made\nFROM ${BASE}\nCOPY --from=first /made /from-stage\nCOPY . /\n",
    );
    scratch.write("docker/broken.Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo something to keep > /x\nRUN exit 5\n");
    scratch.write("files/from-context", "brought along\n");
    scratch.write("files/ignored", "left out\n");
    scratch.write("files/.dockerignore", "ignored\n");
    let ran = run_smoke(scratch.path());
    let summary = ran.json();
    assert_eq!((ran.code, summary["passed"].as_u64()), (1, Some(2)), "{}{}", ran.out, ran.err);
    let (check, detail) = cause(&verdict(scratch.path(), &summary, "broken"));
    assert_eq!(check, "engine_failed");
    assert!(detail.contains("broken.Dockerfile") && detail.contains("returned a non-zero code: 5"), "{detail}");
    let logs = log(scratch.path(), "built") + &log(scratch.path(), "again");
    assert_eq!(logs.matches("bld| Successfully built").count(), 1, "built once: {logs}");
    nothing_stands(&summary);
    assert_eq!(standing("consign.smoke.service=built"), [""; 0]);
}

#[test]
fn a_tag_that_is_moved_while_services_run_moves_nothing_here() {
    if !need_scene() {
        return;
    }
    let tag = format!("consign-test/moving:{}", std::process::id());
    let docker = |arguments: &[&str]| super::docker_scene::docker(arguments);
    docker(&["tag", IMAGE, &tag]);
    let scratch = scene(
        &[
            service("first", "run = [\"sh\", \"-c\", \"while ! test -e /go; do sleep 0.1; done; echo went\"]"),
            format!("[service.late]\nimage = \"{tag}\"\npull = \"never\"\nneeds = [\"first\"]\ncommands = [[\"test\", \"!\", \"-e\", \"/other\"]]\n"),
        ]
        .concat(),
    );
    let child = super::docker_scene::start(scratch.path());
    let waiting = "--- image consign-test/moving";
    super::docker_scene::wait_for(|| log(scratch.path(), "late").contains(waiting));
    super::docker_scene::wait_for(|| log(scratch.path(), "first").contains("--- run "));
    scratch.write("other/Dockerfile", format!("FROM {IMAGE}\nCOPY Dockerfile /other\n"));
    docker(&["build", "-q", "-t", &tag, scratch.path().join("other").as_str()]);
    let first = super::docker_scene::container_of(scratch.path(), "first");
    super::docker_scene::wait_for(|| {
        // The service may end before the command that lets it go has told that it did.
        super::docker_scene::try_docker(&["exec", &first, "touch", "/go"])
            || log(scratch.path(), "first").contains("out| went")
    });
    let ran = super::docker_scene::end(child);
    docker(&["rmi", "-f", &tag]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    nothing_stands(&ran.json());
}

#[test]
fn a_choice_takes_along_what_it_needs() {
    if !need_scene() {
        return;
    }
    let scratch = scene(
        &[
            service("a", "labels = [\"quick\"]\nneeds = [\"b\"]\ncommands = [[\"true\"]]"),
            service("b", "commands = [[\"true\"]]"),
            service("c", "labels = [\"other\"]\ncommands = [[\"false\"]]"),
        ]
        .concat(),
    );
    let ran = super::workspaces::run(super::docker_scene::smoke(scratch.path()).args(["--label", "quick"]));
    assert_eq!((ran.code, ran.json()["passed"].as_u64()), (0, Some(2)), "{}{}", ran.out, ran.err);
}
