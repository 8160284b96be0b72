//! [`Lookup`]: where the names of a config are looked up while its pipelines and data sets are read.

use std::sync::OnceLock;

use smalti_config::registry::{DEFAULT_SCOPE, Family, Registry, Row};
use smalti_config::{Config, Diagnostics, Node};

/// A registry, and the scope in which bare names are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    registry: &'a Registry,
    scope: &'a str,
}

impl<'a> Lookup<'a> {
    /// In `registry`, where bare names belong to `scope`.
    pub fn new(registry: &'a Registry, scope: &'a str) -> Self {
        Self { registry, scope }
    }

    /// In `registry`, in the `default_scope` of a config.
    pub fn of(registry: &'a Registry, config: &'a Config) -> Self {
        let scope = config.get("default_scope").and_then(|s| s.as_str());
        Self::new(registry, scope.unwrap_or(DEFAULT_SCOPE))
    }

    /// In what this crate builds, for those who have no registry of their own.
    pub fn own() -> Lookup<'static> {
        static OWN: OnceLock<Registry> = OnceLock::new();
        let registry = OWN.get_or_init(|| {
            let mut own = Registry::default();
            super::register(&mut own);
            own
        });
        Lookup::new(registry, DEFAULT_SCOPE)
    }

    /// What `type` of `node` names. What another project's scope does not have is looked for in MMDetection's too, on which it is built.
    ///
    /// # Errors
    /// As [`Registry::find`].
    pub fn find<F: Family>(&self, node: &Node) -> Result<Row<F>, Diagnostics> {
        match self.registry.find::<F>(node, self.scope) {
            Err(_) if self.scope != DEFAULT_SCOPE => self.registry.find::<F>(node, DEFAULT_SCOPE),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::check_with;
    use crate::datasets::flat::{Flat, NoFiles};
    use crate::pixels::{Op, Pixels};
    use crate::random::Counter;
    use crate::sample::Sample;
    use crate::transforms::{Context, Outcome, Transform, Transforms};
    use smalti_config::{MapLoader, parse_value};

    /// A transform of another crate.
    #[derive(Debug)]
    struct Twice;

    impl Transform for Twice {
        fn name(&self) -> &'static str {
            "Twice"
        }

        fn run(&self, mut sample: Sample, cx: &mut Context<'_>) -> Outcome {
            let size = sample.image.size().map(|side| 2 * side);
            let border = crate::pixels::Border::Edge;
            let op = Op::Window {
                size,
                at: [0, 0],
                border,
            };
            let image = cx.pixels.run(&sample.image, &op)?;
            sample.set_image(image);
            Ok(Some(sample))
        }
    }

    #[derive(serde::Deserialize)]
    struct NoOptions {}

    fn registry() -> Registry {
        let mut registry = Registry::default();
        crate::register(&mut registry);
        registry.add(Row::<Transforms>::new("mine", "Twice", |node, _| {
            node.read::<NoOptions>()?;
            Ok(Box::new(Twice))
        }));
        registry
    }

    #[test]
    fn transforms_of_another_crate_are_found_in_all_that_hold_some() {
        let registry = registry();
        let look = Lookup::new(&registry, "mine");
        let once = "dict(type='Twice')";
        for (text, size) in [
            (once.to_owned(), [6, 4]),
            (
                format!("dict(type='Compose', transforms=[{once}, dict(type='mine.Twice')])"),
                [12, 8],
            ),
            (
                format!("dict(type='RandomApply', transforms={once}, prob=1.0)"),
                [6, 4],
            ),
            (
                format!("dict(type='RandomChoice', transforms=[[{once}, {once}]])"),
                [12, 8],
            ),
            (
                format!("dict(type='RandomOrder', transforms=[{once}, {once}])"),
                [12, 8],
            ),
            (
                format!("dict(type='ProposalBroadcaster', transforms=[{once}])"),
                [6, 4],
            ),
            (
                format!("dict(type='TransformBroadcaster', transforms=[{once}])"),
                [6, 4],
            ),
            (
                format!("dict(type='AutoAugment', policies=[[{once}]])"),
                [6, 4],
            ),
            (
                format!("dict(type='RandAugment', aug_space=[[{once}]], aug_num=1)"),
                [6, 4],
            ),
        ] {
            let step = look.transform(&parse_value(&text).unwrap());
            let step = step.unwrap_or_else(|e| panic!("{text}: {e:?}"));
            let (mut random, pixels) = (Counter::new(0), Pixels::cpu());
            let mut cx = Context::new(&mut random, &pixels, &NoFiles);
            let mut sample = Flat::new(&[[3, 2]]).sample(0);
            sample.proposals = Some(Default::default());
            let out = step.run(sample, &mut cx);
            assert_eq!(out.unwrap().unwrap().image.size(), size, "{text}");
        }
        let text = format!("dict(type='TestTimeAug', transforms=[[{once}], [dict(type='Twice')]])");
        assert!(look.transform(&parse_value(&text).unwrap()).is_ok());
        let error = Lookup::own().transform(&parse_value(once).unwrap());
        let error = error.unwrap_err()[0].to_string();
        assert!(error.contains("unknown transform type `Twice`"), "{error}");
    }

    #[test]
    fn a_pipeline_has_an_end() {
        let look = Lookup::own();
        let flip = "dict(type='RandomFlip', prob=0.5)";
        for (text, fits) in [
            (format!("[{flip}] * 1000"), true),
            (format!("[{flip}] * 1001"), false),
            (
                format!("[dict(type='RandomChoice', transforms=[[{flip}] * 40] * 30)]"),
                false,
            ),
        ] {
            let found = look.transforms(Some(&parse_value(&text).unwrap()));
            assert_eq!(found.is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn and_in_data_sets() {
        let text = "default_scope = 'mine'\n\
            load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]\n\
            inner = dict(type='CocoDataset', ann_file='a.json', pipeline=load + [dict(type='Twice')])\n\
            train_dataloader = dict(dataset=dict(type='MultiImageMixDataset', \
            dataset=dict(type='ConcatDataset', datasets=[inner, inner]), pipeline=[dict(type='mine.Twice')]))";
        let config = Config::parse(text, "a.py", &MapLoader::default()).unwrap();
        let registry = registry();
        let found = check_with(&config, None, Lookup::of(&registry, &config));
        assert!(found.is_empty(), "{found:?}");
        let found = crate::datasets::check(&config, None);
        assert_eq!(found.len(), 2, "each place once: {found:?}");
    }
}
