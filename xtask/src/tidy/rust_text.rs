//! Rust source text with everything blanked out that is not code.
//!
//! [`code`] replaces comments, strings and characters by spaces of the same length, so that offsets
//! and lines stay what they were; [`product_code`] also blanks test modules. This is a scanner and
//! not a parser: it knows how literals end and nothing about what stands between them.

/// The source with comments, string literals and character literals blanked out.
pub(super) fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if let Some(end) = end_of_literal(bytes, at) {
            out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).expect("literals begin and end at ASCII characters")
}

/// [`code`] without the modules under `#[cfg(test)]`: a test may look at what the product may not.
pub(super) fn product_code(source: &str) -> String {
    let mut code = code(source).into_bytes();
    let mut from = 0;
    while let Some(found) = find(&code[from..], b"#[cfg(test)]") {
        let start = from + found;
        let end = end_of_item(&code, start);
        for byte in &mut code[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    String::from_utf8(code).expect("items begin and end at ASCII characters")
}

/// Whether a byte can be part of a name.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Every offset at which a word or path stands that is not part of a longer name.
pub(super) fn occurrences<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(offset, _)| offset).filter(move |offset| {
        let before = offset.checked_sub(1).map(|at| bytes[at]);
        let after = bytes.get(offset + word.len()).copied();
        let ends_in_name = word.bytes().last().is_some_and(is_name);
        let starts_with_name = word.bytes().next().is_some_and(is_name);
        !(starts_with_name && before.is_some_and(is_name) || ends_in_name && after.is_some_and(is_name))
    })
}

/// Where a literal or comment ends that begins here, if one does.
fn end_of_literal(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let in_name = at > 0 && is_name(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(at + end_of_block_comment(rest)),
        [b'"', ..] => Some(at + end_of_string(rest)),
        [b'r', b'"' | b'#', ..] if !in_name => end_of_raw_string(&rest[1..]).map(|end| at + 1 + end),
        [b'b', b'r', b'"' | b'#', ..] if !in_name => end_of_raw_string(&rest[2..]).map(|end| at + 2 + end),
        [b'\'', ..] => end_of_character(rest).map(|end| at + end),
        _ => None,
    }
}

fn end_of_block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn end_of_string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// After the `r`: hashes, a quote, anything, a quote and as many hashes. `r#name` is no string.
fn end_of_raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let closing = [b"\"".as_slice(), &rest[..hashes]].concat();
    let body = hashes + 1;
    Some(find(&rest[body..], &closing).map_or(rest.len(), |found| body + found + closing.len()))
}

/// A character literal; a lifetime is none, for no quote follows its first character.
fn end_of_character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let closing = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
        return Some(closing + 4);
    }
    let text = std::str::from_utf8(rest.get(1..rest.len().min(6))?).or_else(|error| {
        let whole = error.valid_up_to();
        std::str::from_utf8(&rest[1..=whole])
    });
    let character = text.ok()?.chars().next()?;
    let closing = 1 + character.len_utf8();
    (rest.get(closing) == Some(&b'\'')).then_some(closing + 1)
}

/// Where the item after an attribute ends: at its matching brace, or at a semicolon before any.
fn end_of_item(code: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[start..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return start + offset + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left_and_it_stays_in_its_place() {
        let source = "a // b\n/* c /* d */ e */ f \"g\\\"h\" r#\"i\"j\"# 'k' '\\'' &'l m br\"n\" 'ü' o";
        let blanked = code(source);
        assert_eq!(blanked.split_whitespace().collect::<Vec<_>>(), ["a", "f", "&'l", "m", "o"]);
        assert_eq!(blanked.len(), source.len());
        assert_eq!(blanked.find('f'), source.find("f \""));
    }

    #[test]
    fn a_raw_name_is_no_string() {
        assert_eq!(code("r#type = 1"), "r#type = 1");
    }

    #[test]
    fn test_modules_are_no_product_code() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c(\"}\") } }\nfn d() {}\n#[cfg(test)]\nuse e;\nf";
        assert_eq!(
            product_code(source).split_whitespace().collect::<Vec<_>>(),
            ["fn", "a()", "{}", "fn", "d()", "{}", "f"]
        );
    }

    #[test]
    fn a_word_inside_a_longer_one_is_not_found() {
        assert_eq!(occurrences("println! eprintln! my_println!", "println!").collect::<Vec<_>>(), [0]);
    }
}
