//! As much of HTTP as a bench needs: requests on one connection, each answered by its length.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// A connection that stays open, as that of somebody with a token.
pub(in crate::bench) struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

/// An answer, and how long it took.
pub(in crate::bench) struct Answer {
    pub(in crate::bench) status: u16,
    pub(in crate::bench) body: Vec<u8>,
    pub(in crate::bench) took: Duration,
}

impl Connection {
    pub(in crate::bench) fn to(address: &str, token: &str) -> Result<Self> {
        let host = address.strip_prefix("http://").context("the server has another kind of address")?;
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        let head = format!("host: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        Ok(Self { stream: BufReader::new(stream), head })
    }

    pub(in crate::bench) fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Answer> {
        self.ask_with(method, path, body.as_bytes())
    }

    /// The same with a body that is no text.
    pub(in crate::bench) fn ask_with(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\n{}content-length: {}\r\n\r\n", self.head, body.len()).into_bytes();
        request.extend(body);
        let began = Instant::now();
        self.stream.get_mut().write_all(&request)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).context("that is no answer")?;
        let mut length = 0;
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the answer broke off");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body, took: began.elapsed() })
    }
}
