//! A line about each component and key, and the value that a key has if nobody gives one: for completion. Which keys there are, and of which type,
//! the readers of the config say; a line here about a key that no reader has is never seen.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// Its value if it is not given; none if it has to be, or if that depends.
    pub default: Option<&'static str>,
    /// In a line.
    pub about: &'static str,
}

const COMPONENTS: &str = include_str!("docs/components.txt");
const KEYS: &str = include_str!("docs/keys.txt");
/// Owner of the keys of a file's top level.
pub const CONFIG: &str = "config";
const ANY: &str = "*";

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let rows = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|row| row.len() > 1)
}

static COMPONENT_DOCS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let rows = rows(COMPONENTS).flat_map(|row| {
        let about = row[1];
        row[0].split(", ").map(move |name| (name, about))
    });
    rows.collect()
});

static KEY_DOCS: LazyLock<HashMap<(&str, &str), KeyDoc>> = LazyLock::new(|| {
    let rows = rows(KEYS).filter_map(|row| {
        let (owner, key) = row[0].split_once('.')?;
        let default = Some(row[1]).filter(|d| !d.is_empty());
        let about = row.get(2).copied()?;
        Some(((owner, key), KeyDoc { default, about }))
    });
    rows.collect()
});

/// A line about a component; its scope does not matter.
pub fn component(name: &str) -> Option<&'static str> {
    let bare = name.rsplit('.').next().unwrap_or(name);
    COMPONENT_DOCS.get(bare).copied()
}

/// What is known of a key of a component.
pub fn key(owner: &str, key: &str) -> Option<KeyDoc> {
    let bare = owner.rsplit('.').next().unwrap_or(owner);
    let any = || KEY_DOCS.get(&(ANY, key));
    KEY_DOCS.get(&(bare, key)).or_else(any).copied()
}

/// Keys of a file's top level.
pub fn of_config() -> impl Iterator<Item = (&'static str, KeyDoc)> {
    let rows = rows(KEYS).filter_map(|row| row[0].strip_prefix("config."));
    rows.filter_map(|name| Some((name, key(CONFIG, name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_of_something_that_there_is() {
        let registry = smalti::registry();
        let known: Vec<&str> = registry.names().map(|(_, _, name)| name).collect();
        let owners = KEY_DOCS.keys().map(|(owner, _)| *owner);
        let owners = owners.filter(|owner| ![ANY, CONFIG].contains(owner));
        for name in COMPONENT_DOCS.keys().copied().chain(owners) {
            assert!(known.contains(&name), "{name}");
        }
        for (kind, _, name) in registry.names() {
            let documented = component(name).is_some();
            // the engine's own parts, which configs do not name, or name by habit
            let usual = !matches!(
                kind,
                "hook" | "detector" | "optim wrapper constructor" | "parameter scheduler"
            );
            assert!(
                documented || !usual,
                "{kind} {name} has no line in components.txt"
            );
        }
    }

    #[test]
    fn a_component_has_its_own_defaults() {
        assert_eq!(
            key("mmdet.FocalLoss", "gamma").unwrap().default,
            Some("2.0")
        );
        assert_eq!(key("FPN", "start_level").unwrap().default, Some("0"));
        assert_eq!(key("FPN", "out_channels").unwrap().default, None);
        assert_eq!(key("FPN", "no_such_key"), None);
        assert!(of_config().any(|(name, _)| name == "optim_wrapper"));
    }
}
