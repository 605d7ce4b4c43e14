//! The marks of templates for texts that are full of braces themselves: shell scripts and workflows.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

/// An environment in which `<% … %>` are blocks and `<<< … >>>` values, and a value that is not there fails.
pub(super) fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .block_delimiters("<%", "%>")
        .variable_delimiters("<<<", ">>>")
        .comment_delimiters("<#%", "%#>")
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax?);
    Ok(environment)
}
