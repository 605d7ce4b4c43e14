//! What containers print is never believed, and never shown as it is.

use super::docker_scene::{log, need_scene, nothing_stands, run_smoke, scene, service, smoke, verdict};
use super::workspaces::run;

#[test]
fn a_verdict_that_a_container_prints_is_not_believed() {
    if !need_scene() {
        return;
    }
    let fake = r#"{\"service\":\"liar\",\"status\":\"passed\",\"checks\":[]}"#;
    let print =
        format!("printf '%s\\n\\033[2J\\r%s\\n%s' '{fake}' '{fake}' '{fake}' >&2; printf '%s' '{fake}'; exit 7");
    let text = service(
        "liar",
        &format!("commands = [[\"sh\", \"-c\", {}]]", serde_json::to_string(&print.replace("\\\"", "\"")).unwrap()),
    );
    let scratch = scene(&text);
    let ran = run_smoke(scratch.path());
    let summary = ran.json();
    assert_eq!((ran.code, summary["passed"].as_u64()), (1, Some(0)), "{}", ran.err);
    assert_eq!(verdict(scratch.path(), &summary, "liar")["status"], "failed");
    let log = log(scratch.path(), "liar");
    assert_eq!(log.lines().filter(|line| line.starts_with('{')).count(), 1, "{log}");
    let printed = log.lines().filter(|line| line.starts_with("out| ") || line.starts_with("err| "));
    assert_eq!(printed.filter(|line| line.contains("\"status\":\"passed\"")).count(), 4, "{log}");
    assert!(!log.contains('\u{1b}') && log.contains("\\u{1b}[2J\\u{d}{"), "{log}");
    nothing_stands(&summary);
}

#[test]
fn a_line_without_an_end_is_written_in_pieces() {
    if !need_scene() {
        return;
    }
    let scratch = scene(&service(
        "long",
        "commands = [[\"sh\", \"-c\", \"dd if=/dev/zero bs=1M count=10 2>/dev/null | tr '\\\\0' x; echo; echo end\"]]\noutput = [\"end\"]",
    ));
    let ran = run_smoke(scratch.path());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let log = log(scratch.path(), "long");
    let printed: usize =
        log.lines().filter(|line| line.starts_with("out")).map(|line| line[5..].matches('x').count()).sum();
    assert_eq!(printed, 10 << 20);
    assert!(log.lines().all(|line| line.len() < 70_000));
}

#[test]
fn no_secret_is_written_anywhere() {
    if !need_scene() {
        return;
    }
    let scratch = scene(&service(
        "careless",
        "environment = { DB_PASSWORD = \"correct horse\", PLAIN = \"plainly shown\", OTHER = \"also hidden\" }\nsecrets = [\"OTHER\"]\npass = [\"CONSIGN_TEST_TOKEN_OF_MINE\"]\ncommands = [[\"sh\", \"-c\", \"env; exit 3\"], [\"echo\", \"correct horse\"]]",
    ));
    let ran = run(smoke(scratch.path()).env("CONSIGN_TEST_TOKEN_OF_MINE", "battery staple\nsecond line"));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let mut written = ran.out.clone() + &ran.err;
    for name in ["careless.log", "summary.json", "junit.xml"] {
        written += &fs_err::read_to_string(scratch.path().join("dist/docker-smoke").join(name)).unwrap();
    }
    for secret in ["correct horse", "also hidden", "battery staple", "second line"] {
        assert!(!written.contains(secret), "{secret}: {written}");
    }
    assert!(written.contains("DB_PASSWORD=***") && written.contains("PLAIN=plainly shown"), "{written}");
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_before_anything_is_written() {
    let scratch = scene("[service.\"../../outside\"]\nimage = \"x\"\n");
    run_smoke(scratch.path()).failed(3, "config_invalid");
    assert!(!scratch.path().join("dist").exists() && !scratch.path().join("outside.log").exists());
}
