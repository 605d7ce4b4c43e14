//! PEM: blocks of base64 between two lines, split and decoded strictly.
//!
//! [`blocks`] finds every block of a text, [`Block::decode`] its bytes. Text before a block is a comment,
//! as openssl and its bags of attributes write it; lines may end with CR LF. What a block is for is
//! not decided here.

use data_encoding::BASE64;
use zeroize::Zeroizing;

/// The longest line of base64 that is written, in characters.
const LINE: usize = 64;

/// One block, not decoded yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// The words between `BEGIN ` and the hyphens.
    pub(super) label: &'a str,
    /// The lines between the two boundaries.
    body: &'a str,
}

/// Why a text has no blocks that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// A block begins and does not end, or ends with another label.
    CutOff,
    /// After the last block there is something else than blank lines.
    TextAfter,
}

/// The blocks of a text in their order; none, if no line begins one.
pub(super) fn blocks(text: &str) -> Result<Vec<Block<'_>>, Malformed> {
    let mut found: Vec<Block<'_>> = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let mut at = 0;
    let mut rest_is_blank = true;
    for line in text.split_inclusive('\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        let line = line.trim_end_matches(['\n', '\r']);
        match (open, boundary(line, "-----BEGIN "), boundary(line, "-----END ")) {
            (None, Some(label), _) => open = Some((label, end)),
            (None, None, None) => rest_is_blank &= line.trim().is_empty(),
            (Some((label, from)), None, Some(closing)) if label == closing => {
                found.push(Block { label, body: &text[from..start] });
                open = None;
                rest_is_blank = true;
            }
            (Some(_), None, None) => {}
            _ => return Err(Malformed::CutOff),
        }
    }
    match open {
        Some(_) => Err(Malformed::CutOff),
        None if !found.is_empty() && !rest_is_blank => Err(Malformed::TextAfter),
        None => Ok(found),
    }
}

fn boundary<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    let label = line.strip_prefix(start)?.strip_suffix("-----")?;
    label
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b' ' | b'-'))
        .then_some(label)
}

impl Block<'_> {
    /// Whether headers such as `Proc-Type:` stand before the base64.
    pub(super) fn has_headers(&self) -> bool {
        self.body.contains(':')
    }

    /// The bytes; nothing, if the base64 is not the one way to write them, lines aside.
    pub(super) fn decode(&self) -> Option<Zeroizing<Vec<u8>>> {
        // Made as large as it will be, so that no half of a key stays behind in a smaller buffer.
        let mut joined = Zeroizing::new(Vec::with_capacity(self.body.len()));
        for line in self.body.split('\n') {
            joined.extend_from_slice(line.strip_suffix('\r').unwrap_or(line).as_bytes());
        }
        // What is padded in the middle is two texts, which the decoder would join.
        let padded = joined.iter().position(|byte| *byte == b'=').unwrap_or(joined.len());
        if joined.is_empty() || joined.len() - padded > 2 {
            return None;
        }
        BASE64.decode(&joined).ok().map(Zeroizing::new)
    }
}

/// Writes one block.
pub(super) fn write(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(BASE64.encode(der));
    let lines = base64.len().div_ceil(LINE);
    let mut out = Zeroizing::new(String::with_capacity(base64.len() + lines + 2 * label.len() + 36));
    out.extend(["-----BEGIN ", label, "-----\n"]);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        out.extend([line, "\n"]);
        rest = after;
    }
    out.extend(["-----END ", label, "-----\n"]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_whatever_the_ends_of_its_lines() {
        for length in [1, 47, 48, 49, 96, 1000] {
            let der: Vec<u8> = (0..length).map(|n: usize| n.to_le_bytes()[0] % 251).collect();
            let text = write("PUBLIC KEY", &der);
            for text in [text.to_string(), text.replace('\n', "\r\n"), format!("a comment: x\n\n{}\n\n", *text)] {
                let found = blocks(&text).expect("whole");
                assert_eq!((found.len(), found[0].label), (1, "PUBLIC KEY"));
                assert_eq!(found[0].decode().as_deref(), Some(&der), "{text}");
            }
        }
    }

    #[test]
    fn what_is_not_whole_or_not_alone_is_told() {
        let text = write("PUBLIC KEY", b"0123456789");
        let end = text.find("-----END").expect("an end");
        assert_eq!(blocks(&text[..end]).err(), Some(Malformed::CutOff));
        assert_eq!(blocks(&text.replace("END PUBLIC", "END PRIVATE")).err(), Some(Malformed::CutOff));
        assert_eq!(blocks(&format!("{}x\n", *text)).err(), Some(Malformed::TextAfter));
        assert_eq!(blocks(&format!("{}{}", *text, *text)).map(|found| found.len()), Ok(2));
        assert_eq!(blocks("nothing here").map(|found| found.len()), Ok(0));
    }

    #[test]
    fn base64_is_read_in_one_spelling_only() {
        let decode = |body: &str| {
            let text = format!("-----BEGIN X-----\n{body}\n-----END X-----\n");
            blocks(&text).expect("whole")[0].decode().is_some()
        };
        assert!(decode("QQ=="));
        for wrong in ["QR==", "QQ", "QQ= =", " QQ==", "QQ==QQ==", "Q_Q=", "", "=QQ="] {
            assert!(!decode(wrong), "{wrong:?}");
        }
    }
}
