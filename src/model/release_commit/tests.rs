//! Commits of releases: what is written is read again, and what others write is read as they mean it.

use super::*;

fn person(name: &str, email: &str) -> Person {
    Person { name: name.to_owned(), email: email.to_owned() }
}

fn record(intent: Intent) -> ReleaseCommit {
    ReleaseCommit {
        environment: "prod".to_owned(),
        service: "test-service".to_owned(),
        artifact_id: "master-1234567890-1234567890".to_owned(),
        released_by: person("Foo Bar", "foo@example.com"),
        created_by: person("Åse Ødegård", "ase@example.com"),
        intent,
    }
}

const FULL: &str = "[prod/test-service] release master-1234567890-1234567890 by foo@example.com

Service: test-service
Environment: prod
Artifact-ID: master-1234567890-1234567890
Artifact-released-by: Foo Bar <foo@example.com>
Artifact-created-by: Åse Ødegård <ase@example.com>
Release-intent: ReleaseBranch
Release-of-branch: test-s3-push
";

#[test]
fn what_is_no_release_is_not_read_as_one() {
    for text in [
        "[test-service] artifact A by Foo Bar\nArtifact-created-by: Foo Bar <foo@example.com>",
        "[prod/test-service] artifact A by Foo Bar\nArtifact-created-by: Foo Bar <foo@example.com>",
        "[product] build something",
        "[test-service] policy update: apply auto-release in 'dev'",
        "[prod/test-service] release",
        "[prod/test-service] release  by foo@example.com",
        "[/test-service] release A by foo@example.com",
        "[prod/] release A by foo@example.com",
        "prod/test-service] release A by foo@example.com",
        "Revert \"[prod/test-service] release A by foo@example.com\"",
        "",
        "\n",
    ] {
        assert_eq!(ReleaseCommit::parse(text), None, "{text:?}");
    }
}

#[test]
fn trailers_may_follow_without_an_empty_line() {
    let text = "[prod/test-service] release A by hest@x\nArtifact-created-by: Foo Bar <foo@example.com>";
    let read = ReleaseCommit::parse(text).expect("a release");
    assert_eq!(
        read,
        ReleaseCommit {
            environment: "prod".to_owned(),
            service: "test-service".to_owned(),
            artifact_id: "A".to_owned(),
            released_by: person("", "hest@x"),
            created_by: person("Foo Bar", "foo@example.com"),
            intent: Intent::ReleaseArtifact,
        }
    );
}

#[test]
fn without_an_intent_it_is_the_release_of_an_artifact() {
    let text = "[prod/test-service] release A by foo@example.com\n\nArtifact-created-by: Åse <ase@example.com>\nArtifact-released-by: Foo Bar <foo@example.com>\n";
    let read = ReleaseCommit::parse(text).expect("a release");
    assert_eq!(read.intent, Intent::ReleaseArtifact);
    assert_eq!(read.released_by, person("Foo Bar", "foo@example.com"));
    assert_eq!(read.created_by, person("Åse", "ase@example.com"));
}

#[test]
fn the_written_form_is_the_older_system_s() {
    let intent = Intent::ReleaseBranch { branch: "test-s3-push".to_owned() };
    assert_eq!(record(intent.clone()).to_string(), FULL);
    assert_eq!(ReleaseCommit::parse(FULL), Some(record(intent)));
}

#[test]
fn every_intent_survives_writing_and_reading() {
    for (intent, deed, last) in [
        (Intent::ReleaseArtifact, "release", "Release-intent: ReleaseArtifact"),
        (Intent::ReleaseBranch { branch: "fe/at".to_owned() }, "release", "Release-of-branch: fe/at"),
        (Intent::Promote { from_environment: "dev".to_owned() }, "release", "Promoted-from-environment: dev"),
        (Intent::Rollback { previous_artifact_id: "P".to_owned() }, "rollback", "Rollback-of-artifact-id: P"),
        (Intent::AutoRelease, "auto release", "Release-intent: AutoRelease"),
    ] {
        let record = record(intent);
        let text = record.to_string();
        assert!(text.starts_with(&format!("[prod/test-service] {deed} master-")), "{text}");
        assert_eq!(text.lines().last(), Some(last));
        assert_eq!(ReleaseCommit::parse(&text), Some(record.clone()));
        // One more trailer does not disturb whoever does not know it.
        assert_eq!(ReleaseCommit::parse(&format!("{text}Release-ID: 7\n")), Some(record));
    }
}

#[test]
fn subjects_alone_are_enough() {
    for (subject, artifact_id, by, intent) in [
        ("[prod/svc] release A by m", "A", "m", Intent::ReleaseArtifact),
        ("[prod/svc] release A", "A", "", Intent::ReleaseArtifact),
        ("[prod/svc] auto release A by m\n", "A", "m", Intent::AutoRelease),
        ("[prod/svc] rollback A to B by m", "B", "m", Intent::Rollback { previous_artifact_id: "A".to_owned() }),
        ("[prod/svc] rollback A to B", "B", "", Intent::Rollback { previous_artifact_id: "A".to_owned() }),
        ("[prod/svc] rollback A by m", "A", "m", Intent::Rollback { previous_artifact_id: String::new() }),
    ] {
        let read = ReleaseCommit::parse(subject).unwrap_or_else(|| panic!("{subject:?}"));
        assert_eq!((read.artifact_id.as_str(), read.released_by.email.as_str()), (artifact_id, by), "{subject:?}");
        assert_eq!(read.intent, intent, "{subject:?}");
    }
}

#[test]
fn nobody_has_an_empty_name_and_address() {
    let record = ReleaseCommit { released_by: person("", "m"), created_by: nobody(), ..record(Intent::AutoRelease) };
    let text = record.to_string();
    assert!(text.contains("\nArtifact-released-by:  <m>\nArtifact-created-by:  <>\n"), "{text}");
    assert_eq!(ReleaseCommit::parse(&text), Some(record));
}

#[test]
fn a_value_cannot_bring_a_trailer_of_its_own() {
    let branch = "x\nArtifact-ID: another".to_owned();
    let record = record(Intent::ReleaseBranch { branch });
    let read = ReleaseCommit::parse(&record.to_string()).expect("a release");
    assert_eq!(read.artifact_id, record.artifact_id);
}

#[test]
fn whole_names_are_compared_in_any_case() {
    for end in ["", " by foo@example.com", "\n", " by foo@example.com\n"] {
        let subject = format!("[env/service-name] release master-1234567890-1234567890{end}");
        let read = ReleaseCommit::parse(&subject).expect("a release");
        for id in ["", "(\\", "master-1234", "master-1234567890"] {
            assert!(!read.is_of(id), "{id}");
        }
        assert!(read.is_of("master-1234567890-1234567890") && read.is_of("MASTER-1234567890-1234567890"));
        for (environment, service) in
            [("nv", "service-name"), ("env", "service"), ("", "service-name"), ("env", ""), ("(\\", "service-name")]
        {
            assert!(!read.concerns(environment, service), "{environment:?} {service:?}");
        }
        assert!(read.concerns("env", "service-name") && read.concerns("ENV", "SERVICE-NAME"));
    }
}

#[test]
fn a_trailer_that_is_set_again_keeps_its_place() {
    let mut message = Message::parse("a subject\n\nthe description\nof it\n\nOne: 1\nEmpty:\nTwo: 2\n");
    assert_eq!(message.description, "the description\nof it");
    assert_eq!(message.get("Empty"), Some(""));
    message.set("One", "first");
    message.set("Three", "3");
    let text = "a subject\n\nthe description\nof it\n\nOne: first\nEmpty: \nTwo: 2\nThree: 3\n";
    assert_eq!(message.to_string(), text);
    assert_eq!(Message::parse(text), message);
}

#[test]
fn messages_without_a_subject_are_read() {
    let only_description = Message::parse("\n\nsome words\n");
    assert_eq!((only_description.subject.as_str(), only_description.description.as_str()), ("", "some words"));
    let only_trailers = Message::parse("\n\nOne: 1\nTwo: 2\n");
    assert_eq!((only_trailers.subject.as_str(), only_trailers.get("Two")), ("", Some("2")));
}

#[test]
fn policies_are_told_apart() {
    for (change, text) in [
        (PolicyChange::AutoRelease("dev"), "[svc] policy update: apply auto-release in 'dev'\n"),
        (PolicyChange::BranchRestriction("prod"), "[svc] policy update: apply branch-restriction in 'prod'\n"),
        (PolicyChange::Deletion, "[svc] policy update: delete policies\n"),
    ] {
        assert_eq!(change.message("svc").to_string(), text);
        assert_eq!(ReleaseCommit::parse(text), None);
    }
}

#[test]
fn who_has_no_address_is_told_by_name() {
    let record = ReleaseCommit { released_by: person("deploy bot", ""), ..record(Intent::ReleaseArtifact) };
    let text = record.to_string();
    assert!(text.lines().next().is_some_and(|subject| subject.ends_with(" by deploy bot")), "{text}");
    assert_eq!(ReleaseCommit::parse(&text), Some(record));
}
