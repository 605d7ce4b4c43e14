//! What fires, what goes, and what it is called.

use super::*;
use crate::model::policy::app::Template;

#[derive(Default)]
struct Rule<'a> {
    branch: Option<&'a str>,
    tag: Option<&'a str>,
    event: Option<Event>,
    messages: &'a [&'a str],
}

impl Rule<'_> {
    fn trigger(&self) -> DeployTrigger {
        DeployTrigger {
            environment: name("dev"),
            name: None,
            branch: self.branch.map(str::to_owned),
            tag: self.tag.map(str::to_owned),
            event: self.event,
            commit_message_patterns: self.messages.iter().map(|&pattern| pattern.to_owned()).collect(),
            app: None,
        }
    }

    fn fires(&self, artifact: &ArtifactFacts) -> bool {
        fires(&self.trigger(), artifact)
    }
}

fn built(branch: Option<&str>, tag: Option<&str>, event: Event) -> ArtifactFacts {
    ArtifactFacts {
        branch: branch.map(str::to_owned),
        tag: tag.map(str::to_owned),
        event,
        message: None,
        ..artifact("x")
    }
}

#[test]
fn without_a_rule_nothing_fires_and_an_event_is_a_rule() {
    let nothing = Rule::default();
    assert!(!nothing.fires(&built(None, None, Event::default())));
    assert!(!nothing.fires(&built(Some("main"), None, Event::Push)));
    // An artifact that says nothing of its event was pushed.
    for (rule, event, expected) in [
        (Event::Push, Event::default(), true),
        (Event::Pr, Event::default(), false),
        (Event::Pr, Event::Pr, true),
        (Event::Tag, Event::Tag, true),
    ] {
        let rule = Rule { event: Some(rule), ..Rule::default() };
        assert_eq!(rule.fires(&built(None, None, event)), expected, "{:?} {event:?}", rule.event);
    }
}

#[test]
fn rules_about_branches() {
    for (branch, rule, built_from, event, expected) in [
        ("notMaster", Some(Event::Push), "master", Event::Push, false),
        ("master", Some(Event::Push), "master", Event::Push, true),
        ("master", Some(Event::Pr), "master", Event::Pr, true),
        ("master", None, "master", Event::Push, false),
        ("feature/*", Some(Event::Pr), "feature/coolness", Event::Pr, true),
        ("feature/*", Some(Event::Pr), "feature/cool/ness", Event::Pr, true),
        ("feature/*", Some(Event::Pr), "bugfix/coolness", Event::Pr, false),
        ("!master", Some(Event::Push), "master", Event::Push, false),
        ("!{main,master}", Some(Event::Push), "notMain", Event::Push, true),
        ("!{main,master}", Some(Event::Push), "master", Event::Push, false),
        ("!main", Some(Event::Push), "a-bugfix", Event::Push, true),
        ("!main", Some(Event::Tag), "main", Event::Push, false),
        ("!main", Some(Event::Tag), "main", Event::Tag, false),
        ("Master", Some(Event::Push), "master", Event::Push, false),
    ] {
        let rule = Rule { branch: Some(branch), event: rule, ..Rule::default() };
        assert_eq!(
            rule.fires(&built(Some(built_from), None, event)),
            expected,
            "{branch} {:?} {built_from}",
            rule.event
        );
    }
    // What has no branch is on none, and on none of the others either.
    let rule = Rule { branch: Some("!main"), event: Some(Event::Push), ..Rule::default() };
    assert!(!rule.fires(&built(None, None, Event::Push)));
}

#[test]
fn rules_about_tags() {
    for (tag, rule, built_from, event, expected) in [
        ("v*", Some(Event::Tag), Some("v3.0.1"), Event::Tag, true),
        ("v*", Some(Event::Tag), Some("xxx"), Event::default(), false),
        ("v*", Some(Event::Tag), Some("xxx"), Event::Tag, false),
        ("!v1", Some(Event::Tag), Some("v2"), Event::Tag, true),
        ("!v1", Some(Event::Tag), Some("v1"), Event::Tag, false),
        ("!v*", Some(Event::Tag), Some("v2"), Event::Tag, false),
        ("!v*", Some(Event::Tag), Some("nightly"), Event::Tag, true),
        ("!{v1,v2}", Some(Event::Tag), Some("v2"), Event::Tag, false),
        ("v1", Some(Event::Tag), Some("v1"), Event::Tag, true),
        ("v1", None, Some("v1"), Event::Tag, false),
        ("!v1", Some(Event::Tag), None, Event::Tag, false),
    ] {
        let rule = Rule { tag: Some(tag), event: rule, ..Rule::default() };
        assert_eq!(rule.fires(&built(None, built_from, event)), expected, "{tag} {:?} {built_from:?}", rule.event);
    }
    // A tag's name is compared with tags, and never with the branch.
    let rule = Rule { tag: Some("v1"), event: Some(Event::Tag), ..Rule::default() };
    assert!(!rule.fires(&built(Some("v1"), Some("v2"), Event::Tag)));
    assert!(rule.fires(&built(Some("v2"), Some("v1"), Event::Tag)));
}

#[test]
fn rules_about_messages() {
    let main = (Some("main"), Some(Event::Push));
    let free = (None, None);
    for (messages, (branch, event), message, built_from, expected) in [
        (&["[DEPLOY: myapp-1]*"][..], free, "[DEPLOY: ALL] Fixing something major", "x", true),
        (&[], free, "[DEPLOY: ALL] Fixing something major", "x", false),
        (&[], main, "[DEPLOY: ALL] Fixing something major", "feature-branch", false),
        (&["[DEPLOY: myapp-1]*"], free, "[DEPLOY: myapp-1] Bugfix 123", "x", true),
        (&["[DEPLOY: myapp-1]*"], main, "Bugfix 123", "main", false),
        (&["[DEPLOY: myapp-2]*"], main, "[DEPLOY: myapp-1] Bugfix 123", "main", false),
        (&["[DEPLOY: myapp-2]*"], main, "Bugfix [DEPLOY: ALL]", "main", true),
        (&["[DEPLOY: myapp-2]*"], main, "[DEPLOY: ALL]", "feature-branch", false),
        (&["[DEPLOY: myapp-1]*"], free, "[DEPLOY: myapp-1] Bugfix\n\nover several lines\n", "x", true),
        (&["nothing", "*Bugfix*"], free, "a Bugfix/of sorts", "x", true),
        // Brackets are letters: this is no class of characters.
        (&["[ab]*"], free, "a message", "x", false),
        (&["[ab]*"], free, "[ab] message", "x", true),
        (&[r"\[ab\]*"], free, "[ab] message", "x", true),
        (&["!x*"], free, "y", "x", false),
    ] {
        let rule = Rule { branch, event, messages, tag: None };
        let artifact =
            ArtifactFacts { message: Some(message.to_owned()), ..built(Some(built_from), None, Event::Push) };
        assert_eq!(rule.fires(&artifact), expected, "{messages:?} {branch:?} {message:?}");
    }
}

#[test]
fn a_pattern_that_cannot_be_read_is_refused_when_it_is_written_and_fires_nothing() {
    for wrong in ["[", "{a", "a}", "![", "!", "", r"a\"] {
        let rules = [
            Rule { branch: Some(wrong), event: Some(Event::Push), ..Rule::default() },
            Rule { tag: Some(wrong), event: Some(Event::Tag), ..Rule::default() },
        ];
        for rule in rules {
            let failure = set([]).apply(Policy::DeployTrigger(rule.trigger())).unwrap_err();
            assert_eq!(failure.code(), Code::PolicyInvalid, "{wrong}");
            // One that was kept nevertheless.
            let event = rule.event.unwrap();
            assert!(!rule.fires(&built(Some("anything"), Some("anything"), event)), "{wrong}");
        }
        let cleanup = Cleanup { environment: name("dev"), name: None, branch: wrong.to_owned(), app: None };
        assert!(!cleanup.matches("anything"), "{wrong}");
        assert!(set([]).apply(Policy::Cleanup(cleanup)).is_err(), "{wrong}");
    }
    let message = Rule { messages: &["{a"], ..Rule::default() };
    assert!(set([]).apply(Policy::DeployTrigger(message.trigger())).is_err());
}

#[test]
fn what_never_fires_says_so() {
    for (rule, never) in [
        (Rule::default(), true),
        (Rule { branch: Some("main"), ..Rule::default() }, true),
        (Rule { branch: Some("main"), event: Some(Event::Tag), ..Rule::default() }, true),
        (Rule { tag: Some("v*"), event: Some(Event::Push), ..Rule::default() }, true),
        (Rule { tag: Some("v*"), branch: Some("main"), event: Some(Event::Push), ..Rule::default() }, true),
        (Rule { messages: &["x"], ..Rule::default() }, false),
        (Rule { branch: Some("main"), event: Some(Event::Pr), ..Rule::default() }, false),
    ] {
        assert_eq!(rule.trigger().never().is_some(), never, "{:?}", rule.trigger());
    }
}

#[test]
fn what_was_released_from_a_branch_goes_with_it() {
    for (pattern, branch, expected) in [
        ("*", "feature/x", true),
        ("feature/*", "feature/x", true),
        ("feature/*", "bugfix/x", false),
        ("!main", "main", false),
        ("!main", "feature/x", true),
        ("!{main,master}", "master", false),
        ("!{main,master}", "feature/x", true),
        ("!feature/*", "feature/x", false),
    ] {
        let policy = written(&format!(
            r#"{{"kind":"cleanup","environment":"preview","branch":"{pattern}","app":"app-{{{{ .BRANCH | sanitizeDNSName }}}}"}}"#
        ));
        let set = set([policy]);
        let found = set.cleanup(branch);
        assert_eq!(found.len() == 1, expected, "{pattern} {branch}");
        if let Some(found) = found.first() {
            assert_eq!(
                found.app.as_ref().unwrap().as_ref().unwrap().as_str(),
                format!("app-{}", branch.replace('/', "-"))
            );
        }
    }
}

#[test]
fn names_for_dns() {
    let long = "a".repeat(80);
    let dashed = format!("{}-bc", "a".repeat(62));
    for (name, limit, expected) in [
        ("CamelCase_with_snake", 63, "camelcase-with-snake"),
        ("dependabot/npm_and_yarn/ws-5.2.3", 63, "dependabot-npm-and-yarn-ws-5-2-3"),
        ("-can't start with dashes, nor end-", 63, "can-t-start-with-dashes-nor-end"),
        ("!nope", 63, "nope"),
        ("dope", 63, "dope"),
        (&long, 63, &long[..63]),
        (&long, 53, &long[..53]),
        (&dashed, 63, &dashed[..62]),
        ("a--b__c", 63, "a-b-c"),
        ("äöü", 63, ""),
        ("", 63, ""),
        ("a", 0, ""),
    ] {
        assert_eq!(sanitize_dns_name(name, limit), expected, "{name}");
    }
    assert_eq!(DNS_NAME_LIMIT, 63);
}

#[test]
fn names_of_applications() {
    let branch = [("BRANCH", "feature/my-feature")];
    for template in [
        "my-app-{{ .BRANCH | sanitizeDNSName }}",
        "my-app-{{.BRANCH|sanitizeDNSName}}",
        "my-app-{{ BRANCH | sanitizeDNSName }}",
    ] {
        let app = Template::read(template).unwrap().render(&branch).unwrap();
        assert_eq!(app.as_str(), "my-app-feature-my-feature");
    }
    let failure = Template::read("my-app-{{ .POSTFIX }}").unwrap().render(&branch).unwrap_err();
    assert_eq!(failure.to_string(), r#"map has no entry for key "POSTFIX""#);
    for wrong in ["{{ .BRANCH", "{{ }}", "{{ .BRANCH | upper }}", "{{ .A.B }}", "{{ if .BRANCH }}", "{{{{ .BRANCH }}"] {
        assert!(Template::read(wrong).is_err(), "{wrong}");
    }
    // It becomes a directory.
    for (template, branch) in [("{{ .BRANCH }}", "../../etc"), ("a/{{ .BRANCH }}", "x"), ("{{ .BRANCH }}", "")] {
        assert!(Template::read(template).unwrap().render(&[("BRANCH", branch)]).is_err(), "{template} {branch}");
    }
}

#[test]
fn an_artifact_sets_going_what_policies_ask_for() {
    let trigger = r#"{"kind":"deploy-trigger","environment":"preview","branch":"!{main,master}","event":"push",
        "app":"web-{{ .BRANCH | sanitizeDNSName }}"}"#;
    let set = set([automatic("main", "dev"), automatic("feature/x", "test"), written(trigger)]);
    let going = |artifact: &ArtifactFacts| {
        let going = set.automation(artifact).into_iter();
        going
            .map(|one| {
                (one.environment.to_string(), one.app.unwrap().map(|app| app.to_string()), one.standing.policy.id())
            })
            .collect::<Vec<_>>()
    };
    let row = |environment: &str, app: Option<&str>, id: &str| {
        (environment.to_owned(), app.map(str::to_owned), id.to_owned())
    };
    assert_eq!(going(&artifact("main")), [row("dev", None, "auto-release-main-dev")]);
    assert_eq!(
        going(&artifact("feature/x")),
        [
            row("test", None, "auto-release-feature/x-test"),
            row("preview", Some("web-feature-x"), "deploy-trigger-preview")
        ]
    );
    // A branch is not the one whose name begins like it.
    assert!(going(&artifact("main")).iter().all(|(environment, ..)| environment != "test"));
    // A pull request may come from a branch by any name.
    assert!(going(&ArtifactFacts { event: Event::Pr, ..artifact("main") }).is_empty());
    assert!(set.is_automated(&name("preview")) && !set.is_automated(&name("prod")));
}
