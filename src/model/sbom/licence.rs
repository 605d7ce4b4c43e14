//! Licence expressions: what a manifest says, as a document may say it.
//!
//! [`declared`] gives a valid SPDX expression in its canonical form or `NOASSERTION`, never anything
//! else. It does not find out whether the manifest tells the truth.

use spdx::{Expression, LicenseItem, LicenseReq, ParseMode};

use crate::model::text;

/// What SPDX writes where nothing is known.
pub const NO_ASSERTION: &str = "NOASSERTION";

/// A longer expression than any real one is not parsed.
const MAX_BYTES: usize = 2000;

/// A licence as a document may give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The canonical SPDX expression, if the manifest gives one that can be understood.
    pub expression: Option<String>,
    /// What the manifest says instead, safe to show.
    pub original: Option<String>,
    /// Why it could not be understood, in one sentence.
    pub problem: Option<String>,
}

impl Declared {
    /// The expression, or `NOASSERTION`.
    pub fn as_spdx(&self) -> &str {
        self.expression.as_deref().unwrap_or(NO_ASSERTION)
    }
}

/// Reads the licence of a manifest.
///
/// `MIT/Apache-2.0`, lower case and the retired names of the GNU licences are understood. A
/// `LicenseRef-` names a text that is nowhere in our documents, so it counts as not understood.
pub fn declared(manifest: Option<&str>) -> Declared {
    let Some(given) = manifest.map(str::trim).filter(|given| !given.is_empty()) else {
        return Declared { expression: None, original: None, problem: None };
    };
    if let Some(expression) = canonical(given) {
        return Declared { expression: Some(expression), original: None, problem: None };
    }
    let original: String = text::shown(given).chars().take(MAX_BYTES).collect();
    let problem = format!("{original:?} is not an SPDX licence expression that validators accept");
    Declared { expression: None, original: Some(original), problem: Some(problem) }
}

/// The canonical form of an expression whose every term is on the SPDX licence list.
///
/// The official validator knows neither a plus sign behind a licence that is not GNU's nor the
/// retired names that have no plain successor, so those count as not understood too.
fn canonical(given: &str) -> Option<String> {
    if given.len() > MAX_BYTES {
        return None;
    }
    let corrected = Expression::canonicalize(given).ok()?.unwrap_or_else(|| given.to_owned());
    let parsed = Expression::parse_mode(&corrected, ParseMode::STRICT).ok()?;
    let is_listed = |term: &LicenseReq| {
        matches!(term.license, LicenseItem::Spdx { or_later: false, .. })
            && term.addition.as_ref().is_none_or(|addition| addition.id().is_some_and(|id| !id.is_deprecated()))
    };
    parsed.requirements().all(|term| is_listed(&term.req)).then_some(corrected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_that_manifests_write_licences_becomes_canonical() {
        for (given, expected) in [
            ("MIT", "MIT"),
            ("mit", "MIT"),
            ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
            ("MIT / Apache-2.0", "MIT OR Apache-2.0"),
            ("MIT or Apache-2.0", "MIT OR Apache-2.0"),
            ("  MIT   OR  Apache-2.0 ", "MIT OR Apache-2.0"),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0"),
            ("Apache-2.0 WITH LLVM-exception", "Apache-2.0 WITH LLVM-exception"),
            ("GPL-3.0", "GPL-3.0-only"),
            ("GPL-2.0+", "GPL-2.0-or-later"),
            ("LGPL-2.1+ OR MPL-2.0", "LGPL-2.1-or-later OR MPL-2.0"),
            ("GPL-2.0 with Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ] {
            assert_eq!(declared(Some(given)).expression.as_deref(), Some(expected), "{given}");
        }
    }

    #[test]
    fn junk_becomes_no_assertion_with_a_warning() {
        for junk in [
            "NONE AND",
            "NONE",
            "MPL-2.0+",
            "GPL-2.0-with-classpath-exception",
            "BSD-2-Clause-FreeBSD",
            "MIT OR",
            "MIT Apache-2.0",
            "(MIT",
            "MIT)",
            "+",
            "non-standard",
            "LicenseRef-mine",
            "MIT OR LicenseRef-mine",
            "DocumentRef-x:LicenseRef-y",
            "MIT WITH AdditionRef-x",
            "MIT\"; rm -rf",
            "MIT\nOR",
            "\u{202e}TIM",
            "LICENSE.txt",
        ] {
            let licence = declared(Some(junk));
            assert_eq!(licence.as_spdx(), NO_ASSERTION, "{junk:?}");
            let problem = licence.problem.expect("a warning");
            assert!(!problem.chars().any(char::is_control), "{problem}");
        }
        assert_eq!(declared(Some(&"(".repeat(100_000))).as_spdx(), NO_ASSERTION);
    }

    #[test]
    fn a_missing_licence_is_not_worth_a_warning() {
        for nothing in [None, Some(""), Some("  ")] {
            assert_eq!(declared(nothing).problem, None);
            assert_eq!(declared(nothing).as_spdx(), NO_ASSERTION);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_comes_out_is_invalid(given in "([ /()+A-Za-z0-9.-]|MIT|GPL-2.0| OR | AND | WITH ){0,12}") {
            let licence = declared(Some(&given));
            if let Some(expression) = &licence.expression {
                proptest::prop_assert!(Expression::parse_mode(expression, ParseMode::STRICT).is_ok(), "{}", expression);
                proptest::prop_assert_eq!(&declared(Some(expression)).expression, &licence.expression);
            }
        }
    }
}
