//! A small HTTP server on loopback, which can misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A server that gives the same answer at every address.
pub struct Server {
    pub address: String,
    /// First line and `Range` of each request.
    requests: Arc<Mutex<Vec<String>>>,
}

/// How the server behaves.
#[derive(Clone, Default)]
pub struct Manner {
    pub content: Vec<u8>,
    /// Answer with this status and nothing else.
    pub status: Option<u16>,
    /// Break the connection after so many bytes, for the first `breaks` requests.
    pub break_after: usize,
    pub breaks: usize,
    /// Ignore `Range`.
    pub no_ranges: bool,
    pub etag: Option<&'static str>,
}

/// One request.
pub struct Request {
    /// How many came before.
    pub n: usize,
    pub path: String,
    /// First byte asked for, 0 without `Range`.
    pub start: usize,
    pub if_range: Option<String>,
}

impl Server {
    pub fn start(manner: Manner) -> Self {
        Self::answering(move |request, stream| answer(request, stream, &manner))
    }

    /// A server that does what it wants with each request.
    pub fn answering<F>(answer: F) -> Self
    where
        F: Fn(&Request, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let answer = Arc::new(answer);
        // The threads end with the test program.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    // A client that goes away early is none of the server's business.
                    let _ = read(&stream, &seen).and_then(|request| answer(&request, &mut stream));
                });
            }
        });
        Self { address, requests }
    }

    /// A server whose answers are these bytes, the last of them again and again.
    pub fn saying(answers: Vec<Vec<u8>>) -> Self {
        Self::answering(move |request, stream| {
            let answer = answers.get(request.n).or(answers.last());
            stream.write_all(answer.map_or(b"", |answer| answer))
        })
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A whole answer with status 200.
pub fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    unbounded(&format!("{headers}{length}"), body)
}

/// An answer with status 200 that ends with the connection.
pub fn unbounded(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\n{headers}Connection: close\r\n\r\n").into_bytes();
    answer.extend(body);
    answer
}

/// The rest of `body` from `start` on.
pub fn rest(headers: &str, body: &[u8], start: usize) -> Vec<u8> {
    let (total, rest) = (body.len(), &body[start..]);
    let head = format!(
        "HTTP/1.1 206 Partial\r\n{headers}Content-Range: bytes {start}-{}/{total}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        total - 1,
        rest.len()
    );
    [head.as_bytes(), rest].concat()
}

/// Says nothing until the client has had enough.
pub fn wait(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read_to_end(&mut Vec::new()).map(|_| ())
}

/// Says the same, slowly, until the client has had enough.
pub fn drip(stream: &mut TcpStream, what: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(what)?;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn read(stream: &TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut first = lines.next().unwrap_or(Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut start, mut if_range) = (0, None);
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(range) = lower.strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse().unwrap_or(0);
            first = format!("{first} from {start}");
        }
        if lower.starts_with("if-range: ") {
            if_range = Some(line["if-range: ".len()..].to_owned());
        }
    }
    let mut seen = seen.lock().unwrap();
    seen.push(first);
    Ok(Request {
        n: seen.len() - 1,
        path,
        start,
        if_range,
    })
}

fn answer(request: &Request, stream: &mut TcpStream, manner: &Manner) -> std::io::Result<()> {
    let total = manner.content.len();
    if let Some(status) = manner.status {
        return write!(
            stream,
            "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let mut start = request.start;
    let changed = request.if_range.is_some() && request.if_range.as_deref() != manner.etag;
    if manner.no_ranges || changed {
        start = 0;
    }
    let etag = manner.etag.map(|etag| format!("ETag: {etag}\r\n"));
    let etag = etag.unwrap_or_default();
    if start > 0 && start >= total {
        return write!(
            stream,
            "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let whole = match start {
        0 => ok(&etag, &manner.content),
        _ => rest(&etag, &manner.content, start),
    };
    let unsent = match request.n < manner.breaks {
        true => (total - start).saturating_sub(manner.break_after),
        false => 0,
    };
    stream.write_all(&whole[..whole.len() - unsent])
}
