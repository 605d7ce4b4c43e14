//! Values that are written as text: times, switches, patterns, commands.

use std::collections::BTreeMap;
use std::time::Duration;

use super::nearest;
use crate::model::failure::Result;
use crate::model::{Code, Failure, installer, text};

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

/// Reads `14d`, `12h`, `52w`.
pub(crate) fn lifetime(given: &str) -> Result<Duration> {
    const HOUR: u64 = 60 * 60;
    let digits = given.len() - given.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let (number, unit) = given.split_at(digits);
    let seconds = match unit {
        "h" => Some(HOUR),
        "d" => Some(24 * HOUR),
        "w" => Some(7 * 24 * HOUR),
        _ => None,
    };
    let seconds = number.parse::<u64>().ok().zip(seconds).and_then(|(number, unit)| number.checked_mul(unit));
    // A hundred years are more than any document needs.
    seconds.filter(|seconds| (1..=100 * 366 * 24 * HOUR).contains(seconds)).map(Duration::from_secs).ok_or_else(|| {
        invalid(format!("{:?} is not how long a document is good for", text::shown(given)))
            .hint("write a number with `h`, `d` or `w`, such as `14d`")
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

/// An address that an installer may be told.
pub(super) fn base_url(given: &str) -> Result<()> {
    if installer::is_base_url(given) {
        return Ok(());
    }
    let shown = text::without_credentials(given).into_owned();
    Err(invalid(format!("`{}` is no address that an installer can fetch from", text::shown(&shown)))
        .hint("write it as `https://example.com/releases/{tag}`, without credentials and without a slash at its end"))
}

/// A path that leads to nothing outside of the directory that it starts in.
pub(super) fn below(given: &str) -> Result<()> {
    let is_plain = !given.is_empty() && given.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_plain && !given.contains(['\\', ':']) {
        return Ok(());
    }
    Err(invalid(format!("`{}` is no path below the workspace's root", text::shown(given)))
        .hint("write it as `keys/root.json`"))
}

/// Checks the name of a branch or of an environment of the forge.
pub(super) fn forge_name(given: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let starts = given.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && given.len() <= 100 && given.chars().all(is_plain) && !given.contains("..") {
        return Ok(());
    }
    Err(invalid(format!("{:?} cannot be written into a workflow", text::shown(given)))
        .hint("use letters, digits, dots, hyphens, underscores and slashes"))
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
    fn a_lifetime_is_of_hours_days_or_weeks() {
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(lifetime("14d").expect("good"), day * 14);
        assert_eq!((lifetime("48h").expect("good"), lifetime("2w").expect("good")), (day * 2, day * 14));
        for wrong in ["", "d", "0d", "14", "14 d", "-1d", "1y", "99999999999999999999d", "9999999w"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
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
