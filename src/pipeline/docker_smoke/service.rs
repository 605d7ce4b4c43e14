//! The life of one service: image, container, setup, health, commands, what is expected, and its end.
//!
//! [`attend`] always ends with a verdict as the last line of the log, and with the container gone.

use std::sync::OnceLock;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::log::{Expected, Log, Secrets, Voice};
use super::matrix::{Network, Probe, Question, Service, ServiceName};
use super::report::{Check, Status, Verdict};
use super::served::Variables;
use super::sweep::SERVICE_LABEL;
use super::{Phase, Shared, millis, preflight};
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::docker::{Container, Exec, Output, Patience, State, Stream};
use crate::world::interrupt::Interrupt;

/// What keeps a container there in which only commands are run.
const IDLE: [&str; 2] = ["sleep", "2147483647"];
/// How long making and starting a container may take, its files included.
const START_TIME: Duration = Duration::from_secs(5 * 60);
/// How long taking a container down may take.
const REMOVAL_TIME: Duration = Duration::from_secs(60);
/// How long the last of the output may take to arrive after a process has ended.
const TAIL_TIME: Duration = Duration::from_secs(60);
/// How long it may take until an engine knows why something was killed.
const REASON_TIME: Duration = Duration::from_secs(2);
/// How a process ends that was killed.
const KILLED: i64 = 137;
/// How much longer than its service a listener listens at most.
const LISTENING_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How often it is asked whether a process has ended: soon at first, then less often.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// What was not as expected: the name of the check, and the words.
type Wrong = (String, String);

/// What a step gives: to go on, or what was wrong. A failure of the engine is its own.
type Step<T> = Result<T, Trouble>;

/// Why a service cannot go on.
enum Trouble {
    Wrong(Wrong),
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

fn wrong<T>(name: impl Into<String>, detail: impl Into<String>) -> Step<T> {
    Err(Trouble::Wrong((name.into(), detail.into())))
}

/// A service that is being looked after.
struct Attended<'a> {
    shared: &'a Shared<'a>,
    name: &'a ServiceName,
    service: &'a Service,
    dependents: &'a [&'a ServiceName],
    log: &'a Log,
    container: OnceLock<String>,
    /// What commands find in their environment beside the service's own variables.
    variables: OnceLock<Variables>,
    /// Set when nobody needs to listen any more.
    over: Interrupt,
}

/// What was learnt before the end.
#[derive(Default)]
struct Learnt {
    image_digest: Option<String>,
    checks: Vec<Check>,
}

impl Learnt {
    fn passed(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.checks.push(Check { name: name.into(), status: Status::Passed, detail: detail.into() });
    }
}

/// Runs a service and writes its log.
pub(super) fn attend(
    shared: &Shared<'_>,
    name: &ServiceName,
    service: &Service,
    dependents: &[&ServiceName],
) -> Result<Verdict> {
    let begun = Instant::now();
    let path = shared.directory.join(format!("{name}.log"));
    let expected = Expected::new(&service.output, &service.output_matches);
    let log = Log::create(&path, Secrets::new(&service.secrets), expected, service.limits.log_bytes)?;
    let attended = Attended {
        shared,
        name,
        service,
        dependents,
        log: &log,
        container: OnceLock::new(),
        variables: OnceLock::new(),
        over: Interrupt::default(),
    };
    let mut learnt = Learnt::default();
    let ended = std::thread::scope(|scope| {
        let ended = attended.live(scope, &mut learnt);
        let ended = explained(ended);
        // Whoever still listens stops when the container is gone.
        attended.take_down();
        ended
    });
    if let Err((check, detail)) = ended {
        learnt.checks.push(Check { name: check, status: Status::Failed, detail });
    }
    let safe = |check: Check| Check { name: log.safe(&check.name), detail: log.safe(&check.detail), ..check };
    let checks: Vec<_> = learnt.checks.into_iter().map(safe).collect();
    let verdict = Verdict {
        status: Status::of(checks.iter().all(|check| check.status == Status::Passed)),
        duration_ms: millis(begun),
        image: service.source.to_string(),
        image_digest: learnt.image_digest,
        checks,
        ..Verdict::new(name.clone(), Status::Failed)
    };
    log.end(&verdict)?;
    Ok(verdict)
}

impl<'a> Attended<'a> {
    fn live<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, learnt: &mut Learnt) -> Step<()> {
        let Self { shared, service, .. } = *self;
        let image = {
            let _place = shared.board.place(shared.interrupt)?;
            shared.images.resolve(&service.source, service.platform, self.log, shared.interrupt)?
        };
        let digest = image.digests.first().and_then(|name| name.split_once('@')).map(|(_, digest)| digest.to_owned());
        learnt.image_digest = Some(digest.unwrap_or_else(|| image.id.clone()));
        self.log.note(&format!("image {} is {}", service.source, image.id));
        learnt.passed("image", image.id.clone());
        if let Some(failed) = shared.board.usable(&service.needs, shared.interrupt)? {
            return wrong("needs", format!("`{failed}`, which it needs, failed"));
        }
        let place = shared.board.place(shared.interrupt)?;
        let patience = Patience::of(START_TIME, shared.interrupt);
        let plan = self.plan();
        let id = self.create(&image.id, &plan, &patience)?;
        let listener = self.start(scope, id, &patience)?;
        learnt.passed("start", "the container was started");
        let patience = Patience::of(service.limits.time, shared.interrupt);
        match self.work(scope, id, &plan, &listener, &patience, learnt) {
            // The engine was still being asked when the time was over.
            Err(Trouble::Failure(failure)) if failure.code() == Code::EngineFailed && patience.is_over() => {
                return self.too_slow();
            }
            // A command cannot be run in a container that has ended; that it has is what matters.
            Err(Trouble::Failure(failure)) if failure.code() == Code::EngineFailed => {
                self.still_runs(id)?;
                return Err(failure.into());
            }
            ended => ended?,
        }
        drop(place);
        if service.stays() {
            shared.board.set(self.name, Phase::Healthy);
            shared.board.ended(self.dependents, shared.interrupt)?;
            self.still_runs(id)?;
        }
        self.expectations(id, learnt)
    }

    /// Everything between the start and the end.
    fn work<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        id: &'scope str,
        plan: &Plan<'_>,
        listener: &Listener<'scope>,
        patience: &Patience,
        learnt: &mut Learnt,
    ) -> Step<()> {
        for command in &self.service.setup {
            let code = self.exec(id, command, patience)?;
            if code != 0 {
                return self.bad_code(id, "setup", command, code, 0);
            }
        }
        if !self.service.setup.is_empty() {
            learnt.passed("setup", format!("{} commands", self.service.setup.len()));
        }
        if self.service.serve.is_some() {
            let variables = self.shared.served.offer(self.shared.engine, id, patience)?;
            let url = variables.first().map(|(name, url)| format!("{name} is {url}")).unwrap_or_default();
            self.log.note(&url);
            learnt.passed("serve", url);
            self.variables.get_or_init(|| variables);
        }
        self.log.listen();
        if let Some(command) = plan.beside {
            self.log.note(&format!("run {}", command.join(" ")));
            let exec = self.shared.engine.exec(id, command, self.variables(), patience)?;
            scope.spawn(move || self.listen(exec.output));
        }
        for probe in &self.service.probes {
            learnt.passed(format!("probe {}", probe.question), self.probe(id, probe, patience)?);
        }
        if plan.ends {
            let state = self.end_of(id, patience)?;
            self.wait_for_the_tail(listener);
            self.judge_end(&state)?;
            learnt.passed("exit-code", state.exit_code.to_string());
        }
        for (number, command) in plan.commands.iter().enumerate() {
            let is_last = number + 1 == plan.commands.len();
            let expected = if is_last { self.service.exit_code } else { 0 };
            let code = self.exec(id, command, patience)?;
            if code != expected {
                return self.bad_code(id, "command", command, code, expected);
            }
            learnt.passed(format!("command {}", command.join(" ")), format!("ended with {code}"));
        }
        Ok(())
    }

    /// How this service is to be run.
    fn plan(&self) -> Plan<'a> {
        let Service { setup, run, commands, .. } = self.service;
        let words = |words: &[String]| words.to_vec();
        // What is served is known only when the container runs.
        let comes_later = !setup.is_empty() || self.service.serve.is_some();
        match (run.as_slice(), commands.as_slice()) {
            // One command alone is the container's own process: it needs nothing else in its image.
            ([], [command]) if !comes_later && !self.service.stays() => {
                Plan { main: words(command), beside: None, commands: &[], ends: true }
            }
            (run, commands) if !comes_later && (commands.is_empty() || self.service.stays()) => {
                Plan { main: words(run), beside: None, commands, ends: !self.service.stays() }
            }
            (run, commands) => {
                let main = IDLE.map(str::to_owned).to_vec();
                let is_awaited = commands.is_empty() && !self.service.stays();
                let commands = if is_awaited { std::slice::from_ref(&self.service.run) } else { commands };
                Plan { main, beside: (!run.is_empty() && !is_awaited).then_some(run), commands, ends: false }
            }
        }
    }

    fn create(&self, image: &str, plan: &Plan<'_>, patience: &Patience) -> Step<&str> {
        let Self { shared, name, service, .. } = *self;
        let mut labels = shared.labels.clone();
        labels.insert(SERVICE_LABEL.to_owned(), name.to_string());
        let network = shared.groups.get(name).and_then(|leader| shared.networks.get(leader));
        let network = network.or(shared.served_network.as_ref().filter(|_| service.serve.is_some()));
        let network = match (service.network, network) {
            (Network::None, _) => "none",
            (Network::Bridge, None) => "bridge",
            (Network::Bridge, Some(network)) => network,
        };
        let container = Container {
            name: format!("consign-{}-{name}", shared.id),
            host_name: name.to_string(),
            image: image.to_owned(),
            platform: service.platform.map(preflight::docker_platform),
            command: plan.main.clone(),
            environment: service.environment.clone().into_iter().collect(),
            user: service.user.clone(),
            labels,
            network: network.to_owned(),
            ports: service.ports().into_iter().collect(),
            capabilities: service.capabilities.clone(),
            memory_bytes: service.limits.memory_bytes,
            cpu_millis: service.limits.cpu_millis,
            max_pids: service.limits.max_pids,
        };
        let id = shared.engine.create_container(&container, patience)?;
        let id = self.container.get_or_init(|| id);
        if service.has_bundle {
            shared.engine.upload(id, "/", shared.bundle.clone(), patience)?;
        }
        if !plan.main.is_empty() {
            self.log.note(&format!("run {}", plan.main.join(" ")));
        }
        Ok(id)
    }

    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        id: &str,
        patience: &Patience,
    ) -> Step<Listener<'scope>> {
        // Some engines look at the program now and others when it is started.
        let unstarted = |failure: Failure| match failure.code() {
            Code::EngineFailed => Trouble::Wrong(("start".to_owned(), failure.chain().join(": "))),
            _ => Trouble::Failure(failure),
        };
        let output = self.shared.engine.attach(id, patience).map_err(unstarted)?;
        let listener = scope.spawn(move || self.listen(output));
        if self.service.setup.is_empty() {
            self.log.listen();
        }
        self.shared.engine.start(id, patience).map_err(unstarted)?;
        Ok(listener)
    }

    /// Takes what is printed until there is no more; the container's end ends it.
    fn listen(&self, mut output: Output) {
        let patience = Patience::of(self.service.limits.time + LISTENING_TIME, &self.over);
        // That it was asked to stop is no failure, and there is no other.
        let _ = output.follow(self.shared.engine, &patience, &mut |stream, bytes| self.log.hear(voice(stream), bytes));
    }

    /// Runs a command in the container and gives back what it ended with.
    fn exec(&self, id: &str, command: &[String], patience: &Patience) -> Step<i64> {
        self.log.note(&format!("run {}", command.join(" ")));
        self.quiet_exec(id, command, patience, &mut |stream, bytes| self.log.hear(voice(stream), bytes))
    }

    fn quiet_exec(
        &self,
        id: &str,
        command: &[String],
        patience: &Patience,
        hear: &mut dyn FnMut(Stream, &[u8]),
    ) -> Step<i64> {
        let mut exec: Exec = self.shared.engine.exec(id, command, self.variables(), patience)?;
        if exec.output.follow(self.shared.engine, patience, hear)? {
            let mut pause = PAUSES.0;
            while !patience.is_over() {
                if let Some(code) = self.shared.engine.exec_code(&exec, patience)? {
                    return Ok(code);
                }
                // Its outputs are closed and it still runs.
                patience.sleep(pause)?;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
        self.too_slow()
    }

    fn variables(&self) -> &[(String, String)] {
        self.variables.get().map_or(&[], Vec::as_slice)
    }

    /// Waits until the container's process has ended.
    fn end_of(&self, id: &str, patience: &Patience) -> Step<State> {
        let mut pause = PAUSES.0;
        loop {
            let state = self.shared.engine.state(id, patience)?;
            if !state.is_running {
                return Ok(self.with_its_reason(id, state));
            }
            patience.sleep(pause)?;
            if patience.is_over() {
                return self.too_slow();
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// What the system has killed: an engine may learn why a little later than that it has ended.
    fn with_its_reason(&self, id: &str, mut state: State) -> State {
        let patience = Patience::of(REASON_TIME, self.shared.interrupt);
        while state.exit_code == KILLED && !state.is_out_of_memory && !patience.is_over() {
            let again = patience.sleep(PAUSES.1).is_ok().then(|| self.shared.engine.state(id, &patience));
            let Some(Ok(again)) = again else { break };
            state = again;
        }
        state
    }

    fn wait_for_the_tail(&self, listener: &Listener<'_>) {
        let patience = Patience::of(TAIL_TIME, self.shared.interrupt);
        while !listener.is_finished() && !patience.is_over() && patience.sleep(Duration::from_millis(5)).is_ok() {}
    }

    fn judge_end(&self, state: &State) -> Step<()> {
        if state.is_out_of_memory {
            return self.too_large();
        }
        if let Some(error) = &state.error {
            return wrong("start", error.clone());
        }
        if state.exit_code != self.service.exit_code {
            let ended = format!("ended with {} instead of {}", state.exit_code, self.service.exit_code);
            return wrong("exit-code", ended + &self.perhaps_too_large(state.exit_code));
        }
        Ok(())
    }

    fn bad_code<T>(&self, id: &str, what: &str, command: &[String], code: i64, expected: i64) -> Step<T> {
        // What the system kills ends with this code; only the container knows why.
        if code == KILLED && self.is_out_of_memory(id) {
            return self.too_large();
        }
        let command = command.join(" ");
        if what == "setup" {
            return wrong("setup", format!("`{command}` ended with {code}"));
        }
        let ended = format!("`{command}` ended with {code} instead of {expected}");
        wrong("exit-code", ended + &self.perhaps_too_large(code))
    }

    fn is_out_of_memory(&self, id: &str) -> bool {
        let patience = Patience::of(REMOVAL_TIME, self.shared.interrupt);
        // An engine may say so only when the container's own process has ended too, and the service has failed anyway.
        let ended = self.shared.engine.kill(id, &patience);
        ended.is_ok() && self.end_of(id, &patience).is_ok_and(|state| state.is_out_of_memory)
    }

    /// What is killed the moment after it was started may have been so for its memory, and no engine tells.
    fn perhaps_too_large(&self, code: i64) -> String {
        if code != KILLED {
            return String::new();
        }
        format!(": it was killed, perhaps because it used more than {} MiB", self.service.limits.memory_bytes >> 20)
    }

    fn too_large<T>(&self) -> Step<T> {
        wrong("memory", format!("used more than {} MiB and was ended", self.service.limits.memory_bytes >> 20))
    }

    fn too_slow<T>(&self) -> Step<T> {
        wrong("time-limit", format!("did not end within {:?}", self.service.limits.time))
    }

    /// Asks until the answer is the right one; gives back how often it was asked.
    fn probe(&self, id: &str, probe: &Probe, patience: &Patience) -> Step<String> {
        let name = || format!("probe {}", probe.question);
        let mut last = String::new();
        for number in 1..=probe.tries {
            let state = self.shared.engine.state(id, patience)?;
            if !state.is_running {
                self.judge_early_end(&state, &name())?;
            }
            match self.ask(id, probe, patience)? {
                Ok(()) => return Ok(format!("healthy at try {number}")),
                Err(answer) => last = answer,
            }
            if number < probe.tries {
                patience.sleep(probe.interval)?;
            }
            if patience.is_over() {
                return wrong("time-limit", format!("was not healthy within {:?}: {last}", self.service.limits.time));
            }
        }
        wrong(name(), format!("never healthy in {} tries: {last}", probe.tries))
    }

    fn judge_early_end(&self, state: &State, name: &str) -> Step<()> {
        if state.is_out_of_memory {
            return self.too_large();
        }
        wrong(name, format!("the service ended with {} before it was healthy", state.exit_code))
    }

    /// Asks once. Not the right answer is a value, for it may come later.
    fn ask(&self, id: &str, probe: &Probe, patience: &Patience) -> Step<Result<(), String>> {
        let patience = patience.at_most(probe.timeout);
        match &probe.question {
            Question::Command(command) => {
                let mut said = Vec::new();
                let mut hear = |_, bytes: &[u8]| {
                    if said.len() < 200 {
                        said.extend_from_slice(&bytes[..bytes.len().min(200)]);
                    }
                };
                let code = match self.quiet_exec(id, command, &patience, &mut hear) {
                    Ok(code) => code,
                    Err(Trouble::Wrong(_)) => return Ok(Err(format!("no end within {:?}", probe.timeout))),
                    // It may have ended just now, which is looked at before the next try.
                    Err(Trouble::Failure(failure)) if failure.code() == Code::EngineFailed => {
                        return Ok(Err(failure.chain().join(": ")));
                    }
                    Err(trouble) => return Err(trouble),
                };
                let said = String::from_utf8_lossy(&said);
                Ok(if code == 0 { Ok(()) } else { Err(format!("ended with {code}: {}", said.trim())) })
            }
            Question::Http { port, path, status, contains } => {
                let Some(published) = self.shared.engine.published_port(id, *port, &patience)? else {
                    return Ok(Err("the port is not published".to_owned()));
                };
                self.shared.interrupt.check()?;
                let answer = match self.shared.engine.ask(published, path, probe.timeout) {
                    Ok(answer) => answer,
                    Err(failure) => return Ok(Err(failure.to_string())),
                };
                if answer.status != *status {
                    return Ok(Err(format!("status {} instead of {status}", answer.status)));
                }
                let missing = contains.iter().find(|text| !answer.body.contains(text.as_str()));
                Ok(missing.map_or(Ok(()), |text| Err(format!("{text:?} is not in the answer"))))
            }
        }
    }

    fn still_runs(&self, id: &str) -> Step<()> {
        let state = self.shared.engine.state(id, &Patience::of(REMOVAL_TIME, self.shared.interrupt))?;
        if state.is_running {
            return Ok(());
        }
        if state.is_out_of_memory {
            return self.too_large();
        }
        wrong("running", format!("the service ended with {} while it was needed", state.exit_code))
    }

    /// What has to be there in the end: lines, and files.
    fn expectations(&self, id: &str, learnt: &mut Learnt) -> Step<()> {
        // Of what stays, the lines are looked at once; they may still be on their way.
        let patience = Patience::of(REMOVAL_TIME.min(Duration::from_secs(2)), self.shared.interrupt);
        let mut met = self.log.met();
        while self.service.stays() && met.iter().any(|(_, met)| !met) && !patience.is_over() {
            patience.sleep(PAUSES.1)?;
            met = self.log.met();
        }
        for (name, met) in met {
            if !met {
                return wrong(name, "no line of the output is like that");
            }
            learnt.passed(name, "found");
        }
        let patience = Patience::of(REMOVAL_TIME, self.shared.interrupt);
        for file in &self.service.files {
            match self.shared.engine.file_size(id, file, &patience)? {
                Some(size) => learnt.passed(format!("file {file}"), format!("{size} bytes")),
                None => return wrong(format!("file {file}"), "is not there"),
            }
        }
        Ok(())
    }

    fn take_down(&self) {
        let Some(id) = self.container.get() else { return };
        if let Err(failure) = self.shared.engine.remove_container(id, &Patience::stubborn(REMOVAL_TIME)) {
            // The sweep at the end of the run tries again; whoever listens would wait for ever.
            self.log.note(&failure.chain().join(": "));
            self.over.set();
        }
    }
}

/// Every trouble in words.
fn explained(ended: Step<()>) -> Result<(), Wrong> {
    ended.map_err(|trouble| match trouble {
        Trouble::Wrong(wrong) => wrong,
        Trouble::Failure(failure) if failure.code() == Code::Interrupted => {
            ("interrupted".to_owned(), "the run was interrupted".to_owned())
        }
        Trouble::Failure(failure) => {
            let hint = failure.way_out().map(|hint| format!("; {hint}")).unwrap_or_default();
            (failure.code().to_string(), format!("{}{hint}", failure.chain().join(": ")))
        }
    })
}

/// How a service is run: its container's process, what runs beside that, what is run afterwards, and
/// whether the process is expected to end by itself.
struct Plan<'a> {
    main: Vec<String>,
    beside: Option<&'a [String]>,
    commands: &'a [Vec<String>],
    ends: bool,
}

type Listener<'scope> = ScopedJoinHandle<'scope, ()>;

fn voice(stream: Stream) -> Voice {
    match stream {
        Stream::Output => Voice::Output,
        Stream::Error => Voice::Error,
    }
}
