//! A file that is read while it comes, over as many connections as that takes.

use std::io::{self, Read};
use std::time::Instant;

use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};

use super::{Again, Client, Shown, Trouble, broken_off, jitter, refused_answer, too_large};
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// A file on its way. What goes wrong comes out of reading as an [`io::Error`] with the [`Failure`]
/// inside.
#[derive(Debug)]
pub struct Download<'a> {
    client: &'a Client,
    /// What was asked for; where redirects lead may be another place the next time.
    url: Url,
    place: Url,
    body: Response,
    at: u64,
    max_bytes: u64,
    announced: Option<u64>,
    /// What the file is called in this very form, where the other side says so.
    validator: Option<HeaderValue>,
    started: Instant,
    /// How often in a row it broke off without a byte in between.
    broken: u32,
}

impl<'a> Download<'a> {
    pub(super) fn begin(client: &'a Client, url: &Url, max_bytes: u64) -> Result<Self, Trouble> {
        let (place, body) = client.follow(url, &HeaderMap::new())?;
        if body.status() != StatusCode::OK {
            return Err(refused_answer(&place, body.status(), body.headers()));
        }
        let announced = body.content_length();
        if announced.is_some_and(|announced| announced > max_bytes) {
            return Err(too_large(&place, max_bytes));
        }
        let tag = body.headers().get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        Ok(Self {
            client,
            url: url.clone(),
            validator: tag.cloned(),
            place,
            body,
            at: 0,
            max_bytes,
            announced,
            started: Instant::now(),
            broken: 0,
        })
    }

    fn piece(&mut self, into: &mut [u8]) -> Result<usize, Trouble> {
        let broken = match self.body.read(into) {
            Ok(0) if self.announced.is_none_or(|announced| self.at >= announced) => return Ok(0),
            Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
            Ok(read) => {
                self.at += read as u64;
                self.broken = 0;
                if self.at > self.max_bytes {
                    return Err(too_large(&self.place, self.max_bytes));
                }
                self.client.check_speed(&self.place, self.started.elapsed(), self.at)?;
                return Ok(read);
            }
            Err(error) => error,
        };
        let trouble = broken_off(&self.place, self.announced, self.at, broken);
        self.resume(trouble)?;
        self.piece(into)
    }

    /// Goes on where it broke off, or gives up.
    fn resume(&mut self, mut trouble: Trouble) -> Result<(), Trouble> {
        loop {
            self.broken += 1;
            let options = &self.client.options;
            if self.broken >= options.tries || matches!(trouble.again, Again::Never) {
                return Err(trouble);
            }
            let pause = (options.first_pause * (1 << (self.broken - 1).min(8))).min(options.longest_pause);
            let wait = match trouble.again {
                Again::After(asked) if asked > options.longest_pause => return Err(trouble),
                Again::After(asked) => asked.max(pause),
                Again::Soon | Again::Never => pause,
            };
            std::thread::sleep(wait + jitter(pause));
            match self.reconnect() {
                Ok(()) => return Ok(()),
                Err(next) => trouble = next,
            }
        }
    }

    fn reconnect(&mut self) -> Result<(), Trouble> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::try_from(format!("bytes={}-", self.at)).expect("digits are text"));
        if let Some(validator) = &self.validator {
            headers.insert(header::IF_RANGE, validator.clone());
        }
        let (place, mut body) = self.client.follow(&self.url, &headers)?;
        match body.status() {
            StatusCode::PARTIAL_CONTENT if self.continues(body.headers()) => {}
            StatusCode::PARTIAL_CONTENT => return Err(changed(&place)),
            // All of it once more: what was read already is read again, and the digest sees to the rest.
            StatusCode::OK => {
                if body.content_length().is_some_and(|length| Some(length) != self.announced) {
                    return Err(changed(&place));
                }
                let skipped = io::copy(&mut (&mut body).take(self.at), &mut io::sink());
                match skipped {
                    Ok(skipped) if skipped == self.at => {}
                    Ok(_) => return Err(changed(&place)),
                    Err(error) => return Err(broken_off(&place, self.announced, self.at, error)),
                }
            }
            status => return Err(refused_answer(&place, status, body.headers())),
        }
        (self.place, self.body) = (place, body);
        Ok(())
    }

    /// Whether an answer is the rest of the same file.
    fn continues(&self, headers: &HeaderMap) -> bool {
        let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let Some((part, total)) = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('/')) else {
            return false;
        };
        let begins = part.split_once('-').and_then(|(start, _)| start.parse().ok()) == Some(self.at);
        begins && (total == "*" || total.parse().ok() == self.announced || self.announced.is_none())
    }
}

fn changed(place: &Url) -> Trouble {
    let shown = Shown(place).to_string();
    let failure = Failure::new(Code::RemoteUnavailable, format!("`{shown}` was changed while it was fetched"));
    Trouble::last(failure.subject(shown).hint("run it again; if that does not help, ask the publisher"))
}

impl Read for Download<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        self.piece(into).map_err(|trouble| io::Error::other(trouble.failure))
    }
}
