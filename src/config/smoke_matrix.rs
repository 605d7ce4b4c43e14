//! `docker/smoke.toml`: the services of `docker-smoke` as they are written.
//!
//! [`read`] turns the file into a [`Matrix`]: paths are made absolute, times and sizes become numbers,
//! secrets are taken from the environment, and what contradicts itself is refused with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::document;
use super::environment;
use super::secrets::Secrets;
use super::values;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Failure, Platform};
use crate::pipeline::docker_smoke::matrix::{
    Limits, Matrix, Network, Probe, Pull, Question, Serve, Service, ServiceName, Source, WithoutEmulation,
};

/// Where the file is, below the root of the workspace.
pub const FILE_NAME: &str = "docker/smoke.toml";
/// No matrix has more services.
const MAX_SERVICES: usize = 256;
/// A shorter value would mask half of what is printed.
const MIN_SECRET_BYTES: usize = 4;

/// The services that a release is tried in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(title = "docker/smoke.toml")]
struct Content {
    /// How many services may be at work at once; default: four per processor, and eight at least.
    jobs: Option<usize>,
    /// Images that several services start from, and that the command line can replace.
    base: BTreeMap<String, BaseTable>,
    /// The services by name.
    service: BTreeMap<String, ServiceTable>,
}

/// An image that services start from: `image` or `tar`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct BaseTable {
    /// An image by its name, with a tag or, better, a digest.
    image: Option<String>,
    /// A file beside this one: what `docker save` wrote, or a root directory.
    tar: Option<String>,
    /// Whether to ask the registry: missing, always, never; default: missing.
    pull: Option<Pull>,
}

/// One service: `image`, `tar`, `base` or `dockerfile` (which may have a `base`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ServiceTable {
    /// Words to select it by.
    labels: BTreeSet<String>,
    /// An image by its name, with a tag or, better, a digest.
    image: Option<String>,
    /// A file beside this one: what `docker save` wrote, or a root directory.
    tar: Option<String>,
    /// One of the bases.
    base: Option<String>,
    /// A Dockerfile beside this one; a base is its build argument BASE.
    dockerfile: Option<String>,
    /// The directory that is sent with the Dockerfile; default: none.
    context: Option<String>,
    /// Build arguments.
    build_arguments: BTreeMap<String, String>,
    /// Whether to ask the registry: missing, always, never; default: missing.
    pull: Option<Pull>,
    /// The platform, such as linux-arm64; default: the engine's.
    platform: Option<String>,
    /// What to do where the engine cannot run that: fail, skip; default: fail.
    without_emulation: Option<WithoutEmulation>,
    /// The services that have to be healthy first.
    needs: BTreeSet<String>,
    /// Commands that have to succeed first, each as a list of words.
    setup: Vec<Vec<String>>,
    /// What runs all the time, as a list of words; default: what the image says.
    run: Vec<String>,
    /// Commands to run once it is healthy, each as a list of words.
    commands: Vec<Vec<String>>,
    /// Variables. Those that are named like secrets are masked in everything that is written.
    environment: BTreeMap<String, String>,
    /// Variables of the environment here that are handed on, and masked.
    pass: BTreeSet<String>,
    /// More variables whose values are masked.
    secrets: BTreeSet<String>,
    /// The user to run as; default: the image's.
    user: Option<String>,
    /// Put the bundle at /bundle; default: no.
    bundle: bool,
    /// Serve the bundle over https, at `$CONSIGN_BUNDLE_URL`, to what runs after the setup: bundle; default: nothing.
    serve: Option<Serve>,
    /// What the last command, or the service itself, has to end with; default: 0.
    exit_code: i64,
    /// Texts that have to stand on a line of the output.
    output: Vec<String>,
    /// Regular expressions that a line of the output has to match.
    output_matches: Vec<String>,
    /// Files that have to be there in the end, by their absolute paths.
    files: Vec<String>,
    /// Questions that tell whether it is healthy.
    probe: Vec<ProbeTable>,
    /// What it is connected to: bridge, none; default: bridge.
    network: Network,
    /// Capabilities to keep, such as `NET_BIND_SERVICE`; all others are dropped.
    capabilities: Vec<String>,
    /// How long it may take from its start on, such as 90s or 10m; default: 5m.
    time_limit: Option<String>,
    /// How much memory it may use, such as 64MiB; default: 512MiB.
    memory: Option<String>,
    /// How many processors it may use; default: 1.
    cpus: Option<f64>,
    /// How many processes it may have; default: 256.
    pids: Option<u64>,
    /// How much of its output is kept; default: 256MiB.
    log_limit: Option<String>,
}

/// A question: `port` for HTTP, or `command`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ProbeTable {
    /// The container's port that is asked over HTTP.
    port: Option<u16>,
    /// The path that is asked for; default: /.
    path: Option<String>,
    /// The status that is expected; default: 200.
    status: Option<u16>,
    /// Texts that have to be in the answer.
    contains: Vec<String>,
    /// A command in the container that has to succeed, as a list of words.
    command: Vec<String>,
    /// How often it is asked before the service counts as ill; default: 30.
    tries: Option<u32>,
    /// The pause between; default: 1s.
    interval: Option<String>,
    /// How long an answer may take; default: 5s.
    timeout: Option<String>,
}

/// What the command line puts in the place of a base: an image's name, or the path of a file.
pub type Bases = BTreeMap<String, String>;

/// The JSON schema of the file, as text.
pub fn schema() -> String {
    document::schema_text(document::schema_of::<Content>())
}

/// Finds the file: in the directory, or in one above it up to the root of the workspace or repository.
pub fn find(directory: &Utf8Path) -> Result<Utf8PathBuf> {
    super::find_above(directory, FILE_NAME).ok_or_else(|| {
        Failure::new(Code::ConfigInvalid, format!("there is no `{FILE_NAME}` here or above"))
            .hint("`docs/docker-smoke.md` shows one; `--matrix` names another file")
    })
}

/// Reads and checks the file. Shown is the part of its path below `directory`, if it is there.
pub fn read(path: &Utf8Path, directory: &Utf8Path, bases: &Bases) -> Result<Matrix> {
    let (shown, source) = document::read(path, directory, "`docs/docker-smoke.md` shows one")?;
    let beside = path.parent().unwrap_or(directory);
    parse(&source, &shown, &Surroundings { beside, directory, bases })
}

/// What a matrix is read with.
struct Surroundings<'a> {
    /// The file's directory.
    beside: &'a Utf8Path,
    /// The directory that is worked in.
    directory: &'a Utf8Path,
    bases: &'a Bases,
}

fn parse(source: &str, file: &str, around: &Surroundings<'_>) -> Result<Matrix> {
    let schema = document::schema_of::<Content>();
    let (content, lines): (Content, _) = document::parse(source, file, &schema)?;
    let place = |key: &str| match lines.get(key) {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    };
    let whole = |message: String| Failure::new(Code::ConfigInvalid, message).subject(file);
    if content.service.is_empty() {
        return Err(whole(format!("`{file}` has no service")).hint("write one as `[service.NAME]`"));
    }
    if content.service.len() > MAX_SERVICES {
        return Err(whole(format!("`{file}` has more than {MAX_SERVICES} services")));
    }
    if content.jobs == Some(0) {
        return Err(whole("`jobs` has to be one or more".to_owned()).subject(place("jobs")));
    }
    let mut known = BTreeMap::new();
    for (name, table) in &content.base {
        let base = base(table, around).map_err(|message| refused(&message, &format!("base.{name}"), &place))?;
        known.insert(name.clone(), base);
    }
    for (name, given) in around.bases {
        if !known.contains_key(name) {
            return Err(Failure::new(Code::Usage, format!("`{file}` has no base `{}`", shown(name)))
                .hint(nearest_hint(name, known.keys())));
        }
        known.insert(name.clone(), replaced(given, around));
    }
    let mut services = BTreeMap::new();
    for (name, table) in content.service {
        let key = format!("service.{name}");
        let name: ServiceName = name.parse().map_err(|failure: Failure| failure.subject(place(&key)))?;
        let service = service(table, &known, around).map_err(|message| refused(&message, &key, &place))?;
        services.insert(name, service);
    }
    let matrix = Matrix { file: file.to_owned(), jobs: content.jobs, services };
    agree(&matrix, &place)?;
    Ok(matrix)
}

/// Checks what services say of each other.
fn agree(matrix: &Matrix, place: &dyn Fn(&str) -> String) -> Result<()> {
    for (name, service) in &matrix.services {
        let key = format!("service.{name}.needs");
        for needed in &service.needs {
            let Some(other) = matrix.services.get(needed) else {
                return Err(refused(&format!("there is no service `{needed}`"), &key, place)
                    .hint(nearest_hint(needed.as_str(), matrix.services.keys().map(ServiceName::as_str))));
            };
            if other.network == Network::None || service.network == Network::None {
                return Err(refused(&format!("`{name}` and `{needed}` cannot meet without a network"), &key, place));
            }
        }
    }
    match matrix.circle() {
        Some(circle) => {
            let names: Vec<_> = circle.iter().chain(circle.first()).map(ServiceName::as_str).collect();
            let key = format!("service.{}.needs", names.first().unwrap_or(&""));
            Err(refused(&format!("services need each other in a circle: {}", names.join(" -> ")), &key, place))
        }
        None => Ok(()),
    }
}

fn refused(message: &str, key: &str, place: &dyn Fn(&str) -> String) -> Failure {
    let key_shown = shown(key);
    Failure::new(Code::ConfigInvalid, format!("`{key_shown}` cannot be used: {message}")).subject(place(key))
}

fn nearest_hint(given: &str, known: impl Iterator<Item = impl AsRef<str>>) -> String {
    let known: Vec<_> = known.collect();
    match super::nearest(given, known.iter().map(AsRef::as_ref)) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "there is none".to_owned(),
    }
}

/// What is wrong in a table, as words.
type Read<T> = Result<T, String>;

fn base(table: &BaseTable, around: &Surroundings<'_>) -> Read<Source> {
    match (&table.image, &table.tar) {
        (Some(name), None) => image(name, table.pull),
        (None, Some(tar)) => Ok(Source::Tar(around.beside.join(tar))),
        _ => Err("it takes one of `image` and `tar`".to_owned()),
    }
}

/// A base from the command line: a file if it looks like one.
fn replaced(given: &str, around: &Surroundings<'_>) -> Source {
    let path = around.directory.join(given);
    if path.extension() == Some("tar") || path.is_file() {
        Source::Tar(path)
    } else {
        Source::Image { name: given.to_owned(), pull: Pull::Missing }
    }
}

fn image(name: &str, pull: Option<Pull>) -> Read<Source> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    if name.is_empty() || name.len() > 400 || !name.bytes().all(good) || !name.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(format!("`{}` is not the name of an image", shown(name)));
    }
    Ok(Source::Image { name: name.to_owned(), pull: pull.unwrap_or_default() })
}

fn source(table: &ServiceTable, bases: &BTreeMap<String, Source>, around: &Surroundings<'_>) -> Read<Source> {
    let base = |name: &String| {
        bases
            .get(name)
            .cloned()
            .ok_or_else(|| format!("there is no base `{}`; {}", shown(name), nearest_hint(name, bases.keys())))
    };
    if table.dockerfile.is_none() && (table.context.is_some() || !table.build_arguments.is_empty()) {
        return Err("`context` and `build-arguments` belong to a `dockerfile`".to_owned());
    }
    match (&table.image, &table.tar, &table.base, &table.dockerfile) {
        (Some(name), None, None, None) => image(name, table.pull),
        (None, Some(tar), None, None) => Ok(Source::Tar(around.beside.join(tar))),
        (None, None, Some(name), None) => base(name),
        (None, None, name, Some(dockerfile)) => Ok(Source::Dockerfile {
            path: around.beside.join(dockerfile),
            context: table.context.as_ref().map(|context| around.beside.join(context)),
            arguments: table.build_arguments.clone(),
            base: name.as_ref().map(base).transpose()?.map(Box::new),
        }),
        _ => Err("it takes one of `image`, `tar`, `base` and `dockerfile`".to_owned()),
    }
}

fn service(table: ServiceTable, bases: &BTreeMap<String, Source>, around: &Surroundings<'_>) -> Read<Service> {
    let source = source(&table, bases, around)?;
    let platform = table.platform.as_deref().map(platform).transpose()?;
    let needs = table.needs.iter().map(|name| name.parse().map_err(said)).collect::<Read<_>>()?;
    for command in table.setup.iter().chain(&table.commands) {
        command_words(command)?;
    }
    if table.run.iter().any(|word| word.contains('\0')) {
        return Err("`run` holds a NUL character".to_owned());
    }
    if !table.setup.is_empty() && table.run.is_empty() && table.commands.is_empty() {
        return Err("after `setup` there has to be something to `run`, or `commands`".to_owned());
    }
    if table.serve.is_some() && table.run.is_empty() && table.commands.is_empty() {
        return Err("what is served has to be fetched by something to `run`, or by `commands`".to_owned());
    }
    if table.serve.is_some() && table.network == Network::None {
        return Err("nothing can be served without a network".to_owned());
    }
    let probes = table.probe.into_iter().map(probe).collect::<Read<Vec<_>>>()?;
    let asks_over_http = probes.iter().any(|probe| matches!(probe.question, Question::Http { .. }));
    if asks_over_http && table.network == Network::None {
        return Err("a probe over HTTP needs a network".to_owned());
    }
    if let Some(file) = table.files.iter().find(|file| !file.starts_with('/')) {
        return Err(format!("the file `{}` has no absolute path", shown(file)));
    }
    let word = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    if let Some(capability) = table.capabilities.iter().find(|name| !name.bytes().all(word) || *name == "ALL") {
        return Err(format!("`{}` is not a capability to keep", shown(capability)));
    }
    let patterns = table.output_matches.iter().map(|pattern| {
        Regex::new(pattern)
            .map_err(|error| format!("`{}` is not a regular expression: {}", shown(pattern), shown(&error.to_string())))
    });
    let limits = limits(
        &[table.time_limit.as_deref(), table.memory.as_deref(), table.log_limit.as_deref()],
        table.cpus,
        table.pids,
    )?;
    let output_matches = patterns.collect::<Read<_>>()?;
    let (environment, secrets) = variables(table.environment, &table.pass, &table.secrets)?;
    Ok(Service {
        labels: table.labels,
        source,
        platform,
        without_emulation: table.without_emulation.unwrap_or_default(),
        needs,
        setup: table.setup,
        run: table.run,
        commands: table.commands,
        environment,
        secrets,
        user: table.user,
        has_bundle: table.bundle,
        serve: table.serve,
        exit_code: table.exit_code,
        output: table.output,
        output_matches,
        files: table.files,
        probes,
        network: table.network,
        capabilities: table.capabilities,
        limits,
    })
}

/// The variables of a container, and the values among them that are never shown.
fn variables(
    mut written: BTreeMap<String, String>,
    passed: &BTreeSet<String>,
    secret: &BTreeSet<String>,
) -> Read<(BTreeMap<String, String>, Vec<String>)> {
    let mut secrets = Vec::new();
    for (name, value) in environment::named(passed) {
        let Some(value) = value else {
            return Err(format!("the variable `{}` that it passes on is not set", shown(&name)));
        };
        secrets.push(value.clone());
        written.insert(name, value);
    }
    for name in written.keys().chain(secret) {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || !name.bytes().all(good) {
            return Err(format!("`{}` is not the name of a variable", shown(name)));
        }
    }
    for (name, value) in &written {
        if Secrets::is_named_so(name) || secret.contains(name) {
            secrets.push(value.clone());
        }
    }
    if let Some(name) = secret.iter().find(|name| !written.contains_key(*name)) {
        return Err(format!("the secret `{}` is not among its variables", shown(name)));
    }
    // Output comes in lines, so each line of a value is a secret of its own.
    let lines = secrets.iter().flat_map(|value| value.lines()).map(str::trim);
    let mut lines: Vec<_> = lines.filter(|line| line.len() >= MIN_SECRET_BYTES).map(str::to_owned).collect();
    // The longest first, so that no secret is left over that holds another.
    lines.sort_by_key(|line| std::cmp::Reverse(line.len()));
    lines.dedup();
    Ok((written, lines))
}

fn platform(text: &str) -> Read<Platform> {
    let platform: Platform = text.parse().map_err(said)?;
    if platform.name().starts_with("linux-") {
        Ok(platform)
    } else {
        Err(format!("containers run Linux, and `{platform}` is none"))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what a failure is mapped by")]
fn said(failure: Failure) -> String {
    match failure.way_out() {
        Some(hint) => format!("{failure}; {hint}"),
        None => failure.to_string(),
    }
}

fn command_words(words: &[String]) -> Read<()> {
    values::command(words).map_err(said)
}

fn probe(table: ProbeTable) -> Read<Probe> {
    let question = match (table.port, table.command.is_empty()) {
        (Some(port), true) => {
            let path = table.path.unwrap_or_else(|| "/".to_owned());
            if !path.starts_with('/') || path.chars().any(|character| character.is_control() || character == ' ') {
                return Err(format!("a probe's path starts with a slash and has no spaces: `{}`", shown(&path)));
            }
            Question::Http { port, path, status: table.status.unwrap_or(200), contains: table.contains }
        }
        (None, false) => {
            if table.path.is_some() || table.status.is_some() || !table.contains.is_empty() {
                return Err("`path`, `status` and `contains` belong to a probe with a `port`".to_owned());
            }
            command_words(&table.command)?;
            Question::Command(table.command)
        }
        _ => return Err("a probe takes one of `port` and `command`".to_owned()),
    };
    let tries = table.tries.unwrap_or(30);
    if tries == 0 {
        return Err("a probe is tried once at least".to_owned());
    }
    let time =
        |given: Option<String>, default| given.map_or(Ok(default), |given| values::duration(&given).map_err(said));
    Ok(Probe {
        question,
        tries,
        interval: time(table.interval, Duration::from_secs(1))?,
        timeout: time(table.timeout, Duration::from_secs(5))?,
    })
}

fn limits(written: &[Option<&str>; 3], cpus: Option<f64>, pids: Option<u64>) -> Read<Limits> {
    let default = Limits::default();
    let [time, memory, log] = written;
    let cpu_millis = match cpus {
        None => default.cpu_millis,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range has just been checked")]
        Some(cpus) if (0.01..=1024.0).contains(&cpus) => (cpus * 1000.0).round() as u64,
        Some(cpus) => return Err(format!("`cpus` cannot be {cpus}")),
    };
    let memory_bytes = memory.map_or(Ok(default.memory_bytes), size)?;
    // Docker takes no less.
    if memory_bytes < 6 << 20 {
        return Err("`memory` has to be 6MiB or more".to_owned());
    }
    if pids == Some(0) {
        return Err("`pids` has to be one or more".to_owned());
    }
    Ok(Limits {
        time: time.map_or(Ok(default.time), |time| values::duration(time).map_err(said))?,
        memory_bytes,
        cpu_millis,
        max_pids: pids.unwrap_or(default.max_pids),
        log_bytes: log.map_or(Ok(default.log_bytes), size)?,
    })
}

/// Reads `64MiB`, `1GiB`, `512KiB`.
fn size(given: &str) -> Read<u64> {
    let digits = given.len() - given.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let (number, unit) = given.split_at(digits);
    let unit: Option<u64> = match unit {
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let size = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    // An engine counts with a sign.
    size.filter(|size| (1..=i64::MAX.unsigned_abs()).contains(size))
        .ok_or_else(|| format!("`{}` is not a size: write a number with `KiB`, `MiB` or `GiB`", shown(given)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(text: &str) -> Result<Matrix> {
        let here = Utf8Path::new("/here");
        parse(text, "x.toml", &Surroundings { beside: here, directory: here, bases: &Bases::new() })
    }

    #[test]
    fn services_that_need_each_other_are_one_group_and_others_are_in_none() {
        let one = |name: &str, needs: &str| format!("[service.{name}]\nimage = \"x\"\nneeds = [{needs}]\n");
        let text =
            [one("e", ""), one("a", "\"e\""), one("d", "\"c\""), one("c", ""), one("b", "\"e\", \"d\""), one("f", "")];
        let groups = matrix(&text.concat()).expect("a matrix").groups();
        let shown: Vec<_> = groups.iter().map(|(name, leader)| format!("{name}>{leader}")).collect();
        assert_eq!(shown, ["a>a", "b>a", "c>a", "d>a", "e>a"]);
    }

    #[test]
    fn sizes_and_their_defaults() {
        for (text, expected) in
            [("6MiB", Some(6 << 20)), ("1GiB", Some(1 << 30)), ("0KiB", None), ("9999999999GiB", None), ("", None)]
        {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
        let matrix = matrix("[service.a]\nimage = \"x\"\ncpus = 0.5\n").expect("a matrix");
        let limits = &matrix.services["a"].limits;
        assert_eq!(*limits, Limits { cpu_millis: 500, ..Limits::default() });
    }

    #[test]
    fn the_repository_s_own_matrix_is_read() {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
        let matrix = read(&root.join(FILE_NAME), root, &Bases::new()).expect("a matrix");
        for (name, service) in &matrix.services {
            let base = match &service.source {
                Source::Dockerfile { base: Some(base), .. } => base,
                source => source,
            };
            assert!(base.to_string().contains("@sha256:"), "{name} starts from what may change");
            assert!(service.wants_bundle() || service.labels.contains("server"), "{name}");
        }
        let published = matrix.of_published().expect("what runs once more");
        assert!(published.services.values().all(|service| service.serve.is_some()));
    }
}
