//! `consign completions`: what a shell needs to complete the command line.

use std::str::FromStr as _;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap_complete::Shell;
use serde::Serialize;

use super::Context;
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure};

/// The arguments of `completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  consign completions bash > ~/.local/share/bash-completion/completions/consign\n  consign completions zsh > ~/.zfunc/_consign\n  consign completions fish > ~/.config/fish/completions/consign.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = PossibleValuesParser::new(["bash", "zsh", "fish", "powershell", "elvish"]).map(|word| word))]
    shell: String,
}

#[derive(Serialize)]
struct Completions<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    shell: &'a str,
    script: &'a str,
}

impl CompletionsArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let shell = Shell::from_str(&self.shell)
            .map_err(|_| Failure::new(Code::Usage, format!("unknown shell `{}`", self.shell)))?;
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut super::command(), "consign", &mut script);
        let script = String::from_utf8_lossy(&script);
        let document = Completions { kind: "consign.completions/v1", shell: &self.shell, script: &script };
        context.output.result(&document, || script.to_string())?;
        Ok(Exit::Done)
    }
}
