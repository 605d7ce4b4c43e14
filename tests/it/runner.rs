//! A stand-in for the machines of a forge: it runs the jobs of a workflow here, one after another.
//!
//! Each job has a fresh clone and nothing else but what other jobs have handed on. Every `run:` is run by
//! bash as it stands; the few actions that our workflows use are played. Expressions are worked out as the
//! forge documents them, as far as our workflows need it; anything else is a panic.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::collections::BTreeMap;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::Digest;
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::support::{Scratch, clean, git, missing_unless, need, succeed};

/// Reads YAML as other programs do, if there is a reader here.
pub fn yaml(text: &str) -> Option<Value> {
    const READ: &str =
        "import json, sys\nfrom ruamel.yaml import YAML\nprint(json.dumps(YAML(typ='safe').load(sys.stdin.read())))";
    if !need("python3") {
        return None;
    }
    let scratch = Scratch::new();
    let file = scratch.write("workflow.yml", text);
    let mut python = Command::new("python3");
    let output = python.args(["-c", READ]).stdin(fs_err::File::open(file).unwrap().into_file()).output().unwrap();
    if !missing_unless(output.status.success(), "the Python package ruamel.yaml") {
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A job, and what is done just before it.
pub type Before = (&'static str, fn(&Forge));

/// The forge, with one repository.
pub struct Forge {
    /// The repository that is cloned.
    pub origin: Utf8PathBuf,
    pub secrets: BTreeMap<&'static str, String>,
    pub vars: BTreeMap<&'static str, String>,
    pub inputs: Value,
    /// The ref that started the run, and the commit that it was then.
    pub ref_name: String,
    pub sha: String,
    /// Before everything else on the path: programs that stand in for others.
    pub programs: Utf8PathBuf,
    /// What is done just before a job.
    pub before: Option<Before>,
    place: Scratch,
}

/// What a run came to.
#[derive(Default)]
pub struct Done {
    /// `job/step` and what it printed, in order.
    pub steps: Vec<(String, String)>,
    /// The step that failed, if one did.
    pub failed: Option<String>,
    /// The summaries of all jobs.
    pub summary: String,
}

impl Done {
    pub fn log(&self) -> String {
        self.steps.iter().map(|(name, text)| format!("=== {name}\n{text}")).collect()
    }
}

struct Job<'a> {
    forge: &'a Forge,
    name: String,
    machine: Utf8PathBuf,
    contexts: Map<String, Value>,
    path: Vec<String>,
    failed: bool,
}

impl Forge {
    pub fn new(origin: &Utf8Path, ref_name: &str) -> Self {
        let place = Scratch::new();
        Self {
            origin: origin.to_owned(),
            secrets: BTreeMap::new(),
            vars: BTreeMap::new(),
            inputs: Value::Null,
            ref_name: ref_name.to_owned(),
            sha: git(origin, &["rev-parse", &format!("{ref_name}^{{commit}}")]),
            programs: place.path().join("programs"),
            before: None,
            place,
        }
    }

    /// A program that stands in for another: a shell script.
    pub fn stand_in(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.place.write(&format!("programs/{name}"), format!("#!/bin/sh\n{script}\n"));
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Where the jobs keep what they hand on.
    pub fn artifacts(&self) -> Utf8PathBuf {
        self.place.path().join("artifacts")
    }

    /// Runs every job of a workflow, each after those that it needs, until one fails.
    pub fn run(&self, workflow: &Value) -> Done {
        let mut done = Done::default();
        let mut needs = Map::new();
        let jobs = workflow["jobs"].as_object().unwrap();
        while let Some((name, job)) = jobs.iter().find(|(name, job)| {
            let ready = list(&job["needs"]).iter().all(|need| needs.contains_key(need.as_str().unwrap()));
            !needs.contains_key(*name) && ready
        }) {
            if let Some((_, act)) = self.before.filter(|(before, _)| before == name) {
                act(self);
            }
            let mut outputs = Value::Null;
            let contexts = self.contexts(&needs);
            for row in rows(&evaluated(&job["strategy"]["matrix"], &contexts)) {
                outputs = self.job(name, job, workflow, &contexts, row, &mut done);
            }
            needs.insert(name.clone(), json!({ "outputs": outputs }));
            if done.failed.is_some() {
                break;
            }
        }
        assert!(done.failed.is_some() || needs.len() == jobs.len(), "some jobs never became ready");
        done
    }

    fn contexts(&self, needs: &Map<String, Value>) -> Map<String, Value> {
        let github = json!({
            "event_name": if self.inputs.is_null() { "push" } else { "workflow_dispatch" },
            "ref_name": self.ref_name,
            "ref": format!("refs/tags/{}", self.ref_name),
            "sha": self.sha,
            "repository": "example/tool",
            "token": "ghs_standin",
            "event": { "repository": { "private": false } },
        });
        let all = json!({
            "github": github, "secrets": self.secrets, "vars": self.vars, "inputs": self.inputs, "needs": needs,
            "runner": { "os": "Linux" }, "matrix": {}, "env": {}, "steps": {},
        });
        all.as_object().unwrap().clone()
    }

    fn job(
        &self,
        name: &str,
        job: &Value,
        workflow: &Value,
        contexts: &Map<String, Value>,
        row: Value,
        done: &mut Done,
    ) -> Value {
        let machines = self.place.path().join("machines");
        let number = fs_err::read_dir(&machines).map_or(0, Iterator::count);
        let machine = machines.join(number.to_string());
        let mut contexts = contexts.clone();
        contexts["runner"]["temp"] = machine.join("temp").as_str().into();
        contexts.insert("matrix".to_owned(), row);
        let mut job_here = Job {
            forge: self,
            name: name.to_owned(),
            path: vec![self.programs.to_string()],
            machine,
            contexts,
            failed: false,
        };
        if !job_here.holds(&job["if"]) {
            return Value::Null;
        }
        for part in ["temp", "work", "files"] {
            fs_err::create_dir_all(job_here.machine.join(part)).unwrap();
        }
        let of = |level: &Value| evaluated(&level["env"], &job_here.contexts).as_object().cloned().unwrap_or_default();
        let env: Map<_, _> = of(workflow).into_iter().chain(of(job)).collect();
        job_here.contexts.insert("env".to_owned(), env.into());
        let below = workflow["defaults"]["run"]["working-directory"].as_str().unwrap_or_default();
        for step in job["steps"].as_array().unwrap() {
            job_here.step(step, below, done);
        }
        done.summary += &fs_err::read_to_string(job_here.machine.join("files/summary")).unwrap_or_default();
        evaluated(&job["outputs"], &job_here.contexts)
    }
}

impl Job<'_> {
    /// Whether a condition holds; one that does not ask how things went holds only while all went well.
    fn holds(&self, condition: &Value) -> bool {
        match condition.as_str() {
            None => !self.failed,
            Some(text) => {
                let asks = text.contains("cancelled()") || text.contains("always()");
                (asks || !self.failed) && truthy(&expression(text.trim(), &self.contexts))
            }
        }
    }

    fn step(&mut self, step: &Value, below: &str, done: &mut Done) {
        if !self.holds(&step["if"]) {
            return;
        }
        let label = format!("{}/{}", self.name, step["name"].as_str().expect("every step has a name"));
        let told = match step["uses"].as_str() {
            Some(action) => {
                let with = evaluated(&step["with"], &self.contexts);
                self.action(action, &with, step["id"].as_str());
                Ok(String::new())
            }
            None => self.command(step, below),
        };
        if let Err(text) = &told {
            self.failed = true;
            done.failed.get_or_insert_with(|| format!("{label}\n{text}"));
        }
        done.steps.push((label, told.unwrap_or_else(|text| text)));
    }

    fn command(&mut self, step: &Value, below: &str) -> Result<String, String> {
        let files = self.machine.join("files");
        for name in ["output", "path"] {
            fs_err::write(files.join(name), "").unwrap();
        }
        let mut bash = Command::new("bash");
        clean(&mut bash);
        bash.current_dir(self.machine.join("work").join(below));
        bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().unwrap()]);
        let path = std::env::var("PATH").unwrap();
        bash.env("PATH", self.path.iter().rev().cloned().chain([path]).collect::<Vec<_>>().join(":"));
        for (name, value) in [
            ("GITHUB_OUTPUT", files.join("output")),
            ("GITHUB_PATH", files.join("path")),
            ("GITHUB_STEP_SUMMARY", files.join("summary")),
            ("RUNNER_TEMP", self.machine.join("temp")),
        ] {
            bash.env(name, value);
        }
        bash.env("GITHUB_REF_NAME", &self.forge.ref_name).env("CI", "true");
        let own = evaluated(&step["env"], &self.contexts);
        for (name, value) in [&self.contexts["env"], &own].into_iter().filter_map(Value::as_object).flatten() {
            bash.env(name, text(value));
        }
        let output = bash.output().unwrap();
        let told = super::support::both(&output);
        let lines = |name: &str| fs_err::read_to_string(files.join(name)).unwrap();
        self.path.extend(lines("path").lines().map(str::to_owned));
        let outputs: Map<_, _> = lines("output")
            .lines()
            .map(|line| line.split_once('=').expect("name=value"))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        self.remember(step["id"].as_str(), &outputs.into());
        if output.status.success() { Ok(told) } else { Err(told) }
    }

    fn remember(&mut self, id: Option<&str>, outputs: &Value) {
        if let Some(id) = id {
            self.contexts["steps"][id] = json!({ "outputs": outputs });
        }
    }

    /// Plays an action.
    fn action(&mut self, action: &str, with: &Value, id: Option<&str>) {
        let work = self.machine.join("work");
        let place = |key: &str| work.join(with[key].as_str().unwrap());
        let stored = |name: &str| self.forge.artifacts().join(name);
        match action.split('@').next().unwrap() {
            "actions/checkout" => {
                assert_eq!(with["persist-credentials"], json!(false));
                let reference = with["ref"].as_str().unwrap_or(&self.forge.sha);
                git(&self.machine, &["clone", "-q", self.forge.origin.as_str(), "work"]);
                git(&work, &["checkout", "-q", "--detach", reference]);
            }
            "actions/upload-artifact" => {
                let (from, to) = (place("path"), stored(with["name"].as_str().unwrap()));
                let is_left_out = with["if-no-files-found"] == "ignore" && !from.exists();
                assert_eq!(with["overwrite"], json!(true), "a job can be run again");
                if !is_left_out {
                    copy(&from, &if from.is_dir() { to } else { to.join(from.file_name().unwrap()) });
                }
            }
            "actions/download-artifact" => {
                if let Some(name) = with["name"].as_str() {
                    copy(&stored(name), &place("path"));
                } else {
                    let start = with["pattern"].as_str().unwrap().strip_suffix('*').unwrap();
                    let entries = fs_err::read_dir(self.forge.artifacts()).unwrap();
                    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                    let names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
                    for name in &names {
                        // The action gives each a directory of its own, unless there is but one.
                        let to = if names.len() == 1 { place("path") } else { place("path").join(name) };
                        copy(&stored(name), &to);
                    }
                }
            }
            "actions/attest-build-provenance" => {
                assert_eq!(with["subject-path"], "release/*/*");
                let files = super::workspaces::files_below(&work.join("release"));
                let path = self.machine.join("temp/attestation.json");
                fs_err::write(&path, attestation(&files)).unwrap();
                self.remember(id, &json!({ "bundle-path": path }));
            }
            other => panic!("{other} is not played here"),
        }
    }
}

/// What a forge signs with a certificate about some files. The signature is none, which nobody here can see.
pub fn attestation(files: &[Utf8PathBuf]) -> String {
    let subject = |path: &Utf8PathBuf| {
        let digest = Digest::of(&fs_err::read(path).unwrap()).to_string();
        json!({ "name": path.file_name().unwrap(), "digest": { "sha256": digest } })
    };
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": files.iter().map(subject).collect::<Vec<_>>(),
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    });
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "certificate": { "rawBytes": "AAAA" } },
        "dsseEnvelope": {
            "payload": BASE64.encode(statement.to_string().as_bytes()),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{ "sig": "AAAA" }],
        },
    })
    .to_string()
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    fs_err::create_dir_all(if from.is_dir() { to } else { to.parent().unwrap() }).unwrap();
    let mut command = Command::new("cp");
    // What is in a directory, and not the directory itself.
    succeed(command.args(["-R", "--"]).arg(if from.is_dir() { from.join(".") } else { from.to_owned() }).arg(to));
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    }
}

/// The rows of a matrix; a job without one has a single row.
fn rows(matrix: &Value) -> Vec<Value> {
    matrix["include"].as_array().cloned().unwrap_or_else(|| vec![json!({})])
}

/// A value with every expression in it worked out.
fn evaluated(value: &Value, contexts: &Map<String, Value>) -> Value {
    match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.clone(), evaluated(value, contexts))).collect::<Map<_, _>>().into()
        }
        Value::String(text) => interpolated(text, contexts),
        other => other.clone(),
    }
}

fn interpolated(text_with: &str, contexts: &Map<String, Value>) -> Value {
    let Some((before, rest)) = text_with.split_once("${{") else { return text_with.into() };
    let (inside, after) = rest.split_once("}}").expect("an expression ends");
    let value = expression(inside.trim(), contexts);
    if before.is_empty() && after.is_empty() {
        return value;
    }
    format!("{before}{}{}", text(&value), text(&interpolated(after, contexts))).into()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn truthy(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && *value != json!("") && *value != json!(0)
}

/// Works out an expression: `||` binds less than `&&`, and that less than a comparison.
fn expression(given: &str, contexts: &Map<String, Value>) -> Value {
    let given = given.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(given).trim();
    if let Some((left, right)) = split(given, "||") {
        let left = expression(left, contexts);
        return if truthy(&left) { left } else { expression(right, contexts) };
    }
    if let Some((left, right)) = split(given, "&&") {
        let left = expression(left, contexts);
        return if truthy(&left) { expression(right, contexts) } else { left };
    }
    if let Some((left, right)) = split(given, "!=") {
        return (text(&expression(left, contexts)) != text(&expression(right, contexts))).into();
    }
    if let Some((left, right)) = split(given, "==") {
        return (text(&expression(left, contexts)) == text(&expression(right, contexts))).into();
    }
    if let Some(rest) = given.strip_prefix('!') {
        return (!truthy(&expression(rest, contexts))).into();
    }
    if let Some(word) = given.strip_prefix('\'') {
        return word.strip_suffix('\'').expect("a text ends").into();
    }
    if let Some((function, arguments)) = given.strip_suffix(')').and_then(|call| call.split_once('(')) {
        return call(function, arguments, contexts);
    }
    let mut names = given.split('.');
    let first = names.next().unwrap();
    let start = contexts.get(first).unwrap_or_else(|| panic!("{first} of `{given}` is no context"));
    names.fold(start.clone(), |value, name| value[name].clone())
}

fn call(function: &str, arguments: &str, contexts: &Map<String, Value>) -> Value {
    match function {
        "cancelled" => false.into(),
        "fromJSON" => serde_json::from_str(&text(&expression(arguments, contexts))).unwrap(),
        "format" => {
            let (pattern, value) = arguments.split_once(',').expect("a pattern and one value");
            let pattern = text(&expression(pattern.trim(), contexts));
            pattern.replace("{0}", &text(&expression(value.trim(), contexts))).into()
        }
        other => panic!("{other}() is not known here"),
    }
}

/// Splits at an operator that stands in no text and no parentheses.
fn split<'a>(given: &'a str, operator: &str) -> Option<(&'a str, &'a str)> {
    let (mut quoted, mut depth) = (false, 0_i32);
    for (at, character) in given.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ if !quoted && depth == 0 && given[at..].starts_with(operator) => {
                return Some((given[..at].trim(), given[at + operator.len()..].trim()));
            }
            _ => {}
        }
    }
    None
}
