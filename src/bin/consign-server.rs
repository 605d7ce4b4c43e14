//! The command `consign-server`: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    consign::cli::server::run(std::env::args_os())
}
