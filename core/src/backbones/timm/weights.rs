//! Where timm's own weights lie: what timm 0.9.16 downloads for a model's name, with or without a tag.

/// See its head.
const TABLE: &str = include_str!("weights.txt");
const HUB: &str = "https://huggingface.co";
/// What open CLIP's checkpoints have before the names of a model.
const OF_CLIP: &str = "visual.trunk.";

/// A checkpoint on the hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Weights {
    pub(super) address: String,
    /// What its keys have before ours.
    pub(super) prefix: Option<&'static str>,
}

/// A tag, and what stands after it.
type Tag = (&'static str, Option<&'static str>);

/// The lines that are of models: a name, and the words after it.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' '))
}

/// Older names.
pub(super) fn older() -> impl Iterator<Item = &'static str> {
    let older = lines().filter(|(_, words)| words.starts_with('>'));
    older.map(|(name, _)| name)
}

/// A name as it is now, and the tag that an older one stands for.
pub(super) fn now(name: &str) -> (&str, Option<&'static str>) {
    let line = lines().find(|(known, _)| *known == name);
    match line.and_then(|(_, words)| words.strip_prefix("> ")) {
        None => (name, None),
        Some(now) => match now.split_once('.') {
            Some((name, tag)) => (name, Some(tag)),
            None => (now, None),
        },
    }
}

/// The tags of a model by its name as it is now, the default first.
fn all(name: &str) -> Vec<Tag> {
    let words = lines().find(|(known, _)| *known == name);
    let words = words.map(|(_, words)| words.split(' '));
    let tag = |word: &'static str| match word.split_once('=') {
        Some((tag, place)) => (tag, Some(place)),
        None => (word, None),
    };
    words.into_iter().flatten().map(tag).collect()
}

/// The tags of a model by its name as it is now, the default first, with or without weights.
pub(super) fn tags(name: &str) -> Vec<&'static str> {
    all(name).into_iter().map(|(tag, _)| tag).collect()
}

/// The weights of a model, by its name as it is now, with this tag or with the default one; none where timm has none.
pub(super) fn weights(name: &str, tag: Option<&str>) -> Option<Weights> {
    let tags = all(name);
    let (tag, place) = match tag {
        None => tags.first()?,
        Some(tag) => tags.iter().find(|(known, _)| *known == tag)?,
    };
    let at = |repository: &str, file| format!("{HUB}/{repository}/resolve/main/{file}");
    match place {
        None => Some(Weights {
            address: at(&format!("timm/{name}.{tag}"), "model.safetensors"),
            prefix: None,
        }),
        Some("") => None,
        Some(repository) => Some(Weights {
            address: at(repository, "open_clip_model.safetensors"),
            prefix: Some(OF_CLIP),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_has_the_default_one() {
        let repository = |name: &str, tag: Option<&str>| {
            let (name, stood_for) = now(name);
            let address = weights(name, tag.or(stood_for))?.address;
            let rest = address.strip_prefix(HUB)?.strip_prefix('/')?;
            Some(rest.split_once("/resolve/main/")?.0.to_string())
        };
        for (name, tag, found) in [
            ("resnet50", None, "timm/resnet50.a1_in1k"),
            ("resnet50", Some("tv_in1k"), "timm/resnet50.tv_in1k"),
            (
                "tf_efficientnet_b7",
                None,
                "timm/tf_efficientnet_b7.ns_jft_in1k",
            ),
            (
                "tf_efficientnet_b7_ap",
                None,
                "timm/tf_efficientnet_b7.ap_in1k",
            ),
            (
                "tf_efficientnet_b7_ap",
                Some("aa_in1k"),
                "timm/tf_efficientnet_b7.aa_in1k",
            ),
            (
                "convnext_xxlarge",
                Some("clip_laion2b_soup"),
                "laion/CLIP-convnext_xxlarge-laion2B-s34B-b82K-augreg-soup",
            ),
        ] {
            assert_eq!(repository(name, tag).as_deref(), Some(found), "{name}");
        }
        for (name, tag) in [
            ("resnet200", None),
            ("resnet200", Some("untrained")),
            ("resnet50", Some("a4_in1k")),
            ("resnet", None),
        ] {
            assert_eq!(weights(name, tag), None, "{name}");
        }
    }

    /// The list was made of timm's own registry: of all that is built here, and nothing else.
    #[test]
    fn every_model_has_its_tags() {
        let names = super::super::names();
        for name in &names {
            assert!(!tags(name).is_empty(), "{name}");
        }
        for (line, _) in lines() {
            let (name, tag) = now(line);
            assert!(names.iter().any(|known| known == name), "{line}");
            assert!(tag.is_none_or(|tag| tags(name).contains(&tag)), "{line}");
        }
    }

    /// Against what timm would open, by a digest that `tests/data/timm_weights.py` printed (FNV-1a over `MODEL TAG ADDRESS`, a line each).
    #[test]
    fn every_address_is_timms() {
        let mut names = super::super::names();
        names.sort();
        let (mut digest, mut count) = (0xcbf2_9ce4_8422_2325_u64, 0);
        for name in &names {
            for tag in tags(name) {
                let address = weights(name, Some(tag)).map(|found| found.address);
                let line = format!("{name} {tag} {}\n", address.unwrap_or_default());
                for byte in line.bytes() {
                    digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
                }
                count += 1;
            }
        }
        assert_eq!((names.len(), count), (531, 833));
        assert_eq!(digest, 0x20ee_f28a_e361_1608);
    }
}
