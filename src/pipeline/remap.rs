//! Compiled code without this machine's paths in it.
//!
//! The compiler writes source paths into panic messages and debug information. Each prefix that
//! belongs to this machine is replaced by one that is the same everywhere, both in Rust code
//! (`--remap-path-prefix`) and in C code that build scripts compile (`-ffile-prefix-map`). The user's
//! own flags stay in force. What a program reads with `env!("CARGO_MANIFEST_DIR")` is beyond this.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use super::plan::{Plan, PlatformPlan};
use crate::model::failure::Result;
use crate::world::cargo_config::{self, FlagsPlace};
use crate::world::process::Program;

/// Adds the flags to the command of a build by cargo.
pub fn apply(program: Program, plan: &Plan, platform: &PlatformPlan, rustc: &str) -> Result<Program> {
    let mut environment = plan.environment.clone();
    environment.extend(platform.environment.clone());
    let prefixes = prefixes(plan);
    let ours: Vec<String> = prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect();
    let program = with_c_flags(program, &environment, platform, &prefixes);
    Ok(match cargo_config::flags_in_force(&environment, rustc, &plan.places.root, &platform.target)? {
        FlagsPlace::Environment(users) => {
            program.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", [users, ours].concat().join("\u{1f}"))
        }
        FlagsPlace::Target(_) => program.arg("--config").arg(target_flags(&platform.target, &ours)),
        FlagsPlace::Build(users) => {
            program.arg("--config").arg(target_flags(&platform.target, &[users, ours].concat()))
        }
    })
}

/// The user's own flags for the compiler, and the variables that change the cargo profile, as they
/// may be written down: the paths of this machine are replaced as they are in the program.
pub fn users_own(plan: &Plan, platform: &PlatformPlan, rustc: &str) -> Result<(Vec<String>, BTreeMap<String, String>)> {
    let mut environment = plan.environment.clone();
    environment.extend(platform.environment.clone());
    let prefixes = prefixes(plan);
    let plain = |text: &str| {
        // The nearest directory stands last, and is replaced first.
        prefixes.iter().rev().fold(text.to_owned(), |text, (from, to)| text.replace(from.as_str(), to))
    };
    let in_force = cargo_config::flags_in_force(&environment, rustc, &plan.places.root, &platform.target)?;
    let (FlagsPlace::Environment(flags) | FlagsPlace::Target(flags) | FlagsPlace::Build(flags)) = in_force;
    let profile = environment.iter().filter(|(name, _)| name.starts_with("CARGO_PROFILE_"));
    Ok((
        flags.iter().map(|flag| plain(flag)).collect(),
        profile.map(|(name, value)| (name.clone(), plain(value))).collect(),
    ))
}

fn target_flags(target: &str, flags: &[String]) -> String {
    // A JSON array of texts is also a TOML array of texts.
    format!("target.{target}.rustflags={}", serde_json::Value::from(flags))
}

/// What is replaced by what. Of several that match, the compiler takes the last.
fn prefixes(plan: &Plan) -> Vec<(Utf8PathBuf, &'static str)> {
    let mut prefixes: Vec<(Utf8PathBuf, &'static str)> = Vec::new();
    prefixes.extend(plan.environment.get("HOME").map(|home| (home.into(), "/home")));
    prefixes.extend(cargo_config::cargo_home(&plan.environment).map(|home| (home, "/cargo")));
    // Where the workspace is a part of its repository, code beside it may be built in as well.
    let depth = plan.places.below_repository.components().count();
    prefixes.extend(plan.places.root.ancestors().nth(depth).map(|root| (root.to_owned(), "/repository")));
    prefixes.push((plan.places.root.clone(), "/workspace"));
    prefixes.push((plan.places.target.clone(), "/workspace/target"));
    prefixes.retain(|(from, _)| from.as_str().len() > 1);
    prefixes
}

/// The C and C++ flags of the target, as build scripts read them through the `cc` crate.
fn with_c_flags(
    mut program: Program,
    environment: &BTreeMap<String, String>,
    platform: &PlatformPlan,
    prefixes: &[(Utf8PathBuf, &'static str)],
) -> Program {
    if platform.target.ends_with("-msvc") {
        return program;
    }
    let ours: Vec<String> = prefixes
        .iter()
        // C compilers read up to the first `=`, rustc up to the last; nobody quotes spaces for a C compiler.
        .filter(|(from, _)| !from.as_str().contains(|c: char| c.is_whitespace() || c == '='))
        .map(|(from, to)| format!("-ffile-prefix-map={from}={to}"))
        .collect();
    let target = platform.target.replace('-', "_");
    for name in ["CFLAGS", "CXXFLAGS"] {
        // The most specific variable is the one that counts, so the user's words go in front of ours there.
        let spellings = [
            format!("{name}_{}", platform.target),
            format!("{name}_{target}"),
            format!("TARGET_{name}"),
            name.to_owned(),
        ];
        let users = spellings.iter().find_map(|spelling| environment.get(spelling));
        let words = users.cloned().into_iter().chain(ours.iter().cloned()).collect::<Vec<_>>().join(" ");
        program = program.env_remove(&spellings[0]).env(&spellings[1], words);
    }
    program
}
