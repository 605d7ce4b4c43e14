//! `checksums.txt`: the list that `sha256sum -c` reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Digest, FileName};

/// The file's name in a bundle.
pub const FILE_NAME: &str = "checksums.txt";

/// File names with their digests, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksums(pub BTreeMap<FileName, Digest>);

/// Why a list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct NotChecksums {
    line: usize,
    problem: &'static str,
}

impl Checksums {
    /// Writes the list: digest, two spaces, name, line feed, sorted by name.
    pub fn render(&self) -> Vec<u8> {
        let mut out = String::new();
        for (name, digest) in &self.0 {
            // Writing into a String cannot fail.
            let _ = writeln!(out, "{digest}  {name}");
        }
        out.into_bytes()
    }

    /// Reads a list in exactly the form that [`Checksums::render`] writes.
    ///
    /// `sha256sum` itself is lenient (upper case, CRLF, paths, one space); none of that is accepted.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotChecksums> {
        let fail = |line, problem| NotChecksums { line, problem };
        let text = std::str::from_utf8(bytes).map_err(|_| fail(1, "not UTF-8"))?;
        let body = text.strip_suffix('\n').ok_or(fail(1, "empty, or without a final line feed"))?;
        let mut list = BTreeMap::new();
        let mut last: Option<FileName> = None;
        for (number, row) in body.split('\n').enumerate() {
            let line = number + 1;
            let (digest, name) = row.split_once("  ").ok_or(fail(line, "not `<digest>  <name>`"))?;
            let digest = digest.parse().map_err(|_| fail(line, "not a lower-case SHA-256 digest"))?;
            let name: FileName = name.parse().map_err(|_| fail(line, "not a plain file name"))?;
            if last.as_ref().is_some_and(|last| *last >= name) {
                return Err(fail(line, "not sorted by name, or named twice"));
            }
            list.insert(name.clone(), digest);
            last = Some(name);
        }
        Ok(Self(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checksums {
        let names = ["a.tar.gz", "b.json"];
        Checksums(names.iter().map(|name| (name.parse().expect("a name"), Digest::of(name.as_bytes()))).collect())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Checksums::parse(&sample().render()), Ok(sample()));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let good = String::from_utf8(sample().render()).expect("text");
        let wrong = [
            String::new(),
            good.trim_end().to_owned(),
            good.replace('\n', "\r\n"),
            good.to_uppercase(),
            good.replace("  ", " "),
            good.replace("  ", " *"),
            good.replace("a.tar.gz", "../a.tar.gz"),
            good.replace("a.tar.gz", "c.tar.gz"),
            good.replace("b.json", "a.tar.gz"),
            format!("\u{feff}{good}"),
            format!("{good}\n"),
            format!("# x\n{good}"),
        ];
        for text in wrong {
            assert!(Checksums::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
