//! A Dockerfile on its way to the engine: labelled from its first step on.
//!
//! The engine's own build labels only mark the last of the images that a build makes. [`labelled`] puts
//! the labels behind every `FROM`, so that the images in between, of other stages and of builds that
//! were killed, can be told from everybody else's.

use std::collections::HashMap;

/// The Dockerfile with a `LABEL` behind every `FROM`.
pub(super) fn labelled(dockerfile: &str, labels: &HashMap<String, String>) -> String {
    let mut words: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    words.sort();
    let label = format!("LABEL {}\n", words.join(" "));
    let escape = escape(dockerfile);
    let mut out = String::new();
    let mut lines = dockerfile.lines();
    while let Some(line) = lines.next() {
        let mut instruction = line.to_owned();
        out.push_str(line);
        out.push('\n');
        if is_comment(line) {
            continue;
        }
        // Comments and empty lines may stand between the lines of one instruction.
        while instruction.trim_end().ends_with(escape) {
            instruction.truncate(instruction.trim_end().len() - escape.len_utf8());
            let Some(next) = lines.next() else { break };
            out.push_str(next);
            out.push('\n');
            if is_comment(next) {
                instruction.push(escape);
            } else {
                instruction.push_str(next);
            }
        }
        for end in heredocs(&instruction) {
            for next in lines.by_ref() {
                out.push_str(next);
                out.push('\n');
                if next.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
        let first = instruction.split_whitespace().next().unwrap_or_default();
        if first.eq_ignore_ascii_case("FROM") {
            out.push_str(&label);
        }
    }
    out
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// What continues a line: a backslash, unless the first comments say otherwise.
fn escape(dockerfile: &str) -> char {
    for line in dockerfile.lines() {
        let Some((name, value)) = line.trim().strip_prefix('#').and_then(|line| line.split_once('=')) else { break };
        if name.trim().eq_ignore_ascii_case("escape") {
            return value.trim().chars().next().unwrap_or('\\');
        }
    }
    '\\'
}

/// The words that end the documents which follow an instruction.
fn heredocs(instruction: &str) -> Vec<String> {
    let first = instruction.split_whitespace().next().unwrap_or_default();
    if !["RUN", "COPY", "ADD"].iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return Vec::new();
    }
    let words = instruction.split("<<").skip(1).map(|after| {
        let after = after.strip_prefix('-').unwrap_or(after).trim_start_matches(['"', '\'']);
        after.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect::<String>()
    });
    words.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_labelled_and_nothing_else() {
        let dockerfile = "ARG BASE\n# FROM comment\nFROM \\\n  # between\n\n  ${BASE} AS build\nRUN echo \\\n  FROM x\n from build\nCOPY <<EOF /x\nFROM y\nEOF\nONBUILD RUN x\nRUN a \\";
        let labels = HashMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        let expected = "ARG BASE\n# FROM comment\nFROM \\\n  # between\n\n  ${BASE} AS build\nLABEL a=\"1\" b=\"2\"\nRUN echo \\\n  FROM x\n from build\nLABEL a=\"1\" b=\"2\"\nCOPY <<EOF /x\nFROM y\nEOF\nONBUILD RUN x\nRUN a \\\n";
        assert_eq!(labelled(dockerfile, &labels), expected);
    }

    #[test]
    fn another_escape_character_is_heeded() {
        let labels = HashMap::from([("a".to_owned(), "1".to_owned())]);
        let dockerfile = "# escape=`\nFROM x `\n  AS y\nRUN c:\\\nFROM z\n";
        assert_eq!(
            labelled(dockerfile, &labels),
            "# escape=`\nFROM x `\n  AS y\nLABEL a=\"1\"\nRUN c:\\\nFROM z\nLABEL a=\"1\"\n"
        );
    }
}
