//! Downloads against a small HTTP server on loopback.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

mod hostile;
mod server;
mod versions;

use server::{Manner, Server};

/// A new empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("smalti-cache-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn cache(folder: &Path) -> Cache {
    Cache {
        pause: Duration::ZERO,
        ..Cache::at(folder)
    }
}

/// Bytes that are no checkpoint: only a digest makes them right.
fn content() -> Vec<u8> {
    (0..300_000u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect()
}

/// A checkpoint in safetensors' format, of `count` bytes that depend on `version`, behind a header.
fn checkpoint(version: u8, count: usize) -> Vec<u8> {
    let json = format!(r#"{{"a":{{"dtype":"U8","shape":[{count}],"data_offsets":[0,{count}]}}}}"#);
    let mut bytes = 72u64.to_le_bytes().to_vec();
    // The format allows spaces at the end of the header.
    bytes.extend(format!("{json:72}").bytes());
    bytes.extend((0..count).map(|i| (i as u8).wrapping_mul(31).wrapping_add(version)));
    bytes
}

fn digest_of(content: &[u8]) -> String {
    hex(&Sha256::digest(content))[..8].to_owned()
}

#[test]
fn downloads_once_and_then_works_offline() {
    let content = content();
    let server = Server::start(Manner {
        content: content.clone(),
        ..Manner::default()
    });
    let folder = folder("once");
    let cache = cache(&folder);
    let name = format!("{}/models/net-{}.pth", server.address, digest_of(&content));
    let mut steps = Vec::new();
    let fetched = cache
        .fetch(&name, &mut |p| steps.push((p.done, p.total)))
        .unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), content);
    assert_eq!(steps.first(), Some(&(0, Some(300_000))));
    assert_eq!(steps.last(), Some(&(300_000, Some(300_000))));
    assert_eq!(
        cache.fetch(&name, &mut |_| panic!("offline")).unwrap(),
        fetched
    );
    assert_eq!(server.requests().len(), 1);
    assert!(
        !folder
            .join(format!("net-{}.pth.part", digest_of(&content)))
            .exists()
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_broken_connection_goes_on_where_it_stopped() {
    let content = content();
    let manner = Manner {
        content: content.clone(),
        break_after: 100_000,
        breaks: 2,
        ..Manner::default()
    };
    let server = Server::start(manner);
    let folder = folder("broken");
    let name = format!("{}/net-{}.pth", server.address, digest_of(&content));
    let fetched = cache(&folder).fetch(&name, &mut |_| {}).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), content);
    let requests = server.requests();
    assert!(requests[1].ends_with("from 100000"), "{requests:?}");
    assert!(requests[2].ends_with("from 200000"), "{requests:?}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_interrupted_process_leaves_a_part_that_the_next_one_completes() {
    let content = content();
    let server = Server::start(Manner {
        content: content.clone(),
        ..Manner::default()
    });
    let folder = folder("part");
    let cache = cache(&folder);
    let file = format!("net-{}.pth", digest_of(&content));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{file}.part")), &content[..123_456]).unwrap();
    let name = format!("{}/{file}", server.address);
    let fetched = cache
        .fetch(&name, &mut |p| assert!(p.done >= 123_456))
        .unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), content);
    assert_eq!(
        server.requests(),
        [format!("GET /{file} HTTP/1.1 from 123456")]
    );

    // A part that is whole already needs no byte more.
    fs::rename(&fetched.path, folder.join(format!("{file}.part"))).unwrap();
    assert_eq!(
        fs::read(cache.fetch(&name, &mut |_| {}).unwrap().path).unwrap(),
        content
    );

    // A part of something else is found out by the digest, and fetched anew.
    fs::remove_file(&fetched.path).unwrap();
    fs::write(folder.join(format!("{file}.part")), vec![7; 1000]).unwrap();
    assert_eq!(
        fs::read(cache.fetch(&name, &mut |_| {}).unwrap().path).unwrap(),
        content
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn without_a_digest_only_the_same_version_is_resumed() {
    let content = checkpoint(1, 300_000);
    let manner = Manner {
        content: content.clone(),
        etag: Some("\"new\""),
        ..Manner::default()
    };
    let server = Server::start(manner);
    let name = format!("{}/epoch_12.pth", server.address);
    for (tag, resumed) in [
        (None, false),
        (Some("\"old\""), false),
        (Some("\"new\""), true),
    ] {
        let folder = folder("version");
        let cache = cache(&folder);
        let path = cache.path_of(&Remote::new(&name, None));
        fs::create_dir_all(&folder).unwrap();
        let part = format!("{}.part", path.display());
        let old = if resumed {
            &content[..5000]
        } else {
            &[9; 5000][..]
        };
        fs::write(&part, old).unwrap();
        if let Some(tag) = tag {
            let note = format!("{tag}\n{}\n{name}\n", content.len());
            fs::write(format!("{part}.tag"), note).unwrap();
        }
        let mut first = None;
        let fetched = cache.fetch(&name, &mut |p| {
            first.get_or_insert(p.done);
        });
        assert_eq!(fs::read(fetched.unwrap().path).unwrap(), content, "{tag:?}");
        assert_eq!(first, Some(if resumed { 5000 } else { 0 }), "{tag:?}");
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let content = content();
    let manner = Manner {
        content: content.clone(),
        break_after: 1000,
        breaks: 1,
        no_ranges: true,
        ..Manner::default()
    };
    let server = Server::start(manner);
    let folder = folder("no-ranges");
    let name = format!("{}/net-{}.pth", server.address, digest_of(&content));
    let fetched = cache(&folder).fetch(&name, &mut |_| {}).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), content);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn errors_say_the_address_and_what_to_do() {
    let content = content();
    let folder = folder("errors");
    let cache = cache(&folder);
    let error = |name: &str| cache.fetch(name, &mut |_| {}).unwrap_err().to_string();

    let server = Server::start(Manner {
        status: Some(404),
        ..Manner::default()
    });
    let name = format!("{}/a-0123456f.pth", server.address);
    let put_at = folder.join("a-0123456f.pth");
    assert_eq!(
        error(&name),
        format!(
            "the server answered 404 (there is no such file on the server) for {name}\nhelp: or download it by other means and put it at {}",
            put_at.display()
        )
    );
    assert_eq!(server.requests().len(), 1, "a 404 is final");

    let server = Server::start(Manner {
        status: Some(503),
        ..Manner::default()
    });
    let message = error(&format!("{}/a-0123456f.pth", server.address));
    assert!(message.contains("the server answered 503"), "{message}");
    assert_eq!(server.requests().len(), 4, "a 503 is tried again");

    let server = Server::start(Manner {
        content: content.clone(),
        ..Manner::default()
    });
    let name = format!("{}/a-0123456f.pth", server.address);
    let message = error(&name);
    let found = digest_of(&content);
    assert!(
        message.starts_with(&format!(
            "{name} is not the file it should be: its name says SHA-256 0123456f..., its content has {found}..."
        )),
        "{message}"
    );
    assert!(!put_at.exists());

    // Nobody listens on the port of a listener that is gone.
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let message = error(&format!("http://{gone}/a-0123456f.pth"));
    assert!(message.starts_with(&format!("cannot download http://{gone}/a-0123456f.pth: ")));
    assert!(message.ends_with(&format!("put it at {}", put_at.display())));

    let message = error("no/such/file.pth");
    assert_eq!(
        message,
        format!("no file {}", Path::new("no/such/file.pth").display())
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_put_by_hand_is_checked_and_pytorchs_cache_is_used() {
    let content = content();
    let file = format!("net-{}.pth", digest_of(&content));
    let name = format!("http://127.0.0.1:9/{file}");
    let (folder, hub) = (folder("by-hand"), folder("hub"));
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(&hub).unwrap();
    let cache = Cache {
        torch_hub: Some(hub.clone()),
        ..cache(&folder)
    };

    fs::write(folder.join(&file), b"half of it").unwrap();
    let error = cache.fetch(&name, &mut |_| {}).unwrap_err();
    assert!(matches!(error, CacheError::WrongDigest { .. }), "{error}");
    fs::write(folder.join(&file), &content).unwrap();
    assert_eq!(
        cache.fetch(&name, &mut |_| {}).unwrap().path,
        folder.join(&file)
    );

    fs::rename(folder.join(&file), hub.join(&file)).unwrap();
    assert_eq!(
        cache.fetch(&name, &mut |_| {}).unwrap().path,
        hub.join(&file)
    );
    fs::remove_dir_all(folder).unwrap();
    fs::remove_dir_all(hub).unwrap();
}

#[test]
fn two_at_once_download_once() {
    let content = content();
    let server = Server::start(Manner {
        content: content.clone(),
        ..Manner::default()
    });
    let folder = folder("two");
    let name = format!("{}/net-{}.pth", server.address, digest_of(&content));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let fetched = cache(&folder).fetch(&name, &mut |_| {}).unwrap();
                assert_eq!(fs::read(fetched.path).unwrap(), content);
            });
        }
    });
    assert_eq!(server.requests().len(), 1);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_users_own_open_mmlab_names() {
    let folder = folder("external");
    fs::create_dir_all(&folder).unwrap();
    let models = r#"{"mine": "https://x.org/mine-0123456f.pth", "local": "local.pth"}"#;
    fs::write(folder.join("open_mmlab.json"), models).unwrap();
    let remote = Remote::new("https://x.org/mine-0123456f.pth", None);
    let found = |name: &str| external_model_in(&folder, name);
    assert_eq!(found("open-mmlab://mine"), Some(Source::Url(remote)));
    let local = folder.join("local.pth").display().to_string();
    assert_eq!(found("openmmlab://local"), Some(Source::Path(local)));
    assert_eq!(found("open-mmlab://resnet50_v1c"), None);
    assert_eq!(found("torchvision://mine"), None);
    fs::remove_dir_all(folder).unwrap();
}
