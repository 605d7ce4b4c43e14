//! What has to be proven of an artifact.
//!
//! [`Evidence`] that is missing is no evidence: an artifact without tests did not pass them, and one that was
//! not scanned may have anything in it. There is no way round it, not even backwards.

use serde::{Deserialize, Serialize};

use super::decision::{Reason, ReasonCode, Request};
use super::invalid;
use crate::model::FileName;
use crate::model::failure::Result;

/// An artifact has to be proven good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// Where to.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub environment: FileName,
    /// Its bundle was verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verified_bundle: bool,
    /// It was tested, and no test failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tests_passed: bool,
    /// It was scanned, and no more grave vulnerabilities were found than these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_high_vulnerabilities: Option<u64>,
}

/// What came of verifying an artifact's bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Verdict {
    /// It has none.
    #[default]
    None,
    /// It is whole, and who made it is not known.
    Unchecked,
    /// It is by whom the server trusts.
    Passed,
}

impl Verdict {
    /// The verdict of a word, as the registry writes it. What is not known proves nothing.
    pub fn of_word(word: &str) -> Self {
        match word {
            "passed" => Self::Passed,
            "unchecked" => Self::Unchecked,
            _ => Self::None,
        }
    }
}

impl Evidence {
    pub(super) fn check(&self) -> Result<()> {
        if !self.verified_bundle && !self.tests_passed && self.max_high_vulnerabilities.is_none() {
            return Err(invalid("the policy asks for no evidence"));
        }
        Ok(())
    }

    pub(super) fn judge(&self, request: &Request) -> Vec<Reason> {
        if request.environment != self.environment {
            return Vec::new();
        }
        let found = [self.judge_bundle(request), self.judge_tests(request), self.judge_scans(request)];
        found.into_iter().flatten().collect()
    }

    fn judge_bundle(&self, request: &Request) -> Option<Reason> {
        let what = match request.artifact.verdict {
            Verdict::Passed => return None,
            _ if !self.verified_bundle => return None,
            Verdict::Unchecked => "nobody knows who made the artifact's bundle",
            Verdict::None => "the artifact has no bundle that could be verified",
        };
        let needs = "an artifact is released whose bundle is signed by a key that the server trusts";
        Some(ReasonCode::Unverified.reason(what, needs, None))
    }

    fn judge_tests(&self, request: &Request) -> Option<Reason> {
        if !self.tests_passed {
            return None;
        }
        let (code, what) = match request.artifact.tests {
            Some(tests) if tests.failed > 0 => (ReasonCode::TestsFailed, format!("{} tests failed", tests.failed)),
            Some(tests) if tests.passed > 0 => return None,
            Some(_) => (ReasonCode::TestsMissing, "no test was run on the artifact".to_owned()),
            None => (ReasonCode::TestsMissing, "the artifact was not tested".to_owned()),
        };
        Some(code.reason(what, "an artifact is released whose tests passed", None))
    }

    fn judge_scans(&self, request: &Request) -> Option<Reason> {
        let most = self.max_high_vulnerabilities?;
        let (code, what) = match request.artifact.vulnerabilities {
            Some(found) if found.high <= most => return None,
            Some(found) => (
                ReasonCode::Vulnerable,
                format!("the artifact has {} high vulnerabilities, and {most} is the most", found.high),
            ),
            None => (ReasonCode::ScanMissing, "the artifact was not scanned for vulnerabilities".to_owned()),
        };
        let needs = format!("an artifact is released that was scanned and has at most {most} high vulnerabilities");
        Some(code.reason(what, needs, None))
    }
}
