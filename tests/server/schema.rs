//! The running server against its own description, by somebody who has read nothing else: schemathesis, of
//! `PyPI`. No request makes it fail inside, and no answer is another one than it describes.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use crate::place::{Kind, Place, record};
use crate::support::{Scratch, both, need};

#[test]
fn no_request_breaks_the_server_and_every_answer_is_as_described() {
    if !need("schemathesis") {
        return;
    }
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let admin = server.admin.clone().unwrap();
    server.ask("POST", "/api/v1/artifacts", Some(&admin), record("web", "one").to_string()).is(201);
    let directory = Scratch::new();
    let mut command = Command::new("schemathesis");
    command.current_dir(directory.path()).args(["run", &format!("{}/api/v1/openapi.json", server.address)]);
    command.args(["-H", &format!("Authorization: Bearer {admin}"), "--seed", "1", "-n", "10"]);
    command.args(["--phases", "coverage,fuzzing", "-c"]);
    command.arg("not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
}
