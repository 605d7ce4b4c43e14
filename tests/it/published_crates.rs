//! Consign on published programs that nobody prepared for it.
//!
//! Their sources come out of cargo's own cache, where `cargo info` leaves them, and are copied to
//! a scratch directory. What is said of their dependencies is held against the units that cargo
//! itself would compile, and given to the judges of both formats.

#![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::support::{self, Scratch};

const LIST: &str = include_str!("../published-crates.txt");
/// How many are worked on at once.
const WORKERS: usize = 2;
/// Those that the slow judges see: an old lock file, licences that no validator takes, plain, C code.
const JUDGED: [&str; 4] = ["exa", "websocat", "choose", "b3sum"];

/// A published crate.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub name: &'static str,
    pub version: &'static str,
}

/// One program for each kind of build that is run to its end.
const BUILT: [(&str, Published); 4] = [
    ("several programs", Published { name: "os_pipe", version: "1.2.3" }),
    ("no build script", Published { name: "cargo-bloat", version: "0.12.1" }),
    ("C and assembly", Published { name: "b3sum", version: "1.8.7" }),
    ("build scripts and procedural macros, no lock file", Published { name: "svgcleaner", version: "0.9.5" }),
];

impl Published {
    /// A copy of its source.
    pub fn source(self) -> Result<Scratch, String> {
        let Self { name, version } = self;
        let scratch = Scratch::new();
        let mut complaint = String::new();
        // The registry is far away, and one answer in some hundreds is lost.
        for _attempt in 0..3 {
            let output = cargo(scratch.path()).args(["info", "--quiet", &format!("{name}@{version}")]).output();
            let output = output.map_err(|error| format!("{name}: {error}"))?;
            if let Some(found) = unpacked(name, version) {
                copy(&found, scratch.path());
                return Ok(scratch);
            }
            complaint = support::both(&output);
        }
        Err(format!("{name} {version} cannot be fetched: {complaint}"))
    }
}

/// Where cargo has unpacked a crate.
fn unpacked(name: &str, version: &str) -> Option<Utf8PathBuf> {
    let registries = fs_err::read_dir(cargo_home().join("registry/src")).ok()?;
    registries
        .filter_map(|entry| Utf8PathBuf::from_path_buf(entry.ok()?.path()).ok())
        .map(|registry| registry.join(format!("{name}-{version}")))
        .find(|place| place.join("Cargo.toml").is_file())
}

pub fn cargo_home() -> Utf8PathBuf {
    let home = || Utf8PathBuf::from(std::env::var("HOME").unwrap()).join(".cargo");
    std::env::var("CARGO_HOME").map_or_else(|_| home(), Utf8PathBuf::from)
}

/// Copies a directory, without what cargo put there.
pub fn copy(from: &Utf8Path, to: &Utf8Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&from.join(&name), &to.join(&name)),
            _ if name == ".cargo-ok" => {}
            _ => _ = fs_err::copy(from.join(&name), to.join(&name)).unwrap(),
        }
    }
}

fn cargo(directory: &Utf8Path) -> Command {
    with_compiler(Command::new("cargo"), directory)
}

pub fn consign(directory: &Utf8Path) -> Command {
    with_compiler(support::consign(directory), directory)
}

/// Some crates pin a compiler; they are tried with the one that is here.
fn with_compiler(mut command: Command, directory: &Utf8Path) -> Command {
    support::clean(&mut command);
    if let Some(toolchain) = option_env!("RUSTUP_TOOLCHAIN") {
        command.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    command.current_dir(directory);
    command
}

/// Runs a command; gives back its standard output, or what it complains of.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|error| error.to_string());
    }
    Err(format!("{command:?} ended with {}:\n{}", output.status, support::both(&output)))
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn published() -> Vec<Published> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, version) = line.split_once(' ').unwrap();
            Published { name, version }
        })
        .collect()
}

/// What is known of a crate after its turn.
struct Examined {
    bundle: Utf8PathBuf,
    components: usize,
    /// Crates whose licence no validator takes, and what their manifests say.
    unknown_licences: BTreeSet<String>,
    scratch: Scratch,
}

/// Plans, packs, describes and verifies one crate, with stand-ins for its programs.
fn examine(crate_: Published) -> Result<Examined, String> {
    let scratch = crate_.source()?;
    let directory = scratch.path();
    let plan = json(&run(consign(directory).args(["plan", "--format", "json"]))?)?;
    if plan["version"] != crate_.version || plan["packages"] != serde_json::json!([crate_.name]) {
        return Err(format!("the plan is about {} of {}", plan["version"], plan["packages"]));
    }
    for program in texts(&plan["binaries"]) {
        scratch.write(&format!("programs/{program}"), format!("stands in for {program}\n"));
    }
    run(consign(directory).args(["package", "--binaries", "programs", "--format", "json"]))?;
    let verified = json(&run(consign(directory).args(["verify", "--format", "json"]))?)?;
    if verified["authenticity"] != "unchecked" {
        return Err(format!("verify said {verified}"));
    }
    let bundle = directory.join(format!("dist/packages/v{}", crate_.version));
    let described = components(&bundle)?;
    let compiled = units(directory, &plan["platforms"][0]["command"])?;
    if described != compiled {
        return Err(differences(&described, &compiled));
    }
    let unknown_licences = check_spdx(&bundle, directory)?;
    Ok(Examined { bundle, components: described.len(), unknown_licences, scratch })
}

/// Each crate, and whether its code is in the program.
type Crates = BTreeMap<String, bool>;

/// The crates in the CycloneDX document.
fn components(bundle: &Utf8Path) -> Result<Crates, String> {
    let document = json(&fs_err::read_to_string(bundle.join("sbom.cdx.json")).map_err(|error| error.to_string())?)?;
    let mut crates = Crates::new();
    let mut references = BTreeSet::new();
    for component in document["components"].as_array().into_iter().flatten() {
        if !references.insert(component["bom-ref"].as_str().unwrap_or_default()) {
            return Err(format!("{} is there twice", component["bom-ref"]));
        }
        if component["type"] == "file" {
            continue;
        }
        let purl = component["purl"].as_str().unwrap_or_default();
        if !purl.starts_with("pkg:cargo/") || component["version"].as_str().is_none_or(str::is_empty) {
            return Err(format!("{component} has no purl or no version"));
        }
        let properties = component["properties"].as_array().into_iter().flatten();
        let is_in_program = properties.into_iter().any(|property| {
            property["name"].as_str().is_some_and(|name| name.starts_with("consign:platform:"))
                && property["value"] == "runtime"
        });
        crates.insert(identifier(&component["name"], &component["version"]), is_in_program);
    }
    Ok(crates)
}

fn identifier(name: &Value, version: &Value) -> String {
    format!("{}@{}", name.as_str().unwrap_or_default(), version.as_str().unwrap_or_default())
}

/// The crates that cargo would compile with the planned command: those for the target are in the program.
fn units(directory: &Utf8Path, command: &Value) -> Result<Crates, String> {
    let command = texts(command);
    let mut cargo = cargo(directory);
    cargo.args(&command[1..]).args(["--unit-graph", "-Zunstable-options"]).env("RUSTC_BOOTSTRAP", "1");
    if !command.contains(&"--locked") {
        cargo.arg("--locked");
    }
    let graph = json(&run(&mut cargo)?)?;
    let mut crates = Crates::new();
    for unit in graph["units"].as_array().into_iter().flatten() {
        // `<source>#<name>@<version>`, or `<path>/<name>#<version>`.
        let id = unit["pkg_id"].as_str().unwrap_or_default();
        let (source, version) = id.rsplit_once('#').unwrap_or((id, ""));
        let own = || format!("{}@{version}", package_name(directory, source));
        let crate_ = if version.contains('@') { version.to_owned() } else { own() };
        let is_in_program = unit["mode"] == "build" && !unit["platform"].is_null();
        *crates.entry(crate_).or_default() |= is_in_program;
    }
    Ok(crates)
}

/// The last part of a path that cargo left the name away for, because it is the package's name.
fn package_name<'a>(directory: &'a Utf8Path, source: &'a str) -> &'a str {
    source.rsplit('/').next().or(directory.file_name()).unwrap_or_default()
}

fn differences(described: &Crates, compiled: &Crates) -> String {
    let all: BTreeSet<_> = described.keys().chain(compiled.keys()).collect();
    let word = |crates: &Crates, name: &String| match crates.get(name) {
        None => "absent",
        Some(true) => "in the program",
        Some(false) => "only for the build",
    };
    let differing = all.into_iter().filter(|name| described.get(*name) != compiled.get(*name));
    let lines = differing.map(|name| {
        format!("{name} is described as {} and compiled as {}", word(described, name), word(compiled, name))
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// Looks at every crate in the SPDX document; gives back those whose licence is not asserted.
fn check_spdx(bundle: &Utf8Path, directory: &Utf8Path) -> Result<BTreeSet<String>, String> {
    let document = json(&fs_err::read_to_string(bundle.join("sbom.spdx.json")).map_err(|error| error.to_string())?)?;
    let mut identifiers = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for package in document["packages"].as_array().into_iter().flatten() {
        let id = package["SPDXID"].as_str().unwrap_or_default();
        if !identifiers.insert(id) {
            return Err(format!("{id} is there twice"));
        }
        if !id.starts_with("SPDXRef-crate-") {
            continue;
        }
        let references = package["externalRefs"].as_array().into_iter().flatten();
        let mut purls = references.filter(|reference| reference["referenceType"] == "purl");
        if purls.next().is_none() || package["licenseDeclared"].as_str().is_none_or(str::is_empty) {
            return Err(format!("{package} has no purl or no licence"));
        }
        if package["licenseDeclared"] == "NOASSERTION" {
            let (name, version) = (package["name"].as_str().unwrap_or_default(), package["versionInfo"].as_str());
            let place = unpacked(name, version.unwrap_or_default()).unwrap_or_else(|| directory.to_owned());
            let licence = licence_in(&place.join("Cargo.toml"))?;
            if licence.as_deref().is_some_and(is_accepted) {
                return Err(format!("the licence of {name} is {licence:?} and was not taken over"));
            }
            unknown.insert(format!("{name} ({})", licence.as_deref().unwrap_or("no licence in its manifest")));
        }
    }
    Ok(unknown)
}

fn licence_in(manifest: &Utf8Path) -> Result<Option<String>, String> {
    let text = fs_err::read_to_string(manifest).map_err(|error| error.to_string())?;
    let manifest: toml::Table = toml::from_str(&text).map_err(|error| error.to_string())?;
    Ok(manifest["package"].get("license").and_then(toml::Value::as_str).map(str::to_owned))
}

/// Whether validators take a licence. They know no `+` behind licences that are not of GNU's family.
fn is_accepted(licence: &str) -> bool {
    !licence.contains('+') && spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).is_ok()
}

#[test]
fn published_programs_are_described_as_cargo_compiles_them() {
    let all = published();
    if !support::missing_unless(all[0].source().is_ok(), "the package registry") {
        return;
    }
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(&crate_) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = examine(crate_);
                    outcomes.lock().unwrap().push((crate_, outcome));
                }
            });
        }
    });
    let mut good = Vec::new();
    let mut failures = Vec::new();
    for (crate_, outcome) in outcomes.into_inner().unwrap() {
        match outcome {
            Ok(examined) => good.push((crate_, examined)),
            Err(problem) => failures.push(format!("{} {}: {problem}", crate_.name, crate_.version)),
        }
    }
    let unknown: BTreeSet<_> = good.iter().flat_map(|(_, examined)| &examined.unknown_licences).collect();
    eprintln!(
        "published crates: {} of {} planned, described, packed and verified in {:.0} s; {} components; licences that no validator takes: {unknown:?}",
        good.len(),
        all.len(),
        begun.elapsed().as_secs_f64(),
        good.iter().map(|(_, examined)| examined.components).sum::<usize>(),
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(good.len() >= 40, "the list is long enough to mean something");
    judge(&good);
}

/// Gives the documents to those who know their formats.
fn judge(good: &[(Published, Examined)]) {
    let chosen: Vec<_> = good.iter().filter(|(crate_, _)| JUDGED.contains(&crate_.name)).collect();
    assert_eq!(chosen.len(), JUDGED.len());
    for (crate_, examined) in chosen {
        let document = examined.bundle.join("sbom.spdx.json");
        assert!(examined.scratch.path().is_dir(), "{} is still there", crate_.name);
        if support::need("pyspdxtools") {
            let said = support::succeed(Command::new("pyspdxtools").args(["-i", document.as_str()]));
            assert!(!said.to_lowercase().contains("invalid"), "{}: {said}", crate_.name);
        }
        if support::need("ntia-checker") {
            support::succeed(Command::new("ntia-checker").arg(&document));
        }
    }
    if crate::sbom::need_python("cyclonedx.validation.json") {
        let program = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
for path in sys.argv[1:]:
    error = validator.validate_str(open(path).read())
    if error:
        sys.exit(f'{path}: {error}')";
        let documents = good.iter().map(|(_, examined)| examined.bundle.join("sbom.cdx.json"));
        support::succeed(Command::new("python3").args(["-c", program]).args(documents));
    }
}

#[test]
fn the_whole_pipeline_runs_on_published_programs_of_different_kinds() {
    if !support::missing_unless(BUILT[0].1.source().is_ok(), "the package registry") {
        return;
    }
    for (kind, crate_) in BUILT {
        let scratch = crate_.source().unwrap();
        let directory = scratch.path();
        let begun = Instant::now();
        support::succeed(consign(directory).args(["release-pipeline", "--skip", "test"]));
        let seconds = begun.elapsed().as_secs_f64();

        let plan = json(&support::succeed(consign(directory).args(["plan", "--format", "json"]))).unwrap();
        let bundle = directory.join(format!("dist/packages/v{}", crate_.version));
        support::succeed(Command::new("sha256sum").args(["--check", "--strict", "checksums.txt"]).current_dir(&bundle));
        support::succeed(consign(directory).arg("verify"));
        let archive = plan["platforms"][0]["archive"].as_str().unwrap();
        let listed = support::succeed(Command::new("tar").args(["tzf", archive]).current_dir(&bundle));
        let programs = texts(&plan["binaries"]);
        for program in &programs {
            assert!(listed.lines().any(|line| line.ends_with(&format!("/bin/{program}"))), "{program}: {listed}");
        }
        let platform = plan["platforms"][0]["platform"].as_str().unwrap();
        let built = directory.join(format!("dist/releases/v{}/{platform}", crate_.version));
        let places = [directory.to_string(), cargo_home().to_string(), std::env::var("HOME").unwrap()];
        for program in &programs {
            let bytes = fs_err::read(built.join(program)).unwrap();
            let told = places.iter().filter(|place| memchr::memmem::find(&bytes, place.as_bytes()).is_some());
            assert_eq!(told.collect::<Vec<_>>(), Vec::<&String>::new(), "{program} tells where it was built");
        }
        eprintln!("{} {} ({kind}): {} programs in {seconds:.0} s", crate_.name, crate_.version, programs.len());
    }
}
