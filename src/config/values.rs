//! Values that are written as text: times, switches, patterns, commands.

use std::collections::BTreeMap;
use std::time::Duration;

use super::nearest;
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};

/// Reads `10s`, `500ms`, `2m`.
pub(super) fn duration(given: &str) -> Result<Duration> {
    let digits = given.len() - given.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let (number, unit) = given.split_at(digits);
    let duration = number.parse().ok().and_then(|number: u64| match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    });
    duration.filter(|duration| !duration.is_zero()).ok_or_else(|| {
        invalid(format!("{:?} is not a time", text::shown(given))).hint("a time is a number with `ms`, `s` or `m`")
    })
}

/// Reads `1`, `true`, `yes` and their opposites.
pub(super) fn switch(given: &str) -> Result<bool> {
    match given.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(invalid(format!("{:?} is neither yes nor no", text::shown(given))).hint("write `1` or `0`")),
    }
}

/// Checks the pattern of archive names: known placeholders, and no two platforms under one name.
pub(super) fn pattern(given: &str) -> Result<()> {
    const KNOWN: [&str; 4] = ["name", "version", "platform", "target"];
    let shown = text::shown(given);
    let mut rest = given;
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once('{') {
        let (placeholder, after) =
            after.split_once('}').ok_or_else(|| invalid(format!("a brace is open in the name pattern {shown:?}")))?;
        if !KNOWN.contains(&placeholder) {
            let nearest = nearest(placeholder, KNOWN).unwrap_or("name");
            return Err(invalid(format!("unknown placeholder `{{{}}}` in the name pattern", text::shown(placeholder)))
                .hint(format!("did you mean `{{{nearest}}}`?")));
        }
        found.push(placeholder);
        rest = after;
    }
    if found.contains(&"platform") || found.contains(&"target") {
        Ok(())
    } else {
        Err(invalid(format!("the name pattern {shown:?} gives every platform the same name"))
            .hint("add `{platform}` or `{target}`"))
    }
}

/// Checks that a command has a program.
pub(super) fn command(words: &[String]) -> Result<()> {
    if words.iter().any(|word| word.contains('\0')) {
        return Err(invalid("a word of a command cannot hold the character U+0000"));
    }
    match words.first() {
        Some(program) if !program.is_empty() => Ok(()),
        _ => Err(invalid("a command needs at least the program").hint("write it as `[\"program\", \"argument\"]`")),
    }
}

/// Checks the names and values of environment variables.
pub(super) fn variables(given: &BTreeMap<String, String>) -> Result<()> {
    let wrong =
        given.iter().find(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'));
    match wrong {
        None => Ok(()),
        Some((name, _)) => Err(invalid(format!("{:?} cannot be an environment variable", text::shown(name)))
            .hint("a name is not empty and has no `=`; neither name nor value has the character U+0000")),
    }
}

/// Checks a compression level.
pub(super) fn level(given: u8) -> Result<()> {
    if (1..=22).contains(&given) {
        return Ok(());
    }
    Err(invalid(format!("{given} is not a compression level")).hint("levels go from 1 to 12, for zstd to 22"))
}

/// The failure of a value.
pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::ConfigInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("10s").expect("good"), Duration::from_secs(10));
        assert_eq!(duration("500ms").expect("good"), Duration::from_millis(500));
        assert_eq!(duration("2m").expect("good"), Duration::from_secs(120));
        for wrong in ["", "10", "s", "-1s", "0s", "1 s", "99999999999999999999s", "307445734561825861m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pattern_keeps_platforms_apart() {
        assert!(pattern("{name}-{version}-{target}").is_ok());
        assert!(pattern("{name}-{version}").is_err());
        assert!(
            pattern("{name}-{platfrom}").is_err_and(|failure| failure.way_out() == Some("did you mean `{platform}`?"))
        );
        assert!(pattern("{platform").is_err());
    }
}
