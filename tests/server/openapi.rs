//! The description of all requests: a change of it is a change of a promise, and is looked at.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::place::{Kind, Place};

#[test]
fn the_description_is_the_one_that_was_agreed_on() {
    let document: Value = serde_json::from_slice(&consign::server::openapi::document()).unwrap();
    let mut lines = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses: Vec<_> = operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let parameters: Vec<_> = parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
            let open = if operation["security"].is_null() { " (open)" } else { "" };
            lines.push(format!(
                "{} {path}{open} [{}] -> {}",
                method.to_uppercase(),
                parameters.join(", "),
                responses.join(" ")
            ));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
    insta::assert_snapshot!("document", String::from_utf8(consign::server::openapi::document()).unwrap());
}

/// Programs that are made from the description name their functions so.
#[test]
fn every_request_has_a_name_of_its_own() {
    let document: Value = serde_json::from_slice(&consign::server::openapi::document()).unwrap();
    let mut known = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(known.insert(name.clone()), "{name} is there twice");
        }
    }
}

#[test]
fn the_server_shows_it() {
    let server = Place::new(Kind::Sqlite, &[]).unwrap().start();
    let shown = server.ask("GET", "/api/v1/openapi.json", None, "").is(200);
    assert_eq!(shown.body, consign::server::openapi::document());
}
