//! Which paths an archive may hold, and in which order.
//!
//! The same rules hold for writing and reading: a path that is harmless on one operating system
//! and means something on another is refused on all of them.

use std::collections::BTreeMap;

use crate::model::text;

use super::{MAX_DEPTH, MAX_ENTRIES, MAX_PATH_BYTES};

/// What has been put into an archive so far.
#[derive(Default)]
pub(super) struct Layout {
    /// Every path in lower case, with its real spelling; directories end with a slash.
    spellings: BTreeMap<String, String>,
    last: String,
}

impl Layout {
    /// Takes the next file, or says why it may not come here.
    ///
    /// Gives back the directories that have to stand before it, outermost first, each with its slash
    /// at the end; the stem itself is the empty text.
    pub(super) fn admit(&mut self, path: &str) -> Result<Vec<String>, String> {
        check_path(path).map_err(|problem| format!("the path `{}` {problem}", text::shown(path)))?;
        if !self.last.is_empty() && *self.last >= *path {
            return Err(format!("`{path}` does not come after `{}`: entries are sorted and named once", self.last));
        }
        let mut missing = Vec::new();
        if self.spellings.is_empty() {
            self.spellings.insert(String::new(), String::new());
            missing.push(String::new());
        }
        for (slash, _) in path.match_indices('/') {
            let directory = &path[..=slash];
            if self.claim(directory)? {
                missing.push(directory.to_owned());
            }
        }
        if !self.claim(path)? {
            return Err(format!("`{path}` is there twice"));
        }
        if self.spellings.len() > MAX_ENTRIES {
            return Err(format!("there are more than {MAX_ENTRIES} entries"));
        }
        path.clone_into(&mut self.last);
        Ok(missing)
    }

    /// Takes a path; false if that very path is there already.
    fn claim(&mut self, path: &str) -> Result<bool, String> {
        let folded = path.to_ascii_lowercase();
        // A file and a directory of one name clash as well, so the other form is looked for too.
        let other = folded.strip_suffix('/').map_or_else(|| format!("{folded}/"), str::to_owned);
        let clash = |there: &str| format!("`{path}` and `{there}` are one name on some file systems");
        if let Some(there) = self.spellings.get(&other).filter(|there| !there.is_empty()) {
            return Err(clash(there));
        }
        match self.spellings.get(&folded) {
            Some(there) if there == path => Ok(false),
            Some(there) => Err(clash(there)),
            None => {
                self.spellings.insert(folded, path.to_owned());
                Ok(true)
            }
        }
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > MAX_PATH_BYTES {
        return Err("is empty or longer than 200 bytes");
    }
    if path.split('/').count() > MAX_DEPTH {
        return Err("is nested too deeply");
    }
    path.split('/').try_for_each(check_component)
}

fn check_component(name: &str) -> Result<(), &'static str> {
    if matches!(name, "" | "." | "..") {
        return Err("is not a clean relative path");
    }
    if !name.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\\:*?\"<>|".contains(&byte)) {
        return Err("holds a character that some file systems or terminals read in their own way");
    }
    if name.starts_with(['-', ' ']) || name.ends_with(['.', ' ']) {
        return Err("has a part that starts with `-` or a space, or ends with `.` or a space");
    }
    if is_reserved_on_windows(name) {
        return Err("has a part that is the name of a device on Windows");
    }
    Ok(())
}

/// <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>: whatever follows the first dot.
fn is_reserved_on_windows(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit())
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$") || numbered("com") || numbered("lpt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_they_hold() {
        let mut layout = Layout::default();
        assert_eq!(layout.admit("README.md"), Ok(vec![String::new()]));
        assert_eq!(layout.admit("a/b/c"), Ok(vec!["a/".to_owned(), "a/b/".to_owned()]));
        assert_eq!(layout.admit("a/b/d"), Ok(vec![]));
        assert!(layout.admit("a/b/d").is_err());
        assert!(layout.admit("a/a").is_err());
    }

    #[test]
    fn one_name_in_two_spellings_is_refused() {
        for (first, second) in [("Bin/a", "bin/b"), ("A", "a"), ("a", "a/b"), ("A", "a/b"), ("README", "readme")] {
            let mut layout = Layout::default();
            layout.admit(first).unwrap();
            assert!(layout.admit(second).is_err(), "{first} {second}");
        }
    }

    #[test]
    fn what_is_no_clean_name_everywhere_is_refused() {
        let long = "a".repeat(201);
        let deep = "a/".repeat(16) + "a";
        for wrong in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "./a",
            "a/.",
            "C:\\x",
            "C:x",
            "a\\b",
            "a:b",
            "a\nb",
            "a\u{1b}b",
            "ä",
            "\u{202e}a",
            "-a",
            "a/-b",
            " a",
            "a ",
            "a.",
            "nul",
            "NUL.txt",
            "aux .c",
            "Com1",
            "lpt9.x",
            "a*",
            "a?",
            "a|b",
            "a\"",
            "<a",
            &long,
            &deep,
        ] {
            assert!(Layout::default().admit(wrong).is_err(), "{wrong:?}");
        }
        for right in ["bin/tool", "share/man/man1/x.1", "a b", "com", "com10", "console", ".config/x", "a~1+b@c"] {
            assert!(Layout::default().admit(right).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut layout = Layout::default();
        let admitted = (0..MAX_ENTRIES).take_while(|number| layout.admit(&format!("{number:05}")).is_ok()).count();
        assert_eq!(admitted, MAX_ENTRIES - 1, "the stem is an entry too");
    }
}
