//! Files of Hugging Face's hub: its own cache, where timm and others keep what they have downloaded, and what is taken where a repository has
//! no safetensors.

use std::path::{Path, PathBuf};

use super::{folder_from_env, xdg_cache};
use crate::weights::names::Remote;

const SERVER: &str = "https://huggingface.co/";
const SAFE: &str = "model.safetensors";
const PICKLED: &str = "pytorch_model.bin";

/// The folder of the hub's cache.
pub(super) fn folder() -> PathBuf {
    let named = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"].into_iter();
    let named = named.filter_map(folder_from_env).next();
    named.unwrap_or_else(|| {
        let home = folder_from_env("HF_HOME");
        home.unwrap_or_else(|| xdg_cache().join("huggingface"))
            .join("hub")
    })
}

/// The file of this address in a cache of the hub: of the commit that it has as the newest.
pub(super) fn cached(hub: &Path, remote: &Remote) -> Option<PathBuf> {
    let (repository, file) = parts(&remote.url)?;
    let folder = hub.join(format!("models--{}", repository.replace('/', "--")));
    let commit = std::fs::read_to_string(folder.join("refs").join("main")).ok()?;
    let commit = commit.trim();
    let plain = !commit.is_empty() && commit.bytes().all(|b| b.is_ascii_alphanumeric());
    let snapshot = plain.then(|| folder.join("snapshots").join(commit))?;
    let there = |name: &str| Some(snapshot.join(name)).filter(|path| path.is_file());
    there(file).or_else(|| there(pickled(file)?))
}

/// What is asked for where the server has not this file.
pub(super) fn instead(remote: &Remote) -> Option<Remote> {
    let (repository, file) = parts(&remote.url)?;
    let url = format!("{SERVER}{repository}/resolve/main/{}", pickled(file)?);
    Some(Remote::new(&url, remote.keep_prefix))
}

/// Owner and name of the repository, and the file in it.
fn parts(url: &str) -> Option<(&str, &str)> {
    let (repository, file) = url.strip_prefix(SERVER)?.split_once("/resolve/main/")?;
    let plain = |part: &str| {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(safe)
    };
    let (owner, name) = repository.split_once('/')?;
    (plain(owner) && plain(name) && plain(file)).then_some((repository, file))
}

/// The name that a repository's older file has.
fn pickled(file: &str) -> Option<&'static str> {
    match file {
        SAFE => Some(PICKLED),
        "open_clip_model.safetensors" => Some("open_clip_pytorch_model.bin"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hubs_own_cache_is_read() {
        let hub = std::env::temp_dir().join(format!("smalti-hub-{}", std::process::id()));
        let folder = hub.join("models--timm--resnet18.a1_in1k");
        let snapshot = folder.join("snapshots/0a1b");
        std::fs::create_dir_all(folder.join("refs")).unwrap();
        std::fs::create_dir_all(&snapshot).unwrap();
        let url = "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors";
        let remote = Remote::new(url, None);
        assert_eq!(cached(&hub, &remote), None);
        std::fs::write(folder.join("refs/main"), "0a1b").unwrap();
        std::fs::write(snapshot.join(PICKLED), "").unwrap();
        assert_eq!(cached(&hub, &remote), Some(snapshot.join(PICKLED)));
        std::fs::write(snapshot.join(SAFE), "").unwrap();
        assert_eq!(cached(&hub, &remote), Some(snapshot.join(SAFE)));
        std::fs::write(folder.join("refs/main"), "../../x").unwrap();
        assert_eq!(cached(&hub, &remote), None);
        std::fs::remove_dir_all(hub).unwrap();
    }

    #[test]
    fn an_address_of_the_hub_is_taken_apart() {
        let with = |rest: &str| format!("{SERVER}timm/{rest}");
        let old = instead(&Remote::new(
            &with("a.b/resolve/main/model.safetensors"),
            None,
        ));
        assert_eq!(old.unwrap().url, with("a.b/resolve/main/pytorch_model.bin"));
        for rest in [
            "a/resolve/main/x.pth",
            "../resolve/main/model.safetensors",
            "a",
        ] {
            assert_eq!(instead(&Remote::new(&with(rest), None)), None, "{rest}");
        }
    }
}
