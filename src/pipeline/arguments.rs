//! The recorded arguments for cargo, judged before they are used again.
//!
//! A provenance is somebody else's document, and cargo runs whatever `--config` names. [`check`] lets
//! through what is harmless by its form, and what the checked-out commit asks for itself: its code is
//! built anyway.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::request::Request;
use crate::model::failure::Result;
use crate::model::{Code, Failure, Platform, provenance, text};

/// The arguments for cargo that the settings of a workspace give each platform.
pub type OwnArguments<'a> = &'a dyn Fn(&Utf8Path) -> Result<BTreeMap<Platform, Vec<String>>>;

/// Refuses every argument for cargo that could do more than choose how much is built at a time, or
/// which parts of the standard library, unless the workspace's own settings give it as well.
pub fn check(request: &Request, directory: &Utf8Path, own: OwnArguments<'_>) -> Result<()> {
    let mut of_workspace = None;
    for (platform, asked) in request.platforms.iter().filter_map(|name| Some((name, request.platform.get(name)?))) {
        let Some(argument) = refused_argument(&asked.arguments) else { continue };
        let of_workspace = match &mut of_workspace {
            Some(known) => known,
            none => none.insert(own(directory)?),
        };
        // They were recorded without credentials.
        let plain = |text: &String| text::without_credentials(text).into_owned();
        let same = of_workspace
            .get(platform)
            .is_some_and(|known| known.iter().map(plain).eq(asked.arguments.iter().map(plain)));
        if !same {
            let shown = text::shown(argument);
            let message = format!("the provenance gives cargo the argument {shown:?}, which is not passed on");
            return Err(Failure::new(Code::ConfigInvalid, message).subject(provenance::FILE_NAME).hint(format!(
                "an argument like it is used only where consign.toml of the recorded commit has it in `platform.{platform}.arguments`"
            )));
        }
    }
    Ok(())
}

/// The first argument that is not harmless by its form.
fn refused_argument(arguments: &[String]) -> Option<&str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_build_std = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ',');
        matches!(name, "build-std" | "build-std-features") && value.chars().all(plain)
    };
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        let harmless = match argument {
            "--verbose" | "-v" | "--quiet" | "-q" | "--offline" | "--locked" | "--frozen" | "--ignore-rust-version" => {
                true
            }
            "--jobs" | "-j" => rest.next().is_some_and(is_number),
            "-Z" => rest.next().is_some_and(is_build_std),
            _ => {
                let jobs = argument.strip_prefix("--jobs=").or_else(|| argument.strip_prefix("-j"));
                jobs.is_some_and(is_number) || argument.strip_prefix("-Z").is_some_and(is_build_std)
            }
        };
        if !harmless {
            return Some(argument);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_name_a_program_is_harmless() {
        let refused = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            refused_argument(&words).map(str::to_owned)
        };
        for harmless in [
            "",
            "-Zbuild-std",
            "-Zbuild-std=core,alloc -Zbuild-std-features=panic_immediate_abort",
            "-Z build-std=std --jobs 4",
            "-j2 --jobs=8 --offline -v",
        ] {
            assert_eq!(refused(harmless), None, "{harmless}");
        }
        for (line, argument) in [
            ("--config build.rustc-wrapper='x'", "--config"),
            ("--config=x", "--config=x"),
            ("-v --manifest-path /x", "--manifest-path"),
            ("--target-dir=/x", "--target-dir=/x"),
            ("-Zunstable-options", "-Zunstable-options"),
            ("-Z script", "-Z"),
            ("-Zbuild-std=a=/x", "-Zbuild-std=a=/x"),
            ("--jobs --config", "--jobs"),
            ("-j", "-j"),
            ("-C /x", "-C"),
            ("-- x", "--"),
            ("+nightly", "+nightly"),
            ("x", "x"),
        ] {
            assert_eq!(refused(line).as_deref(), Some(argument), "{line}");
        }
    }
}
