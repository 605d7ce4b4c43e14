//! Records from outside: what is taken, what is refused, and what older systems' become.

use super::*;

fn minimal() -> Value {
    serde_json::json!({
        "type": TYPE, "id": "main-0123456789", "service": "web", "source": { "sha": "0123456789abcdef", "branch": "main" }
    })
}

fn read(document: &Value) -> Result<Artifact> {
    Artifact::read(document.to_string().as_bytes())
}

#[test]
fn a_record_is_written_as_it_was_read() {
    let artifact = read(&minimal()).expect("minimal");
    assert_eq!(Artifact::read(&artifact.render()).expect("its own form"), artifact);
    assert_eq!(artifact.source.event, Event::Push);
}

#[test]
fn what_is_no_record_is_refused() {
    let changed = |pointer: &str, value: Value| {
        let mut document = minimal();
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        let parent = if parent.is_empty() { &mut document } else { document.pointer_mut(parent).expect("there") };
        parent.as_object_mut().expect("an object").insert(field.to_owned(), value);
        document
    };
    let stage = |id: &str, data: Value| serde_json::json!([{ "id": id, "data": data }]);
    for document in [
        changed("/unknown", Value::Null),
        changed("/type", "consign.artifact/v2".into()),
        changed("/id", "../x".into()),
        changed("/service", "a/b".into()),
        changed("/service", "".into()),
        changed("/source/sha", "XYZ".into()),
        changed("/source/sha", "0123456789ABCDEF".into()),
        changed("/source/branch", "a\u{1b}b".into()),
        changed("/source/event", "merge".into()),
        changed("/stages", stage("test", serde_json::json!({}))),
        changed(
            "/stages",
            stage("test", serde_json::json!({ "results": { "passed": -1, "failed": 0, "skipped": 0 } })),
        ),
        changed("/stages", stage("scan", serde_json::json!({ "vulnerabilities": { "high": 1 } }))),
        changed("/stages", serde_json::json!([{ "id": "build" }, { "id": "build" }])),
        changed("/bundle", serde_json::json!({ "files": {} })),
    ] {
        assert_eq!(read(&document).expect_err("refused").code(), Code::ArtifactInvalid, "{document}");
    }
    let long = vec![b' '; MAX_BYTES + 1];
    for bytes in [b"".as_slice(), b"{}", b"[]", b"{", &b"[".repeat(100_000), &long] {
        assert!(Artifact::read(bytes).is_err());
    }
}

#[test]
fn no_key_stands_twice_however_deep() {
    let text = minimal().to_string().replace(r#""source""#, r#""context":{"a":"1","a":"2"},"source""#);
    let failure = Artifact::read(text.as_bytes()).expect_err("refused");
    assert!(failure.chain().join("\n").contains("stands twice"), "{:?}", failure.chain());
}

#[test]
fn a_stage_takes_the_place_of_the_one_of_its_kind() {
    let mut artifact = read(&minimal()).expect("minimal");
    let results = |passed| TestResults { passed, failed: 0, skipped: 1 };
    artifact.put_stage(Stage::test(results(1), None));
    artifact.put_stage(Stage::scan("scan", Vulnerabilities { high: 1, medium: 2, low: 3 }, []));
    artifact.put_stage(Stage::scan("other", Vulnerabilities { high: 1, medium: 0, low: 0 }, []));
    artifact.put_stage(Stage::test(results(2), Some("https://ci.example/1")));
    assert_eq!(artifact.stages.iter().map(|stage| stage.id.as_str()).collect::<Vec<_>>(), ["test", "scan", "other"]);
    assert_eq!(artifact.tests(), Some(results(2)));
    assert_eq!(artifact.vulnerabilities(), Some(Vulnerabilities { high: 2, medium: 2, low: 3 }));
}

#[test]
fn a_record_with_stages_is_imported() {
    let old = br#"{"id":"master-1234567890-1234567890","service":"product","application":{"branch":"master",
        "sha":"0123456789012345678901234567890123456789","authorName":"A","authorEmail":"a@example.com",
        "message":"fix","name":"product","url":"https://example.com/c"},
        "ci":{"jobUrl":"https://ci.example.com/1","start":"2025-01-02T03:04:05Z","end":"0001-01-01T00:00:00Z"},
        "squad":"aura","shuttle":{"plan":{"branch":"master"}},
        "stages":[{"id":"test","name":"Test","data":{"url":"x","results":{"passed":3,"failed":0,"skipped":1}}},
                  {"id":"snyk-code","name":"Security Scan - Code","data":{"vulnerabilities":{"high":1,"medium":2,"low":3}}}]}"#;
    let artifact = import::read(old, None).expect("imported");
    assert_eq!((artifact.service.as_str(), artifact.source.branch.as_deref()), ("product", Some("master")));
    assert_eq!(artifact.ci.end, None);
    assert_eq!(artifact.context.get("squad").map(String::as_str), Some("aura"));
    assert_eq!(artifact.tests(), Some(TestResults { passed: 3, failed: 0, skipped: 1 }));
    assert_eq!(artifact.vulnerabilities(), Some(Vulnerabilities { high: 1, medium: 2, low: 3 }));
    assert!(import::read(br#"{"id":"a","unknown":"field"}"#, None).is_err());
    assert!(import::read(b"hello world", None).is_err());
}

#[test]
fn a_record_with_manifests_is_imported() {
    let old = br#"{"id":"my-app-94578d91","created":1622792757,"version":{"repositoryName":"owner/my-app",
        "sha":"ea9ab7cc31b2599bf4afcfd639da516ca27a4780","branch":"main","event":"pr","sourceBranch":"f",
        "targetBranch":"main","authorName":"Jane"},"environments":[{"app":"my-app","env":"staging"}],
        "items":[{"name":"CI","url":"https://ci"}],"context":{"k":"v"}}"#;
    let artifact = import::read(old, None).expect("imported");
    assert_eq!((artifact.service.as_str(), artifact.source.event), ("my-app", Event::Pr));
    assert_eq!(artifact.source.source_branch.as_deref(), Some("f"));
    assert_eq!(artifact.items.len(), 2);
    assert_eq!(artifact.items[1]["environments"][0]["env"], "staging");
    let other: FileName = "shop".parse().expect("a name");
    assert_eq!(import::read(old, Some(&other)).expect("imported").service, other);
}
