//! What `cargo tree` prints, read back.
//!
//! A crate whose dependencies were shown before is shown again without them, so that every edge is
//! there at least once; nothing else is needed from the form, which is meant for people.

use semver::Version;

/// The format of a line behind its indentation. The mark tells where the indentation ends.
pub(super) const FORMAT: &str = "@{p}";

/// One crate in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// How many crates are above it.
    pub(super) depth: usize,
    /// Whether it is a build dependency of the crate above.
    pub(super) is_build: bool,
    /// The crate's name.
    pub(super) name: &'a str,
    /// The crate's version.
    pub(super) version: Version,
    /// What is behind the version: a source, `(proc-macro)`, `(*)`.
    pub(super) source: &'a str,
}

/// Reads the whole output, or names the line that cannot be read.
pub(super) fn parse(output: &str) -> Result<Vec<Line<'_>>, String> {
    let mut lines = Vec::new();
    // For each level, whether a heading has begun its build dependencies.
    let mut build = vec![false];
    for text in output.lines().filter(|line| !line.trim().is_empty()) {
        let wrong = || format!("`cargo tree` printed {text:?}");
        let indentation = text.len() - text.trim_start_matches([' ', '|', '`', '-']).len();
        let (depth, content) = (indentation / 4, &text[indentation..]);
        if content == "[build-dependencies]" {
            build.truncate(depth + 1);
            build.push(true);
            continue;
        }
        let shown = content.strip_prefix('@').ok_or_else(wrong)?;
        let (name, rest) = shown.split_once(" v").ok_or_else(wrong)?;
        let (version, source) = rest.split_once(' ').unwrap_or((rest, ""));
        let version = version.parse().map_err(|_| wrong())?;
        let previous = lines.last().map(|line: &Line<'_>| line.depth);
        if indentation % 4 != 0 || previous.map_or(depth > 0, |previous| depth > previous + 1) {
            return Err(wrong());
        }
        build.truncate(depth + 1);
        build.resize(depth + 1, false);
        lines.push(Line { depth, is_build: build[depth], name, version, source });
    }
    if lines.is_empty() { Err("`cargo tree` printed nothing".to_owned()) } else { Ok(lines) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_kind_are_read_from_the_indentation() {
        let output = "\
@tool v1.0.0 (/home/user/a [b] c)
|-- @a v0.1.0+x
|   |-- @b v1.0.0-rc.1 (proc-macro)
|   |   [build-dependencies]
|   |   `-- @autocfg v1.5.1
|   `-- @c v1.0.0
|   [build-dependencies]
|   `-- @cc v1.0.0 (*)
`-- @d v1.0.0
[build-dependencies]
`-- @e v2.0.0

@other v1.0.0 (/y)
`-- @a v0.1.0+x (*)
";
        let lines = parse(output).expect("a tree");
        let seen: Vec<_> = lines.iter().map(|line| (line.name, line.depth, line.is_build)).collect();
        let expected = [
            ("tool", 0, false),
            ("a", 1, false),
            ("b", 2, false),
            ("autocfg", 3, true),
            ("c", 2, false),
            ("cc", 2, true),
            ("d", 1, false),
            ("e", 1, true),
            ("other", 0, false),
            ("a", 1, false),
        ];
        assert_eq!(seen, expected);
        assert_eq!(lines[0].source, "(/home/user/a [b] c)");
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        for wrong in
            ["", "@a", "@a v1", "a v1.0.0", "@a v1.0.0 (/x\ny)", "@a v1.0.0\n    `-- @b v1.0.0", "|-- @a v1.0.0"]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
