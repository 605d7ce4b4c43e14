//! A bundle on its way into containers, from the command and from the pipeline; and the example of the
//! documentation.

use camino::Utf8Path;

use super::docker_scene::{IMAGE, base_images, log, need_scene, nothing_stands, scene, service, smoke, standing};
use super::support::{commit, git, missing_unless, small_workspace};
use super::workspaces::{bundle, json, rehearse, run};

/// A service that looks into the bundle.
fn looking(rest: &str) -> String {
    service(
        "looking",
        &format!(
            "bundle = true\ncommands = [[\"sh\", \"-c\", \"cd /bundle && sha256sum -c checksums.txt && ls\"]]\noutput = [\"index.json: OK\"]\n{rest}"
        ),
    )
}

#[test]
fn the_pipeline_tries_the_verified_bundle_before_anything_is_visible() {
    if !need_scene() {
        return;
    }
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("docker/smoke.toml", looking(""));
    commit(scratch.path(), "test: services");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    let journal = rehearse(scratch.path(), &["--smoke", "host,docker"]).passed().json();
    let stage = journal["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "smoke").unwrap();
    let detail = stage["detail"].as_str().unwrap();
    assert!(detail.contains("2 commands ran") && detail.ends_with("1 service passed in containers"), "{detail}");
    assert_eq!(stage["outputs"], serde_json::json!(["dist/smoke/host.log", "dist/docker-smoke/summary.json"]));
    // Tried as settings say, a bundle that fails is not published.
    scratch.write("consign.toml", "[smoke]\non = [\"docker\"]\n");
    scratch.write("docker/smoke.toml", looking("files = [\"/bundle/nothing\"]"));
    commit(scratch.path(), "test: a demand that is not met");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    let release = [
        "release-pipeline",
        "--skip",
        "test",
        "--mode",
        "release",
        "--provider",
        "directory",
        "--target",
        "../published",
    ];
    let document = json(scratch.path(), &release).failed(1, "smoke_failed");
    let message = document["message"].as_str().unwrap();
    assert_eq!(message, "`looking` failed in its container: file /bundle/nothing: is not there");
    assert!(!scratch.path().join("../published").exists());
    // Unverified, it does not even come that far.
    rehearse(scratch.path(), &["--skip", "verify"]).failed(6, "stage_required");
}

#[test]
fn what_was_published_is_tried_once_more() {
    if !need_scene() {
        return;
    }
    let scratch = small_workspace("tool", "1.2.3");
    let look = "bundle = true\nserve = \"bundle\"\ncommands = [[\"sh\", \"-c\", \"cd /bundle && sha256sum -c checksums.txt && echo from $CONSIGN_BUNDLE_URL\"]]\noutput-matches = [\"^from https://\"]";
    let once = service("once", "commands = [[\"true\"]]");
    scratch.write("docker/smoke.toml", service("again", &format!("labels = [\"published\"]\n{look}")) + &once);
    commit(scratch.path(), "test: services");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    let release = ["release-pipeline", "--skip", "test", "--smoke", "docker", "--mode", "release"];
    let target = ["--provider", "directory", "--target", "../published"];
    let journal = json(scratch.path(), &[&release[..], &target[..]].concat()).passed().json();
    let stage = journal["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "remote-verify").unwrap();
    let detail = stage["detail"].as_str().unwrap();
    assert!(detail.ends_with("verified; 1 service passed in containers"), "{detail}");
    let outputs = stage["outputs"].as_array().unwrap();
    assert!(outputs.contains(&"dist/docker-smoke-published/summary.json".into()), "{stage}");
    for (directory, services) in [("docker-smoke", 2), ("docker-smoke-published", 1)] {
        let summary = fs_err::read(scratch.path().join("dist").join(directory).join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
        assert_eq!(summary["passed"], services);
        nothing_stands(&summary);
    }
    // What is left out before publishing is left out afterwards too.
    let skipped = [&["release-pipeline", "--skip", "test,smoke", "--dry-run"], &release[3..], &target[..]].concat();
    let plan = json(scratch.path(), &skipped).passed().out;
    assert!(plan.contains("and verify it"), "{plan}");
}

#[test]
fn a_bundle_that_does_not_verify_is_put_into_no_container() {
    if !need_scene() {
        return;
    }
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("docker/smoke.toml", looking(""));
    json(scratch.path(), &["docker-smoke"]).failed(4, "bundle_missing");
    rehearse(scratch.path(), &["--skip", "guard"]).passed();
    let ran = run(&mut smoke(scratch.path())).passed();
    nothing_stands(&ran.json());
    assert!(log(scratch.path(), "looking").contains("out| index.json: OK\n"));
    let index = bundle(scratch.path()).join("index.json");
    let spoiled = fs_err::read_to_string(&index).unwrap().replace("1.2.3", "1.2.4");
    fs_err::write(&index, spoiled).unwrap();
    assert_eq!(run(&mut smoke(scratch.path())).code, 4);
}

/// The fenced blocks of a page, each after the name of its file.
fn files_of(page: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix('`').and_then(|line| line.strip_suffix("`:")) else { continue };
        let text = lines.by_ref().skip_while(|line| !line.starts_with("```")).skip(1);
        let text: String = text.take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        files.push((name.to_owned(), text));
    }
    files
}

#[test]
fn the_example_of_the_documentation_runs_as_it_stands() {
    if !need_scene() {
        return;
    }
    let page = fs_err::read_to_string(Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/docker-smoke.md")).unwrap();
    let files = files_of(&page);
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["docker/smoke.toml", "docker/web.Dockerfile", "docker/web/answer"]);
    let scratch = scene("");
    for (name, text) in &files {
        scratch.write(name, text);
    }
    let ran = run(smoke(scratch.path()).args(["--base", &format!("busybox={IMAGE}")]));
    assert_eq!(ran.code, 0, "{}{}{}", ran.out, ran.err, log(scratch.path(), "web"));
    nothing_stands(&ran.json());
}

#[test]
fn a_distribution_is_brought_from_a_file_once_and_kept() {
    if !need_scene() {
        return;
    }
    let suites: Vec<_> = ["bookworm", "trixie"].map(|suite| base_images().join(format!("{suite}.tar"))).into();
    if !missing_unless(suites.iter().all(|tar| tar.is_file()), "base images (`docker/make-base-images` makes them)") {
        return;
    }
    let text: String = ["bookworm", "trixie"]
        .map(|suite| format!("[base.{suite}]\nimage = \"debian:{suite}\"\n[service.{suite}]\nbase = \"{suite}\"\ncommands = [[\"sh\", \"-c\", \". /etc/os-release && echo $VERSION_CODENAME\"]]\noutput-matches = [\"^{suite}$\"]\n"))
        .concat();
    let scratch = scene(&text);
    let bases: Vec<_> = suites.iter().map(|tar| format!("{}={tar}", tar.file_stem().unwrap())).collect();
    for _ in 0..2 {
        let ran = run(smoke(scratch.path()).args(bases.iter().flat_map(|base| ["--base", base.as_str()])));
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        nothing_stands(&ran.json());
    }
    let second = log(scratch.path(), "bookworm");
    assert!(!second.contains("--- import"), "kept from the first run: {second}");
    assert_eq!(standing("consign.smoke.service=bookworm"), [""; 0]);
}
