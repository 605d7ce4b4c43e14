//! One large file fetched in parts that come beside each other: where packets get lost, several connections
//! are much faster than one.
//!
//! A server that does not send parts is asked for the whole file instead. That the parts are those of one
//! file is for the reader's digest to see.

use std::io::{Seek as _, SeekFrom};
use std::ops::Range;
use std::time::Instant;

use camino::Utf8Path;
use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};

use super::{Client, Trouble, address, create_private, refused_answer};
use crate::model::failure::Result;
use crate::world::files;

/// Below this size a part is not worth a connection, in bytes.
const LEAST_BYTES: u64 = 4 << 20;
/// The most parts of a file: several files come at once, and each part takes memory.
const MOST_PARTS: u64 = 2;

/// Whether a part came, or everything at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Part,
    Whole,
}

impl Client {
    /// Writes a file that has this size to a path where nothing may be yet. Only this user can read it, and a
    /// failure leaves none.
    pub fn download_in_parts(&self, url: &str, size_bytes: u64, to: &Utf8Path) -> Result<()> {
        let parts = parts(size_bytes);
        if parts.len() > 1 {
            let place = address(url)?;
            let came = self.fetch_parts(&place, &parts, size_bytes, to).inspect_err(|_| {
                // What is left is the failure that is already being told.
                let _ = fs_err::remove_file(to);
            })?;
            if came == Came::Part {
                return Ok(());
            }
            fs_err::remove_file(to).map_err(|error| files::failed("remove", to, error))?;
        }
        self.download(url, size_bytes, to).map(drop)
    }

    fn fetch_parts(&self, url: &Url, parts: &[Range<u64>], size_bytes: u64, to: &Utf8Path) -> Result<Came> {
        create_private(to)
            .and_then(|file| file.set_len(size_bytes))
            .map_err(|error| files::failed("create", to, error))?;
        let fetched: Vec<Result<Came>> = std::thread::scope(|scope| {
            let fetching: Vec<_> = parts
                .iter()
                .map(|part| scope.spawn(|| self.persist(|| self.fetch_part(url, part, size_bytes, to))))
                .collect();
            fetching.into_iter().map(|part| part.join().expect("no part panics")).collect()
        });
        let came = fetched.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(if came.contains(&Came::Whole) { Came::Whole } else { Came::Part })
    }

    fn fetch_part(&self, url: &Url, part: &Range<u64>, size_bytes: u64, to: &Utf8Path) -> Result<Came, Trouble> {
        let range = format!("bytes={}-{}", part.start, part.end - 1);
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::try_from(range).expect("digits are text"))]);
        let began = Instant::now();
        let (place, response) = self.follow(url, &headers)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if is_part(&response, part, size_bytes) => {}
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Came::Whole),
            status => return Err(refused_answer(&place, status, response.headers())),
        }
        let here = |error| Trouble::last(files::failed("write", to, error));
        let mut file = fs_err::OpenOptions::new().write(true).open(to).map_err(here)?;
        file.seek(SeekFrom::Start(part.start)).map_err(here)?;
        let length = part.end - part.start;
        match self.copy(&place, response, length, began, &mut file)? {
            copied if copied == length => Ok(Came::Part),
            _ => Err(super::broken_off(&place, Some(length), 0, std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// Where a file is cut.
fn parts(size_bytes: u64) -> Vec<Range<u64>> {
    let count = (size_bytes / LEAST_BYTES).clamp(1, MOST_PARTS);
    let cut = |number: u64| size_bytes / count * number + (size_bytes % count) * number / count;
    (0..count).map(|number| cut(number)..cut(number + 1)).collect()
}

/// Whether an answer is this part of a file of this size.
fn is_part(response: &Response, part: &Range<u64>, size_bytes: u64) -> bool {
    let said = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    said == Some(format!("bytes {}-{}/{size_bytes}", part.start, part.end - 1).as_str())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::Digest;
    use crate::world::scratch;

    /// A server of one file, which notes what is asked of it.
    fn serve(file: Vec<u8>, sends_parts: bool) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/file", listener.local_addr().unwrap());
        let (asked, noted) = (Arc::new(Mutex::new(Vec::new())), file);
        let answered = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (file, asked) = (noted.clone(), Arc::clone(&asked));
                std::thread::spawn(move || {
                    let lines: Vec<_> = BufReader::new(&stream)
                        .lines()
                        .map_while(Result::ok)
                        .take_while(|line| !line.is_empty())
                        .collect();
                    let range = lines.iter().find_map(|line| line.strip_prefix("range: bytes="));
                    asked.lock().unwrap().push(range.unwrap_or("whole").to_owned());
                    let range = range.filter(|_| sends_parts).and_then(|range| range.split_once('-'));
                    let (head, body) = match range {
                        Some((from, to)) => {
                            let body = &file[from.parse().unwrap()..=to.parse().unwrap()];
                            (format!("206 Partial Content\r\nContent-Range: bytes {from}-{to}/{}", file.len()), body)
                        }
                        None => ("200 OK".to_owned(), &file[..]),
                    };
                    let length = body.len();
                    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
                });
            }
        });
        (address, answered)
    }

    #[test]
    fn a_large_file_comes_in_parts_where_the_server_sends_them() {
        let file: Vec<u8> = (0..2 * LEAST_BYTES + 77).map(|number| u8::try_from(number % 251).unwrap()).collect();
        for (sends_parts, questions) in [(true, 2), (false, 3)] {
            let (address, asked) = serve(file.clone(), sends_parts);
            let scratch = scratch::Directory::new("consign-parts-").unwrap();
            let to = scratch.path().join("file");
            Client::default().download_in_parts(&address, file.len() as u64, &to).unwrap();
            assert_eq!(Digest::of(&fs_err::read(&to).unwrap()), Digest::of(&file));
            let asked = asked.lock().unwrap();
            assert_eq!(asked.len(), questions, "{asked:?}");
            assert_eq!(asked.iter().any(|range| range == "whole"), !sends_parts);
        }
    }

    #[test]
    fn the_parts_of_a_file_are_the_whole_file() {
        for size in
            [0, 1, LEAST_BYTES, 2 * LEAST_BYTES - 1, 2 * LEAST_BYTES, 3 * LEAST_BYTES + 1, 100 * LEAST_BYTES + 3]
        {
            let parts = parts(size);
            assert_eq!(parts.first().map(|part| part.start), Some(0));
            assert_eq!(parts.last().map(|part| part.end), Some(size), "{size}");
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start && !pair[0].is_empty()), "{size}");
            assert!(parts.len() as u64 <= MOST_PARTS);
        }
        assert_eq!(parts(LEAST_BYTES).len(), 1);
        assert_eq!(parts(3 * LEAST_BYTES).len(), 2);
    }
}
