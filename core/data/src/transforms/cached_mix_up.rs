//! `CachedMixUp` of mmdet 3.3 (datasets/transforms/transforms.py), of RTMDet (2022, arXiv:2212.07784): a [`MixUp`] with a picture that
//! came by before.
//!
//! In `exact` mode masks are moved as there, which is beside their boxes where the two pictures' sizes differ (see [`MixUp`]'s
//! `moved`); otherwise they stay with their boxes. The cache is as [`CachedMosaic`](super::CachedMosaic)'s.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cached_mosaic::{Cache, CacheRule, but_the_last};
use super::mix_up::{MixUp, MixUpDrawn, Options};
use super::mixing::{PadVal, probability};
use super::{Context, Others, Outcome, Transform};
use crate::in_order::{InOrder, Order};
use crate::lookup::Lookup;
use crate::picture::Fault;
use crate::random::Random;
use crate::sample::Sample;
use smalti_config::{Bounded, Diagnostics, Node};

/// Two pictures in one, the second from a cache.
#[derive(Debug)]
pub struct CachedMixUp {
    mix_up: MixUp,
    prob: f64,
    rule: CacheRule,
    cache: InOrder<Cache>,
}

/// Draws of [`CachedMixUp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedMixUpDrawn {
    /// Which sample leaves the full cache.
    pub pop: Option<usize>,
    /// The second picture, as a place in the cache after that.
    pub index: Option<usize>,
    /// What is done with it.
    #[serde(flatten)]
    pub mix: MixUpDrawn,
}

pub(super) fn build(node: &Node, _: &Lookup<'_>) -> Result<Box<dyn Transform>, Diagnostics> {
    Ok(Box::new(CachedMixUp::read(node)?))
}

#[derive(Deserialize)]
struct Config {
    img_scale: Option<Node>,
    ratio_range: Option<[f64; 2]>,
    flip_ratio: Option<f64>,
    pad_val: Option<PadVal>,
    max_iters: Option<Bounded<0, 1000>>,
    bbox_clip_border: Option<bool>,
    max_cached_images: Option<usize>,
    random_pop: Option<bool>,
    prob: Option<f64>,
}

impl CachedMixUp {
    fn read(node: &Node) -> Result<Self, Diagnostics> {
        let config: Config = node.read()?;
        let options = Options {
            img_scale: config.img_scale.as_ref(),
            ratio_range: config.ratio_range,
            flip_ratio: config.flip_ratio,
            pad_val: config.pad_val,
            max_iters: config.max_iters.map(Bounded::get),
            bbox_clip_border: config.bbox_clip_border,
        };
        Ok(Self {
            mix_up: MixUp::new(node, options)?,
            prob: probability(node, config.prob)?,
            rule: CacheRule::new(
                node,
                config.max_cached_images.unwrap_or(20),
                2,
                config.random_pop,
            )?,
            cache: InOrder::new(),
        })
    }

    fn draw(
        &self,
        cache: &VecDeque<Arc<Sample>>,
        sample: &Sample,
        random: &mut dyn Random,
    ) -> Result<CachedMixUpDrawn, Fault> {
        let pop = self.rule.draw_pop(cache.len(), random)?;
        let len = cache.len() - usize::from(pop.is_some());
        let mut drawn = CachedMixUpDrawn {
            pop,
            index: None,
            mix: MixUpDrawn::none(),
        };
        if len <= 1 || random.uniform(0.0, 1.0)? > self.prob {
            return Ok(drawn);
        }
        // the cache as it is after one has left
        let at = |index: usize| &cache[index + usize::from(pop.is_some_and(|pop| index >= pop))];
        let index = self.mix_up.draw_other(|| {
            let index = random.randint(0, len as i64 - 1)? as usize;
            Ok((index, !at(index).gt.is_empty()))
        })?;
        drawn.index = Some(index);
        drawn.mix = self.mix_up.draw_mix(sample, at(index), random)?;
        Ok(drawn)
    }
}

impl Transform for CachedMixUp {
    fn name(&self) -> &'static str {
        "CachedMixUp"
    }

    fn run(&self, mut sample: Sample, cx: &mut Context<'_>) -> Outcome {
        // once here, not at every use
        sample.image = cx.pixels.done(&sample.image)?;
        let (drawn, mut others) = self.cache.visit(cx.position, |cache| {
            cache.push_back(Arc::new(sample.clone()));
            let drawn = cx.drawn(self.name(), |random| self.draw(cache, &sample, random))?;
            let indexes: Vec<usize> = drawn.index.into_iter().collect();
            let others = self
                .rule
                .take(cache, drawn.pop, drawn.mix.apply, &indexes, 1)?;
            Ok::<_, Fault>((drawn, others))
        })?;
        match others.pop() {
            Some(other) => {
                let exact = cx.pixels.is_exact();
                self.mix_up.mix(sample, other, &drawn.mix, cx.pixels, exact)
            }
            None => Ok(Some(sample)),
        }
    }

    /// Unused, but drawn: MultiImageMixDataset asks whoever has a `get_indexes`.
    fn mix_indexes(
        &self,
        others: &mut dyn Others,
        cx: &mut Context<'_>,
    ) -> Option<Result<Vec<usize>, Fault>> {
        Some(cx.drawn("CachedMixUp.indexes", |random| {
            but_the_last("CachedMixUp", others.len())?;
            let index = self.mix_up.draw_other(|| {
                let index = random.randint(0, others.len() as i64 - 1)? as usize;
                Ok((index, others.has_objects(index, random)))
            });
            index.map(|i| vec![i])
        }))
    }

    fn order(&self) -> Option<&dyn Order> {
        Some(&self.cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::flat::{Flat, NoFiles, Scripted, refused, steps};
    use crate::pixels::Pixels;
    use crate::random::{Answer, Call};

    #[test]
    fn the_cache_as_it_is_after_one_has_left() {
        let options =
            "img_scale=(4, 4), ratio_range=(1.0, 1.0), max_cached_images=2, pad_val=(1, 2, 3)";
        let steps = steps(&format!("[dict(type='CachedMixUp', {options})]"));
        let mut pictures = Flat::new(&[[4, 4]; 4]);
        pictures.empty = vec![1];
        let pixels = Pixels::cpu().exact(true);
        let (int, float) = (Answer::Int, Answer::Float);
        let mut random = Scripted::new([
            // 1, of 0 1: prob, the other, ratio, flip
            float(0.5),
            int(0),
            float(1.0),
            float(0.1),
            // 2: number 0 leaves, 1 and 2 are left; 1 has no objects, 15 times
            int(0),
            float(0.5),
        ]);
        random.answers.extend(vec![int(0); 15]);
        // 3: number 0 leaves, 2 and 3 are left
        random
            .answers
            .extend([int(0), float(0.5), int(0), float(1.0), float(0.9)]);
        let mut labels = Vec::new();
        for (position, index) in (0..).zip(0..4) {
            let mut cx = Context::new(&mut random, &pixels, &NoFiles);
            cx.position = position;
            let sample = cx.run_all(&steps, pictures.sample(index)).unwrap().unwrap();
            labels.push(sample.gt.labels);
        }
        assert_eq!(labels, [vec![0], vec![0], vec![2], vec![3, 2]]);
        assert!(random.answers.is_empty());
        assert_eq!(random.calls[1], Call::Randint(0, 1));
        assert_eq!(random.calls[4], Call::Randint(0, 2));
        assert_eq!(random.calls[6], Call::Randint(0, 1));
    }

    #[test]
    fn draws_are_one_flat_dict() {
        let drawn = CachedMixUpDrawn {
            pop: None,
            index: Some(3),
            mix: MixUpDrawn::none(),
        };
        let text = serde_json::to_string(&drawn).unwrap();
        let expected =
            r#"{"pop":null,"index":3,"apply":false,"ratio":0.0,"flip":false,"offset":[0,0]}"#;
        assert_eq!(text, expected);
        assert_eq!(
            serde_json::from_str::<CachedMixUpDrawn>(&text).unwrap(),
            drawn
        );
    }

    #[test]
    fn asserts_of_the_original() {
        let refused = |options| refused(&format!("dict(type='CachedMixUp', {options})"));
        assert_eq!(refused("prob=0.5, random_pop=False"), "");
        assert!(refused("max_cached_images=1").contains("is 1"));
        assert!(refused("prob=-0.5").contains("is -0.5"));
    }
}
