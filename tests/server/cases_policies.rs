//! Policies as people write them: what is taken, what is refused and why, and that nothing is half done.

use serde_json::{Value, json};

use crate::manager::Managed;
use crate::place::{Kind, Place};
use crate::support::{both, succeed};

/// What the server gives every service.
const GLOBAL: &str = "[[policy]]\nkind = \"branch-restriction\"\nenvironment = \"prod\"\nbranch = \"^main$\"\n";

/// The ids of the policies that a service has.
fn ids(managed: &Managed) -> Vec<String> {
    let list = managed.json(&["policy", "list", "--service", "web"]);
    let policies = list["policies"].as_array().unwrap();
    policies.iter().filter_map(|standing| standing["id"].as_str().map(str::to_owned)).collect()
}

fn write(managed: &Managed, name: &str, content: impl AsRef<[u8]>) {
    fs_err::write(managed.home.path().join(name), content).unwrap();
}

#[test]
fn each_policy_is_applied_listed_and_deleted_as_its_owner_is_told() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, GLOBAL) else { continue };
        let run = |arguments: &[&str]| succeed(&mut managed.run(&[arguments, &["--service", "web"]].concat()));
        let automatic = |branch, env| run(&["policy", "apply", "auto-release", "--branch", branch, "--env", env]);
        let only = |regex, env| run(&["policy", "apply", "branch-restriction", "--branch-regex", regex, "--env", env]);
        assert_eq!(automatic("master", "dev"), "[✓] Applied policy 'auto-release-master-dev' to service 'web'\n");
        assert!(automatic("master", "dev").contains("Unchanged"), "the same again is no change");
        automatic("main", "prod");
        assert_eq!(ids(&managed), ["auto-release-master-dev", "auto-release-main-prod"]);
        // One for each environment, in its place.
        automatic("feature", "dev");
        assert_eq!(ids(&managed), ["auto-release-feature-dev", "auto-release-main-prod"]);
        // A pattern may have in it what a list of the older system's could not.
        only("^feature$|a,b=c", "dev");
        for (arguments, code, said) in [
            (["auto-release", "--branch", "x", "--env", "dev"], 6, "conflict with branch-restriction-dev"),
            (
                ["branch-restriction", "--branch-regex", "^dev$", "--env", "dev"],
                6,
                "conflict with auto-release-feature-dev",
            ),
            (["branch-restriction", "--branch-regex", "^dev$", "--env", "prod"], 6, "conflicts with global policy"),
            (["auto-release", "--branch", "dev", "--env", "prod"], 6, "conflicts with global policy"),
            (
                ["branch-restriction", "--branch-regex", "^master(", "--env", "dev"],
                2,
                "branch regex not valid: missing closing ) in `^master(`",
            ),
            (
                ["branch-restriction", "--branch-regex", "^master(", "--env", "dev"],
                2,
                "hint: it is a regular expression, such as",
            ),
            (["branch-restriction", "--branch-regex", "", "--env", "dev"], 2, "the branch regex is empty"),
            (["auto-release", "--branch", "", "--env", "dev"], 2, "the branch is empty"),
            (["auto-release", "--branch", "a\nb", "--env", "dev"], 2, "control characters"),
            (["auto-release", "--branch", "a", "--env", "../dev"], 2, "is not a plain file name"),
            (["auto-release", "--branch", "a", "--env", ""], 2, "is not a plain file name"),
        ] {
            let (ended, told) =
                managed.refused(&[&["policy", "apply"], &arguments[..], &["--service", "web"]].concat());
            assert_eq!(ended, code, "{arguments:?}: {told}");
            assert!(told.contains(said) && told.contains("error: "), "{arguments:?} does not say {said:?}: {told}");
        }
        let before = ["auto-release-feature-dev", "auto-release-main-prod", "branch-restriction-dev"];
        assert_eq!(ids(&managed), before);
        // What is about an environment that there is not yet is kept, and that is said.
        let output = managed
            .run(&["policy", "apply", "auto-release", "--service", "web", "--branch", "x", "--env", "qa"])
            .output()
            .unwrap();
        assert!(
            output.status.success() && both(&output).contains("the server manages no environment `qa`"),
            "{}",
            both(&output)
        );
        run(&["policy", "delete", "auto-release-x-qa"]);
        for (id, code, said) in [
            ("branch-restriction-prod", 6, "it is one of the server's configuration"),
            ("branch-restriction-qa", 1, "service 'web' has no policy `branch-restriction-qa`"),
            ("", 1, "has no policy ``"),
            ("../policies", 1, "has no policy"),
        ] {
            // One that is there goes neither.
            let (ended, told) =
                managed.refused(&["policy", "delete", "--service", "web", "branch-restriction-dev", id]);
            assert_eq!(ended, code, "{id}: {told}");
            assert!(told.contains(said), "{id}: {told}");
        }
        assert_eq!(ids(&managed), before);
        assert_eq!(
            run(&["policy", "delete", "auto-release-feature-dev", "branch-restriction-dev"]),
            "Deleted 2 policies\n"
        );
        assert_eq!(managed.refused(&["policy", "delete", "--service", "../x", "a"]).0, 2);
        assert_eq!(managed.refused(&["policy", "delete", "--service", "web"]).0, 2);
        managed.place.sound();
    }
}

#[test]
fn a_file_of_policies_is_read_strictly() {
    let managed = Managed::new(Kind::Sqlite, GLOBAL).unwrap();
    let document = |policies: &str| format!(r#"{{"type":"consign.policies/v1","policies":{policies}}}"#);
    let automatic = r#"{"kind":"auto-release","branch":"x","environment":"dev"}"#;
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (r#"{"kind":"auto-release","branch":"x","environment":"dev","environment":"prod"}"#.into(), "duplicate field"),
        (r#"{"kind":"auto-release","kind":"soak","branch":"x","environment":"dev"}"#.into(), "duplicate field"),
        (r#"{"kind":"auto-release","branch":"x","environment":"dev","more":1}"#.into(), "unknown field `more`"),
        (r#"{"kind":"auto-release","branch":7,"environment":"dev"}"#.into(), "invalid type: integer `7`"),
        (r#"{"kind":"auto-release","branch":"x","environment":null}"#.into(), "invalid type: null"),
        (r#"{"kind":"auto-release","branch":"x"}"#.into(), "missing field `environment`"),
        (r#"{"kind":"auto-releases","branch":"x","environment":"dev"}"#.into(), "unknown variant `auto-releases`"),
        (
            r#"{"kind":"deploy-trigger","environment":"dev","branch":"[","event":"push"}"#.into(),
            "branch pattern not valid",
        ),
        (r#"{"kind":"deploy-trigger","environment":"dev","branch":"[","event":"push"}"#.into(), "hint: `*`, `?`"),
        (
            r#"{"kind":"deploy-trigger","environment":"dev","branch":"x","event":"pull"}"#.into(),
            "unknown variant `pull`",
        ),
        (b"{}".to_vec(), "missing field `kind`"),
        (b"".to_vec(), "`p.json` is not JSON"),
        (b"hello world".to_vec(), "`p.json` is not JSON"),
        (b"[]".to_vec(), "the policy in `p.json` cannot be read"),
        (b"null".to_vec(), "the policy in `p.json` cannot be read"),
        ([b"\xef\xbb\xbf", automatic.as_bytes()].concat(), "`p.json` is not JSON"),
        (b"\xff\xfe{\0}\0".to_vec(), "`p.json` is not JSON"),
        ("[".repeat(100_000).into(), "recursion limit exceeded"),
        (r#"{"policies":[]}"#.into(), "missing field `type`"),
        (r#"{"type":"consign.policies/v2","policies":[]}"#.into(), "the type of the policies is not"),
        (document("[]").into(), "there are no policies to apply"),
        (document("null").into(), "the policies cannot be read"),
        (document(&format!("[{automatic},{automatic}]")).into(), "two of the policies are about the same"),
        // The first of them replaced by the second one, which has another name.
        (
            document(&format!("[{automatic},{}]", automatic.replace("\"x\"", "\"y\""))).into(),
            "two of the policies are about the same",
        ),
        // What is good in it is not applied either.
        (
            document(&format!("[{automatic},{}]", automatic.replace("dev", "prod"))).into(),
            "conflicts with global policy",
        ),
    ];
    for (content, said) in rows {
        let shown = String::from_utf8_lossy(&content[..content.len().min(200)]).into_owned();
        write(&managed, "p.json", content);
        let (code, told) = managed.refused(&["policy", "apply", "file", "--service", "web", "p.json"]);
        assert!([2, 6].contains(&code), "{shown}: {code} {told}");
        assert!(told.contains(said), "{shown} does not say {said:?}: {told}");
    }
    write(&managed, "p.json", " ".repeat((1 << 20) + 1));
    assert!(managed.refused(&["policy", "apply", "file", "--service", "web", "p.json"]).1.contains("is larger than"));
    assert!(managed.refused(&["policy", "apply", "file", "--service", "web", "."]).1.contains("failed to read"));
    assert_eq!(ids(&managed), [""; 0], "nothing was applied");

    write(&managed, "p.json", document(&format!("[{automatic},{}]", automatic.replace("auto-release", "cleanup"))));
    let applied = succeed(&mut managed.run(&["policy", "apply", "file", "--service", "web", "p.json"]));
    assert_eq!(applied.lines().count(), 2, "{applied}");
    assert_eq!(ids(&managed), ["auto-release-x-dev", "cleanup-dev"]);
    // What can never fire is taken, and that is said.
    write(&managed, "p.json", r#"{"kind":"deploy-trigger","environment":"dev"}"#);
    let output = managed.run(&["policy", "apply", "file", "--service", "web", "p.json"]).output().unwrap();
    assert!(both(&output).contains("note: `deploy-trigger-dev` never fires: "), "{}", both(&output));
}

#[test]
fn a_change_that_is_only_thought_of_changes_nothing() {
    let managed = Managed::new(Kind::Sqlite, GLOBAL).unwrap();
    managed.push("main-1", "main");
    let only =
        |branch: &str| json!({ "kind": "branch-restriction", "environment": "dev", "branch": branch }).to_string();
    let test = |content: &str, more: &[&str]| {
        write(&managed, "p.json", content);
        managed.run(&[&["policy", "test", "--service", "web", "p.json"], more].concat()).output().unwrap()
    };
    // Against nothing there is nothing to say.
    let output = test(&only("master"), &[]);
    assert!(both(&output).starts_with("0 of 0 releases"), "{}", both(&output));
    succeed(&mut managed.run(&["release", "--service", "web", "--env", "dev,prod", "--artifact", "main-1", "--wait"]));
    for (content, more, code, said) in [
        (only("master"), &[][..], 0, "main-1 to dev"),
        (only("master"), &[], 0, ": allowed -> refused\n1 of 2 releases would have been answered otherwise"),
        (only("main"), &[], 0, "0 of 2 releases"),
        (only("master"), &["--since", "2100-01-01T00:00:00Z"], 0, "0 of 0 releases"),
        (only("master"), &["--since", "yesterday"], 2, "invalid value 'yesterday'"),
        (only("("), &[], 2, "branch regex not valid"),
        (only("master").replace("dev", "prod"), &[], 6, "conflicts with global policy"),
    ] {
        let output = test(&content, more);
        assert_eq!(output.status.code(), Some(code), "{content}: {}", both(&output));
        assert!(both(&output).contains(said), "{content}: {}", both(&output));
    }
    assert_eq!(ids(&managed), [""; 0]);
}

/// The defect of an older system: an empty file was committed.
#[test]
fn deleting_what_a_service_has_not_writes_nothing() {
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    let directory = place.scratch.path().to_owned();
    crate::support::git(&directory, &["init", "--quiet", "--bare", "config.git"]);
    let file = place.scratch.write(
        "environments.toml",
        "[deployer.config]\nrepository = \"config.git\"\npolicies = true\n[[environment]]\nname = \"dev\"\n",
    );
    place.option("--manage", file.as_str());
    let server = place.start();
    let admin = server.admin.clone();
    let ask = |method: &str, service: &str, query: &str, body: &str| {
        server.ask(method, &format!("/api/v1/services/{service}/policies{query}"), admin.as_deref(), body)
    };
    ask("DELETE", "unknown", "?id=auto-release-main-dev", "").refuses(404, "policy_unknown");
    ask("DELETE", "unknown", "", "").refuses(400, "request_invalid");
    ask("PUT", "web", "", r#"{"kind":"auto-release","branch":"main","environment":"dev"}"#).is(200);
    // Once the copy of this one is there, that of the one before would be, too.
    let mut log = String::new();
    for _ in 0..600 {
        log = crate::support::git(&directory.join("config.git"), &["log", "--all", "--format=%s"]);
        if !log.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    assert_eq!(log.trim(), "[web] policy update: apply auto-release in 'dev'");
}

#[test]
fn no_text_of_a_request_breaks_a_database() {
    for kind in Kind::ALL {
        let Some(managed) = Managed::new(kind, "") else { continue };
        managed.push("main-1", "main");
        let admin = managed.server.admin.clone();
        let ask = |method: &str, path: &str, body: &Value| {
            let headers = [("content-type", "application/json")];
            managed.server.ask_with(method, path, admin.as_deref(), &headers, body.to_string())
        };
        for strange in ["\u{0}", "a\u{0}b", "\u{1b}[31m", "a\nb", &"x".repeat(5000), "", " "] {
            let by_branch =
                json!({ "service": "web", "environments": ["dev"], "what": { "kind": "branch", "branch": strange } });
            ask("POST", "/api/v1/releases", &by_branch).refuses(400, "request_invalid");
            let person = json!({ "service": "web", "environments": ["dev"], "what": { "kind": "artifact", "id": "main-1" },
                "person": { "name": strange, "email": "a@example.com" } });
            ask("POST", "/api/v1/releases", &person).refuses(400, "request_invalid");
            let mut over = person.clone();
            over["person"]["name"] = "Åsa".into();
            over["override_reason"] = strange.into();
            ask("POST", "/api/v1/releases", &over).refuses(400, "request_invalid");
            ask("PUT", "/api/v1/services/web/holds/dev", &json!({ "reason": strange })).refuses(400, "request_invalid");
            let vote = json!({ "environment": "dev", "artifact": "main-1", "approve": true, "comment": strange });
            ask("POST", "/api/v1/services/web/approvals", &vote).refuses(400, "request_invalid");
            let policy = json!({ "kind": "auto-release", "branch": strange, "environment": "dev" });
            ask("PUT", "/api/v1/services/web/policies", &policy).refuses(400, "policy_invalid");
        }
        for path in [
            "releases?cursor=",
            "releases?limit=0",
            "releases?service=%00",
            "releases?state=done",
            "releases?more=1",
            "services/%00/status",
            "services/..%2Fweb/status",
            "services/web/status?namespace=",
            "report?since=x",
            "report?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
            "releases/%00",
        ] {
            ask("GET", &format!("/api/v1/{path}"), &Value::Null).refuses(400, "request_invalid");
        }
        ask("DELETE", "/api/v1/services/web/policies?id=%00", &Value::Null).refuses(404, "policy_unknown");
        // A pattern is a name, and no pattern.
        let like = json!({ "service": "web", "environments": ["dev"], "what": { "kind": "branch", "branch": "m%" } });
        assert_eq!(ask("POST", "/api/v1/releases", &like).is(200).json()["results"][0]["code"], "artifact_unknown");
        assert!(managed.config(&["for-each-ref"]).is_empty());
        managed.place.sound();
    }
}

#[test]
fn a_file_of_environments_that_cannot_be_used_is_named_with_what_is_wrong() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let deployer = "[deployer.config]\nrepository = \"config.git\"\n";
    for (content, said) in [
        ("hello world", "the file of environments cannot be read"),
        ("[[environment]]\nname = \"dev\"\n", "does not say which deployer it has"),
        ("[[environment]]\nname = \"../dev\"\n", "is not a plain file name"),
        ("[[environment]]\nname = \"dev\"\nname = \"prod\"\n", "duplicate key"),
        ("[[environment]]\nname = \"dev\"\ncolour = \"red\"\n", "unknown field `colour`"),
        ("[[environment]]\nname = \"dev\"\nfrom = [\"qa\"]\n", "which is no environment"),
        ("[[environment]]\nname = \"dev\"\nfrom = [\"dev\"]\n", "in a circle"),
        ("[[policy]]\nkind = \"branch-restriction\"\nenvironment = \"dev\"\nbranch = \"(\"\n", "missing closing )"),
        ("[[policy]]\nkind = \"deploy-trigger\"\nenvironment = \"dev\"\nbranch = \"[\"\n", "branch pattern not valid"),
        (&format!("{GLOBAL}{GLOBAL}"), "is there twice"),
    ] {
        let content = if content.starts_with("[[env") && !said.contains("which deployer") {
            format!("{deployer}{content}")
        } else {
            content.to_owned()
        };
        let file = place.scratch.write("environments.toml", &content);
        let output = place.command(&["check-config", "--manage", file.as_str()]).output().unwrap();
        let told = both(&output);
        assert_eq!(output.status.code(), Some(3), "{content}: {told}");
        assert!(told.contains(&format!("`{file}` cannot be used")), "{content} is not named: {told}");
        assert!(told.contains(said) && told.contains("hint: "), "{content} does not say {said:?}: {told}");
    }
}
