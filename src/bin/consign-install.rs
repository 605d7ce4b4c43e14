//! The command `consign-install`: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    consign::cli::installer::run(std::env::args_os())
}
