//! What a run says in the end: a verdict for each service, a summary of all, and the same for machines
//! that read the XML of `JUnit`.

use camino::Utf8Path;
use serde::Serialize;

use super::matrix::ServiceName;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Exit, pretty};
use crate::world::docker::About;
use crate::world::files;

/// The name of the summary.
pub const SUMMARY_FILE_NAME: &str = "summary.json";
/// The name of the same for machines that read the XML of `JUnit`.
pub const JUNIT_FILE_NAME: &str = "junit.xml";

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As expected.
    Passed,
    /// Otherwise.
    Failed,
}

impl Status {
    /// Passed, if it is so.
    pub const fn of(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it was.
    pub status: Status,
    /// In words.
    pub detail: String,
}

/// How one service ended: the last line of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Its name.
    pub service: ServiceName,
    /// Whether everything was as expected.
    pub status: Status,
    /// How long it took, waiting included.
    pub duration_ms: u64,
    /// The image as the matrix names it.
    pub image: String,
    /// The digest of what was run: the registry's if there is one, else the image's id.
    pub image_digest: Option<String>,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// A verdict without any check.
    pub(super) fn new(service: ServiceName, status: Status) -> Self {
        Self { service, status, duration_ms: 0, image: String::new(), image_digest: None, checks: Vec::new() }
    }

    /// The first thing that was not as expected.
    pub fn cause(&self) -> Option<&Check> {
        self.checks.iter().find(|check| check.status == Status::Failed)
    }
}

/// A service that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub service: ServiceName,
    /// Why.
    pub reason: String,
}

/// What a run did: `summary.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Always `consign.docker-smoke/v1`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether every service passed.
    pub status: Status,
    /// The run's id, which everything at the engine was labelled with.
    pub run: String,
    /// The engine.
    pub engine: About,
    /// How long it took.
    pub duration_ms: u64,
    /// How many services passed.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
    /// The services, by name.
    pub services: Vec<Verdict>,
    /// The services that were left out.
    pub skipped: Vec<Skipped>,
}

impl Report {
    /// The exit code that it leads to.
    pub fn exit(&self) -> Exit {
        if self.status == Status::Passed { Exit::Done } else { Exit::Failed }
    }
}

/// Writes the summary and the XML beside the logs.
pub(super) fn write(report: &Report, directory: &Utf8Path) -> Result<()> {
    files::write(&directory.join(SUMMARY_FILE_NAME), &pretty(report))?;
    files::write(&directory.join(JUNIT_FILE_NAME), junit(report).as_bytes())
}

/// The report as the XML that build servers read: a test suite with a test case for each service.
fn junit(report: &Report) -> String {
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let tests = report.services.len() + report.skipped.len();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"docker-smoke\" tests=\"{tests}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\">\n",
        report.failed,
        report.skipped.len(),
        seconds(report.duration_ms),
    );
    for verdict in &report.services {
        let (name, time) = (escaped(verdict.service.as_str()), seconds(verdict.duration_ms));
        out.push_str(&format!("  <testcase classname=\"docker-smoke\" name=\"{name}\" time=\"{time}\""));
        match verdict.cause() {
            None => out.push_str("/>\n"),
            Some(cause) => {
                let (kind, message) = (escaped(&cause.name), escaped(&cause.detail));
                let all: String = verdict
                    .checks
                    .iter()
                    .map(|check| escaped(&format!("{}: {}: {}\n", check.status.as_str(), check.name, check.detail)))
                    .collect();
                out.push_str(&format!(
                    ">\n    <failure type=\"{kind}\" message=\"{message}\">{all}</failure>\n  </testcase>\n"
                ));
            }
        }
    }
    for skipped in &report.skipped {
        let (name, reason) = (escaped(skipped.service.as_str()), escaped(&skipped.reason));
        out.push_str(&format!(
            "  <testcase classname=\"docker-smoke\" name=\"{name}\" time=\"0\">\n    <skipped message=\"{reason}\"/>\n  </testcase>\n"
        ));
    }
    out.push_str("</testsuite>\n");
    out
}

/// Text inside of XML. Characters that it cannot hold have been made visible before.
fn escaped(text: &str) -> String {
    let lines: Vec<_> =
        text.split('\n').map(|line| shown(line).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")).collect();
    let text = lines.join("\n");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_xml_holds_whatever_a_check_says() {
        let check = Check {
            name: "output \"<a>\"".to_owned(),
            status: Status::Failed,
            detail: "]]> & \u{1b}[31m\u{0}".to_owned(),
        };
        let mut bad = Verdict::new("bad".parse().expect("a name"), Status::Failed);
        bad.checks.push(check);
        bad.duration_ms = 1205;
        let report = Report {
            kind: "consign.docker-smoke/v1",
            status: Status::Failed,
            run: "1".to_owned(),
            engine: About {
                version: String::new(),
                api: String::new(),
                os: String::new(),
                architecture: String::new(),
                system: String::new(),
                root: None,
            },
            duration_ms: 2000,
            passed: 1,
            failed: 1,
            services: vec![bad, Verdict::new("good".parse().expect("a name"), Status::Passed)],
            skipped: vec![Skipped { service: "arm".parse().expect("a name"), reason: "no emulation".to_owned() }],
        };
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuite name=\"docker-smoke\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"2.000\">
  <testcase classname=\"docker-smoke\" name=\"bad\" time=\"1.205\">
    <failure type=\"output &quot;&lt;a&gt;&quot;\" message=\"]]&gt; &amp; \\u{1b}[31m\\u{0}\">failed: output &quot;&lt;a&gt;&quot;: ]]&gt; &amp; \\u{1b}[31m\\u{0}
</failure>
  </testcase>
  <testcase classname=\"docker-smoke\" name=\"good\" time=\"0.000\"/>
  <testcase classname=\"docker-smoke\" name=\"arm\" time=\"0\">
    <skipped message=\"no emulation\"/>
  </testcase>
</testsuite>
";
        assert_eq!(junit(&report), expected);
    }
}
