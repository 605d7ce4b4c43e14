//! The user's own compiler flags, wherever cargo would find them.
//!
//! Cargo takes `rustflags` from one place only: the environment, else `[target.…]`, else `[build]`
//! (<https://doc.rust-lang.org/cargo/reference/config.html#buildrustflags>). Adding a flag of our own
//! must not push the user's flags out, so this module finds the place that is in force and returns
//! how to add to it.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::cargo_platform::{Cfg, Platform as Selector};
use serde::Deserialize;

use super::files;
use super::process::Program;
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// How to hand more flags to the compiler without losing the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagsPlace {
    /// The environment is in force: set `CARGO_ENCODED_RUSTFLAGS` to these, with more behind them.
    Environment(Vec<String>),
    /// These flags for the target are in force: cargo joins `--config target.<triple>.rustflags` to them.
    Target(Vec<String>),
    /// These flags for every build are in force: repeat them for the target, with more behind them.
    Build(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    build: BuildTable,
    #[serde(default)]
    target: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
struct BuildTable {
    rustflags: Option<Flags>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Flags {
    Text(String),
    List(Vec<String>),
}

impl Flags {
    fn words(self) -> Vec<String> {
        match self {
            Self::Text(text) => split(&text),
            Self::List(list) => list,
        }
    }
}

/// Finds which flags are in force for a target.
pub fn flags_in_force(
    environment: &BTreeMap<String, String>,
    rustc: &str,
    directory: &Utf8Path,
    target: &str,
) -> Result<FlagsPlace> {
    if let Some(encoded) = environment.get("CARGO_ENCODED_RUSTFLAGS") {
        return Ok(FlagsPlace::Environment(
            encoded.split('\u{1f}').filter(|flag| !flag.is_empty()).map(str::to_owned).collect(),
        ));
    }
    if let Some(text) = environment.get("RUSTFLAGS") {
        return Ok(FlagsPlace::Environment(split(text)));
    }
    let configs = config_files(environment, directory)?;
    let own = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_ascii_uppercase().replace(['-', '.'], "_"));
    let of_variable = environment.get(&own).map(|text| split(text));
    let of_files = target_flags(&configs, rustc, directory, target)?;
    if of_variable.is_some() || of_files.is_some() {
        return Ok(FlagsPlace::Target([of_files, of_variable].into_iter().flatten().flatten().collect()));
    }
    let mut flags = Vec::new();
    // Cargo joins the lists of all files; those of a nearer file stand behind those of a farther one.
    for config in configs.into_iter().rev() {
        flags.extend(config.build.rustflags.map(Flags::words).unwrap_or_default());
    }
    flags.extend(environment.get("CARGO_BUILD_RUSTFLAGS").map(|text| split(text)).unwrap_or_default());
    Ok(FlagsPlace::Build(flags))
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Every configuration file of cargo that counts in a directory, the nearest first.
fn config_files(environment: &BTreeMap<String, String>, directory: &Utf8Path) -> Result<Vec<ConfigFile>> {
    let mut places: Vec<Utf8PathBuf> = directory.ancestors().map(|above| above.join(".cargo")).collect();
    if let Some(home) = cargo_home(environment)
        && !places.contains(&home)
    {
        places.push(home);
    }
    let mut found = Vec::new();
    for place in places {
        let path = [place.join("config"), place.join("config.toml")].into_iter().find(|path| path.is_file());
        let Some(path) = path else { continue };
        let text = String::from_utf8_lossy(&files::read_bounded(&path, 1 << 20)?).into_owned();
        found.push(toml::from_str(&text).map_err(|error| {
            Failure::new(Code::WorkspaceInvalid, format!("failed to read cargo's configuration `{path}`"))
                .subject(path.as_str())
                .because(error.message().to_owned())
        })?);
    }
    Ok(found)
}

/// Where cargo keeps its registry: `CARGO_HOME`, else `.cargo` in the home directory.
pub fn cargo_home(environment: &BTreeMap<String, String>) -> Option<Utf8PathBuf> {
    let home = || environment.get("HOME").map(|home| Utf8PathBuf::from(home).join(".cargo"));
    environment.get("CARGO_HOME").map(Utf8PathBuf::from).or_else(home)
}

/// The flags of every table that matches the target; none where no such table has any.
fn target_flags(
    configs: &[ConfigFile],
    rustc: &str,
    directory: &Utf8Path,
    target: &str,
) -> Result<Option<Vec<String>>> {
    // As for `[build]`, the flags of a nearer file stand behind those of a farther one.
    let tables = configs.iter().rev().flat_map(|config| &config.target);
    let with_flags: Vec<_> = tables.filter_map(|(key, table)| Some((key, table.get("rustflags")?))).collect();
    let mut cfgs: Option<Vec<Cfg>> = None;
    let mut found: Option<Vec<String>> = None;
    for (key, flags) in with_flags {
        let matches = if key == target {
            true
        } else if let Ok(selector) = Selector::from_str(key) {
            if cfgs.is_none() {
                let told =
                    Program::new(rustc).args(["--print", "cfg", "--target", target]).directory(directory).read()?;
                cfgs = Some(told.lines().filter_map(|line| Cfg::from_str(line).ok()).collect());
            }
            selector.matches(target, cfgs.as_deref().unwrap_or_default())
        } else {
            false
        };
        if matches {
            // What is no list of flags is for cargo to complain about.
            let words = flags.clone().try_into().map(Flags::words).unwrap_or_default();
            found.get_or_insert_default().extend(words);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(config: &str, environment: &[(&str, &str)]) -> FlagsPlace {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        fs_err::create_dir(root.join(".cargo")).unwrap();
        fs_err::write(root.join(".cargo/config.toml"), config).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        flags_in_force(&environment, "rustc", root, "x86_64-unknown-linux-gnu").unwrap()
    }

    #[test]
    fn the_users_flags_are_found_where_cargo_finds_them() {
        let build = "[build]\nrustflags = [\"-Cdebuginfo=1\"]\n";
        assert_eq!(place(build, &[]), FlagsPlace::Build(vec!["-Cdebuginfo=1".into()]));
        assert_eq!(
            place(build, &[("RUSTFLAGS", "-Ca  -Cb")]),
            FlagsPlace::Environment(vec!["-Ca".into(), "-Cb".into()])
        );
        assert_eq!(
            place(build, &[("RUSTFLAGS", "-Ca"), ("CARGO_ENCODED_RUSTFLAGS", "-Cx=a b\u{1f}-Cy")]),
            FlagsPlace::Environment(vec!["-Cx=a b".into(), "-Cy".into()])
        );
        assert_eq!(place("[target.'cfg(unix)']\nrustflags = \"-Ca\"\n", &[]), FlagsPlace::Target(vec!["-Ca".into()]));
        assert_eq!(place("[target.'cfg(windows)']\nrustflags = \"-Ca\"\n", &[]), FlagsPlace::Build(vec![]));
        assert_eq!(place("[target.x86_64-unknown-linux-gnu]\nlinker = \"cc\"\n", &[]), FlagsPlace::Build(vec![]));
    }
}
