//! `install.sh`, killed before every command that changes the prefix.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Command;

use camino::Utf8PathBuf;

use crate::install::{release, release_of};
use crate::installer::{User, comparable};
use crate::support::{both, need, succeed};

/// What the script changes the prefix with. Whatever it writes by itself is renamed by one of these.
const CHANGES: [&str; 6] = ["mv", "ln", "rm", "mkdir", "chmod", "rmdir"];

/// A directory of commands that count how often they are run on the prefix and, at a number, kill the script
/// and everything that it has started.
fn counting(user: &User) -> Utf8PathBuf {
    for name in CHANGES {
        let real = ["/usr/bin", "/bin"].iter().map(|place| Utf8PathBuf::from(place).join(name));
        let real = real.into_iter().find(|path| path.is_file()).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *\"$WATCHED\"*) ;; *) exec {real} \"$@\" ;; esac\n\
             read -r number <\"$COUNT\"\nnumber=$((number + 1))\necho $number >\"$COUNT\"\n\
             [ $number != \"$KILLED_AT\" ] || kill -9 0\nexec {real} \"$@\"\n"
        );
        let path = user.scratch.write(&format!("counting/{name}"), script);
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    user.path("counting")
}

/// Kills an installation at every instant. After each the old version works or the new one, and the next run,
/// by the script or by the command in turn, ends where one without a kill does and leaves no litter.
fn kill_everywhere(first: &str, next: &str, may: [&str; 2]) {
    let user = User::new();
    user.put("first", &release_of("1.0.0", first), None);
    let next = if next.is_empty() { release("1.1.0") } else { release_of("1.0.0", next) };
    user.put("next", &next, None);
    user.same(&["dash"], "first", "--index first/index.json");
    succeed(Command::new("cp").args(["-a", user.path("sh").as_str(), user.path("begin").as_str()]));
    user.same(&["dash"], "next", "--index next/index.json");
    let expected = comparable(&user.path("consign"));
    let path = format!("{}:{}", counting(&user), std::env::var("PATH").unwrap());
    let mut instant = 1;
    loop {
        for prefix in ["sh", "consign"] {
            fs_err::remove_dir_all(user.path(prefix)).unwrap();
            succeed(Command::new("cp").args(["-a", user.path("begin").as_str(), user.path(prefix).as_str()]));
        }
        user.scratch.write("count", "0\n");
        let at = if instant % 2 == 1 { "sh" } else { "consign" };
        let line = format!("--index next/index.json --prefix {}", user.path(at));
        let mut command = user.script(&["dash"], "next", &line);
        command.env("WATCHED", user.path(at)).env("COUNT", user.path("count")).env("PATH", &path);
        let output = command.env("KILLED_AT", instant.to_string()).process_group(0).output().unwrap();
        let says = user.says(at);
        assert!(may.contains(&says.as_str()), "killed at {instant}: {says}");
        // What was killed could not clear its own temporary files away.
        fs_err::remove_dir_all(user.path("temporary")).unwrap();
        fs_err::create_dir(user.path("temporary")).unwrap();
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.signal(), Some(9), "{}", both(&output));
        let line = "--index next/index.json";
        let mut again = if at == "sh" { user.script(&["dash"], "next", line) } else { user.consign(line) };
        let output = again.output().unwrap();
        assert!(output.status.success(), "killed at {instant}: {}", both(&output));
        assert_eq!(comparable(&user.path(at)), expected, "killed at {instant}");
        instant += 1;
    }
    assert!(instant > 20, "{instant} instants only");
}

#[test]
fn an_upgrade_that_is_killed_leaves_the_old_version_or_the_new_one() {
    if need("dash") {
        kill_everywhere("#!/bin/sh\necho tool 1.0.0\n", "", ["tool 1.0.0\n", "tool 1.1.0\n"]);
    }
}

#[test]
fn a_replacement_that_is_killed_leaves_the_old_bytes_or_the_new_ones() {
    if need("dash") {
        kill_everywhere("#!/bin/sh\necho old\n", "#!/bin/sh\necho new\n", ["old\n", "new\n"]);
    }
}
