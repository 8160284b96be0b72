//! Servers that send something else, too much, too slowly, or somewhere else.

use std::io::Write;
use std::net::TcpStream;

use super::server::{Request, drip, ok, unbounded, wait};
use super::*;

/// Limits that a test can wait for.
fn hurried(folder: &Path) -> Cache {
    Cache {
        limits: Limits {
            silence: Duration::from_millis(100),
            patience: Duration::from_millis(300),
            ..Limits::default()
        },
        ..cache(folder)
    }
}

fn error(cache: &Cache, server: &Server, name: &str) -> CacheError {
    let name = format!("{}/{name}", server.address);
    cache.fetch(&name, &mut |_| {}).unwrap_err()
}

/// No file is left but empty ones.
fn nothing_in(folder: &Path) -> bool {
    let files = fs::read_dir(folder).unwrap().flatten();
    files
        .map(|file| file.metadata().unwrap().len())
        .sum::<u64>()
        == 0
}

#[test]
fn what_is_no_checkpoint_is_not_kept() {
    let folder = folder("no-checkpoint");
    let whole = checkpoint(1, 5000);
    let mut changed = whole.clone();
    changed[0] = 99;
    for (body, what) in [
        (
            &b"<!DOCTYPE html><html>Please log in</html>"[..],
            "a web page",
        ),
        (
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
            "a web page",
        ),
        (b"", "the file is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "Git LFS pointer",
        ),
        (b"{\"error\": \"rate \x1b[31mlimit\"}", "the bytes 7b 22"),
        (b"could not open\nthe file\n.", "no named tensors"),
        (b"PK\x03\x04 and no end", "no central directory"),
        (b"\x80\x02}q\x00(X\x01\x00\x00\x00a", "damaged pickle"),
        (&[0; 5000], "5000 zeros"),
        (&whole[..4000], "beyond the end of the file"),
        (&changed, "in the header"),
    ] {
        let server = Server::saying(vec![ok("", body)]);
        let error = error(&cache(&folder), &server, "net.pth");
        assert!(
            matches!(error, CacheError::NotACheckpoint { .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{}/net.pth: ", server.address)),
            "{text}"
        );
        assert!(
            text.contains(what) && text.contains("nothing was kept"),
            "{text}"
        );
        assert!(!text.contains('\x1b'), "{text:?}");
        assert_eq!(server.requests().len(), 1, "{text}");
        assert!(nothing_in(&folder), "{text}");
        // The name says what it should be, and the message what it is.
        let server = Server::saying(vec![ok("", body)]);
        let text = self::error(&cache(&folder), &server, "net-0123456f.pth").to_string();
        assert!(
            text.contains("its name says") && text.contains(what),
            "{text}"
        );
        assert!(nothing_in(&folder), "{text}");
    }
    // With the right digest it is what its author meant.
    let page = b"<html></html>";
    let server = Server::saying(vec![ok("", page)]);
    let name = format!("{}/net-{}.pth", server.address, digest_of(page));
    assert!(cache(&folder).fetch(&name, &mut |_| {}).is_ok());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_body_of_unknown_length_is_told_whole_by_its_content() {
    let folder = folder("unknown-length");
    let whole = checkpoint(1, 5000);
    let fetch = |server: &Server| {
        let name = format!("{}/net.pth", server.address);
        let fetched = cache(&folder).fetch(&name, &mut |_| {})?;
        Ok::<_, CacheError>(fs::read(fetched.path).unwrap())
    };
    let cut = unbounded("", &whole[..4000]);
    let server = Server::saying(vec![cut.clone(), unbounded("", &whole)]);
    assert_eq!(fetch(&server).unwrap(), whole);
    assert_eq!(server.requests().len(), 2);
    fs::remove_dir_all(&folder).unwrap();
    let server = Server::saying(vec![cut]);
    let error = fetch(&server).unwrap_err();
    assert!(
        matches!(error, CacheError::NotACheckpoint { .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 2);
    assert!(nothing_in(&folder));

    // In chunks, the end is marked.
    let chunked = |end: &[u8]| {
        let mut body = format!("{:x}\r\n", whole.len()).into_bytes();
        body.extend(whole.iter().chain(b"\r\n").chain(end));
        unbounded("Transfer-Encoding: chunked\r\n", &body)
    };
    let server = Server::saying(vec![chunked(b""), chunked(b"0\r\n\r\n")]);
    assert_eq!(fetch(&server).unwrap(), whole);
    assert_eq!(server.requests().len(), 2);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn too_much_is_refused() {
    let folder = folder("too-much");
    let claim = |status: &str, headers: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\nPK").into_bytes()
    };
    let range = "Content-Range: bytes 0-1/30000000000\r\nContent-Length: 2\r\n";
    for answer in [
        claim("200 OK", "Content-Length: 20000000001\r\n"),
        claim("206 Partial", range),
    ] {
        let server = Server::saying(vec![answer]);
        let error = error(&cache(&folder), &server, "net.pth");
        assert!(matches!(error, CacheError::Refused { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("the limit is 20000000000"), "{text}");
        assert!(text.contains("put it at"), "{text}");
        assert_eq!(server.requests().len(), 1);
        assert!(nothing_in(&folder));
    }
    // Without a word, for ever.
    let server = Server::answering(|_, stream| {
        stream.write_all(&unbounded("", b""))?;
        loop {
            stream.write_all(&[7; 10_000])?;
        }
    });
    let cache = Cache {
        limits: Limits {
            largest: 1_000_000,
            ..Limits::default()
        },
        ..cache(&folder)
    };
    for name in ["net.pth", "net-0123456f.pth"] {
        let error = error(&cache, &server, name);
        assert!(matches!(error, CacheError::Refused { .. }), "{error}");
        assert!(nothing_in(&folder));
    }
    assert_eq!(server.requests().len(), 2);
    fs::remove_dir_all(folder).unwrap();
}

type Answer = fn(&Request, &mut TcpStream) -> std::io::Result<()>;

#[test]
fn whoever_gives_too_little_for_too_long_is_left() {
    let folder = folder("too-slow");
    let ways: [(&str, Answer); 8] = [
        ("nothing", |_, stream| wait(stream)),
        ("no body", |_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")?;
            wait(stream)
        }),
        ("a slow body", |_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")?;
            drip(stream, b"x")
        }),
        ("a slow body without a length", |_, stream| {
            stream.write_all(&unbounded("", b""))?;
            drip(stream, b"x")
        }),
        ("slow headers", |_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            drip(stream, b"x")
        }),
        ("endless preludes", |_, stream| {
            drip(stream, b"HTTP/1.1 103 Early Hints\r\n\r\n")
        }),
        ("endless trailers", |_, stream| {
            stream.write_all(&unbounded("Transfer-Encoding: chunked\r\n", b"0\r\n"))?;
            drip(stream, b"a: b\r\n")
        }),
        ("a redirect to nothing", |request, stream| {
            match &*request.path {
            "/elsewhere" => wait(stream),
            _ => stream.write_all(
                b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ),
        }
        }),
    ];
    for (way, answer) in ways {
        let server = Server::answering(answer);
        let error = error(&hurried(&folder), &server, "net.pth");
        assert!(
            matches!(error, CacheError::Network { .. }),
            "{way}: {error}"
        );
        let text = error.to_string();
        let causes = [
            "fewer than 61440 bytes came within 300ms",
            "within 100ms",
            "nothing for 100ms",
        ];
        assert!(
            causes.iter().any(|cause| text.contains(cause)),
            "{way}: {text}"
        );
        assert!(server.requests().len() <= 8, "{way}");
        assert!(
            !cache(&folder)
                .path_of(&Remote::new(&server.address, None))
                .exists()
        );
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn headers_without_an_end_are_refused() {
    let folder = folder("endless-headers");
    let server = Server::answering(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
        loop {
            stream.write_all(&[b'x'; 1000])?;
        }
    });
    let error = error(&cache(&folder), &server, "net.pth");
    assert!(matches!(error, CacheError::Network { .. }), "{error}");
    assert!(server.requests().len() <= 4);
    fs::remove_dir_all(folder).unwrap();
}

fn redirect(location: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_redirected_file_keeps_its_first_name() {
    let folder = folder("redirected");
    let content = checkpoint(1, 5000);
    let whole = ok("", &content);
    let server = Server::answering(move |request, stream| match &*request.path {
        "/a/net.pth" => stream.write_all(&redirect("../b/other.pth?x=1#y")),
        "/b/other.pth?x=1" => stream.write_all(&redirect("//127.0.0.1:1/dead")),
        "/ok/net.pth" => stream.write_all(&redirect("/c/..%2fc")),
        _ => stream.write_all(&whole),
    });
    let name = format!("{}/ok/net.pth", server.address);
    let cache = cache(&folder);
    let fetched = cache.fetch(&name, &mut |_| {}).unwrap();
    assert_eq!(fetched.path, cache.path_of(&Remote::new(&name, None)));
    assert_eq!(fs::read(fetched.path).unwrap(), content);
    let second = &server.requests()[1];
    assert_eq!(second, "GET /c/..%2fc HTTP/1.1");
    // To an address where nobody is.
    let dead = error(&cache, &server, "a/net.pth");
    assert!(matches!(dead, CacheError::Network { .. }), "{dead}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn redirects_have_an_end_and_stay_on_the_web() {
    let folder = folder("redirects");
    for (location, what, requests) in [
        ("/net.pth", "more than 10 redirects", 11),
        ("", "more than 10 redirects", 11),
        ("file:///etc/passwd", "and not file:///etc/passwd", 1),
        ("ftp://x.org/net.pth", "and not ftp://x.org/net.pth", 1),
        ("data:text/plain,x", "and not data:text/plain,x", 1),
        ("gopher://\u{202e}", "and not gopher://", 1),
    ] {
        let server = Server::saying(vec![redirect(location)]);
        let text = error(&cache(&folder), &server, "net.pth").to_string();
        assert!(text.contains(what), "{text}");
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text:?}");
        assert_eq!(server.requests().len(), requests, "{text}");
    }
    let server = Server::saying(vec![redirect("http://")]);
    let text = error(&cache(&folder), &server, "net.pth").to_string();
    assert!(text.starts_with("cannot download"), "{text}");
    let server = Server::saying(vec![
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ]);
    let text = error(&cache(&folder), &server, "net.pth").to_string();
    assert!(text.starts_with("the server answered 302"), "{text}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn messages_move_no_cursor() {
    let folder = folder("messages");
    let long = format!("http://127.0.0.1:9/\x1b{}.pth", "x".repeat(100_000));
    for name in [
        "http://x\x1b[2J.org/a.pth",
        "http://127.0.0.1:9/\u{202e}\x07.pth",
        "torchvision://\x1b[2J",
        &long,
    ] {
        let error = cache(&folder).fetch(name, &mut |_| {}).unwrap_err();
        let text = error.to_string();
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text:?}");
        assert!(text.len() < 5000);
    }
    // Nothing, and nonsense, in place of an answer.
    for (answer, what) in [
        (&b""[..], "the connection ended before a complete answer"),
        (
            b"HTTP/1.1 200 O",
            "the connection ended before a complete answer",
        ),
        (
            b"HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\nContent-Length: 0\r\n\r\n",
            "the server answered 416",
        ),
    ] {
        let server = Server::saying(vec![answer.to_vec()]);
        let text = error(&cache(&folder), &server, "net.pth").to_string();
        assert!(text.contains(what), "{text}");
        assert_eq!(server.requests().len(), 4);
    }
    let server = Server::saying(vec![b"\x1b[2J\x1b]0;title\x07\r\n\r\n".to_vec()]);
    let text = error(&cache(&folder), &server, "net.pth").to_string();
    assert!(!text.contains('\x1b'), "{text:?}");
    assert_eq!(server.requests().len(), 4);
    fs::remove_dir_all(folder).unwrap();
}
