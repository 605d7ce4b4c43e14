//! The page on keys and catalogs: every command on it is run, in its order.

#![expect(clippy::disallowed_methods, reason = "tests run other programs")]

use std::process::Command;

use camino::Utf8Path;

use crate::sbom::need_python;
use crate::support::{Scratch, both, clean, commit, git, need};

/// The blocks that are fenced as `sh`: what else stands on the fence, and the commands.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, text)), None) => text.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    let is_shell = |info: &str| info.split(' ').next() == Some("sh");
    blocks.into_iter().filter(|(info, _)| is_shell(info)).collect()
}

#[test]
fn every_command_on_the_page_runs() {
    if !["cargo", "openssl", "sha256sum", "sh", "git"].into_iter().all(need) {
        return;
    }
    let scratch = Scratch::new();
    workspace(&scratch);
    let page = fs_err::read_to_string(Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/trust.md")).unwrap();
    let blocks = blocks(&page);
    assert!(blocks.len() > 10, "the page has lost its commands");
    let programs = Utf8Path::new(env!("CARGO_BIN_EXE_consign")).parent().unwrap();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    for (info, text) in blocks {
        if info.contains("python-tuf") && !need_python("tuf.ngclient") {
            continue;
        }
        let mut command = Command::new("sh");
        command.args(["-euc", &text]).current_dir(scratch.path());
        clean(&mut command);
        let state = scratch.path().join("state");
        let output = command.env("PATH", &path).env("XDG_STATE_HOME", state).output().unwrap();
        assert!(output.status.success(), "{text}\nended with {}:\n{}", output.status, both(&output));
    }
    // What the page has done: five roots later the first one still vouches for everything.
    assert!(scratch.path().join("releases/tuf/5.root.json").is_file());
}

fn workspace(scratch: &Scratch) {
    let manifest = "[package]\nname = \"tool\"\nversion = \"1.0.0\"\nedition = \"2021\"\nlicense = \"MIT\"\n";
    scratch.write("tool/Cargo.toml", manifest);
    scratch.write("tool/Cargo.lock", "version = 4\n\n[[package]]\nname = \"tool\"\nversion = \"1.0.0\"\n");
    scratch.write("tool/src/main.rs", "fn main() { println!(\"tool {}\", env!(\"CARGO_PKG_VERSION\")); }\n");
    scratch.write("tool/.gitignore", "/target\n/dist\n");
    let directory = scratch.path().join("tool");
    git(&directory, &["init", "-q"]);
    commit(&directory, "feat: begin");
    git(&directory, &["tag", "v1.0.0"]);
}
