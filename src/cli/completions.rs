//! `consign completions`: what a shell needs to complete the command line.
//!
//! The scripts know every verb and flag. Names that only the registry knows (services, artifacts,
//! environments) they ask for, by the hidden `--candidates`, which gives an answer at once or none: a shell
//! that waits is worse than one that completes nothing.

use std::collections::BTreeSet;
use std::str::FromStr as _;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap_complete::Shell;
use serde::Serialize;

use super::Context;
use super::registry::RegistryArgs;
use crate::client::Server;
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure};

/// How long the registry is waited for.
const PATIENCE: Duration = Duration::from_millis(1500);
/// From how many artifacts, the newest ones, names are taken.
const NEWEST: u32 = 100;

/// The arguments of `completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  consign completions bash > ~/.local/share/bash-completion/completions/consign\n  consign completions zsh > ~/.zfunc/_consign\n  consign completions fish > ~/.config/fish/completions/consign.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", required_unless_present = "candidates", value_parser = PossibleValuesParser::new(["bash", "zsh", "fish", "powershell", "elvish"]).map(|word| word))]
    shell: Option<String>,
    /// The words before the cursor and the one at it: print what the registry knows to put there
    #[arg(long, hide = true, num_args = 0.., allow_hyphen_values = true, value_name = "WORD")]
    candidates: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Completions<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    shell: &'a str,
    script: &'a str,
}

/// What is wanted at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Services,
    Artifacts,
    Environments,
}

impl CompletionsArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        if let Some(words) = &self.candidates {
            let names = candidates(context, words);
            if !names.is_empty() {
                context.output.result(&names, || names.join("\n"))?;
            }
            return Ok(Exit::Done);
        }
        let name = self.shell.as_deref().unwrap_or_default();
        let shell = Shell::from_str(name).map_err(|_| Failure::new(Code::Usage, format!("unknown shell `{name}`")))?;
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut super::command(), "consign", &mut script);
        let script = asking(shell, String::from_utf8_lossy(&script).into_owned());
        let document = Completions { kind: "consign.completions/v1", shell: name, script: &script };
        context.output.result(&document, || script.clone())?;
        Ok(Exit::Done)
    }
}

/// The script, asking for names first.
fn asking(shell: Shell, script: String) -> String {
    const BASH: &str = r#"_consign() {
    local asked
    asked=$("$1" completions --candidates "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null </dev/null)
    if [[ -n $asked ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$asked" -- "${COMP_WORDS[COMP_CWORD]}")
        return 0
    fi
"#;
    const ZSH: &str = r#"_consign() {
    local -a asked
    asked=("${(@f)$("$words[1]" completions --candidates "${(@)words[2,CURRENT]}" 2>/dev/null </dev/null)}")
    if [[ -n $asked[1] ]]; then
        compadd -a asked
        return
    fi
"#;
    const FISH: &str = r"
function __consign_asked
    set -l words (commandline -opc) (commandline -ct)
    $words[1] completions --candidates $words[2..] 2>/dev/null </dev/null
end
complete -c consign -n 'contains -- (commandline -opc)[-1] --service' -l service -r -f -a '(__consign_asked)'
complete -c consign -n 'contains -- (commandline -opc)[-1] --artifact' -l artifact -r -f -a '(__consign_asked)'
complete -c consign -n 'contains -- (commandline -opc)[-1] --env' -l env -r -f -a '(__consign_asked)'
complete -c consign -n 'contains -- (commandline -opc)[-1] --from-env' -l from-env -r -f -a '(__consign_asked)'
complete -c consign -n '__fish_seen_subcommand_from artifact' -f -a '(__consign_asked)'
";
    match shell {
        Shell::Bash => script.replacen("_consign() {\n", BASH, 1),
        Shell::Zsh => script.replacen("_consign() {\n", ZSH, 1),
        Shell::Fish => script + FISH,
        _ => script,
    }
}

/// The names that fit at the cursor. Whatever goes wrong, there are none.
fn candidates(context: &Context, words: &[String]) -> Vec<String> {
    let Some(wanted) = wanted(words) else { return Vec::new() };
    let registry = RegistryArgs { server: value(words, "--server").map(str::to_owned) };
    // A token that is over is not replaced here: that may take a while, and be for nothing.
    let Ok(server) = registry.quick_server(context) else { return Vec::new() };
    let mut query = vec![("limit", NEWEST.to_string())];
    if wanted != Wanted::Services {
        query.extend(value(words, "--service").map(|service| ("service", service.to_owned())));
    }
    let (sender, answer) = mpsc::channel();
    // Where no answer comes in time, the thread ends with this process.
    std::thread::spawn(move || drop(sender.send(names(&server, &query, wanted))));
    let names = answer.recv_timeout(PATIENCE).ok().and_then(Result::ok).unwrap_or_default();
    let current = words.last().map(String::as_str).unwrap_or_default();
    // Several environments stand with commas between them.
    let (before, part) = match current.rsplit_once(',') {
        Some((before, part)) if wanted == Wanted::Environments => (format!("{before},"), part),
        _ => (String::new(), current),
    };
    names.into_iter().filter(|name| name.starts_with(part)).map(|name| format!("{before}{name}")).collect()
}

fn names(server: &Server, query: &[(&str, String)], wanted: Wanted) -> Result<BTreeSet<String>> {
    let artifacts = server.artifacts(query)?.artifacts.into_iter().map(|known| known.artifact);
    Ok(artifacts
        .flat_map(|artifact| match wanted {
            Wanted::Services => vec![artifact.service.to_string()],
            Wanted::Artifacts => vec![artifact.id.to_string()],
            Wanted::Environments => {
                let payload = artifact.payload.into_iter().flat_map(|payload| payload.environments);
                payload.map(|environment| environment.to_string()).collect()
            }
        })
        .collect())
}

/// What is wanted at the cursor, if it is something that only the registry knows.
fn wanted(words: &[String]) -> Option<Wanted> {
    let (current, before) = words.split_last()?;
    match before.last()?.as_str() {
        "--service" => return Some(Wanted::Services),
        "--artifact" => return Some(Wanted::Artifacts),
        "--env" | "--from-env" | "--environment" => return Some(Wanted::Environments),
        _ => {}
    }
    let mut plain = Vec::new();
    let mut words = before.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if matches!(word, "--service" | "--server" | "--format" | "-C" | "--directory" | "--timeout") {
            words.next();
        } else if !word.starts_with('-') {
            plain.push(word);
        }
    }
    let is_name = !current.starts_with('-') && matches!(plain[..], ["artifact", "show" | "track"]);
    is_name.then_some(Wanted::Artifacts)
}

/// The value of a flag among the words.
fn value<'a>(words: &'a [String], flag: &str) -> Option<&'a str> {
    words.iter().zip(words.iter().skip(1)).find(|(word, _)| *word == flag).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_registry_knows_is_asked_for() {
        let of = |line: &str| wanted(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for (line, expected) in [
            ("artifact list --service ", Some(Wanted::Services)),
            ("artifact list --service w", Some(Wanted::Services)),
            ("artifact show ", Some(Wanted::Artifacts)),
            ("artifact show --service web mai", Some(Wanted::Artifacts)),
            ("artifact -C x track --wait ", Some(Wanted::Artifacts)),
            ("artifact show main-1 ", None),
            ("artifact show --", None),
            ("artifact ", None),
            ("release --env dev,pr", Some(Wanted::Environments)),
            ("", None),
        ] {
            assert_eq!(of(line), expected, "{line:?}");
        }
    }

    #[test]
    fn every_script_that_can_asks() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut crate::cli::command(), "consign", &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(asking(shell, script).contains("completions --candidates"), "{shell}");
        }
    }
}
