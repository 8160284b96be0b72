//! The registry: a `type` in a config names a builder. Scopes are MMEngine's: `mmdet.ResNet` says where to look, a bare
//! `ResNet` is looked for in the default scope and then in its parent, `mmengine`. `_scope_` in a dict changes the default below it.
//!
//! It knows no kind of component: each is a [`Family`], declared where its contract is, and brings its own [`Row`]s. So a crate of
//! your own adds a backbone, a transform or a kind of its own with [`Registry::add`], and uses it from a config like any other.

mod original;

use std::any::{Any, TypeId};
use std::sync::Arc;

use super::{Diagnostic, Diagnostics, Kind, Node, distance, nearest, stray_comma, unsupported};

/// A kind of component.
pub trait Family: 'static {
    /// Its name in messages and lists, for example `backbone`.
    const KIND: &'static str;
    /// What builds one: a function of its config and of what its parent knows.
    type Build: Copy + Send + Sync + 'static;
    /// Scopes whose names this kind has in another: (as written, where to look).
    const SAME_SCOPES: &'static [(&'static str, &'static str)] = &[];
    /// Names of the original that are not built here, and what to do instead.
    const NOT_YET: &'static [(&'static str, &'static str)] = &[];
    /// Whatever the original takes is among the rows or in [`Self::NOT_YET`]: any other name, or a list of them, is a mistake.
    const COMPLETE: bool = false;
}

/// One entry: scope, name, builder.
#[derive(Clone, Copy, Debug)]
pub struct Row<F: Family> {
    /// For example `mmdet`.
    pub scope: &'static str,
    /// For example `ResNet`.
    pub name: &'static str,
    /// What builds it.
    pub build: F::Build,
}

impl<F: Family> Row<F> {
    /// An entry.
    pub const fn new(scope: &'static str, name: &'static str, build: F::Build) -> Self {
        Self { scope, name, build }
    }
}

/// The parent of every scope.
const ROOT: &str = "mmengine";
/// Where a bare name is looked for if the config has no `default_scope`.
pub const DEFAULT_SCOPE: &str = "mmdet";
/// Scopes that have another name by now.
const RENAMED: [(&str, &str); 1] = [("mmcls", "mmpretrain")];

/// A row whose family is known by its id alone.
#[derive(Clone)]
struct Entry {
    family: TypeId,
    kind: &'static str,
    scope: &'static str,
    name: &'static str,
    build: Arc<dyn Any + Send + Sync>,
}

/// All components that configs can name.
#[derive(Clone, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Registry {
    /// Adds a component, or replaces the one of the same kind, scope and name.
    pub fn add<F: Family>(&mut self, row: Row<F>) -> &mut Self {
        let family = TypeId::of::<F>();
        self.entries
            .retain(|e| (e.family, e.scope, e.name) != (family, row.scope, row.name));
        self.entries.push(Entry {
            family,
            kind: F::KIND,
            scope: row.scope,
            name: row.name,
            build: Arc::new(row.build),
        });
        self
    }

    /// Adds all of a table.
    pub fn extend<F: Family>(&mut self, rows: impl IntoIterator<Item = Row<F>>) -> &mut Self {
        for row in rows {
            self.add(row);
        }
        self
    }

    /// Kind, scope and name of every component, in the order of registration.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        self.entries.iter().map(|e| (e.kind, e.scope, e.name))
    }

    /// The entry that `type` of `node` names, looked for in `scope` unless the name has one of its own.
    ///
    /// # Errors
    /// A missing `type`, or a name that no searched scope has: says which were searched, and the nearest names.
    pub fn find<F: Family>(&self, node: &Node, scope: &str) -> Result<Row<F>, Diagnostics> {
        let kind = F::KIND;
        if let Some(error) = stray_comma(&format!("this {kind}"), node) {
            return Err(vec![error]);
        }
        if node.as_items().is_some() && !F::COMPLETE {
            let message = format!("a list of {kind}s is not supported yet");
            return Err(unsupported(node, "", message, ""));
        }
        let Some(type_node) = node.get("type") else {
            return Err(vec![self.no_type::<F>(node)]);
        };
        // A lazy config gives the class itself; its last part is the registered name.
        let full = type_node.as_type().unwrap_or_default();
        let (scopes, name) = scopes::<F>(&full, scope);
        let family = TypeId::of::<F>();
        let named = |scope: &String, family: Option<TypeId>| {
            let mut entries = self.entries.iter();
            entries.find(|e| {
                e.scope == scope && e.name == name && family.is_none_or(|f| f == e.family)
            })
        };
        if let Some(entry) = scopes.iter().find_map(|s| named(s, Some(family))) {
            let build = entry.build.downcast_ref::<F::Build>();
            return Ok(Row {
                scope: entry.scope,
                name: entry.name,
                build: *build.expect("an entry's builder is of its family's type"),
            });
        }
        if let Some(other) = scopes.iter().find_map(|s| named(s, None)) {
            let message = format!("`{full}` is a {}, not a {kind}", other.kind);
            let error = Diagnostic::error(message);
            return Err(vec![
                error.at(&type_node.origin, format!("a {kind} belongs here")),
            ]);
        }
        Err(vec![self.unknown::<F>(type_node, &full, &name, &scopes)])
    }

    fn of<F: Family>(&self) -> impl Iterator<Item = &Entry> {
        let family = TypeId::of::<F>();
        self.entries.iter().filter(move |e| e.family == family)
    }

    fn no_type<F: Family>(&self, node: &Node) -> Diagnostic {
        let kind = F::KIND;
        if node.as_dict().is_none() {
            let found = node.type_name();
            let message = format!("a {kind} is a dict with a `type`, found {found}");
            return Diagnostic::error(message)
                .kind(Kind::Missing)
                .at(&node.origin, "");
        }
        let example = self.of::<F>().next().map_or("", |e| e.name);
        Diagnostic::error(format!("this {kind} has no `type`"))
            .kind(Kind::Missing)
            .at(&node.origin, "a dict without `type`")
            .help(format!("name one, for example type='{example}'"))
    }

    fn unknown<F: Family>(
        &self,
        node: &Node,
        full: &str,
        name: &str,
        scopes: &[String],
    ) -> Diagnostic {
        let kind = F::KIND;
        let searched = scopes.join("`, then `");
        // as they would be written here
        let names = self.of::<F>().map(|e| {
            let bare = scopes.iter().any(|s| s == e.scope);
            if bare {
                e.name.to_owned()
            } else {
                format!("{}.{}", e.scope, e.name)
            }
        });
        let error = Diagnostic::error(format!("unknown {kind} type `{full}`"))
            .kind(Kind::Unsupported)
            .known(names)
            .at(&node.origin, format!("searched in scope `{searched}`"));
        if let Some(e) = self.of::<F>().find(|e| e.name == name) {
            let whole = format!("{}.{name}", e.scope);
            return error
                .help(format!("scope `{}` has it: type='{whole}'", e.scope))
                .use_name(&node.origin, &whole);
        }
        // Another project may have something else of that name.
        let ours = self.of::<F>().any(|e| scopes.iter().any(|s| s == e.scope));
        let mut later = F::NOT_YET.iter().filter(|_| ours);
        if let Some((_, advice)) = later.find(|(known, _)| *known == name) {
            let error = Diagnostic::error(format!("the {kind} `{full}` is not supported yet"))
                .kind(Kind::Unsupported)
                .at(&node.origin, "");
            return if advice.is_empty() {
                error
            } else {
                error.help(*advice)
            };
        }
        let error = if F::COMPLETE {
            error.kind(Kind::Unknown)
        } else {
            error
        };
        let known = || {
            let mut rows: Vec<_> = self
                .of::<F>()
                .map(|e| format!("{}.{}", e.scope, e.name))
                .collect();
            rows.sort();
            format!(
                "known {kind}s are {}; a component of your own is added with Registry::add (custom_imports runs no Python here)",
                rows.join(", ")
            )
        };
        if original::names(kind).any(|known| known == name) {
            return error.help(format!("it is one of the original's; {}", known()));
        }
        let later = F::NOT_YET.iter().map(|(name, _)| *name);
        let names = self.of::<F>().map(|e| e.name).chain(later);
        let Some(near) = nearest(name, names.chain(original::names(kind))) else {
            return error.help(known());
        };
        let scope = self.of::<F>().find(|e| e.name == near);
        let scope = scope.map_or(String::new(), |e| format!("{}.", e.scope));
        let whole = format!("{scope}{near}");
        let mut error = error.help(format!("did you mean type='{whole}'?"));
        if let Some(ours) = self.of::<F>().find(|e| e.name == near) {
            // the name alone where it would be found
            let bare = scopes.iter().any(|s| s == ours.scope);
            error = error.use_name(&node.origin, if bare { near } else { &whole });
        }
        // A letter or two away from a name of the original is a typo, but rarely the first; `MyResNet` may be somebody's own.
        let first = |text: &str| text.chars().next().map(|c| c.to_ascii_lowercase());
        if first(name) == first(near) && distance(name, near) <= 2 {
            return error.kind(Kind::Unknown);
        }
        error
    }
}

/// The scopes to search for a name as written, and the name without its scope.
fn scopes<F: Family>(full: &str, scope: &str) -> (Vec<String>, String) {
    let current = |scope: &str| {
        let mut others = RENAMED.iter().chain(F::SAME_SCOPES);
        let other = others.find(|(written, _)| *written == scope);
        other.map_or(scope, |(_, there)| there).to_string()
    };
    if let Some((first, rest)) = full.split_once('.') {
        // `mmdet.models.backbones.resnet.ResNet`: a path of the lazy style; its package is the scope.
        let name = rest.rsplit('.').next().unwrap_or(rest);
        return (vec![current(first)], name.to_string());
    }
    (vec![current(scope), ROOT.to_string()], full.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, MapLoader};

    #[derive(Debug)]
    struct Backbones;
    impl Family for Backbones {
        const KIND: &'static str = "backbone";
        type Build = fn() -> u32;
    }

    #[derive(Debug)]
    struct Necks;
    impl Family for Necks {
        const KIND: &'static str = "neck";
        type Build = u8;
        const SAME_SCOPES: &'static [(&'static str, &'static str)] = &[("mmcv", "mmdet")];
        const NOT_YET: &'static [(&'static str, &'static str)] = &[("OldNeck", "use FPN")];
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        registry
            .add(Row::<Backbones>::new("mmdet", "ResNet", || 1))
            .add(Row::<Backbones>::new("mmpretrain", "MobileNetV3", || 2))
            .add(Row::<Backbones>::new("mmpretrain", "TIMMBackbone", || 3))
            .add(Row::<Necks>::new("mmdet", "FPN", 7));
        registry
    }

    fn found<F: Family>(text: &str) -> Result<Row<F>, Diagnostic> {
        let config = Config::parse(text, "test.py", &MapLoader::default()).unwrap();
        let node = config.root.get("part").unwrap();
        let found = registry().find::<F>(node, DEFAULT_SCOPE);
        found.map_err(|mut problems| problems.remove(0))
    }

    fn backbone(text: &str) -> String {
        match found::<Backbones>(text) {
            Ok(row) => format!("{}.{} {}", row.scope, row.name, (row.build)()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn scopes_are_searched_as_mmengine_does() {
        assert_eq!(backbone("part = dict(type='ResNet')"), "mmdet.ResNet 1");
        assert_eq!(
            backbone("part = dict(type='mmdet.ResNet')"),
            "mmdet.ResNet 1"
        );
        for scope in ["mmpretrain", "mmcls"] {
            let text = format!("part = dict(type='{scope}.MobileNetV3')");
            assert_eq!(backbone(&text), "mmpretrain.MobileNetV3 2");
        }
        let elsewhere = backbone("part = dict(type='MobileNetV3')");
        assert!(
            elsewhere.contains("searched in scope `mmdet`, then `mmengine`"),
            "{elsewhere}"
        );
        assert!(
            elsewhere.contains("type='mmpretrain.MobileNetV3'"),
            "{elsewhere}"
        );
    }

    #[test]
    fn unknown_types_get_the_nearest_name() {
        let near = backbone("part = dict(type='ResNett')");
        assert!(near.contains("did you mean type='mmdet.ResNet'?"), "{near}");
        let kind_of = |name: &str| {
            let text = format!("part = dict(type='{name}')");
            found::<Backbones>(&text).unwrap_err().kind
        };
        assert_eq!(kind_of("ResNett"), Kind::Unknown);
        assert_eq!(kind_of("Swintransformer"), Kind::Unknown);
        for maybe_right in [
            "SwinTransformer",
            "RegNet",
            "MyResNet",
            "mmyolo.YOLOv8CSPDarknet",
        ] {
            assert_eq!(kind_of(maybe_right), Kind::Unsupported, "{maybe_right}");
        }
        let far = backbone("part = dict(type='SwinTransformer')");
        assert!(
            far.contains("known backbones are") && far.contains("mmpretrain.TIMMBackbone"),
            "{far}"
        );
        let kind = backbone("part = dict(type='FPN')");
        assert!(kind.contains("`FPN` is a neck, not a backbone"), "{kind}");
        let none = backbone("part = dict(depth=50)");
        assert!(none.contains("has no `type`"), "{none}");
        let number = backbone("part = 50");
        assert!(
            number.contains("a backbone is a dict with a `type`"),
            "{number}"
        );
    }

    #[test]
    fn a_family_has_scopes_and_advice_of_its_own() {
        let row = found::<Necks>("part = dict(type='mmcv.FPN')");
        assert_eq!(row.map(|row| row.build).ok(), Some(7));
        let old = found::<Necks>("part = dict(type='OldNeck')").unwrap_err();
        let text = old.to_string();
        assert!(
            text.contains("not supported yet") && text.contains("use FPN"),
            "{text}"
        );
    }

    #[derive(Debug)]
    struct Transforms;
    impl Family for Transforms {
        const KIND: &'static str = "transform";
        type Build = ();
        const NOT_YET: &'static [(&'static str, &'static str)] = &[("Albu", "")];
        const COMPLETE: bool = true;
    }

    #[test]
    fn what_a_complete_family_does_not_know_is_a_mistake() {
        let mut registry = registry();
        registry.add(Row::<Transforms>::new("mmdet", "Resize", ()));
        for (text, kind, words) in [
            ("dict(type='Albu')", Kind::Unsupported, "not supported yet"),
            ("dict(type='other.Albu')", Kind::Unknown, "in scope `other`"),
            (
                "dict(type='Grow')",
                Kind::Unknown,
                "known transforms are mmdet.Resize",
            ),
            (
                "[dict(type='Resize')]",
                Kind::Missing,
                "a transform is a dict",
            ),
        ] {
            let node = crate::parse_value(text).unwrap();
            let problems = registry
                .find::<Transforms>(&node, DEFAULT_SCOPE)
                .unwrap_err();
            let error = problems[0].to_string();
            assert!(problems[0].kind == kind && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_row_replaces_its_like() {
        let mut registry = registry();
        registry.add(Row::<Backbones>::new("mmdet", "ResNet", || 9));
        assert_eq!(registry.names().filter(|n| n.2 == "ResNet").count(), 1);
        let node = crate::parse_value("dict(type='ResNet')").unwrap();
        assert_eq!(
            (registry
                .find::<Backbones>(&node, DEFAULT_SCOPE)
                .unwrap()
                .build)(),
            9
        );
    }
}
