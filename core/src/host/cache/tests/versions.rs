//! Two halves are put together only where something proves that they are of one version.

use std::io::Write;

use super::server::{ok, rest};
use super::*;

/// A server that sends the first half of an old version and breaks, and then what `second` makes of the new one.
fn changing(
    headers: &'static str,
    second: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static,
) -> Server {
    let old = ok(headers, &checkpoint(1, 50_000));
    Server::answering(move |request, stream| match request.n {
        0 => stream.write_all(&old[..old.len() - 20_000]),
        _ => stream.write_all(&second(request.start)),
    })
}

fn fetched(server: &Server, name: &str, folder: &Path) -> Vec<u8> {
    let name = format!("{}/{name}", server.address);
    let fetched = cache(folder).fetch(&name, &mut |_| {}).unwrap();
    fs::read(fetched.path).unwrap()
}

const TAG: &str = "ETag: \"1\"\r\n";
const DATE: &str = "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n";

#[test]
fn without_a_proof_a_broken_transfer_starts_again() {
    let folder = folder("no-proof");
    let date_of_now =
        "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n";
    for headers in ["", "ETag: W/\"1\"\r\n", "ETag: 1\r\n", date_of_now] {
        let new = checkpoint(2, 50_000);
        let sent = new.clone();
        let server = changing(headers, move |start| match start {
            0 => ok(headers, &sent),
            start => rest(headers, &sent, start),
        });
        assert!(fetched(&server, "net.pth", &folder) == new, "{headers}");
        let all = ["GET /net.pth HTTP/1.1", "GET /net.pth HTTP/1.1"];
        assert_eq!(server.requests(), all, "{headers}");
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_strong_validator_is_a_proof() {
    let folder = folder("proof");
    for headers in [TAG, DATE, "ETag: W/\"1\"\r\nLast-Modified: yesterday\r\n"] {
        let old = checkpoint(1, 50_000);
        let sent = old.clone();
        let server = changing(headers, move |start| rest(headers, &sent, start));
        assert!(fetched(&server, "net.pth", &folder) == old, "{headers}");
        let resumed = format!("GET /net.pth HTTP/1.1 from {}", old.len() - 20_000);
        assert_eq!(server.requests()[1..], [resumed], "{headers}");
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_server_that_ignores_if_range_is_found_out() {
    let folder = folder("if-range");
    let other_date = "Last-Modified: Tue, 02 Jan 2024 00:00:00 GMT\r\n";
    for (first, second, len) in [
        (TAG, "ETag: \"2\"\r\n", 50_000),
        (TAG, "ETag: W/\"1\"\r\n", 50_000),
        (TAG, TAG, 60_000),
        (TAG, "", 50_000),
        (TAG, DATE, 50_000),
        (DATE, other_date, 50_000),
        (DATE, "", 50_000),
    ] {
        let new = checkpoint(2, len);
        let sent = new.clone();
        let server = changing(first, move |start| match start {
            0 => ok(second, &sent),
            start => rest(second, &sent, start),
        });
        let what = format!("{first} then {second} of {len}");
        assert!(fetched(&server, "net.pth", &folder) == new, "{what}");
        assert_eq!(server.requests().len(), 3, "{what}");
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_digest_is_a_proof_but_a_contradiction_is_not_waited_for() {
    let folder = folder("contradiction");
    let new = checkpoint(2, 50_000);
    let name = format!("net-{}.pth", digest_of(&new));
    for (first, second, len, requests) in [
        // The two halves are joined, the digest is wrong, and all is sent once more.
        ("", "", 50_000, 3),
        // The server's word is enough.
        (TAG, "ETag: \"2\"\r\n", 50_000, 3),
    ] {
        let sent = checkpoint(2, len);
        let server = changing(first, move |start| match start {
            0 => ok(second, &sent),
            start => rest(second, &sent, start),
        });
        assert!(fetched(&server, &name, &folder) == new);
        assert_eq!(server.requests().len(), requests, "{first}");
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_note_of_another_address_is_none() {
    let folder = folder("foreign-note");
    let content = checkpoint(1, 5000);
    let server = Server::start(Manner {
        content: content.clone(),
        etag: Some("\"1\""),
        ..Manner::default()
    });
    let name = format!("{}/net.pth", server.address);
    let path = cache(&folder).path_of(&Remote::new(&name, None));
    let (part, tag) = (
        format!("{}.part", path.display()),
        format!("{}.part.tag", path.display()),
    );
    for note in [
        format!("\"1\"\n5080\n{name}"),
        format!("\"1\"\n5080\n{name}2\n"),
        "\"1\"".to_owned(),
        "\n\n\n".to_owned(),
        String::new(),
    ] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&part, [7; 100]).unwrap();
        fs::write(&tag, &note).unwrap();
        assert!(fetched(&server, "net.pth", &folder) == content, "{note}");
        assert!(!Path::new(&part).exists() && !Path::new(&tag).exists());
        fs::remove_dir_all(&folder).unwrap();
    }
    let from_start = |request: &String| !request.contains("from");
    assert!(server.requests().iter().all(from_start));
}

#[test]
fn a_part_that_grows_past_the_announced_length_is_thrown_away() {
    let folder = folder("longer");
    let new = checkpoint(1, 50_000);
    let sent = new.clone();
    let server = changing(TAG, move |start| match start {
        0 => ok(TAG, &sent),
        start => {
            let mut rest = format!(
                "HTTP/1.1 206 Partial\r\n{TAG}Content-Range: bytes {start}-{}/{}\r\nContent-Length: 100000\r\n\r\n",
                sent.len() - 1,
                sent.len()
            )
            .into_bytes();
            rest.extend([7; 100_000]);
            rest
        }
    });
    assert!(fetched(&server, "net.pth", &folder) == new);
    assert_eq!(server.requests().len(), 3);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_always_breaks_is_not_asked_for_ever() {
    let folder = folder("always-breaks");
    for (name, headers, sent, requests) in [
        // Each time from the start.
        ("net.pth", "", 100_000, 5),
        // A few bytes each time.
        ("net-deadbeef.pth", "", 10, 4),
        ("net.pth", TAG, 10, 4),
    ] {
        let content = checkpoint(1, 300_000);
        let server = Server::answering(move |request, stream| {
            let answer = match request.start {
                0 => ok(headers, &content),
                start => rest(headers, &content, start),
            };
            let head = answer.len() - (content.len() - request.start);
            stream.write_all(&answer[..head + sent])
        });
        let name = format!("{}/{name}", server.address);
        let error = cache(&folder).fetch(&name, &mut |_| {}).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the connection ended after"), "{text}");
        assert!(text.contains(" of 300080 bytes"), "{text}");
        assert_eq!(server.requests().len(), requests, "{name} {headers}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
