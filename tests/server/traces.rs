//! Traces, taken in by a collector of the test's own that reads the messages field by field.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use data_encoding::HEXLOWER;

use crate::place::{Kind, Place};

/// A field of a message.
#[derive(Debug)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => panic!("{number} is no message"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(bytes) => panic!("{bytes:?} is no number"),
        }
    }
}

/// The fields of a message by their numbers.
fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Field>> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        number
    }
    let mut fields: BTreeMap<u64, Vec<Field>> = BTreeMap::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Number(u64::from_le_bytes(number.try_into().unwrap()))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (message, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(message.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.entry(tag >> 3).or_default().push(field);
    }
    fields
}

/// The attributes of a span or of a resource, as texts.
fn attributes(fields: Option<&Vec<Field>>) -> BTreeMap<String, String> {
    let pair = |field: &Field| {
        let pair = self::fields(field.bytes());
        let value = self::fields(pair[&2][0].bytes());
        let text = value.get(&1).map_or_else(|| value[&3][0].number().to_string(), |text| text[0].text());
        (pair[&1][0].text(), text)
    };
    fields.into_iter().flatten().map(pair).collect()
}

/// A collector: gives the head and the body of everything that it is sent.
fn collector(status: &'static str) -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            if sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

#[test]
fn every_request_is_a_span_in_the_trace_of_its_caller() {
    let (address, sent) = collector("200 OK");
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    place.variable("OTEL_EXPORTER_OTLP_ENDPOINT", &address);
    let server = place.start();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", parent), ("x-request-id", "job-1")];
    server
        .ask_with("GET", "/api/v1/services/web/artifacts/one?x=canary", server.admin.as_deref(), &headers, "")
        .refuses(404, "artifact_unknown");
    let unwanted = [("traceparent", &*parent.replace("-01", "-00"))];
    server.ask_with("GET", "/api/v1/key", None, &unwanted, "").is(200);
    server.ask("GET", "/api/v1/whoami", None, "").is(401);
    // What has ended is sent before the server ends.
    server.stop();
    let mut spans = Vec::new();
    while spans.len() < 2 {
        let (head, body) = sent.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        assert!(
            head.starts_with("post /v1/traces http/1.1\r\n") && head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        assert!(!body.windows(6).any(|window| window == b"canary" || window == b"rel_AA"), "a secret is sent");
        for of_resource in &fields(&body)[&1] {
            let of_resource = fields(of_resource.bytes());
            assert_eq!(attributes(fields(of_resource[&1][0].bytes()).get(&1))["service.name"], "consign-server");
            for of_scope in &of_resource[&2] {
                spans.extend(fields(of_scope.bytes()).remove(&2).unwrap().iter().map(|span| fields(span.bytes())));
            }
        }
    }
    assert_eq!(spans.len(), 2, "the caller did not want one of them");
    let span = &spans[0];
    assert_eq!(HEXLOWER.encode(span[&1][0].bytes()), &parent[3..35]);
    assert_eq!(HEXLOWER.encode(span[&4][0].bytes()), &parent[36..52]);
    assert_eq!(span[&2][0].bytes().len(), 8);
    assert_eq!(span[&5][0].text(), "GET /api/v1/services/{service}/artifacts/{id}");
    assert!(span[&6][0].number() == 2 && span[&7][0].number() <= span[&8][0].number());
    let told = attributes(span.get(&9));
    assert_eq!((told["http.response.status_code"].as_str(), told["error.type"].as_str()), ("404", "artifact_unknown"));
    assert!(told["consign.subject"].starts_with("token:tok-") && told["consign.request_id"] == "job-1", "{told:?}");
    let other = &spans[1];
    assert!(!other.contains_key(&4) && other[&1][0].bytes().len() == 16);
}

#[test]
fn a_collector_that_is_away_or_refuses_harms_nobody() {
    // The last one takes connections and never says anything.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    for address in ["http://127.0.0.1:1".to_owned(), collector("500 No").0, silent] {
        let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
        place.option("--traces", &format!("{address}/v1/traces"));
        let server = place.start();
        for _ in 0..20 {
            server.ask("GET", "/api/v1/key", None, "").is(200);
        }
        let began = std::time::Instant::now();
        server.stop();
        assert!(began.elapsed() < std::time::Duration::from_secs(40), "{address} is waited for");
    }
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let output = place.command(&["serve", "--traces", "http://collector.example/v1/traces"]).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "plain http to another machine");
}
